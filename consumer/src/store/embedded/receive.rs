//! A request's body on its way into a blob: bounded, hashed and checked, with constant memory.

use std::{io, sync::Arc, time::Duration};

use bytes::{Bytes, BytesMut};
use futures::StreamExt as _;
use s3s::{
    S3Error, S3ErrorCode, S3Result, TrailingHeaders,
    checksum::ChecksumHasher,
    crypto::{Checksum as _, Crc32, Crc32c, Crc64Nvme, Md5, Sha1, Sha256},
    dto::{Checksum, StreamingBlob},
    s3_error,
};

use super::{
    Store,
    blobs::{Blobs, Unnamed},
    no_room,
    rows::Content,
};
use crate::db;

/// Bytes gathered before they are hashed and written to a blob.
pub const CHUNK_BYTES: usize = 1 << 20;
/// A client may be silent this long in the middle of a body.
const SILENCE: Duration = Duration::from_secs(60);

/// What a request says about its body.
#[derive(Default)]
pub struct Announced {
    pub length: Option<i64>,
    pub content_md5: Option<String>,
    pub checksum: Checksum,
    /// Names of the checksums that come after the body (`x-amz-trailer`).
    pub trailer: Option<String>,
    pub trailing: Option<TrailingHeaders>,
}

/// Takes the fields out of a request; puts and part uploads have them.
macro_rules! announced {
    ($request:expr) => {
        $crate::store::embedded::receive::Announced {
            length: $request.input.content_length,
            content_md5: $request.input.content_md5.take(),
            checksum: s3s::dto::Checksum {
                checksum_crc32: $request.input.checksum_crc32.take(),
                checksum_crc32c: $request.input.checksum_crc32c.take(),
                checksum_crc64nvme: $request.input.checksum_crc64nvme.take(),
                checksum_sha1: $request.input.checksum_sha1.take(),
                checksum_sha256: $request.input.checksum_sha256.take(),
                checksum_type: None,
            },
            trailer: $request.headers.get("x-amz-trailer").and_then(|v| v.to_str().ok()).map(str::to_owned),
            trailing: $request.trailing_headers.take(),
        }
    };
}
pub(super) use announced;

/// Bytes on their way to a row: synced in a blob that is removed when dropped, or still in memory.
#[derive(Debug)]
pub enum Unkept {
    Blob(Unnamed),
    Inline(Bytes),
}

impl Unkept {
    /// For the row that is about to commit.
    pub fn keep(self) -> Content {
        match self {
            Unkept::Blob(blob) => Content::Blob(blob.keep()),
            Unkept::Inline(bytes) => Content::Inline(bytes),
        }
    }
}

/// A body that arrived whole.
pub struct Received {
    pub content: Unkept,
    pub size: u64,
    /// Hexadecimal MD5: the ETag.
    pub etag: String,
    /// The checksums that were asked for, all of them right.
    pub checksum: Checksum,
}

impl Store {
    /// Takes a body to where it can be kept: up to `inline_bytes` in memory, for a row, else in a blob, synced.
    pub async fn receive(
        &self,
        body: Option<StreamingBlob>,
        announced: Announced,
        inline_bytes: Option<usize>,
    ) -> S3Result<Received> {
        let max_bytes = self.max_object_bytes;
        let length = announced.length.map(i64::unsigned_abs);
        if length.is_some_and(|length| length > max_bytes) {
            return Err(too_large(max_bytes));
        }
        let mut sink = Sink::new(&self.blobs, length.unwrap_or(0), announced.hasher()).await?;
        let mut body = body.map(futures::StreamExt::fuse);
        let mut pending = BytesMut::new();
        let mut size = 0;
        while let Some(chunk) = next(body.as_mut()).await? {
            size += chunk.len() as u64;
            if size > max_bytes {
                return Err(too_large(max_bytes));
            }
            pending.extend_from_slice(&chunk);
            if pending.len() >= CHUNK_BYTES {
                sink = sink.write(pending.split().freeze()).await?;
            }
        }
        if length.is_some_and(|length| length != size) {
            return Err(s3_error!(IncompleteBody));
        }
        let (content, md5, checksum) = sink.finish(pending.freeze(), inline_bytes).await?;
        announced.check(&md5, &checksum)?;
        Ok(Received { content, size, etag: data_encoding::HEXLOWER.encode(&md5), checksum })
    }
}

async fn next(body: Option<&mut futures::stream::Fuse<StreamingBlob>>) -> S3Result<Option<Bytes>> {
    let Some(body) = body else { return Ok(None) };
    match tokio::time::timeout(SILENCE, body.next()).await {
        Ok(None) => Ok(None),
        Ok(Some(Ok(chunk))) => Ok(Some(chunk)),
        Ok(Some(Err(source))) => {
            let mut error = S3Error::with_source(S3ErrorCode::IncompleteBody, source);
            error.set_message("The body ended early, or does not match its signature.");
            Err(error)
        }
        Err(_) => Err(s3_error!(RequestTimeout)),
    }
}

