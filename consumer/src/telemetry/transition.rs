//! A job's changes: each is told once, here, and becomes a log line, metrics and an event.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use darkroom_api::{JobError, Progress, Result};
use jiff::Timestamp;
use tokio::time::Instant;
use tracing::{debug, info, warn};

use super::metrics::{AttemptOutcome, JobOutcome, Metrics};
use crate::event::{Completion, Event, HeartbeatData, JobFacts, Publisher, Rejected};
use crate::job::record::State;

/// Shortest time between two progress events of a job.
const PROGRESS_INTERVAL: Duration = Duration::from_secs(5);

/// What happens to a job in an attempt of ours.
#[derive(Debug, Clone)]
pub enum Change {
    /// The attempt is ours; inputs are on their way.
    Accepted,
    /// Inputs are here, a device slot is not.
    Waiting {
        /// Their bytes.
        fetched_bytes: u64,
    },
    /// In the executor.
    Running,
    /// The run got further. May be told as often as it is known.
    Progress(Progress),
    /// Outputs are on their way.
    Committing,
    /// The attempt failed and another follows.
    Retrying {
        /// Why.
        error: JobError,
        /// When, from now.
        after: Duration,
    },
    /// The attempt ends with this worker and does not count.
    Interrupted,
    /// Somebody else has the delivery.
    LeaseLost,
    /// The object is another by now: its own event tells of it.
    Superseded,
    /// The manifest is there.
    Completed(Completion),
    /// There will be none.
    Failed(JobError),
    /// A user did not want it.
    Cancelled,
}

impl Change {
    /// Where the job is after it; none where the attempt is no longer ours to speak of.
    pub fn state(&self) -> Option<State> {
        match self {
            Change::Accepted => Some(State::Fetching),
            Change::Waiting { .. } => Some(State::Waiting),
            Change::Running | Change::Progress(_) => Some(State::Running),
            Change::Committing => Some(State::Committing),
            Change::Retrying { .. } | Change::Interrupted => Some(State::Retrying),
            Change::LeaseLost | Change::Superseded => None,
            Change::Completed(_) => Some(State::Completed),
            Change::Failed(_) => Some(State::Failed),
            Change::Cancelled => Some(State::Cancelled),
        }
    }

    /// The event that tells it, where one does. None for progress, whose events are numbered and kept apart.
    pub(crate) fn event(&self, facts: &JobFacts, time: Timestamp) -> Option<Event> {
        match self {
            Change::Accepted => Some(Event::accepted(facts, time)),
            Change::Completed(completion) => Some(Event::completed(facts, completion)),
            Change::Failed(error) => Some(Event::failed(facts, time, error)),
            Change::Cancelled => Some(Event::cancelled(facts, time)),
            Change::Waiting { .. }
            | Change::Running
            | Change::Progress(_)
            | Change::Committing
            | Change::Retrying { .. }
            | Change::Interrupted
            | Change::LeaseLost
            | Change::Superseded => None,
        }
    }
}

/// Metrics and events of the worker.
#[derive(Debug, Clone)]
pub struct Telemetry {
    metrics: Arc<Metrics>,
    publisher: Arc<Publisher>,
}

impl Telemetry {
    /// Puts both together.
    pub fn new(metrics: Arc<Metrics>, publisher: Arc<Publisher>) -> Self {
        Telemetry { metrics, publisher }
    }

    /// The metrics, for what is no change of a job.
    pub fn metrics(&self) -> &Arc<Metrics> {
        &self.metrics
    }

    /// For the changes of one attempt.
    pub fn job(&self, facts: JobFacts) -> JobTelemetry {
        JobTelemetry { telemetry: self.clone(), facts, progress: Mutex::default() }
    }

    /// A message led to no job.
    ///
    /// # Errors
    /// As [`Publisher::publish`].
    pub async fn rejected(&self, rejected: &Rejected) -> Result<()> {
        let Rejected { submission_id, error, .. } = rejected;
        warn!(submission = submission_id, code = %error.code, error = error.message, "message rejected");
        // The handler it asks for is any string a sender likes.
        self.metrics.job("unknown", JobOutcome::Failed, Some(error.code));
        self.publisher.publish(&Event::rejected(rejected, Timestamp::now())).await
    }

    /// The worker lives. Best effort.
    pub async fn heartbeat(&self, heartbeat: HeartbeatData) {
        let told = self.publisher.publish(&Event::heartbeat(heartbeat, Timestamp::now())).await;
        debug_assert!(told.is_ok(), "only terminal events wait for their sinks");
    }
}

/// Tells the changes of one attempt of one job.
#[derive(Debug)]
pub struct JobTelemetry {
    telemetry: Telemetry,
    facts: JobFacts,
    progress: Mutex<ProgressGate>,
}

impl JobTelemetry {
    /// What its events say of the job.
    pub fn facts(&self) -> &JobFacts {
        &self.facts
    }

