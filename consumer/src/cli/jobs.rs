//! `darkroom jobs`: what there is, stop it, run it again.

use std::collections::BTreeSet;

use darkroom_api::JobError;
use jiff::Timestamp;
use serde_json::json;

use crate::job::{JobId, manifest};
use crate::queue::{DeadLetter, Redrive};

use super::listing::{self, Row};
use super::open::{self, Records};
use super::{Failure, Global, print_line, wait};

/// Most dead letters that are looked through.
const MAX_LISTED: usize = 100_000;

/// What to do with jobs.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Command {
    /// Jobs with their state, the one that changed last first.
    List(listing::Args),
    /// Everything that is recorded of a job, and its manifest.
    Show {
        /// Job id.
        job: JobId,
    },
    /// Ask a job to stop, or not to start.
    Cancel {
        /// Job id.
        job: JobId,
    },
    /// Messages that were given up, with the reason, latest first.
    DeadLetters {
        /// At most this many.
        #[arg(long, default_value_t = 50)]
        limit: usize,
    },
    /// Send dead letters again: attempts start from zero.
    Redrive {
        /// Job ids or message ids.
        #[arg(required_unless_present = "all")]
        ids: Vec<String>,
        /// All of them.
        #[arg(long)]
        all: bool,
    },
    /// Wait for the terminal event about an input, from the configured event queue, and print it.
    Wait(wait::Args),
}

pub(crate) async fn jobs(global: &Global, command: Command) -> Result<(), Failure> {
    match command {
        Command::List(args) => listing::list(global, &args).await,
        Command::Show { job } => show(global, job).await,
        Command::Cancel { job } => {
            let record = Records::open(&global.backends()?).await?.of(job.clone())?;
            let history = record.history().await?;
            if history.last_attempt() == 0 {
                return Err(unrecorded(&job));
            }
            if let Some(end) = history.ends.last().filter(|end| end.is_final) {
                let outcome = format!("{:?}", end.outcome).to_lowercase();
                return Err(Failure::Failed(format!("The job has {outcome} already.")));
            }
            record.cancel(Timestamp::now()).await?;
            match global.json {
                true => print_line(&json!({ "job_id": job, "cancel_asked": true }).to_string()),
                false => print_line("cancellation asked for"),
            }
        }
        Command::DeadLetters { limit } => dead_letters(global, limit).await,
        Command::Redrive { ids, all } => redrive(global, &ids, all).await,
        Command::Wait(args) => wait::wait(global, args).await,
    }
}

async fn show(global: &Global, job: JobId) -> Result<(), Failure> {
    let records = Records::open(&global.backends()?).await?;
    let history = records.of(job.clone())?.history().await?;
    let Some(last) = history.attempts.last() else {
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

/// The job that a dead letter is about, as the worker noted it with the reason.
fn job_of(letter: &DeadLetter) -> Option<JobId> {
    letter.reason.as_ref()?.detail.as_ref()?.get("job_id")?.as_str()?.parse().ok()
}

async fn dead_letters(global: &Global, limit: usize) -> Result<(), Failure> {
    let queue = open::queue(&global.backends()?).await?;
    for letter in queue.dead_letters(limit).await? {
        let job = job_of(&letter);
        if global.json {
            let body = String::from_utf8_lossy(&letter.body);
            let line = json!({
                "message_id": letter.message_id, "job_id": job, "reason": letter.reason, "receives": letter.receives,
                "sent_at": letter.sent_at, "dead_at": letter.dead_at, "body": body,
            });
            print_line(&line.to_string())?;
        } else {
            let job = job.map_or_else(|| "-".to_owned(), |job| job.to_string());
            let reason = letter.reason.as_ref().map_or_else(|| "given up by the queue".to_owned(), JobError::to_string);
            print_line(&format!("{}  {job}  {}  {reason}", letter.message_id, letter.dead_at))?;
        }
    }
    Ok(())
}

async fn redrive(global: &Global, ids: &[String], all: bool) -> Result<(), Failure> {
    let config = global.backends()?;
    let queue = open::queue(&config).await?;
    let records = Records::open(&config).await?;
    let letters = queue.dead_letters(MAX_LISTED).await?;
    let is_of = |letter: &DeadLetter, id: &String| {
        *id == letter.message_id.0 || job_of(letter).is_some_and(|job| job.as_str() == id)
    };
    if let Some(unknown) = ids.iter().find(|id| !letters.iter().any(|letter| is_of(letter, id))) {
        return Err(Failure::Failed(format!("No dead letter is called {unknown}: see `darkroom jobs dead-letters`.")));
    }
    let chosen: Vec<DeadLetter> =
        letters.into_iter().filter(|letter| all || ids.iter().any(|id| is_of(letter, id))).collect();
    // Records first, each once: a message that comes back before would find its job ended, and a later redrive would
    // void the attempt that it started.
    let jobs: BTreeSet<JobId> = chosen.iter().filter_map(job_of).collect();
    for job in jobs {
        let record = records.of(job)?;
        if record.history().await?.live_until().is_none_or(|until| until <= Timestamp::now()) {
            record.redrive().await?;
        }
    }
    let mut redriven = 0;
    for letter in chosen {
        let count = queue.redrive(Redrive::One(letter.message_id.clone())).await?;
        redriven += count;
        if global.json {
            let line = json!({ "message_id": letter.message_id, "job_id": job_of(&letter), "redriven": count == 1 });
            print_line(&line.to_string())?;
        }
    }
    if global.json { Ok(()) } else { print_line(&format!("{redriven} sent again")) }
}
