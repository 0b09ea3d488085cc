//! A job on local files: the same executors, manifest and event, without queue and buckets.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use darkroom_api::{Descriptor, ErrorCode, Inputs, JobError, Limits, Progress, Result};
use jiff::Timestamp;
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};
use tokio_util::sync::CancellationToken;

use super::executor::{JobScratch, LocalOutput, Pool, RunLimits, RunNote, RunOrder, RunResult, RunWatch};
use super::manifest::{Manifest, ManifestOutput, Schema};
use super::room::Room;
use super::runner::stricter;
use super::{JobId, RunId};
use crate::event::{Completion, Event, JobFacts};
use crate::store::{ObjectRef, Place};
use crate::trigger::{InputRef, Origin, Submission};

/// Time that a run gets to end after cancellation before its process is killed.
const GRACE: Duration = Duration::from_secs(1);

/// One job.
#[derive(Debug, Clone)]
pub struct LocalJob {
    /// What people call it.
    pub title: String,
    /// Files by role, as absolute paths.
    pub inputs: BTreeMap<String, Vec<PathBuf>>,
    /// Where outputs and manifest go.
    pub directory: PathBuf,
}

impl LocalJob {
    /// All its files.
    pub fn files(&self) -> impl Iterator<Item = &Path> {
        self.inputs.values().flatten().map(PathBuf::as_path)
    }
}

/// What all jobs of one call have in common.
pub struct Surroundings<'a> {
    /// Executors that may read the inputs.
    pub pool: &'a Pool,
    /// The handler.
    pub handler: &'a Descriptor,
    /// Its parameters.
    pub params: Map<String, Value>,
    /// Limits beside the handler's own.
    pub limits: Limits,
    /// Longest run.
    pub run_limit_secs: f64,
    /// Longest time without progress; each stage's own where absent.
    pub stall_secs: Option<f64>,
    /// Stops the job.
    pub cancel: CancellationToken,
}

/// How a job ended.
#[derive(Debug)]
pub struct Outcome {
    /// The terminal event.
    pub event: Value,
    /// Frames that went through.
    pub frames: Option<u64>,
    /// Why it failed.
    pub error: Option<JobError>,
}

/// Runs a job to its end.
pub async fn run(job: &LocalJob, around: &Surroundings<'_>, on_progress: &(dyn Fn(&Progress) + Sync)) -> Outcome {
    let submission = submission(job, around);
    // Without an id the job has none to show: only a damaged build could get here.
    let outcome = match JobId::of(&submission) {
        Ok(id) => attempt(job, around, &submission, id, on_progress).await,
        Err(error) => Err(error),
    };
    let facts = facts(job, &submission);
    match outcome {
        Ok(manifest) => {
            let frames = manifest.metrics.get("frames").and_then(Value::as_u64);
            let destination = submission.destination.clone();
            let completion = Completion { manifest: Box::new(manifest), destination, urls: Vec::new() };
            let mut event = json(&Event::completed(&facts, &completion));
            event["data"]["manifest"] = job.directory.join("manifest.json").display().to_string().into();
            Outcome { event, frames, error: None }
        }
        Err(error) => {
            let now = Timestamp::now();
            let event = match error.code {
                ErrorCode::Cancelled => Event::cancelled(&facts, now),
                _ => Event::failed(&facts, now, &error),
            };
            Outcome { event: json(&event), frames: None, error: Some(error) }
        }
    }
}

fn json(event: &Event) -> Value {
    serde_json::to_value(event).unwrap_or_default()
}

fn facts(job: &LocalJob, submission: &Submission) -> JobFacts {
    let id = JobId::of(submission).map(String::from).unwrap_or_default();
    JobFacts {
        job_id: id,
        submission_id: submission.submission_id.clone(),
        handler: submission.handler.clone(),
        input: job.files().next().map(|file| file.display().to_string()),
        reference: None,
        attempt: Some(1),
    }
}

/// The same words as for a job in buckets: files stand for objects, size and time for the entity tag.
fn submission(job: &LocalJob, around: &Surroundings<'_>) -> Submission {
    let roles = around.handler.inputs.iter();
    let files = roles.flat_map(|role| job.inputs.get(&role.name).into_iter().flatten().map(|file| (&role.name, file)));
    let inputs = files.map(|(role, file)| {
        let meta = fs::metadata(file).ok();
        let etag = meta.as_ref().map_or_else(String::new, |m| format!("{}-{}.{}", m.len(), m.mtime(), m.mtime_nsec()));
        let object = ObjectRef {
            etag: Some(etag),
            size: meta.map(|m| m.len()),
            ..ObjectRef::new("file", "", &file.display().to_string())
        };
        InputRef { role: role.clone(), object }
    });
    Submission {
        submission_id: RunId::new().to_string(),
        origin: Origin::Message,
        handler: around.handler.name.clone(),
        params: around.params.clone(),
        inputs: inputs.collect(),
        destination: Place { store: "file".into(), bucket: String::new(), prefix: job.directory.display().to_string() },
        reference: None,
        deadline_secs: None,
        rerun: None,
        submitted_at: Timestamp::now(),
    }
}

