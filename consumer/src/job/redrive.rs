//! Jobs that ended without a result run again: a dead letter is sent again together with the records of its jobs, and a
//! job that left no letter gets a new message, made from what its record knows.

use std::collections::{BTreeMap, BTreeSet};

use darkroom_api::{ErrorClass, ErrorCode, JobError};
use jiff::Timestamp;
use serde_json::{Value, json};

use super::message::{JobMessage, OneOrMany, Schema};
use super::record::{Outcome, Record};
use super::{History, JobId, manifest};
use crate::queue::{self, DeadLetter, MessageId, Queue, Redrive, SendOptions};
use crate::store::{ObjectRef, Place, Stores};
use crate::trigger::Submission;

/// Dead letters of one request.
const PAGE: usize = 100;
/// Jobs that a dead letter names. A message with more failed records than these is redriven with these jobs' records.
const MAX_JOBS: usize = 256;

/// A dead letter without its message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Letter {
    /// Name of the message.
    pub message_id: MessageId,
    /// Jobs that failed with it; none where it led to no job, or the queue itself gave it up.
    pub jobs: Vec<JobId>,
}

/// Why a job does not run again.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Nothing is known of it.
    #[error("No attempt of job {0} is recorded: see `darkroom jobs list`.")]
    Unrecorded(JobId),
    /// It runs, or its worker died a moment ago.
    #[error("A worker has job {job} until {until}: wait, or cancel it.")]
    Live {
        /// The job.
        job: JobId,
        /// Until when its worker is taken to live.
        until: Timestamp,
    },
    /// The attempts go on: another message would only come on top of the one that waits.
    #[error(
        "Job {job} is still being tried: attempt {attempt} is over, and its message comes again for the next one. Wait; \
         or, if that message was taken from the queue, cancel the job and redrive it then."
    )]
    BetweenAttempts {
        /// The job.
        job: JobId,
        /// The attempt that ended last.
        attempt: u32,
    },
    /// It has its result.
    #[error("Job {0} has completed: submit it with another `rerun` to have it done once more.")]
    Completed(JobId),
    /// The store does not answer, or the input is another now.
    #[error(transparent)]
    Job(#[from] JobError),
    /// The queue does not answer.
    #[error(transparent)]
    Queue(#[from] queue::Error),
}

impl Error {
    /// Whether the others fail too.
    pub fn is_outage(&self) -> bool {
        match self {
            Error::Queue(_) => true,
            // A damaged record is told as `internal`, and is one job's own.
            Error::Job(error) => error.class() == ErrorClass::Transient && error.code != ErrorCode::Internal,
            Error::Unrecorded(_) | Error::Live { .. } | Error::BetweenAttempts { .. } | Error::Completed(_) => false,
        }
    }
}

/// What a redrive works on.
#[derive(Debug, Clone, Copy)]
pub struct Redriver<'a> {
    /// The queue that jobs wait in.
    pub queue: &'a dyn Queue,
    /// All stores.
    pub stores: &'a Stores,
    /// Where records are.
    pub state: &'a Place,
}

