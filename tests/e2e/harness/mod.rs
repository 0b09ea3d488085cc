//! What the tests share: a running `darkroom up`, its buckets and events, clips, and the command line.

#![allow(dead_code, unused_imports, reason = "shared with the fault matrix: neither binary needs all of it")]

mod aws;
mod bucket;
mod disk;
mod events;
mod gate;
mod host;
pub(crate) mod media;
mod metadata;
mod up;
mod worker;

use std::path::PathBuf;
use std::process::{Command, Output};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use serde_json::Value;
use tokio::runtime::Runtime;

pub(crate) use aws::{Aws, Emulator};
pub(crate) use bucket::Bucket;
pub(crate) use disk::Disk;
pub(crate) use events::Queues;
pub(crate) use gate::Gate;
pub(crate) use host::Host;
pub(crate) use metadata::Metadata;
pub(crate) use up::Up;
pub(crate) use worker::{Running, Worker, Workplace};

/// What one job may take on a busy machine. Nothing waits this long when all is well.
pub(crate) const PATIENCE: Duration = Duration::from_secs(90);

/// A binary built beside this test's.
pub(crate) fn binary(name: &str) -> PathBuf {
    let path = std::env::current_exe().unwrap().ancestors().nth(2).unwrap().join(name);
    let build = "cargo build -p darkroom -p darkroom-executor --features fault-injection";
    assert!(path.is_file(), "{} is missing: run `{build}`", path.display());
    path
}

/// The runtime on which the harness talks to queue and buckets, so that tests read from top to bottom.
pub(crate) fn wait_for<T>(work: impl Future<Output = T>) -> T {
    static RUNTIME: OnceLock<Runtime> = OnceLock::new();
    RUNTIME.get_or_init(|| Runtime::new().unwrap()).block_on(work)
}

/// Looks until there is something.
#[track_caller]
pub(crate) fn poll<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(start.elapsed() < PATIENCE, "waited {} s for {what}", PATIENCE.as_secs());
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// `darkroom` with these arguments.
pub(crate) fn darkroom(args: &[&str]) -> Output {
    Command::new(binary("darkroom")).args(args).output().unwrap()
}

/// Standard output of a command that must succeed.
#[track_caller]
pub(crate) fn stdout(output: &Output) -> String {
    assert!(output.status.success(), "{}: {}", output.status, String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout.clone()).unwrap()
}

/// Each line as JSON.
#[track_caller]
pub(crate) fn json_lines(text: &str) -> Vec<Value> {
    text.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}"))).collect()
}
