//! `darkroom models`: what there is, fetch it, verify it.

use std::time::{Duration, Instant};

use darkroom_models::{FetchProgress, FetchStep, Registry, Status};
use indicatif::HumanBytes;

use super::display::Style;
use super::{Failure, Global, note, print_line};

/// What to do with models.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Command {
    /// Every model and library, and whether it is here.
    List,
    /// Fetch what is missing or damaged; everything that has a source if no name is given.
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
        let bytes = entry.bytes.map_or(String::new(), |b| HumanBytes(b).to_string());
        let licence = entry.licence.unwrap_or_default();
        print_line(&format!("{:28} {:12} {bytes:>10}  {licence:10} {}", entry.name, word(entry.status), entry.notes))?;
    }
    Ok(())
}

fn fetch(global: &Global, registry: &Registry, names: &[String]) -> Result<(), Failure> {
    let all = registry.list()?;
    let names: Vec<String> = if names.is_empty() {
        all.iter().filter(|entry| entry.status != Status::Unregistered).map(|entry| entry.name.clone()).collect()
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
        let outcome = registry.fetch(name, &mut |progress| show(style, &progress, &mut last));
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
            print_line(&format!("{:28} {}", entry.name, word(status)))?;
        }
        match status {
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
