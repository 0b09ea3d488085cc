//! Multipart uploads: parts are blobs from the start, completing makes them the segments of an object.

use std::collections::HashSet;

use rusqlite::{Connection, OptionalExtension as _, params};
use s3s::{
    S3Request, S3Result,
    crypto::{Checksum as _, Md5},
    dto::{
        AbortMultipartUploadInput, Checksum, CompleteMultipartUploadInput, CompleteMultipartUploadOutput,
        CompletedPart, CreateMultipartUploadInput, CreateMultipartUploadOutput, ETag, ListMultipartUploadsInput,
        ListMultipartUploadsOutput, ListPartsInput, ListPartsOutput, MultipartUpload, Part, StreamingBlob,
        UploadPartInput, UploadPartOutput,
    },
    s3_error,
};
use uuid::Uuid;

use super::{
    Garbage, Store, event,
    headers::{Headers, headers_of},
    listing::encoder,
    objects::signed,
    receive::{Announced, announced},
    rows::{self, Content, NewObject, Segment},
};
use crate::db::{Error, now_ms};

/// S3's limits: number of parts, bytes of every part but the last, entries of a listing.
const MAX_PARTS: i32 = 10_000;
const MIN_PART_BYTES: u64 = 5 << 20;
const MAX_LISTED: i32 = 1000;
/// Parts are always blobs.
const NO_INLINE: Option<usize> = None;

/// An upload's row.
struct Upload {
    headers: Headers,
    completed: Option<String>,
}

/// What an uploader hears of its part.
pub(super) struct Kept {
    pub(super) etag: String,
    checksum: Checksum,
}

/// A part's row.
struct Stored {
    number: i32,
    segment: Segment,
    etag: String,
    modified_at: i64,
}

impl Store {
    pub(super) async fn begin_upload(
        &self,
        mut input: CreateMultipartUploadInput,
    ) -> S3Result<CreateMultipartUploadOutput> {
        let headers = headers_of!(input).checked()?.to_json();
        let id = Uuid::now_v7().simple().to_string();
        let (bucket, key, upload_id) = (input.bucket.clone(), input.key.clone(), id.clone());
        self.change(move |tx| {
            rows::check_bucket(tx, &bucket)?;
            let sql = "INSERT INTO uploads (id, bucket, key, initiated_at, headers) VALUES (?1, ?2, ?3, ?4, ?5)";
            tx.execute(sql, params![id, bucket, key, now_ms(), headers]).map_err(Error::from)?;
            // A server may run for months: what nobody finished must not wait for its next start.
            Ok(((), rows::end_stale_uploads(tx)?))
        })
        .await?;
        let (bucket, key) = (Some(input.bucket), Some(input.key));
        Ok(CreateMultipartUploadOutput { bucket, key, upload_id: Some(upload_id), ..Default::default() })
    }

    pub(super) async fn add_part(&self, mut request: S3Request<UploadPartInput>) -> S3Result<UploadPartOutput> {
        let announced = announced!(request);
        let mut input = request.input;
        let upload = (input.upload_id, input.bucket, input.key);
        let kept = self.keep_part(upload, input.part_number, input.body.take(), announced).await?;
        let Kept { etag, checksum } = kept;
        Ok(UploadPartOutput {
            e_tag: Some(ETag::Strong(etag)),
            checksum_crc32: checksum.checksum_crc32,
            checksum_crc32c: checksum.checksum_crc32c,
            checksum_crc64nvme: checksum.checksum_crc64nvme,
            checksum_sha1: checksum.checksum_sha1,
            checksum_sha256: checksum.checksum_sha256,
            ..UploadPartOutput::default()
        })
    }

    /// Takes a body in as a part of an upload (its id, bucket and key), in the place of an earlier one.
    pub(super) async fn keep_part(
        &self,
        (id, bucket, key): (String, String, String),
        number: i32,
        body: Option<StreamingBlob>,
        announced: Announced,
    ) -> S3Result<Kept> {
        if !(1..=MAX_PARTS).contains(&number) {
            return Err(s3_error!(InvalidArgument, "Part numbers are 1 to {MAX_PARTS}."));
        }
        let received = self.receive(body, announced, NO_INLINE).await?;
        let (content, size, etag) = (received.content, received.size, received.etag.clone());
        self.change(move |tx| {
            unfinished(tx, &id, &bucket, &key)?;
            let sql = "SELECT blob FROM parts WHERE upload = ?1 AND number = ?2";
            let garbage = rows::blobs(tx, sql, params![id, number])?;
            let sql = "INSERT OR REPLACE INTO parts VALUES (?1, ?2, ?3, ?4, ?5, ?6)";
            let content = content.keep();
            let row = params![id, number, content.blob(), size, etag, now_ms()];
            tx.prepare_cached(sql).and_then(|mut insert| insert.execute(row)).map_err(Error::from)?;
            Ok(((), garbage))
        })
        .await?;
        Ok(Kept { etag: received.etag, checksum: received.checksum })
    }

