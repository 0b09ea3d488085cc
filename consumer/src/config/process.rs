//! `[executor]`, `[gateway]` and `[log]`.

use std::net::SocketAddr;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// `[executor]`: the child processes in which handlers run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ExecutorConfig {
    /// The binary; `darkroom-executor` beside this one if absent.
    pub binary: Option<PathBuf>,
    /// A process of its own for each job instead of a warm one.
    pub fresh: bool,
    /// Most memory of one executor.
    pub memory_mib: u64,
    /// An executor that holds more than this after a job leaks, and is replaced.
    pub leak_mib: u64,
    /// Where engines built for a device are kept between processes; not kept if absent.
    pub engine_cache: Option<PathBuf>,
    /// Devices to run on, `["cpu"]`, `["cuda:0", "cuda:1"]`; `"auto"` takes the first GPU, the CPU where there is none.
    #[serde(deserialize_with = "super::decode::one_or_many")]
    pub devices: Vec<String>,
    /// Longest time without progress in any stage; each stage's own figure if absent.
    pub stall_secs: Option<f64>,
    /// Threads of a model's session; by the number of cores if absent.
    pub threads: Option<u32>,
}

impl Default for ExecutorConfig {
    fn default() -> Self {
        ExecutorConfig {
            binary: None,
            fresh: false,
            memory_mib: 8192,
            leak_mib: 4096,
            engine_cache: None,
            devices: vec!["cpu".into()],
            stall_secs: None,
            threads: None,
        }
    }
}

/// `[gateway]`: HTTP for probes and metrics. Off unless `listen` is set.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct GatewayConfig {
    /// Address to listen on, e.g. `127.0.0.1:9090`; port 0 takes a free one.
    pub listen: Option<SocketAddr>,
    /// Allows an address that is not loopback. There is no authentication: let only trusted networks reach it.
    pub allow_public: bool,
}

/// How log lines look on standard error.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

/// When the log file is replaced by a new one.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogRotation {
    /// Each hour.
    Hourly,
    /// Each day, at midnight UTC.
    #[default]
    Daily,
    /// Never.
    Never,
}

/// `[log]`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LogConfig {
    /// `error`, `warn`, `info`, `debug`, `trace`, or directives such as `info,darkroom::queue=debug`.
    pub level: String,
    /// Format on standard error.
    #[serde(deserialize_with = "super::decode::word")]
    pub format: LogFormat,
    /// A file that gets the same lines as JSON; its name is followed by the date.
    pub file: Option<PathBuf>,
    /// When the file is replaced.
    #[serde(deserialize_with = "super::decode::word")]
    pub rotation: LogRotation,
    /// Files kept.
    pub keep: u32,
}

impl Default for LogConfig {
    fn default() -> Self {
        LogConfig { level: "info".into(), format: LogFormat::Text, file: None, rotation: LogRotation::Daily, keep: 7 }
    }
}
