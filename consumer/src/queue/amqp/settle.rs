//! Ending deliveries, and keeping those whose work takes longer than the broker waits.
//!
//! # Parking
//!
//! A broker takes a delivery back that is not acknowledged in time (30 minutes by default; 406 in 3.x, `basic.cancel`
//! in 4.3), and nothing prolongs it. Before that, at half of `ack_timeout`, the message is moved on:
//!
//! 1. a copy is published into `<queue>.hold.<id>`, a queue that only this worker reads, and confirmed;
//! 2. the copy is taken from there and held unacknowledged: the broker's clock starts anew;
//! 3. the consumer ends, since it would get another message for that, and the old delivery is acknowledged. The lease
//!    goes on under a new receipt (`Replaced`).
//!
//! At every moment the message is in a durable queue. It can run nowhere else meanwhile: the copy is ours alone until
//! the connection ends. Then it is ready in the holding queue, older than that queue's time to live (one lease), and
//! goes home to `<queue>` by itself. A worker that dies between 1 and 3 leaves the message twice: both have the same
//! id, and the job's record lets one run.

use std::sync::Arc;
use std::time::Duration;

use darkroom_api::{ErrorCode, JobError};
use lapin::options::{BasicAckOptions, BasicGetOptions, BasicNackOptions, BasicRejectOptions};
use tokio::time::{Instant, timeout};

use super::inbox::Held;
use super::link::{Link, REPLY, unavailable};
use super::{receive, topology};
use crate::queue::{Error, Extended, Receipt, Result, Settled, Settlement};

/// Copies found in a holding queue before ours, at most: what earlier failures left there.
const MAX_STRAYS: usize = 100;

impl Link {
    /// See [`crate::queue::Queue::settle`]. Run it as a task: given up half-way it would leave a delivery that nobody
    /// holds.
    pub(super) async fn settle(&self, receipt: String, settlement: Settlement) -> Result<Settled> {
        let taken = if self.is_alive() { self.inbox().take(&receipt) } else { None };
        let Some(held) = taken else { return Ok(Settled::Lost) };
        match self.carry_out(&held, settlement).await {
            Ok(true) => Ok(Settled::Done),
            Ok(false) => Ok(Settled::Lost),
            Err(error) => {
                self.inbox().put(receipt, held);
                Err(error)
            }
        }
    }

    async fn carry_out(&self, held: &Held, settlement: Settlement) -> Result<bool> {
        let message = &*held.message;
        match settlement {
            Settlement::Ack => {}
            // The broker counts this one itself, and keeps the message's place.
            Settlement::Release { after: Duration::ZERO, counted: true } if !held.parked => {
                return self.hand_back(held, true).await;
            }
            Settlement::Release { after, counted } => {
                let copy = if counted { message.copy() } else { message.copy().uncounted(message) };
                self.publish_after(after, message, copy).await?;
            }
            Settlement::DeadLetter { reason } => {
                let exchange = topology::exchange(&self.options.name);
                self.publish(&exchange, "", message, message.copy().dead(&reason)).await?;
            }
        }
        Ok(self.ack(held).await)
    }

    /// Hands a delivery back that nobody was given. Of this one's counter nothing is known but that it rises with older
    /// brokers: a copy takes its place. Where the queue takes none it goes back itself.
    pub(super) async fn return_unseen(&self, held: &Held) -> Result<()> {
        let message = &*held.message;
        let copy = message.copy().uncounted(message).received(message.receives.saturating_sub(1));
        match self.publish("", &self.options.name, message, copy).await {
            Ok(()) => drop(self.ack(held).await),
            Err(error) => {
                tracing::debug!(%error, "handed back as it is");
                self.hand_back(held, false).await?;
            }
        }
        Ok(())
    }

    /// Gives up a message that was received too often; it was not handed out now.
    pub(super) async fn give_up(&self, receipt: &str) -> Result<()> {
        let Some(held) = self.inbox().take(receipt) else { return Ok(()) };
        let message = &*held.message;
        let times = message.receives.saturating_sub(1);
        let why = format!(
            "received {times} times and never settled: its worker died each time; look at the worker's log, then redrive it"
        );
        let reason = JobError::new(ErrorCode::ExecutorCrashed, why);
        let copy = message.copy().received(times).dead(&reason);
        let sent = self.publish(&topology::exchange(&self.options.name), "", message, copy).await;
        match sent {
            Ok(()) => {
                self.ack(&held).await;
                Ok(())
            }
            Err(error) => {
                self.inbox().put(receipt.to_owned(), held);
                Err(error)
            }
        }
    }

