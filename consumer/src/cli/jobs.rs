//! `darkroom jobs`: what there is, stop it, run it again.

use jiff::Timestamp;
use serde_json::json;

use crate::job::record::Outcome;
use crate::job::{JobId, manifest};

use super::listing::{self, Row};
use super::open::Records;
use super::{Failure, Global, letters, print_line, wait};

/// What to do with jobs.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Command {
    /// Jobs with their state, the one that changed last first.
    List(listing::Args),
    /// Everything that is recorded of a job, and its manifest.
    Show {
        /// Job id.
        #[arg(value_parser = job_id)]
        job: JobId,
    },
    /// Ask a job to stop, or not to start.
    Cancel {
        /// Job id.
        #[arg(value_parser = job_id)]
        job: JobId,
    },
    /// Messages that were given up, with the reason, latest first.
    DeadLetters {
        /// At most this many.
        #[arg(long, default_value_t = 50)]
        limit: usize,
    },
    /// Run failed and cancelled jobs again: attempts start from zero.
    Redrive {
        /// Job ids, or message ids of dead letters.
        #[arg(required_unless_present = "all")]
        ids: Vec<String>,
        /// All dead letters.
        #[arg(long)]
        all: bool,
    },
    /// Wait until an upload, a submission or a job is finished, and print its terminal event; as often as you like.
    Wait(wait::Args),
}

pub(crate) async fn jobs(global: &Global, command: Command) -> Result<(), Failure> {
    match command {
        Command::List(args) => listing::list(global, &args).await,
        Command::Show { job } => show(global, job).await,
        Command::Cancel { job } => {
            let record = Records::open(&global.running()?).await?.of(job.clone())?;
            let history = record.history().await?;
            if history.last_attempt() == 0 {
                return Err(unrecorded(&job));
            }
            if let Some(end) = history.ended() {
                return Err(Failure::Failed(already(end.outcome).into()));
            }
            record.cancel(Timestamp::now()).await?;
            match global.json {
                true => print_line(&json!({ "job_id": job, "cancel_asked": true }).to_string()),
                false => print_line("cancellation asked for"),
            }
        }
        Command::DeadLetters { limit } => letters::list(global, limit).await,
        Command::Redrive { ids, all } => letters::redrive(global, &ids, all).await,
        Command::Wait(args) => wait::wait(global, args).await,
    }
}

/// A job id as clap reads it: the reason alone, as on every other argument.
fn job_id(text: &str) -> Result<JobId, String> {
    text.parse().map_err(|error: darkroom_api::JobError| error.message)
}

/// Why a job that ended cannot be cancelled.
fn already(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Completed => "The job was completed already.",
        Outcome::Failed => "The job failed already.",
        Outcome::Cancelled => "The job was cancelled already.",
        Outcome::Interrupted => "The job was interrupted.",
    }
}

async fn show(global: &Global, job: JobId) -> Result<(), Failure> {
    let records = Records::open(&global.running()?).await?;
    let history = records.of(job.clone())?.history().await?;
    let Some(last) = history.latest() else {
        return Err(unrecorded(&job));
    };
    let destination = &last.submission.destination;
    let manifest = manifest::read(records.stores.get(&destination.store)?, destination, &job).await?;
    let whole = json!({
        "job": Row { id: &job, history: Ok(&history) }.json(),
        "attempts": history.attempts,
        "ends": history.ends,
        "status": history.status,
        "cancel_asked": history.is_cancelled,
        "manifest": manifest,
    });
    print_line(&if global.json { whole.to_string() } else { format!("{whole:#}") })
}

fn unrecorded(job: &JobId) -> Failure {
    Failure::Failed(format!("No attempt of job {job} is recorded: see `darkroom jobs list`."))
}
