//! One device slot: who holds the guard has the executor for himself.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use darkroom_api::protocol::{OutputList, RunRequest};
use darkroom_api::{Inputs, Result};
use tokio::sync::OwnedSemaphorePermit;

use super::options::{RunNote, RunWatch};
use super::outputs::{self, RunResult};
use super::pool::Shared;
use super::process::Executor;
use super::scratch::{self, JobScratch, disk_error};
use super::tree::Tree;

/// Why an executor was replaced.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RestartReason {
    /// It died.
    Crashed,
    /// It made no progress, or did not answer.
    Hung,
    /// It held too much memory.
    OutOfMemory,
    /// A run took too long.
    RunLimit,
    /// It was told to stop and did not.
    Cancelled,
    /// It broke the protocol.
    Protocol,
    /// It kept too much memory after a job.
    Leaked,
    /// Each job gets its own (`executor.fresh`).
    Fresh,
    /// Nobody waited for the run any more.
    Abandoned,
}

impl RestartReason {
    /// The reason as a label.
    pub const fn as_str(self) -> &'static str {
        match self {
            RestartReason::Crashed => "crashed",
            RestartReason::Hung => "hung",
            RestartReason::OutOfMemory => "out-of-memory",
            RestartReason::RunLimit => "run-limit",
            RestartReason::Cancelled => "cancelled",
            RestartReason::Protocol => "protocol",
            RestartReason::Leaked => "leaked",
            RestartReason::Fresh => "fresh",
            RestartReason::Abandoned => "abandoned",
        }
    }
}

/// An executor was, or will be at its next use, replaced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Restart {
    /// Which slot; `None` for the prober.
    pub slot: Option<usize>,
    /// Why.
    pub reason: RestartReason,
}

/// What to run.
#[derive(Debug, Clone)]
pub struct RunOrder {
    /// Handler's name.
    pub handler: String,
    /// Parameters as written.
    pub params: serde_json::Value,
    /// Files below the job's scratch directory, or below one that the pool's `read_only` names.
    pub inputs: Inputs,
    /// Checkpoint of an earlier attempt, likewise.
    pub resume: Option<PathBuf>,
}

/// A slot in use; free again when dropped.
#[derive(Debug)]
pub struct Slot {
    pub(super) shared: Arc<Shared>,
    pub(super) index: usize,
    pub(super) executor: Option<Executor>,
    pub(super) permit: Option<OwnedSemaphorePermit>,
    /// A run is (or was, when dropped) in progress.
    pub(super) busy: bool,
}

impl Slot {
    /// Its number, from 0.
    pub fn index(&self) -> usize {
        self.index
    }

    /// Its device.
    pub fn device(&self) -> &str {
        self.shared.device(self.index)
    }

    /// The process in it now, if any: for tests and `doctor`.
    pub fn pid(&self) -> Option<u32> {
        self.executor.as_ref().map(Executor::pid)
    }

    /// Checks parameters and loads what a run with them will use.
    ///
    /// # Errors
    /// As [`Executor::warm`] and [`Executor::spawn`].
    pub async fn warm(&mut self, handler: &str, params: &serde_json::Value) -> Result<()> {
        let mut executor = self.take().await?;
        self.busy = true;
        let result = executor.warm(handler, params, true).await;
        self.put_back(executor);
        result
    }

