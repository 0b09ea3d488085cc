//! `[worker]`.

use std::path::PathBuf;

use rand::Rng;
use serde::{Deserialize, Serialize};

/// `[worker]`: this process, and how it treats jobs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct WorkerConfig {
    /// Name in records, events and logs. Default: host name and six random digits.
    pub id: String,
    /// Inputs and outputs of running jobs lie here; removed with each job.
    pub scratch_dir: PathBuf,
    /// Most bytes of scratch over all slots.
    pub scratch_max_bytes: u64,
    /// Where jobs' records are kept: `s3://bucket/prefix/`.
    pub state: String,
    /// Store of `state`; the first one if absent.
    pub state_store: Option<String>,
    /// Jobs that run at once on each device.
    pub slots: u32,
    /// Deliveries taken beyond the slots, so that their inputs are there when a slot becomes free.
    pub fetch_ahead: u32,
    /// Attempts before a job that fails for passing reasons is given up.
    pub max_attempts: u32,
    /// Shortest pause before another attempt; doubled with each, with jitter.
    pub backoff_min_secs: u64,
    /// Longest pause before another attempt.
    pub backoff_max_secs: u64,
    /// Budget over all attempts of a job whose message names none.
    pub deadline_secs: u64,
    /// Longest single run.
    pub run_limit_secs: u64,
    /// Time that running jobs get to finish after SIGTERM before they are handed back.
    pub drain_secs: u64,
    /// Longest message.
    pub message_max_bytes: u64,
    /// Time between heartbeat events.
    pub heartbeat_secs: u64,
    /// Time between looks for uploads that nobody told of ([`crate::job::reconcile`]); none if absent. Of several workers
    /// one is enough.
    pub reconcile_secs: Option<u64>,
    /// Who tells that this machine is about to be taken away.
    #[serde(deserialize_with = "super::decode::word")]
    pub interruption_notices: InterruptionNotices,
    /// Where the instance's metadata is asked for.
    pub metadata_endpoint: String,
}

impl Default for WorkerConfig {
    fn default() -> Self {
        WorkerConfig {
            id: default_id(),
            scratch_dir: "/var/tmp/darkroom".into(),
            scratch_max_bytes: 10 << 30,
            state: "s3://darkroom-state/".into(),
            state_store: None,
            slots: 1,
            fetch_ahead: 1,
            max_attempts: 5,
            backoff_min_secs: 5,
            backoff_max_secs: 900,
            deadline_secs: 24 * 3600,
            // Below the 12 hours after which SQS takes any message back.
            run_limit_secs: 11 * 3600,
            drain_secs: 20,
            message_max_bytes: 256 << 10,
            heartbeat_secs: 30,
            reconcile_secs: None,
            interruption_notices: InterruptionNotices::Off,
            metadata_endpoint: "http://169.254.169.254".into(),
        }
    }
}

fn default_id() -> String {
    let uname = rustix::system::uname();
    let host: String = uname
        .nodename()
        .to_string_lossy()
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-') { c } else { '-' })
        .take(64)
        .collect();
    format!("{host}-{:06x}", rand::rng().random_range(0..1u32 << 24))
}

/// Who tells that this machine is about to be taken away.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum InterruptionNotices {
    /// Nobody but SIGTERM.
    #[default]
    Off,
    /// The metadata service of an EC2 instance: spot interruptions and rebalance recommendations.
    Ec2,
}

/// `[handlers.<name>]`: bounds of one handler.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct HandlerConfig {
    /// Most jobs of it that this worker has in hand at once, from the claim to the end; all it can if absent.
    pub max_running: Option<u32>,
}
