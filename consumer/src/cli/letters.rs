//! `darkroom jobs dead-letters` and `darkroom jobs redrive`.

use std::cmp::Reverse;
use std::collections::BTreeSet;

use darkroom_api::JobError;
use serde_json::json;

use crate::job::JobId;
use crate::job::redrive::{self, Letter, Redriver};
use crate::queue::{DeadLetter, MessageId};
use crate::worker::Source;

use super::open::{self, Records};
use super::{Failure, Global, print_line};

/// Most dead letters that are looked through.
const MAX_LETTERS: usize = 1_000_000;

impl From<redrive::Error> for Failure {
    fn from(error: redrive::Error) -> Self {
        Failure::Failed(error.to_string())
    }
}

pub(crate) async fn list(global: &Global, limit: usize) -> Result<(), Failure> {
    let queues = open::queues(&global.backends()?).await?;
    let mut lines = Vec::new();
    for source in &queues {
        let name = (queues.len() > 1).then_some(source.name.as_str());
        let line =
            |letter: &DeadLetter| (letter.dead_at, if global.json { json_line } else { text_line }(letter, name));
        lines.extend(redrive::dead_letters(&*source.queue, limit, line).await?);
    }
    lines.sort_by_key(|(dead_at, _)| Reverse(*dead_at));
    lines.iter().take(limit).try_for_each(|(_, line)| print_line(line))
}

fn json_line(letter: &DeadLetter, queue: Option<&str>) -> String {
    let body = String::from_utf8_lossy(&letter.body);
    let mut line = json!({
        "message_id": letter.message_id, "job_ids": Letter::from(letter).jobs, "reason": letter.reason,
        "receives": letter.receives, "sent_at": letter.sent_at, "dead_at": letter.dead_at, "body": body,
    });
    if let Some(queue) = queue {
        line["queue"] = queue.into();
    }
    line.to_string()
}

fn text_line(letter: &DeadLetter, queue: Option<&str>) -> String {
    let jobs = Letter::from(letter).jobs;
    let jobs: Vec<_> = jobs.iter().map(JobId::as_str).collect();
    let jobs = if jobs.is_empty() { "-".to_owned() } else { jobs.join(",") };
    let reason = letter.reason.as_ref().map_or_else(|| "given up by the queue".to_owned(), JobError::to_string);
    let queue = queue.map(|queue| format!("{queue}  ")).unwrap_or_default();
    format!("{}  {queue}{jobs}  {}  {reason}", letter.message_id, letter.dead_at)
}

pub(crate) async fn redrive(global: &Global, ids: &[String], all: bool) -> Result<(), Failure> {
    let config = global.running()?;
    let queues = open::queues(&config).await?;
    let Records { stores, place } = Records::open(&config).await?;
    let mut letters = Vec::new();
    for Source { queue, .. } in &queues {
        letters.extend(redrive::dead_letters(&**queue, MAX_LETTERS, |letter| (queue, Letter::from(letter))).await?);
    }
    let is_of =
        |letter: &Letter, id: &String| *id == letter.message_id.0 || letter.jobs.iter().any(|job| job.as_str() == id);
    // Jobs that left no letter: cancelled, or failed under a message that was taken away.
    let mut jobs = Vec::new();
    for id in ids.iter().filter(|id| !letters.iter().any(|(_, letter)| is_of(letter, id))) {
        jobs.push(id.parse::<JobId>().map_err(|_| {
            let why = format!("No job and no dead letter is called {id}: see `darkroom jobs list` and `dead-letters`.");
            Failure::Failed(why)
        })?);
    }
    letters.retain(|(_, letter)| all || ids.iter().any(|id| is_of(letter, id)));
    let mut report = Report { json: global.json, sent: 0, failed: Vec::new() };
    let mut done = BTreeSet::new();
    for (queue, letter) in letters {
        let redriver = Redriver { queue: &**queue, stores: &stores, state: &place };
        let outcome = redriver.letter(&letter, &mut done).await;
        report.tell(&letter.message_id.0, &letter.jobs, outcome.map(|is_sent| (letter.message_id.clone(), is_sent)))?;
    }
    // No record says which queue a job came from: those without a letter wait in the first one.
    let Some(Source { queue, .. }) = queues.first() else { return report.end() };
    for job in jobs {
        let outcome = Redriver { queue: &**queue, stores: &stores, state: &place }.job(&job).await;
        report.tell(job.as_str(), std::slice::from_ref(&job), outcome.map(|message_id| (message_id, true)))?;
    }
    report.end()
}

/// What became of each letter and job: one that is damaged holds up no other.
struct Report {
    json: bool,
    sent: u64,
    failed: Vec<String>,
}

impl Report {
    /// Tells of one; fails only where the others would fail too.
    fn tell(
        &mut self,
        name: &str,
        jobs: &[JobId],
        outcome: Result<(MessageId, bool), redrive::Error>,
    ) -> Result<(), Failure> {
        match outcome {
            Ok((message_id, is_sent)) => {
                self.sent += u64::from(is_sent);
                match self.json {
                    true => print_line(
                        &json!({ "message_id": message_id, "job_ids": jobs, "redriven": is_sent }).to_string(),
                    ),
                    false => Ok(()),
                }
            }
            Err(error) => {
                self.failed.push(format!("{name} was not sent again. {error}"));
                if error.is_outage() { Err(Failure::Failed(self.failed.join("\n"))) } else { Ok(()) }
            }
        }
    }

    fn end(self) -> Result<(), Failure> {
        if !self.json {
            print_line(&format!("{} sent again", self.sent))?;
        }
        if self.failed.is_empty() { Ok(()) } else { Err(Failure::Failed(self.failed.join("\n"))) }
    }
}