impl Redriver<'_> {
    /// Sends a dead letter again; false where somebody else has. Its jobs run again, their attempts count from zero; those
    /// in `done` were redriven with another letter already and are left alone, so that each runs again once.
    ///
    /// # Errors
    /// [`Error::Job`], [`Error::Queue`]: the letter stays.
    pub async fn letter(&self, letter: &Letter, done: &mut BTreeSet<JobId>) -> Result<bool, Error> {
        // The records first: a message that is back earlier would find its job ended.
        for job in letter.jobs.iter().filter(|job| !done.contains(job)) {
            let record = self.record(job)?;
            let history = record.history().await?;
            let is_completed = history.ended().is_some_and(|end| end.outcome == Outcome::Completed);
            if !is_completed && live(&history).is_none() {
                record.redrive(&history).await?;
            }
        }
        done.extend(letter.jobs.iter().cloned());
        Ok(self.queue.redrive(Redrive::One(letter.message_id.clone())).await? == 1)
    }

    /// Lets a job run again that failed or was cancelled and left no dead letter. Returns the name of its new message, or,
    /// while that waits for a worker, of the one from an earlier redrive.
    ///
    /// # Errors
    /// [`Error`]; [`ErrorCode::InputChanged`] where a message can no longer name the content that the job is about.
    pub async fn job(&self, job: &JobId) -> Result<MessageId, Error> {
        let record = self.record(job)?;
        let history = record.history().await?;
        let Some(last) = history.latest() else { return Err(Error::Unrecorded(job.clone())) };
        if let Some(until) = live(&history) {
            return Err(Error::Live { job: job.clone(), until });
        }
        if let Some(end) = history.between_attempts() {
            return Err(Error::BetweenAttempts { job: job.clone(), attempt: end.attempt });
        }
        let results = self.stores.get(&last.submission.destination.store)?;
        if manifest::read(results, &last.submission.destination, job).await?.is_some() {
            return Err(Error::Completed(job.clone()));
        }
        self.check_inputs(job, &last.submission).await?;
        let body = json!(message(&last.submission)).to_string();
        record.redrive(&history).await?;
        // Asked twice, or again after a crash between these two, it is still one message.
        let dedup_id = Some(format!("redrive-{job}-{}", last.number));
        Ok(self.queue.send(&body, SendOptions { dedup_id, ..SendOptions::default() }).await?)
    }

    fn record(&self, job: &JobId) -> Result<Record, JobError> {
        Ok(Record::new(self.stores.get(&self.state.store)?.clone(), self.state, job.clone()))
    }

    /// A message names objects, not their content: with other content it would be another job.
    async fn check_inputs(&self, job: &JobId, submission: &Submission) -> Result<(), JobError> {
        let is_web = submission.inputs.iter().any(|input| input.object.is_web());
        let why = match self.asked_for_now(submission).await {
            Ok(Some(now)) if now == *job => return Ok(()),
            // Without the query that the record does not keep, any answer may come.
            Err(error) if !is_web || error.class() == ErrorClass::Transient => return Err(error),
            Ok(_) | Err(_) if is_web => format!(
                "Job {job} cannot be sent again from its record, which keeps neither the query of an https input nor its \
                 content: submit it again with its URL, and with another `rerun` if it was cancelled."
            ),
            _ => format!("An input of job {job} has changed since it was submitted: submit it again, as a new job."),
        };
        Err(JobError::new(ErrorCode::InputChanged, why))
    }

    /// The job that the record's inputs make as they are now; `None` where their content would have to be read for that.
    async fn asked_for_now(&self, submission: &Submission) -> Result<Option<JobId>, JobError> {
        let mut now = submission.clone();
        for input in &mut now.inputs {
            let ObjectRef { store, bucket, key, .. } = &input.object;
            input.object = self.stores.pin(&ObjectRef::new(store, bucket, key)).await?;
            if !input.object.is_pinned() {
                return Ok(None);
            }
        }
        JobId::of(&now).map(Some)
    }
}

fn live(history: &History) -> Option<Timestamp> {
    history.live_until().filter(|until| *until > Timestamp::now())
}

/// The message that asks for the same job.
fn message(submission: &Submission) -> JobMessage {
    let mut inputs: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for input in &submission.inputs {
        inputs.entry(input.role.clone()).or_default().push(input.object.url());
    }
    JobMessage {
        schema: Schema::V1,
        handler: submission.handler.clone(),
        input: None,
        inputs: Some(inputs.into_iter().map(|(role, urls)| (role, OneOrMany::Many(urls))).collect()),
        output: submission.destination.to_string(),
        params: submission.params.clone(),
        reference: submission.reference.clone(),
        deadline_secs: submission.deadline_secs,
        rerun: submission.rerun.clone(),
    }
}

/// The dead letters of a queue, latest first, at most `max`; `take` keeps of each what is needed.
///
/// # Errors
/// As [`Queue::dead_letters`].
pub async fn dead_letters<T>(queue: &dyn Queue, max: usize, take: impl Fn(&DeadLetter) -> T) -> queue::Result<Vec<T>> {
    let (mut taken, mut last) = (Vec::new(), None::<DeadLetter>);
    while taken.len() < max {
        let mut page = queue.dead_letters(PAGE.min(max - taken.len()), last.as_ref()).await?;
        taken.extend(page.iter().map(&take));
        last = page.pop();
        if last.is_none() {
            break;
        }
    }
    Ok(taken)
}

impl From<&DeadLetter> for Letter {
    fn from(letter: &DeadLetter) -> Self {
        let detail = letter.reason.as_ref().and_then(|reason| reason.detail.as_ref());
        let ids = detail.and_then(|detail| detail.get("job_ids")?.as_array()).into_iter().flatten();
        let jobs = ids.filter_map(|id| id.as_str()?.parse().ok()).collect();
        Letter { message_id: letter.message_id.clone(), jobs }
    }
}

/// The reason of a dead letter that names the jobs that failed with it.
pub(super) fn reason(mut error: JobError, jobs: &[JobId]) -> JobError {
    if jobs.is_empty() {
        return error;
    }
    let jobs = json!(&jobs[..jobs.len().min(MAX_JOBS)]);
    error.detail = Some(match error.detail.take() {
        Some(Value::Object(mut detail)) => {
            detail.insert("job_ids".into(), jobs);
            detail.into()
        }
        Some(other) => json!({ "job_ids": jobs, "detail": other }),
        None => json!({ "job_ids": jobs }),
    });
    error
}

#[cfg(test)]
mod tests;
