//! The embedded queue: one table of the shared SQLite file.
//!
//! `visible_at` alone decides what may be received; an in-flight message is one whose lease is in the future. The wall
//! clock counts the time, because several processes share the file: a jump of the clock shortens or stretches leases, and
//! an early redelivery is what every backend may do anyway.

use std::time::Duration;

use darkroom_api::JobError;
use jiff::Timestamp;
use tokio::time::{Instant, sleep_until};

use super::{
    DeadLetter, Delivery, Depth, Error, Extended, MessageId, Queue, Receipt, Redrive, Result, SendOptions, Settled,
    Settlement,
};
use crate::db::{self, Db, now_ms};

mod rows;
pub(crate) use rows::enqueue;

/// Most messages of one `receive`, and dead letters of one listing.
const MAX_BATCH: usize = 1000;

/// How a [`SqliteQueue`] behaves.
#[derive(Debug, Clone)]
pub struct Options {
    /// Name of the queue within the file.
    pub name: String,
    /// How long a delivery lasts without being extended.
    pub lease: Duration,
    /// Longest message in bytes.
    pub max_message_bytes: usize,
    /// A message received this often, uncounted releases aside, and never settled is dead-lettered: it kills its worker.
    pub max_receives: u32,
    /// What is kept of messages that nobody takes; all, where absent. For queues of events: never for jobs.
    pub retention: Option<Retention>,
    /// Time between two looks at the file for what other processes sent; a send of this process is seen at once.
    pub poll: Duration,
}

impl Default for Options {
    /// The queue `jobs`, leases of a minute, 1 MiB a message (as SQS), 20 receives (4 x 5 attempts), a look every 100 ms.
    fn default() -> Self {
        Options {
            name: "jobs".into(),
            lease: Duration::from_secs(60),
            max_message_bytes: 1 << 20,
            max_receives: 20,
            retention: None,
            poll: Duration::from_millis(100),
        }
    }
}

/// Bounds of a queue whose receivers may stay away. When a message is sent the oldest ones beyond them go, but none that
/// is in flight, and not the one that is sent. One that is sent again under its `dedup_id` is as new as if it were the first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retention {
    /// A message is kept this long after it was sent.
    pub max_age: Duration,
    /// So many messages are kept, the new one included.
    pub max_messages: u64,
}

/// A named queue in the shared file.
#[derive(Debug, Clone)]
pub struct SqliteQueue {
    db: Db,
    options: Options,
}

impl SqliteQueue {
    /// The queue of that name; it exists as soon as it has a message.
    pub fn new(db: Db, options: Options) -> Self {
        SqliteQueue { db, options }
    }

    fn name(&self) -> String {
        self.options.name.clone()
    }

    /// Leases what is visible, up to `max`; when nothing is, says when the next message will be, by the wall clock.
    async fn claim(&self, max: usize) -> Result<(Vec<Delivery>, Option<i64>)> {
        let name = self.name();
        // Looking first keeps an idle queue free of writes.
        let next = self.db.read(move |connection| rows::next_visible(connection, &name)).await.map_err(error)?;
        if next.is_none_or(|next| next > now_ms()) {
            return Ok((Vec::new(), next));
        }
        let leased_at = Instant::now();
        let options = self.options.clone();
        let rows = self.db.write(move |tx| rows::claim(tx, &options, max.min(MAX_BATCH))).await.map_err(error)?;
        let deliver = |row: rows::Claimed| Delivery {
            message_id: MessageId(row.message_id),
            body: row.body.into(),
            receipt: Receipt::new(row.receipt),
            receives: row.receives,
            counted: row.counted,
            sent_at: timestamp(row.sent_at),
            leased_at,
        };
        Ok((rows.into_iter().map(deliver).collect(), next))
    }
}

#[async_trait::async_trait]
impl Queue for SqliteQueue {
    fn lease_duration(&self) -> Duration {
        self.options.lease
    }