    pub(super) async fn complete(
        &self,
        input: CompleteMultipartUploadInput,
    ) -> S3Result<CompleteMultipartUploadOutput> {
        let listed = input.multipart_upload.and_then(|upload| upload.parts).unwrap_or_default();
        let (rules, max_bytes) = (self.notifications.clone(), self.max_object_bytes);
        let (bucket, key) = (input.bucket.clone(), input.key.clone());
        let etag = self.change(move |tx| {
            let place = (input.bucket.as_str(), input.key.as_str());
            let upload = upload(tx, &input.upload_id, place.0, place.1)?;
            if let Some(etag) = upload.completed {
                return Ok((etag, Garbage::new()));
            }
            rows::check_conditions(tx, place, input.if_match.as_ref(), input.if_none_match.as_ref())?;
            let (segments, etag) = chosen(parts(tx, &input.upload_id, 0, MAX_PARTS)?, &listed, max_bytes)?;
            let sql = "SELECT blob FROM parts WHERE upload = ?1";
            let mut garbage = rows::blobs(tx, sql, params![input.upload_id])?;
            let used: HashSet<&str> = segments.iter().filter_map(|segment| segment.content.blob()).collect();
            garbage.retain(|blob| !used.contains(blob.as_str()));
            let headers = &upload.headers;
            let new = NewObject { bucket: place.0, key: place.1, etag: &etag, headers, segments: &segments };
            garbage.extend(rows::replace(tx, &new)?);
            tx.execute("DELETE FROM parts WHERE upload = ?1", [&input.upload_id]).map_err(Error::from)?;
            let sql = "UPDATE uploads SET completed = ?2 WHERE id = ?1";
            tx.execute(sql, [&input.upload_id, &etag]).map_err(Error::from)?;
            event::notify(tx, &rules, "CompleteMultipartUpload", &new)?;
            Ok((etag, garbage))
        });
        let e_tag = Some(ETag::Strong(etag.await?));
        let location = Some(format!("/{bucket}/{key}"));
        Ok(CompleteMultipartUploadOutput {
            bucket: Some(bucket),
            key: Some(key),
            e_tag,
            location,
            ..Default::default()
        })
    }

    pub(super) async fn abort(&self, input: AbortMultipartUploadInput) -> S3Result<()> {
        self.change(move |tx| {
            unfinished(tx, &input.upload_id, &input.bucket, &input.key)?;
            let garbage = rows::blobs(tx, "SELECT blob FROM parts WHERE upload = ?1", params![input.upload_id])?;
            tx.execute("DELETE FROM uploads WHERE id = ?1", [&input.upload_id]).map_err(Error::from)?;
            Ok(((), garbage))
        })
        .await
    }

    pub(super) async fn uploaded_parts(&self, input: ListPartsInput) -> S3Result<ListPartsOutput> {
        let max_parts = input.max_parts.unwrap_or(MAX_LISTED).clamp(0, MAX_LISTED);
        let marker = input.part_number_marker.unwrap_or(0);
        let (upload_id, bucket, key) = (input.upload_id.clone(), input.bucket.clone(), input.key.clone());
        let found = self.look(move |connection| {
            unfinished(connection, &upload_id, &bucket, &key)?;
            Ok(parts(connection, &upload_id, marker, max_parts + 1)?)
        });
        let mut found = found.await?;
        let more = found.len() > max_parts as usize;
        found.truncate(max_parts as usize);
        Ok(ListPartsOutput {
            bucket: Some(input.bucket),
            key: Some(input.key),
            upload_id: Some(input.upload_id),
            max_parts: Some(max_parts),
            part_number_marker: Some(marker),
            next_part_number_marker: found.last().filter(|_| more).map(|part| part.number),
            is_truncated: Some(more),
            parts: Some(found.into_iter().map(listed).collect()),
            ..ListPartsOutput::default()
        })
    }

    pub(super) async fn uploads(&self, input: ListMultipartUploadsInput) -> S3Result<ListMultipartUploadsOutput> {
        if input.delimiter.as_ref().is_some_and(|delimiter| !delimiter.is_empty()) {
            return Err(s3_error!(NotImplemented, "Uploads are listed without a delimiter."));
        }
        let max_uploads = input.max_uploads.unwrap_or(MAX_LISTED).clamp(0, MAX_LISTED);
        let prefix = input.prefix.unwrap_or_default();
        let marker = (input.key_marker.clone().unwrap_or_default(), input.upload_id_marker.clone().unwrap_or_default());
        let query = (input.bucket.clone(), prefix.clone(), marker);
        let found = self.look(move |connection| {
            rows::check_bucket(connection, &query.0)?;
            Ok(unfinished_uploads(connection, &query.0, &query.1, &query.2, max_uploads + 1)?)
        });
        let mut uploads = found.await?;
        let more = uploads.len() > max_uploads as usize;
        uploads.truncate(max_uploads as usize);
        let last = uploads.last().filter(|_| more).cloned();
        let encode = encoder(input.encoding_type.as_ref());
        for upload in &mut uploads {
            upload.key = upload.key.take().map(&encode);
        }
        Ok(ListMultipartUploadsOutput {
            bucket: Some(input.bucket),
            prefix: Some(encode(prefix)),
            key_marker: input.key_marker.map(&encode),
            upload_id_marker: input.upload_id_marker,
            next_key_marker: last.as_ref().and_then(|upload| upload.key.clone()).map(&encode),
            next_upload_id_marker: last.and_then(|upload| upload.upload_id),
            max_uploads: Some(max_uploads),
            is_truncated: Some(more),
            uploads: Some(uploads),
            encoding_type: input.encoding_type,
            ..ListMultipartUploadsOutput::default()
        })
    }
}

