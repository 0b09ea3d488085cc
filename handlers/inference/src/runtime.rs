//! The library, the device, and the sessions made with them.

use std::collections::HashSet;
use std::num::NonZero;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use darkroom_api::{ErrorCode, JobError, Result};
use darkroom_models::{Registry, ResolvedModel};
use ort::environment::Environment;
use ort::ep::{self, ArenaExtendStrategy, ExecutionProviderDispatch};
use ort::logging::LogLevel;
use ort::session::Session;
use ort::session::builder::{AutoDevicePolicy, SessionBuilder};

use crate::device::{Device, DeviceChoice, driver_present, leaves_visible};
use crate::graph;
use crate::job_error;
use crate::pool::{Key, Pool, PooledSession};
use crate::winograd;
use crate::{Edit, TensorInfo};

/// Name of the library in the registry.
const LIBRARY: &str = "onnxruntime";

/// The edit that puts convolutions of our own into a model.
const OWN: &str = "own convolutions";

/// Parts that a thread's share of an operation is cut into: cores are shared with decoding and encoding, and whoever is
/// not interrupted takes more of them. Measured with RVM in one session of 2 threads: 3 to 8 % more frames a second.
const BLOCKS_A_THREAD: u32 = 8;

/// ONNX Runtime keeps one list of operators' domains for the whole process, and looks whether ours is in it before it adds it:
/// of two sessions that are loaded at the same moment one would fail.
static LOADING: Mutex<()> = Mutex::new(());
/// One environment a process, whatever the number of [`Runtime`]s: ONNX Runtime allows no more.
static ENVIRONMENT: Mutex<Option<Environment>> = Mutex::new(None);

/// How a model computes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum Precision {
    /// As the file says.
    #[default]
    Full,
    /// Half precision where the device is faster with it (TensorRT); as the file says elsewhere.
    Half,
}

/// How a session is set up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Setup {
    /// How the model computes.
    pub precision: Precision,
    /// Threads of one call on the CPU: several sessions of one thread, each with a picture of its own, do not wait for one
    /// another in each operation.
    pub threads: usize,
    /// Whether, on a CPU, [`Graph::own_convolutions`](crate::Graph::own_convolutions) is applied where it fits the model.
    pub own_convolutions: bool,
}

/// What a [`Runtime`] needs.
#[derive(Debug, Clone)]
pub struct RuntimeOptions {
    /// Where models and the library are.
    pub registry: Arc<Registry>,
    /// Where to run.
    pub device: DeviceChoice,
    /// Threads of one call on the CPU; `None`: `OMP_NUM_THREADS`, else the cores this process may use.
    pub intra_threads: Option<NonZero<usize>>,
    /// Where TensorRT keeps the engines it builds; `None`: built anew in each process.
    pub engine_cache: Option<PathBuf>,
}

impl RuntimeOptions {
    /// Automatic device and threads.
    pub fn new(registry: Arc<Registry>) -> RuntimeOptions {
        RuntimeOptions { registry, device: DeviceChoice::Auto, intra_threads: None, engine_cache: None }
    }
}

/// Makes sessions and keeps them warm. Nothing is loaded before the first use.
#[derive(Debug)]
pub struct Runtime {
    options: RuntimeOptions,
    device: OnceLock<Device>,
    /// What sessions with convolutions of our own share.
    convolutions: Arc<winograd::Shared>,
    /// Models, by their sha256, that run without.
    unfit: Mutex<HashSet<String>>,
    pool: Pool,
}

impl Runtime {
    /// A runtime; loads nothing yet.
    pub fn new(options: RuntimeOptions) -> Runtime {
        Runtime {
            options,
            device: OnceLock::new(),
            convolutions: Arc::default(),
            unfit: Mutex::default(),
            pool: Pool::default(),
        }
    }

    /// The model registry.
    pub fn registry(&self) -> &Registry {
        &self.options.registry
    }