    /// False when the delivery was not ours any more. That an acknowledgement arrives is not confirmed by the protocol:
    /// one that is lost with its connection means another delivery.
    async fn ack(&self, held: &Held) -> bool {
        match timeout(REPLY, held.acker.ack(BasicAckOptions::default())).await {
            Ok(Ok(done)) => done,
            Ok(Err(error)) => {
                self.end(&error.to_string());
                false
            }
            Err(_) => {
                self.end("an acknowledgement could not be sent");
                false
            }
        }
    }

    /// Hands a delivery back to its queue; a parked copy goes home by its queue's dead-letter route. False when it was
    /// not ours any more.
    ///
    /// To a broker from 4.3 on, `reject` means that the work failed and `nack` that it was not done: only the first one
    /// counts. Older ones count both.
    pub(super) async fn hand_back(&self, held: &Held, counted: bool) -> Result<bool> {
        let requeue = !held.parked;
        if counted {
            self.reply(held.acker.reject(BasicRejectOptions { requeue })).await
        } else {
            self.reply(held.acker.nack(BasicNackOptions { requeue, multiple: false })).await
        }
    }

    /// See [`crate::queue::Queue::extend`].
    pub(super) async fn extend(self: &Arc<Self>, receipt: &Receipt, duration: Duration) -> Result<Extended> {
        if !self.is_alive() {
            return Ok(Extended::Lost);
        }
        let until = Instant::now() + duration;
        let Some(since) = self.inbox().extend(receipt.as_str(), until) else { return Ok(Extended::Lost) };
        if since.elapsed() < self.options.ack_timeout / 2 {
            return Ok(Extended::Renewed);
        }
        let (link, receipt) = (Arc::clone(self), receipt.as_str().to_owned());
        // A task of its own: given up half-way it would leave a copy that nobody holds.
        let parked = tokio::spawn(async move { link.park(receipt, until).await });
        parked.await.map_err(Error::unavailable)?
    }

    async fn park(&self, receipt: String, until: Instant) -> Result<Extended> {
        let _one = self.parking.lock().await;
        let Some(old) = self.inbox().take(&receipt) else { return Ok(Extended::Lost) };
        let mut new = match self.parked_copy(&old).await {
            Ok(new) => new,
            Err(error) => {
                self.inbox().put(receipt, old);
                return Err(error);
            }
        };
        new.expires = until;
        // First: with its acknowledgement the broker would think that we have a free hand, and give us another one.
        if let Err(error) = self.end_consumer(old.consumer).await {
            tracing::debug!(%error, "the consumer could not be ended");
        }
        if !self.ack(&old).await {
            // Where the connection lives on, the copy is for others.
            if let Err(error) = self.hand_back(&new, true).await {
                tracing::debug!(%error, "a parked copy goes home by itself");
            }
            return Ok(Extended::Lost);
        }
        let receipt = uuid::Uuid::now_v7().to_string();
        self.inbox().put(receipt.clone(), new);
        Ok(Extended::Replaced(Receipt::new(receipt)))
    }

    /// Ends the consumer of this number, if it is the one that runs. Those who wait begin another one.
    async fn end_consumer(&self, number: u64) -> Result<()> {
        let _changing = self.consuming.lock().await;
        let runs = self.inbox().consumer.as_ref().is_some_and(|consumer| consumer.number == number);
        if runs { self.unsubscribe().await } else { Ok(()) }
    }

    async fn parked_copy(&self, old: &Held) -> Result<Held> {
        let hold = self.hold.as_str();
        // Each time: it tells the broker that the queue is in use.
        let channel = self.channel().await?;
        let declared = timeout(REPLY, topology::declare_hold(&channel, &self.options, hold)).await;
        declared.map_err(Error::unavailable)?.map_err(Error::Unavailable)?;
        let name = uuid::Uuid::now_v7().to_string();
        let message = &*old.message;
        self.publish("", hold, message, message.copy().parked_as(&name)).await?;
        for _ in 0..MAX_STRAYS {
            let got = self.reply(self.incoming.basic_get(hold.into(), BasicGetOptions::default())).await?;
            let Some(got) = got else { break };
            let found = receive::held(got.delivery, 0);
            if found.message.is_parked_as(&name) {
                return Ok(Held { message: old.message.clone(), parked: true, ..found });
            }
            self.hand_back(&Held { parked: true, ..found }, false).await?;
        }
        // It went home before we had it; the record keeps it from running beside this one.
        Err(unavailable("the parked copy was not found"))
    }
}
