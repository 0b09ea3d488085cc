//! A job's record: small objects under `<state>/<job id>/` in a bucket. Workers keep nothing else.
//!
//! | object | written | means |
//! |---|---|---|
//! | `attempt-<n>.json` | once, if absent | attempt n is claimed |
//! | `status.json` | last write wins, at transitions and heartbeats | how far, and until when its worker is taken to live |
//! | `end-<n>.json` | once per attempt | how attempt n ended |
//! | `redrive-<n>` | by an operator | attempts up to n no longer count |
//! | `cancel` | by a user | the job is not to run (on) |
//! | `checkpoint/` | by a run | where a later attempt goes on |

use bytes::Bytes;
use darkroom_api::{ErrorCode, JobError, Result};
use futures::{StreamExt, TryStreamExt, stream};
use jiff::Timestamp;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::history::History;
use super::manifest::{self, Manifest};
use super::{JobId, RunId};
use crate::store::{Place, Put, Store};
use crate::trigger::Submission;

/// Longest object of a record.
const MAX_BYTES: u64 = 1 << 20;
/// Most objects of a record: attempts, ends and checkpoints.
const MAX_OBJECTS: usize = 4096;
/// Claims lost to others before we give way.
const CLAIM_TRIES: u32 = 3;

/// `attempt-<n>.json`: the claim.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Attempt {
    /// n, from 1.
    pub number: u32,
    /// The run.
    pub run_id: RunId,
    /// Worker that claims.
    pub worker: String,
    /// When.
    pub claimed_at: Timestamp,
    /// Until when the worker is taken to live, until `status.json` says more.
    pub live_until: Timestamp,
    /// What is to be done.
    pub submission: Submission,
}

/// Where a job is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// Inputs are on their way.
    Fetching,
    /// Inputs are here, a device slot is not.
    Waiting,
    /// In the executor.
    Running,
    /// Outputs are on their way.
    Committing,
    /// The attempt failed and another follows.
    Retrying,
    /// There is a manifest.
    Completed,
    /// There will be none.
    Failed,
    /// A user did not want it.
    Cancelled,
}

/// `status.json`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Status {
    /// Attempt it speaks of.
    pub attempt: u32,
    /// Run it speaks of.
    pub run_id: RunId,
    /// Where the job is.
    pub state: State,
    /// The handler's stage, while running.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stage: Option<String>,
    /// 0..=100.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub percent: Option<f32>,
    /// Until when the worker is taken to live.
    pub live_until: Timestamp,
    /// When this was written.
    pub updated_at: Timestamp,
}

/// How an attempt ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// With a manifest.
    Completed,
    /// With an error.
    Failed,
    /// By a user.
    Cancelled,
    /// By shutdown or spot notice: not counted.
    Interrupted,
}

/// `end-<n>.json`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct End {
    /// Attempt that ended.
    pub attempt: u32,
    /// Its run.
    pub run_id: RunId,
    /// How.
    pub outcome: Outcome,
    /// Why, when it failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<JobError>,
    /// Whether no other attempt follows, short of a redrive.
    pub is_final: bool,
    /// When.
    pub ended_at: Timestamp,
}

/// What became of a try to claim a job.
#[derive(Debug, Clone, PartialEq)]
#[must_use]
pub enum Claim {
    /// Ours to run.
    Won(Won),
    /// Completed before: publish its event again.
    Completed(Box<Manifest>),
    /// Failed or cancelled for good before: publish that event again.
    Ended(Box<End>),
    /// Another worker is at it, or was until recently: come back then.
    Live {
        /// Until when it is taken to live.
        until: Timestamp,
    },
    /// A user asked for cancellation and no attempt is live.
    Cancelled {
        /// Attempts so far.
        attempts: u32,
    },
    /// All attempts are used up, the last one perhaps without a word.
    Exhausted {
        /// Attempts that counted.
        attempts: u32,
        /// Number of the last attempt.
        last: u32,
        /// The last error that was recorded.
        error: Option<JobError>,
    },
}

