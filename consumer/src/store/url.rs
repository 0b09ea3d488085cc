//! Names of objects and places, and their `s3://bucket/key` form.

use std::borrow::Cow;
use std::fmt;

use darkroom_api::{ErrorCode, JobError, Result};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Longest key S3 allows, in bytes of UTF-8.
pub const MAX_KEY_BYTES: usize = 1024;

/// Longest prefix to write under, in bytes: job, run and an output's name follow it, and all of them make a key.
const MAX_PREFIX_BYTES: usize = 512;

/// One object, at best pinned to one version of its content. An input from the web has its scheme as store, host and port
/// as bucket, path and query as key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ObjectRef {
    /// Name of a `[[stores]]` entry.
    pub store: String,
    /// Bucket.
    pub bucket: String,
    /// Key as stored: decoded, never a path.
    pub key: String,
    /// Version id, in versioned buckets.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// Entity tag without its quotes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub etag: Option<String>,
    /// Size in bytes, where known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size: Option<u64>,
}

impl ObjectRef {
    /// An object by name only.
    pub fn new(store: &str, bucket: &str, key: &str) -> Self {
        ObjectRef { store: store.into(), bucket: bucket.into(), key: key.into(), version: None, etag: None, size: None }
    }

    /// Whether version or ETag say which content is meant. Without, HEAD first ([`super::Stores::pin`]).
    pub fn is_pinned(&self) -> bool {
        self.version.is_some() || self.etag.is_some()
    }

    /// Whether it is an input from the web: no store may be called so.
    pub fn is_web(&self) -> bool {
        is_web_scheme(&self.store)
    }

    /// The same without the query of an input from the web, which may hold a signature: for what others read.
    #[must_use]
    pub fn without_query(&self) -> Self {
        let path = self.key.split('?').next().unwrap_or_default();
        ObjectRef { key: if self.is_web() { path } else { &self.key }.to_owned(), ..self.clone() }
    }

    /// Its whole URL. Of an input from the web it may hold a signature: shown is what `Display` writes.
    pub fn url(&self) -> String {
        match self.is_web() {
            true => format!("{}://{}{}", self.store, self.bucket, self.key),
            false => format!("s3://{}/{}", self.bucket, self.key),
        }
    }
}

impl fmt::Display for ObjectRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&shown(&self.url()))
    }
}

/// A URL as it may be shown: elsewhere than in a bucket, its query may hold a signature, and a password may come before
/// its host.
pub fn shown(url: &str) -> Cow<'_, str> {
    if url.starts_with("s3://") {
        return Cow::Borrowed(url);
    }
    let url = url.split(['?', '#']).next().unwrap_or_default();
    let Some((scheme, rest)) = url.split_once("://") else { return Cow::Borrowed(url) };
    let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    match authority.rsplit_once('@') {
        Some((_, host)) => Cow::Owned(format!("{scheme}://{host}{path}")),
        None => Cow::Borrowed(url),
    }
}

/// Whether a store's name is kept for inputs from the web.
pub fn is_web_scheme(store: &str) -> bool {
    matches!(store, "https" | "http")
}

/// All keys of a bucket that begin with a prefix: where results or records go, or where a rule holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Place {
    /// Name of a `[[stores]]` entry.
    pub store: String,
    /// Bucket.
    pub bucket: String,
    /// Prefix of the whole key string; empty for the whole bucket.
    pub prefix: String,
}

impl Place {
    /// A place for writing: the URL's key becomes a prefix that ends in `/` (or is empty).
    ///
    /// # Errors
    /// [`ErrorCode::DestinationForbidden`] for what is no `s3://bucket/prefix/` of at most 512 bytes, or has `.`, `..` or
    /// empty segments: HTTP clients and proxies fold these, so that results would not be found where they were written.
    pub fn for_writing(store: &str, url: &str) -> Result<Self> {
        let (bucket, key) = split(url).map_err(|why| JobError::new(ErrorCode::DestinationForbidden, why))?;
        let mut prefix = key.to_owned();
        if !prefix.is_empty() && !prefix.ends_with('/') {
            prefix.push('/');
        }
        if prefix.len() > MAX_PREFIX_BYTES {
            return Err(JobError::new(
                ErrorCode::DestinationForbidden,
                format!(
                    "The output's prefix has {} bytes: {MAX_PREFIX_BYTES} leave room for the results' names.",
                    prefix.len()
                ),
            ));
        }
        let folded = |segment: &str| matches!(segment, "" | "." | "..");
        if !prefix.is_empty() && prefix[..prefix.len() - 1].split('/').any(folded) {
            return Err(JobError::new(
                ErrorCode::DestinationForbidden,
                format!("The output `{url}` has empty, `.` or `..` parts: write it as s3://bucket/prefix/."),
            ));
        }
        Ok(Place { store: store.into(), bucket: bucket.into(), prefix })
    }

    /// The full key of a name in this place.
    pub fn key(&self, name: &str) -> String {
        format!("{}{name}", self.prefix)
    }

    /// Whether the key string begins with this place's prefix, in the same bucket.
    pub fn holds(&self, bucket: &str, key: &str) -> bool {
        self.bucket == bucket && key.starts_with(&self.prefix)
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "s3://{}/{}", self.bucket, self.prefix)
    }
}

