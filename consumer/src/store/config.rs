//! `[[stores]]`: where buckets live and who we are there.

use std::fmt;
use std::path::PathBuf;

use serde::Deserialize;
use url::{Host, Url};

/// Which checksums are sent with requests and asked of answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Checksums {
    /// AWS: with every request that supports them. Custom endpoints: only where required, since several
    /// (Ceph RGW, older MinIO, GCS) refuse CRC trailers.
    #[default]
    Auto,
    /// Only where the protocol requires them.
    Required,
    /// With every request and answer that supports them, at custom endpoints too.
    Supported,
}

/// How a store encrypts what is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub enum Encryption {
    /// With keys of the store's own.
    #[serde(rename = "AES256")]
    Aes256,
    /// With keys of a key service (SSE-KMS).
    #[serde(rename = "aws:kms")]
    Kms,
    /// The same in two layers.
    #[serde(rename = "aws:kms:dsse")]
    KmsTwice,
}

/// Who pays for requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Payer {
    /// We do, not the bucket's owner.
    Requester,
}

fn yes() -> bool {
    true
}

/// One S3 endpoint with credentials. Without keys the usual AWS chain holds (environment, profile, web identity,
/// container, instance).
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StoreConfig {
    /// Name in routes and rules. The first store is the default one.
    pub name: String,
    /// URL of an S3-compatible service; AWS if absent.
    #[serde(default)]
    pub endpoint: Option<String>,
    /// Region; from the environment if absent, `us-east-1` for custom endpoints.
    #[serde(default)]
    pub region: Option<String>,
    /// `endpoint/bucket/key` instead of `bucket.endpoint/key`; on for custom endpoints if absent.
    #[serde(default)]
    pub path_style: Option<bool>,
    /// Access key id.
    #[serde(default)]
    pub access_key: Option<String>,
    /// File that holds the access key id.
    #[serde(default)]
    pub access_key_file: Option<PathBuf>,
    /// Secret key.
    #[serde(default)]
    pub secret_key: Option<String>,
    /// File that holds the secret key.
    #[serde(default)]
    pub secret_key_file: Option<PathBuf>,
    /// Checksums to send and ask for.
    #[serde(default)]
    pub checksums: Checksums,
    /// Encryption asked for with every write; the bucket's own rule if absent.
    #[serde(default)]
    pub sse: Option<Encryption>,
    /// Key of the key service, where `sse` uses one; its default key if absent.
    #[serde(default)]
    pub kms_key_id: Option<String>,
    /// Who pays, in buckets whose owner does not.
    #[serde(default)]
    pub request_payer: Option<Payer>,
    /// Whether the service knows `If-None-Match` for writes. Where it does not, see [`super::Store::put_if_absent`].
    #[serde(default = "yes")]
    pub conditional_writes: bool,
}

impl Default for StoreConfig {
    fn default() -> Self {
        StoreConfig {
            name: String::new(),
            endpoint: None,
            region: None,
            path_style: None,
            access_key: None,
            access_key_file: None,
            secret_key: None,
            secret_key_file: None,
            checksums: Checksums::Auto,
            sse: None,
            kms_key_id: None,
            request_payer: None,
            conditional_writes: true,
        }
    }
}

/// Without the keys: configurations end in logs.
impl fmt::Debug for StoreConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StoreConfig")
            .field("name", &self.name)
            .field("endpoint", &self.endpoint)
            .field("region", &self.region)
            .field("path_style", &self.path_style)
            .field("own_keys", &(self.access_key.is_some() || self.access_key_file.is_some()))
            .field("checksums", &self.checksums)
            .field("sse", &self.sse)
            .field("kms_key_id", &self.kms_key_id)
            .field("request_payer", &self.request_payer)
            .field("conditional_writes", &self.conditional_writes)
            .finish()
    }
}

impl StoreConfig {
    /// Whether both mean the same service, so that a bucket of one is the bucket of the other. In doubt they are: default
    /// ports and the scheme make no difference, this machine is one host by all its names, and AWS is one service.
    pub fn same_service(&self, other: &StoreConfig) -> bool {
        service(self.endpoint.as_deref()) == service(other.endpoint.as_deref())
    }

