//! Who may run a job next. The claim itself is one conditional write: `attempt-<n>.json`, if absent.

use darkroom_api::{JobError, Result};
use jiff::Timestamp;

use super::entries::{Attempt, End};
use super::manifest::{self, Manifest};
use super::{Record, RunId};
use crate::store::{Put, Store};
use crate::trigger::Submission;

/// Claims lost to others before we give way.
const CLAIM_TRIES: u32 = 3;

/// What became of a try to claim a job.
#[derive(Debug, Clone, PartialEq)]
#[must_use]
pub enum Claim {
    /// Ours to run.
    Won(Won),
    /// Completed before: publish its event again.
    Completed(Box<Manifest>),
    /// Failed or cancelled for good before: publish that event again.
    Ended(Box<End>),
    /// Another worker is at it, or was until recently: come back then.
    Live {
        /// Until when it is taken to live.
        until: Timestamp,
    },
    /// A user asked for cancellation and no attempt is live.
    Cancelled {
        /// Number of the last attempt, 0 before the first.
        last: u32,
    },
    /// All attempts are used up, the last one perhaps without a word.
    Exhausted {
        /// Number of the last attempt.
        last: u32,
        /// The last error that was recorded, or that there is none.
        error: JobError,
    },
}

/// A claimed attempt.
#[derive(Debug, Clone, PartialEq)]
pub struct Won {
    /// Number of the attempt, never used twice.
    pub attempt: u32,
    /// Attempts that count, this one included; interrupted ones and those before a redrive do not.
    pub counted: u32,
    /// `deadline_secs` runs from here: the first claim since the last redrive, later by what interruptions took.
    pub budget_from: Timestamp,
    /// Size of the checkpoint that an earlier attempt left, if any.
    pub checkpoint_bytes: Option<u64>,
}

/// What a worker says when it claims.
#[derive(Debug, Clone)]
pub struct ClaimRequest<'a> {
    /// The new run.
    pub run_id: &'a RunId,
    /// The worker.
    pub worker: &'a str,
    /// What is to be done.
    pub submission: &'a Submission,
    /// Attempts that may count.
    pub max_attempts: u32,
    /// The time now.
    pub now: Timestamp,
    /// Until when the worker will live without another word.
    pub live_until: Timestamp,
}

impl Record {
    /// Claims the next attempt, unless the job is finished, cancelled, live elsewhere or out of attempts. A failed job
    /// starts over for a submission that none of its attempts served: somebody asks again. Each submission can do that
    /// once, since the attempt that follows serves it; of several at once one gets the attempt and the others wait.
    /// `results` is the store of the submission's destination.
    ///
    /// # Errors
    /// Codes of [`crate::store::error::classify`], [`ErrorCode::Internal`] for damaged records.
    pub async fn claim(&self, results: &Store, request: &ClaimRequest<'_>) -> Result<Claim> {
        for _ in 0..CLAIM_TRIES {
            let manifest = manifest::read(results, &request.submission.destination, self.job());
            let (manifest, history) = futures::try_join!(manifest, self.history())?;
            if let Some(manifest) = manifest {
                return Ok(Claim::Completed(Box::new(manifest)));
            }
            if let Some(refusal) = history.refusal(request) {
                if history.is_asked_again(&refusal, request.submission) {
                    self.start_over(&history).await?;
                    continue;
                }
                if let Some(end) = history.last_word(&refusal, request.now) {
                    self.write_end(&end).await?;
                    if history.checkpoint_bytes.is_some() {
                        self.forget_checkpoint().await;
                    }
                }
                return Ok(refusal);
            }
            let number = history.last_attempt() + 1;
            let attempt = Attempt {
                number,
                run_id: request.run_id.clone(),
                worker: request.worker.to_owned(),
                claimed_at: request.now,
                live_until: request.live_until,
                submission: request.submission.without_queries(),
            };
            let name = format!("attempt-{number}.json");
            let ours = match self.put_once(&name, &attempt).await? {
                Put::Done => true,
                // Perhaps our own first try, whose answer was lost.
                Put::Exists => self.get::<Attempt>(&name).await?.is_some_and(|a| a.run_id == *request.run_id),
            };
            if ours {
                return Ok(Claim::Won(Won {
                    attempt: number,
                    counted: history.counted() + 1,
                    budget_from: history.budget_from(request.now),
                    checkpoint_bytes: history.checkpoint_bytes,
                }));
            }
        }
        Ok(Claim::Live { until: request.live_until })
    }
}
