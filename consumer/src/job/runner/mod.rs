//! The journey of a delivery, from its lease to its settlement. What happens to the delivery follows from the class of
//! the error alone; what a crash leaves behind is either a visible result or a redelivery.
//!
//! | step | where |
//! |---|---|
//! | receive, lease | [`crate::worker`] |
//! | parse, route | `Journey::travel`, `places.rs` |
//! | claim | `identify.rs`, `claim.rs` |
//! | fetch, probe, plan | `fetch.rs` |
//! | run, commit | `attempt.rs`, `checkpoint.rs` |
//! | publish, settle | `claim.rs`, `Verdict` |

mod attempt;
mod checkpoint;
mod claim;
mod fetch;
mod identify;
mod places;
mod pulse;
mod stop;
mod verdict;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use darkroom_api::{Descriptor, ErrorClass, ErrorCode, JobError, Limits};
use jiff::{SignedDuration, Timestamp};

use crate::event::Rejected;
use crate::job::executor::Pool;
use crate::job::link::{Became, Link};
use crate::job::room::Room;
use crate::job::{JobId, JobMessage};
use crate::queue::lease::Lease;
use crate::store::{Place, Stores, shown};
use crate::telemetry::{Step, Telemetry};
use crate::trigger::{self, Routes, Submission, Trigger};
use crate::worker::Drain;

pub(crate) use claim::told_again;
pub(super) use fetch::{promised, stricter};
pub use places::Places;
use stop::Stop;
use verdict::Verdict;

/// Time that a forced drain leaves to requests in flight.
const FORCED_GRACE: Duration = Duration::from_secs(8);

/// What bounds jobs.
#[derive(Debug, Clone)]
pub struct Rules {
    /// Name of this worker in records.
    pub worker: String,
    /// Where records are.
    pub state: Place,
    /// A worker that says nothing for this long is taken to be dead: the lease of the queue.
    pub life: Duration,
    /// Attempts before a job is given up.
    pub max_attempts: u32,
    /// Shortest and longest pause before another attempt.
    pub backoff: (Duration, Duration),
    /// Budget over all attempts of a job that names none.
    pub deadline: Duration,
    /// Longest run.
    pub run_limit_secs: f64,
    /// Longest time without progress; each stage's own where absent.
    pub stall_secs: Option<f64>,
    /// Longest message.
    pub message_max_bytes: usize,
    /// Limits on inputs, beside each handler's own.
    pub limits: Limits,
}

/// Everything that a delivery meets on its way. One for all deliveries of a worker.
pub struct Journey {
    /// Bounds.
    pub rules: Rules,
    /// Buckets.
    pub stores: Stores,
    /// What becomes a job.
    pub routes: Routes,
    /// Handlers by name.
    pub handlers: BTreeMap<String, Descriptor>,
    /// Executors.
    pub pool: Pool,
    /// Promises of scratch space.
    pub room: Room,
    /// Log lines, metrics and events.
    pub telemetry: Telemetry,
    /// Jobs of this worker, for its heartbeat.
    pub in_hand: InHand,
    /// Bounds of single handlers.
    pub places: Places,
}

/// Jobs that a worker has claimed and not yet let go.
#[derive(Debug, Clone, Default)]
pub struct InHand(Arc<Mutex<BTreeSet<JobId>>>);

impl InHand {
    /// Their ids.
    pub fn jobs(&self) -> Vec<String> {
        self.lock().iter().map(JobId::to_string).collect()
    }

