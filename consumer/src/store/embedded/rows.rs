//! The rows behind buckets, objects and uploads.

use std::collections::HashSet;

use bytes::Bytes;
use rusqlite::{Connection, OptionalExtension as _, Row, Transaction, params};
use s3s::{
    S3Result,
    dto::{ETag, ETagCondition, Timestamp},
    s3_error,
};

use super::{Garbage, headers::Headers};
use crate::db::{Error, now_ms};

/// Uploads that were begun this long ago are ended when the next one begins, and at the next start.
const STALE_UPLOAD_MS: i64 = 7 * 24 * 3600 * 1000;

/// An object, without its bytes.
#[derive(Debug, Clone)]
pub struct Object {
    pub id: i64,
    pub size: u64,
    pub etag: String,
    pub modified_at: i64,
    pub headers: Headers,
}

impl Object {
    /// The ETag as a header.
    pub fn e_tag(&self) -> ETag {
        ETag::Strong(self.etag.clone())
    }

    /// When it was written, in whole seconds, as HTTP dates are.
    pub fn last_modified(&self) -> Timestamp {
        timestamp(self.modified_at)
    }
}

/// Consecutive bytes of an object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Segment {
    pub content: Content,
    pub size: u64,
}

/// Where bytes are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Content {
    /// In the blob of this name.
    Blob(String),
    /// In the row itself, since they are few.
    Inline(Bytes),
}

impl Content {
    /// The blob, if there is one.
    pub fn blob(&self) -> Option<&str> {
        match self {
            Content::Blob(name) => Some(name),
            Content::Inline(_) => None,
        }
    }

    /// The bytes, if they are here.
    fn inline(&self) -> Option<&[u8]> {
        match self {
            Content::Blob(_) => None,
            Content::Inline(bytes) => Some(bytes),
        }
    }
}

/// Unix milliseconds as S3 tells times.
pub fn timestamp(unix_ms: i64) -> Timestamp {
    let at = std::time::UNIX_EPOCH + std::time::Duration::from_millis(unix_ms.max(0).unsigned_abs());
    at.into()
}

/// Creates a bucket; false when it was there.
pub fn create_bucket(tx: &Transaction<'_>, name: &str) -> Result<bool, Error> {
    let sql = "INSERT INTO buckets VALUES (?1, ?2) ON CONFLICT DO NOTHING";
    Ok(tx.prepare_cached(sql)?.execute(params![name, now_ms()])? == 1)
}

/// Refuses what is asked of a bucket that is not there.
pub fn check_bucket(connection: &Connection, name: &str) -> S3Result<()> {
    let sql = "SELECT 1 FROM buckets WHERE name = ?1";
    let mut select = connection.prepare_cached(sql).map_err(Error::from)?;
    if select.exists([name]).map_err(Error::from)? {
        Ok(())
    } else {
        Err(s3_error!(NoSuchBucket, "There is no such bucket."))
    }
}

/// The object of that key, if there is one.
pub fn object(connection: &Connection, bucket: &str, key: &str) -> Result<Option<Object>, Error> {
    let sql = "SELECT id, size, etag, modified_at, headers FROM objects WHERE bucket = ?1 AND key = ?2";
    let read = |row: &Row<'_>| {
        let headers: String = row.get(4)?;
        Ok(Object {
            id: row.get(0)?,
            size: row.get(1)?,
            etag: row.get(2)?,
            modified_at: row.get(3)?,
            headers: Headers::from_json(&headers),
        })
    };
    Ok(connection.prepare_cached(sql)?.query_row([bucket, key], read).optional()?)
}

/// The same, or the error that says what is missing.
pub fn existing(connection: &Connection, bucket: &str, key: &str) -> S3Result<Object> {
    if let Some(object) = object(connection, bucket, key)? {
        return Ok(object);
    }
    check_bucket(connection, bucket)?;
    Err(s3_error!(NoSuchKey, "There is no such key in this bucket."))
}

