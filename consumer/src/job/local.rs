//! A job on local files: the same executors, manifest and event, without queue and buckets.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Component, Path, PathBuf};
use std::time::{Duration, Instant};

use darkroom_api::{Descriptor, ErrorCode, Inputs, JobError, Limits, Progress, Result};
use jiff::Timestamp;
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};
use tokio_util::sync::CancellationToken;

use super::executor::{JobScratch, LocalOutput, Pool, RunLimits, RunNote, RunOrder, RunResult, RunWatch};
use super::manifest::{Manifest, ManifestOutput, Schema};
use super::room::Room;
use super::runner::{promised, stricter};
use super::{JobId, RunId};
use crate::event::{Completion, Event, JobFacts};
use crate::store::{ObjectRef, Place};
use crate::trigger::{InputRef, Origin, Submission};

/// Time that a run gets to end after cancellation before its process is killed.
const GRACE: Duration = Duration::from_secs(1);
/// Longest manifest of an earlier run that is read.
const MAX_MANIFEST_BYTES: u64 = 128 << 20;

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
    /// Where its outputs are, the main one first.
    pub outputs: Vec<PathBuf>,
    /// What the handler remarked, as in the manifest.
    pub warnings: Vec<String>,
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
    let facts = facts(&submission);
    match outcome {
        Ok(manifest) => {
            let frames = manifest.metrics.get("frames").and_then(Value::as_u64);
            let outputs = manifest.outputs.iter().map(|output| job.directory.join(&output.key)).collect();
            let warnings = manifest.warnings.clone();
            let destination = submission.destination.clone();
            let completion = Completion { manifest: Box::new(manifest), destination, urls: Vec::new() };
            let mut event = json(&Event::completed(&facts, &completion));
            event["data"]["manifest"] = job.directory.join("manifest.json").display().to_string().into();
            Outcome { event, frames, outputs, warnings, error: None }
        }
        Err(error) => {
            let now = Timestamp::now();
            let event = match error.code {
                ErrorCode::Cancelled => Event::cancelled(&facts, now),
                _ => Event::failed(&facts, now, &error),
            };
            Outcome { event: json(&event), frames: None, outputs: Vec::new(), warnings: Vec::new(), error: Some(error) }
        }
    }
}

fn json(event: &Event) -> Value {
    serde_json::to_value(event).unwrap_or_default()
}

fn facts(submission: &Submission) -> JobFacts {
    let id = JobId::of(submission).map(String::from).unwrap_or_default();
    JobFacts {
        job_id: id,
        submission_id: submission.submission_id.clone(),
        handler: submission.handler.clone(),
        input: submission.inputs.first().map(|input| input.object.key.clone()),
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
        pool.plan(&handler.name, &params, &handler.looked_at(&inputs), &limits).await
    };
    let plan = tokio::select! {
        biased;
        () = around.cancel.cancelled() => return Err(cancelled()),
        plan = admitted => plan?,
    };
    // Of inputs that nobody looked at, this is all that is checked.
    promised(submission.inputs.iter().map(|input| &input.object), &limits)?;
    let _room = Room::new(pool.scratch().root().into(), u64::MAX).reserve(plan.scratch_bytes)?;

    let run_id = RunId::new();
    let scratch = pool.job_scratch(run_id.as_str())?;
    let order = RunOrder { handler: handler.name.clone(), params, inputs, resume: None };
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

/// Moves the outputs into place; the manifest comes last, and an older one goes first, with the outputs it names.
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
    let inputs: Vec<PathBuf> = job.files().map(Path::to_path_buf).collect();
    if let Some(own) = files.iter().find(|output| job.files().any(|input| input == directory.join(&output.file.name))) {
        let why = format!("The output `{}` would replace an input: choose another --output.", own.file.name);
        return Err(JobError::new(ErrorCode::DestinationForbidden, why));
    }
    let moved = tokio::task::spawn_blocking(move || -> io::Result<Manifest> {
        fs::create_dir_all(&directory)?;
        let path = directory.join("manifest.json");
        let older = older_outputs(&directory, &inputs);
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        older.iter().try_for_each(fs::remove_file)?;
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

/// Outputs that the manifest of an earlier run names: more frames than the new run has would else stay among them. What is
/// no longer as the manifest says, is an input now, or is not below the directory, is somebody's own and stays.
fn older_outputs(directory: &Path, inputs: &[PathBuf]) -> Vec<PathBuf> {
    let mut text = Vec::new();
    let read = fs::File::open(directory.join("manifest.json"))
        .and_then(|file| file.take(MAX_MANIFEST_BYTES).read_to_end(&mut text));
    let (Ok(_), Ok(manifest), Ok(root)) = (read, serde_json::from_slice::<Manifest>(&text), directory.canonicalize())
    else {
        return Vec::new();
    };
    let own = manifest.outputs.iter().filter_map(|output| {
        let below = Path::new(&output.key).components().all(|part| matches!(part, Component::Normal(_)));
        let path = root.join(&output.key);
        // A link stays, and so does what lies behind one.
        let plain = below && path.canonicalize().is_ok_and(|real| real == path && !inputs.contains(&real));
        let same = plain && fs::metadata(&path).is_ok_and(|meta| meta.is_file() && meta.len() == output.bytes);
        same.then_some(path)
    });
    own.collect()
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_an_earlier_run_made_is_an_older_output() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join("out");
        fs::create_dir_all(root.join("frames")).unwrap();
        let files = ["frames/1.png", "frames/mine.png", "frames/edited.png", "input.webm"];
        for file in files {
            fs::write(root.join(file), b"made").unwrap();
        }
        fs::write(root.join("frames/edited.png"), b"edited since").unwrap();
        fs::write(dir.path().join("outside"), b"made").unwrap();
        std::os::unix::fs::symlink(dir.path(), root.join("link")).unwrap();
        let listed =
            ["frames/1.png", "frames/edited.png", "frames/gone.png", "input.webm", "../outside", "link/outside"];
        let outputs = listed.map(
            |key| serde_json::json!({"bucket": "", "key": key, "bytes": 4, "sha256": "", "media_type": "image/png"}),
        );
        let job = JobId::of(&Submission {
            submission_id: "1".into(),
            origin: Origin::Message,
            handler: "matting".into(),
            params: Map::new(),
            inputs: vec![InputRef {
                role: "video".into(),
                object: ObjectRef { etag: Some("1".into()), ..ObjectRef::new("file", "", "a") },
            }],
            destination: Place { store: "file".into(), bucket: String::new(), prefix: "out".into() },
            reference: None,
            deadline_secs: None,
            rerun: None,
            submitted_at: Timestamp::now(),
        });
        let mut manifest = serde_json::json!({"schema": "darkroom.manifest.v1", "job_id": job.unwrap(),
            "run_id": RunId::new(), "handler": "matting", "handler_version": "0", "inputs": [], "params": {},
            "models": [], "stages": [], "metrics": {}, "timings": {}, "warnings": [], "reference": null,
            "created_at": Timestamp::now()});
        manifest["outputs"] = outputs.to_vec().into();
        fs::write(root.join("manifest.json"), manifest.to_string()).unwrap();
        let root = root.canonicalize().unwrap();
        assert_eq!(older_outputs(&root, &[root.join("input.webm")]), [root.join("frames/1.png")]);
        assert!(older_outputs(dir.path(), &[]).is_empty(), "no manifest, nothing to go");
    }
}
