//! One attempt: fetch, wait for a slot, run, commit.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use darkroom_api::{Descriptor, ErrorCode, JobError, Progress, Result};
use jiff::Timestamp;
use tokio::sync::watch;

use crate::job::executor::{RunLimits, RunNote, RunOrder, RunResult, RunWatch};
use crate::job::manifest::{self, Committed, Manifest, ManifestOutput, Schema};
use crate::telemetry::{Change, Step};
use crate::trigger::InputRef;

use super::checkpoint::Keeper;
use super::claim::Case;
use super::fetch::{Early, Fetched};
use super::pulse::Pulse;
use super::{Journey, Stop};

/// Between looks at how far a run is.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Seconds of each step, in order.
struct Clock {
    last: Instant,
    steps: BTreeMap<String, f64>,
}

impl Clock {
    fn start() -> Self {
        Clock { last: Instant::now(), steps: BTreeMap::new() }
    }

    fn lap(&mut self, step: &str) {
        let now = Instant::now();
        self.steps.insert(step.to_owned(), now.duration_since(self.last).as_secs_f64());
        self.last = now;
    }
}

impl Journey {
    /// Fetch to commit. The manifest is the one that the job has in the end, whoever's run it names.
    pub(super) async fn attempt(
        &self,
        case: &Case<'_>,
        early: Option<Early>,
        pulse: &Pulse,
        stop: &Stop,
    ) -> Result<Box<Manifest>> {
        let handler = self.handler(&case.submission.handler)?;
        let mut clock = Clock::start();
        let fetched = self.fetch(case, early, handler, stop).await?;
        clock.lap("fetch");
        case.aside(pulse, Change::Waiting { fetched_bytes: fetched.bytes }).await;
        let result = self.run(case, handler, &fetched, pulse, stop, &mut clock).await?;
        Step::Ran.reached(&case.job);
        case.aside(pulse, Change::Committing).await;
        let outputs = self.upload(case, &result, stop).await;
        clock.lap("commit");
        // The directory goes before the promise that holds its room.
        let Fetched { scratch, room, .. } = fetched;
        drop(scratch);
        drop(room);
        match outputs {
            Ok(outputs) => {
                Step::Uploaded.reached(&case.job);
                self.commit(case, handler, result, outputs, clock).await
            }
            Err(error) => {
                self.drop_run(case).await;
                Err(error)
            }
        }
    }

    fn handler(&self, name: &str) -> Result<&Descriptor> {
        self.handlers.get(name).ok_or_else(|| {
            let why = format!("No handler is called `{name}`: see `darkroom doctor`.");
            JobError::new(ErrorCode::HandlerUnknown, why)
        })
    }

    async fn run(
        &self,
        case: &Case<'_>,
        handler: &Descriptor,
        fetched: &Fetched,
        pulse: &Pulse,
        stop: &Stop,
        clock: &mut Clock,
    ) -> Result<RunResult> {
        let mut slot = stop.unless(async { Ok(self.pool.acquire().await) }).await?;
        clock.lap("wait");
        Step::SlotTaken.reached(&case.job);
        stop.start();
        let busy = self.telemetry.metrics().busy_slot();
        case.aside(pulse, Change::Running).await;
        let order = RunOrder {
            handler: handler.name.clone(),
            params: serde_json::Value::Object(case.submission.params.clone()),
            inputs: fetched.inputs.clone(),
            resume: fetched.resume.clone(),
        };
        let limits = RunLimits::of(handler, self.rules.run_limit_secs, self.rules.stall_secs);
        // Notes come in a callback that must not wait; events are sent from here.
        let (notes, mut seen) = watch::channel(None);
        let (checkpoints, offered) = watch::channel(None);
        let mut on_note = |note: RunNote| match note {
            RunNote::Progress(progress) => drop(notes.send_replace(Some(progress))),
            RunNote::Checkpoint(file) if handler.resumable => drop(checkpoints.send_replace(Some(file))),
            RunNote::Checkpoint(_) => tracing::debug!(job_id = %case.job, "checkpoint of a handler that cannot resume"),
        };
        let mut keeper = Keeper::new(case, stop, offered, fetched.resume.is_some());
        let how = RunWatch { limits, cancel: stop.token(), on_note: &mut on_note };
        let run = Box::pin(slot.run(&fetched.scratch, order, how));
        let outcome = tokio::select! {
            biased;
            outcome = run => outcome,
            never = tell_progress(case, pulse, &mut seen) => match never {},
            never = keeper.keep_on() => match never {},
        };
        drop((slot, busy));
        clock.lap("run");
        let outcome = stop.explain(outcome);
        if let Err(error) = &outcome {
            keeper.finish(error).await;
        }
        outcome
    }

