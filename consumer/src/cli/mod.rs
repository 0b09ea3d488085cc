//! The command line. Exit status: 0 done, 1 a job (or what was asked) failed, 2 bad usage or configuration, 128 and the
//! signal's number where one ended the command.

mod bench;
mod compare;
mod completions;
mod display;
mod doctor;
mod embedded;
mod handlers;
mod jobs;
mod letters;
mod listing;
mod models;
mod open;
mod presign;
mod reconcile;
mod run;
mod signals;
mod submit;
mod up;
mod wait;
mod work;

use std::ffi::OsString;
use std::io::Write;
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};
use darkroom_api::JobError;

use crate::config::{Config, ConfigErrors};

/// Directory of an `up` that is given none.
const UP_DIR: &str = ".darkroom/up";
/// Longest wait for a server on this machine to take a connection.
const CONNECT: Duration = Duration::from_secs(2);

/// Develops footage: drop a video in a bucket, or publish a job message, and get the result and an event.
#[derive(Debug, Parser)]
#[command(name = "darkroom", version, max_term_width = 100)]
pub struct Cli {
    #[command(flatten)]
    global: Global,
    #[command(subcommand)]
    command: Command,
}

/// Options of every command.
#[derive(Debug, Args)]
pub(crate) struct Global {
    /// Configuration file; `infra/config.example.toml` shows every key.
    #[arg(long, global = true, env = "DARKROOM_CONFIG", value_name = "FILE")]
    config: Option<PathBuf>,
    /// Directory of a `darkroom up` (itself: where to keep everything, `.darkroom/up` if absent): stands for the
    /// configuration that it writes there.
    #[arg(long, global = true, conflicts_with = "config", value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// Output and progress as JSON, one object a line.
    #[arg(long, global = true)]
    json: bool,
}

impl Global {
    /// The configuration that was asked for, or the defaults.
    fn config(&self) -> Result<Config, Failure> {
        let of_up = self.data_dir.as_ref().map(|dir| dir.join("darkroom.toml"));
        if let (Some(dir), Some(file)) = (&self.data_dir, &of_up)
            && !file.is_file()
        {
            let why = format!("No `darkroom up` has run in {}: start one, or name its --data-dir.", dir.display());
            return Err(Failure::Usage(why));
        }
        Ok(Config::from_process(self.config.as_deref().or(of_up.as_deref()))?)
    }

    /// [`Global::config`] for commands that talk to a worker's queue and buckets: where none is named and none is in the
    /// environment, the `up` that was given no directory either.
    fn backends(&self) -> Result<Config, Failure> {
        let config = self.config()?;
        if self.config.is_none() && self.data_dir.is_none() && config.stores.is_empty() {
            let up = Path::new(UP_DIR);
            if up.join("up.json").is_file() {
                return Ok(Config::from_process(Some(&up.join("darkroom.toml")))?);
            }
            let why = "Say which worker is meant: `--data-dir DIR` of a `darkroom up` (.darkroom/up if it was given none), \
                       or `--config FILE` of a `darkroom work`.";
            return Err(Failure::Usage(why.into()));
        }
        Ok(config)
    }

    /// [`Global::backends`] for commands that need the buckets: those of an `up` are there only while it runs.
    fn running(&self) -> Result<Config, Failure> {
        let config = self.backends()?;
        let endpoint = config.stores.first().and_then(|store| store.endpoint.as_deref());
        let of_up = self.config.is_none() && (self.data_dir.is_some() || Path::new(UP_DIR).join("up.json").is_file());
        let address = endpoint.and_then(|url| url.strip_prefix("http://")?.parse::<SocketAddr>().ok());
        if let Some(address) = address.filter(|address| of_up && address.ip().is_loopback())
            && TcpStream::connect_timeout(&address, CONNECT).is_err()
        {
            let dir = self.data_dir.as_deref().unwrap_or(Path::new(UP_DIR)).display();
            let why = format!("`darkroom up` is not running for {dir}: start it with `darkroom up --data-dir {dir}`.");
            return Err(Failure::Failed(why));
        }
        Ok(config)
    }

    /// A remark on standard error.
    fn note(&self, text: &str) {
        match self.json {
            true => note(&serde_json::json!({ "note": text }).to_string()),
            false => note(text),
        }
    }
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Everything embedded in one process, on loopback: S3, queue, worker.
    Up(up::Args),
    /// Take jobs from the configured queue until told to stop.
    Work(work::Args),
    /// Run jobs on local files.
    Run(run::Args),
    /// Tell how close two videos or pictures are: PSNR, SSIM, VMAF, and a page to look at.
    Compare(compare::Args),
    /// Put a job message into the queue.
    Submit(submit::Args),
    /// Print a URL that lets somebody without keys read an object, or upload it (`--put`).
    Presign(presign::Args),
    /// Look at jobs, cancel them, redrive dead letters.
    #[command(subcommand)]
    Jobs(jobs::Command),
    /// Submit uploads whose notification was lost: what routes take and neither a result nor a record knows of. With
    /// --gc, delete what runs left behind.
    Reconcile(reconcile::Args),
    /// What handlers there are, and the parameters, inputs and models of one.
    Handlers(handlers::Args),
    /// List, fetch and verify models and libraries.
    #[command(subcommand)]
    Models(models::Command),
    /// Tell what is installed, what is missing, and what to do about it.
    Doctor,
    /// Measure a handler beside its parts alone, and beside Python; or the way of an upload to the executor.
    Bench(bench::Args),
    /// Print a completion script for your shell.
    Completions(completions::Args),
}

