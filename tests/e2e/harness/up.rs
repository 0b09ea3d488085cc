//! A running `darkroom up`.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus};
use std::sync::{Arc, Mutex, Weak};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tempfile::TempDir;

use super::events::Queues;
use super::{Bucket, binary, poll, wait_for};

/// What short tests need: a failed attempt is repeated at once.
const QUICK: [(&str, &str); 2] =
    [("DARKROOM__WORKER__BACKOFF_MIN_SECS", "0"), ("DARKROOM__WORKER__BACKOFF_MAX_SECS", "1")];

/// One `darkroom up` with a data directory of its own. Ended with SIGTERM when dropped.
pub(crate) struct Up {
    dir: TempDir,
    env: Vec<(String, String)>,
    child: Option<Child>,
    facts: Value,
    queues: Queues,
}

impl Up {
    /// The one that most tests share; it runs while any of them does.
    pub(crate) fn shared() -> Arc<Up> {
        static SHARED: Mutex<Weak<Up>> = Mutex::new(Weak::new());
        let mut shared = SHARED.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        shared.upgrade().unwrap_or_else(|| {
            let up = Arc::new(Up::start(&[]));
            *shared = Arc::downgrade(&up);
            up
        })
    }

    /// One of its own, with these variables.
    pub(crate) fn start(env: &[(&str, &str)]) -> Up {
        let dir = tempfile::tempdir().unwrap();
        let env: Vec<_> =
            QUICK.iter().chain(env).map(|(name, value)| (String::from(*name), String::from(*value))).collect();
        let (child, facts) = launch(dir.path(), &env);
        let queues = Queues::open(dir.path());
        Up { dir, env, child: Some(child), facts, queues }
    }

    /// One with the executor that misbehaves on demand.
    pub(crate) fn with_faults(env: &[(&str, &str)]) -> Up {
        let executor = binary("darkroom-executor-fault");
        // The handler's own half second without progress is too strict for a machine that is busy with other tests.
        let patient = [("DARKROOM_EXECUTOR", executor.to_str().unwrap()), ("DARKROOM__EXECUTOR__STALL_SECS", "10")];
        Up::start(&[&patient, env].concat())
    }

    /// The data directory.
    pub(crate) fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// What `up.json` says.
    pub(crate) fn fact(&self, name: &str) -> &str {
        self.facts[name].as_str().unwrap()
    }

    /// The bucket that is listened to.
    pub(crate) fn inbox(&self) -> Bucket {
        Bucket::of(&self.facts, "inbox")
    }

    /// Where results go.
    pub(crate) fn results(&self) -> Bucket {
        Bucket::of(&self.facts, "results")
    }

    /// Records of jobs.
    pub(crate) fn state(&self) -> Bucket {
        Bucket::of(&self.facts, "darkroom-state")
    }

    /// Any other bucket.
    pub(crate) fn bucket(&self, name: &str) -> Bucket {
        Bucket::of(&self.facts, name)
    }

    /// Queues of jobs and events.
    pub(crate) fn queues(&self) -> &Queues {
        &self.queues
    }

    /// A subcommand on this data directory, with the handlers of its worker.
    pub(crate) fn cli(&self, args: &[&str]) -> std::process::Output {
        let executor = self.env.iter().filter(|(name, _)| name == "DARKROOM_EXECUTOR").cloned();
        let command = &mut Command::new(binary("darkroom"));
        command.arg("--data-dir").arg(self.dir()).args(args).envs(executor).output().unwrap()
    }

    /// Events about an input.
    pub(crate) fn events(&self, subject: &str) -> Vec<Value> {
        self.queues.seen().into_iter().filter(|event| event["subject"] == subject).collect()
    }

    /// The first terminal event about an input.
    #[track_caller]
    pub(crate) fn event(&self, subject: &str) -> Value {
        poll(&format!("an event about {subject}\n{}", self.log_tail()), || self.events(subject).into_iter().next())
    }

    /// The event about a message, by its id.
    #[track_caller]
    pub(crate) fn event_of(&self, message_id: &str) -> Value {
        let found = |event: &Value| event["data"]["submission_id"] == message_id;
        poll(&format!("an event about message {message_id}"), || self.queues.seen().into_iter().find(found))
    }

    /// Path and query of the gateway: status and body.
    pub(crate) fn http(&self, path: &str) -> (u16, String) {
        wait_for(async {
            let answer = reqwest::get(format!("{}{path}", self.fact("gateway"))).await.unwrap();
            (answer.status().as_u16(), answer.text().await.unwrap())
        })
    }

    /// Files and directories of jobs on the scratch disk.
    pub(crate) fn scratch(&self) -> Vec<PathBuf> {
        let entries = |dir: &Path| -> Vec<PathBuf> {
            fs::read_dir(dir).into_iter().flatten().filter_map(|entry| Some(entry.ok()?.path())).collect()
        };
        // What an executor keeps for its next run: rooms, and nothing in them.
        let is_kept = |dir: &PathBuf| {
            let empty = |room: &PathBuf| room.is_dir() && entries(room).is_empty();
            dir.extension().is_some_and(|name| name == "tree") && entries(dir).iter().all(empty)
        };
        let inside = |root: &PathBuf| {
            let parts = entries(root).into_iter().filter(|part| part.is_dir());
            parts.flat_map(|part| entries(&part)).filter(|path| !is_kept(path)).collect::<Vec<_>>()
        };
        entries(&self.dir().join("scratch")).iter().flat_map(inside).collect()
    }

    /// What of it is this run's.
    pub(crate) fn scratch_of(&self, run: &str) -> Vec<PathBuf> {
        let is_its = |path: &PathBuf| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(run));
        self.scratch().into_iter().filter(is_its).collect()
    }

    /// Sends a signal to the process.
    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(self.child.as_ref().unwrap()), signal).unwrap();
    }

    /// The same, and waits for its end.
    pub(crate) fn end(&mut self, signal: Signal) -> ExitStatus {
        self.signal(signal);
        self.child.take().unwrap().wait().unwrap()
    }

    /// Starts it again on the same data.
    pub(crate) fn restart(&mut self) {
        let (child, facts) = launch(self.dir.path(), &self.env);
        (self.child, self.facts) = (Some(child), facts);
    }

    /// The last lines of its log.
    pub(crate) fn log_tail(&self) -> String {
        let log = fs::read_to_string(self.dir().join("up.log")).unwrap_or_default();
        let lines: Vec<_> = log.lines().collect();
        lines[lines.len().saturating_sub(30)..].join("\n")
    }
}

impl Drop for Up {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("== log of darkroom up ==\n{}", self.log_tail());
        }
        if let Some(mut child) = self.child.take() {
            kill_process(Pid::from_child(&child), Signal::TERM).ok();
            child.wait().ok();
        }
    }
}

fn launch(dir: &Path, env: &[(String, String)]) -> (Child, Value) {
    let facts = dir.join("up.json");
    fs::remove_file(&facts).ok();
    let log = File::options().create(true).append(true).open(dir.join("up.log")).unwrap();
    let mut command = Command::new(binary("darkroom"));
    command.arg("--data-dir").arg(dir).arg("up").envs(env.iter().cloned()).stderr(log);
    let mut child = command.spawn().unwrap();
    let text = poll("`darkroom up`", || {
        if let Some(status) = child.try_wait().unwrap() {
            panic!("`darkroom up` ended ({status}): {}", fs::read_to_string(dir.join("up.log")).unwrap());
        }
        fs::read_to_string(&facts).ok()
    });
    (child, serde_json::from_str(&text).unwrap())
}
