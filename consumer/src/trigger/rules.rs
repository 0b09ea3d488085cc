//! `[[routes]]`, `[[sources]]` and `[[destinations]]` as configured.

use serde::Deserialize;
use serde_json::{Map, Value};

use crate::store::HttpsConfig;

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

impl RouteConfig {
    /// Whether an upload under this name becomes a job.
    pub fn takes(&self, bucket: &str, key: &str) -> bool {
        let lower = key.to_lowercase();
        let ends = |suffix: &String| lower.ends_with(&suffix.to_lowercase());
        self.bucket == bucket
            && key.starts_with(&self.prefix)
            && (self.suffixes.is_empty() || self.suffixes.iter().any(ends))
    }

    /// What uploads it takes, for people: `s3://inbox/matting/ (.mp4, .mov)`.
    pub fn taken(&self) -> String {
        taken(&self.bucket, &self.prefix, &self.suffixes)
    }
}

/// Most routes that a message names.
const MAX_NAMED: usize = 20;

pub(super) fn taken(bucket: &str, prefix: &str, suffixes: &[String]) -> String {
    match suffixes {
        [] => format!("s3://{bucket}/{prefix}"),
        _ => format!("s3://{bucket}/{prefix} ({})", suffixes.join(", ")),
    }
}

/// What several routes take, for people; the first ones where there are very many.
pub fn taken_by(routes: impl ExactSizeIterator<Item = String>) -> String {
    let left = routes.len().saturating_sub(MAX_NAMED);
    let mut named: Vec<_> = routes.take(MAX_NAMED).collect();
    match (named.len(), left) {
        (0, _) => "nothing: there are no [[routes]]".into(),
        (_, 0) => named.join(", "),
        _ => {
            named.push(format!("and {left} more"));
            named.join(", ")
        }
    }
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
    /// Which hosts inputs may come from.
    pub https: HttpsConfig,
}
