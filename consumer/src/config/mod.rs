//! The configuration: one TOML file, and over it the environment as `DARKROOM__SECTION__KEY`.
//!
//! Everything that is wrong is reported together ([`ConfigErrors`]). Only this module reads the environment for the
//! worker's settings; libraries keep their own variables (AWS credentials, `CUDA_VISIBLE_DEVICES`).
//! `infra/config.example.toml` ([`EXAMPLE`]) lists every key with its default; a test holds it to the truth.

mod amqp;
mod aws;
mod check;
mod decode;
mod error;
#[cfg(test)]
mod example;
mod layers;
mod process;
mod queue;
mod secret;
mod sinks;
#[cfg(test)]
mod tests;
mod worker;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::Path;

use darkroom_api::Limits;
use darkroom_models::RegistryConfig;
use serde::{Deserialize, Serialize};

use crate::store::{HttpsConfig, Place, StoreConfig};
use crate::trigger::{DestinationConfig, RouteConfig, RouteRules, SourceConfig};

pub use amqp::AmqpConfig;
pub use aws::AwsConfig;
pub use error::{ConfigError, ConfigErrors};
pub use process::{ExecutorConfig, GatewayConfig, LogConfig, LogFormat, LogRotation};
pub use queue::{AmqpQueueConfig, Hours, QueueConfig, QueueKind, SqsConfig};
pub use secret::Secret;
pub use sinks::{SinkConfig, SinkKind};
pub use worker::{HandlerConfig, InterruptionNotices, WorkerConfig};

/// Every key with its default and what it means.
pub const EXAMPLE: &str = include_str!("../../../infra/config.example.toml");

/// The whole configuration.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// This process, and how it treats jobs.
    pub worker: WorkerConfig,
    /// Where job messages wait.
    pub queue: QueueConfig,
    /// More of them.
    #[serde(deserialize_with = "decode::entries")]
    pub queues: Vec<QueueConfig>,
    /// Bounds of single handlers, by name.
    pub handlers: BTreeMap<String, HandlerConfig>,
    /// The RabbitMQ broker.
    pub amqp: AmqpConfig,
    /// Amazon's services that are no stores.
    pub aws: AwsConfig,
    /// Where buckets live; the first one is the default.
    #[serde(deserialize_with = "decode::entries", skip_serializing)]
    pub stores: Vec<StoreConfig>,
    /// Uploads that become jobs.
    #[serde(deserialize_with = "decode::entries", skip_serializing)]
    pub routes: Vec<RouteConfig>,
    /// Where inputs may come from.
    #[serde(deserialize_with = "decode::entries", skip_serializing)]
    pub sources: Vec<SourceConfig>,
    /// Where results may go.
    #[serde(deserialize_with = "decode::entries", skip_serializing)]
    pub destinations: Vec<DestinationConfig>,
    /// Inputs that are no objects of a store.
    pub https: HttpsConfig,
    /// Where events go.
    #[serde(deserialize_with = "decode::entries")]
    pub sinks: Vec<SinkConfig>,
    /// Time that required sinks get to confirm an event before the delivery is released.
    pub event_retry_secs: u64,
    /// The child processes in which handlers run.
    pub executor: ExecutorConfig,
    /// Upper bounds on inputs, beside each handler's own.
    pub limits: Limits,
    /// Where models lie.
    pub models: RegistryConfig,
    /// HTTP for probes and metrics.
    pub gateway: GatewayConfig,
    /// Log lines.
    pub log: LogConfig,
}

impl Default for Config {
    fn default() -> Self {
        Config {
            worker: WorkerConfig::default(),
            queue: QueueConfig::default(),
            queues: Vec::new(),
            handlers: BTreeMap::new(),
            amqp: AmqpConfig::default(),
            aws: AwsConfig::default(),
            stores: Vec::new(),
            routes: Vec::new(),
            sources: Vec::new(),
            destinations: Vec::new(),
            https: HttpsConfig::default(),
            sinks: Vec::new(),
            event_retry_secs: 60,
            executor: ExecutorConfig::default(),
            limits: Limits::default(),
            models: RegistryConfig::default(),
            gateway: GatewayConfig::default(),
            log: LogConfig::default(),
        }
    }
}

impl Config {
    /// Reads the file, lays the given variables over it, reads secrets from their files, and checks everything.
    ///
    /// # Errors
    /// Everything that is wrong.
    pub fn load(
        path: Option<&Path>,
        env: impl IntoIterator<Item = (OsString, OsString)>,
    ) -> Result<Self, ConfigErrors> {
        let tree = layers::merge(path, env).map_err(|error| ConfigErrors(vec![error]))?;
        let mut errors = Vec::new();
        let mut decoded = decode::decode::<Config>(tree, &mut errors);
        check::check(&mut decoded, &mut errors);
        if errors.is_empty() { Ok(decoded.value) } else { Err(ConfigErrors(errors)) }
    }

    /// [`Config::load`] with the variables of this process.
    ///
    /// # Errors
    /// Everything that is wrong.
    pub fn from_process(path: Option<&Path>) -> Result<Self, ConfigErrors> {
        Config::load(path, std::env::vars_os())
    }

    /// Every queue: `[queue]` first.
    pub fn all_queues(&self) -> impl Iterator<Item = &QueueConfig> {
        std::iter::once(&self.queue).chain(&self.queues)
    }

    /// The rules about what becomes a job and what may be read and written.
    pub fn rules(&self) -> RouteRules {
        RouteRules {
            routes: self.routes.clone(),
            sources: self.sources.clone(),
            destinations: self.destinations.clone(),
            https: self.https.clone(),
        }
    }

    /// Where jobs' records are kept.
    ///
    /// # Errors
    /// As [`Place::for_writing`]; not after [`Config::load`], which checks it.
    pub fn state_place(&self) -> darkroom_api::Result<Place> {
        let first = self.stores.first().map_or("default", |store| &store.name);
        Place::for_writing(self.worker.state_store.as_deref().unwrap_or(first), &self.worker.state)
    }
}
