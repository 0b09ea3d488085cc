//! The SQS backend.
//!
//! # What SQS does, and what is made of it
//!
//! * **A stale receipt may be accepted.** A standard queue answers 200 to a delete with an old handle. So what is in
//!   hand is kept in a table with the time its lease ends by our clock (`held`); a receipt that is not in it is `Lost`
//!   without a request, and what the service says (`ReceiptHandleIsInvalid`, `MessageNotInflight`) comes on top.
//! * **A delivery ends 12 hours after it was received, whatever is done.** An hour before, the message is sent anew,
//!   the copy is taken into hand, and only then the old one is deleted: the lease answers `Replaced` (`extend`).
//! * **The receive count only rises.** An uncounted release sends the message anew and deletes the old one. What has to
//!   outlive that is carried in attributes (`notes`): the first message's id, its time, how often it was handed over,
//!   and how many of these count.
//! * **A message can be delayed for 15 minutes at most**, and in a FIFO queue not at all: it carries the time before
//!   which it is not to be handed out, and who receives it earlier puts it back.
//! * **Order.** A message sent anew would lose its place in the group of a FIFO queue. There a release is always a
//!   change of visibility, until half of the receive limit is used up.
//! * **Dead letters** are messages of a second queue, ours (with the reason as an attribute) and those that the redrive
//!   policy moved there. SQS has no way to look without receiving: a listing hides them from others while it looks.
//!
//! A message is sent to its new place before it is deleted from the old one, always: a crash in between leaves it
//! twice, and a submission is known by the first message's id and its job's record.

mod client;
mod error;
mod extend;
mod held;
mod letters;
mod notes;
mod receive;
mod requests;
mod settle;

use std::time::Duration;

use aws_sdk_sqs::Client;
use tokio::time::Instant;

pub(crate) use self::client::find;
use self::held::Held;
use self::notes::{Notes, Parcel};
use super::{
    DeadLetter, Delivery, Depth, Error, Extended, MessageId, Queue, Receipt, Redrive, Result, SendOptions, Settled,
    Settlement,
};

/// Longest wait of one request for messages, set by SQS.
const LONGEST_POLL: Duration = Duration::from_secs(20);
/// Most messages of one request, set by SQS.
const MAX_BATCH: usize = 10;
/// Longest delay of a message, set by SQS.
const LONGEST_DELAY: Duration = Duration::from_secs(15 * 60);
/// Room for our attributes, which count as part of the message.
const NOTES_BYTES: usize = 4 << 10;

/// How an [`SqsQueue`] behaves.
#[derive(Debug, Clone)]
pub struct Options {
    /// How long a delivery lasts without being extended; whole seconds.
    pub lease: Duration,
    /// A message handed over this often, uncounted releases aside, and never settled is dead-lettered. The queue's own
    /// limit must not be lower.
    pub max_receives: u32,
    /// How long SQS lets a delivery live, however often it is extended.
    pub cap: Duration,
    /// So long before that a copy takes its place.
    pub lead: Duration,
}

impl Default for Options {
    /// Leases of a minute, 20 receives (4 x 5 attempts), copies an hour before the 12 that SQS grants.
    fn default() -> Self {
        let hour = Duration::from_secs(3600);
        Options { lease: Duration::from_secs(60), max_receives: 20, cap: hour * 12, lead: hour }
    }
}

/// One of the two queues.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Target {
    url: String,
    fifo: bool,
    /// Longest message in bytes.
    max_bytes: usize,
}

/// A queue in SQS with the queue of its dead letters.
#[derive(Debug)]
pub struct SqsQueue {
    client: Client,
    jobs: Target,
    dead: Target,
    options: Options,
    held: Held,
}

impl SqsQueue {
    /// Where its messages wait.
    pub fn url(&self) -> &str {
        &self.jobs.url
    }
}

#[async_trait::async_trait]
impl Queue for SqsQueue {
    fn lease_duration(&self) -> Duration {
        self.options.lease
    }

    async fn send(&self, body: &str, options: SendOptions) -> Result<MessageId> {
        let max_bytes = self.jobs.max_bytes.saturating_sub(NOTES_BYTES);
        if body.len() > max_bytes {
            return Err(Error::TooLarge { bytes: body.len(), max_bytes });
        }
        let dedup_id = options.dedup_id.as_deref();
        let parcel = Parcel { body, group: None, dedup_id, delay: Duration::ZERO, notes: Notes::default() };
        Ok(MessageId(self.post(&self.jobs, parcel.delayed(options.delay, self.jobs.fifo)).await?))
    }

    async fn receive(&self, max: usize, wait: Duration) -> Result<Vec<Delivery>> {
        if max == 0 {
            return Ok(Vec::new());
        }
        let deadline = Instant::now() + wait;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let deliveries = self.take(max, left).await?;
            if !deliveries.is_empty() || Instant::now() >= deadline {
                return Ok(deliveries);
            }
        }
    }

    async fn extend(&self, receipt: &Receipt, duration: Duration) -> Result<Extended> {
        self.extend_held(receipt.as_str(), duration).await
    }

    async fn settle(&self, receipt: Receipt, settlement: Settlement) -> Result<Settled> {
        self.settle_held(receipt.as_str(), settlement).await
    }

    async fn depth(&self) -> Result<Depth> {
        let (jobs, dead) = tokio::try_join!(self.count(&self.jobs), self.count(&self.dead))?;
        Ok(Depth { dead: dead.visible + dead.delayed + dead.in_flight, ..jobs })
    }

    async fn dead_letters(&self, limit: usize, after: Option<&DeadLetter>) -> Result<Vec<DeadLetter>> {
        self.list_letters(limit, after).await
    }

    async fn redrive(&self, which: Redrive) -> Result<u64> {
        self.redrive_letters(&which).await
    }
}

/// Whole seconds, as SQS counts them, not less than asked for.
fn whole_secs(duration: Duration) -> i32 {
    i32::try_from(duration.as_millis().div_ceil(1000)).unwrap_or(i32::MAX)
}

#[cfg(test)]
mod lease_tests;
#[cfg(test)]
mod notified_tests;
#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;