/// Splits an input's URL into bucket and key. The key stands as it is: no decoding, no folding of `..`.
///
/// # Errors
/// [`ErrorCode::SourceForbidden`] for other schemes, [`ErrorCode::MessageInvalid`] for a URL without bucket or key.
pub fn parse_input(url: &str) -> Result<(&str, &str)> {
    if !url.starts_with("s3://") {
        return Err(JobError::new(
            ErrorCode::SourceForbidden,
            format!("The input `{}` is not in a bucket: inputs are s3://bucket/key.", shorten(&shown(url))),
        ));
    }
    let (bucket, key) = split(url).map_err(|why| JobError::new(ErrorCode::MessageInvalid, why))?;
    check_key(key).map_err(|why| JobError::new(ErrorCode::MessageInvalid, why))?;
    Ok((bucket, key))
}

/// Checks a bucket's name. Its characters go into a host name, and `arn:` would send the SDK to another endpoint.
///
/// # Errors
/// A sentence.
pub fn check_bucket(bucket: &str) -> Result<(), String> {
    let allowed = |c: u8| c.is_ascii_alphanumeric() || matches!(c, b'.' | b'-' | b'_');
    let good = (3..=255).contains(&bucket.len())
        && bucket.bytes().all(allowed)
        && bucket.as_bytes()[0].is_ascii_alphanumeric()
        && !bucket.contains("..");
    if good {
        Ok(())
    } else {
        Err(format!("`{}` is no name of a bucket: 3 to 255 letters, digits, `.`, `-` or `_`.", shorten(bucket)))
    }
}

/// Checks a key: 1 to 1024 bytes.
///
/// # Errors
/// A sentence.
pub fn check_key(key: &str) -> Result<(), String> {
    match key.len() {
        0 => Err("The key is empty: name an object.".into()),
        1..=MAX_KEY_BYTES => Ok(()),
        n => Err(format!("The key has {n} bytes: S3 allows {MAX_KEY_BYTES}.")),
    }
}

fn split(url: &str) -> Result<(&str, &str), String> {
    let rest = url
        .strip_prefix("s3://")
        .ok_or_else(|| format!("`{}` does not begin with s3://: write s3://bucket/key.", shorten(url)))?;
    let (bucket, key) = rest.split_once('/').unwrap_or((rest, ""));
    check_bucket(bucket)?;
    Ok((bucket, key))
}

/// The beginning of a hostile string, for error messages.
pub fn shorten(text: &str) -> String {
    const MOST: usize = 120;
    let mut short: String = text.chars().take(MOST).flat_map(char::escape_debug).collect();
    if text.chars().nth(MOST).is_some() {
        short.push('…');
    }
    short
}

#[cfg(test)]
mod tests {
    #[test]
    fn what_is_shown_of_a_url_is_no_secret() {
        for (url, seen) in [
            ("s3://b/a?b@c", "s3://b/a?b@c"),
            ("https://host/a@b?sig=1", "https://host/a@b"),
            ("HTTPS://me:pw@host/a#x", "HTTPS://host/a"),
            ("https://me:p/w@host/a", "https://me:p/w@host/a"),
            ("ftp://me:pw@host", "ftp://host"),
            ("nonsense?sig=1", "nonsense"),
        ] {
            assert_eq!(shown(url), seen);
        }
        assert!(!parse_input("HTTPS://host/a?sig=s3cret").unwrap_err().message.contains("s3cret"));
    }

    use super::*;

    #[test]
    fn keys_are_taken_as_they_stand() {
        for key in ["a b+c%2B.mp4", "/leading", "../../etc/passwd", "a//b", "é.mp4", "?x=1#y"] {
            assert_eq!(parse_input(&format!("s3://uploads/{key}")).unwrap(), ("uploads", key));
        }
    }

    #[test]
    fn inputs_that_are_no_objects_are_refused() {
        for (url, code) in [
            ("https://example.com/a.mp4", ErrorCode::SourceForbidden),
            ("file:///etc/passwd", ErrorCode::SourceForbidden),
            ("s3://uploads", ErrorCode::MessageInvalid),
            ("s3://uploads/", ErrorCode::MessageInvalid),
            ("s3:///a.mp4", ErrorCode::MessageInvalid),
            ("s3://arn:aws:s3:::x/a", ErrorCode::MessageInvalid),
            ("s3://a@b.example/a", ErrorCode::MessageInvalid),
            ("s3://..x/a", ErrorCode::MessageInvalid),
        ] {
            assert_eq!(parse_input(url).unwrap_err().code, code, "{url}");
        }
        let long = format!("s3://uploads/{}", "k".repeat(1025));
        assert_eq!(parse_input(&long).unwrap_err().code, ErrorCode::MessageInvalid);
        assert!(parse_input(&long[..long.len() - 1]).is_ok());
    }

    #[test]
    fn a_place_for_writing_ends_in_a_slash_and_has_no_folding_parts() {
        let place = |url: &str| Place::for_writing("main", url).map(|p| p.prefix);
        assert_eq!(place("s3://results").unwrap(), "");
        assert_eq!(place("s3://results/a/b").unwrap(), "a/b/");
        assert_eq!(place("s3://results/a/").unwrap(), "a/");
        let long = |length: usize| place(&format!("s3://results/{}/", "p".repeat(length - 1)));
        assert_eq!(long(MAX_PREFIX_BYTES).unwrap().len(), MAX_PREFIX_BYTES);
        assert_eq!(long(MAX_PREFIX_BYTES + 1).unwrap_err().code, ErrorCode::DestinationForbidden);
        for bad in ["s3://results//", "s3://results/a//b", "s3://results/../x/", "s3://results/a/./", "/tmp/x", "s3://"]
        {
            assert_eq!(place(bad).unwrap_err().code, ErrorCode::DestinationForbidden, "{bad}");
        }
    }
}
