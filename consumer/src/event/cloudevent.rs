//! The event itself: CloudEvents 1.0, structured JSON.

use darkroom_api::JobError;
use jiff::Timestamp;
use serde::Serialize;

use super::data::{
    AcceptedData, CancelledData, CompletedData, Completion, EventData, FailedData, HeartbeatData, JobFacts,
    ProgressData,
};
use super::{EventKind, Rejected};

/// `source` of events about jobs. The same for all workers: `source` and `id` together name an event, and a worker that
/// takes a job over must be able to publish the same event again.
const SOURCE: &str = "/darkroom";

/// One event. Serialises as a CloudEvent in structured mode.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Event {
    specversion: &'static str,
    id: String,
    source: String,
    #[serde(rename = "type")]
    type_name: &'static str,
    #[serde(skip)]
    kind: EventKind,
    #[serde(skip_serializing_if = "Option::is_none")]
    subject: Option<String>,
    time: Timestamp,
    datacontenttype: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    jobid: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    handler: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    attempt: Option<u32>,
    data: EventData,
}

impl Event {
    /// Attempt was claimed.
    pub fn accepted(job: &JobFacts, time: Timestamp) -> Self {
        let data = EventData::Accepted(AcceptedData { job: job.clone() });
        Event::about(job, EventKind::Accepted, job.event_id("accepted"), time, data)
    }

    /// Run got further; `n` counts the progress events of the attempt from 1.
    pub fn progress(job: &JobFacts, time: Timestamp, n: u64, progress: &darkroom_api::Progress) -> Self {
        let data = EventData::Progress(ProgressData { job: job.clone(), progress: progress.clone() });
        Event::about(job, EventKind::Progress, format!("{}.{n}", job.event_id("progress")), time, data)
    }

    /// The outputs are there. The same job's event has the same id and time whoever publishes it, and how often.
    pub fn completed(job: &JobFacts, completion: &Completion) -> Self {
        let data = EventData::Completed(Box::new(CompletedData::new(job, completion)));
        let id = format!("{}.completed", job.job_id);
        Event::about(job, EventKind::Completed, id, completion.manifest.created_at, data)
    }

    /// There will be no outputs.
    pub fn failed(job: &JobFacts, time: Timestamp, error: &JobError) -> Self {
        let data = EventData::Failed(FailedData::new(job, error));
        Event::about(job, EventKind::Failed, job.event_id("failed"), time, data)
    }

    /// A message that names no job that could be run: not JSON, an unknown handler, a forbidden source.
    pub fn rejected(rejected: &Rejected, time: Timestamp) -> Self {
        let data = EventData::Failed(FailedData::rejected(rejected));
        Event {
            subject: rejected.subject.clone(),
            handler: rejected.handler.clone(),
            ..Event::bare(EventKind::Failed, format!("{}.failed", rejected.submission_id), SOURCE.into(), time, data)
        }
    }

    /// A user did not want the outputs.
    pub fn cancelled(job: &JobFacts, time: Timestamp) -> Self {
        let data = EventData::Cancelled(CancelledData { job: job.clone() });
        Event::about(job, EventKind::Cancelled, job.event_id("cancelled"), time, data)
    }

    /// A worker lives.
    pub fn heartbeat(heartbeat: HeartbeatData, time: Timestamp) -> Self {
        let source = format!("{SOURCE}/workers/{}", heartbeat.worker);
        let id = format!("{}.{}", heartbeat.worker, time.as_millisecond());
        Event::bare(EventKind::Heartbeat, id, source, time, EventData::Heartbeat(heartbeat))
    }

    fn about(job: &JobFacts, kind: EventKind, id: String, time: Timestamp, data: EventData) -> Self {
        Event {
            subject: job.input.clone(),
            jobid: Some(job.job_id.clone()),
            handler: Some(job.handler.clone()),
            attempt: job.attempt,
            ..Event::bare(kind, id, SOURCE.into(), time, data)
        }
    }

    fn bare(kind: EventKind, id: String, source: String, time: Timestamp, data: EventData) -> Self {
        Event {
            specversion: "1.0",
            id,
            source,
            type_name: kind.type_name(),
            kind,
            subject: None,
            time,
            datacontenttype: "application/json",
            jobid: None,
            handler: None,
            attempt: None,
            data,
        }
    }

    /// What a receiver recognises a repeat by.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// What it tells.
    pub fn kind(&self) -> EventKind {
        self.kind
    }

    /// The job's primary input.
    pub fn subject(&self) -> Option<&str> {
        self.subject.as_deref()
    }

    /// As one line of JSON.
    #[allow(clippy::expect_used, reason = "string keys and finite types only; floats that are not finite become null")]
    pub fn to_json(&self) -> String {
        serde_json::to_string(self).expect("an event is JSON")
    }
}
