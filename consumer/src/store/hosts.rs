//! `[https]`: the hosts that inputs may come from, and how such an input is named.

use std::net::IpAddr;

use darkroom_api::{ErrorCode, JobError, Result};
use serde::{Deserialize, Serialize};
use url::{Host, Url};

use super::{ObjectRef, shorten, shown};
use crate::address::{NOT_PUBLIC, is_public};

/// Longest URL of an input, in bytes: presigned ones with session tokens have up to 4 KiB.
const MAX_URL_BYTES: usize = 8192;

/// `[https]`: inputs that are no objects of a store.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct HttpsConfig {
    /// Hosts that inputs may come from: `media.example.com`, with its port unless that is the usual one, or
    /// `*.example.com` for all below it. None if empty.
    pub hosts: Vec<String>,
    /// Hosts may have loopback, private and reserved addresses, and be asked by plain http.
    pub allow_private: bool,
}

impl HttpsConfig {
    /// Whether a URL in a message means an input from the web.
    pub fn is_web(url: &str) -> bool {
        let starts = |scheme: &str| url.get(..scheme.len()).is_some_and(|start| start.eq_ignore_ascii_case(scheme));
        starts("https://") || starts("http://")
    }

    /// Whether an entry of `hosts` is one: no scheme, no path, and no port that URLs leave out.
    pub fn is_host(rule: &str) -> bool {
        let plain = rule.strip_prefix("*.").unwrap_or(rule).to_ascii_lowercase();
        !plain.contains('*')
            && Url::parse(&format!("https://{plain}/")).is_ok_and(|url| host(&url) == plain && url.path() == "/")
    }

    /// The input that a URL names: its scheme stands for the store, host and port for the bucket, path and query for the
    /// key.
    ///
    /// # Errors
    /// [`ErrorCode::MessageInvalid`] for what is no URL, [`ErrorCode::SourceForbidden`] for one that is not allowed.
    pub fn input(&self, url: &str) -> Result<ObjectRef> {
        let shown = || shorten(&shown(url));
        if url.len() > MAX_URL_BYTES {
            let why = format!("The input `{}` has {} bytes: {MAX_URL_BYTES} are allowed.", shown(), url.len());
            return Err(JobError::new(ErrorCode::MessageInvalid, why));
        }
        let parsed = Url::parse(url).map_err(|error| {
            JobError::new(ErrorCode::MessageInvalid, format!("The input `{}` is no URL: {error}.", shown()))
        })?;
        self.check(&parsed).map_err(|why| {
            JobError::new(
                ErrorCode::SourceForbidden,
                format!("The input `{}` is not allowed: {why}.", shorten(&host(&parsed))),
            )
        })?;
        let query = parsed.query().map(|query| format!("?{query}")).unwrap_or_default();
        Ok(ObjectRef::new(parsed.scheme(), &host(&parsed), &format!("{}{query}", parsed.path())))
    }

    /// Checks a URL, a redirect's too, as far as that is possible before its host is resolved.
    ///
    /// # Errors
    /// A part of a sentence that does not quote path and query: they may hold a secret.
    pub fn check(&self, url: &Url) -> Result<(), String> {
        match url.scheme() {
            "https" => {}
            "http" if self.allow_private => {}
            "http" => return Err("plain http needs `allow_private = true` in [https]; use https".into()),
            _ => return Err("inputs are s3 or https URLs".into()),
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err("a user name or password in the URL is not allowed; sign the URL instead".into());
        }
        // The client does not resolve literal addresses, so its resolver does not see them.
        let literal = match url.host() {
            Some(Host::Ipv4(ip)) => Some(IpAddr::V4(ip)),
            Some(Host::Ipv6(ip)) => Some(IpAddr::V6(ip)),
            _ => None,
        };
        if literal.is_some_and(|ip| !self.allow_private && !is_public(ip)) {
            return Err(NOT_PUBLIC.into());
        }
        let host = host(url);
        match self.hosts.iter().any(|rule| matches(&rule.to_ascii_lowercase(), &host)) {
            true => Ok(()),
            false => Err(format!(
                "`{}` is not among the `hosts` of [https]: add it there, or upload the input to a bucket",
                shorten(&host)
            )),
        }
    }
}

/// Host, and port unless it is the scheme's usual one.
fn host(url: &Url) -> String {
    let host = url.host_str().unwrap_or_default();
    url.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"))
}

fn matches(rule: &str, host: &str) -> bool {
    match rule.strip_prefix('*') {
        // At least one letter for the star, and no `*example.com` that would let `badexample.com` in.
        Some(tail) => tail.starts_with('.') && host.len() > tail.len() && host.ends_with(tail),
        None => rule == host,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rule_is_a_host_and_nothing_else() {
        for good in ["media.example.com", "Media.example.com:8443", "*.example.com", "127.0.0.1:9", "[2a00::1]"] {
            assert!(HttpsConfig::is_host(good), "{good}");
        }
        for bad in [
            "",
            "*",
            "*example.com",
            "https://example.com",
            "example.com/",
            "example.com/in",
            "example.com:443",
            "me@example.com",
            "a b",
        ] {
            assert!(!HttpsConfig::is_host(bad), "{bad}");
        }
    }

    #[test]
    fn inputs_come_from_allowed_hosts_only() {
        let hosts = ["media.example.com", "*.cdn.example", "own.example:8443", "10.0.0.1"];
        let config = HttpsConfig { hosts: hosts.map(String::from).into(), allow_private: false };
        let code = |url: &str| config.input(url).map(|object| object.url()).map_err(|error| error.code);
        for good in
            ["https://media.example.com/a%20b.mp4?sig=x%2By", "https://a.b.cdn.example/", "https://own.example:8443/a"]
        {
            assert_eq!(code(good).as_deref(), Ok(good));
        }
        assert_eq!(code("https://MEDIA.example.com:443/a#b").as_deref(), Ok("https://media.example.com/a"));
        for bad in [
            "https://example.com/a",
            "https://media.example.com.evil.example/a",
            "https://media.example.com@evil.example/a",
            "https://me:pw@media.example.com/a",
            "https://media.example.com:8443/a",
            "https://cdn.example/a",
            "https://badcdn.example/a",
            "https://own.example/a",
            "http://media.example.com/a",
            "https://10.0.0.1/a",
            "https://0xa.1/a",
        ] {
            assert_eq!(code(bad), Err(ErrorCode::SourceForbidden), "{bad}");
        }
        assert_eq!(code("https://"), Err(ErrorCode::MessageInvalid));
        assert_eq!(code(&format!("https://media.example.com/{}", "a".repeat(8192))), Err(ErrorCode::MessageInvalid));
        let signed = config.input("https://media.example.com/a.mp4?sig=s3cret").unwrap();
        assert_eq!(signed.to_string(), "https://media.example.com/a.mp4");
        assert_eq!(signed.without_query().key, "/a.mp4");
        assert!(!config.input("https://evil.example/a?sig=s3cret").unwrap_err().message.contains("s3cret"));
    }
}
