//! What one link holds: deliveries that nobody has asked for yet, and those that were handed out, with their leases.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use lapin::Acker;
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::message::Message;

/// A delivery as it came from the broker.
#[derive(Debug, Clone)]
pub(super) struct Held {
    pub(super) message: Arc<Message>,
    pub(super) acker: Acker,
    /// From here on the broker counts its acknowledgement timeout.
    pub(super) since: Instant,
    /// The consumer that it came to; 0 for none.
    pub(super) consumer: u64,
    /// It is a copy in our own queue of parked ones.
    pub(super) parked: bool,
    /// End of the lease, once it is handed out.
    pub(super) expires: Instant,
}

/// The consumer that runs.
#[derive(Debug)]
pub(super) struct Consumer {
    pub(super) number: u64,
    /// Most deliveries that it holds unacknowledged.
    pub(super) prefetch: usize,
    /// Cancelled when we end it: whoever else does takes our deliveries away.
    pub(super) ours: CancellationToken,
    pub(super) pump: JoinHandle<()>,
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Inbox {
    pub(super) arrived: VecDeque<Held>,
    pub(super) consumer: Option<Consumer>,
    held: HashMap<String, Held>,
    /// Calls of `receive` that wait now.
    pub(super) waiting: usize,
    /// Since when nobody waits.
    pub(super) idle_since: Option<Instant>,
    numbers: u64,
}

impl Inbox {
    /// Number of the next consumer.
    pub(super) fn next_number(&mut self) -> u64 {
        self.numbers += 1;
        self.numbers
    }

    /// Deliveries that are here or may come without another word from us.
    pub(super) fn supply(&self) -> usize {
        self.arrived.len() + self.credit()
    }

    /// Deliveries that the consumer may still get.
    pub(super) fn credit(&self) -> usize {
        let Some(consumer) = &self.consumer else { return 0 };
        let its = |held: &&Held| held.consumer == consumer.number;
        let taken = self.held.values().filter(its).count() + self.arrived.iter().filter(its).count();
        consumer.prefetch.saturating_sub(taken)
    }

    /// Deliveries that are not settled.
    pub(super) fn in_flight(&self) -> usize {
        self.held.len() + self.arrived.len()
    }

    /// Hands out up to `max` of what has arrived; the leases begin.
    pub(super) fn hand_out(&mut self, max: usize, lease: Duration) -> Vec<(String, Held)> {
        let count = self.arrived.len().min(max);
        let expires = Instant::now() + lease;
        let mut handed = Vec::with_capacity(count);
        for mut held in self.arrived.drain(..count) {
            held.expires = expires;
            let receipt = uuid::Uuid::now_v7().to_string();
            self.held.insert(receipt.clone(), held.clone());
            handed.push((receipt, held));
        }
        handed
    }

    /// Makes the lease last until then, and says since when the broker counts.
    pub(super) fn extend(&mut self, receipt: &str, until: Instant) -> Option<Instant> {
        let held = self.held.get_mut(receipt)?;
        held.expires = until;
        Some(held.since)
    }

    /// Takes a delivery out of the leases' reach.
    pub(super) fn take(&mut self, receipt: &str) -> Option<Held> {
        self.held.remove(receipt)
    }

    /// Puts it back, or another one in its place.
    pub(super) fn put(&mut self, receipt: String, held: Held) {
        self.held.insert(receipt, held);
    }

    /// Takes out what nobody extended.
    pub(super) fn take_expired(&mut self) -> Vec<Held> {
        let now = Instant::now();
        self.held.extract_if(|_, held| held.expires <= now).map(|(_, held)| held).collect()
    }
}