/// A claimed attempt.
#[derive(Debug, Clone, PartialEq)]
pub struct Won {
    /// Number of the attempt, never used twice.
    pub attempt: u32,
    /// Attempts that count, this one included; interrupted ones and those before a redrive do not.
    pub counted: u32,
    /// `deadline_secs` runs from here: the first claim since the last redrive, later by what interruptions took.
    pub budget_from: Timestamp,
    /// Whether a checkpoint is there.
    pub has_checkpoint: bool,
}

/// What a worker says when it claims.
#[derive(Debug, Clone)]
pub struct ClaimRequest<'a> {
    /// The new run.
    pub run_id: &'a RunId,
    /// The worker.
    pub worker: &'a str,
    /// What is to be done.
    pub submission: &'a Submission,
    /// Attempts that may count.
    pub max_attempts: u32,
    /// The time now.
    pub now: Timestamp,
    /// Until when the worker will live without another word.
    pub live_until: Timestamp,
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

    /// Claims the next attempt, unless the job is finished, cancelled, live elsewhere or out of attempts.
    /// `results` is the store of the submission's destination.
    ///
    /// # Errors
    /// Codes of [`crate::store::error::classify`], [`ErrorCode::Internal`] for damaged records.
    pub async fn claim(&self, results: &Store, request: &ClaimRequest<'_>) -> Result<Claim> {
        for _ in 0..CLAIM_TRIES {
            let manifest = manifest::read(results, &request.submission.destination, &self.job);
            let (manifest, history) = futures::try_join!(manifest, self.history())?;
            if let Some(manifest) = manifest {
                return Ok(Claim::Completed(Box::new(manifest)));
            }
            if let Some(claim) = history.refusal(request) {
                return Ok(claim);
            }
            let number = history.last_attempt() + 1;
            let attempt = Attempt {
                number,
                run_id: request.run_id.clone(),
                worker: request.worker.to_owned(),
                claimed_at: request.now,
                live_until: request.live_until,
                submission: request.submission.clone(),
            };
            let name = format!("attempt-{number}.json");
            let ours = match self.put_once(&name, &attempt).await? {
                Put::Done => true,
                // Perhaps our own first try, whose answer was lost.
                Put::Exists => self.get::<Attempt>(&name).await?.is_some_and(|a| a.run_id == *request.run_id),
            };
            if ours {
                return Ok(Claim::Won(Won {
                    attempt: number,
                    counted: history.counted() + 1,
                    budget_from: history.budget_from(request.now),
                    has_checkpoint: history.has_checkpoint,
                }));
            }
        }
        Ok(Claim::Live { until: request.live_until })
    }

    /// Everything that is recorded.
    ///
    /// # Errors
    /// As [`Record::claim`].
    pub async fn history(&self) -> Result<History> {
        let listed = self.store.list(&self.place, MAX_OBJECTS).await?;
        let names = listed.iter().filter_map(|object| object.key.strip_prefix(&self.place.prefix));
        let mut history = History::from_names(names);
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

    /// Lets the job run again: attempts so far no longer count, and cancellation is withdrawn.
    ///
    /// # Errors
    /// Codes of [`crate::store::error::classify`].
    pub async fn redrive(&self) -> Result<()> {
        let last = self.history().await?.last_attempt();
        self.store.delete(&self.place.bucket, &self.place.key("cancel")).await?;
        let at = serde_json::json!({ "redriven_at": Timestamp::now() });
        self.put(&format!("redrive-{last}"), &at).await
    }

    /// Where checkpoints lie: the store, and the place in it.
    pub fn checkpoints(&self) -> (&Store, Place) {
        (&self.store, Place { prefix: self.place.key("checkpoint/"), ..self.place.clone() })
    }

    async fn put<T: Serialize>(&self, name: &str, value: &T) -> Result<()> {
        let key = self.place.key(name);
        self.store.put_bytes(&self.place.bucket, &key, json(name, value)?, "application/json").await
    }

    async fn put_once<T: Serialize>(&self, name: &str, value: &T) -> Result<Put> {
        let key = self.place.key(name);
        self.store.put_if_absent(&self.place.bucket, &key, json(name, value)?, "application/json").await
    }

    async fn get<T: DeserializeOwned>(&self, name: &str) -> Result<Option<T>> {
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
