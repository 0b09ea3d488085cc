//! What becomes of a delivery.

use std::time::Duration;

use darkroom_api::JobError;

use crate::job::{JobId, redrive};
use crate::queue::Settled;
use crate::queue::lease::Lease;

/// What becomes of a delivery.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Verdict {
    /// Done.
    Ack,
    /// To be kept with a reason, and with the jobs that failed, so that it can be redriven together with their records.
    DeadLetter { reason: JobError, jobs: Vec<JobId> },
    /// To be delivered again; `counted` as in [`crate::queue::Settlement::Release`].
    Release { after: Duration, counted: bool },
    /// Somebody else has it: nothing to settle.
    Lost,
}

impl Verdict {
    /// To be delivered again, for a reason that lies outside the message and its job.
    pub(super) fn uncounted(after: Duration) -> Verdict {
        Verdict::Release { after, counted: false }
    }

    /// Of several records in one message the one that needs most attention decides: whatever is done already is
    /// recognised when the message comes again.
    pub(super) fn and(self, other: Verdict) -> Verdict {
        match (self, other) {
            (Verdict::Lost, _) | (_, Verdict::Lost) => Verdict::Lost,
            (Verdict::Release { after: a, counted: x }, Verdict::Release { after: b, counted: y }) => {
                Verdict::Release { after: a.min(b), counted: x || y }
            }
            (release @ Verdict::Release { .. }, _) | (_, release @ Verdict::Release { .. }) => release,
            (Verdict::DeadLetter { reason, jobs }, Verdict::DeadLetter { jobs: more, .. }) => {
                Verdict::DeadLetter { reason, jobs: [jobs, more].concat() }
            }
            (dead @ Verdict::DeadLetter { .. }, _) | (_, dead @ Verdict::DeadLetter { .. }) => dead,
            (Verdict::Ack, Verdict::Ack) => Verdict::Ack,
        }
    }

    /// Settles the delivery.
    pub(super) async fn carry_out(self, lease: Lease) {
        let id = lease.message_id().clone();
        let outcome = match self {
            Verdict::Ack => lease.ack().await,
            Verdict::DeadLetter { reason, jobs } => lease.dead_letter(redrive::reason(reason, &jobs)).await,
            Verdict::Release { after, counted } => lease.release(after, counted).await,
            Verdict::Lost => Ok(Settled::Lost),
        };
        // Either way the message comes again, and the job's record tells whoever gets it what was done.
        match outcome {
            Ok(Settled::Done) => {}
            Ok(Settled::Lost) => tracing::warn!(message_id = %id, "delivery not settled: the lease was lost"),
            Err(error) => tracing::warn!(message_id = %id, %error, "delivery not settled"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use darkroom_api::ErrorCode;

    fn release(secs: u64, counted: bool) -> Verdict {
        Verdict::Release { after: Duration::from_secs(secs), counted }
    }

    fn dead(jobs: &[&str]) -> Verdict {
        let jobs = jobs.iter().map(|letter| letter.repeat(52).parse().unwrap()).collect();
        Verdict::DeadLetter { reason: JobError::new(ErrorCode::InputEmpty, "x"), jobs }
    }

    #[test]
    fn the_record_that_needs_most_attention_decides() {
        assert_eq!(Verdict::Ack.and(Verdict::Ack), Verdict::Ack);
        assert_eq!(Verdict::Ack.and(dead(&["a"])), dead(&["a"]));
        assert_eq!(dead(&["a"]).and(release(9, true)), release(9, true));
        assert_eq!(release(9, false).and(release(3, false)), release(3, false));
        assert_eq!(release(3, true).and(Verdict::Lost), Verdict::Lost);
    }

    #[test]
    fn of_several_records_every_failed_job_is_named_and_one_that_counts_is_enough() {
        assert_eq!(dead(&["a"]).and(Verdict::Ack).and(dead(&["b", "c"])), dead(&["a", "b", "c"]));
        assert_eq!(release(3, true).and(release(9, false)), release(3, true));
    }
}
