//! `[[routes]]`, `[[sources]]` and `[[destinations]]` as configured.

use serde::Deserialize;
use serde_json::{Map, Value};

/// Uploads that become jobs. The first route that matches an upload takes it.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RouteConfig {
    /// Store of the bucket; the default one if absent.
    #[serde(default)]
    pub store: Option<String>,
    /// Bucket.
    pub bucket: String,
    /// Prefix of the whole key; all keys if absent.
    #[serde(default)]
    pub prefix: String,
    /// Endings of the key, upper or lower case alike, e.g. `[".mp4", ".mov"]`; any if absent.
    #[serde(default)]
    pub suffixes: Vec<String>,
    /// Handler's name.
    pub handler: String,
    /// The handler's parameters.
    #[serde(default)]
    pub params: Map<String, Value>,
    /// Where results go: `s3://bucket/prefix/`.
    pub output: String,
    /// Store of the output; the default one if absent.
    #[serde(default)]
    pub output_store: Option<String>,
    /// Budget over all attempts of a job.
    #[serde(default)]
    pub deadline_secs: Option<u64>,
}

/// Where inputs may come from.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SourceConfig {
    /// Store of the bucket; the default one if absent.
    #[serde(default)]
    pub store: Option<String>,
    /// Bucket.
    pub bucket: String,
    /// Prefix of the whole key string: `in` allows `in/a` and `index`; end it in `/` to mean a folder.
    #[serde(default)]
    pub prefix: String,
}

/// Where results may go.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DestinationConfig {
    /// Store of the bucket; the default one if absent.
    #[serde(default)]
    pub store: Option<String>,
    /// Bucket.
    pub bucket: String,
    /// Prefix of the whole key string, as in [`SourceConfig`].
    #[serde(default)]
    pub prefix: String,
}

/// All rules together.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct RouteRules {
    /// Uploads that become jobs.
    pub routes: Vec<RouteConfig>,
    /// Where inputs may come from.
    pub sources: Vec<SourceConfig>,
    /// Where results may go.
    pub destinations: Vec<DestinationConfig>,
}
