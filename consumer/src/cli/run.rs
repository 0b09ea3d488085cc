//! `darkroom run`: jobs on local files.

use std::collections::BTreeMap;
use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use darkroom_api::{Descriptor, ErrorCode};
use serde_json::json;
use tokio_util::sync::CancellationToken;

use crate::job::executor::{self, Pool, PoolOptions, SlotOptions};
use crate::job::local::{self, LocalJob, Surroundings};

use super::display::{Display, Style, human_secs};
use super::signals::Signals;
use super::{Failure, Global, device, note, open, pair, params, print_line};

/// Directory beside the outputs, for what is being made: so results are moved, and not copied.
const SCRATCH: &str = ".darkroom-scratch";
/// Time for the job in progress to end after a signal.
const PATIENCE: Duration = Duration::from_millis(1500);

/// Arguments.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Handler, e.g. `matting`.
    handler: String,
    /// Files of the primary input: each is a job of its own.
    #[arg(required = true)]
    files: Vec<PathBuf>,
    /// Where results go; with several files into a directory for each.
    #[arg(long, short, value_name = "DIR")]
    output: PathBuf,
    /// A parameter of the handler (`darkroom handlers NAME` lists them); may be repeated.
    #[arg(long = "set", value_name = "NAME=VALUE", value_parser = pair)]
    set: Vec<(String, String)>,
    /// A secondary input with its role, e.g. `background=beach.jpg`; may be repeated.
    #[arg(long = "input", value_name = "ROLE=FILE", value_parser = pair)]
    inputs: Vec<(String, String)>,
    /// Device to run on: `auto`, `cpu`, `cuda:0`, `tensorrt:0`.
    #[arg(long, value_name = "DEVICE", value_parser = device)]
    device: Option<String>,
}

impl Args {
    /// One file, with secondary inputs by role, and parameters, as the command line would have them.
    pub(crate) fn one(
        handler: &str,
        file: PathBuf,
        output: PathBuf,
        inputs: Vec<(String, String)>,
        set: Vec<(String, String)>,
    ) -> Args {
        Args { handler: handler.into(), files: vec![file], output, set, inputs, device: None }
    }
}

/// Runs the jobs. A signal ends the one in progress with its event, or, where it does not end soon, without; nothing but
/// finished results is left either way.
pub(crate) async fn run(global: &Global, args: Args) -> Result<(), Failure> {
    let (mut signals, cancel) = (Signals::catch()?, CancellationToken::new());
    let made = !args.output.exists();
    let mut jobs = Box::pin(develop(global, &args, &cancel));
    let outcome = tokio::select! {
        biased;
        outcome = &mut jobs => outcome,
        signal = signals.next() => {
            cancel.cancel();
            tokio::select! {
                biased;
                _ = &mut jobs => {}
                _ = signals.next() => {}
                () = tokio::time::sleep(PATIENCE) => {}
            }
            Err(signal)
        }
    };
    // Ends executors that are left.
    drop(jobs);
    executor::sweep(&args.output.join(SCRATCH)).await;
    if made && outcome.is_err() {
        // Goes only if nothing is in it.
        let _kept = std::fs::remove_dir(&args.output);
    }
    outcome
}

async fn develop(global: &Global, args: &Args, cancel: &CancellationToken) -> Result<(), Failure> {
    let config = global.config()?;
    // Bars and lines show what matters; a log of everything is for `work`.
    let (binary, handler) = open::handler(&config, &args.handler).await?;
    let jobs = jobs(args, &handler)?;
    make(&args.output)?;
    let pool = Pool::open(PoolOptions {
        binary,
        scratch_dir: args.output.join(SCRATCH),
        slots: vec![SlotOptions {
            device: args
                .device
                .clone()
                .unwrap_or_else(|| config.executor.devices.first().cloned().unwrap_or_else(|| "cpu".into())),
            threads: config.executor.threads.unwrap_or(0),
        }],
        memory_mib: config.executor.memory_mib,
        leak_mib: 0,
        fresh: config.executor.fresh,
        registry: config.models.clone(),
        engine_cache: config.executor.engine_cache.clone(),
        read_only: jobs.iter().flat_map(LocalJob::files).map(Path::to_path_buf).collect(),
    })
    .await?;
    let around = Surroundings {
        pool: &pool,
        handler: &handler,
        params: params(&args.set),
        limits: config.limits,
        run_limit_secs: config.worker.run_limit_secs as f64,
        stall_secs: config.executor.stall_secs,
        cancel: cancel.clone(),
    };
    let outcome = all(global, &jobs, &around).await;
    pool.shutdown().await;
    outcome
}

/// Makes the directory of the results, where there is none.
fn make(output: &Path) -> Result<(), Failure> {
    std::fs::create_dir_all(output).map_err(|error| {
        let name = output.display();
        Failure::Usage(match output.exists() {
            true => format!("{name} is a file, but results go into a directory: name one with --output"),
            false => format!("{name} cannot be made: {error}"),
        })
    })
}