    /// Access key and secret key, where they are configured.
    ///
    /// # Errors
    /// A sentence: a file cannot be read, or only one of the two is given.
    pub fn keys(&self) -> Result<Option<(String, String)>, String> {
        let access = self.secret("access_key", self.access_key.as_ref(), self.access_key_file.as_ref())?;
        let secret = self.secret("secret_key", self.secret_key.as_ref(), self.secret_key_file.as_ref())?;
        match (access, secret) {
            (Some(access), Some(secret)) if access.is_empty() || secret.is_empty() => Err(format!(
                "Store `{}` has an empty access_key or secret_key: fill it in, or leave both out.",
                self.name
            )),
            (Some(access), Some(secret)) => Ok(Some((access, secret))),
            (None, None) => Ok(None),
            _ => Err(format!("Store `{}` has only one of access_key and secret_key: give both or none.", self.name)),
        }
    }

    fn secret(&self, name: &str, value: Option<&String>, file: Option<&PathBuf>) -> Result<Option<String>, String> {
        match (value, file) {
            (Some(_), Some(_)) => Err(format!("Store `{}` has both {name} and {name}_file: give one.", self.name)),
            (Some(value), None) => Ok(Some(value.clone())),
            (None, Some(file)) => std::fs::read_to_string(file)
                .map(|text| Some(text.trim_end().to_owned()))
                .map_err(|e| format!("Store `{}`: {name}_file cannot be read: {e}.", self.name)),
            (None, None) => Ok(None),
        }
    }
}

/// Host, port and path of an endpoint, brought to one form; `None` for AWS.
fn service(endpoint: Option<&str>) -> Option<(String, Option<u16>, String)> {
    let endpoint = endpoint?;
    let Ok(url) = Url::parse(endpoint) else {
        return Some((endpoint.trim_end_matches('/').to_ascii_lowercase(), None, String::new()));
    };
    let is_here = match url.host() {
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    };
    let host = if is_here { "localhost" } else { url.host_str().unwrap_or_default().trim_end_matches('.') };
    let is_aws = [".amazonaws.com", ".amazonaws.com.cn"].iter().any(|suffix| host.ends_with(suffix));
    (!is_aws).then(|| (host.to_owned(), url.port(), url.path().trim_end_matches('/').to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_service_is_known_by_all_its_names() {
        let same = |one: Option<&str>, other: Option<&str>| {
            let at =
                |endpoint: Option<&str>| StoreConfig { endpoint: endpoint.map(Into::into), ..StoreConfig::default() };
            at(one).same_service(&at(other))
        };
        for (one, other) in [
            ("http://minio:9000", "http://MinIO:9000/"),
            ("https://s3.example.com", "https://s3.example.com.:443/"),
            ("http://s3.example.com", "https://s3.example.com"),
            ("http://localhost:9000", "http://127.0.0.1:9000"),
            ("http://[::1]:9000", "http://127.0.0.1:9000"),
        ] {
            assert!(same(Some(one), Some(other)), "{one} {other}");
        }
        for (one, other) in [
            ("http://a", "http://b"),
            ("http://127.0.0.1:9000", "http://127.0.0.1:9001"),
            ("https://s3.example.com/a", "https://s3.example.com/b"),
        ] {
            assert!(!same(Some(one), Some(other)), "{one} {other}");
        }
        assert!(same(None, Some("https://s3.eu-west-1.amazonaws.com")));
        assert!(!same(None, Some("https://amazonaws.com.example.com")));
    }

    #[test]
    fn keys_come_from_values_or_files_and_never_show() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "s3cr3t\n").unwrap();
        let config = StoreConfig {
            name: "main".into(),
            access_key: Some("AKEXAMPLE".into()),
            secret_key_file: Some(file.path().into()),
            ..StoreConfig::default()
        };
        assert_eq!(config.keys().unwrap(), Some(("AKEXAMPLE".into(), "s3cr3t".into())));
        let half = StoreConfig { secret_key_file: None, ..config.clone() };
        assert!(half.keys().unwrap_err().contains("both or none"));
        let twice = StoreConfig { secret_key: Some("s3cr3t".into()), ..config };
        assert!(twice.keys().is_err());
        assert!(!format!("{twice:?}").contains("s3cr3t") && !format!("{twice:?}").contains("AKEXAMPLE"));
    }
}
