//! A `darkroom work` with a configuration file of its own.

use std::fs::{self, File};
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Output};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tempfile::TempDir;

use super::{Queues, binary, poll};

/// A directory with the configuration and the events, and the process that was started last.
pub(crate) struct Worker {
    dir: TempDir,
    env: Vec<(&'static str, String)>,
    events: Queues,
    child: Option<Child>,
}

impl Worker {
    /// Not started yet. `env` holds what is no configuration, or belongs in no file.
    pub(crate) fn new(env: &[(&'static str, &str)]) -> Worker {
        let dir = tempfile::tempdir().unwrap();
        let env = env.iter().map(|(name, value)| (*name, String::from(*value))).collect();
        Worker { events: Queues::open(dir.path()), env, dir, child: None }
    }

    /// Writes its configuration, which begins outside of tables; its own directory for scratch, and its sink, are added.
    pub(crate) fn configure(&self, text: &str) {
        let (scratch, events) = (self.path("scratch"), self.path("darkroom.sqlite"));
        let sink = "[[sinks]]\nkind = \"queue\"\nrequired = true\ntypes = [\"completed\", \"failed\", \"cancelled\"]";
        let text = format!("worker.scratch_dir = {scratch:?}\n{text}{sink}\npath = {events:?}\n");
        fs::write(self.path("worker.toml"), text).unwrap();
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(binary("darkroom"));
        command.arg("--config").arg(self.path("worker.toml")).args(args).envs(self.env.iter().cloned());
        command
    }

    /// A subcommand with its configuration.
    pub(crate) fn cli(&self, args: &[&str]) -> Output {
        self.command(args).output().unwrap()
    }

    pub(crate) fn start(&mut self) {
        let log = File::options().create(true).append(true).open(self.path("work.log")).unwrap();
        self.child = Some(self.command(&["work"]).stderr(log).spawn().unwrap());
    }

    /// Sends a signal, and waits for the end.
    pub(crate) fn end(&mut self, signal: Signal) -> ExitStatus {
        kill_process(Pid::from_child(self.child.as_ref().unwrap()), signal).unwrap();
        self.ended()
    }

    /// Waits for the end that it comes to by itself.
    pub(crate) fn ended(&mut self) -> ExitStatus {
        self.child.take().unwrap().wait().unwrap()
    }

    /// What it has logged so far.
    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.path("work.log")).unwrap_or_default()
    }

    /// All events until now.
    pub(crate) fn events(&self) -> Vec<Value> {
        self.events.seen()
    }

    /// The first event about an input.
    #[track_caller]
    pub(crate) fn event(&self, subject: &str) -> Value {
        let seen = || self.events().into_iter().find(|event| event["subject"] == subject);
        poll(&format!("an event about {subject}"), seen)
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("== log of darkroom work ==\n{}", self.log());
        }
        if let Some(mut child) = self.child.take() {
            child.kill().ok();
            child.wait().ok();
        }
    }
}
