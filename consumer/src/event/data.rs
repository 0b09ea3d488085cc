//! What events say in `data`.

use std::collections::BTreeMap;

use darkroom_api::{JobError, Progress, StageReport};
use serde::Serialize;
use serde_json::{Map, Value};

use crate::job::JobId;
use crate::job::manifest::{self, Manifest, ManifestOutput};
use crate::store::Place;
use crate::trigger::Submission;

/// Most outputs that an event lists; the manifest lists all. Keeps a sequence of a million pictures sendable.
pub const MAX_LISTED_OUTPUTS: usize = 100;
/// Most bytes that the outputs take of an event: a queue carries 256 KiB.
const MAX_OUTPUTS_BYTES: usize = 96 << 10;
/// Most warnings that an event lists.
const MAX_LISTED_WARNINGS: usize = 20;

/// What every event about a job says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct JobFacts {
    /// The job.
    pub job_id: String,
    /// The asking that led to it; several may lead to one job.
    pub submission_id: String,
    /// Handler's name: one that exists.
    pub handler: String,
    /// The primary input, `s3://bucket/key`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub input: Option<String>,
    /// The caller's own name for the job.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reference: Option<String>,
    /// The attempt the event is about, where it is about one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub attempt: Option<u32>,
}

impl JobFacts {
    /// Of an accepted submission.
    pub fn of(submission: &Submission, job: &JobId, attempt: Option<u32>) -> Self {
        JobFacts {
            job_id: job.as_str().to_owned(),
            submission_id: submission.submission_id.clone(),
            handler: submission.handler.clone(),
            input: submission.inputs.first().map(|input| input.object.to_string()),
            reference: submission.reference.clone(),
            attempt,
        }
    }

    pub(super) fn event_id(&self, status: &str) -> String {
        format!("{}.{}.{status}", self.job_id, self.attempt.unwrap_or(0))
    }
}

/// A message that led to no job.
#[derive(Debug, Clone, PartialEq)]
pub struct Rejected {
    /// The queue's name of the message, or the submission's.
    pub submission_id: String,
    /// The handler it asked for, as far as it could be read.
    pub handler: Option<String>,
    /// The input it named, as far as it could be read.
    pub subject: Option<String>,
    /// The caller's own name for the job, as far as it could be read.
    pub reference: Option<String>,
    /// Why.
    pub error: JobError,
}

/// A completed job's result.
#[derive(Debug, Clone, PartialEq)]
pub struct Completion {
    /// The manifest that made it visible.
    pub manifest: Box<Manifest>,
    /// Where it lies.
    pub destination: Place,
    /// Presigned URLs of the first outputs, in order; at most [`MAX_LISTED_OUTPUTS`] are used, and fewer is fine.
    pub urls: Vec<String>,
}

/// `data` of an event.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(untagged)]
pub(super) enum EventData {
    Accepted(AcceptedData),
    Progress(ProgressData),
    Completed(Box<CompletedData>),
    Failed(FailedData),
    Cancelled(CancelledData),
    Heartbeat(HeartbeatData),
}

#[derive(Debug, Clone, PartialEq, Serialize)]
pub(super) struct AcceptedData {
    #[serde(flatten)]
    pub(super) job: JobFacts,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
pub(super) struct CancelledData {
    #[serde(flatten)]
    pub(super) job: JobFacts,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
pub(super) struct ProgressData {
    #[serde(flatten)]
    pub(super) job: JobFacts,
    #[serde(flatten)]
    pub(super) progress: Progress,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
pub(super) struct FailedData {
    #[serde(skip_serializing_if = "Option::is_none")]
    job_id: Option<String>,
    submission_id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    handler: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    input: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reference: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    attempt: Option<u32>,
    error: JobError,
}

impl FailedData {
    pub(super) fn new(job: &JobFacts, error: &JobError) -> Self {
        let JobFacts { job_id, submission_id, handler, input, reference, attempt } = job.clone();
        FailedData {
            job_id: Some(job_id),
            submission_id,
            handler: Some(handler),
            input,
            reference,
            attempt,
            error: error.clone(),
        }
    }

    pub(super) fn rejected(rejected: &Rejected) -> Self {
        let Rejected { submission_id, handler, subject, reference, error } = rejected.clone();
        FailedData { job_id: None, submission_id, handler, input: subject, reference, attempt: None, error }
    }
}

#[derive(Debug, Clone, PartialEq, Serialize)]
pub(super) struct CompletedData {
    #[serde(flatten)]
    job: JobFacts,
    run_id: String,
    handler_version: String,
    /// Bucket and key of the manifest.
    manifest: ObjectName,
    outputs: Vec<ListedOutput>,
    /// Outputs in all; more than are listed where there are very many.
    outputs_total: usize,
    /// Seconds of each step of the journey.
    timings_secs: BTreeMap<String, f64>,
    stages: Vec<StageReport>,
    metrics: Map<String, Value>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    warnings: Vec<String>,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
struct ObjectName {
    bucket: String,
    key: String,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
struct ListedOutput {
    #[serde(flatten)]
    output: ManifestOutput,
    #[serde(skip_serializing_if = "Option::is_none")]
    url: Option<String>,
}

impl CompletedData {
    pub(super) fn new(job: &JobFacts, completion: &Completion) -> Self {
        let Completion { manifest, destination, urls } = completion;
        let mut urls = urls.iter().cloned();
        let outputs = manifest.outputs.iter().take(MAX_LISTED_OUTPUTS);
        let outputs = outputs.map(|output| ListedOutput { output: output.clone(), url: urls.next() });
        let mut bytes = 0;
        let fits = |listed: &ListedOutput| {
            bytes += serde_json::json!(listed).to_string().len();
            bytes <= MAX_OUTPUTS_BYTES
        };
        CompletedData {
            job: job.clone(),
            run_id: manifest.run_id.to_string(),
            handler_version: manifest.handler_version.clone(),
            manifest: ObjectName {
                bucket: destination.bucket.clone(),
                key: manifest::key(destination, &manifest.job_id),
            },
            outputs: outputs.take_while(fits).collect(),
            outputs_total: manifest.outputs.len(),
            timings_secs: manifest.timings.clone(),
            stages: manifest.stages.clone(),
            metrics: manifest.metrics.clone(),
            warnings: manifest.warnings.iter().take(MAX_LISTED_WARNINGS).cloned().collect(),
        }
    }
}

/// What a worker says of itself.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct HeartbeatData {
    /// Its name.
    pub worker: String,
    /// Version of the worker.
    pub version: String,
    /// Jobs it can run at once.
    pub slots: u32,
    /// Jobs it has in hand.
    pub jobs: Vec<String>,
    /// Whether it takes no more jobs.
    pub draining: bool,
    /// Why it takes no more jobs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub draining_because: Option<&'static str>,
    /// The queues it takes jobs from.
    pub queues: Vec<String>,
    /// Time since it started.
    pub uptime_secs: f64,
}
