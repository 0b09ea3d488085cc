//! Checkpoints: what a run offers is kept in the job's record while the run goes on, and the next attempt gets it.

use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::time::Duration;

use darkroom_api::{ErrorClass, ErrorCode, JobError, Result};
use tokio::sync::watch;
use tokio::time::{sleep, timeout};

use crate::job::executor::JobScratch;

use super::Stop;
use super::claim::Case;

/// Longest checkpoint.
const MAX_BYTES: u64 = 1 << 30;
/// Pause after one was kept: the work is worth more than its safety.
const PAUSE: Duration = Duration::from_secs(5);
/// Time that the last one of a run that failed gets.
const LAST: Duration = Duration::from_secs(60);
/// The same where the worker has to go: the word that the run was interrupted, and so does not count, comes after it and
/// has to be written within [`super::FORCED_GRACE`].
const LAST_INTERRUPTED: Duration = Duration::from_secs(1);

/// Keeps the latest checkpoint of a run.
pub(super) struct Keeper<'a> {
    case: &'a Case<'a>,
    stop: &'a Stop,
    offered: watch::Receiver<Option<PathBuf>>,
    kept: Option<PathBuf>,
    is_resumed: bool,
}

impl<'a> Keeper<'a> {
    /// For what is offered on this channel by a run that began anew, or was resumed.
    pub(super) fn new(
        case: &'a Case<'a>,
        stop: &'a Stop,
        offered: watch::Receiver<Option<PathBuf>>,
        is_resumed: bool,
    ) -> Self {
        Keeper { case, stop, offered, kept: None, is_resumed }
    }

    /// Keeps what is offered, one after the other; those that come too fast are passed over.
    pub(super) async fn keep_on(&mut self) -> std::convert::Infallible {
        loop {
            if self.offered.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
            self.keep().await;
            sleep(PAUSE).await;
        }
    }

    /// After a run that failed: keeps the latest one, if another attempt may follow. A worker that lost its lease keeps
    /// nothing: another one may be further by now. An executor that was lost after a resumption may have been lost to the
    /// checkpoint itself: then that one goes, and the next attempt begins anew.
    pub(super) async fn finish(mut self, error: &JobError) {
        let Some(limit) = last_limit(error.class()) else { return };
        let is_suspect = self.is_resumed && error.class() == ErrorClass::ExecutorLost;
        let last = async {
            if is_suspect && self.offered.borrow().is_none() {
                self.forget().await;
            } else {
                self.keep().await;
            }
        };
        if timeout(limit, last).await.is_err() {
            tracing::warn!(job_id = %self.case.job, "the last checkpoint was not kept: the store is slow");
        }
    }

    async fn forget(&self) {
        match self.stop.while_ours(self.case.record.drop_checkpoint()).await {
            Ok(()) => tracing::warn!(job_id = %self.case.job, "a checkpoint that led to a crash is dropped"),
            Err(error) => tracing::warn!(job_id = %self.case.job, %error, "a checkpoint that led to a crash is left"),
        }
    }

    async fn keep(&mut self) {
        let Some(file) = self.offered.borrow_and_update().clone() else { return };
        if self.kept.as_ref() == Some(&file) {
            return;
        }
        // The run is worth more than its checkpoint.
        match self.stop.while_ours(self.store(&file)).await {
            Ok(()) => self.kept = Some(file),
            Err(error) => tracing::warn!(job_id = %self.case.job, %error, "a checkpoint was not kept"),
        }
    }

    async fn store(&self, file: &Path) -> Result<()> {
        let failed = |e: std::io::Error| JobError::new(ErrorCode::Internal, format!("It cannot be read: {e}."));
        let bytes = tokio::fs::metadata(file).await.map_err(failed)?.len();
        if bytes > MAX_BYTES {
            let why = format!("It has {bytes} bytes, {MAX_BYTES} are allowed.");
            return Err(JobError::new(ErrorCode::Internal, why));
        }
        // Before the answer, which may be lost.
        self.case.has_checkpoint.store(true, Ordering::Relaxed);
        self.case.record.save_checkpoint(file).await?;
        tracing::debug!(job_id = %self.case.job, bytes, "checkpoint kept");
        Ok(())
    }
}

/// Time for the last checkpoint of a run that failed so; none where no other attempt follows, or it is not ours to write.
fn last_limit(class: ErrorClass) -> Option<Duration> {
    match class {
        ErrorClass::Transient | ErrorClass::ExecutorLost => Some(LAST),
        ErrorClass::Interrupted => Some(LAST_INTERRUPTED),
        ErrorClass::Permanent | ErrorClass::Cancelled | ErrorClass::LeaseLost => None,
    }
}

/// Brings the checkpoint of an earlier attempt, of `bytes`; none where it is gone or another by now: the run begins anew.
pub(super) async fn bring(case: &Case<'_>, scratch: &JobScratch, bytes: u64, stop: &Stop) -> Result<Option<PathBuf>> {
    let file = scratch.input("checkpoint");
    match stop.unless(case.record.load_checkpoint(&file, bytes)).await {
        Ok(()) => Ok(Some(file)),
        Err(error)
            if matches!(error.code, ErrorCode::InputNotFound | ErrorCode::InputChanged | ErrorCode::InputTooLarge) =>
        {
            tracing::warn!(job_id = %case.job, %error, "the checkpoint cannot be had: the run begins anew");
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests;