/// Why a command ends with another status than 0.
#[derive(Debug)]
pub(crate) enum Failure {
    /// Status 2: the user has to change the call or the configuration.
    Usage(String),
    /// Status 1: it did not work.
    Failed(String),
    /// Status 128 and the number of the signal that ended it: 130 after Ctrl-C, 143 after SIGTERM.
    Signal(u8),
}

impl Failure {
    /// The exit status, and what to say; nothing where all is said.
    fn explain(self) -> (u8, String) {
        match self {
            Failure::Usage(message) => (2, message),
            Failure::Failed(message) => (1, message),
            Failure::Signal(number) => (128 + number, String::new()),
        }
    }
}

impl From<ConfigErrors> for Failure {
    fn from(errors: ConfigErrors) -> Self {
        Failure::Usage(errors.to_string())
    }
}

impl From<JobError> for Failure {
    fn from(error: JobError) -> Self {
        Failure::Failed(error.to_string())
    }
}

impl From<crate::queue::Error> for Failure {
    fn from(error: crate::queue::Error) -> Self {
        Failure::Failed(error.to_string())
    }
}

/// Parses the arguments, does what they say, and returns the exit status.
pub fn main(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    let cli = match Cli::try_parse_from(args) {
        Ok(cli) => cli,
        Err(error) => {
            // Help and version are not errors for clap's own status either.
            let _closed = error.print();
            return if error.use_stderr() { ExitCode::from(2) } else { ExitCode::SUCCESS };
        }
    };
    let json = cli.global.json;
    let (status, message) = match dispatch(cli) {
        Ok(()) => return ExitCode::SUCCESS,
        Err(failure) => failure.explain(),
    };
    match (message.is_empty(), json) {
        (true, _) => {}
        (false, true) => note(&serde_json::json!({ "error": message, "status": status }).to_string()),
        (false, false) => note(&format!("error: {message}")),
    }
    ExitCode::from(status)
}

fn dispatch(Cli { global, command }: Cli) -> Result<(), Failure> {
    #[cfg(feature = "fault-injection")]
    crate::telemetry::failpoint::arm().map_err(Failure::Usage)?;
    match command {
        Command::Up(args) => block_on(up::up(&global, args)),
        Command::Work(args) => block_on(work::work(&global, args)),
        Command::Run(args) => block_on(run::run(&global, args)),
        Command::Compare(args) => block_on(compare::compare(&global, args)),
        Command::Submit(args) => block_on(submit::submit(&global, args)),
        Command::Presign(args) => block_on(presign::presign(&global, args)),
        Command::Jobs(command) => block_on(jobs::jobs(&global, command)),
        Command::Reconcile(args) => block_on(reconcile::reconcile(&global, args)),
        Command::Handlers(args) => block_on(handlers::handlers(&global, &args)),
        Command::Models(command) => models::models(&global, &command),
        Command::Doctor => block_on(doctor::doctor(&global)),
        Command::Bench(args) => block_on(bench::bench(&global, args)),
        Command::Completions(args) => completions::completions(&args),
    }
}

/// Runs a command that waits for many things at once.
fn block_on(work: impl Future<Output = Result<(), Failure>>) -> Result<(), Failure> {
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|e| Failure::Failed(format!("The async runtime cannot start: {e}.")))?
        .block_on(work)
}

/// One line on standard output. A closed pipe ends the command quietly, as `head` expects.
pub(crate) fn print_line(text: &str) -> Result<(), Failure> {
    writeln!(std::io::stdout().lock(), "{text}").map_err(|_| Failure::Failed(String::new()))
}

/// A line on standard error, as it is.
pub(crate) fn note(text: &str) {
    let _closed = writeln!(std::io::stderr().lock(), "{text}");
}

/// `name=value` as clap reads it.
pub(crate) fn pair(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("write it NAME=VALUE")?;
    Ok((name.to_owned(), value.to_owned()))
}

/// A device as executors know it.
pub(crate) fn device(text: &str) -> Result<String, String> {
    let (kind, index) = text.split_once(':').unwrap_or((text, "0"));
    let good = match kind {
        "auto" | "cpu" => text == kind,
        "cuda" | "tensorrt" => index.parse::<u32>().is_ok(),
        _ => false,
    };
    if good { Ok(text.to_owned()) } else { Err("use auto, cpu, cuda:0 or tensorrt:0".into()) }
}

/// Parameters of `--set`: JSON where the value is JSON, else text.
pub(crate) fn params(set: &[(String, String)]) -> serde_json::Map<String, serde_json::Value> {
    let value = |text: &String| serde_json::from_str(text).unwrap_or_else(|_| serde_json::Value::from(text.as_str()));
    set.iter().map(|(name, text)| (name.clone(), value(text))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn set_takes_json_or_text() {
        let set = [pair("quality=5").unwrap(), pair("format=png").unwrap(), pair("colour=#00ff00").unwrap()];
        let params = params(&set);
        assert_eq!(serde_json::json!({"quality": 5, "format": "png", "colour": "#00ff00"}), serde_json::json!(params));
        assert!(pair("quality").is_err());
    }

    #[test]
    fn devices_are_those_that_executors_know() {
        assert!(["auto", "cpu", "cuda", "cuda:1", "tensorrt:0"].iter().all(|text| device(text).is_ok()));
        assert!(["gpu", "cpu:0", "cuda:x", ""].iter().all(|text| device(text).is_err()));
    }
}
