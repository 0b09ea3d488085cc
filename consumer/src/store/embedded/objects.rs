//! Object operations.

use std::io;

use s3s::{
    S3Request, S3Result,
    dto::{
        CopyObjectInput, CopyObjectOutput, CopyObjectResult, CopySource, DeleteObjectsInput, DeleteObjectsOutput,
        DeletedObject, ETag, ETagCondition, GetObjectInput, GetObjectOutput, HeadObjectInput, HeadObjectOutput,
        MetadataDirective, PutObjectInput, PutObjectOutput, Range, StreamingBlob,
    },
    s3_error,
};

use super::{
    Store, event,
    headers::headers_of,
    reader::Reader,
    receive::{Unkept, announced, blocking},
    rows::{self, Content, NewObject, Object, Segment},
};

/// S3's limit on one `DeleteObjects`.
const MAX_DELETES: usize = 1000;
/// Looks at an object that is replaced again and again while it is being opened.
const TRIES: u32 = 10;

impl Store {
    pub(super) async fn put(&self, mut request: S3Request<PutObjectInput>) -> S3Result<PutObjectOutput> {
        let announced = announced!(request);
        let mut input = request.input;
        if input.write_offset_bytes.is_some() {
            return Err(s3_error!(NotImplemented, "Appending is not implemented."));
        }
        let headers = headers_of!(input).checked()?;
        let received = self.receive(input.body.take(), announced, self.inline_bytes).await?;
        let (rules, content, size, etag) =
            (self.notifications.clone(), received.content, received.size, received.etag.clone());
        self.change(move |tx| {
            let place = (input.bucket.as_str(), input.key.as_str());
            rows::check_conditions(tx, place, input.if_match.as_ref(), input.if_none_match.as_ref())?;
            let segments = [Segment { content: content.keep(), size }];
            let new = NewObject { bucket: place.0, key: place.1, etag: &etag, headers: &headers, segments: &segments };
            let garbage = rows::replace(tx, &new)?;
            event::notify(tx, &rules, "Put", &new)?;
            Ok(((), garbage))
        })
        .await?;
        let checksum = received.checksum;
        Ok(PutObjectOutput {
            e_tag: Some(ETag::Strong(received.etag)),
            checksum_crc32: checksum.checksum_crc32,
            checksum_crc32c: checksum.checksum_crc32c,
            checksum_crc64nvme: checksum.checksum_crc64nvme,
            checksum_sha1: checksum.checksum_sha1,
            checksum_sha256: checksum.checksum_sha256,
            ..PutObjectOutput::default()
        })
    }

    pub(super) async fn head(&self, input: HeadObjectInput) -> S3Result<HeadObjectOutput> {
        let HeadObjectInput { bucket, key, if_match, if_none_match, .. } = input;
        let object = self.look(move |connection| rows::existing(connection, &bucket, &key)).await?;
        check_read(&object, if_match.as_ref(), if_none_match.as_ref())?;
        let headers = object.headers.clone();
        Ok(HeadObjectOutput {
            accept_ranges: Some("bytes".into()),
            content_length: Some(signed(object.size)),
            e_tag: Some(object.e_tag()),
            last_modified: Some(object.last_modified()),
            content_type: Some(headers.content_type()),
            cache_control: headers.cache_control,
            content_disposition: headers.content_disposition,
            content_encoding: headers.content_encoding,
            content_language: headers.content_language,
            metadata: Some(headers.metadata.into_iter().collect()),
            ..HeadObjectOutput::default()
        })
    }

    pub(super) async fn get(&self, input: GetObjectInput) -> S3Result<GetObjectOutput> {
        for _ in 0..TRIES {
            let (bucket, key) = (input.bucket.clone(), input.key.clone());
            let found = self.look(move |connection| {
                let object = rows::existing(connection, &bucket, &key)?;
                let segments = rows::segments(connection, object.id)?;
                Ok((object, segments))
            });
            let (object, segments) = found.await?;
            check_read(&object, input.if_match.as_ref(), input.if_none_match.as_ref())?;
            let range = input.range.map(|range: Range| range.check(object.size)).transpose()?;
            let bytes = range.clone().unwrap_or(0..object.size);
            // Opened before the answer begins: if a writer was faster, the next look sees its object.
            if let Some(reader) = Reader::open(&self.blobs, segments, &bytes).await? {
                let content_range =
                    range.map(|r| format!("bytes {}-{}/{}", r.start, r.end.saturating_sub(1), object.size));
                return Ok(answer(object, bytes.end - bytes.start, content_range, reader));
            }
        }
        Err(s3_error!(SlowDown, "The object is being replaced all the time: try again."))
    }

    pub(super) async fn delete(&self, bucket: String, key: String, if_match: Option<ETagCondition>) -> S3Result<()> {
        self.change(move |tx| {
            rows::check_conditions(tx, (&bucket, &key), if_match.as_ref(), None)?;
            Ok(((), rows::delete(tx, &bucket, &key)?))
        })
        .await
    }

