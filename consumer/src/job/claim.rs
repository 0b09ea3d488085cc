//! Who may run a job next. The claim itself is one conditional write: `attempt-<n>.json`, if absent.

use darkroom_api::{JobError, Result};
use jiff::Timestamp;

use super::entries::{Attempt, End, Outcome};
use super::history::History;
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
        /// Number of the attempt that says so.
        last: u32,
    },
    /// All attempts are used up, the last one perhaps without a word.
    Exhausted {
        /// Number of the attempt that says so.
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

impl ClaimRequest<'_> {
    /// The attempt that it asks for, under this number.
    fn attempt(&self, number: u32) -> Attempt {
        Attempt {
            number,
            run_id: self.run_id.clone(),
            worker: self.worker.to_owned(),
            claimed_at: self.now,
            live_until: self.live_until,
            submission: self.submission.without_queries(),
        }
    }
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
            // Committed between the two looks.
            let is_late = manifest.is_none() && history.ended().is_some_and(|end| end.outcome == Outcome::Completed);
            let manifest = match is_late {
                true => manifest::read(results, &request.submission.destination, self.job()).await?,
                false => manifest,
            };
            if let Some(manifest) = manifest {
                return Ok(Claim::Completed(Box::new(manifest)));
            }
            if let Some(refusal) = history.refusal(request) {
                if history.is_asked_again(&refusal, request.submission) {
                    self.start_over(&history).await?;
                    continue;
                }
                match self.note(refusal, &history, request).await? {
                    Some(refusal) => return Ok(refusal),
                    None => continue,
                }
            }
            let attempt = request.attempt(history.last_attempt() + 1);
            if self.start(&attempt).await? {
                return Ok(Claim::Won(Won {
                    attempt: attempt.number,
                    counted: history.counted() + 1,
                    budget_from: history.budget_from(request.now),
                    checkpoint_bytes: history.checkpoint_bytes,
                }));
            }
        }
        Ok(Claim::Live { until: request.live_until })
    }

    /// Whether the attempt is ours: of several workers that write this number one is first.
    async fn start(&self, attempt: &Attempt) -> Result<bool> {
        let name = format!("attempt-{}.json", attempt.number);
        match self.put_once(&name, attempt).await? {
            Put::Done => Ok(true),
            // Perhaps our own first try, whose answer was lost.
            Put::Exists => Ok(self.get::<Attempt>(&name).await?.is_some_and(|there| there.run_id == attempt.run_id)),
        }
    }

    /// Records a refusal that is the job's last word, so that whoever asks later is told: as the end of the last attempt,
    /// if that ended without a word, else of one more, which is there only to say it. `None` where somebody else was
    /// faster.
    async fn note(&self, refusal: Claim, history: &History, request: &ClaimRequest<'_>) -> Result<Option<Claim>> {
        let (outcome, error) = match &refusal {
            Claim::Cancelled { .. } => (Outcome::Cancelled, None),
            Claim::Exhausted { error, .. } => (Outcome::Failed, Some(error.clone())),
            _ => return Ok(Some(refusal)),
        };
        let (last, run_id) = match history.silent() {
            Some(silent) => (silent.number, silent.run_id.clone()),
            None => {
                let attempt = request.attempt(history.last_attempt() + 1);
                if !self.start(&attempt).await? {
                    return Ok(None);
                }
                (attempt.number, attempt.run_id)
            }
        };
        let end = End { attempt: last, run_id, outcome, error, is_final: true, ended_at: request.now };
        self.write_end(&end).await?;
        if history.checkpoint_bytes.is_some() {
            self.forget_checkpoint().await;
        }
        Ok(Some(match refusal {
            Claim::Exhausted { error, .. } => Claim::Exhausted { last, error },
            _ => Claim::Cancelled { last },
        }))
    }
}
