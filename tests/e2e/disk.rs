//! A scratch disk that is really full, in the middle of a run.

use std::fs::{self, File};
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;
use tempfile::TempDir;

use crate::harness::{Up, poll, stdout};
use crate::once::{job_in, slow};

/// A small disk of its own; gone when dropped.
struct Disk(TempDir);

impl Disk {
    /// None where this process may not mount.
    fn mount(size: &str) -> Option<Disk> {
        let dir = tempfile::tempdir().unwrap();
        let mut command = Command::new("mount");
        let mount = command.args(["-t", "tmpfs", "-o", &format!("size={size}"), "tmpfs"]).arg(dir.path());
        mount.status().is_ok_and(|status| status.success()).then(|| Disk(dir))
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    /// Writes until nothing more goes.
    fn fill(&self) -> PathBuf {
        let path = self.path().join("filler");
        let mut file = File::create(&path).unwrap();
        let full = std::iter::repeat_with(|| file.write_all(&[1; 4096])).find_map(Result::err).unwrap();
        assert_eq!(full.kind(), ErrorKind::StorageFull);
        path
    }

    /// Files of jobs: all but the filler and the worker's lock.
    fn files(&self) -> Vec<PathBuf> {
        let mut found = Vec::new();
        let mut dirs = vec![self.path().to_owned()];
        while let Some(dir) = dirs.pop() {
            for path in fs::read_dir(dir).into_iter().flatten().map(|entry| entry.unwrap().path()) {
                if path.is_dir() {
                    dirs.push(path);
                } else if !["filler", "lock", ".lock"].iter().any(|name| path.ends_with(name)) {
                    found.push(path);
                }
            }
        }
        found
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        Command::new("umount").arg("--lazy").arg(self.path()).status().ok();
    }
}

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