    /// Tells a change: log line, metrics, event. After a terminal one every required sink has the event.
    ///
    /// # Errors
    /// As [`Publisher::publish`], for [`Change::Completed`], [`Change::Failed`] and [`Change::Cancelled`] only: then the
    /// delivery is not to be acknowledged, and [`JobTelemetry::repeat`] may tell it again.
    pub async fn transition(&self, change: &Change) -> Result<()> {
        self.log(change);
        self.measure(change);
        self.publish(change).await
    }

    /// Publishes a terminal event again, for a delivery of a job that ended before. Not counted as another job.
    ///
    /// # Errors
    /// As [`Publisher::publish`].
    pub async fn repeat(&self, change: &Change) -> Result<()> {
        debug!(job = self.facts.job_id, state = ?change.state(), "event published again");
        self.publish(change).await
    }

    async fn publish(&self, change: &Change) -> Result<()> {
        match self.event(change) {
            Some(event) => self.telemetry.publisher.publish(&event).await,
            None => Ok(()),
        }
    }

    fn event(&self, change: &Change) -> Option<Event> {
        let (facts, now) = (&self.facts, Timestamp::now());
        match change {
            Change::Progress(progress) => {
                let n = self.progress.lock().unwrap_or_else(PoisonError::into_inner).pass(Instant::now())?;
                Some(Event::progress(facts, now, n, progress))
            }
            other => other.event(facts, now),
        }
    }

    fn log(&self, change: &Change) {
        let JobFacts { job_id: job, handler, input, attempt, .. } = &self.facts;
        let (input, attempt) = (input.as_deref().unwrap_or(""), attempt.unwrap_or(0));
        match change {
            Change::Accepted => info!(job, handler, attempt, input, "job accepted"),
            Change::Waiting { fetched_bytes } => debug!(job, attempt, fetched_bytes, "job waiting for a slot"),
            Change::Running => info!(job, handler, attempt, "job running"),
            Change::Progress(p) => {
                debug!(job, attempt, stage = p.stage, done = p.done, total = p.total, "job progress")
            }
            Change::Committing => debug!(job, attempt, "job committing"),
            Change::Retrying { error, after } => {
                let (code, after_secs) = (error.code, after.as_secs_f64());
                warn!(job, handler, attempt, %code, error = error.message, after_secs, "job will be tried again");
            }
            Change::Interrupted => info!(job, handler, attempt, "job handed back: the worker shuts down"),
            Change::LeaseLost => warn!(job, handler, attempt, "job given up: another worker has its delivery"),
            Change::Superseded => info!(job, handler, attempt, input, "job dropped: its object has changed since"),
            Change::Completed(completion) => {
                let manifest = &completion.manifest;
                let (outputs, run_secs) = (manifest.outputs.len(), manifest.timings.get("run"));
                info!(job, handler, attempt, input, outputs, run_secs, fps = fps(completion), "job completed");
            }
            Change::Failed(error) => {
                warn!(job, handler, attempt, input, code = %error.code, error = error.message, "job failed");
            }
            Change::Cancelled => info!(job, handler, attempt, "job cancelled"),
        }
    }

    fn measure(&self, change: &Change) {
        let (metrics, handler) = (&self.telemetry.metrics, self.facts.handler.as_str());
        match change {
            Change::Accepted | Change::Running | Change::Progress(_) | Change::Committing => {}
            Change::Waiting { fetched_bytes } => metrics.fetched(*fetched_bytes),
            Change::Retrying { .. } => metrics.attempt(handler, AttemptOutcome::Retrying),
            Change::Interrupted => metrics.attempt(handler, AttemptOutcome::Interrupted),
            Change::LeaseLost => metrics.attempt(handler, AttemptOutcome::LeaseLost),
            Change::Superseded => metrics.attempt(handler, AttemptOutcome::Superseded),
            Change::Completed(completion) => {
                let manifest = &completion.manifest;
                metrics.attempt(handler, AttemptOutcome::Completed);
                metrics.job(handler, JobOutcome::Completed, None);
                metrics.run(handler, manifest.timings.get("run").copied(), fps(completion), &manifest.stages);
                metrics.committed(manifest.outputs.iter().map(|output| output.bytes).sum());
            }
            Change::Failed(error) => {
                metrics.attempt(handler, AttemptOutcome::Failed);
                metrics.job(handler, JobOutcome::Failed, Some(error.code));
            }
            Change::Cancelled => {
                metrics.attempt(handler, AttemptOutcome::Cancelled);
                metrics.job(handler, JobOutcome::Cancelled, None);
            }
        }
    }
}

fn fps(completion: &Completion) -> Option<f64> {
    completion.manifest.metrics.get("fps")?.as_f64()
}

/// Lets a progress event pass every [`PROGRESS_INTERVAL`] and counts them.
#[derive(Debug, Default)]
struct ProgressGate {
    last: Option<Instant>,
    passed: u64,
}

impl ProgressGate {
    fn pass(&mut self, now: Instant) -> Option<u64> {
        if self.last.is_some_and(|last| now.saturating_duration_since(last) < PROGRESS_INTERVAL) {
            return None;
        }
        self.last = Some(now);
        self.passed += 1;
        Some(self.passed)
    }
}

#[cfg(test)]
mod tests;
