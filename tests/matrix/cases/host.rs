//! The worker's machine: a full disk, a clock that jumps, an orderly end in the middle of a job.

use std::fs;
use std::path::Path;

use rustix::process::Signal;
use serde_json::json;

use super::{Case, Plan, run};
use crate::check::Outcome;
use crate::ground::{Backend, Ground};
use crate::harness::Disk;
use crate::site::Site;

/// Debian's libfaketime.
const FAKETIME: &str = "/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1";

pub(super) fn all(backend: Backend) -> Vec<Case> {
    vec![
        Case::new(backend, "host/disk-full", Plan::Run(Box::new(disk_full))),
        Case::new(backend, "host/clock-forward", Plan::Run(Box::new(|ground| clock_jumps(ground, "+600s")))),
        Case::new(backend, "host/clock-back", Plan::Run(Box::new(|ground| clock_jumps(ground, "-20s")))),
        Case::new(backend, "host/told-to-stop", run(told_to_stop)),
    ]
}

/// A scratch disk that fills up in the middle of a run, and has room again later.
fn disk_full(ground: &Ground<'_>) -> Result<Outcome, String> {
    let disk = Disk::mount("96m").ok_or("this process may not mount a small disk: run as root")?;
    let scratch = disk.path().to_str().unwrap();
    let mut site = Site::new(ground, &[("DARKROOM__WORKER__SCRATCH_DIR", scratch)]);
    // A full disk is an error that passes: attempts that meet it count.
    site.allow(20);
    site.submit(3, json!({"action": "slow", "secs": 1.0}));
    site.start(1);
    site.until_said("job running", 1);
    let filler = disk.fill();
    site.until_said("scratch-full", 1);
    fs::remove_file(filler).unwrap();
    let mut outcome = site.finish();
    outcome.wrong.extend(disk.files().iter().map(|file| format!("{} is left", file.display())));
    Ok(outcome)
}

/// The wall clock of all workers jumps while jobs run; one worker dies after the jump. Back by little only: the embedded
/// queue counts by that clock, so that what a dead worker held waits longer by as much.
fn clock_jumps(ground: &Ground<'_>, jump: &str) -> Result<Outcome, String> {
    if !Path::new(FAKETIME).is_file() {
        return Err("libfaketime is missing: run infra/setup --dev".into());
    }
    let dir = tempfile::tempdir().unwrap();
    let clock = dir.path().join("clock");
    let set = |offset: &str| {
        let new = dir.path().join("new");
        fs::write(&new, offset).unwrap();
        fs::rename(&new, &clock).unwrap();
    };
    set("+0");
    let mut site = Site::new(
        ground,
        &[
            ("LD_PRELOAD", FAKETIME),
            ("FAKETIME_TIMESTAMP_FILE", clock.to_str().unwrap()),
            ("FAKETIME_NO_CACHE", "1"),
            ("FAKETIME_DONT_FAKE_MONOTONIC", "1"),
            ("FAKETIME_DONT_RESET", "1"),
        ],
    );
    site.submit(3, json!({"action": "slow", "secs": 2.0}));
    site.start(2);
    site.until_said("job running", 2);
    set(jump);
    site.until_said("lease renewed", 4);
    site.kill(0);
    site.start(1);
    Ok(site.finish())
}

/// SIGTERM twice: running jobs are handed back, and that uses up no attempt.
fn told_to_stop(ground: &Ground<'_>) -> Outcome {
    let mut site = Site::new(ground, &[]);
    site.submit(3, json!({"action": "slow", "secs": 2.0}));
    site.start(1);
    site.until_said("job running", 1);
    let worker = site.workers.remove(0);
    worker.signal(Signal::TERM);
    site.until_said("draining", 1);
    assert!(worker.end(Signal::TERM).success());
    site.start(1);
    site.finish()
}
