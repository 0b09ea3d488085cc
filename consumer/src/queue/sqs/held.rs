//! What is in hand, by receipt handle, with the time its lease ends by our clock.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::time::Instant;

use super::notes::Received;

/// A message in hand.
#[derive(Debug, Clone)]
pub(super) struct Holding {
    pub message: Arc<Received>,
    /// When it was received, or a little earlier: from then on SQS counts its 12 hours.
    pub received: Instant,
    /// When its lease ends.
    pub expires: Instant,
    /// Its copy has been sent.
    pub copied: bool,
    /// Its copy, once that is in hand too: the handle, and when it was received.
    pub copy: Option<Box<Holding>>,
}

impl Holding {
    pub(super) fn new(message: Received, received: Instant, expires: Instant) -> Self {
        Holding { message: Arc::new(message), received, expires, copied: false, copy: None }
    }
}

/// The table. An entry that is never settled goes when its lease is over.
#[derive(Debug, Default)]
pub(super) struct Held(Mutex<HashMap<String, Holding>>);

impl Held {
    fn table(&self) -> MutexGuard<'_, HashMap<String, Holding>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn insert(&self, holding: Holding) {
        let (now, mut table) = (Instant::now(), self.table());
        table.retain(|_, held| held.expires > now);
        table.insert(holding.message.handle.clone(), holding);
    }

    /// None for a stale receipt.
    pub(super) fn get(&self, handle: &str) -> Option<Holding> {
        self.table().get(handle).filter(|held| held.expires > Instant::now()).cloned()
    }

    /// As [`Held::get`], and it is in hand no more.
    pub(super) fn take(&self, handle: &str) -> Option<Holding> {
        self.table().remove(handle).filter(|held| held.expires > Instant::now())
    }

    pub(super) fn renew(&self, handle: &str, expires: Instant) {
        if let Some(held) = self.table().get_mut(handle) {
            held.expires = expires;
        }
    }

    /// A copy of this message is on its way.
    pub(super) fn expect_copy(&self, handle: &str) {
        if let Some(held) = self.table().get_mut(handle) {
            held.copied = true;
        }
    }

    /// Whether this very message is in hand already, and its copy is to take its place.
    pub(super) fn has_copied(&self, message: &Received) -> bool {
        self.table().values().any(|held| held.copied && held.message.broker_id() == message.broker_id())
    }

    /// Keeps a received message whose predecessor is in hand and waits for it; gives back any other, that predecessor
    /// itself too.
    pub(super) fn adopt(&self, copy: Holding) -> Option<Holding> {
        let mut table = self.table();
        let is_copy = |of: &Received| of.id() == copy.message.id() && of.broker_id() != copy.message.broker_id();
        let waits = |held: &&mut Holding| held.copied && held.copy.is_none() && is_copy(&held.message);
        match table.values_mut().find(waits) {
            Some(held) => {
                held.copy = Some(Box::new(copy));
                None
            }
            None => Some(copy),
        }
    }
}
