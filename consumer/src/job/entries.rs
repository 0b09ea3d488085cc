//! The objects of a record, as they are stored.

use darkroom_api::JobError;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::RunId;
use crate::trigger::Submission;

/// `attempt-<n>.json`: the claim.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Attempt {
    /// n, from 1.
    pub number: u32,
    /// The run.
    pub run_id: RunId,
    /// Worker that claims.
    pub worker: String,
    /// When.
    pub claimed_at: Timestamp,
    /// Until when the worker is taken to live, until `status.json` says more.
    pub live_until: Timestamp,
    /// What is to be done. URLs have lost their queries: a signature in one is a secret.
    pub submission: Submission,
}

/// Where a job is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// Inputs are on their way.
    Fetching,
    /// Inputs are here, a device slot is not.
    Waiting,
    /// In the executor.
    Running,
    /// Outputs are on their way.
    Committing,
    /// The attempt failed and another follows.
    Retrying,
    /// There is a manifest.
    Completed,
    /// There will be none.
    Failed,
    /// A user did not want it.
    Cancelled,
}

/// `status.json`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Status {
    /// Attempt it speaks of.
    pub attempt: u32,
    /// Run it speaks of.
    pub run_id: RunId,
    /// Where the job is.
    pub state: State,
    /// The handler's stage, while running.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stage: Option<String>,
    /// 0..=100.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub percent: Option<f32>,
    /// Until when the worker is taken to live.
    pub live_until: Timestamp,
    /// When this was written.
    pub updated_at: Timestamp,
}

/// How an attempt ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// With a manifest.
    Completed,
    /// With an error.
    Failed,
    /// By a user.
    Cancelled,
    /// By shutdown or spot notice: not counted.
    Interrupted,
}

/// `end-<n>.json`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct End {
    /// Attempt that ended.
    pub attempt: u32,
    /// Its run.
    pub run_id: RunId,
    /// How.
    pub outcome: Outcome,
    /// Why, when it failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<JobError>,
    /// Whether no other attempt follows, short of a redrive.
    pub is_final: bool,
    /// When.
    pub ended_at: Timestamp,
}

/// `redrive-<n>`: attempts up to n no longer count.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Redrive {
    /// When.
    pub redriven_at: Timestamp,
    /// Submissions that attempts up to n served, the latest last. A failure since then is news to them too, but none of
    /// them makes the job start over by itself.
    #[serde(default)]
    pub answered: Vec<String>,
}
