//! `darkroom jobs`: what there is, stop it, run it again.

use std::collections::BTreeSet;

use darkroom_api::JobError;
use jiff::Timestamp;
use serde_json::{Value, json};

use crate::job::history::History;
use crate::job::record::list_jobs;
use crate::job::{JobId, manifest};
use crate::queue::{DeadLetter, Redrive};

use super::open::{self, Records};
use super::{Failure, Global, print_line, wait};

/// Most objects that a listing of jobs reads.
const MAX_LISTED: usize = 100_000;

/// What to do with jobs.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Command {
    /// Jobs with their state, latest first.
    List {
        /// At most this many.
        #[arg(long, default_value_t = 50)]
        limit: usize,
    },
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
        Command::List { limit } => list(global, limit).await,
        Command::Show { job } => show(global, job).await,
        Command::Cancel { job } => {
            let record = Records::open(&global.config()?).await?.of(job.clone())?;
            let history = record.history().await?;
            if history.last_attempt() == 0 {
                return Err(unrecorded(&job));
            }
            if let Some(end) = history.ends.last().filter(|end| end.is_final) {
                let outcome = format!("{:?}", end.outcome).to_lowercase();
                return Err(Failure::Failed(format!("The job has {outcome} already.")));
            }
            record.cancel(Timestamp::now()).await?;
            print_line("cancellation asked for")
        }
        Command::DeadLetters { limit } => dead_letters(global, limit).await,
        Command::Redrive { ids, all } => redrive(global, &ids, all).await,
        Command::Wait(args) => wait::wait(global, args).await,
    }
}

async fn list(global: &Global, limit: usize) -> Result<(), Failure> {
    let records = Records::open(&global.config()?).await?;
    let store = records.stores.get(&records.place.store)?;
    let ids = list_jobs(store, &records.place, MAX_LISTED).await?;
    let mut jobs = Vec::with_capacity(ids.len());
    for id in ids {
        jobs.push((records.of(id.clone())?.history().await?, id));
    }
    jobs.sort_by_key(|(history, _)| std::cmp::Reverse(history.attempts.last().map(|a| a.claimed_at)));
    for (history, id) in jobs.iter().take(limit) {
        let line = Line::of(id, history);
        print_line(&if global.json { line.json().to_string() } else { line.text() })?;
    }
    Ok(())
}

/// One job in a listing.
struct Line<'a> {
    id: &'a JobId,
    history: &'a History,
}

impl<'a> Line<'a> {
    fn of(id: &'a JobId, history: &'a History) -> Self {
        Line { id, history }
    }

    fn state(&self) -> String {
        if let Some(end) = self.history.ends.last().filter(|end| end.is_final) {
            return format!("{:?}", end.outcome).to_lowercase();
        }
        match (&self.history.status, self.history.live_until()) {
            (Some(status), Some(until)) if until > Timestamp::now() => format!("{:?}", status.state).to_lowercase(),
            (_, Some(until)) if until > Timestamp::now() => "fetching".into(),
            (_, Some(_)) => "lost".into(),
            _ => "retrying".into(),
        }
    }

    fn json(&self) -> Value {
        let status = self.history.status.as_ref();
        let last = self.history.attempts.last();
        json!({
            "job_id": self.id,
            "state": self.state(),
            "stage": status.and_then(|s| s.stage.clone()),
            "percent": status.and_then(|s| s.percent),
            "attempts": self.history.counted(),
            "handler": last.map(|a| &a.submission.handler),
            "input": last.and_then(|a| a.submission.inputs.first()).map(|i| i.object.to_string()),
            "claimed_at": last.map(|a| a.claimed_at),
            "error": self.history.ends.last().and_then(|end| end.error.as_ref()),
        })
    }

    fn text(&self) -> String {
        let last = self.history.attempts.last();
        let input = last.and_then(|a| a.submission.inputs.first()).map(|i| i.object.to_string()).unwrap_or_default();
        let percent = self.history.status.as_ref().and_then(|s| s.percent).map(|p| format!("{p:.0} %"));
        let error = self.history.ends.last().and_then(|end| end.error.as_ref()).map(|e| format!("  ({e})"));
        let handler = last.map_or("", |a| a.submission.handler.as_str());
        let (percent, error) = (percent.unwrap_or_default(), error.unwrap_or_default());
        format!("{}  {:10} {percent:>5}  {handler:10} {input}{error}", self.id, self.state())
    }
}

async fn show(global: &Global, job: JobId) -> Result<(), Failure> {
    let records = Records::open(&global.config()?).await?;
    let history = records.of(job.clone())?.history().await?;
    let Some(last) = history.attempts.last() else {
        return Err(unrecorded(&job));
    };
    let destination = &last.submission.destination;
    let manifest = manifest::read(records.stores.get(&destination.store)?, destination, &job).await?;
    let whole = json!({
        "job": Line::of(&job, &history).json(),
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
    let queue = open::queue(&global.config()?).await?;
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
    let config = global.config()?;
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
        redriven += queue.redrive(Redrive::One(letter.message_id)).await?;
    }
    print_line(&format!("{redriven} sent again"))
}
