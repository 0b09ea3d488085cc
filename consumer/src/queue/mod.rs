//! Where job messages wait: one trait, a backend for each broker.
//!
//! # Design note
//!
//! A **delivery** is one hand-over of a message, valid for a **lease** ([`Queue::lease_duration`]). It is named by a
//! [`Receipt`], extended while the work goes on, and settled once: ack, release or dead-letter. What is never settled
//! comes back when its lease expires, so a worker that dies loses nothing.
//!
//! * **Delivery is at least once.** No broker gives more; the journey claims, commits and publishes idempotently.
//!   `receives` counts hand-overs, not attempts: dropped connections and shutdowns count in it too. Attempts are counted
//!   from the job's own record, and the backend's receive limit is only the backstop for a message that kills its worker.
//!   A release says whether it counts there ([`Settlement::Release`]); a lease that expires always does. A broker whose own
//!   counter only rises (SQS, AMQP) sends an uncounted message anew and acknowledges the old one; it carries the first
//!   [`MessageId`] along as an attribute, because a submission is known by it.
//! * **A receipt is a capability.** It is not `Clone`, [`Queue::settle`] consumes it, and work should go through
//!   [`lease::Lease`], which owns it: settling twice does not compile. A stale receipt (the lease expired, another
//!   worker has the message) answers `Lost`; that is an answer, not an error.
//! * **Losing the lease is normal**: an SQS receipt turns invalid, an AMQP channel closes with 406 or the consumer is
//!   cancelled by the server, lapin answers `Ok(false)`. Backends map all of these to `Lost` and never swallow them.
//! * **`extend` may replace the receipt** where a broker can only renew by handing the message over again.
//! * **Waiting is the backend's business**: `receive` returns at the first message or after `wait`, as a long poll does.
//!   Dropping the future loses nothing but a lease that has to expire: who can, lets it run on and hands back what it
//!   brings ([`crate::worker`]). Without a wait, a queue at SQS may answer that there is nothing although there is.
//! * **A send is durable when it returns**: fsync, publisher confirm, or a 200.
//!
//! Failures of the broker itself are [`Error::Unavailable`]: worth a retry, with backoff, by the caller that knows how
//! long it may wait. Settling is not retried: an unsettled delivery comes back and the job's record makes that cheap.

pub mod amqp;
#[cfg(test)]
pub(crate) mod conformance;
mod error;
pub mod lease;
pub mod sqlite;
pub mod sqs;

use std::time::Duration;

use bytes::Bytes;
use darkroom_api::JobError;
use jiff::Timestamp;
use serde::Serialize;
use tokio::time::Instant;

pub use error::{Error, Result};

/// Name of a message, given by the backend when it is sent; the same over all its deliveries.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize)]
pub struct MessageId(pub String);

impl std::fmt::Display for MessageId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

/// The right to extend and settle one delivery. Only its backend reads it.
#[derive(Debug, PartialEq, Eq)]
pub struct Receipt(String);

impl Receipt {
    /// Wraps what the backend knows the delivery by.
    pub(crate) fn new(text: impl Into<String>) -> Self {
        Receipt(text.into())
    }

