//! RabbitMQ: quorum queues, through lapin.
//!
//! # Design note
//!
//! * **A delivery is held by its channel.** While the connection lives the broker gives it to nobody else, so `extend`
//!   only moves our own clock; a delivery that is not extended is given back when its lease ends (`sweep`). When the
//!   connection ends, all of its deliveries go to others at once, and everything here answers `Lost`: see `link`.
//! * **Work that takes longer than the broker waits** for an acknowledgement is parked: see `settle`. The lease then
//!   answers `Replaced`.
//! * **Lost** is: the channel closed with 406 or any other way, a cancel sent by the server, the end of a consumer's
//!   stream, `Ok(false)` for an acknowledgement.
//! * **Every other way of giving a message back sends a copy** (delays, uncounted releases, dead letters, redrives): it
//!   is published with `mandatory`, confirmed, and not returned, before the old one is acknowledged. In between the
//!   message exists twice, never not at all; the copy has its id, and the counts so far in headers (`message`).
//! * **Prefetch is what the caller asks for.** The consumer runs while somebody waits, with room for as many deliveries
//!   as were asked for; it ends a second after the last one who waited, unless it has no room left anyway.
//! * **`Depth::in_flight`** counts this process's deliveries only: the protocol does not tell others'.
//! * A message without an id gets one that is made of its bytes: publish with `message_id` to ask for the same job
//!   twice.
//!
//! The queues are described in `topology`. Credentials are never part of the URL.

mod depth;
mod inbox;
mod letters;
mod link;
mod message;
mod receive;
mod server;
mod settle;
mod sweep;
#[cfg(test)]
mod tests;
mod topology;

use std::future::Future;
use std::sync::{Arc, MutexGuard, PoisonError};
use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBackoff, ExponentialBuilder};
use tokio::sync::Mutex;
use tokio::time::{Instant, sleep_until};

use self::inbox::Held;
use self::link::Link;
use self::message::Message;
pub use self::server::Server;
pub(crate) use self::server::{CONNECT, confirmed};
use super::{
    DeadLetter, Delivery, Depth, Error, Extended, MessageId, Queue, Receipt, Redrive, Result, SendOptions, Settled,
    Settlement,
};

/// Most messages of one `receive`.
const MAX_BATCH: usize = 1000;

/// How an [`AmqpQueue`] behaves.
#[derive(Debug, Clone)]
pub struct Options {
    /// The broker.
    pub server: Server,
    /// Name of the queue; the others' names begin with it.
    pub name: String,
    /// Whether the queues are made by us; else they are only checked to be there.
    pub declare: bool,
    /// How long a delivery lasts without being extended.
    pub lease: Duration,
    /// The broker takes a delivery back that is not acknowledged for this long (its `consumer_timeout`).
    pub ack_timeout: Duration,
    /// Longest message in bytes that we send.
    pub max_message_bytes: usize,
    /// A message received this often, uncounted releases aside, and never settled is dead-lettered: it kills its
    /// worker.
    pub max_receives: u32,
}

impl Default for Options {
    /// The queue `darkroom.jobs` of a broker on this host, made by us; leases of 30 s, RabbitMQ's own 30 minutes, 1 MiB
    /// a message, 20 receives (4 x 5 attempts).
    fn default() -> Self {
        Options {
            server: Server::default(),
            name: "darkroom.jobs".into(),
            declare: true,
            lease: Duration::from_secs(30),
            ack_timeout: Duration::from_secs(1800),
            max_message_bytes: 1 << 20,
            max_receives: 20,
        }
    }
}

/// A queue on a RabbitMQ broker. It connects again after every loss.
#[derive(Debug)]
pub struct AmqpQueue {
    options: Arc<Options>,
    /// Name of the queue of copies that this process keeps for itself.
    hold: String,
    /// The last link. Locked for moments only: who holds a delivery must not wait for a connection.
    link: std::sync::Mutex<Option<Arc<Link>>>,
    connecting: Mutex<Connecting>,
}

#[derive(Debug, Default)]
struct Connecting {
    /// Pauses between failing attempts, and when the next one may be made.
    pauses: Option<ExponentialBackoff>,
    not_before: Option<Instant>,
}

impl AmqpQueue {
    /// Connects, and makes or checks the queues: what is wrong with them is told at the start.
    ///
    /// # Errors
    /// [`Error::Unavailable`].
    pub async fn open(options: Options) -> Result<Self> {
        let queue = AmqpQueue::new(options);
        queue.link().await?;
        Ok(queue)
    }

    /// The queue; nothing is sent yet.
    fn new(options: Options) -> Self {
        let hold = format!("{}.hold.{}", options.name, uuid::Uuid::now_v7());
        AmqpQueue { options: Arc::new(options), hold, link: std::sync::Mutex::default(), connecting: Mutex::default() }
    }

