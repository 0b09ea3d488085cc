//! Files to objects: one request up to 16 MiB, multipart above, SHA-256 computed on the way.

use std::io::Read;
use std::path::Path;

use aws_sdk_s3::types::{CompletedMultipartUpload, CompletedPart};
use bytes::Bytes;
use darkroom_api::Result;
use futures::StreamExt;
use futures::stream::FuturesOrdered;
use sha2::{Digest, Sha256};
use tokio::fs::File;
use tokio::io::AsyncReadExt;

use super::error::{Access, Failure};
use super::transfer::disk;
use super::{ObjectRef, Store};

/// Files up to this size go in one request; larger ones in parts of at least this size.
const PART_BYTES: u64 = 16 << 20;
/// Files up to this size are read at once, without a detour over the threads that read.
const SMALL_BYTES: u64 = 64 << 10;
/// Most parts of one upload.
const MAX_PARTS: u64 = 10_000;
/// User metadata that tells one upload's object from all others.
const UPLOAD_MARK: &str = "darkroom-upload";
/// Parts in flight: memory is this many parts and the one that is read.
const PARTS_AT_ONCE: usize = 2;

/// A stored file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stored {
    /// Size.
    pub bytes: u64,
    /// SHA-256 of the content as it was read, in hexadecimal.
    pub sha256: String,
}

/// A file read in order, part by part, hashed on the way.
struct Parts {
    file: File,
    left: u64,
    part_bytes: u64,
    number: i32,
    hash: Sha256,
}

impl Parts {
    /// The next part and its number, `None` at the end.
    async fn next(&mut self) -> Result<Option<(i32, Bytes)>> {
        let length = self.left.min(self.part_bytes);
        if length == 0 {
            return Ok(None);
        }
        let mut part = vec![0; usize::try_from(length).unwrap_or(usize::MAX)];
        self.file.read_exact(&mut part).await.map_err(|e| disk(&e))?;
        self.hash.update(&part);
        self.left -= length;
        self.number += 1;
        Ok(Some((self.number, part.into())))
    }

    fn sha256(self) -> String {
        data_encoding::HEXLOWER.encode(&self.hash.finalize())
    }
}

impl Store {
    /// Writes a file to an object. `on_bytes` hears how many bytes the store has, part by part.
    /// A multipart upload that fails, or whose future is dropped, is aborted.
    ///
    /// # Errors
    /// Codes of [`super::error::classify`]; [`darkroom_api::ErrorCode::Internal`] when the file cannot be read.
    pub async fn put_file(
        &self,
        file: &Path,
        bucket: &str,
        key: &str,
        media_type: &str,
        on_bytes: &(dyn Fn(u64) + Send + Sync),
    ) -> Result<Stored> {
        let object = ObjectRef::new(self.name(), bucket, key);
        let mut file = std::fs::File::open(file).map_err(|e| disk(&e))?;
        let bytes = file.metadata().map_err(|e| disk(&e))?.len();
        if bytes <= SMALL_BYTES {
            let mut content = vec![0; usize::try_from(bytes).unwrap_or_default()];
            file.read_exact(&mut content).map_err(|e| disk(&e))?;
            let sha256 = data_encoding::HEXLOWER.encode(&Sha256::digest(&content));
            self.put_whole(&object, media_type, content.into()).await?;
            on_bytes(bytes);
            return Ok(Stored { bytes, sha256 });
        }
        let file = File::from_std(file);
        let part_bytes = PART_BYTES.max(bytes.div_ceil(MAX_PARTS));
        let mut parts = Parts { file, left: bytes, part_bytes, number: 0, hash: Sha256::new() };
        if bytes <= PART_BYTES {
            let content = parts.next().await?.map(|(_, part)| part).unwrap_or_default();
            self.put_whole(&object, media_type, content).await?;
            on_bytes(bytes);
        } else {
            self.put_parts(&object, media_type, &mut parts, on_bytes).await?;
        }
        Ok(Stored { bytes, sha256: parts.sha256() })
    }

    async fn put_whole(&self, object: &ObjectRef, media_type: &str, content: Bytes) -> Result<()> {
        let put = || self.put_request(&object.bucket, &object.key, media_type).body(content.clone().into()).send();
        Ok(self.attempt(Access::Write, object, put).await.map(drop)?)
    }

    async fn put_parts(
        &self,
        object: &ObjectRef,
        media_type: &str,
        parts: &mut Parts,
        on_bytes: &(dyn Fn(u64) + Send + Sync),
    ) -> Result<()> {
        let mark = uuid::Uuid::now_v7().simple().to_string();
        let created = self
            .attempt(Access::Write, object, || {
                let request = self.client.create_multipart_upload().bucket(&object.bucket).key(&object.key);
                let request = request.content_type(media_type).metadata(UPLOAD_MARK, &mark);
                let request = request.set_checksum_algorithm(self.terms.checksum.clone());
                let request = request.set_server_side_encryption(self.terms.encryption());
                let request = request.set_ssekms_key_id(self.terms.kms_key_id.clone());
                request.set_request_payer(self.terms.payer()).send()
            })
            .await?;
        let mut upload = Upload { store: self, object, mark, id: created.upload_id.unwrap_or_default(), open: true };
        let sent = match upload.send_all(parts, on_bytes).await {
            Ok(sent) => upload.complete(sent).await,
            Err(error) => Err(error),
        };
        if sent.is_err() {
            upload.give_up().await;
        }
        sent
    }
}