/// Where the bytes of an object lie, in order.
pub fn segments(connection: &Connection, object: i64) -> Result<Vec<Segment>, Error> {
    let sql = "SELECT size, blob, inline FROM segments WHERE object = ?1 ORDER BY number";
    let mut select = connection.prepare_cached(sql)?;
    let rows = select.query_map([object], |row| {
        let content = match row.get(1)? {
            Some(name) => Content::Blob(name),
            None => Content::Inline(row.get::<_, Vec<u8>>(2)?.into()),
        };
        Ok(Segment { content, size: row.get(0)? })
    })?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// Holds a write against its conditions, in the transaction that makes it.
pub fn check_conditions(
    tx: &Transaction<'_>,
    (bucket, key): (&str, &str),
    if_match: Option<&ETagCondition>,
    if_none_match: Option<&ETagCondition>,
) -> S3Result<()> {
    check_bucket(tx, bucket)?;
    if if_match.is_none() && if_none_match.is_none() {
        return Ok(());
    }
    let current = object(tx, bucket, key)?;
    match (if_match, &current) {
        (Some(_), None) => return Err(s3_error!(NoSuchKey)),
        (Some(condition), Some(object)) if !matches(condition, &object.etag) => {
            return Err(s3_error!(PreconditionFailed));
        }
        _ => {}
    }
    match (if_none_match, &current) {
        (Some(condition), Some(object)) if matches(condition, &object.etag) => Err(s3_error!(PreconditionFailed)),
        _ => Ok(()),
    }
}

/// Whether a condition names this ETag.
pub fn matches(condition: &ETagCondition, etag: &str) -> bool {
    condition.as_etag().is_none_or(|wanted| wanted.value() == etag)
}

/// An object about to appear.
pub struct NewObject<'a> {
    pub bucket: &'a str,
    pub key: &'a str,
    pub etag: &'a str,
    pub headers: &'a Headers,
    pub segments: &'a [Segment],
}

/// Puts an object where another may have been; returns the other's blobs.
pub fn replace(tx: &Transaction<'_>, new: &NewObject<'_>) -> Result<Garbage, Error> {
    let garbage = delete(tx, new.bucket, new.key)?;
    let size: u64 = new.segments.iter().map(|segment| segment.size).sum();
    let sql = "INSERT INTO objects (bucket, key, size, etag, modified_at, headers) VALUES (?1, ?2, ?3, ?4, ?5, ?6)";
    let mut insert = tx.prepare_cached(sql)?;
    let id = insert.insert(params![new.bucket, new.key, size, new.etag, now_ms(), new.headers.to_json()])?;
    let sql = "INSERT INTO segments (object, number, size, blob, inline) VALUES (?1, ?2, ?3, ?4, ?5)";
    let mut insert = tx.prepare_cached(sql)?;
    for (number, Segment { content, size }) in new.segments.iter().enumerate() {
        insert.execute(params![id, number, size, content.blob(), content.inline()])?;
    }
    Ok(garbage)
}

/// Removes an object, if it is there; returns its blobs.
pub fn delete(tx: &Transaction<'_>, bucket: &str, key: &str) -> Result<Garbage, Error> {
    let sql = "SELECT blob FROM segments WHERE object = (SELECT id FROM objects WHERE bucket = ?1 AND key = ?2)";
    let garbage = blobs(tx, sql, params![bucket, key])?;
    tx.prepare_cached("DELETE FROM objects WHERE bucket = ?1 AND key = ?2")?.execute([bucket, key])?;
    Ok(garbage)
}

/// Blob names that a query selects; inline bytes have none.
pub fn blobs(tx: &Transaction<'_>, sql: &str, params: &[&dyn rusqlite::ToSql]) -> Result<Garbage, Error> {
    let mut select = tx.prepare_cached(sql)?;
    let rows = select.query_map(params, |row| row.get::<_, Option<String>>(0))?;
    Ok(rows.filter_map(Result::transpose).collect::<Result<_, _>>()?)
}

/// Forgets uploads that nobody finished, and the answers to completions that nobody will repeat; returns their blobs.
pub fn end_stale_uploads(tx: &Transaction<'_>) -> Result<Garbage, Error> {
    let before = now_ms() - STALE_UPLOAD_MS;
    let sql = "SELECT blob FROM parts JOIN uploads ON uploads.id = parts.upload WHERE initiated_at < ?1";
    let garbage = blobs(tx, sql, params![before])?;
    tx.prepare_cached("DELETE FROM uploads WHERE initiated_at < ?1")?.execute([before])?;
    Ok(garbage)
}

/// Every blob that a row names.
pub fn live_blobs(tx: &Transaction<'_>) -> Result<HashSet<String>, Error> {
    Ok(blobs(tx, "SELECT blob FROM segments UNION ALL SELECT blob FROM parts", params![])?.into_iter().collect())
}
