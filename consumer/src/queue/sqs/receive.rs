//! From received messages to deliveries.

use std::time::Duration;

use darkroom_api::{ErrorCode, JobError};
use futures::future::join_all;
use tokio::time::Instant;
use tracing::{debug, warn};

use super::held::Holding;
use super::notes::Received;
use super::{Delivery, MessageId, Receipt, Result, SqsQueue};

/// A request that took longer than this part of the lease says too little about when the lease began.
const SLOW: u32 = 8;

impl SqsQueue {
    /// One request for messages, and what may be handed out of its answer.
    pub(super) async fn take(&self, max: usize, wait: Duration) -> Result<Vec<Delivery>> {
        let begun = Instant::now();
        let received = self.poll(&self.jobs, max, wait, self.options.lease).await?;
        let slow = begun.elapsed() > self.options.lease / SLOW;
        let accept = |message| async move {
            let id = Received::id(&message).to_owned();
            self.accept(message, begun, slow).await.unwrap_or_else(|error| {
                warn!(message_id = id, %error, "a received message could not be dealt with: it comes back");
                None
            })
        };
        Ok(join_all(received.into_iter().map(accept)).await.into_iter().flatten().collect())
    }

    /// Hands a message out, unless it is too early, given too often, or the copy that a delivery in hand waits for.
    async fn accept(&self, message: Received, begun: Instant, slow: bool) -> Result<Option<Delivery>> {
        if let Some(early) = message.early_by() {
            self.put_back(&message, early).await?;
            return Ok(None);
        }
        // The answer to a long poll may have begun at any time in it. Renewed, the lease is known to begin after now.
        let leased_at = if slow { Instant::now() } else { begun };
        if slow && !self.hide(&self.jobs, &message.handle, self.options.lease).await? {
            return Ok(None);
        }
        let holding = Holding::new(message, leased_at, leased_at + self.options.lease);
        let Some(holding) = self.held.adopt(holding) else { return Ok(None) };
        // Only now: the copy of what is in hand counts as often, and its work goes on.
        if holding.message.counted() > self.options.max_receives {
            self.bury(&holding.message, worn_out(self.options.max_receives), true).await?;
            return Ok(None);
        }
        let delivery = delivery(&holding.message, leased_at);
        self.held.insert(holding);
        Ok(Some(delivery))
    }

    /// A message that was not wanted, or not yet, waits on: uncounted where that is possible.
    pub(super) async fn put_back(&self, message: &Received, early: Duration) -> Result<()> {
        debug!(message_id = message.id(), ?early, "put back");
        if self.keeps_place(message) {
            self.hide(&self.jobs, &message.handle, early.min(self.options.cap)).await?;
            return Ok(());
        }
        let mut parcel = self.uncounted(message);
        // Nobody was given it.
        parcel.notes.receives -= 1;
        self.post(&self.jobs, parcel.delayed(early, self.jobs.fifo)).await?;
        self.delete(&self.jobs, &message.handle).await?;
        Ok(())
    }
}

fn delivery(message: &Received, leased_at: Instant) -> Delivery {
    Delivery {
        message_id: MessageId(message.id().to_owned()),
        body: message.body.clone().into(),
        receipt: Receipt::new(&message.handle),
        receives: message.receives(),
        counted: message.counted(),
        sent_at: message.sent_at(),
        leased_at,
    }
}

fn worn_out(max_receives: u32) -> JobError {
    let message = format!(
        "received more than {max_receives} times and never settled: its worker died each time; look at the worker's log, \
         then redrive it"
    );
    JobError::new(ErrorCode::ExecutorCrashed, message)
}