    /// What the backend knows the delivery by.
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

/// One hand-over of a message.
#[derive(Debug)]
pub struct Delivery {
    /// Name of the message.
    pub message_id: MessageId,
    /// The message, at most the backend's limit in bytes; not necessarily text, since anybody may publish.
    pub body: Bytes,
    /// The right to extend and settle.
    pub receipt: Receipt,
    /// How often the message has been handed over, this time included; at least 1.
    pub receives: u32,
    /// The same without those that were released uncounted (see [`Settlement::Release`]); at least 1.
    pub counted: u32,
    /// When it was sent, by the broker's clock.
    pub sent_at: Timestamp,
    /// When its lease began, or a little earlier: the lease lasts at least until this plus [`Queue::lease_duration`].
    pub leased_at: Instant,
}

/// How to send a message.
#[derive(Debug, Clone, Default)]
pub struct SendOptions {
    /// Not visible to `receive` before this has passed.
    pub delay: Duration,
    /// While a message with this id waits or is in flight another one is not added: the first one's id is returned.
    /// Best effort where the broker cannot (AMQP, standard SQS queues).
    pub dedup_id: Option<String>,
}

/// Answer of [`Queue::extend`].
#[derive(Debug, PartialEq, Eq)]
pub enum Extended {
    /// The receipt is good for the asked time from now.
    Renewed,
    /// The same, under a new receipt; the old one is void.
    Replaced(Receipt),
    /// Somebody else has the message, or it is gone.
    Lost,
}

/// What becomes of a delivery.
#[derive(Debug, Clone, PartialEq)]
pub enum Settlement {
    /// Done: the message goes.
    Ack,
    /// Not done: visible again after this time.
    Release {
        /// Time until it is visible again.
        after: Duration,
        /// Whether the hand-over counts against the backend's receive limit. What went wrong with the message itself
        /// counts; an outage, a shutdown, or another worker that is at it does not.
        counted: bool,
    },
    /// It will never be done: kept apart with the reason, until somebody looks at it and redrives it.
    DeadLetter {
        /// Why.
        reason: JobError,
    },
}

/// Answer of [`Queue::settle`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use = "a lost delivery was not settled"]
pub enum Settled {
    /// Settled, durably.
    Done,
    /// The receipt was stale: somebody else has the message, or it is gone. Nothing changed.
    Lost,
}

/// How many messages there are. Approximate with a remote broker.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct Depth {
    /// Ready to be received.
    pub visible: u64,
    /// Not visible yet: sent or released with a delay.
    pub delayed: u64,
    /// Received and neither settled nor expired. An autoscaler counts these too.
    pub in_flight: u64,
    /// Dead letters.
    pub dead: u64,
    /// Seconds since the oldest visible message was sent; none when there is none or the broker does not tell.
    pub oldest_age_secs: Option<f64>,
}

/// A message that was given up.
#[derive(Debug, Clone)]
pub struct DeadLetter {
    /// Name of the message.
    pub message_id: MessageId,
    /// The message.
    pub body: Bytes,
    /// Why it was given up; none when the broker's own limit did it and kept no reason.
    pub reason: Option<JobError>,
    /// How often it had been handed over.
    pub receives: u32,
    /// When it was sent.
    pub sent_at: Timestamp,
    /// When it was given up.
    pub dead_at: Timestamp,
}

/// Which dead letters to send again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Redrive {
    /// This one.
    One(MessageId),
    /// Every one there is.
    All,
}

/// A queue of messages with leases. See the module's design note for what every backend promises.
#[async_trait::async_trait]
pub trait Queue: Send + Sync + std::fmt::Debug {
    /// How long a delivery is ours after `receive`, and what [`lease::Lease`] extends it to.
    fn lease_duration(&self) -> Duration;

    /// Adds a message; it is durable when this returns.
    ///
    /// # Errors
    /// [`Error::TooLarge`], [`Error::Full`], [`Error::Unavailable`].
    async fn send(&self, body: &str, options: SendOptions) -> Result<MessageId>;

    /// Takes up to `max` visible messages, waiting up to `wait` for the first; an empty answer means there was none.
    ///
    /// # Errors
    /// [`Error::Unavailable`]; the caller backs off and asks again.
    async fn receive(&self, max: usize, wait: Duration) -> Result<Vec<Delivery>>;

    /// Nobody is going to ask for a while: what came on its own and was not handed out goes back at once.
    async fn rest(&self) {}

    /// Makes the lease last `duration` from now.
    ///
    /// # Errors
    /// [`Error::Unavailable`]: not known whether it was extended.
    async fn extend(&self, receipt: &Receipt, duration: Duration) -> Result<Extended>;

    /// Ends the delivery.
    ///
    /// # Errors
    /// [`Error::Unavailable`]: not known whether it was settled; if not, it comes back when the lease expires.
    async fn settle(&self, receipt: Receipt, settlement: Settlement) -> Result<Settled>;

    /// Counts messages.
    ///
    /// # Errors
    /// [`Error::Unavailable`].
    async fn depth(&self) -> Result<Depth>;

    /// The dead letters, latest first, at most `limit`; with `after`, those that follow this one of an earlier answer.
    /// Fewer than `limit` need not be all: none are. A broker without positions gives what it can at once, and nothing
    /// after it.
    ///
    /// # Errors
    /// [`Error::Unavailable`].
    async fn dead_letters(&self, limit: usize, after: Option<&DeadLetter>) -> Result<Vec<DeadLetter>>;

    /// Sends dead letters again, visible at once, with `receives` from 0; returns how many.
    ///
    /// # Errors
    /// [`Error::Unavailable`].
    async fn redrive(&self, which: Redrive) -> Result<u64>;
}
