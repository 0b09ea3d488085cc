//! A job that is finished is told again from its record: as often as somebody asks, whoever took its event.

use futures::{StreamExt, stream};
use jiff::Timestamp;
use serde_json::Value;

use crate::job::JobId;
use crate::job::history::History;
use crate::job::record::{Attempt, Outcome, list_jobs};
use crate::job::runner::told_again;

use super::{About, Failure, JobState, Waiter};

/// Most objects of records that are listed.
const MAX_OBJECTS: usize = 500_000;
/// Of these the jobs that changed last are read.
const MAX_JOBS: usize = 500;
/// Records that are read at once.
const READS_AT_ONCE: usize = 16;

impl Waiter<'_> {
    /// The terminal event, where the record tells it. `known` keeps the job once it is found, for the next look.
    pub(super) async fn recorded(&self, known: &mut Option<JobId>) -> Result<Option<Value>, Failure> {
        // An upload may have led to several jobs since then: only events tell which is meant.
        if matches!(self.args.about, About::Input(_)) && self.args.since.is_some() {
            return Ok(None);
        }
        let Some((job, history)) = self.found(known).await? else { return Ok(None) };
        if JobState::of(&history) == JobState::Superseded {
            return match self.args.about {
                About::Job(_) => Err(superseded(&job)),
                _ => Ok(None),
            };
        }
        let ended = history.ended().filter(|end| end.ended_at >= self.since || end.outcome == Outcome::Completed);
        let attempt = ended.and_then(|end| history.attempts.iter().find(|attempt| attempt.number == end.attempt));
        let (Some(end), Some(attempt)) = (ended, attempt) else { return Ok(None) };
        let results = self.records.stores.get(&attempt.submission.destination.store)?;
        let gone = || Failure::Failed(format!("The manifest of job {job} is gone: its results were deleted."));
        let event = told_again(results, &job, attempt, end).await?.ok_or_else(gone)?;
        let mut event: Value = serde_json::from_str(&event.to_json()).map_err(|e| Failure::Failed(e.to_string()))?;
        // Several submissions may have led to the job: the answer names the one that was asked about.
        if let About::Submission(id) = &self.args.about {
            event["data"]["submission_id"] = id.as_str().into();
        }
        Ok(Some(event))
    }

    /// Whether a submission that was refused then has become a job since, by a redrive.
    pub(super) async fn has_job_since(&self, refused_at: Timestamp) -> Result<bool, Failure> {
        if !matches!(self.args.about, About::Submission(_)) {
            return Ok(false);
        }
        let found = self.found(&mut None).await?;
        Ok(found.is_some_and(|(_, history)| history.latest().is_some_and(|last| last.claimed_at > refused_at)))
    }

    async fn found(&self, known: &mut Option<JobId>) -> Result<Option<(JobId, History)>, Failure> {
        if let About::Job(job) = &self.args.about {
            known.get_or_insert_with(|| job.clone());
        }
        if let Some(job) = known {
            return Ok(Some((job.clone(), self.records.of(job.clone())?.history().await?)));
        }
        let store = self.records.stores.get(&self.records.place.store)?;
        let jobs = list_jobs(store, &self.records.place, MAX_OBJECTS).await?.jobs;
        let records = &self.records;
        let mut read = stream::iter(jobs.into_iter().take(MAX_JOBS))
            .map(|job| async move {
                // A damaged record is not the one; `jobs list` shows it.
                let history = records.of(job.clone()).ok()?.history().await.ok()?;
                Some((job, history))
            })
            .buffered(READS_AT_ONCE);
        while let Some(next) = read.next().await {
            if let Some((job, history)) = next.filter(|(_, history)| self.is_of(history)) {
                *known = Some(job.clone());
                return Ok(Some((job, history)));
            }
        }
        Ok(None)
    }

    fn is_of(&self, history: &History) -> bool {
        match &self.args.about {
            About::Job(_) => false,
            About::Submission(id) => {
                history.answered.contains(id)
                    || attempts(history).any(|attempt| attempt.submission.submission_id == *id)
            }
            About::Input(url) => is_uploads(history) && self.is_of_upload(history, url),
        }
    }

    fn is_of_upload(&self, history: &History, url: &str) -> bool {
        let Some(input) = history.latest().and_then(|attempt| attempt.submission.inputs.first()) else { return false };
        let there = self.upload.as_ref().and_then(|head| head.etag.as_deref());
        let same = there.is_none() || input.object.etag.is_none() || there == input.object.etag.as_deref();
        // Of an upload that is gone, only what ended lately is meant.
        let fresh = self.upload.is_some() || history.ended().is_some_and(|end| end.ended_at >= self.since);
        same && fresh && input.object.to_string() == url
    }
}

fn attempts(history: &History) -> impl Iterator<Item = &Attempt> {
    history.attempts.iter().chain(&history.before)
}

/// Whether an upload's notification led to the job; not somebody's `submit` alone.
pub(super) fn is_uploads(history: &History) -> bool {
    attempts(history).any(|attempt| attempt.submission.origin.is_upload())
}

fn superseded(job: &JobId) -> Failure {
    Failure::Failed(format!(
        "Job {job} ended without an event: its upload was replaced before it was worked on. Wait for the upload \
         (s3://bucket/key), or for the job of its new content: see `darkroom jobs list`."
    ))
}
