//! Inputs from the web: allowed hosts, checked at each redirect and again when a name is resolved.

use std::ops::Range;
use std::path::Path;
use std::time::Duration;

use async_trait::async_trait;
use backon::Retryable;
use darkroom_api::{ErrorCode, JobError, Result};
use futures::{StreamExt, stream};
use reqwest::header::{ACCEPT_ENCODING, ACCEPT_RANGES, CONTENT_RANGE, ETAG, HeaderMap, HeaderName, IF_MATCH, RANGE};
use reqwest::redirect::Policy;
use reqwest::{Client, StatusCode, Url};
use sha2::{Digest, Sha256};
use tokio::fs::File;
use tokio::io::AsyncReadExt;

use super::client::backoff;
use super::error::{chain, innermost};
use super::objects::broken_off;
use super::ranges::{self, Opened, Source, content_range, range_header};
use super::transfer::{Fetched, disk, too_large};
use super::{HttpsConfig, ObjectRef};
use crate::address::{PublicResolver, Refused};

const CONNECT_SECS: u64 = 5;
/// An answer may stand still this long, before its first byte and later.
const STALL: Duration = Duration::from_secs(30);
const MAX_REDIRECTS: usize = 5;
const HASH_BUFFER_BYTES: usize = 1 << 20;
/// What stands before the digest in the version of a content that no entity tag names.
const BY_SHA256: &str = "sha256:";

/// The web, as far as inputs may come from it. Clones share connections.
#[derive(Debug, Clone)]
pub struct Web {
    client: Client,
    config: HttpsConfig,
    max_bytes: u64,
}

impl Web {
    /// Makes the client; connects with the first request only. No content is longer than `max_bytes`.
    ///
    /// # Errors
    /// A sentence: TLS certificates cannot be loaded.
    pub fn open(config: &HttpsConfig, max_bytes: u64) -> Result<Self, String> {
        Web::with_stall(config, max_bytes, STALL)
    }

    pub(super) fn with_stall(config: &HttpsConfig, max_bytes: u64, stall: Duration) -> Result<Self, String> {
        let rules = config.clone();
        let redirects = Policy::custom(move |attempt| {
            if attempt.previous().len() > MAX_REDIRECTS {
                return attempt.error(Refused(format!("it redirects more than {MAX_REDIRECTS} times")));
            }
            match rules.check(attempt.url()) {
                Ok(()) => attempt.follow(),
                Err(why) => attempt.error(Refused(format!("it redirects to where inputs may not come from: {why}"))),
            }
        });
        let mut builder = Client::builder()
            .redirect(redirects)
            // The URL may hold a signature.
            .referer(false)
            // A proxy would resolve names itself.
            .no_proxy()
            .connect_timeout(Duration::from_secs(CONNECT_SECS))
            .read_timeout(stall)
            .user_agent(concat!("darkroom/", env!("CARGO_PKG_VERSION")));
        if !config.allow_private {
            builder = builder.dns_resolver(PublicResolver);
        }
        let client = builder.build().map_err(|e| format!("TLS cannot be set up (install ca-certificates): {e}."))?;
        Ok(Web { client, config: config.clone(), max_bytes })
    }

    /// Gives an input the size and the strong entity tag it has now. Where its host tells none it stays unpinned: see
    /// [`Web::get_and_pin`].
    ///
    /// # Errors
    /// [`ErrorCode::InputNotFound`], [`ErrorCode::InputEmpty`], [`ErrorCode::InputTooLarge`],
    /// [`ErrorCode::SourceForbidden`], [`ErrorCode::AccessDenied`], [`ErrorCode::InputsInvalid`] for an answer that no
    /// input can be read from, [`ErrorCode::StoreUnavailable`].
    pub async fn pin(&self, input: &ObjectRef) -> Result<ObjectRef> {
        // Not HEAD: URLs that are signed for GET refuse it.
        let answer = self.open(input, Some(0..1)).await?;
        if answer.bytes > self.max_bytes {
            return Err(too_large(input, answer.bytes, self.max_bytes));
        }
        Ok(ObjectRef { etag: answer.etag, size: Some(answer.bytes), ..input.clone() })
    }

    /// Fetches an input into a new file, as [`super::Store::get_to_file`]; one that is known by its SHA-256 must have it.
    ///
    /// # Errors
    /// Those of [`Web::pin`], [`ErrorCode::InputChanged`], [`ErrorCode::ScratchFull`].
    pub async fn get_to_file(
        &self,
        from: &ObjectRef,
        to: &Path,
        max_bytes: u64,
        on_bytes: &(dyn Fn(u64) + Send + Sync),
    ) -> Result<Fetched> {
        let max_bytes = max_bytes.min(self.max_bytes);
        let Some(known) = from.version.as_deref().and_then(|version| version.strip_prefix(BY_SHA256)) else {
            return ranges::fetch(self, from, to, max_bytes, on_bytes).await;
        };
        // No host knows of such a version.
        let unpinned = ObjectRef { version: None, ..from.clone() };
        let fetched = match ranges::fetch(self, &unpinned, to, max_bytes, on_bytes).await {
            // `max_bytes` was its size.
            Err(error) if error.code == ErrorCode::InputTooLarge => return Err(changed(from)),
            fetched => fetched?,
        };
        match file_sha256(to).await? == known {
            true => Ok(fetched),
            false => Err(changed(from)),
        }
    }

    /// Fetches an input whose host has no strong entity tags into a new file, and pins it to what came: the SHA-256 of the
    /// content stands for its version.
    ///
    /// # Errors
    /// As [`Web::get_to_file`].
    pub async fn get_and_pin(&self, from: &ObjectRef, to: &Path, max_bytes: u64) -> Result<ObjectRef> {
        let fetched = self.get_to_file(from, to, max_bytes, &|_| {}).await?;
        let version = Some(format!("{BY_SHA256}{}", file_sha256(to).await?));
        Ok(ObjectRef { version, size: Some(fetched.bytes), ..from.clone() })
    }