async fn attempt(
    job: &LocalJob,
    around: &Surroundings<'_>,
    submission: &Submission,
    id: JobId,
    on_progress: &(dyn Fn(&Progress) + Sync),
) -> Result<Manifest> {
    let (handler, pool) = (around.handler, around.pool);
    let params = Value::Object(around.params.clone());
    let limits = stricter(&around.limits, &handler.limits);
    let inputs = Inputs(job.inputs.clone());
    let admitted = async {
        pool.check(&handler.name, &params).await?;
        pool.admit(handler, &params, &inputs, &limits).await
    };
    let plan = tokio::select! {
        biased;
        () = around.cancel.cancelled() => return Err(cancelled()),
        plan = admitted => plan?,
    };
    let _room = Room::new(pool.scratch().root().into(), u64::MAX).reserve(plan.scratch_bytes)?;

    let run_id = RunId::new();
    let scratch = pool.job_scratch(run_id.as_str())?;
    let order = RunOrder { job_id: id.to_string(), handler: handler.name.clone(), params, inputs, resume: None };
    // Somebody sits and waits: a run that is told to stop is not waited for as long as one of a worker.
    let run_limits =
        RunLimits { cancel_grace: GRACE, ..RunLimits::of(handler, around.run_limit_secs, around.stall_secs) };
    let mut on_note = |note: RunNote| {
        if let RunNote::Progress(progress) = note {
            on_progress(&progress);
        }
    };
    let watch = RunWatch { limits: run_limits, cancel: around.cancel.clone(), on_note: &mut on_note };
    let started = Instant::now();
    let result = pool.acquire().await.run(&scratch, order, watch).await?;
    let run_secs = started.elapsed().as_secs_f64();
    commit(job, submission, id, run_id, handler, (scratch, result), run_secs).await
}

fn cancelled() -> JobError {
    JobError::new(ErrorCode::Cancelled, "The job was cancelled.")
}

/// Moves the outputs into place; the manifest comes last, and an older one goes first.
async fn commit(
    job: &LocalJob,
    submission: &Submission,
    job_id: JobId,
    run_id: RunId,
    handler: &Descriptor,
    (scratch, result): (JobScratch, RunResult),
    run_secs: f64,
) -> Result<Manifest> {
    let mut manifest = Manifest {
        schema: Schema::V1,
        job_id,
        run_id,
        handler: handler.name.clone(),
        handler_version: handler.version.clone(),
        inputs: submission.inputs.clone(),
        params: result.outputs.params,
        outputs: Vec::new(),
        models: result.outputs.models,
        stages: result.outputs.stages,
        metrics: result.outputs.metrics,
        timings: BTreeMap::from([("run".to_owned(), run_secs)]),
        warnings: result.outputs.warnings,
        reference: None,
        created_at: Timestamp::now(),
    };
    let (directory, files) = (job.directory.clone(), result.files);
    if let Some(own) = files.iter().find(|output| job.files().any(|input| input == directory.join(&output.file.name))) {
        let why = format!("The output `{}` would replace an input: choose another --output.", own.file.name);
        return Err(JobError::new(ErrorCode::DestinationForbidden, why));
    }
    let moved = tokio::task::spawn_blocking(move || -> io::Result<Manifest> {
        fs::create_dir_all(&directory)?;
        let path = directory.join("manifest.json");
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        manifest.outputs = files.iter().map(|file| place(file, &directory)).collect::<io::Result<_>>()?;
        drop(scratch);
        fs::write(path, serde_json::to_vec_pretty(&manifest)?)?;
        Ok(manifest)
    });
    let outcome = moved.await.map_err(io::Error::from).and_then(|moved| moved);
    outcome.map_err(|error| {
        let why = format!(
            "The outputs cannot be put into {} ({error}): make room, or choose another.",
            job.directory.display()
        );
        JobError::new(ErrorCode::ScratchFull, why)
    })
}

fn place(output: &LocalOutput, directory: &Path) -> io::Result<ManifestOutput> {
    let to = directory.join(&output.file.name);
    fs::create_dir_all(to.parent().unwrap_or(directory))?;
    fs::rename(&output.path, &to)?;
    let mut hash = Sha256::new();
    io::copy(&mut fs::File::open(&to)?, &mut HashWriter(&mut hash))?;
    Ok(ManifestOutput {
        bucket: String::new(),
        key: output.file.name.clone(),
        bytes: output.bytes,
        sha256: data_encoding::HEXLOWER.encode(&hash.finalize()),
        media_type: output.file.media_type.clone(),
    })
}

struct HashWriter<'a>(&'a mut Sha256);

impl io::Write for HashWriter<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.update(bytes);
        Ok(bytes.len())
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
