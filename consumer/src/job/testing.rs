//! What tests about jobs share: a real queue, a real store, and attempts that workers made.

use std::sync::Arc;
use std::time::Duration;

use darkroom_api::{ErrorCode, JobError};
use jiff::{SignedDuration, Timestamp};
use tempfile::TempDir;

use super::record::{Claim, ClaimRequest, End, Outcome, Record};
use super::{JobId, RunId};
use crate::db::Db;
use crate::queue::sqlite::{Options, SqliteQueue};
use crate::queue::{Delivery, Queue};
use crate::store::testing::TestStore;
use crate::store::{Place, Stores};
use crate::trigger::Submission;

/// A whole bucket of the store.
pub(super) fn place(bucket: &str) -> Place {
    Place { store: "main".into(), bucket: bucket.into(), prefix: String::new() }
}

/// Buckets `uploads`, `results` and `state`, and a queue.
pub(super) struct Ground {
    pub(super) running: TestStore,
    pub(super) queue: Arc<SqliteQueue>,
    _dir: TempDir,
}

impl Ground {
    pub(super) async fn new() -> Ground {
        let running = TestStore::start(&["uploads", "results", "state"]).await;
        let dir = tempfile::tempdir().unwrap();
        let queue = SqliteQueue::new(Db::open(dir.path().join("db")).await.unwrap(), Options::default());
        Ground { running, queue: Arc::new(queue), _dir: dir }
    }

    pub(super) fn stores(&self) -> Stores {
        Stores::of(self.running.store.clone())
    }

    /// Uploads what no handler will see.
    pub(super) async fn put(&self, key: &str, content: &str) {
        self.running.store.put_bytes("uploads", key, content.to_owned().into(), "video/mp4").await.unwrap();
    }

    pub(super) fn record(&self, submission: &Submission) -> Record {
        Record::new(self.running.store.clone(), &place("state"), JobId::of(submission).unwrap())
    }

    /// Claims an attempt at this time, of two that may fail; it lives for a minute.
    pub(super) async fn claim(&self, submission: &Submission, now: Timestamp) -> (RunId, Claim) {
        let run_id = RunId::new();
        let live_until = now + SignedDuration::from_secs(60);
        let request = ClaimRequest { run_id: &run_id, worker: "w", submission, max_attempts: 2, now, live_until };
        let claim = self.record(submission).claim(&self.running.store, &request).await.unwrap();
        (run_id, claim)
    }

    /// An attempt that ends so.
    pub(super) async fn attempt(
        &self,
        submission: &Submission,
        ended_at: Timestamp,
        outcome: Outcome,
        error: Option<ErrorCode>,
        is_final: bool,
    ) {
        let (run_id, claim) = self.claim(submission, Timestamp::now()).await;
        let Claim::Won(won) = claim else { panic!("{claim:?}") };
        let error = error.map(|code| JobError::new(code, "x"));
        let end = End { attempt: won.attempt, run_id, outcome, error, is_final, ended_at };
        self.record(submission).write_end(&end).await.unwrap();
    }

    /// The next message.
    pub(super) async fn take(&self) -> Delivery {
        self.queue.receive(1, Duration::from_secs(20)).await.unwrap().remove(0)
    }
}