    /// The device that sessions run on; loads the library to find out.
    ///
    /// # Errors
    /// [`ErrorCode::RuntimeMissing`] without the library, or where the device that was asked for cannot be used.
    pub fn device(&self) -> Result<Device> {
        if let Some(device) = self.device.get() {
            return Ok(*device);
        }
        let device = self.choose(&self.environment()?)?;
        tracing::info!(%device, threads = self.intra_threads(), "inference device");
        Ok(*self.device.get_or_init(|| device))
    }

    /// Whether sessions will, as far as can be told without loading anything, run on something else than the CPU.
    pub fn expects_accelerator(&self) -> bool {
        match (self.device.get().copied(), self.options.device) {
            (Some(device), _) | (None, DeviceChoice::Fixed(device)) => device != Device::Cpu,
            (None, DeviceChoice::Auto) => {
                driver_present() && leaves_visible(std::env::var("CUDA_VISIBLE_DEVICES").ok().as_deref(), 0)
            }
        }
    }

    /// Threads of one call on the CPU.
    pub fn intra_threads(&self) -> usize {
        let from_env = || omp_threads(&std::env::var("OMP_NUM_THREADS").ok()?);
        let cores = || std::thread::available_parallelism().map_or(1, NonZero::get);
        self.options.intra_threads.or_else(from_env).map_or_else(cores, NonZero::get)
    }

    /// Sessions without work.
    pub fn idle_sessions(&self) -> usize {
        self.pool.idle()
    }

    /// Frees the sessions without work, and their memory.
    pub fn release_idle(&self) {
        self.pool.clear();
    }

    /// Frees the idle sessions of all other models.
    ///
    /// # Errors
    /// As the registry's, for a name that it does not know.
    pub fn release_others(&self, name: &str) -> Result<()> {
        self.pool.keep(&self.options.registry.resolve(name)?.sha256);
        Ok(())
    }

