//! Objects to files and files to objects: streamed, bounded, verified.

use std::ops::Range;
use std::path::Path;

use async_trait::async_trait;
use darkroom_api::{ErrorCode, JobError, Result};
use futures::{StreamExt, stream};

use super::error::{Access, innermost};
use super::objects::{broken_off, real_version, unquoted};
use super::ranges::{self, Opened, Source, content_range, range_header};
use super::{ObjectRef, Store};

/// A fetched object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fetched {
    /// Bytes in the file.
    pub bytes: u64,
    /// Entity tag of what was fetched, without quotes.
    pub etag: Option<String>,
    /// Version that was fetched, in versioned buckets.
    pub version: Option<String>,
}

impl Store {
    /// Fetches an object into a new file. `on_bytes` hears how many bytes are there, every now and then.
    ///
    /// The version and ETag in `from` are asked for. Long objects come in ranges, several at once. A broken transfer
    /// goes on where it stopped, if the object is still the same.
    ///
    /// # Errors
    /// [`ErrorCode::InputTooLarge`] beyond `max_bytes` (before the first byte where the store tells the size),
    /// [`ErrorCode::InputChanged`], [`ErrorCode::InputNotFound`], [`ErrorCode::ScratchFull`], and codes of
    /// [`super::error::classify`].
    pub async fn get_to_file(
        &self,
        from: &ObjectRef,
        to: &Path,
        max_bytes: u64,
        on_bytes: &(dyn Fn(u64) + Send + Sync),
    ) -> Result<Fetched> {
        ranges::fetch(self, from, to, max_bytes, on_bytes).await
    }
}

#[async_trait]
impl Source for Store {
    async fn open(&self, from: &ObjectRef, range: Option<Range<u64>>) -> Result<Opened> {
        let answer = self
            .attempt(Access::Read, from, || {
                let request = self.client.get_object().bucket(&from.bucket).key(&from.key);
                let request = request.set_version_id(from.version.clone());
                let request = request.set_if_match(from.etag.as_ref().map(|tag| format!("\"{tag}\"")));
                let request = request.set_request_payer(self.terms.payer());
                request.set_range(range.as_ref().map(range_header)).send()
            })
            .await?;
        let Some(length) = answer.content_length.and_then(|n| u64::try_from(n).ok()) else {
            let message = format!("The store does not tell the size of {from}: it is no S3 store.");
            return Err(JobError::new(ErrorCode::Internal, message));
        };
        let (span, bytes) = match answer.content_range.as_deref() {
            Some(header) => content_range(header).ok_or_else(|| broken_off(from, &"its answer names no range"))?,
            None => (0..length, length),
        };
        let body = stream::unfold(answer.body, |mut body| async move {
            let next = body.try_next().await.map_err(|e| innermost(&e)).transpose()?;
            Some((next, body))
        });
        Ok(Opened {
            body: body.boxed(),
            span,
            bytes,
            etag: unquoted(answer.e_tag.as_deref()),
            version: real_version(answer.version_id),
            ranges: answer.accept_ranges.as_deref() == Some("bytes"),
        })
    }
}

/// What a failing scratch disk means.
pub(super) fn disk(error: &std::io::Error) -> JobError {
    use std::io::ErrorKind::{QuotaExceeded, StorageFull};
    if matches!(error.kind(), StorageFull | QuotaExceeded) {
        return JobError::new(ErrorCode::ScratchFull, "The scratch disk is full: free some space or give it more.");
    }
    JobError::new(ErrorCode::Internal, format!("The scratch disk does not work: {error}."))
}

pub(super) fn too_large(object: &ObjectRef, bytes: u64, max_bytes: u64) -> JobError {
    let message =
        format!("{object} has {bytes} bytes, {max_bytes} are allowed: shorten it, or raise `limits.max_bytes`.");
    JobError::new(ErrorCode::InputTooLarge, message)
        .with_detail(serde_json::json!({"bytes": bytes, "max_bytes": max_bytes}))
}
