//! A scratch disk that is really full, in the middle of a run.

use std::fs;
use std::path::PathBuf;

use serde_json::Value;

use crate::harness::{Disk, Up, poll, stdout};
use crate::once::{job_in, slow};

#[test]
fn a_run_that_finds_the_disk_full_comes_again_when_there_is_room() {
    let Some(disk) = Disk::mount("96m") else {
        eprintln!("SKIPPED: this process may not mount a small disk, so a full one was not tried (run as root)");
        return;
    };
    let scratch = ("DARKROOM__WORKER__SCRATCH_DIR", disk.path().to_str().unwrap());
    let mut up = Up::with_faults(&[scratch, ("DARKROOM__WORKER__MAX_ATTEMPTS", "100")]);
    let input = slow(&up, "full.wav", 1.0);
    let job = job_in(&up, &input, "running");
    let filler = disk.fill();

    let first_end = poll("the end of the first attempt", || {
        let shown: Value = serde_json::from_str(&stdout(&up.cli(&["--json", "jobs", "show", &job]))).unwrap();
        Some(shown["ends"].get(0)?.clone())
    });
    assert_eq!(first_end["error"]["code"], "scratch-full", "{first_end:#}");
    assert_eq!(first_end["outcome"], "failed", "{first_end:#}");
    poll("an empty scratch disk", || disk.files().is_empty().then_some(()));
    assert_eq!(up.http("/livez").0, 200);
    assert_eq!(up.events(&input), Vec::<Value>::new(), "nothing is given up");

    fs::remove_file(filler).unwrap();
    let event = up.event(&input);
    assert_eq!(event["type"], "dev.darkroom.job.completed.v1", "{event:#}");
    assert_eq!(disk.files(), Vec::<PathBuf>::new());
    assert!(up.end(rustix::process::Signal::TERM).success());
}
