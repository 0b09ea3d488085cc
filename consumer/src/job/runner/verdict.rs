//! What becomes of a delivery.

use std::time::Duration;

use darkroom_api::JobError;

use crate::queue::Settled;
use crate::queue::lease::Lease;

/// What becomes of a delivery.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Verdict {
    /// Done.
    Ack,
    /// To be kept with a reason.
    DeadLetter { reason: JobError },
    /// To be delivered again.
    Release { after: Duration },
    /// Somebody else has it: nothing to settle.
    Lost,
}

impl Verdict {
    /// Of several records in one message the one that needs most attention decides: whatever is done already is
    /// recognised when the message comes again.
    pub(super) fn and(self, other: Verdict) -> Verdict {
        match (self, other) {
            (Verdict::Lost, _) | (_, Verdict::Lost) => Verdict::Lost,
            (Verdict::Release { after: a }, Verdict::Release { after: b }) => Verdict::Release { after: a.min(b) },
            (release @ Verdict::Release { .. }, _) | (_, release @ Verdict::Release { .. }) => release,
            (dead @ Verdict::DeadLetter { .. }, _) | (_, dead @ Verdict::DeadLetter { .. }) => dead,
            (Verdict::Ack, Verdict::Ack) => Verdict::Ack,
        }
    }

    /// Settles the delivery.
    pub(super) async fn carry_out(self, lease: Lease) {
        let id = lease.message_id().clone();
        let outcome = match self {
            Verdict::Ack => lease.ack().await,
            Verdict::DeadLetter { reason } => lease.dead_letter(reason).await,
            Verdict::Release { after } => lease.release(after).await,
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

    #[test]
    fn the_record_that_needs_most_attention_decides() {
        let dead = || Verdict::DeadLetter { reason: JobError::new(ErrorCode::InputEmpty, "x") };
        let release = |secs| Verdict::Release { after: Duration::from_secs(secs) };
        assert_eq!(Verdict::Ack.and(Verdict::Ack), Verdict::Ack);
        assert_eq!(Verdict::Ack.and(dead()), dead());
        assert_eq!(dead().and(release(9)), release(9));
        assert_eq!(release(9).and(release(3)), release(3));
        assert_eq!(release(3).and(Verdict::Lost), Verdict::Lost);
    }
}