    /// Uploads the outputs to where only this run writes.
    async fn upload(&self, case: &Case<'_>, result: &RunResult, stop: &Stop) -> Result<Vec<ManifestOutput>> {
        let place = manifest::run_place(&case.submission.destination, &case.job, &case.run_id);
        let mut outputs = Vec::with_capacity(result.files.len());
        for local in &result.files {
            let (key, media_type) = (place.key(&local.file.name), local.file.media_type.clone());
            let put = case.results.put_file(&local.path, &place.bucket, &key, &media_type, &|_| {});
            let stored = stop.unless(put).await?;
            let (bucket, bytes, sha256) = (place.bucket.clone(), stored.bytes, stored.sha256);
            outputs.push(ManifestOutput { bucket, key, bytes, sha256, media_type });
        }
        Ok(outputs)
    }

    /// Writes the manifest that makes the outputs the job's result. Should the write fail it may still have happened:
    /// then the outputs stay, and whoever comes next finds the manifest, or `reconcile --gc` finds them unreferenced.
    async fn commit(
        &self,
        case: &Case<'_>,
        handler: &Descriptor,
        result: RunResult,
        outputs: Vec<ManifestOutput>,
        clock: Clock,
    ) -> Result<Box<Manifest>> {
        let made = result.outputs;
        let manifest = Manifest {
            schema: Schema::V1,
            job_id: case.job.clone(),
            run_id: case.run_id.clone(),
            handler: handler.name.clone(),
            handler_version: handler.version.clone(),
            inputs: case.submission.inputs.iter().map(InputRef::without_query).collect(),
            params: made.params,
            outputs,
            models: made.models,
            stages: made.stages,
            metrics: made.metrics,
            timings: clock.steps,
            warnings: made.warnings,
            reference: case.submission.reference.clone(),
            created_at: Timestamp::now(),
        };
        case.may_be_committed.store(true, Ordering::Relaxed);
        match manifest::commit(&case.results, &case.submission.destination, &manifest).await? {
            Committed::Ours => {
                Step::Committed.reached(&case.job);
                Ok(Box::new(manifest))
            }
            Committed::Theirs(theirs) => {
                self.drop_run(case).await;
                Ok(theirs)
            }
        }
    }

    /// Removes this run's outputs; what cannot be removed is unreferenced, and harms nobody.
    async fn drop_run(&self, case: &Case<'_>) {
        let destination = &case.submission.destination;
        if let Err(error) = manifest::delete_run(&case.results, destination, &case.job, &case.run_id).await {
            tracing::warn!(job_id = %case.job, run_id = %case.run_id, %error, "outputs of a dropped run are left");
        }
    }
}

/// Progress events while a run goes; the telemetry keeps them apart.
async fn tell_progress(
    case: &Case<'_>,
    pulse: &Pulse,
    seen: &mut watch::Receiver<Option<Progress>>,
) -> std::convert::Infallible {
    loop {
        let progress = match seen.changed().await {
            Ok(()) => seen.borrow_and_update().clone(),
            Err(_) => std::future::pending().await,
        };
        if let Some(progress) = progress {
            pulse.progress(&progress);
            case.aside_progress(progress).await;
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}
