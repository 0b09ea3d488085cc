//! `darkroom bench`: what a handler costs beside its parts alone, and beside Python; how fast an upload or a message gets
//! to it, and files to buckets and back.

mod bare;
mod journey;
mod legs;
mod report;
mod transfer;
mod tune;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use darkroom_api::{Measured, Part};
use tokio::process::Command;

use crate::job::executor::{self, Measurement};

use super::signals::Signals;
use super::{Failure, Global, device, open, pair, params, print_line};
use report::{Report, Row};

/// Arguments.
#[derive(Debug, clap::Args)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
pub(crate) struct Args {
    #[command(subcommand)]
    what: Option<What>,
    #[command(flatten)]
    handler: Option<HandlerArgs>,
}

#[derive(Debug, clap::Subcommand)]
enum What {
    /// Measure the way of a small upload to the executor, on embedded backends of its own; with --config the way of a
    /// job message through the queue of that file.
    Journey(journey::Args),
    /// Measure how fast a file goes into a bucket and comes back.
    Transfer(transfer::Args),
}

/// What of a handler is measured, and how.
#[derive(Debug, clap::Args)]
struct HandlerArgs {
    /// Handler, e.g. `matting`.
    handler: String,
    /// File of its primary input.
    clip: PathBuf,
    /// A parameter of the handler; may be repeated.
    #[arg(long = "set", value_name = "NAME=VALUE", value_parser = pair)]
    set: Vec<(String, String)>,
    /// How often everything is measured, in turns; medians are shown.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=100))]
    rounds: u32,
    /// Device to run on: `auto`, `cpu`, `cuda:0`, `tensorrt:0`.
    #[arg(long, value_name = "DEVICE", value_parser = device)]
    device: Option<String>,
    /// Compare with scripts of this Python (with the packages of `requirements.txt`), in the same rounds.
    #[arg(long, value_name = "PYTHON")]
    python: Option<PathBuf>,
    /// Where the Python scripts are.
    #[arg(long, value_name = "DIR", default_value = "tests/bench", requires = "python")]
    scripts: PathBuf,
    /// Also run the clip this many times over, by the `ffmpeg` program, to see whether memory grows with length.
    #[arg(long, value_name = "TIMES", value_parser = clap::value_parser!(u32).range(2..=1000))]
    long: Option<u32>,
    /// Find the fastest of some values of a parameter in place of all else, e.g. `sessions=1,2,4,8`.
    #[arg(long, value_name = "NAME=A,B,...", conflicts_with_all = ["python", "long"])]
    tune: Option<String>,
}

/// Measures until done or interrupted; both leave nothing behind.
pub(crate) async fn bench(global: &Global, args: Args) -> Result<(), Failure> {
    let mut signals = Signals::catch()?;
    match (&args.what, &args.handler) {
        // It has a worker to end first.
        (Some(What::Journey(args)), _) => Box::pin(journey::journey(global, args, &mut signals)).await,
        (Some(What::Transfer(args)), _) => tokio::select! {
            done = transfer::transfer(global, args) => done,
            // An object may be left: its name says what it was.
            signal = signals.next() => Err(signal),
        },
        (None, Some(args)) => tokio::select! {
            done = measure(global, args) => done,
            signal = signals.next() => Err(signal),
        },
        (None, None) => Err(Failure::Usage("name a handler and a clip, or `journey`, or `transfer`".into())),
    }
}

async fn measure(global: &Global, args: &HandlerArgs) -> Result<(), Failure> {
    let config = global.config()?;
    let clip =
        args.clip.canonicalize().map_err(|e| Failure::Usage(format!("{} cannot be read: {e}", args.clip.display())))?;
    let (binary, _) = open::handler(&config, &args.handler).await?;
    let configured = config.executor.devices.first().map_or("cpu", String::as_str);
    let ours = Measurement {
        binary: &binary,
        handler: &args.handler,
        clip: clip.clone(),
        params: serde_json::Value::from(params(&args.set)).to_string(),
        device: args.device.as_deref().unwrap_or(configured),
        threads: config.executor.threads.unwrap_or(0),
        registry: &config.models,
    };
    if let Some(tune) = &args.tune {
        return tune::tune(global, &ours, &args.set, tune, args.rounds).await;
    }
    let models = config.models.open().map_err(Failure::from)?.cache_dir().to_owned();
    let mut rounds = Vec::new();
    for number in 1..=args.rounds {
        let mut round = BTreeMap::new();
        for row in Row::all(&args.handler, &args.set, args.python.is_some()) {
            global.note(&format!("round {number} of {}: {row}", args.rounds));
            round.insert(row, take(row, &ours, args, &models).await?);
        }
        rounds.push(round);
    }
    let long = match args.long {
        Some(times) => Some(take_long(global, &ours, times).await?),
        None => None,
    };
    let report = Report::new(&args.handler, &args.clip, rounds, long);
    if global.json {
        let text = serde_json::to_string(&report).map_err(|e| Failure::Failed(e.to_string()))?;
        return print_line(&text);
    }
    report.lines().iter().try_for_each(|line| print_line(line))
}

async fn take(row: Row, ours: &Measurement<'_>, args: &HandlerArgs, models: &Path) -> Result<Measured, Failure> {
    let scratch = scratch()?;
    let (part, script) = match row {
        Row::Decode => (Some(Part::Decode), None),
        Row::Model => (Some(Part::Model), None),
        Row::Fit => (Some(Part::Fit), None),
        Row::Draw => (Some(Part::Draw), None),
        Row::Encode => (Some(Part::Encode), None),
        Row::EndToEnd => (None, None),
        Row::Careful => (None, Some("careful")),
        Row::Ordinary => (None, Some("ordinary")),
    };
    let (Some(script), Some(python)) = (script, &args.python) else {
        return Ok(ours.take(part, scratch.path()).await?);
    };
    let mut command = Command::new(python);
    let script = args.scripts.join(format!("{script}_{}.py", args.handler));
    // Matroska takes what either of them makes.
    command.arg(script).arg(&ours.clip).arg(scratch.path().join("out.mkv"));
    command.env("DARKROOM_MODELS_DIR", models);
    Ok(executor::last_line(command).await?)
}

/// The clip several times over in one file, without encoding it again.
async fn take_long(global: &Global, ours: &Measurement<'_>, times: u32) -> Result<Measured, Failure> {
    let scratch = scratch()?;
    // Matroska takes every codec.
    let clip = scratch.path().join("long.mkv");
    global.note(&format!("{times} times the clip: {}", Row::EndToEnd));
    let mut ffmpeg = Command::new("ffmpeg");
    ffmpeg.args(["-v", "error", "-stream_loop", &(times - 1).to_string(), "-i"]).arg(&ours.clip);
    ffmpeg.args(["-map", "0:v:0", "-c", "copy"]).arg(&clip).stdin(Stdio::null()).kill_on_drop(true);
    let status = ffmpeg.status().await.map_err(|e| Failure::Failed(format!("`ffmpeg` does not run: {e}")))?;
    if !status.success() {
        return Err(Failure::Failed(format!("`ffmpeg` could not repeat the clip ({status}): see its message above")));
    }
    let long = Measurement { clip, ..ours.clone() };
    let inner = scratch.path().join("run");
    std::fs::create_dir(&inner).map_err(|e| Failure::Failed(format!("{}: {e}", inner.display())))?;
    Ok(long.take(None, &inner).await?)
}

fn scratch() -> Result<tempfile::TempDir, Failure> {
    tempfile::tempdir().map_err(|e| Failure::Failed(format!("No temporary directory can be made: {e}.")))
}
