//! Whether the worker can take jobs.

use async_trait::async_trait;
use serde::Serialize;

/// One reason why the worker takes no jobs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Unready {
    /// What is not ready: `queue`, `store`, `executors`, `draining`.
    pub what: &'static str,
    /// A sentence for operators; no secrets.
    pub reason: String,
}

impl Unready {
    /// A reason.
    pub fn new(what: &'static str, reason: impl Into<String>) -> Self {
        Unready { what, reason: reason.into() }
    }
}

/// Knows whether the worker can take jobs.
#[async_trait]
pub trait Readiness: Send + Sync {
    /// Every reason why not; none when it can. Asked every few seconds; the gateway waits 5 s at most.
    async fn reasons(&self) -> Vec<Unready>;
}
