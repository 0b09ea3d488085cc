//! The end of a delivery.

use std::time::Duration;

use darkroom_api::JobError;
use jiff::Timestamp;
use tracing::warn;

use super::held::Holding;
use super::notes::{Parcel, Received};
use super::{Result, Settled, Settlement, SqsQueue};

impl SqsQueue {
    pub(super) async fn settle_held(&self, handle: &str, settlement: Settlement) -> Result<Settled> {
        let Some(held) = self.held.take(handle) else { return Ok(Settled::Lost) };
        let settled = match settlement {
            Settlement::Ack => self.delete(&self.jobs, handle).await?,
            // The copy that was to take its place waits in the queue already.
            Settlement::Release { .. } if held.copied && held.copy.is_none() => self.delete(&self.jobs, handle).await?,
            Settlement::Release { after, counted } => self.release(&held, after, counted).await?,
            Settlement::DeadLetter { reason } => self.bury(&held.message, reason, false).await?,
        };
        if let Some(copy) = held.copy
            && let Err(error) = self.delete(&self.jobs, &copy.message.handle).await
        {
            warn!(%error, "the copy of a settled message was not deleted: it will be delivered once more");
        }
        Ok(if settled { Settled::Done } else { Settled::Lost })
    }

    async fn release(&self, held: &Holding, after: Duration, counted: bool) -> Result<bool> {
        let message = &*held.message;
        if counted || self.keeps_place(message) {
            let left = self.options.cap.saturating_sub(held.received.elapsed());
            return self.hide(&self.jobs, &message.handle, after.min(Duration::from_secs(left.as_secs()))).await;
        }
        // Whose receipt is stale must not send anything.
        if !self.hide(&self.jobs, &message.handle, self.options.lease).await? {
            return Ok(false);
        }
        self.post(&self.jobs, self.uncounted(message).delayed(after, self.jobs.fifo)).await?;
        self.delete(&self.jobs, &message.handle).await
    }

    /// Sent anew it would lose its place among those of its group: only when the queue's patience wears thin.
    pub(super) fn keeps_place(&self, message: &Received) -> bool {
        self.jobs.fifo && message.broker_receives() < self.options.max_receives.div_ceil(2)
    }

    /// The message to be sent anew, as if this hand-over had not been. In a FIFO queue those before it may have been
    /// uncounted too, and only SQS counted them: none of them is held against it.
    pub(super) fn uncounted<'a>(&self, message: &'a Received) -> Parcel<'a> {
        let mut parcel = message.anew(false);
        if self.jobs.fifo {
            parcel.notes.counted = message.counted_before();
        }
        parcel
    }

    /// Moves a message to the dead letters.
    pub(super) async fn bury(&self, message: &Received, reason: JobError, untold: bool) -> Result<bool> {
        if !self.hide(&self.jobs, &message.handle, self.options.lease).await? {
            return Ok(false);
        }
        let mut parcel = message.anew(true);
        // A hand-over that nobody was told of does not show in the letter.
        parcel.notes.receives -= u32::from(untold);
        parcel.notes.reason = Some(reason);
        parcel.notes.dead_at = Some(Timestamp::now());
        self.post(&self.dead, parcel).await?;
        self.delete(&self.jobs, &message.handle).await
    }
}
