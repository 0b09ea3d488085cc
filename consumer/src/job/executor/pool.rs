//! The pool: one warm executor per device slot, and a prober without a device.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use darkroom_api::{ErrorCode, Inputs, JobError, Limits, Plan, Result};
use darkroom_models::RegistryConfig;
use tokio::sync::{Semaphore, broadcast};

use super::options::ExecutorOptions;
use super::process::Executor;
use super::scratch::{JobScratch, ScratchRoot};
use super::slot::{Restart, RestartReason, Slot};

/// One slot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SlotOptions {
    /// `cpu`, `cuda:0`, ...
    pub device: String,
    /// Threads of a model; 0 leaves the choice to the executor.
    pub threads: u32,
}

/// How a pool is set up.
#[derive(Debug, Clone)]
pub struct PoolOptions {
    /// The `darkroom-executor` binary; see [`super::find_binary`].
    pub binary: PathBuf,
    /// Configured scratch directory; this worker makes its own root in it.
    pub scratch_dir: PathBuf,
    /// The slots; at least one.
    pub slots: Vec<SlotOptions>,
    /// Most host memory of one executor in MiB; 0 for no limit.
    pub memory_mib: u64,
    /// An executor that holds more than this after a job, in MiB, leaks and is replaced; 0 for no limit.
    pub leak_mib: u64,
    /// Each job gets its own process.
    pub fresh: bool,
    /// Where models and libraries are.
    pub registry: RegistryConfig,
    /// Where built engines are kept between processes.
    pub engine_cache: Option<PathBuf>,
    /// Local files and directories that handlers and the prober may read (`darkroom run` reads inputs in place).
    pub read_only: Vec<PathBuf>,
}

/// All executors of a worker. Clones share them; the last one dropped ends them.
#[derive(Debug, Clone)]
pub struct Pool {
    pub(super) shared: Arc<Shared>,
}

/// What slots and pool have in common.
#[derive(Debug)]
pub(super) struct Shared {
    options: PoolOptions,
    scratch: Arc<ScratchRoot>,
    free: Arc<Semaphore>,
    idle: Mutex<Vec<(usize, Option<Executor>)>>,
    pub(super) prober: tokio::sync::Mutex<Option<Executor>>,
    good: Mutex<Option<Good>>,
    restarts: broadcast::Sender<Restart>,
}

/// Parameters that were found good last: jobs of one route come with the same ones.
#[derive(Debug)]
struct Good {
    handler: String,
    params: serde_json::Value,
    /// Of a job no input of which is looked at.
    plan: Option<Plan>,
}

impl Pool {
    /// Makes the scratch root and starts all executors.
    ///
    /// # Errors
    /// As [`ScratchRoot::open`] and [`Executor::spawn`].
    pub async fn open(options: PoolOptions) -> Result<Pool> {
        if options.slots.is_empty() {
            return Err(JobError::new(ErrorCode::Internal, "A worker needs at least one slot."));
        }
        if let Some(cache) = &options.engine_cache {
            std::fs::create_dir_all(cache).map_err(|e| super::scratch::disk_error(&e, "the engine cache"))?;
        }
        let scratch = ScratchRoot::open(&options.scratch_dir)?;
        let shared = Shared {
            scratch,
            free: Arc::new(Semaphore::new(options.slots.len())),
            idle: Mutex::default(),
            prober: tokio::sync::Mutex::new(None),
            good: Mutex::default(),
            restarts: broadcast::channel(64).0,
            options,
        };
        let starts = (0..shared.options.slots.len()).map(|index| shared.start(index));
        let (executors, prober) = futures::join!(futures::future::try_join_all(starts), shared.start_prober());
        // The stack gives the last one first: slot 0 on top.
        *shared.idle() = executors?.into_iter().map(Some).enumerate().rev().collect();
        *shared.prober.lock().await = Some(prober?);
        Ok(Pool { shared: Arc::new(shared) })
    }

    /// How many slots there are.
    pub fn slots(&self) -> usize {
        self.shared.options.slots.len()
    }

    /// How many slots are free now.
    pub fn free_slots(&self) -> usize {
        self.shared.free.available_permits()
    }

    /// Told of every executor that is replaced.
    pub fn restarts(&self) -> broadcast::Receiver<Restart> {
        self.shared.restarts.subscribe()
    }

    /// The worker's scratch.
    pub fn scratch(&self) -> &Arc<ScratchRoot> {
        &self.shared.scratch
    }

    /// Room for one run's files: fetch to [`JobScratch::input`], then [`Slot::run`].
    ///
    /// # Errors
    /// As [`ScratchRoot::job`].
    pub fn job_scratch(&self, run_id: &str) -> Result<JobScratch> {
        self.shared.scratch.job(run_id)
    }

    /// Waits for a free slot, first come, first served.
    pub async fn acquire(&self) -> Slot {
        // The semaphore is never closed; should it be, a slot without permit would only wait for nobody.
        let permit = Arc::clone(&self.shared.free).acquire_owned().await.ok();
        let (index, executor) = self.shared.idle().pop().unwrap_or((0, None));
        Slot { shared: Arc::clone(&self.shared), index, executor, permit, busy: false }
    }

