//! The manifest: the one object that makes a run's outputs the job's result. No manifest, no output.

use std::collections::BTreeMap;

use darkroom_api::{ErrorCode, JobError, ModelUse, Result, StageReport};
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::{JobId, RunId};
use crate::store::{ObjectRef, Place, Put, Store};
use crate::trigger::InputRef;

/// Longest manifest that is read: a few hundred thousand outputs.
const MAX_BYTES: u64 = 128 << 20;
/// Most objects of one run.
const MAX_RUN_OBJECTS: usize = 1_000_000;

/// Version of the manifest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Schema {
    /// The only one so far.
    #[serde(rename = "darkroom.manifest.v1")]
    V1,
}

/// One output.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ManifestOutput {
    /// Bucket; empty for local runs.
    pub bucket: String,
    /// Key; for local runs the path below the manifest.
    pub key: String,
    /// Size.
    pub bytes: u64,
    /// SHA-256 of the content in hexadecimal.
    pub sha256: String,
    /// Media type.
    pub media_type: String,
}

/// What was made, from what, by what, and how it went.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Manifest {
    /// `darkroom.manifest.v1`.
    pub schema: Schema,
    /// The job.
    pub job_id: JobId,
    /// The run whose outputs these are.
    pub run_id: RunId,
    /// Handler's name.
    pub handler: String,
    /// Version of the handler's code.
    pub handler_version: String,
    /// Inputs, pinned to what was read.
    pub inputs: Vec<InputRef>,
    /// Parameters as used, defaults filled in.
    pub params: Value,
    /// Outputs, the main one first.
    pub outputs: Vec<ManifestOutput>,
    /// Models used.
    pub models: Vec<ModelUse>,
    /// Where the pipeline's time went.
    pub stages: Vec<StageReport>,
    /// The handler's numbers.
    pub metrics: Map<String, Value>,
    /// Seconds of each step of the journey: `fetch`, `wait`, `run`, `commit`.
    pub timings: BTreeMap<String, f64>,
    /// What the user should know although it worked.
    pub warnings: Vec<String>,
    /// The caller's own name for the job.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reference: Option<String>,
    /// When it was committed.
    pub created_at: Timestamp,
}

/// Whose result the job has.
#[derive(Debug, Clone, PartialEq)]
#[must_use]
pub enum Committed {
    /// Our run's.
    Ours,
    /// Another run was faster: its manifest. Our outputs are to be deleted ([`delete_run`]).
    Theirs(Box<Manifest>),
}

/// Key of a job's manifest.
pub fn key(destination: &Place, job: &JobId) -> String {
    destination.key(&format!("{job}/manifest.json"))
}

/// Where all runs of a job write.
pub fn job_place(destination: &Place, job: &JobId) -> Place {
    Place { prefix: destination.key(&format!("{job}/")), ..destination.clone() }
}

/// Where the outputs of one run go.
pub fn run_place(destination: &Place, job: &JobId, run: &RunId) -> Place {
    Place { prefix: destination.key(&format!("{job}/{run}/")), ..destination.clone() }
}

/// Whose output lies under this key, named as [`run_place`] names them: where its job's results go, the job and the run.
/// `place` is where the key was found. Of several such names the last one counts: results may go to any prefix.
pub fn owner(place: &Place, key: &str) -> Option<(Place, JobId, RunId)> {
    let (mut start, mut found) = (0, None);
    while let Some(length) = key[start..].find('/') {
        let (job, rest) = (&key[start..start + length], &key[start + length + 1..]);
        let run = rest.split_once('/').and_then(|(run, _name)| RunId::try_from(run.to_owned()).ok());
        if let (Ok(job), Some(run)) = (job.parse(), run) {
            found = Some((Place { prefix: key[..start].into(), ..place.clone() }, job, run));
        }
        start += length + 1;
    }
    found
}

/// Which run made a job's result; `None` where there is none.
///
/// # Errors
/// As [`read`].
pub async fn winner(store: &Store, destination: &Place, job: &JobId) -> Result<Option<RunId>> {
    Ok(read(store, destination, job).await?.map(|manifest| manifest.run_id))
}

/// A job's manifest, if it has one.
///
/// # Errors
/// [`ErrorCode::Internal`] for what is no manifest, and codes of [`crate::store::error::classify`].
pub async fn read(store: &Store, destination: &Place, job: &JobId) -> Result<Option<Manifest>> {
    let key = key(destination, job);
    let Some(bytes) = store.get_bytes(&destination.bucket, &key, MAX_BYTES).await? else { return Ok(None) };
    serde_json::from_slice(&bytes).map(Some).map_err(|e| {
        let message =
            format!("s3://{}/{key} is no manifest ({e}): delete it to run the job again.", destination.bucket);
        JobError::new(ErrorCode::Internal, message)
    })
}

/// Whether a job has a manifest.
///
/// # Errors
/// Codes of [`crate::store::error::classify`].
pub async fn exists(store: &Store, destination: &Place, job: &JobId) -> Result<bool> {
    let object = ObjectRef::new(store.name(), &destination.bucket, &key(destination, job));
    Ok(store.head(&object).await?.is_some())
}

/// Makes this run's outputs the job's result, unless another run's are.
///
/// # Errors
/// As [`read`].
pub async fn commit(store: &Store, destination: &Place, manifest: &Manifest) -> Result<Committed> {
    let key = key(destination, &manifest.job_id);
    let json = serde_json::to_vec_pretty(manifest)
        .map_err(|e| JobError::new(ErrorCode::Internal, format!("The manifest cannot be written: {e}.")))?;
    // Twice, should somebody delete the other manifest between our write and our read.
    for _ in 0..2 {
        let put = store.put_if_absent(&destination.bucket, &key, json.clone().into(), "application/json");
        if put.await? == Put::Done {
            return Ok(Committed::Ours);
        }
        match read(store, destination, &manifest.job_id).await? {
            // Our own first try got through and only its answer was lost.
            Some(there) if there.run_id == manifest.run_id => return Ok(Committed::Ours),
            Some(there) => return Ok(Committed::Theirs(Box::new(there))),
            None => {}
        }
    }
    Err(JobError::new(
        ErrorCode::StoreUnavailable,
        "The manifest comes and goes: let nobody else delete in the destination.",
    ))
}

/// Deletes the outputs of one run, and nothing else.
///
/// # Errors
/// Codes of [`crate::store::error::classify`].
pub async fn delete_run(store: &Store, destination: &Place, job: &JobId, run: &RunId) -> Result<()> {
    let place = run_place(destination, job, run);
    let objects = store.list(&place, MAX_RUN_OBJECTS).await?;
    store.delete_many(&place.bucket, objects.into_iter().map(|object| object.key)).await
}