    pub(super) async fn delete_many(&self, input: DeleteObjectsInput) -> S3Result<DeleteObjectsOutput> {
        let (bucket, delete) = (input.bucket, input.delete);
        if delete.objects.len() > MAX_DELETES {
            return Err(s3_error!(MalformedXML, "At most {MAX_DELETES} keys at a time."));
        }
        let quiet = delete.quiet.unwrap_or(false);
        let deleted = self.change(move |tx| {
            rows::check_bucket(tx, &bucket)?;
            let mut garbage = Vec::new();
            let mut deleted = Vec::new();
            for object in delete.objects {
                garbage.extend(rows::delete(tx, &bucket, &object.key)?);
                deleted.push(DeletedObject { key: Some(object.key), ..DeletedObject::default() });
            }
            Ok((deleted, garbage))
        });
        let deleted = deleted.await?;
        Ok(DeleteObjectsOutput { deleted: (!quiet).then_some(deleted), ..DeleteObjectsOutput::default() })
    }

    /// The copy shares the bytes on the disk and keeps the ETag.
    pub(super) async fn copy(&self, mut input: CopyObjectInput) -> S3Result<CopyObjectOutput> {
        let CopySource::Bucket { bucket, key, version_id: None } = input.copy_source.clone() else {
            return Err(s3_error!(NotImplemented, "Only `bucket/key` can be copied."));
        };
        let (object, segments) = self
            .look(move |connection| {
                let object = rows::existing(connection, &bucket, &key)?;
                let segments = rows::segments(connection, object.id)?;
                Ok((object, segments))
            })
            .await?;
        if let Err(error) =
            check_read(&object, input.copy_source_if_match.as_ref(), input.copy_source_if_none_match.as_ref())
        {
            return Err(if *error.code() == s3s::S3ErrorCode::NotModified {
                s3_error!(PreconditionFailed)
            } else {
                error
            });
        }
        let replaced = input.metadata_directive.as_ref().is_some_and(|d| d.as_str() == MetadataDirective::REPLACE);
        let headers = if replaced { headers_of!(input).checked()? } else { object.headers.clone() };
        let blobs = self.blobs.clone();
        let linked = blocking(move || {
            let link = |Segment { content, size }| match content {
                Content::Blob(name) => {
                    let blob = blobs.link(&name)?;
                    blob.sync()?;
                    Ok((Unkept::Blob(blob), size))
                }
                Content::Inline(bytes) => Ok((Unkept::Inline(bytes), size)),
            };
            segments.into_iter().map(link).collect::<io::Result<Vec<_>>>()
        })
        .await?;
        let (rules, etag) = (self.notifications.clone(), object.etag.clone());
        self.change(move |tx| {
            rows::check_bucket(tx, &input.bucket)?;
            let segments = linked.into_iter().map(|(content, size)| Segment { content: content.keep(), size });
            let segments: Vec<_> = segments.collect();
            let (bucket, key) = (&input.bucket, &input.key);
            let new = NewObject { bucket, key, etag: &etag, headers: &headers, segments: &segments };
            let garbage = rows::replace(tx, &new)?;
            event::notify(tx, &rules, "Copy", &new)?;
            Ok(((), garbage))
        })
        .await?;
        let copy_object_result = CopyObjectResult {
            e_tag: Some(object.e_tag()),
            last_modified: Some(rows::timestamp(crate::db::now_ms())),
            ..CopyObjectResult::default()
        };
        Ok(CopyObjectOutput { copy_object_result: Some(copy_object_result), ..CopyObjectOutput::default() })
    }
}

/// S3's order: a failed If-Match is 412, a matching If-None-Match 304.
fn check_read(
    object: &Object,
    if_match: Option<&ETagCondition>,
    if_none_match: Option<&ETagCondition>,
) -> S3Result<()> {
    if if_match.is_some_and(|condition| !rows::matches(condition, &object.etag)) {
        return Err(s3_error!(PreconditionFailed));
    }
    if if_none_match.is_some_and(|condition| rows::matches(condition, &object.etag)) {
        return Err(s3_error!(NotModified));
    }
    Ok(())
}

fn answer(object: Object, length: u64, content_range: Option<String>, reader: Reader) -> GetObjectOutput {
    let headers = object.headers.clone();
    GetObjectOutput {
        body: Some(StreamingBlob::wrap(reader.stream())),
        accept_ranges: Some("bytes".into()),
        content_length: Some(signed(length)),
        content_range,
        e_tag: Some(object.e_tag()),
        last_modified: Some(object.last_modified()),
        content_type: Some(headers.content_type()),
        cache_control: headers.cache_control,
        content_disposition: headers.content_disposition,
        content_encoding: headers.content_encoding,
        content_language: headers.content_language,
        metadata: Some(headers.metadata.into_iter().collect()),
        ..GetObjectOutput::default()
    }
}

/// A size as the protocol's types have it.
pub fn signed(size: u64) -> i64 {
    i64::try_from(size).unwrap_or(i64::MAX)
}
