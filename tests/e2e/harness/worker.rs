//! `darkroom work` with a configuration file of its own.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Output};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tempfile::TempDir;

use super::{Queues, binary, poll};

/// A directory with a configuration, for any number of workers; their log and their scratch lie there too.
pub(crate) struct Workplace {
    dir: TempDir,
    env: Vec<(String, String)>,
}

impl Workplace {
    /// `env` holds what is no configuration, or belongs in no file.
    pub(crate) fn new(env: &[(&str, &str)]) -> Workplace {
        let env = env.iter().map(|(name, value)| (String::from(*name), String::from(*value))).collect();
        Workplace { dir: tempfile::tempdir().unwrap(), env }
    }

    /// Writes the configuration, which begins outside of tables; a directory for scratch is added.
    pub(crate) fn configure(&self, text: &str) {
        let text = format!("worker.scratch_dir = {:?}\n{text}", self.path("scratch"));
        fs::write(self.path("worker.toml"), text).unwrap();
    }

    /// A file of it.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// A subcommand with its configuration.
    pub(crate) fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(binary("darkroom"));
        command.arg("--config").arg(self.path("worker.toml")).args(args).envs(self.env.iter().cloned());
        command
    }

    /// The same, run to its end.
    pub(crate) fn cli(&self, args: &[&str]) -> Output {
        self.command(args).output().unwrap()
    }

    /// A worker, with these variables too.
    pub(crate) fn start<V: AsRef<OsStr>>(&self, env: &[(&str, V)]) -> Running {
        let log = File::options().create(true).append(true).open(self.path("work.log")).unwrap();
        let env = env.iter().map(|(name, value)| (*name, value.as_ref()));
        Running(self.command(&["work"]).envs(env).stderr(log).spawn().unwrap())
    }

    /// What its workers have said.
    pub(crate) fn log(&self) -> String {
        String::from_utf8_lossy(&fs::read(self.path("work.log")).unwrap_or_default()).into_owned()
    }
}

impl Drop for Workplace {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let log = self.log();
            let lines: Vec<_> = log.lines().collect();
            eprintln!("== log of darkroom work ==\n{}", lines[lines.len().saturating_sub(100)..].join("\n"));
        }
    }
}

/// A worker that was started; killed when dropped.
pub(crate) struct Running(Child);

impl Running {
    /// Sends a signal.
    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.0), signal).unwrap();
    }

    /// The same, and waits for the end.
    pub(crate) fn end(mut self, signal: Signal) -> ExitStatus {
        self.signal(signal);
        self.0.wait().unwrap()
    }

    /// How it ended, if it has.
    pub(crate) fn ended(&mut self) -> Option<ExitStatus> {
        self.0.try_wait().unwrap()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

/// One worker at a time, and its events.
pub(crate) struct Worker {
    running: Option<Running>,
    place: Workplace,
    events: Queues,
}

impl Worker {
    /// Not started yet. `env` as in [`Workplace::new`].
    pub(crate) fn new(env: &[(&str, &str)]) -> Worker {
        let place = Workplace::new(env);
        Worker { events: Queues::open(place.dir.path()), place, running: None }
    }

    /// As [`Workplace::configure`]; its sink is added.
    pub(crate) fn configure(&self, text: &str) {
        let sink = "[[sinks]]\nkind = \"queue\"\nrequired = true\ntypes = [\"completed\", \"failed\", \"cancelled\"]";
        self.place.configure(&format!("{text}{sink}\npath = {:?}\n", self.place.path("darkroom.sqlite")));
    }

    /// A file in its directory.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.place.path(name)
    }

    /// A subcommand with its configuration.
    pub(crate) fn cli(&self, args: &[&str]) -> Output {
        self.place.cli(args)
    }

    pub(crate) fn start(&mut self) {
        self.running = Some(self.place.start::<&str>(&[]));
    }

    /// Sends a signal, and waits for the end.
    pub(crate) fn end(&mut self, signal: Signal) -> ExitStatus {
        self.running.take().unwrap().end(signal)
    }

    /// Waits for the end that it comes to by itself.
    pub(crate) fn ended(&mut self) -> ExitStatus {
        let mut running = self.running.take().unwrap();
        running.0.wait().unwrap()
    }

    /// What it has logged so far.
    pub(crate) fn log(&self) -> String {
        self.place.log()
    }

    /// Queues in the file of its events, `darkroom.sqlite`.
    pub(crate) fn queues(&self) -> &Queues {
        &self.events
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
