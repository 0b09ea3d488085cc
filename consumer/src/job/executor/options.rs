//! What an executor is started with, and what bounds a run.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use darkroom_api::{Descriptor, ErrorCode, JobError, Progress, Result};
use darkroom_models::RegistryConfig;
use tokio_util::sync::CancellationToken;

/// How one executor is started.
#[derive(Debug, Clone)]
pub struct ExecutorOptions {
    /// The `darkroom-executor` binary.
    pub binary: PathBuf,
    /// Its own directory: the only place, with the engine cache, where it may write.
    pub dir: PathBuf,
    /// `cpu`, `cuda:0`, ...
    pub device: String,
    /// Threads of a model; 0 leaves the choice to the executor.
    pub threads: u32,
    /// Most host memory in MiB; 0 for no limit.
    pub memory_mib: u64,
    /// Where models and libraries are.
    pub registry: RegistryConfig,
    /// Where built engines are kept between processes.
    pub engine_cache: Option<PathBuf>,
    /// What it may read besides its own directory and the models.
    pub read_only: Vec<PathBuf>,
}

/// The executor's binary: `DARKROOM_EXECUTOR` where set, else the file of that name beside this program (or, for a test
/// binary, one directory up).
///
/// # Errors
/// [`ErrorCode::RuntimeMissing`].
pub fn find_binary() -> Result<PathBuf> {
    if let Some(path) = std::env::var_os("DARKROOM_EXECUTOR").filter(|value| !value.is_empty()) {
        return Ok(PathBuf::from(path));
    }
    let name = "darkroom-executor";
    let here = std::env::current_exe().ok();
    let dirs = here.as_deref().and_then(Path::parent).into_iter().flat_map(|dir| [Some(dir), dir.parent()]).flatten();
    dirs.map(|dir| dir.join(name)).find(|path| path.is_file()).ok_or_else(|| {
        let why = "The program `darkroom-executor` is not beside `darkroom`: install both in one directory, or name it in DARKROOM_EXECUTOR.";
        JobError::new(ErrorCode::RuntimeMissing, why)
    })
}

/// What bounds one run.
#[derive(Debug, Clone)]
pub struct RunLimits {
    /// Longest time without progress, by stage.
    pub stall_secs: BTreeMap<String, f64>,
    /// The same before the first progress, and in stages without a limit of their own.
    pub first_stall_secs: f64,
    /// Longest run.
    pub run_limit_secs: f64,
    /// Time between asking a run to stop and ending its process.
    pub cancel_grace: Duration,
}

impl RunLimits {
    /// The limits of a handler's stages, or `stall_secs` for all of them; the first stage's also holds until the first
    /// progress.
    pub fn of(descriptor: &Descriptor, run_limit_secs: f64, stall_secs: Option<f64>) -> RunLimits {
        let stages = descriptor.stages.iter().map(|stage| (stage.name.clone(), stall_secs.unwrap_or(stage.stall_secs)));
        RunLimits {
            first_stall_secs: stall_secs.or(descriptor.stages.first().map(|stage| stage.stall_secs)).unwrap_or(60.0),
            stall_secs: stages.collect(),
            run_limit_secs,
            cancel_grace: Duration::from_secs(5),
        }
    }

    /// Longest time without progress in this stage.
    pub(super) fn stall(&self, stage: Option<&str>) -> Duration {
        let secs = stage.and_then(|name| self.stall_secs.get(name)).copied().unwrap_or(self.first_stall_secs);
        duration(secs)
    }

    pub(super) fn run_limit(&self) -> Duration {
        duration(self.run_limit_secs)
    }
}

/// Seconds of a configuration as a duration; what no duration can hold is as good as for ever.
fn duration(secs: f64) -> Duration {
    Duration::try_from_secs_f64(secs).unwrap_or(Duration::from_secs(u64::from(u32::MAX)))
}

/// What a run says while it goes.
#[derive(Debug, Clone, PartialEq)]
pub enum RunNote {
    /// How far it is.
    Progress(Progress),
    /// Keep this file for a later attempt. It is out of the executor's reach, and stays until the next but one.
    Checkpoint(PathBuf),
}

/// How a run is watched.
pub struct RunWatch<'a> {
    /// What bounds it.
    pub limits: RunLimits,
    /// Stops it: asked first, forced after [`RunLimits::cancel_grace`].
    pub cancel: CancellationToken,
    /// Called with what the run says; must not block for long.
    pub on_note: &'a mut (dyn FnMut(RunNote) + Send),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stall_limits_are_by_stage_and_absurd_ones_do_not_panic() {
        let limits = RunLimits {
            stall_secs: BTreeMap::from([("decode".into(), 0.5), ("encode".into(), f64::NAN)]),
            first_stall_secs: 3.0,
            run_limit_secs: f64::INFINITY,
            cancel_grace: Duration::ZERO,
        };
        assert_eq!(limits.stall(None), Duration::from_secs(3));
        assert_eq!(limits.stall(Some("decode")), Duration::from_millis(500));
        assert_eq!(limits.stall(Some("unheard of")), Duration::from_secs(3));
        assert!(limits.stall(Some("encode")) > Duration::from_secs(1 << 30));
        assert!(limits.run_limit() > Duration::from_secs(1 << 30));
    }
}
