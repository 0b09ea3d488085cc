//! A job's record: small objects under `<state>/<job id>/` in a bucket. Workers keep nothing else.
//!
//! | object | written | means |
//! |---|---|---|
//! | `attempt-<n>.json` | once, if absent | attempt n is claimed |
//! | `status.json` | last write wins, at transitions and heartbeats | how far, and until when its worker is taken to live |
//! | `end-<n>.json` | once per attempt | how attempt n ended |
//! | `redrive-<n>` | by an operator, or for a new submission of a failed job | attempts up to n no longer count |
//! | `cancel` | by a user | the job is not to run (on) |
//! | `checkpoint/` | by a run | where a later attempt goes on |
//!
//! Beside the records, `<state>/submissions/` keeps which job a message became: see [`super::link`].

use std::collections::BTreeMap;
use std::path::Path;

use bytes::Bytes;
use darkroom_api::{ErrorCode, JobError, Result};
use futures::{StreamExt, TryStreamExt, stream};
use jiff::Timestamp;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::JobId;
pub use super::claim::{Claim, ClaimRequest, Won};
pub use super::entries::{Attempt, End, Outcome, Redrive, State, Status};
use super::history::History;
use crate::store::{ObjectRef, Place, Put, Store};

/// Longest object of a record.
const MAX_BYTES: u64 = 1 << 20;
/// Most objects of a record: attempts and ends.
const MAX_OBJECTS: usize = 4096;
/// Attempts before a redrive whose objects stay, for people: so a record stays small however often a job starts over.
const KEPT_ATTEMPTS: u32 = 100;
/// Submissions that a redrive remembers; a job that more than these asked for is taken to be new to the earliest.
const MAX_ANSWERED: usize = 256;
/// The checkpoint; the next one takes its place.
const CHECKPOINT: &str = "checkpoint/latest";

/// What [`list_jobs`] found.
#[derive(Debug, PartialEq)]
pub struct Listing {
    /// Jobs, the one that was written to last first.
    pub jobs: Vec<JobId>,
    /// Whether there is more than was looked at. Stores list by name, so what is left out may be old or new.
    pub is_cut: bool,
}

/// The jobs that have a record under `state`. A record has a handful of objects; the first `max` objects of all records
/// are looked at.
///
/// # Errors
/// Codes of [`crate::store::error::classify`].
pub async fn list_jobs(store: &Store, state: &Place, max: usize) -> Result<Listing> {
    let mut written: BTreeMap<JobId, Option<Timestamp>> = BTreeMap::new();
    let (objects, is_cut) = store.list_first(state, max).await?;
    for object in objects {
        // What is not ours is passed over.
        let name = object.key.strip_prefix(&state.prefix).and_then(|rest| rest.split_once('/'));
        if let Some(job) = name.and_then(|(name, _)| name.parse().ok()) {
            let last = written.entry(job).or_default();
            *last = object.modified.max(*last);
        }
    }
    let mut jobs: Vec<_> = written.into_iter().collect();
    jobs.sort_by_key(|(_, last)| std::cmp::Reverse(*last));
    Ok(Listing { jobs: jobs.into_iter().map(|(job, _)| job).collect(), is_cut })
}

/// Access to one job's record.
#[derive(Debug, Clone)]
pub struct Record {
    store: Store,
    place: Place,
    job: JobId,
}

impl Record {
    /// The record of `job` under `state`, a place in `store`.
    pub fn new(store: Store, state: &Place, job: JobId) -> Self {
        let place = Place { prefix: state.key(&format!("{job}/")), ..state.clone() };
        Record { store, place, job }
    }

    /// The job.
    pub fn job(&self) -> &JobId {
        &self.job
    }

    /// Everything that is recorded.
    ///
    /// # Errors
    /// As [`Record::claim`].
    pub async fn history(&self) -> Result<History> {
        let listed = self.store.list(&self.place, MAX_OBJECTS).await?;
        let names = listed.iter().filter_map(|object| object.key.strip_prefix(&self.place.prefix));
        let mut history = History::from_names(names);
        let checkpoint = self.place.key(CHECKPOINT);
        history.checkpoint_bytes = listed.iter().find(|object| object.key == checkpoint).map(|object| object.bytes);
        let since = history.redriven_to;
        let counted = history.attempt_numbers.iter().copied().filter(|n| *n > since);
        let attempts = counted.map(|n| async move { self.get::<Attempt>(&format!("attempt-{n}.json")).await });
        history.attempts = collect(attempts).await?;
        let ended = history.end_numbers.iter().copied().filter(|n| *n > since);
        let ends = ended.map(|n| async move { self.get::<End>(&format!("end-{n}.json")).await });
        history.ends = collect(ends).await?;
        if history.has_status {
            history.status = self.get("status.json").await?;
        }
        if since > 0 {
            let redrive: Option<Redrive> = self.get(&format!("redrive-{since}")).await?;
            history.answered = redrive.map(|redrive| redrive.answered).unwrap_or_default();
        }
        if history.attempts.is_empty() && history.last_attempt() > 0 {
            history.before = self.get(&format!("attempt-{}.json", history.last_attempt())).await?;
        }
        Ok(history)
    }

    /// Tells how far the job is.
    ///
    /// # Errors
    /// Codes of [`crate::store::error::classify`].
    pub async fn write_status(&self, status: &Status) -> Result<()> {
        self.put("status.json", status).await
    }

