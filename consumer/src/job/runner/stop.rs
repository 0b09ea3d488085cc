//! Why a job should stop, told once and heard everywhere.

use std::future::Future;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use darkroom_api::{ErrorCode, JobError, Result};
use tokio_util::sync::CancellationToken;

/// Stops one job. The first reason counts; that the lease is lost is heard also after another one.
#[derive(Debug, Clone, Default)]
pub(super) struct Stop {
    token: CancellationToken,
    lost: CancellationToken,
    reason: Arc<OnceLock<ErrorCode>>,
    started: Arc<AtomicBool>,
}

impl Stop {
    /// Stops the job for this reason, unless it is stopping already.
    pub(super) fn because(&self, reason: ErrorCode) {
        if reason == ErrorCode::LeaseLost {
            self.lost.cancel();
        }
        if self.reason.set(reason).is_ok() {
            self.token.cancel();
        }
    }

    /// From here on the job has cost device time: a worker that shuts down lets it finish if it can.
    pub(super) fn start(&self) {
        self.started.store(true, Ordering::Release);
    }

    /// Whether it has.
    pub(super) fn has_started(&self) -> bool {
        self.started.load(Ordering::Acquire)
    }

    /// For those who only need to know that.
    pub(super) fn token(&self) -> CancellationToken {
        self.token.clone()
    }

    /// The reason, if the job should stop.
    pub(super) fn reason(&self) -> Option<JobError> {
        self.reason.get().map(|code| JobError::new(*code, sentence(*code)))
    }

    /// Runs to the end, or only until the job should stop.
    pub(super) async fn unless<T>(&self, work: impl Future<Output = Result<T>>) -> Result<T> {
        tokio::select! {
            biased;
            () = self.token.cancelled() => Err(self.reason().unwrap_or_else(unheard)),
            done = work => done,
        }
    }

    /// Runs to the end, stopped or not, or only until the lease is lost: then the job is another worker's.
    pub(super) async fn while_ours<T>(&self, work: impl Future<Output = Result<T>>) -> Result<T> {
        tokio::select! {
            biased;
            () = self.lost.cancelled() => {
                Err(JobError::new(ErrorCode::LeaseLost, sentence(ErrorCode::LeaseLost)))
            }
            done = work => done,
        }
    }

    /// The error of a run that was stopped is ours to name; all others stand.
    pub(super) fn explain<T>(&self, outcome: Result<T>) -> Result<T> {
        match (outcome, self.reason()) {
            (Err(error), Some(reason)) if error.code == ErrorCode::Cancelled => Err(reason),
            (outcome, _) => outcome,
        }
    }
}

fn sentence(code: ErrorCode) -> &'static str {
    match code {
        ErrorCode::Cancelled => "The job was cancelled.",
        ErrorCode::Interrupted => "The worker shuts down: another one takes the job over.",
        ErrorCode::LeaseLost => "The lease on the delivery is lost: another worker has it.",
        ErrorCode::DeadlineExceeded => {
            "The job's `deadline_secs` is used up: give it more, a smaller input or a faster device, and redrive it."
        }
        _ => "The job was stopped.",
    }
}

fn unheard() -> JobError {
    JobError::new(ErrorCode::Internal, "The job was stopped without a reason: please report this.")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_first_reason_counts_and_ends_work() {
        let stop = Stop::default();
        assert_eq!(stop.unless(async { Ok(1) }).await.unwrap(), 1);
        stop.because(ErrorCode::LeaseLost);
        stop.because(ErrorCode::Cancelled);
        let error = stop.unless(std::future::pending::<Result<()>>()).await.unwrap_err();
        assert_eq!(error.code, ErrorCode::LeaseLost);
        let ours = Stop::default();
        ours.because(ErrorCode::Interrupted);
        assert_eq!(ours.while_ours(async { Ok(1) }).await.unwrap(), 1, "interrupted, but not yet another's");
        ours.because(ErrorCode::LeaseLost);
        let error = ours.while_ours(std::future::pending::<Result<()>>()).await.unwrap_err();
        assert_eq!(error.code, ErrorCode::LeaseLost);
        assert_eq!(ours.reason().unwrap().code, ErrorCode::Interrupted);
        let ended: Result<()> = Err(JobError::new(ErrorCode::Cancelled, "x"));
        assert_eq!(stop.explain(ended).unwrap_err().code, ErrorCode::LeaseLost);
    }
}
