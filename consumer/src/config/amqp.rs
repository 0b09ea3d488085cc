//! `[amqp]`: the RabbitMQ broker.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::Secret;

/// `[amqp]`: the broker where queues and sinks are RabbitMQ's. `amqps` trusts the authorities of the system, or those in
/// the file that `SSL_CERT_FILE` names.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AmqpConfig {
    /// `amqps://host:port/virtual-host`; without credentials.
    pub url: Option<String>,
    /// Who we are; `guest` if absent.
    pub username: Option<String>,
    /// The password.
    pub password: Option<Secret>,
    /// File that holds the password.
    pub password_file: Option<PathBuf>,
}