    /// A session for a model of the registry: a warm one where there is one, else a new one.
    ///
    /// # Errors
    /// [`ErrorCode::ModelMissing`] and [`ErrorCode::RuntimeMissing`] with the command to run,
    /// [`ErrorCode::ModelInvalid`] for a file that ONNX Runtime does not accept, [`ErrorCode::OutOfMemory`].
    pub fn session(&self, name: &str, precision: Precision) -> Result<PooledSession<'_>> {
        self.session_with(name, Setup { precision, threads: self.intra_threads(), own_convolutions: false })
    }

    /// The same, set up in another way.
    ///
    /// # Errors
    /// As [`Runtime::session`].
    pub fn session_with(&self, name: &str, setup: Setup) -> Result<PooledSession<'_>> {
        self.open(name, setup, |key| self.pool.take(key))
    }

    /// A session that has done nothing yet, to find out what a model needs.
    ///
    /// # Errors
    /// As [`Runtime::session`].
    pub fn fresh_session(&self, name: &str, setup: Setup) -> Result<PooledSession<'_>> {
        self.open(name, setup, |_| None)
    }

    fn open(&self, name: &str, setup: Setup, warm: impl Fn(&Key) -> Option<Session>) -> Result<PooledSession<'_>> {
        let Setup { precision, threads, own_convolutions } = setup;
        if own_convolutions
            && winograd::is_there()
            && self.device()? == Device::Cpu
            && let Some(session) = self.open_own(name, precision, threads, &warm)?
        {
            return Ok(session);
        }
        let (model, key) = self.key(name, precision, None, threads)?;
        let session = match warm(&key) {
            Some(session) => session,
            None => self.load(&model, &key, |mut builder: SessionBuilder| builder.commit_from_file(&model.path))?,
        };
        Ok(PooledSession::new(&self.pool, key, session, name.to_owned()))
    }

    /// With convolutions of our own; `None` for a model that they do not fit, or that ONNX Runtime does not take with them.
    fn open_own(
        &self,
        name: &str,
        precision: Precision,
        threads: usize,
        warm: impl Fn(&Key) -> Option<Session>,
    ) -> Result<Option<PooledSession<'_>>> {
        let sha256 = self.options.registry.resolve(name)?.sha256;
        let unfit = || self.unfit.lock().unwrap_or_else(PoisonError::into_inner);
        if unfit().contains(&sha256) {
            return Ok(None);
        }
        let edit = Edit { name: OWN, threads: Some(threads), apply: &graph::Graph::own_convolutions };
        let why = match self.open_edited(name, precision, edit, warm) {
            // Of what our operator makes ONNX Runtime infers no shape: that of a result must stand in the file.
            Ok(Some(session)) if session.outputs().iter().all(|output| !TensorInfo::from(output).dims.is_empty()) => {
                return Ok(Some(session));
            }
            Ok(Some(session)) => {
                session.discard();
                "its file does not tell the shapes of its results".to_owned()
            }
            Ok(None) => "it has none that we compute".to_owned(),
            Err(error) if [ErrorCode::ModelInvalid, ErrorCode::Internal].contains(&error.code) => error.to_string(),
            Err(error) => return Err(error),
        };
        tracing::debug!(name, why, "the model runs with ONNX Runtime's convolutions");
        unfit().insert(sha256);
        Ok(None)
    }

    /// [`Runtime::session`] for a model with a change; `None` where the change does not fit it.
    ///
    /// # Errors
    /// As [`Runtime::session`].
    pub fn edited_session(
        &self,
        name: &str,
        precision: Precision,
        edit: Edit<'_>,
    ) -> Result<Option<PooledSession<'_>>> {
        self.open_edited(name, precision, edit, |key| self.pool.take(key))
    }

    fn open_edited(
        &self,
        name: &str,
        precision: Precision,
        edit: Edit<'_>,
        warm: impl Fn(&Key) -> Option<Session>,
    ) -> Result<Option<PooledSession<'_>>> {
        let threads = edit.threads.unwrap_or_else(|| self.intra_threads());
        let (model, key) = self.key(name, precision, Some(edit.name), threads)?;
        let session = match warm(&key) {
            Some(session) => session,
            None => {
                // A file that cannot be read has its error told by ONNX Runtime.
                let edited = std::fs::read(&model.path).ok().and_then(|file| graph::edited(&file, edit));
                let Some(bytes) = edited else { return Ok(None) };
                self.load(&model, &key, |mut builder| builder.commit_from_memory(&bytes))?
            }
        };
        Ok(Some(PooledSession::new(&self.pool, key, session, name.to_owned())))
    }

    fn key(
        &self,
        name: &str,
        precision: Precision,
        edit: Option<&'static str>,
        threads: usize,
    ) -> Result<(ResolvedModel, Key)> {
        let model = self.options.registry.resolve(name)?;
        let key = Key { sha256: model.sha256.clone(), device: self.device()?, precision, edit, threads };
        Ok((model, key))
    }

    fn load(
        &self,
        model: &ResolvedModel,
        key: &Key,
        commit: impl FnOnce(SessionBuilder) -> ort::Result<Session>,
    ) -> Result<Session> {
        let own = key.edit == Some(OWN);
        let _alone = own.then(|| LOADING.lock().unwrap_or_else(PoisonError::into_inner));
        let builder = self.builder(&self.environment()?, key.device, key.precision, key.threads);
        let with_own = |builder: SessionBuilder| {
            let domain = own.then(|| winograd::domain(&self.convolutions, &key.sha256)).transpose()?;
            Ok(match domain {
                Some(domain) => builder.with_operators(domain)?,
                None => builder,
            })
        };
        builder
            .and_then(with_own)
            .and_then(commit)
            .map_err(|e| job_error(&format!("loading the model `{}`", model.name), &e))
    }

    fn builder(
        &self,
        environment: &Environment,
        device: Device,
        precision: Precision,
        threads: usize,
    ) -> ort::Result<SessionBuilder> {
        Ok(Session::builder(environment)?
            .with_auto_device(AutoDevicePolicy::PreferCPU)?
            .with_intra_threads(threads)?
            .with_inter_threads(1)?
            .with_intra_op_spinning(false)?
            .with_inter_op_spinning(false)?
            .with_dynamic_block_base(BLOCKS_A_THREAD)?
            .with_memory_pattern(false)?
            .with_log_level(LogLevel::Warning)?
            .with_execution_providers(self.providers(device, precision))?)
    }

    fn providers(&self, device: Device, precision: Precision) -> Vec<ExecutionProviderDispatch> {
        let cuda = |index: u32| {
            let cuda = ep::CUDA::default().with_device_id(index.cast_signed());
            cuda.with_arena_extend_strategy(ArenaExtendStrategy::SameAsRequested).build().error_on_failure()
        };
        match device {
            Device::Cpu => Vec::new(),
            Device::Cuda { index } => vec![cuda(index)],
            Device::TensorRt { index } => {
                let mut tensorrt = ep::TensorRT::default().with_device_id(index.cast_signed());
                tensorrt = tensorrt.with_fp16(precision == Precision::Half);
                if let Some(path) = &self.options.engine_cache {
                    tensorrt = tensorrt.with_engine_cache(true).with_engine_cache_path(path.display());
                }
                vec![tensorrt.build().error_on_failure(), cuda(index)]
            }
        }
    }

    fn choose(&self, environment: &Environment) -> Result<Device> {
        let visible = std::env::var("CUDA_VISIBLE_DEVICES").ok();
        let usable = |device| self.builder(environment, device, Precision::Full, 1).map(drop);
        match self.options.device {
            DeviceChoice::Fixed(Device::Cpu) => Ok(Device::Cpu),
            DeviceChoice::Fixed(device @ (Device::Cuda { index } | Device::TensorRt { index })) => {
                if !leaves_visible(visible.as_deref(), index) {
                    let why = format!("CUDA_VISIBLE_DEVICES hides the device `{device}`: correct one of the two.");
                    return Err(JobError::new(ErrorCode::RuntimeMissing, why));
                }
                usable(device).map_err(|e| unusable_device(device, &e)).map(|()| device)
            }
            DeviceChoice::Auto => {
                let cuda = Device::Cuda { index: 0 };
                if !driver_present() || !leaves_visible(visible.as_deref(), 0) {
                    return Ok(Device::Cpu);
                }
                Ok(match usable(cuda) {
                    Ok(()) => cuda,
                    Err(error) => {
                        tracing::warn!(%error, "an NVIDIA device is there but ONNX Runtime cannot use it: using the CPU");
                        Device::Cpu
                    }
                })
            }
        }
    }

    /// The environment, made at the first call of the process. A runtime made later shares it, its library included.
    fn environment(&self) -> Result<Environment> {
        let mut shared = ENVIRONMENT.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(environment) = &*shared {
            return Ok(environment.clone());
        }
        let library = self.options.registry.resolve(LIBRARY)?;
        let unusable = |why: String| {
            let remedy = "run `darkroom models fetch onnxruntime`, or correct `onnxruntime` in `models.custom`";
            tracing::error!(%why, "ONNX Runtime cannot be loaded");
            JobError::new(ErrorCode::RuntimeMissing, format!("The ONNX Runtime library cannot be loaded: {remedy}."))
                .with_detail(serde_json::json!({ "onnxruntime": why }))
        };
        let builder = ort::init_from(&library.path).map_err(|e| unusable(e.to_string()))?;
        let environment =
            builder.with_name("darkroom").with_telemetry(false).build().map_err(|e| unusable(e.to_string()))?;
        environment.set_log_level(LogLevel::Warning);
        Ok(shared.insert(environment).clone())
    }
}

/// The first number of `OMP_NUM_THREADS`: the others are for nested regions, of which there are none.
fn omp_threads(list: &str) -> Option<NonZero<usize>> {
    list.split(',').next()?.trim().parse().ok()
}

fn unusable_device(device: Device, error: &ort::Error) -> JobError {
    let message = format!(
        "ONNX Runtime cannot use the device `{device}`: install the onnxruntime-gpu wheel with its CUDA libraries, register its \
         libonnxruntime.so as `onnxruntime` in `models.custom`, or choose the device `cpu`."
    );
    JobError::new(ErrorCode::RuntimeMissing, message).with_detail(serde_json::json!({ "onnxruntime": error.message() }))
}

#[cfg(test)]
mod tests;