    /// Does the work. When this returns the outputs are out of the executor's reach, checked; they stay as long as `job`.
    /// When the future is dropped instead, the executor is ended and they are lost.
    ///
    /// # Errors
    /// As [`Executor::run`] and [`Executor::spawn`]; [`darkroom_api::ErrorCode::ExecutorProtocol`] for outputs that
    /// cannot be used.
    pub async fn run(&mut self, job: &JobScratch, order: RunOrder, watch: RunWatch<'_>) -> Result<RunResult> {
        let mut executor = self.take().await?;
        self.busy = true;
        let slot_dir = self.shared.slot_dir(self.index);
        let here = slot_dir.join("job");
        let result = match enter(job, &executor, &slot_dir, &here) {
            Ok(tree) => {
                let (request, RunWatch { limits, cancel, on_note }) = (request(order, job, &here), watch);
                let mut relay = |note: RunNote| match keep(job, &here, note) {
                    Ok(note) => on_note(note),
                    // The run is worth more than its checkpoint.
                    Err(error) => tracing::warn!(%error, "a checkpoint could not be kept"),
                };
                let watch = RunWatch { limits, cancel, on_note: &mut relay };
                let result = executor.run(request, watch).await;
                // The directory goes back before anything in it is looked at: here the executor could still swap files.
                leave(&tree, &here).and(result).map(|list| (list, tree))
            }
            Err(error) => Err(error),
        };
        let leaked = self.shared.leak_bytes() > 0 && executor.own_bytes() > self.shared.leak_bytes();
        if executor.lost().is_none() && (leaked || self.shared.fresh()) {
            self.shared.restarted(Some(self.index), if leaked { RestartReason::Leaked } else { RestartReason::Fresh });
            executor.shutdown().await;
            self.busy = false;
        } else {
            self.put_back(executor);
        }
        let (list, tree) = result?;
        let result = outputs::read(moved_back(list, &here, tree.dir()), tree.dir()).await;
        job.hold(tree);
        result
    }

    async fn take(&mut self) -> Result<Executor> {
        match self.executor.take() {
            Some(executor) => Ok(executor),
            None => self.shared.start(self.index).await,
        }
    }

    fn put_back(&mut self, executor: Executor) {
        self.busy = false;
        match executor.lost() {
            Some(reason) => self.shared.restarted(Some(self.index), reason),
            None => self.executor = Some(executor),
        }
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        if self.busy {
            self.shared.restarted(Some(self.index), RestartReason::Abandoned);
        }
        self.shared.give_back(self.index, self.executor.take());
        // Only now may the next one come in.
        drop(self.permit.take());
    }
}

/// What a run says, with its checkpoint taken out of the executor's reach.
fn keep(job: &JobScratch, here: &Path, note: RunNote) -> std::io::Result<RunNote> {
    match note {
        RunNote::Checkpoint(path) => job.keep(&here.join("tmp"), &path).map(RunNote::Checkpoint),
        note @ RunNote::Progress(_) => Ok(note),
    }
}

/// Moves a tree with the job's inputs into the slot, which is emptied of what earlier jobs left.
fn enter(job: &JobScratch, executor: &Executor, slot_dir: &Path, here: &Path) -> Result<Tree> {
    let enter = || {
        scratch::clear(slot_dir)?;
        let tree = executor.trees().take(job.place("tree"))?;
        std::fs::rename(tree.dir(), here)?;
        job.move_inputs(&here.join("in"))?;
        Ok(tree)
    };
    enter().map_err(|error| disk_error(&error, "a slot's scratch directory"))
}

fn leave(tree: &Tree, here: &Path) -> Result<()> {
    std::fs::rename(here, tree.dir()).map_err(|error| disk_error(&error, "a job's scratch directory"))
}

/// The request with paths as the executor sees them.
fn request(order: RunOrder, job: &JobScratch, here: &Path) -> RunRequest {
    let moved = |path: PathBuf| job.name_of(&path).map(|name| here.join("in").join(name)).unwrap_or(path);
    let inputs = order.inputs.0.into_iter();
    RunRequest {
        handler: order.handler,
        params: order.params,
        inputs: Inputs(inputs.map(|(role, files)| (role, files.into_iter().map(moved).collect())).collect()),
        scratch_dir: here.join("tmp"),
        output_dir: here.join("out"),
        resume: order.resume.map(moved),
    }
}

/// The list of outputs as it lies after the run.
fn moved_back(list: OutputList, here: &Path, dir: &Path) -> OutputList {
    match list {
        OutputList::File(path) => OutputList::File(path.strip_prefix(here).map_or(path.clone(), |rest| dir.join(rest))),
        told @ OutputList::Told(_) => told,
    }
}
