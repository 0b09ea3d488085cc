//! A delivery that stays ours while the work goes on.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use darkroom_api::JobError;
use jiff::Timestamp;
use tokio::{
    task::JoinHandle,
    time::{Instant, sleep_until, timeout_at},
};
use tokio_util::sync::{CancellationToken, DropGuard};
use tracing::{debug, error, warn};

use super::{Delivery, Extended, MessageId, Queue, Receipt, Result, Settled, Settlement};

/// Beats in one lease: two may fail and the third still comes in time.
const BEATS: u32 = 3;
/// Tries of a failing beat in one interval.
const TRIES: u32 = 4;

/// Owns a delivery's receipt and renews it from its receipt on, a third of the lease after the last renewal.
///
/// Settling consumes it, so a delivery cannot be settled twice. Dropped without settling it stops renewing, and the
/// message comes back when its lease expires.
#[derive(Debug)]
pub struct Lease {
    queue: Arc<dyn Queue>,
    message_id: MessageId,
    body: Bytes,
    receives: u32,
    counted: u32,
    sent_at: Timestamp,
    lost: CancellationToken,
    stop: DropGuard,
    heartbeat: JoinHandle<Option<Receipt>>,
}

impl Lease {
    /// Starts renewing `delivery`, which came from `queue`. Call it at once, whatever waits before the work begins.
    pub fn start(queue: Arc<dyn Queue>, delivery: Delivery) -> Self {
        let Delivery { message_id, body, receipt, receives, counted, sent_at, leased_at } = delivery;
        let (lost, stop) = (CancellationToken::new(), CancellationToken::new());
        let heartbeat = Heartbeat {
            expires: leased_at + queue.lease_duration(),
            duration: queue.lease_duration(),
            queue: queue.clone(),
            message_id: message_id.clone(),
            receipt,
        };
        let heartbeat = tokio::spawn(heartbeat.run(leased_at, stop.clone(), lost.clone()));
        Lease { queue, message_id, body, receives, counted, sent_at, lost, stop: stop.drop_guard(), heartbeat }
    }

    /// Name of the message.
    pub fn message_id(&self) -> &MessageId {
        &self.message_id
    }

    /// The message.
    pub fn body(&self) -> &Bytes {
        &self.body
    }

    /// How often the message has been handed over, this time included.
    pub fn receives(&self) -> u32 {
        self.receives
    }

    /// The same without those that were released uncounted.
    pub fn counted(&self) -> u32 {
        self.counted
    }

    /// When the message was sent.
    pub fn sent_at(&self) -> Timestamp {
        self.sent_at
    }

    /// Cancelled when the delivery is no longer ours: stop, drop the run, settle nothing.
    pub fn lost(&self) -> CancellationToken {
        self.lost.clone()
    }

    /// The work is done: the message goes.
    ///
    /// # Errors
    /// As [`Queue::settle`].
    pub async fn ack(self) -> Result<Settled> {
        self.settle(Settlement::Ack).await
    }

    /// The work is not done: the message is visible again after `after`. See [`Settlement::Release`].
    ///
    /// # Errors
    /// As [`Queue::settle`].
    pub async fn release(self, after: Duration, counted: bool) -> Result<Settled> {
        self.settle(Settlement::Release { after, counted }).await
    }

    /// The work will never be done: the message is kept apart with the reason.
    ///
    /// # Errors
    /// As [`Queue::settle`].
    pub async fn dead_letter(self, reason: JobError) -> Result<Settled> {
        self.settle(Settlement::DeadLetter { reason }).await
    }

    async fn settle(self, settlement: Settlement) -> Result<Settled> {
        drop(self.stop);
        // A beat in flight may arrive at the broker after the settlement and undo a release, or replace the receipt.
        match self.heartbeat.await {
            Ok(Some(receipt)) => self.queue.settle(receipt, settlement).await,
            Ok(None) => Ok(Settled::Lost),
            Err(failure) => {
                error!(message_id = %self.message_id, %failure, "the heartbeat of a lease panicked");
                Ok(Settled::Lost)
            }
        }
    }
}

/// The task behind a [`Lease`].
struct Heartbeat {
    queue: Arc<dyn Queue>,
    message_id: MessageId,
    receipt: Receipt,
    duration: Duration,
    expires: Instant,
}

impl Heartbeat {
    /// Renews until stopped, and hands the receipt back; none when the delivery was lost.
    async fn run(mut self, leased_at: Instant, stop: CancellationToken, lost: CancellationToken) -> Option<Receipt> {
        // Dropped on every way out but the orderly one, a panic included.
        let lost = lost.drop_guard();
        let interval = self.duration / BEATS;
        let mut next = leased_at + interval;
        loop {
            tokio::select! {
                biased;
                () = stop.cancelled() => {
                    lost.disarm();
                    return Some(self.receipt);
                }
                () = sleep_until(next.min(self.expires)) => {}
            }
            let begun = Instant::now();
            let beat = timeout_at(self.expires, self.queue.extend(&self.receipt, self.duration)).await;
            match beat {
                Ok(Ok(Extended::Lost)) => {
                    warn!(message_id = %self.message_id, "lease lost: another worker has the message, or it is gone");
                    return None;
                }
                Ok(Ok(extended)) => {
                    if let Extended::Replaced(receipt) = extended {
                        self.receipt = receipt;
                    }
                    debug!(message_id = %self.message_id, "lease renewed");
                    // Counted from before the request: the broker's clock starts later, so ours ends first.
                    self.expires = begun + self.duration;
                    next = begun + interval;
                }
                Ok(Err(failure)) if Instant::now() < self.expires => {
                    warn!(message_id = %self.message_id, %failure, "lease not renewed, trying again");
                    next = Instant::now() + interval / TRIES;
                }
                Ok(Err(_)) | Err(_) => {
                    warn!(message_id = %self.message_id, "lease lost: it could not be renewed before it expired");
                    return None;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests;