    async fn ask(&self, from: &ObjectRef, range: Option<&Range<u64>>) -> Result<Opened> {
        // Checked again: the rules may have changed since the job was accepted.
        let url = self.config.input(&from.url())?.url();
        let url = Url::parse(&url).map_err(|e| JobError::new(ErrorCode::MessageInvalid, format!("{from}: {e}.")))?;
        let mut request = self.client.get(url).header(ACCEPT_ENCODING, "identity");
        if let Some(range) = range {
            request = request.header(RANGE, range_header(range));
        }
        if let Some(tag) = &from.etag {
            request = request.header(IF_MATCH, format!("\"{tag}\""));
        }
        let answer = request.send().await.map_err(|error| unreached(from, &error))?;
        refused(from, answer.status())?;
        let etag = strong_etag(answer.headers());
        // Many hosts do not look at If-Match.
        if from.etag.is_some() && etag != from.etag {
            return Err(changed(from));
        }
        let (span, bytes) = match answer.status() {
            StatusCode::PARTIAL_CONTENT => text(answer.headers(), CONTENT_RANGE)
                .and_then(content_range)
                .ok_or_else(|| broken_off(from, &"its answer names no range"))?,
            _ => answer.content_length().map(|bytes| (0..bytes, bytes)).ok_or_else(|| {
                let why = format!("The host of {from} does not tell its size: upload it to a bucket.");
                JobError::new(ErrorCode::InputsInvalid, why)
            })?,
        };
        let ranges =
            answer.status() == StatusCode::PARTIAL_CONTENT || text(answer.headers(), ACCEPT_RANGES) == Some("bytes");
        let body = stream::unfold(answer, |mut answer| async move {
            let next = answer.chunk().await.map_err(|error| innermost(&error)).transpose()?;
            Some((next, answer))
        });
        Ok(Opened { body: body.boxed(), span, bytes, etag, version: None, ranges })
    }
}

#[async_trait]
impl Source for Web {
    async fn open(&self, from: &ObjectRef, range: Option<Range<u64>>) -> Result<Opened> {
        (|| self.ask(from, range.as_ref()))
            .retry(backoff())
            .when(|error: &JobError| error.code == ErrorCode::StoreUnavailable)
            .await
    }
}

/// What an answer without content means.
fn refused(from: &ObjectRef, status: StatusCode) -> Result<()> {
    let (code, why) = match status {
        StatusCode::OK | StatusCode::PARTIAL_CONTENT => return Ok(()),
        StatusCode::NOT_FOUND | StatusCode::GONE => {
            (ErrorCode::InputNotFound, format!("{from} is not there (HTTP {}): check the URL.", status.as_u16()))
        }
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
            let why = format!(
                "The host of {from} refuses it (HTTP {}): sign the URL, or sign it anew if that has expired.",
                status.as_u16()
            );
            (ErrorCode::AccessDenied, why)
        }
        StatusCode::RANGE_NOT_SATISFIABLE if !from.is_pinned() => {
            (ErrorCode::InputEmpty, format!("{from} is empty: upload it again."))
        }
        StatusCode::PRECONDITION_FAILED | StatusCode::RANGE_NOT_SATISFIABLE => return Err(changed(from)),
        StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_EARLY | StatusCode::TOO_MANY_REQUESTS => passing(from, status),
        status if status.is_server_error() => passing(from, status),
        status => {
            let why = format!("The host of {from} answers HTTP {}, no content: check the URL.", status.as_u16());
            (ErrorCode::InputsInvalid, why)
        }
    };
    Err(JobError::new(code, why))
}

fn passing(from: &ObjectRef, status: StatusCode) -> (ErrorCode, String) {
    let why = format!("The host of {from} is not able to answer now (HTTP {}): try again later.", status.as_u16());
    (ErrorCode::StoreUnavailable, why)
}

/// No answer at all. The client's own words are not quoted: they hold the URL.
fn unreached(from: &ObjectRef, error: &reqwest::Error) -> JobError {
    if let Some(Refused(why)) = chain(error).find_map(|cause| cause.downcast_ref()) {
        return JobError::new(ErrorCode::SourceForbidden, format!("The input {from} is not allowed: {why}."));
    }
    let why = if error.is_timeout() { "it took too long".into() } else { innermost(error) };
    let message = format!("The host of {from} does not answer ({why}): check its name and the network.");
    JobError::new(ErrorCode::StoreUnavailable, message)
}

fn changed(from: &ObjectRef) -> JobError {
    JobError::new(ErrorCode::InputChanged, format!("{from} changed after the job was submitted: submit it again."))
}

fn text(headers: &HeaderMap, name: HeaderName) -> Option<&str> {
    headers.get(name)?.to_str().ok()
}

/// An entity tag that names the very bytes, without its quotes; weak ones (`W/"..."`) do not.
fn strong_etag(headers: &HeaderMap) -> Option<String> {
    let tag = text(headers, ETAG)?.strip_prefix('"')?.strip_suffix('"')?;
    (!tag.is_empty()).then(|| tag.to_owned())
}

async fn file_sha256(path: &Path) -> Result<String> {
    let mut file = File::open(path).await.map_err(|e| disk(&e))?;
    let (mut hash, mut buffer) = (Sha256::new(), vec![0; HASH_BUFFER_BYTES]);
    loop {
        match file.read(&mut buffer).await.map_err(|e| disk(&e))? {
            0 => return Ok(data_encoding::HEXLOWER.encode(&hash.finalize())),
            read => hash.update(&buffer[..read]),
        }
    }
}