fn too_large(max_bytes: u64) -> S3Error {
    s3_error!(EntityTooLarge, "Objects may have at most {max_bytes} bytes here.")
}

/// A blob being written, with what is computed on the way; moves to the blocking pool and back.
struct Sink {
    blobs: Arc<Blobs>,
    /// Created by the first write.
    blob: Option<Unnamed>,
    md5: Md5,
    hasher: ChecksumHasher,
}

impl Sink {
    async fn new(blobs: &Arc<Blobs>, bytes: u64, hasher: ChecksumHasher) -> S3Result<Self> {
        let blobs = blobs.clone();
        blocking(move || {
            if !blobs.has_room_for(bytes)? {
                return Err(io::ErrorKind::StorageFull.into());
            }
            Ok(Sink { blobs, blob: None, md5: Md5::new(), hasher })
        })
        .await
    }

    async fn write(mut self, bytes: Bytes) -> S3Result<Self> {
        blocking(move || {
            // Again: others write too, and not every body says how long it is.
            if !self.blobs.has_room_for(bytes.len() as u64)? {
                return Err(io::ErrorKind::StorageFull.into());
            }
            self.hash(&bytes);
            let mut blob = self.blob.map_or_else(|| self.blobs.create(), Ok)?;
            blob.write(&bytes)?;
            Ok(Sink { blob: Some(blob), ..self })
        })
        .await
    }

    async fn finish(mut self, bytes: Bytes, inline_bytes: Option<usize>) -> S3Result<(Unkept, [u8; 16], Checksum)> {
        blocking(move || {
            self.hash(&bytes);
            let content = if self.blob.is_none() && inline_bytes.is_some_and(|max| bytes.len() <= max) {
                Unkept::Inline(bytes)
            } else {
                let mut blob = self.blob.map_or_else(|| self.blobs.create(), Ok)?;
                blob.write(&bytes)?;
                blob.sync()?;
                Unkept::Blob(blob)
            };
            Ok((content, self.md5.finalize(), self.hasher.finalize()))
        })
        .await
    }

    fn hash(&mut self, bytes: &[u8]) {
        self.md5.update(bytes);
        self.hasher.update(bytes);
    }
}

/// Runs file work off the runtime; a full disk is answered as such.
pub async fn blocking<T: Send + 'static>(work: impl FnOnce() -> io::Result<T> + Send + 'static) -> S3Result<T> {
    let result = tokio::task::spawn_blocking(work).await.map_err(db::Error::from)?;
    result.map_err(|error| match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => no_room(),
        _ => S3Error::with_source(S3ErrorCode::InternalError, Box::new(error)),
    })
}

impl Announced {
    /// Computes just what there will be something to compare with.
    fn hasher(&self) -> ChecksumHasher {
        let trailer = self.trailer.as_deref().unwrap_or_default().to_ascii_lowercase();
        let wants =
            |header: &Option<String>, name: &str| header.is_some() || trailer.split(',').any(|t| t.trim() == name);
        let checksum = &self.checksum;
        ChecksumHasher {
            crc32: wants(&checksum.checksum_crc32, "x-amz-checksum-crc32").then(Crc32::new),
            crc32c: wants(&checksum.checksum_crc32c, "x-amz-checksum-crc32c").then(Crc32c::new),
            crc64nvme: wants(&checksum.checksum_crc64nvme, "x-amz-checksum-crc64nvme").then(Crc64Nvme::new),
            sha1: wants(&checksum.checksum_sha1, "x-amz-checksum-sha1").then(Sha1::new),
            sha256: wants(&checksum.checksum_sha256, "x-amz-checksum-sha256").then(Sha256::new),
        }
    }

    /// Compares what was computed with what the client said, before the body and after it.
    fn check(self, md5: &[u8; 16], computed: &Checksum) -> S3Result<()> {
        if let Some(said) = &self.content_md5 {
            let said = data_encoding::BASE64.decode(said.as_bytes()).map_err(|_| s3_error!(InvalidDigest))?;
            if said != md5 {
                return Err(s3_error!(BadDigest));
            }
        }
        let trailing = self.trailing.and_then(|headers| headers.take()).unwrap_or_default();
        let after = |name: &str| trailing.get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
        let said = &self.checksum;
        let pairs = [
            ("x-amz-checksum-crc32", &said.checksum_crc32, &computed.checksum_crc32),
            ("x-amz-checksum-crc32c", &said.checksum_crc32c, &computed.checksum_crc32c),
            ("x-amz-checksum-crc64nvme", &said.checksum_crc64nvme, &computed.checksum_crc64nvme),
            ("x-amz-checksum-sha1", &said.checksum_sha1, &computed.checksum_sha1),
            ("x-amz-checksum-sha256", &said.checksum_sha256, &computed.checksum_sha256),
        ];
        for (name, before, computed) in pairs {
            let Some(said) = before.clone().or_else(|| after(name)) else { continue };
            if computed.as_ref() != Some(&said) {
                return Err(s3_error!(BadDigest, "The {name} that was sent is not the body's."));
            }
        }
        Ok(())
    }
}
