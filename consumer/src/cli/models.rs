//! `darkroom models`: what there is, fetch it, verify it.

use std::time::{Duration, Instant};

use darkroom_models::{FetchProgress, FetchStep, Listed, Registry, Status};
use indicatif::HumanBytes;

use super::display::Style;
use super::{Failure, Global, note, print_line};

/// Width of what is said about an entry, beside its labels.
const TEXT_WIDTH: usize = 100;

/// What to do with models.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Command {
    /// Every model, library and tool: whether it is here, its licence, what it is good for and how fast it is.
    List,
    /// Fetch what is missing or damaged; without names everything that is not optional.
    Fetch {
        /// Names as `models list` shows them.
        names: Vec<String>,
    },
    /// Read every file again and compare it with its sum.
    Verify,
}

pub(crate) fn models(global: &Global, command: &Command) -> Result<(), Failure> {
    let registry = global.config()?.models.open()?;
    match command {
        Command::List => list(global, &registry),
        Command::Fetch { names } => fetch(global, &registry, names),
        Command::Verify => verify(global, &registry),
    }
}

fn list(global: &Global, registry: &Registry) -> Result<(), Failure> {
    for entry in registry.list()? {
        if global.json {
            print_line(&serde_json::json!(entry).to_string())?;
            continue;
        }
        print_line(&described(&entry))?;
    }
    Ok(())
}

/// An entry for people: a line of facts, and one or more of each text below it.
fn described(entry: &Listed) -> String {
    let word = if entry.optional && entry.status == Status::Missing { "optional" } else { word(entry.status) };
    let bytes = entry.bytes.map_or(String::new(), |b| HumanBytes(b).to_string());
    let licence = entry.licence.as_deref().unwrap_or_default();
    let mut text = format!("{:30} {word:12} {bytes:>10}  {licence}", entry.name);
    for (what, said) in [("good for", &entry.good_for), ("speed", &entry.speed), ("notes", &entry.notes)] {
        let mut label = what;
        for line in wrapped(said) {
            text += &format!("\n    {label:9} {line}");
            label = "";
        }
    }
    text
}

/// Lines of at most [`TEXT_WIDTH`] characters, but for words that are longer.
fn wrapped(text: &str) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split_whitespace() {
        match lines.last_mut() {
            Some(line) if line.chars().count() + 1 + word.chars().count() <= TEXT_WIDTH => *line += &format!(" {word}"),
            _ => lines.push(word.into()),
        }
    }
    lines
}

fn fetch(global: &Global, registry: &Registry, names: &[String]) -> Result<(), Failure> {
    let all = registry.list()?;
    let names: Vec<String> = if names.is_empty() {
        let wanted = |entry: &&Listed| {
            entry.status != Status::Unregistered && (!entry.optional || entry.status != Status::Missing)
        };
        all.iter().filter(wanted).map(|entry| entry.name.clone()).collect()
    } else {
        names.to_vec()
    };
    let style = Style::choose(global.json);
    let mut failed = Vec::new();
    for name in &names {
        let here = all.iter().any(|e| e.name == *name && matches!(e.status, Status::Ready | Status::Custom));
        if let Some(notice) = registry.entry(name).and_then(darkroom_models::Entry::licence_notice).filter(|_| !here) {
            global.note(&format!("note: {notice}"));
        }
        let mut last = Instant::now();
        let outcome = registry.fetch_among(name, &names, &mut |progress| show(style, &progress, &mut last));
        match outcome {
            Ok(model) if global.json => {
                print_line(&serde_json::json!({"name": name, "path": model.path, "sha256": model.sha256}).to_string())?;
            }
            Ok(model) => print_line(&format!("{name}: {}", model.path.display()))?,
            Err(error) => failed.push(format!("{name}: {error}")),
        }
    }
    if failed.is_empty() { Ok(()) } else { Err(Failure::Failed(failed.join("\n       "))) }
}

/// A line at most every two seconds, and only for steps that last.
fn show(style: Style, progress: &FetchProgress<'_>, last: &mut Instant) {
    if progress.step == FetchStep::Done || last.elapsed() < Duration::from_secs(2) {
        return;
    }
    *last = Instant::now();
    let (done, total) = (HumanBytes(progress.bytes), HumanBytes(progress.total_bytes));
    match style {
        Style::Json => {
            let step = format!("{:?}", progress.step).to_lowercase();
            let line = serde_json::json!({"name": progress.name, "step": step, "bytes": progress.bytes, "total_bytes": progress.total_bytes});
            note(&line.to_string());
        }
        _ => note(&format!("{}: {:?}, {done} of {total}", progress.name, progress.step).to_lowercase()),
    }
}

fn verify(global: &Global, registry: &Registry) -> Result<(), Failure> {
    let mut bad = Vec::new();
    for entry in registry.list()? {
        let status = registry.verify(&entry.name)?;
        if global.json {
            print_line(&serde_json::json!({"name": entry.name, "status": status}).to_string())?;
        } else {
            print_line(&format!("{:30} {}", entry.name, word(status)))?;
        }
        match status {
            Status::Missing if entry.optional => {}
            Status::Missing | Status::Damaged => bad.push(format!("run `darkroom models fetch {}`", entry.name)),
            Status::CustomUnreadable => bad.push(format!("correct `models.custom` for `{}`", entry.name)),
            Status::Ready | Status::Custom | Status::Unregistered => {}
        }
    }
    if bad.is_empty() { Ok(()) } else { Err(Failure::Failed(bad.join("; "))) }
}

fn word(status: Status) -> &'static str {
    match status {
        Status::Ready => "ready",
        Status::Missing => "missing",
        Status::Damaged => "damaged",
        Status::Custom => "your file",
        Status::CustomUnreadable => "unreadable",
        Status::Unregistered => "bring yours",
    }
}