    /// Checks parameters without loading anything. What was found good last is not asked for again: the plan and the run
    /// check for themselves.
    ///
    /// # Errors
    /// Those of the handler's `check`; [`ErrorCode::HandlerUnknown`]; as [`Executor::spawn`].
    pub async fn check(&self, handler: &str, params: &serde_json::Value) -> Result<()> {
        if self.shared.good().as_ref().is_some_and(|good| good.is(handler, params)) {
            return Ok(());
        }
        self.with_prober(async |prober| prober.warm(handler, params, false).await).await?;
        *self.shared.good() = Some(Good { handler: handler.to_owned(), params: params.clone(), plan: None });
        Ok(())
    }

    /// Looks at these inputs of a job, files in its scratch or below `read_only`, in an executor without a device, and plans
    /// it: refuses what the handler cannot work on. Without inputs to look at (see
    /// [`looked_at`](darkroom_api::Descriptor::looked_at)) the plan depends on the parameters alone, and the last one is
    /// remembered.
    ///
    /// # Errors
    /// As [`Executor::plan`] and [`Executor::spawn`].
    pub async fn plan(
        &self,
        handler: &str,
        params: &serde_json::Value,
        inputs: &Inputs,
        limits: &Limits,
    ) -> Result<Plan> {
        let alone = inputs.0.is_empty();
        if alone {
            let good = self.shared.good();
            if let Some(plan) = good.as_ref().filter(|good| good.is(handler, params)).and_then(|good| good.plan.clone())
            {
                return Ok(plan);
            }
        }
        let plan = self.with_prober(async |prober| prober.plan(handler, params, inputs, limits).await).await?;
        if alone {
            let plan = Some(plan.clone());
            *self.shared.good() = Some(Good { handler: handler.to_owned(), params: params.clone(), plan });
        }
        Ok(plan)
    }

    /// Ends all idle executors in peace. Slots in use end theirs when dropped.
    pub async fn shutdown(self) {
        let idle: Vec<Executor> = self.shared.idle().iter_mut().filter_map(|(_, executor)| executor.take()).collect();
        let prober = self.shared.prober.lock().await.take();
        futures::future::join_all(idle.into_iter().chain(prober).map(Executor::shutdown)).await;
    }

    async fn with_prober<T>(&self, ask: impl AsyncFnOnce(&mut Executor) -> Result<T>) -> Result<T> {
        let mut place = self.shared.prober.lock().await;
        // Taken out while it works: when this future is dropped in the middle, the prober goes with it.
        let mut prober = match place.take() {
            Some(prober) => prober,
            None => self.shared.start_prober().await?,
        };
        let result = ask(&mut prober).await;
        match prober.lost() {
            Some(reason) => self.shared.restarted(None, reason),
            None => *place = Some(prober),
        }
        result
    }
}

impl Shared {
    pub(super) fn device(&self, index: usize) -> &str {
        self.options.slots.get(index).map_or("cpu", |slot| &slot.device)
    }

    pub(super) fn fresh(&self) -> bool {
        self.options.fresh
    }

    pub(super) fn leak_bytes(&self) -> u64 {
        self.options.leak_mib << 20
    }

    pub(super) fn slot_dir(&self, index: usize) -> PathBuf {
        self.scratch.root().join(slot_name(index))
    }

    pub(super) fn restarted(&self, slot: Option<usize>, reason: RestartReason) {
        tracing::info!(?slot, reason = reason.as_str(), "executor replaced");
        // Nobody listens: fine.
        drop(self.restarts.send(Restart { slot, reason }));
    }

    pub(super) fn give_back(&self, index: usize, executor: Option<Executor>) {
        self.idle().push((index, executor));
    }

    /// Starts the executor of a slot.
    pub(super) async fn start(&self, index: usize) -> Result<Executor> {
        let threads = self.options.slots.get(index).map_or(0, |slot| slot.threads);
        let dir = self.scratch.executor_dir(&slot_name(index))?;
        Executor::spawn(&self.executor_options(dir, self.device(index).into(), threads)).await
    }

    async fn start_prober(&self) -> Result<Executor> {
        let dir = self.scratch.executor_dir("prober")?;
        let mut options = self.executor_options(dir, "cpu".into(), 1);
        options.read_only.push(self.scratch.jobs());
        Executor::spawn(&options).await
    }

    fn executor_options(&self, dir: PathBuf, device: String, threads: u32) -> ExecutorOptions {
        ExecutorOptions {
            binary: self.options.binary.clone(),
            dir,
            device,
            threads,
            memory_mib: self.options.memory_mib,
            registry: self.options.registry.clone(),
            engine_cache: self.options.engine_cache.clone(),
            read_only: self.options.read_only.clone(),
        }
    }

    fn idle(&self) -> MutexGuard<'_, Vec<(usize, Option<Executor>)>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn good(&self) -> MutexGuard<'_, Option<Good>> {
        self.good.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Good {
    fn is(&self, handler: &str, params: &serde_json::Value) -> bool {
        self.handler == handler && self.params == *params
    }
}

fn slot_name(index: usize) -> String {
    format!("slot-{index}")
}