    /// Tells how an attempt ended. The first word counts: an attempt ends once.
    ///
    /// # Errors
    /// Codes of [`crate::store::error::classify`].
    pub async fn write_end(&self, end: &End) -> Result<()> {
        self.put_once(&format!("end-{}.json", end.attempt), end).await.map(|_first_or_not| ())
    }

    /// Asks that the job stop, or not start.
    ///
    /// # Errors
    /// Codes of [`crate::store::error::classify`].
    pub async fn cancel(&self, now: Timestamp) -> Result<()> {
        self.put("cancel", &serde_json::json!({ "requested_at": now })).await
    }

    /// Whether somebody asked for that.
    ///
    /// # Errors
    /// Codes of [`crate::store::error::classify`].
    pub async fn is_cancelled(&self) -> Result<bool> {
        let key = self.place.key("cancel");
        Ok(self.store.get_bytes(&self.place.bucket, &key, MAX_BYTES).await?.is_some())
    }

    /// Lets the job run again, from the beginning: the attempts in `history` no longer count, its checkpoint goes, and
    /// cancellation is withdrawn. An attempt that
    /// was claimed since `history` was read counts on.
    ///
    /// # Errors
    /// Codes of [`crate::store::error::classify`].
    pub async fn redrive(&self, history: &History) -> Result<()> {
        self.store.delete(&self.place.bucket, &self.place.key("cancel")).await?;
        self.start_over(history).await
    }

    /// The same for a new submission of a failed job; what a user cancelled stays cancelled.
    pub(super) async fn start_over(&self, history: &History) -> Result<()> {
        // It may be what the job failed of.
        if history.checkpoint_bytes.is_some() {
            self.drop_checkpoint().await?;
        }
        let last = history.last_attempt();
        let mut answered = history.served();
        answered.drain(..answered.len().saturating_sub(MAX_ANSWERED));
        // Several who do this at once write the same.
        self.put(&format!("redrive-{last}"), &Redrive { redriven_at: Timestamp::now(), answered }).await?;
        let old = history.attempt_numbers.iter().filter(|n| n.saturating_add(KEPT_ATTEMPTS) <= last);
        let names = old.flat_map(|n| [format!("attempt-{n}.json"), format!("end-{n}.json"), format!("redrive-{n}")]);
        let keys: Vec<_> = names.map(|name| self.place.key(&name)).collect();
        self.store.delete_many(&self.place.bucket, keys).await
    }

    /// Keeps a file for later attempts, in place of an earlier one.
    ///
    /// # Errors
    /// As [`Store::put_file`].
    pub async fn save_checkpoint(&self, file: &Path) -> Result<()> {
        let key = self.place.key(CHECKPOINT);
        self.store.put_file(file, &self.place.bucket, &key, "application/octet-stream", &|_| {}).await.map(|_| ())
    }

    /// [`Record::drop_checkpoint`] of a job that has ended: nobody waits for it, and what is left goes with a redrive.
    pub(super) async fn forget_checkpoint(&self) {
        if let Err(error) = self.drop_checkpoint().await {
            tracing::warn!(job_id = %self.job, %error, "the checkpoint of a job that has ended is left");
        }
    }

    /// Forgets the kept file: nobody will need it.
    ///
    /// # Errors
    /// Codes of [`crate::store::error::classify`].
    pub async fn drop_checkpoint(&self) -> Result<()> {
        self.store.delete(&self.place.bucket, &self.place.key(CHECKPOINT)).await
    }

    /// Brings the kept file back, as a new file of at most `max_bytes`.
    ///
    /// # Errors
    /// As [`Store::get_to_file`].
    pub async fn load_checkpoint(&self, to: &Path, max_bytes: u64) -> Result<()> {
        let object = ObjectRef::new(self.store.name(), &self.place.bucket, &self.place.key(CHECKPOINT));
        self.store.get_to_file(&object, to, max_bytes, &|_| {}).await.map(|_| ())
    }

    async fn put<T: Serialize>(&self, name: &str, value: &T) -> Result<()> {
        let key = self.place.key(name);
        self.store.put_bytes(&self.place.bucket, &key, json(name, value)?, "application/json").await
    }

    pub(super) async fn put_once<T: Serialize>(&self, name: &str, value: &T) -> Result<Put> {
        let key = self.place.key(name);
        self.store.put_if_absent(&self.place.bucket, &key, json(name, value)?, "application/json").await
    }

    pub(super) async fn get<T: DeserializeOwned>(&self, name: &str) -> Result<Option<T>> {
        let key = self.place.key(name);
        let Some(bytes) = self.store.get_bytes(&self.place.bucket, &key, MAX_BYTES).await? else { return Ok(None) };
        serde_json::from_slice(&bytes).map(Some).map_err(|e| {
            let message = format!("s3://{}/{key} is damaged ({e}): delete it to go on.", self.place.bucket);
            JobError::new(ErrorCode::Internal, message)
        })
    }
}

fn json<T: Serialize>(name: &str, value: &T) -> Result<Bytes> {
    serde_json::to_vec(value)
        .map(Bytes::from)
        .map_err(|e| JobError::new(ErrorCode::Internal, format!("The record's {name} cannot be written: {e}.")))
}

async fn collect<T>(reads: impl Iterator<Item = impl Future<Output = Result<Option<T>>>>) -> Result<Vec<T>> {
    const AT_ONCE: usize = 8;
    stream::iter(reads).buffered(AT_ONCE).try_filter_map(|found| async { Ok(found) }).try_collect().await
}
