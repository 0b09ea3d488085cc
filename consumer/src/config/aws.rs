//! `[aws]`: Amazon's services that are no stores.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::Secret;

/// `[aws]`: who we are where queues and sinks are Amazon's. Without keys the usual AWS chain holds (environment, profile,
/// web identity, container, instance).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AwsConfig {
    /// URL of a service that speaks as they do; AWS if absent.
    pub endpoint: Option<String>,
    /// Region; from the environment if absent, `us-east-1` for custom endpoints.
    pub region: Option<String>,
    /// Access key id.
    pub access_key: Option<Secret>,
    /// File that holds the access key id.
    pub access_key_file: Option<PathBuf>,
    /// Secret key.
    pub secret_key: Option<Secret>,
    /// File that holds the secret key.
    pub secret_key_file: Option<PathBuf>,
}
