//! Real executors that misbehave, each in its own way, and what the consumer makes of it.
//!
//! They need `darkroom-executor-fault`: `cargo build -p darkroom-executor --features fault-injection`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use darkroom_api::{ErrorCode, Inputs, JobError, Limits, Result};
use darkroom_models::RegistryConfig;
use rustix::process::{Pid, Signal, kill_process, test_kill_process};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use super::*;

mod faults;
mod lifetime;
mod matting;
mod recovery;

/// The executor with the `fault` handler: named by `DARKROOM_EXECUTOR_FAULT`, else beside the test binary's directory.
fn binary() -> PathBuf {
    let beside = || std::env::current_exe().unwrap().ancestors().nth(2).unwrap().join("darkroom-executor-fault");
    let path = std::env::var_os("DARKROOM_EXECUTOR_FAULT").map_or_else(beside, PathBuf::from);
    let build = "cargo build -p darkroom-executor --features fault-injection";
    assert!(path.is_file(), "{} is missing: run `{build}`, or name it in DARKROOM_EXECUTOR_FAULT", path.display());
    path
}

/// A pool of real executors over a scratch directory of its own.
struct Lab {
    dir: tempfile::TempDir,
    pool: Pool,
}

impl Lab {
    async fn new() -> Lab {
        Lab::with(|_| ()).await
    }

    async fn with(tweak: impl FnOnce(&mut PoolOptions)) -> Lab {
        let dir = tempfile::tempdir().unwrap();
        let mut options = PoolOptions {
            binary: binary(),
            scratch_dir: dir.path().join("scratch"),
            slots: vec![SlotOptions { device: "cpu".into(), threads: 1 }],
            memory_mib: 400,
            leak_mib: 0,
            fresh: false,
            registry: RegistryConfig { dir: Some(dir.path().join("models")), ..RegistryConfig::default() },
            engine_cache: None,
            read_only: vec![],
        };
        tweak(&mut options);
        Lab { pool: Pool::open(options).await.unwrap(), dir }
    }

    /// One run of the fault handler on a small file.
    async fn run(&self, params: Value) -> Result<RunResult> {
        let mut slot = self.pool.acquire().await;
        self.run_in(&mut slot, "run", params, Watch::default()).await
    }

    async fn run_in(&self, slot: &mut Slot, name: &str, params: Value, mut watch: Watch) -> Result<RunResult> {
        let job = self.pool.job_scratch(name)?;
        let clip = job.input("clip");
        std::fs::write(&clip, "twelve bytes").unwrap();
        let outside = self.dir.path().join("outside");
        std::fs::write(&outside, "secret").unwrap();
        let roles = [("video".to_owned(), vec![clip]), ("outside".to_owned(), vec![outside])];
        let order = RunOrder { handler: "fault".into(), params, inputs: Inputs(roles.into()), resume: None };
        let (limits, cancel) = (watch.limits.clone(), watch.cancel.clone());
        let mut on_note = |note| (watch.on_note)(note);
        let result = slot.run(&job, order, RunWatch { limits, cancel, on_note: &mut on_note }).await?;
        for file in &result.files {
            assert!(
                file.path.starts_with(self.pool.scratch().jobs()) && file.path.is_file(),
                "{}",
                file.path.display()
            );
        }
        Ok(result)
    }

    /// The code of a run that must fail.
    async fn fails(&self, params: Value) -> JobError {
        self.run(params).await.expect_err("the fault handler was to fail")
    }
}

/// Patient limits, nobody listening.
struct Watch {
    limits: RunLimits,
    cancel: CancellationToken,
    on_note: Box<dyn FnMut(RunNote) + Send>,
}

impl Default for Watch {
    fn default() -> Self {
        let limits = RunLimits {
            stall_secs: BTreeMap::new(),
            first_stall_secs: 20.0,
            run_limit_secs: 60.0,
            cancel_grace: Duration::from_secs(10),
        };
        Watch { limits, cancel: CancellationToken::new(), on_note: Box::new(|_| ()) }
    }
}

fn metric(result: &RunResult, name: &str) -> Value {
    result.outputs.metrics[name].clone()
}

fn pid(number: u32) -> Pid {
    Pid::from_raw(i32::try_from(number).unwrap()).unwrap()
}

/// Waits until a process is gone; the parent of an orphan is init, which reaps in its own time.
fn wait_gone(number: u32) {
    let start = Instant::now();
    let alive = || {
        let state = std::fs::read_to_string(format!("/proc/{number}/stat")).unwrap_or_default();
        // The state follows the name in brackets.
        test_kill_process(pid(number)).is_ok() && !state.rsplit(") ").next().unwrap_or("").starts_with('Z')
    };
    while alive() {
        assert!(start.elapsed() < Duration::from_secs(10), "process {number} still lives");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// All files and directories below a directory.
fn tree(dir: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    entries
        .flat_map(|path| if path.is_dir() { [vec![path.clone()], tree(&path)].concat() } else { vec![path] })
        .collect()
}
