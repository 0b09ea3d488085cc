//! `darkroom doctor`: what is here, what is missing, and what to do about it.

use std::path::Path;

use darkroom_models::Status;
use serde_json::{Value, json};

use crate::config::Config;
use crate::job::executor;

use super::{Failure, Global, open, print_line};

/// Free space below which jobs will soon fail.
const LOW_DISK_BYTES: u64 = 2 << 30;

/// One finding.
struct Finding {
    what: String,
    state: State,
    detail: String,
    remedy: Option<String>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Good,
    /// Works, with less than there could be.
    Less,
    /// Jobs will fail.
    Bad,
}

impl State {
    fn word(self) -> &'static str {
        match self {
            State::Good => "ok",
            State::Less => "note",
            State::Bad => "BAD",
        }
    }
}

#[derive(Default)]
struct Report(Vec<Finding>);

impl Report {
    fn add(&mut self, state: State, what: &str, detail: impl Into<String>, remedy: Option<&str>) {
        let remedy = remedy.filter(|_| state != State::Good).map(ToOwned::to_owned);
        self.0.push(Finding { what: what.into(), state, detail: detail.into(), remedy });
    }

    /// Good if so, else as bad as said.
    fn check(&mut self, good: bool, otherwise: State, what: &str, detail: impl Into<String>, remedy: &str) {
        self.add(if good { State::Good } else { otherwise }, what, detail, Some(remedy));
    }
}

pub(crate) async fn doctor(global: &Global) -> Result<(), Failure> {
    let mut report = Report::default();
    let config = match global.config() {
        Ok(config) => config,
        Err(failure) => {
            let why = failure.explain().1;
            report.add(State::Bad, "configuration", why, Some("correct it; infra/config.example.toml shows every key"));
            Config::default()
        }
    };
    executor_findings(&mut report, &config).await;
    model_findings(&mut report, &config);
    disk_finding(&mut report, &config.worker.scratch_dir);
    if !config.stores.is_empty() {
        service_findings(&mut report, &config).await;
    }
    show(global, &report)
}

async fn executor_findings(report: &mut Report, config: &Config) {
    let binary = match config.executor.binary.clone().map_or_else(executor::find_binary, Ok) {
        Ok(binary) => binary,
        Err(error) => {
            return report.add(
                State::Bad,
                "executor",
                error.message,
                Some("build it: infra/setup, then cargo build --release"),
            );
        }
    };
    let found = match executor::doctor(&binary, &config.models).await {
        Ok(found) => found,
        Err(error) => {
            return report.add(State::Bad, "executor", error.message, Some("run infra/setup: libraries are missing"));
        }
    };
    report.add(State::Good, "executor", format!("{} {}", binary.display(), text(&found["version"])), None);
    let ffmpeg = &found["ffmpeg"];
    report.add(
        State::Good,
        "ffmpeg",
        format!("libavformat {}, {}", text(&ffmpeg["libavformat"]), text(&ffmpeg["licence"])),
        None,
    );
    for kind in ["decoders", "encoders"] {
        let (here, missing) = split(&ffmpeg[kind]);
        // Hardware encoders are in the list where the library has them, whether or not there is a device.
        let needed = missing.iter().any(|name| !name.contains("nvenc"));
        let detail = if missing.is_empty() {
            here.join(" ")
        } else {
            format!("{}; missing: {}", here.join(" "), missing.join(" "))
        };
        report.check(!needed, State::Less, kind, detail, "install an FFmpeg that has them");
    }
    let ort = &found["onnxruntime"];
    let detail = match ort["error"].as_str() {
        Some(error) => error.to_owned(),
        None => format!("{}, device {}", text(&ort["library"]), text(&ort["device"])),
    };
    report.check(ort["loads"] == true, State::Bad, "onnxruntime", detail, "run `darkroom models fetch onnxruntime`");
    let confinement = &found["confinement"];
    let (abi, seccomp) = (confinement["landlock_abi"].as_u64().unwrap_or(0), confinement["seccomp"] == true);
    let detail = format!("landlock ABI {abi}, seccomp {}", if seccomp { "on" } else { "off" });
    let remedy = "executors are confined less: use a kernel from 5.13 on with Landlock and seccomp for untrusted media";
    report.check(abi > 0 && seccomp, State::Less, "confinement", detail, remedy);
}