    /// Counts a job in until the answer is dropped, by a panic too.
    fn hold(&self, job: &JobId) -> Held {
        self.lock().insert(job.clone());
        Held { all: self.clone(), job: job.clone() }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeSet<JobId>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A job that is in hand.
struct Held {
    all: InHand,
    job: JobId,
}

impl Drop for Held {
    fn drop(&mut self) {
        self.all.lock().remove(&self.job);
    }
}

impl Journey {
    /// Takes one delivery all the way, and settles it unless it is lost.
    pub async fn travel(&self, lease: Lease, drain: Drain) {
        let late = async {
            drain.forced.cancelled().await;
            tokio::time::sleep(FORCED_GRACE).await;
        };
        // Whatever is cut off here is found in the record by whoever gets the delivery next.
        let verdict = tokio::select! {
            biased;
            verdict = self.judge(&lease, &drain) => verdict,
            () = late => Verdict::uncounted(Duration::ZERO),
        };
        let message_id = lease.message_id().clone();
        Step::Settling.reached(&message_id);
        verdict.carry_out(lease).await;
        Step::Settled.reached(&message_id);
    }

    async fn judge(&self, lease: &Lease, drain: &Drain) -> Verdict {
        let triggers = match trigger::parse_within(lease.body(), self.rules.message_max_bytes) {
            Ok(triggers) => triggers,
            Err(error) => return self.reject(lease, None, error).await,
        };
        Step::Parsed.reached(lease.message_id());
        let mut verdict = Verdict::Ack;
        for trigger in triggers {
            let next = match trigger {
                Trigger::Upload(upload) => match self.routes.route(&upload) {
                    Some(submission) => self.submission(lease, submission, drain).await,
                    None => {
                        let (bucket, key, taken) = (upload.bucket, upload.key, self.routes.taken());
                        tracing::warn!(bucket, key, taken, "upload ignored: no route takes it");
                        Verdict::Ack
                    }
                },
                Trigger::Job(message) => {
                    let id = lease.message_id().to_string();
                    match self.routes.accept((*message).clone(), &id, lease.sent_at()) {
                        Ok(submission) => self.submission(lease, submission, drain).await,
                        Err(error) => self.reject(lease, Some(&message), error).await,
                    }
                }
                Trigger::Ignored(ignored) => {
                    tracing::info!(reason = ?ignored.reason, about = ignored.about, "nothing to do");
                    Verdict::Ack
                }
            };
            verdict = verdict.and(next);
            if verdict == Verdict::Lost {
                break;
            }
        }
        verdict
    }

    /// One submission, stopped when the lease is lost or the worker is to hand its work back: at once what waits, when
    /// forced what runs.
    async fn submission(&self, lease: &Lease, submission: Submission, drain: &Drain) -> Verdict {
        Step::Routed.reached(lease.message_id());
        let link = match self.link(&submission) {
            Ok(link) => link,
            Err(error) => return self.refuse(lease, claim::rejected(&submission, error), None, false).await,
        };
        let link = link.as_ref();
        let Some(_place) = self.places.take(&submission.handler).await else {
            let (handler, message_id) = (&submission.handler, lease.message_id());
            tracing::debug!(handler, %message_id, "delivery released: as many jobs as may be of its handler are in hand");
            self.forget(lease, link).await;
            return Verdict::uncounted(places::pause(lease.receives()));
        };
        let stop = Stop::default();
        let lost = lease.lost();
        let begun = async {
            drain.begun.cancelled().await;
            if stop.has_started() {
                std::future::pending::<()>().await;
            }
        };
        let watch = async {
            let reason = tokio::select! {
                biased;
                () = lost.cancelled() => ErrorCode::LeaseLost,
                () = drain.forced.cancelled() => ErrorCode::Interrupted,
                () = begun => ErrorCode::Interrupted,
            };
            stop.because(reason);
            // What is still written of an interrupted job must not be written over the next worker's.
            lost.cancelled().await;
            stop.because(ErrorCode::LeaseLost);
            std::future::pending::<()>().await;
        };
        tokio::select! {
            biased;
            verdict = Box::pin(self.claim(lease, submission, link, &stop)) => verdict,
            () = watch => Verdict::Lost,
        }
    }

    /// A message that leads to no job: told to the sender, kept as a dead letter; or tried again, where that may help.
    async fn reject(&self, lease: &Lease, message: Option<&JobMessage>, error: JobError) -> Verdict {
        let rejected = Rejected {
            submission_id: lease.message_id().to_string(),
            handler: message.map(|m| m.handler.clone()),
            subject: message.and_then(|m| m.input.as_deref().map(|url| shown(url).into_owned())),
            reference: message.and_then(|m| m.reference.clone()),
            error,
        };
        self.refuse(lease, rejected, None, false).await
    }

    /// `link`: where that is written down for the next delivery; `is_foreign`: what failed may be a host of somebody else's.
    async fn refuse(&self, lease: &Lease, rejected: Rejected, link: Option<&Link>, is_foreign: bool) -> Verdict {
        let error = rejected.error.clone();
        // Nothing was attempted, so nothing is used up: an outage of an hour must not cost a job. But what no waiting
        // mends, a damaged record for one, or a host that is gone for good, must not go round for ever.
        let passes = error.class() == ErrorClass::Transient;
        let outage = passes && error.code != ErrorCode::Internal && !is_foreign;
        if outage || passes && lease.counted() < self.rules.max_attempts {
            tracing::warn!(%error, message_id = %lease.message_id(), "delivery released: nothing could be attempted");
            return Verdict::Release { after: self.pause(lease.receives()), counted: !outage };
        }
        if let Some(link) = link
            && let Err(unwritten) = link.write(&Became::Refused { error: error.clone() }).await
        {
            return self.undelivered(lease, &unwritten);
        }
        match self.telemetry.rejected(&rejected).await {
            Ok(()) => Verdict::DeadLetter { reason: error, jobs: Vec::new() },
            Err(undelivered) => self.undelivered(lease, &undelivered),
        }
    }

    /// A required sink did not confirm: the delivery comes again, uncounted, and with it the event.
    fn undelivered(&self, lease: &Lease, error: &JobError) -> Verdict {
        tracing::warn!(%error, message_id = %lease.message_id(), "delivery released: its event is not confirmed");
        Verdict::uncounted(self.pause(lease.receives()))
    }

    /// Pause before another attempt: doubled with each, at random between half and all of it.
    fn pause(&self, attempts: u32) -> Duration {
        let (min, max) = self.rules.backoff;
        let full = min.saturating_mul(2u32.saturating_pow(attempts.saturating_sub(1).min(20))).min(max);
        full.mul_f64(rand::Rng::random_range(&mut rand::rng(), 0.5..=1.0))
    }
}

/// A point in time after another; for ever, where no calendar goes.
pub(super) fn after(start: Timestamp, time: Duration) -> Timestamp {
    let add = SignedDuration::try_from(time).unwrap_or(SignedDuration::MAX);
    start.checked_add(add).unwrap_or(Timestamp::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_job_whose_task_panics_is_in_hand_no_longer() {
        let (in_hand, job) = (InHand::default(), "a".repeat(52).parse::<JobId>().unwrap());
        let held = in_hand.hold(&job);
        assert_eq!(in_hand.jobs(), [job.to_string()]);
        let task = tokio::spawn(async move {
            let _held = held;
            panic!("as a bug would");
        });
        assert!(task.await.unwrap_err().is_panic());
        assert_eq!(in_hand.jobs(), Vec::<String>::new());
    }
}