    /// The living link; a new one where it has ended.
    async fn link(&self) -> Result<Arc<Link>> {
        if let Some(link) = self.current() {
            return Ok(link);
        }
        let mut connecting = self.connecting.lock().await;
        // Made by whom we waited for.
        if let Some(link) = self.current() {
            return Ok(link);
        }
        if let Some(not_before) = connecting.not_before {
            sleep_until(not_before).await;
        }
        let opened = Link::open(Arc::clone(&self.options), self.hold.clone()).await;
        match &opened {
            Ok(link) => {
                *connecting = Connecting::default();
                *self.last() = Some(Arc::clone(link));
            }
            Err(_) => {
                let pause = connecting.pauses.get_or_insert_with(pauses).next().unwrap_or_default();
                connecting.not_before = Some(Instant::now() + pause);
            }
        }
        opened
    }

    /// The living link, which deliveries may belong to.
    fn current(&self) -> Option<Arc<Link>> {
        let link = self.last().clone();
        link.filter(|link| link.is_alive())
    }

    fn last(&self) -> MutexGuard<'_, Option<Arc<Link>>> {
        self.link.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Deliveries as the caller gets them; those received too often are given up here.
    async fn deliver(&self, link: &Arc<Link>, handed: Vec<(String, Held)>) -> Vec<Delivery> {
        let mut deliveries = Vec::with_capacity(handed.len());
        for (receipt, Held { message, expires, .. }) in handed {
            if message.counted > self.options.max_receives {
                let link = Arc::clone(link);
                if let Err(error) = whole(async move { link.give_up(&receipt).await }).await {
                    tracing::warn!(message_id = %message.id, %error, "a message could not be given up: it comes back");
                }
                continue;
            }
            deliveries.push(Delivery {
                message_id: message.id.clone(),
                body: message.body.clone(),
                receipt: Receipt::new(receipt),
                receives: message.receives,
                counted: message.counted,
                sent_at: message.sent_at,
                leased_at: expires.checked_sub(self.options.lease).unwrap_or(expires),
            });
        }
        deliveries
    }
}

/// Pauses between attempts to connect: from 0.1 s, doubled up to 15 s, with jitter, without end.
fn pauses() -> ExponentialBackoff {
    let (least, most) = (Duration::from_millis(100), Duration::from_secs(15));
    ExponentialBuilder::default().with_min_delay(least).with_max_delay(most).with_jitter().without_max_times().build()
}

/// Runs to its end even when the caller gives up.
async fn whole<T: Send + 'static>(work: impl Future<Output = Result<T>> + Send + 'static) -> Result<T> {
    tokio::spawn(work).await.map_err(Error::unavailable)?
}

#[async_trait::async_trait]
impl Queue for AmqpQueue {
    fn lease_duration(&self) -> Duration {
        self.options.lease
    }

    async fn send(&self, body: &str, options: SendOptions) -> Result<MessageId> {
        let max_bytes = self.options.max_message_bytes;
        if body.len() > max_bytes {
            return Err(Error::TooLarge { bytes: body.len(), max_bytes });
        }
        let message = Message::new(body);
        self.link().await?.publish_after(options.delay, &message, message.copy()).await?;
        Ok(message.id)
    }

    async fn receive(&self, max: usize, wait: Duration) -> Result<Vec<Delivery>> {
        let (max, deadline) = (max.min(MAX_BATCH), Instant::now() + wait);
        loop {
            if max == 0 {
                return Ok(Vec::new());
            }
            let link = self.link().await?;
            let handed = if wait.is_zero() {
                let link = Arc::clone(&link);
                whole(async move { link.get(max).await }).await?
            } else {
                link.next(max, deadline).await?
            };
            let had_any = !handed.is_empty();
            let deliveries = self.deliver(&link, handed).await;
            // What was given up on the way does not end the wait.
            if !deliveries.is_empty() || !had_any {
                return Ok(deliveries);
            }
        }
    }

    async fn rest(&self) {
        if let Some(link) = self.current() {
            sweep::rest(&link).await;
        }
    }

    async fn extend(&self, receipt: &Receipt, duration: Duration) -> Result<Extended> {
        match self.current() {
            Some(link) => link.extend(receipt, duration).await,
            None => Ok(Extended::Lost),
        }
    }

    async fn settle(&self, receipt: Receipt, settlement: Settlement) -> Result<Settled> {
        let Some(link) = self.current() else { return Ok(Settled::Lost) };
        whole(async move { link.settle(receipt.as_str().to_owned(), settlement).await }).await
    }

    async fn depth(&self) -> Result<Depth> {
        self.link().await?.depth().await
    }

    async fn dead_letters(&self, limit: usize, after: Option<&DeadLetter>) -> Result<Vec<DeadLetter>> {
        self.link().await?.dead_letters(limit, after).await
    }

    async fn redrive(&self, which: Redrive) -> Result<u64> {
        let link = self.link().await?;
        whole(async move { link.redrive(&which).await }).await
    }
}

impl Drop for AmqpQueue {
    fn drop(&mut self) {
        if let Some(link) = self.last().take() {
            link.close();
        }
    }
}