    async fn send(&self, body: &str, options: SendOptions) -> Result<MessageId> {
        let max_bytes = self.options.max_message_bytes;
        if body.len() > max_bytes {
            return Err(Error::TooLarge { bytes: body.len(), max_bytes });
        }
        let (name, body, retention) = (self.name(), body.to_owned(), self.options.retention);
        let send = move |tx: &rusqlite::Transaction<'_>| {
            let id = rows::enqueue(tx, &name, &body, &options)?;
            if let Some(retention) = &retention {
                rows::expire(tx, &name, &id, retention)?;
            }
            Ok(id)
        };
        Ok(MessageId(self.db.write(send).await.map_err(error)?))
    }

    async fn receive(&self, max: usize, wait: Duration) -> Result<Vec<Delivery>> {
        let deadline = Instant::now() + wait;
        loop {
            let mut committed = std::pin::pin!(self.db.committed());
            // Listening begins before looking: a message sent in between is not missed.
            committed.as_mut().enable();
            let (deliveries, next) = self.claim(max).await?;
            let now = Instant::now();
            if !deliveries.is_empty() || now >= deadline || max == 0 {
                return Ok(deliveries);
            }
            let until_next = next.map_or(self.options.poll, |next| millis(next.saturating_sub(now_ms()).max(1)));
            tokio::select! {
                () = committed => {}
                () = sleep_until(deadline.min(now + until_next.min(self.options.poll))) => {}
            }
        }
    }

    async fn extend(&self, receipt: &Receipt, duration: Duration) -> Result<Extended> {
        let (receipt, visible_at) = (receipt.as_str().to_owned(), after(duration));
        let extended = self.db.write(move |tx| rows::extend(tx, &receipt, visible_at)).await.map_err(error)?;
        Ok(if extended { Extended::Renewed } else { Extended::Lost })
    }

    async fn settle(&self, receipt: Receipt, settlement: Settlement) -> Result<Settled> {
        let work = move |tx: &rusqlite::Transaction<'_>| match &settlement {
            Settlement::Ack => rows::ack(tx, receipt.as_str()),
            Settlement::Release { after: delay, counted } => {
                rows::release(tx, receipt.as_str(), after(*delay), *counted)
            }
            Settlement::DeadLetter { reason } => rows::dead_letter(tx, receipt.as_str(), reason),
        };
        let settled = self.db.write(work).await.map_err(error)?;
        Ok(if settled { Settled::Done } else { Settled::Lost })
    }

    async fn depth(&self) -> Result<Depth> {
        let name = self.name();
        self.db.read(move |connection| rows::depth(connection, &name)).await.map_err(error)
    }

    async fn dead_letters(&self, limit: usize, after: Option<&DeadLetter>) -> Result<Vec<DeadLetter>> {
        let (name, limit) = (self.name(), limit.min(MAX_BATCH));
        let after = after.map(|letter| (letter.dead_at.as_millisecond(), letter.message_id.0.clone()));
        self.db.read(move |connection| rows::dead_letters(connection, &name, limit, after)).await.map_err(error)
    }

    async fn redrive(&self, which: Redrive) -> Result<u64> {
        let name = self.name();
        self.db.write(move |tx| rows::redrive(tx, &name, &which)).await.map_err(error)
    }
}

fn error(error: db::Error) -> Error {
    if error.is_full() { Error::Full(error.to_string()) } else { Error::unavailable(error) }
}

fn millis(count: i64) -> Duration {
    Duration::from_millis(count.unsigned_abs())
}

/// The time `delay` from now, in Unix milliseconds.
fn after(delay: Duration) -> i64 {
    now_ms().saturating_add(i64::try_from(delay.as_millis()).unwrap_or(i64::MAX))
}

fn timestamp(unix_ms: i64) -> Timestamp {
    Timestamp::from_millisecond(unix_ms).unwrap_or_default()
}

/// The reason that stands in a row; one that this build cannot read keeps its text.
fn reason(json: &str) -> JobError {
    serde_json::from_str(json).unwrap_or_else(|_| JobError::new(darkroom_api::ErrorCode::Internal, json))
}

#[cfg(test)]
mod tests;