fn upload(connection: &Connection, id: &str, bucket: &str, key: &str) -> S3Result<Upload> {
    let sql = "SELECT headers, completed FROM uploads WHERE id = ?1 AND bucket = ?2 AND key = ?3";
    let read = |row: &rusqlite::Row<'_>| {
        let headers: String = row.get(0)?;
        Ok(Upload { headers: Headers::from_json(&headers), completed: row.get(1)? })
    };
    let found =
        connection.prepare_cached(sql).and_then(|mut select| select.query_row([id, bucket, key], read).optional());
    found.map_err(Error::from)?.ok_or_else(|| s3_error!(NoSuchUpload))
}

fn unfinished(connection: &Connection, id: &str, bucket: &str, key: &str) -> S3Result<()> {
    match upload(connection, id, bucket, key)?.completed {
        None => Ok(()),
        Some(_) => Err(s3_error!(NoSuchUpload)),
    }
}

fn parts(connection: &Connection, id: &str, after: i32, limit: i32) -> Result<Vec<Stored>, Error> {
    let sql = "SELECT number, blob, size, etag, modified_at FROM parts
               WHERE upload = ?1 AND number > ?2 ORDER BY number LIMIT ?3";
    let mut select = connection.prepare_cached(sql)?;
    let rows = select.query_map(params![id, after, limit], |row| {
        let segment = Segment { content: Content::Blob(row.get(1)?), size: row.get(2)? };
        Ok(Stored { number: row.get(0)?, segment, etag: row.get(3)?, modified_at: row.get(4)? })
    })?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// The segments and the ETag of the object that the listed parts make.
fn chosen(stored: Vec<Stored>, listed: &[CompletedPart], max_bytes: u64) -> S3Result<(Vec<Segment>, String)> {
    if listed.is_empty() {
        return Err(s3_error!(MalformedXML, "List at least one part."));
    }
    if !listed.is_sorted_by(|a, b| a.part_number < b.part_number) {
        return Err(s3_error!(InvalidPartOrder));
    }
    let mut stored = stored.into_iter();
    let mut segments = Vec::with_capacity(listed.len());
    let mut md5 = Md5::new();
    for part in listed {
        // Both are in ascending order.
        let found =
            stored.find(|stored| Some(stored.number) == part.part_number).ok_or_else(|| s3_error!(InvalidPart))?;
        if part.e_tag.as_ref().is_some_and(|etag| etag.value() != found.etag) {
            return Err(s3_error!(InvalidPart));
        }
        md5.update(&data_encoding::HEXLOWER.decode(found.etag.as_bytes()).map_err(|_| s3_error!(InvalidPart))?);
        segments.push(found.segment);
    }
    if segments.iter().rev().skip(1).any(|segment| segment.size < MIN_PART_BYTES) {
        return Err(s3_error!(EntityTooSmall));
    }
    if segments.iter().map(|segment| segment.size).sum::<u64>() > max_bytes {
        return Err(s3_error!(EntityTooLarge));
    }
    let etag = format!("{}-{}", data_encoding::HEXLOWER.encode(&md5.finalize()), segments.len());
    Ok((segments, etag))
}

fn listed(part: Stored) -> Part {
    Part {
        part_number: Some(part.number),
        size: Some(signed(part.segment.size)),
        e_tag: Some(ETag::Strong(part.etag)),
        last_modified: Some(rows::timestamp(part.modified_at)),
        ..Part::default()
    }
}

/// Uploads after the marker. Without an upload id the marker's key is past, with one its later uploads are not.
fn unfinished_uploads(
    connection: &Connection,
    bucket: &str,
    prefix: &str,
    (key, id): &(String, String),
    limit: i32,
) -> Result<Vec<MultipartUpload>, Error> {
    let sql = "SELECT key, id, initiated_at FROM uploads
               WHERE bucket = ?1 AND completed IS NULL AND substr(key, 1, length(?2)) = ?2
                 AND (key > ?3 OR (key = ?3 AND ?4 <> '' AND id > ?4))
               ORDER BY key, id LIMIT ?5";
    let mut select = connection.prepare_cached(sql)?;
    let rows = select.query_map(params![bucket, prefix, key, id, limit], |row| {
        let (key, upload_id) = (Some(row.get(0)?), Some(row.get(1)?));
        Ok(MultipartUpload { key, upload_id, initiated: Some(rows::timestamp(row.get(2)?)), ..Default::default() })
    })?;
    Ok(rows.collect::<Result<_, _>>()?)
}