fn model_findings(report: &mut Report, config: &Config) {
    let listed = match config.models.open().and_then(|registry| registry.list()) {
        Ok(listed) => listed,
        Err(error) => return report.add(State::Bad, "models", error.message, Some("correct [models]")),
    };
    for model in listed {
        let what = format!("model {}", model.name);
        let fetch = format!("run `darkroom models fetch {}`", model.name);
        match model.status {
            Status::Ready | Status::Custom => report.add(State::Good, &what, "ready", None),
            Status::Missing if model.optional => {}
            Status::Missing | Status::Damaged => {
                report.add(State::Bad, &what, format!("{:?}", model.status).to_lowercase(), Some(&fetch))
            }
            Status::CustomUnreadable => {
                report.add(State::Bad, &what, "your file cannot be read", Some("correct `models.custom`"))
            }
            Status::Unregistered => {
                report.add(
                    State::Less,
                    &what,
                    "not registered",
                    Some("to use it, register your own file under [models.custom]"),
                );
            }
        }
    }
}

fn disk_finding(report: &mut Report, scratch: &Path) {
    // The directory is made at start: until then its nearest ancestor tells.
    let there = scratch.ancestors().find(|dir| dir.is_dir()).unwrap_or(Path::new("/"));
    match rustix::fs::statvfs(there) {
        Ok(stat) => {
            let free = stat.f_bavail.saturating_mul(stat.f_frsize);
            let detail = format!("{}: {} MiB free", scratch.display(), free >> 20);
            report.check(
                free > LOW_DISK_BYTES,
                State::Bad,
                "scratch",
                detail,
                "free space, or move `worker.scratch_dir`",
            );
        }
        Err(error) => report.add(State::Bad, "scratch", error.to_string(), Some("correct `worker.scratch_dir`")),
    }
}

async fn service_findings(report: &mut Report, config: &Config) {
    for queue in config.all_queues() {
        let name = &queue.name;
        let depth = async { Ok::<_, Failure>(open::queue(config, Some(name)).await?.depth().await?) };
        let what = if config.queues.is_empty() { "queue".to_owned() } else { format!("queue {name}") };
        match depth.await {
            Ok(depth) => {
                let detail = format!("{} waiting, {} in flight, {} dead", depth.visible, depth.in_flight, depth.dead);
                report.add(State::Good, &what, detail, None);
            }
            Err(failure) => {
                report.add(State::Bad, &what, failure.explain().1, Some("correct [queue], or its entry in [[queues]]"));
            }
        }
    }
    let state = async {
        let (stores, place) = (open::stores(config).await?, config.state_place()?);
        stores.get(&place.store)?.reach(&place).await?;
        Ok::<_, Failure>(place)
    };
    match state.await {
        Ok(place) => report.add(State::Good, "state bucket", place.to_string(), None),
        Err(failure) => {
            report.add(
                State::Bad,
                "state bucket",
                failure.explain().1,
                Some("check [[stores]], its keys, and that the bucket of `worker.state` exists"),
            );
        }
    }
}

fn show(global: &Global, report: &Report) -> Result<(), Failure> {
    for finding in &report.0 {
        if global.json {
            let line = json!({
                "what": finding.what, "state": finding.state.word().to_lowercase(), "detail": finding.detail,
                "remedy": finding.remedy,
            });
            print_line(&line.to_string())?;
        } else {
            print_line(&format!("{:5} {:30} {}", finding.state.word(), finding.what, finding.detail))?;
            if let Some(remedy) = &finding.remedy {
                print_line(&format!("{:36} -> {remedy}", ""))?;
            }
        }
    }
    let bad = report.0.iter().filter(|finding| finding.state == State::Bad).count();
    if bad == 0 { Ok(()) } else { Err(Failure::Failed(format!("{bad} of {} findings need attention", report.0.len()))) }
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or("?")
}

/// Names that are there, and names that are not.
fn split(table: &Value) -> (Vec<&str>, Vec<&str>) {
    let all = table.as_object().into_iter().flatten();
    let (here, missing): (Vec<_>, Vec<_>) = all.partition(|(_, there)| **there == true);
    (
        here.into_iter().map(|(name, _)| name.as_str()).collect(),
        missing.into_iter().map(|(name, _)| name.as_str()).collect(),
    )
}
