//! Copies: a whole object shares its bytes with the source, a part of an upload gets bytes of its own.

use std::io;

use s3s::{
    S3Result,
    dto::{
        CopyObjectInput, CopyObjectOutput, CopyObjectResult, CopyPartResult, CopySource, ETag, MetadataDirective,
        Range, StreamingBlob, UploadPartCopyInput, UploadPartCopyOutput,
    },
    s3_error,
};

use super::{
    Store,
    conditions::{Conditions, conditions_of, only_version},
    event,
    headers::headers_of,
    objects::{self, TRIES},
    receive::{Announced, Unkept, blocking},
    rows::{self, Content, NewObject, Object, Segment},
};

impl Store {
    /// The copy keeps the ETag.
    pub(super) async fn copy(&self, mut input: CopyObjectInput) -> S3Result<CopyObjectOutput> {
        let source = named(&input.copy_source)?;
        let replaced = input.metadata_directive.as_ref().is_some_and(|d| d.as_str() == MetadataDirective::REPLACE);
        if !replaced && source == (input.bucket.as_str(), input.key.as_str()) {
            return Err(s3_error!(InvalidRequest, "A copy onto itself changes nothing: replace the metadata with it."));
        }
        let (object, linked) = self.linked(source, &conditions_of!(source of input)).await?;
        let headers = if replaced { headers_of!(input).checked()? } else { object.headers.clone() };
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

    /// Second names for an object's bytes. If a writer was faster, the next look sees its object.
    async fn linked(
        &self,
        (bucket, key): (&str, &str),
        conditions: &Conditions<'_>,
    ) -> S3Result<(Object, Vec<(Unkept, u64)>)> {
        for _ in 0..TRIES {
            let (object, segments) = self.find(bucket, key).await?;
            conditions.check_source(&object)?;
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
                match segments.into_iter().map(link).collect::<io::Result<Vec<_>>>() {
                    Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
                    other => other.map(Some),
                }
            });
            if let Some(linked) = linked.await? {
                return Ok((object, linked));
            }
        }
        Err(objects::restless())
    }

    /// A range of an object becomes a part of an upload.
    pub(super) async fn copy_part(&self, input: UploadPartCopyInput) -> S3Result<UploadPartCopyOutput> {
        let source = named(&input.copy_source)?;
        let range = input.copy_source_range.as_deref().map(Range::parse).transpose();
        let range = range.map_err(|_| s3_error!(InvalidArgument, "The range is written bytes=first-last."))?;
        let wanted = |object: &Object, _: &[Segment]| {
            conditions_of!(source of input).check_source(object)?;
            Ok(range.map(|range| range.check(object.size)).transpose()?.unwrap_or(0..object.size))
        };
        let opened = self.opened(source, wanted).await?;
        let length = Some(objects::signed(opened.range.end - opened.range.start));
        let body = StreamingBlob::wrap(opened.reader.stream());
        let upload = (input.upload_id, input.bucket, input.key);
        let part = self.keep_part(upload, input.part_number, Some(body), Announced { length, ..Announced::default() });
        let copy_part_result = CopyPartResult {
            e_tag: Some(ETag::Strong(part.await?.etag)),
            last_modified: Some(rows::timestamp(crate::db::now_ms())),
            ..CopyPartResult::default()
        };
        Ok(UploadPartCopyOutput { copy_part_result: Some(copy_part_result), ..UploadPartCopyOutput::default() })
    }
}

/// Bucket and key of a source.
fn named(source: &CopySource) -> S3Result<(&str, &str)> {
    let CopySource::Bucket { bucket, key, version_id } = source else {
        return Err(s3_error!(NotImplemented, "Only `bucket/key` can be copied."));
    };
    only_version(version_id.as_deref())?;
    Ok((bucket, key))
}