/// A multipart upload that is aborted unless it is completed.
struct Upload<'a> {
    store: &'a Store,
    object: &'a ObjectRef,
    /// What its object has as metadata.
    mark: String,
    id: String,
    open: bool,
}

impl Upload<'_> {
    /// Sends all parts, a few at once; those that are on their way are gone when one has failed.
    async fn send_all(&self, parts: &mut Parts, on_bytes: &(dyn Fn(u64) + Send + Sync)) -> Result<Vec<CompletedPart>> {
        let (mut done, mut completed, mut at_end) = (0, Vec::new(), false);
        let mut sending = FuturesOrdered::new();
        loop {
            while !at_end && sending.len() < PARTS_AT_ONCE {
                match parts.next().await? {
                    Some((number, part)) => sending.push_back(self.send(number, part)),
                    None => at_end = true,
                }
            }
            let Some(sent) = sending.next().await else { return Ok(completed) };
            let (part, bytes) = sent?;
            done += bytes;
            on_bytes(done);
            completed.push(part);
        }
    }

    async fn send(&self, number: i32, part: Bytes) -> Result<(CompletedPart, u64)> {
        let ObjectRef { bucket, key, .. } = self.object;
        let answer = self
            .store
            .attempt(Access::Write, self.object, || {
                let request = self.store.client.upload_part().bucket(bucket).key(key).upload_id(&self.id);
                let request = request.set_request_payer(self.store.terms.payer());
                let request = request.set_checksum_algorithm(self.store.terms.checksum.clone());
                request.part_number(number).body(part.clone().into()).send()
            })
            .await?;
        let done = CompletedPart::builder()
            .part_number(number)
            .set_e_tag(answer.e_tag)
            .set_checksum_crc32(answer.checksum_crc32);
        Ok((done.build(), part.len() as u64))
    }

    async fn complete(&mut self, parts: Vec<CompletedPart>) -> Result<()> {
        let ObjectRef { bucket, key, .. } = self.object;
        let parts = CompletedMultipartUpload::builder().set_parts(Some(parts)).build();
        let completed = self
            .store
            .attempt(Access::Write, self.object, || {
                let request = self.store.client.complete_multipart_upload().bucket(bucket).key(key);
                let request = request.set_request_payer(self.store.terms.payer());
                request.upload_id(&self.id).multipart_upload(parts.clone()).send()
            })
            .await;
        match completed {
            Ok(_) => {}
            // Perhaps our own first try, whose answer was lost.
            Err(failure) if is_unknown(&failure) && self.is_stored().await? => {}
            Err(failure) => return Err(failure.into()),
        }
        self.open = false;
        Ok(())
    }

    /// Whether the object that is there is this upload's. Its size and entity tag would not tell: tags of encrypted
    /// objects follow from nothing that we know.
    async fn is_stored(&self) -> Result<bool> {
        let ObjectRef { bucket, key, .. } = self.object;
        let head = || {
            let request = self.store.client.head_object().bucket(bucket).key(key);
            request.set_request_payer(self.store.terms.payer()).send()
        };
        match self.store.attempt(Access::Read, self.object, head).await {
            Ok(head) => Ok(head.metadata.is_some_and(|metadata| metadata.get(UPLOAD_MARK) == Some(&self.mark))),
            Err(failure) if failure.is_status(404) => Ok(false),
            Err(failure) => Err(failure.into()),
        }
    }

    /// Aborts now, so that nothing is left in the store when the caller hears of the failure.
    async fn give_up(&mut self) {
        abort(self.store, self.object, &self.id).await;
        self.open = false;
    }
}

impl Drop for Upload<'_> {
    fn drop(&mut self) {
        if !self.open {
            return;
        }
        let (store, object, id) = (self.store.clone(), self.object.clone(), std::mem::take(&mut self.id));
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(async move { abort(&store, &object, &id).await });
        }
    }
}

/// Aborts an upload, if it is there. Where that fails after repeats, the bucket's lifecycle rule is what is left.
async fn abort(store: &Store, object: &ObjectRef, id: &str) {
    let ObjectRef { bucket, key, .. } = object;
    let call = || {
        let request = store.client.abort_multipart_upload().bucket(bucket).key(key).upload_id(id);
        request.set_request_payer(store.terms.payer()).send()
    };
    match store.attempt(Access::Write, object, call).await {
        Ok(_) => {}
        Err(failure) if is_unknown(&failure) => {}
        Err(failure) => {
            let error = failure.error;
            tracing::warn!(%error, "a multipart upload could not be aborted; the bucket's lifecycle rule will");
        }
    }
}

fn is_unknown(failure: &Failure) -> bool {
    failure.store_code.as_deref() == Some("NoSuchUpload")
}
