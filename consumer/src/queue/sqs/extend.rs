//! Keeping a delivery: by its visibility timeout, and near its 12 hours by a copy of the message.

use std::time::Duration;

use tokio::time::Instant;
use tracing::{info, warn};

use super::held::Holding;
use super::{Extended, MAX_BATCH, Receipt, Result, SqsQueue};

/// Longest search for the copy in one beat, which must come to its end within the lease: not more than this part of it.
const LOOKS: Duration = Duration::from_secs(3);
const SHARE: u32 = 4;
/// How long each request waits.
const LOOK: Duration = Duration::from_secs(1);

impl SqsQueue {
    pub(super) async fn extend_held(&self, handle: &str, duration: Duration) -> Result<Extended> {
        let Some(held) = self.held.get(handle) else { return Ok(Extended::Lost) };
        let left = self.options.cap.saturating_sub(held.received.elapsed());
        // SQS counts whole seconds, and refuses any that would go beyond its 12 hours.
        let granted = duration.min(Duration::from_secs(left.as_secs()));
        if !granted.is_zero() && !self.prolong(handle, granted).await? {
            return Ok(Extended::Lost);
        }
        if left > self.options.lead {
            return Ok(Extended::Renewed);
        }
        if let Some(new) = self.replace(handle, &held, duration).await? {
            return Ok(Extended::Replaced(new));
        }
        if granted == duration {
            return Ok(Extended::Renewed);
        }
        // The copy is in the queue, out of our hands, and this one ends now: its next worker goes on from the record.
        warn!(message_id = held.message.id(), "12 hours are over, and another worker has the message's copy");
        self.held.take(handle);
        self.delete(&self.jobs, handle).await?;
        Ok(Extended::Lost)
    }

    async fn prolong(&self, handle: &str, duration: Duration) -> Result<bool> {
        // Counted from before the request: the service's clock starts later, so ours ends first.
        let begun = Instant::now();
        let ours = self.hide(&self.jobs, handle, duration).await?;
        if ours {
            self.held.renew(handle, begun + duration);
        } else {
            self.held.take(handle);
        }
        Ok(ours)
    }

    /// Sends the message anew, takes that into hand, and only then deletes the old one. None: not in hand yet, ask
    /// again with the next beat. Other workers that get it meanwhile find the job alive and let go of it.
    async fn replace(&self, handle: &str, held: &Holding, duration: Duration) -> Result<Option<Receipt>> {
        if !held.copied {
            let mut parcel = held.message.anew(true);
            if self.jobs.fifo {
                // Its group is locked while the old one is in flight.
                parcel.group = None;
            }
            self.post(&self.jobs, parcel).await?;
            self.held.expect_copy(handle);
        }
        let until = Instant::now() + (duration / SHARE).min(LOOKS);
        loop {
            match self.held.get(handle).map(|held| held.copy) {
                Some(Some(copy)) => return self.switch(handle, *copy, duration).await,
                Some(None) if Instant::now() < until => self.look().await?,
                // Not now, or the lease has ended meanwhile.
                Some(None) | None => return Ok(None),
            }
        }
    }

    /// Receives, keeps the copies that are waited for, and gives back the rest at once.
    pub(super) async fn look(&self) -> Result<()> {
        let begun = Instant::now();
        for message in self.poll(&self.jobs, MAX_BATCH, LOOK, self.options.lease).await? {
            if self.held.has_copied(&message) {
                // Its 12 hours ended while we looked.
                self.delete(&self.jobs, &message.handle).await?;
                continue;
            }
            let holding = Holding::new(message, begun, begun + self.options.lease);
            if let Some(other) = self.held.adopt(holding) {
                // SQS counts this look as a hand-over, which must not use up a message's patience.
                self.put_back(&other.message, other.message.early_by().unwrap_or_default()).await?;
            }
        }
        Ok(())
    }

    async fn switch(&self, old: &str, copy: Holding, duration: Duration) -> Result<Option<Receipt>> {
        let (handle, received) = (copy.message.handle.clone(), copy.received);
        let begun = Instant::now();
        if !self.hide(&self.jobs, &handle, duration).await? {
            return Ok(None);
        }
        self.held.insert(Holding { received, expires: begun + duration, ..copy });
        self.held.take(old);
        if let Err(error) = self.delete(&self.jobs, old).await {
            warn!(%error, "the message whose copy is in hand was not deleted: it will be delivered once more");
        }
        info!(
            message_id = self.held.get(&handle).map(|held| held.message.id().to_owned()),
            "lease goes on with a copy"
        );
        Ok(Some(Receipt::new(handle)))
    }
}
