//! Object operations.

use s3s::{
    S3Error, S3Request, S3Result,
    dto::{
        self, DeleteObjectInput, DeleteObjectsInput, DeleteObjectsOutput, DeletedObject, ETag, GetObjectInput,
        GetObjectOutput, HeadObjectInput, HeadObjectOutput, PutObjectInput, PutObjectOutput, StreamingBlob,
    },
    s3_error,
};

use super::{
    Store,
    conditions::{conditions_of, only_version},
    event,
    headers::headers_of,
    reader::Reader,
    receive::announced,
    rows::{self, NewObject, Object, Segment},
};

/// S3's limit on one `DeleteObjects`.
const MAX_DELETES: usize = 1000;
/// Looks at an object that is replaced again and again while it is being opened.
pub(super) const TRIES: u32 = 10;

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
        only_version(input.version_id.as_deref())?;
        let (object, segments) = self.find(&input.bucket, &input.key).await?;
        conditions_of!(input).check(&object)?;
        let range = input.part_number.map(|number| part(&segments, number)).transpose()?.unwrap_or(0..object.size);
        let headers = object.headers.clone();
        Ok(HeadObjectOutput {
            parts_count: input.part_number.and(i32::try_from(segments.len()).ok()),
            accept_ranges: Some("bytes".into()),
            content_length: Some(signed(range.end - range.start)),
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
        only_version(input.version_id.as_deref())?;
        if input.range.is_some() && input.part_number.is_some() {
            return Err(s3_error!(InvalidRequest, "Ask for a range or for a part, not for both."));
        }
        let partial = input.range.is_some() || input.part_number.is_some();
        let wanted = |object: &Object, segments: &[Segment]| {
            conditions_of!(input).check(object)?;
            match (&input.range, input.part_number) {
                (Some(range), _) => Ok(range.check(object.size)?),
                (None, Some(number)) => part(segments, number),
                (None, None) => Ok(0..object.size),
            }
        };
        let opened = self.opened((&input.bucket, &input.key), wanted).await?;
        let answer = answer(opened, partial);
        Ok(GetObjectOutput { parts_count: input.part_number.and(answer.parts_count), ..answer })
    }

    /// An object and where its bytes lie.
    pub(super) async fn find(&self, bucket: &str, key: &str) -> S3Result<(Object, Vec<Segment>)> {
        let (bucket, key) = (bucket.to_owned(), key.to_owned());
        self.look(move |connection| {
            let object = rows::existing(connection, &bucket, &key)?;
            let segments = rows::segments(connection, object.id)?;
            Ok((object, segments))
        })
        .await
    }

    /// The range of an object that `wanted` names, ready to be read.
    pub(super) async fn opened(
        &self,
        (bucket, key): (&str, &str),
        wanted: impl Fn(&Object, &[Segment]) -> S3Result<std::ops::Range<u64>>,
    ) -> S3Result<Opened> {
        for _ in 0..TRIES {
            let (object, segments) = self.find(bucket, key).await?;
            let range = wanted(&object, &segments)?;
            let parts = segments.len();
            // Opened before the answer begins: if a writer was faster, the next look sees its object.
            if let Some(reader) = Reader::open(&self.blobs, segments, &range).await? {
                return Ok(Opened { object, range, parts, reader });
            }
        }
        Err(restless())
    }

    pub(super) async fn delete(&self, input: DeleteObjectInput) -> S3Result<()> {
        only_version(input.version_id.as_deref())?;
        self.change(move |tx| {
            let DeleteObjectInput { bucket, key, if_match, .. } = &input;
            rows::check_conditions(tx, (bucket, key), if_match.as_ref(), None)?;
            Ok(((), rows::delete(tx, bucket, key)?))
        })
        .await
    }

    pub(super) async fn delete_many(&self, input: DeleteObjectsInput) -> S3Result<DeleteObjectsOutput> {
        let (bucket, delete) = (input.bucket, input.delete);
        if delete.objects.len() > MAX_DELETES {
            return Err(s3_error!(MalformedXML, "At most {MAX_DELETES} keys at a time."));
        }
        let quiet = delete.quiet.unwrap_or(false);
        let done = self.change(move |tx| {
            rows::check_bucket(tx, &bucket)?;
            let (mut garbage, mut deleted, mut refused) = (Vec::new(), Vec::new(), Vec::new());
            for object in delete.objects {
                if let Err(error) = only_version(object.version_id.as_deref()) {
                    let (code, message) = (Some(error.code().as_str().to_owned()), error.message().map(str::to_owned));
                    refused.push(dto::Error { code, message, key: Some(object.key), version_id: object.version_id });
                    continue;
                }
                garbage.extend(rows::delete(tx, &bucket, &object.key)?);
                deleted.push(DeletedObject { key: Some(object.key), ..DeletedObject::default() });
            }
            Ok(((deleted, refused), garbage))
        });
        let (deleted, refused) = done.await?;
        let (deleted, errors) = ((!quiet).then_some(deleted), (!refused.is_empty()).then_some(refused));
        Ok(DeleteObjectsOutput { deleted, errors, ..DeleteObjectsOutput::default() })
    }
}

/// The range of one part of a multipart object; of another object the whole is the only part.
fn part(segments: &[Segment], number: i32) -> S3Result<std::ops::Range<u64>> {
    let index = usize::try_from(number).ok().and_then(|number| number.checked_sub(1));
    let Some((segment, before)) = index.and_then(|index| Some((segments.get(index)?, &segments[..index]))) else {
        return Err(s3_error!(InvalidPart, "The object has no such part."));
    };
    let start: u64 = before.iter().map(|segment| segment.size).sum();
    Ok(start..start + segment.size)
}

/// The answer where every look at an object came too late.
pub fn restless() -> S3Error {
    s3_error!(SlowDown, "The object is being replaced all the time: try again.")
}

/// A part of an object, open.
pub(super) struct Opened {
    pub(super) object: Object,
    pub(super) range: std::ops::Range<u64>,
    /// Of how many parts the object is made.
    parts: usize,
    pub(super) reader: Reader,
}

fn answer(Opened { object, range, parts, reader }: Opened, partial: bool) -> GetObjectOutput {
    let headers = object.headers.clone();
    let content_range =
        partial.then(|| format!("bytes {}-{}/{}", range.start, range.end.saturating_sub(1), object.size));
    GetObjectOutput {
        body: Some(StreamingBlob::wrap(reader.stream())),
        accept_ranges: Some("bytes".into()),
        content_length: Some(signed(range.end - range.start)),
        content_range,
        parts_count: i32::try_from(parts).ok(),
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
