//! Objects to files and files to objects: streamed, bounded, verified.

use std::path::Path;

use aws_sdk_s3::primitives::ByteStream;
use backon::BackoffBuilder;
use darkroom_api::{ErrorCode, JobError, Result};
use tokio::fs::File;
use tokio::io::{AsyncWriteExt, BufWriter};

use super::client::backoff;
use super::error::Access;
use super::objects::{broken_off, real_version, unquoted};
use super::{ObjectRef, Store};

/// Bytes collected before they go to the disk.
const WRITE_BUFFER_BYTES: usize = 1 << 20;

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

/// A body that is being received.
struct Answer {
    body: ByteStream,
    /// Size of the whole object.
    bytes: u64,
    etag: Option<String>,
    version: Option<String>,
}

impl Store {
    /// Fetches an object into a new file. `on_bytes` hears how many bytes are there, every now and then.
    ///
    /// The version and ETag in `from` are asked for. A broken transfer goes on where it stopped, if the object is
    /// still the same.
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
        let mut file = File::options().write(true).create_new(true).open(to).await.map_err(|e| disk(&e))?;
        let mut pauses = backoff().build();
        let mut answer = self.open_at(from, 0).await?;
        let (bytes, etag, version) = (answer.bytes, answer.etag.clone(), answer.version.clone());
        if bytes > max_bytes {
            return Err(too_large(from, bytes, max_bytes));
        }
        let mut written = 0;
        loop {
            let reason = match receive(&mut answer.body, &mut file, &mut written, on_bytes).await {
                Err(Broken::Disk(error)) => return Err(disk(&error)),
                Err(Broken::Body(reason)) => reason,
                Ok(()) if written == bytes => return Ok(Fetched { bytes, etag, version }),
                Ok(()) => format!("{written} of {bytes} bytes came"),
            };
            let Some(pause) = pauses.next() else { return Err(broken_off(from, &reason)) };
            tracing::debug!(store = self.name(), written, bytes, reason, "fetch resumed");
            tokio::time::sleep(pause).await;
            let same = ObjectRef { etag: etag.clone(), version: version.clone(), ..from.clone() };
            answer = self.open_at(&same, written).await?;
            if answer.bytes != bytes {
                return Err(JobError::new(ErrorCode::InputChanged, format!("{from} changed: submit it again.")));
            }
        }
    }

    async fn open_at(&self, from: &ObjectRef, offset: u64) -> Result<Answer> {
        let answer = self
            .attempt(Access::Read, from, || {
                let request = self.client.get_object().bucket(&from.bucket).key(&from.key);
                let request = request.set_version_id(from.version.clone());
                let request = request.set_if_match(from.etag.as_ref().map(|tag| format!("\"{tag}\"")));
                request.set_range((offset > 0).then(|| format!("bytes={offset}-"))).send()
            })
            .await?;
        if offset > 0 && answer.content_range.is_none() {
            return Err(broken_off(from, &"the store ignores ranges"));
        }
        let Some(length) = answer.content_length.and_then(|n| u64::try_from(n).ok()) else {
            let message = format!("The store does not tell the size of {from}: it is no S3 store.");
            return Err(JobError::new(ErrorCode::Internal, message));
        };
        Ok(Answer {
            bytes: offset + length,
            etag: unquoted(answer.e_tag.as_deref()),
            version: real_version(answer.version_id),
            body: answer.body,
        })
    }
}

enum Broken {
    /// The disk refuses.
    Disk(std::io::Error),
    /// The connection broke.
    Body(String),
}

/// Appends the body to the file. All bytes counted in `written` are in the file when this returns.
async fn receive(
    body: &mut ByteStream,
    file: &mut File,
    written: &mut u64,
    on_bytes: &(dyn Fn(u64) + Send + Sync),
) -> Result<(), Broken> {
    let mut out = BufWriter::with_capacity(WRITE_BUFFER_BYTES, file);
    let outcome = loop {
        match body.try_next().await {
            Ok(Some(chunk)) => {
                out.write_all(&chunk).await.map_err(Broken::Disk)?;
                *written += chunk.len() as u64;
                on_bytes(*written);
            }
            Ok(None) => break Ok(()),
            Err(error) => break Err(Broken::Body(error.to_string())),
        }
    };
    out.flush().await.map_err(Broken::Disk)?;
    outcome
}

/// What a failing scratch disk means.
pub(super) fn disk(error: &std::io::Error) -> JobError {
    use std::io::ErrorKind::{QuotaExceeded, StorageFull};
    if matches!(error.kind(), StorageFull | QuotaExceeded) {
        return JobError::new(ErrorCode::ScratchFull, "The scratch disk is full: free some space or give it more.");
    }
    JobError::new(ErrorCode::Internal, format!("The scratch disk does not work: {error}."))
}

fn too_large(object: &ObjectRef, bytes: u64, max_bytes: u64) -> JobError {
    let message =
        format!("{object} has {bytes} bytes, {max_bytes} are allowed: shorten it, or raise `limits.max_bytes`.");
    JobError::new(ErrorCode::InputTooLarge, message)
        .with_detail(serde_json::json!({"bytes": bytes, "max_bytes": max_bytes}))
}
