//! The events queue, read as a client would, and the queue of jobs.

use std::path::Path;
use std::sync::Mutex;
use std::time::Duration;

use darkroom::db::Db;
use darkroom::queue::sqlite::{Options, SqliteQueue};
use darkroom::queue::{DeadLetter, Depth, Queue, SendOptions, Settlement};
use serde_json::Value;

use super::wait_for;

/// What has happened so far. Takes every event from the queue, for all tests that share it.
#[derive(Debug)]
pub(crate) struct Queues {
    jobs: SqliteQueue,
    events: SqliteQueue,
    seen: Mutex<Vec<Value>>,
}

impl Queues {
    /// The queues of a data directory.
    pub(crate) fn open(dir: &Path) -> Queues {
        let db = wait_for(Db::open(&dir.join("darkroom.sqlite"))).unwrap();
        let queue = |name: &str| SqliteQueue::new(db.clone(), Options { name: name.into(), ..Options::default() });
        Queues { jobs: queue("jobs"), events: queue("events"), seen: Mutex::default() }
    }

    /// All events until now.
    pub(crate) fn seen(&self) -> Vec<Value> {
        wait_for(async {
            for delivery in self.events.receive(100, Duration::ZERO).await.unwrap() {
                let event = serde_json::from_slice(&delivery.body).unwrap();
                self.seen.lock().unwrap().push(event);
                let _settled = self.events.settle(delivery.receipt, Settlement::Ack).await.unwrap();
            }
        });
        self.seen.lock().unwrap().clone()
    }

    /// Sends a message to the worker; its id.
    pub(crate) fn send(&self, body: &str) -> String {
        wait_for(self.jobs.send(body, SendOptions::default())).unwrap().0
    }

    /// How many messages wait for the worker.
    pub(crate) fn depth(&self) -> Depth {
        wait_for(self.jobs.depth()).unwrap()
    }

    /// What the worker has given up.
    pub(crate) fn dead_letters(&self) -> Vec<DeadLetter> {
        wait_for(self.jobs.dead_letters(1000, None)).unwrap()
    }
}
