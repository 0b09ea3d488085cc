//! Kinds of events.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What an event tells. In filters `completed`, in events `dev.darkroom.job.completed.v1`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum EventKind {
    /// An attempt of a job was claimed.
    Accepted,
    /// A run got further.
    Progress,
    /// The outputs are there.
    Completed,
    /// There will be no outputs.
    Failed,
    /// A user did not want them.
    Cancelled,
    /// A worker lives.
    Heartbeat,
}

impl EventKind {
    /// All kinds.
    pub const ALL: [EventKind; 6] = [
        EventKind::Accepted,
        EventKind::Progress,
        EventKind::Completed,
        EventKind::Failed,
        EventKind::Cancelled,
        EventKind::Heartbeat,
    ];

    /// The CloudEvents `type`.
    pub const fn type_name(self) -> &'static str {
        match self {
            EventKind::Accepted => "dev.darkroom.job.accepted.v1",
            EventKind::Progress => "dev.darkroom.job.progress.v1",
            EventKind::Completed => "dev.darkroom.job.completed.v1",
            EventKind::Failed => "dev.darkroom.job.failed.v1",
            EventKind::Cancelled => "dev.darkroom.job.cancelled.v1",
            EventKind::Heartbeat => "dev.darkroom.worker.heartbeat.v1",
        }
    }

    /// Whether no other event about the same job follows, short of a redrive. A required sink never misses one.
    pub const fn is_terminal(self) -> bool {
        matches!(self, EventKind::Completed | EventKind::Failed | EventKind::Cancelled)
    }
}
