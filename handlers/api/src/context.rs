//! What a running handler may say and ask.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{ErrorCode, JobError, Result};

/// How far a run is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Progress {
    /// One of the descriptor's stages.
    pub stage: String,
    /// 0..=100 over the whole run, where it can be told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub percent: Option<f32>,
    /// Frames (or items) finished.
    pub done: u64,
    /// Frames (or items) in all, where known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub total: Option<u64>,
    /// Frames per second over the last seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fps: Option<f32>,
}

/// Weight of a log line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum LogLevel {
    /// Of interest to developers.
    Debug,
    /// Of interest to operators.
    Info,
    /// Something was degraded.
    Warn,
    /// Something failed.
    Error,
}

/// Where progress, logs and checkpoints go. The executor's implementation sends them to the consumer.
pub trait Reporter: Send + Sync {
    /// Tells how far the run is. Cheap: may be called every frame; throttled to 10 Hz on the wire.
    fn progress(&self, progress: Progress);
    /// A line for the log.
    fn log(&self, level: LogLevel, message: &str);
    /// Gives a finished file in the scratch directory away, to be kept for a later attempt.
    ///
    /// # Errors
    /// When the consumer is gone.
    fn checkpoint(&self, path: &Path) -> Result<()>;
}

/// Set once, seen by all clones.
#[derive(Debug, Clone, Default)]
pub struct CancelToken(Arc<AtomicBool>);

impl CancelToken {
    /// Asks everybody who holds a clone to stop.
    pub fn cancel(&self) {
        self.0.store(true, Ordering::Release);
    }

    /// Whether somebody asked.
    pub fn is_cancelled(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }

    /// `Err(cancelled)` once somebody asked.
    ///
    /// # Errors
    /// [`ErrorCode::Cancelled`].
    pub fn check(&self) -> Result<()> {
        if self.is_cancelled() {
            return Err(JobError::new(ErrorCode::Cancelled, "The job was cancelled."));
        }
        Ok(())
    }
}

/// A run's surroundings: where to write, whom to tell, when to stop.
#[derive(Clone)]
pub struct JobContext {
    /// For temporary files; removed after the run.
    pub scratch_dir: PathBuf,
    /// Outputs are written here, under the names that [`crate::Outputs`] gives.
    pub output_dir: PathBuf,
    /// Checkpoint of an earlier attempt, if there is one.
    pub resume: Option<PathBuf>,
    /// Set when the run should stop.
    pub cancel: CancelToken,
    /// Progress, logs, checkpoints.
    pub reporter: Arc<dyn Reporter>,
}

impl JobContext {
    /// `Err(cancelled)` once cancellation is asked for. Call it at least once a frame.
    ///
    /// # Errors
    /// [`ErrorCode::Cancelled`].
    pub fn check_cancelled(&self) -> Result<()> {
        self.cancel.check()
    }
}