fn jobs(args: &Args, handler: &Descriptor) -> Result<Vec<LocalJob>, Failure> {
    let primary = handler.inputs.first().map_or("input", |role| role.name.as_str());
    let mut beside: BTreeMap<String, Vec<PathBuf>> = BTreeMap::new();
    for (role, file) in &args.inputs {
        let known = handler.inputs.iter().skip(1).find(|r| r.name == *role).ok_or_else(|| {
            let known: Vec<_> = handler.inputs.iter().skip(1).map(|r| r.name.as_str()).collect();
            let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
            Failure::Usage(format!("`{}` has no secondary input `{role}`: it has {known}", handler.name))
        })?;
        beside.entry(known.name.clone()).or_default().push(existing(Path::new(file))?);
    }
    let mut names = std::collections::BTreeSet::new();
    args.files
        .iter()
        .map(|file| {
            let mut inputs = beside.clone();
            inputs.insert(primary.to_owned(), vec![existing(file)?]);
            let stem = file.file_stem().unwrap_or_default();
            let directory = if args.files.len() == 1 { args.output.clone() } else { args.output.join(stem) };
            if !names.insert(directory.clone()) {
                let why = format!("two files are called `{}`: run them one by one", stem.to_string_lossy());
                return Err(Failure::Usage(why));
            }
            Ok(LocalJob {
                title: file.file_name().unwrap_or_default().to_string_lossy().into_owned(),
                inputs,
                directory,
            })
        })
        .collect()
}

fn existing(file: &Path) -> Result<PathBuf, Failure> {
    file.canonicalize().map_err(|e| Failure::Usage(format!("{} cannot be read: {e}", file.display())))
}

async fn all(global: &Global, jobs: &[LocalJob], around: &Surroundings<'_>) -> Result<(), Failure> {
    let started = Instant::now();
    let (mut succeeded, mut failed, mut misused, mut frames) = (0usize, 0usize, 0usize, 0u64);
    let events = global.json || !std::io::stdout().is_terminal();
    for job in jobs {
        let display = Display::new(Style::choose(global.json), &job.title);
        let begun = Instant::now();
        let outcome = local::run(job, around, &|progress| display.update(progress)).await;
        let secs = begun.elapsed().as_secs_f64();
        match &outcome.error {
            None => {
                succeeded += 1;
                let count = outcome.frames.unwrap_or(0);
                frames += count;
                let fps = if secs > 0.0 { count as f64 / secs } else { 0.0 };
                let at = places(&outcome.outputs, &job.directory);
                display.finish(&format!("done, {count} frames in {} ({fps:.1} fps) -> {at}", human_secs(secs)));
                // Machines have them in the event.
                if !global.json {
                    let title = (jobs.len() > 1).then_some(job.title.as_str());
                    remarks(&outcome.warnings, title).for_each(|line| note(&line));
                }
            }
            Some(error) => {
                failed += 1;
                misused += usize::from(error.code == ErrorCode::ParamsInvalid);
                display.finish(&match error.code {
                    ErrorCode::Cancelled => "cancelled".to_owned(),
                    _ => format!("failed: {error}"),
                });
            }
        }
        // On a terminal the line above says it to people.
        if events {
            print_line(&outcome.event.to_string())?;
        }
        if around.cancel.is_cancelled() {
            break;
        }
    }
    if jobs.len() > 1 {
        summary(global, jobs.len(), succeeded, failed, frames, started.elapsed().as_secs_f64());
    }
    match succeeded == jobs.len() {
        true => Ok(()),
        // Parameters are the same for all: the call is what has to change, and why is said.
        false if misused == jobs.len() => Err(Failure::Usage(String::new())),
        false => Err(Failure::Failed(String::new())),
    }
}

/// Warnings as lines, with the file's name where it is one of several.
fn remarks(warnings: &[String], title: Option<&str>) -> impl Iterator<Item = String> {
    let of = title.map(|title| format!("{title}: ")).unwrap_or_default();
    warnings.iter().map(move |warning| format!("warning: {of}{warning}"))
}

/// The outputs by name; where they are many, the directory.
fn places(outputs: &[PathBuf], directory: &Path) -> String {
    match outputs.len() {
        0..=4 => outputs.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join(", "),
        many => format!("{} ({many} files)", directory.display()),
    }
}

fn summary(global: &Global, jobs: usize, succeeded: usize, failed: usize, frames: u64, secs: f64) {
    let rate = 100.0 * succeeded as f64 / jobs as f64;
    let fps = if secs > 0.0 { frames as f64 / secs } else { 0.0 };
    if global.json {
        let line = json!({"summary": {"jobs": jobs, "succeeded": succeeded, "failed": failed,
            "success_rate_percent": rate, "frames": frames, "fps": fps, "secs": secs}});
        return note(&line.to_string());
    }
    let time = human_secs(secs);
    note(&format!("{jobs} jobs: {succeeded} succeeded, {failed} failed ({rate:.0} % success), {fps:.1} fps, {time}"));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn warnings_name_their_file_where_it_is_one_of_several() {
        let said = ["The video is interlaced.".to_owned(), "Alpha was left out.".to_owned()];
        let alone: Vec<_> = remarks(&said, None).collect();
        assert_eq!(alone, ["warning: The video is interlaced.", "warning: Alpha was left out."]);
        assert_eq!(remarks(&said[1..], Some("a.mp4")).collect::<Vec<_>>(), ["warning: a.mp4: Alpha was left out."]);
    }

    #[test]
    fn a_file_where_a_directory_is_needed_is_said_to_be_one() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("clip.mp4");
        std::fs::write(&file, b"film").unwrap();
        let (_, said) = make(&file).unwrap_err().explain();
        assert!(said.contains("clip.mp4 is a file") && said.contains("--output"), "{said}");
        let (_, said) = make(&file.join("out")).unwrap_err().explain();
        assert!(said.contains("out cannot be made"), "{said}");
        make(&dir.path().join("a/b")).unwrap();
        make(&dir.path().join("a/b")).unwrap();
    }
}
