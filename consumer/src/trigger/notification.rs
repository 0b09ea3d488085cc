//! The senders' formats, and how each writes a key.

use std::borrow::Cow;

use darkroom_api::{ErrorCode, JobError, Result};
use jiff::Timestamp;
use percent_encoding::percent_decode_str;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::{Ignored, IgnoredReason, Origin, Trigger, Upload};
use crate::store::{Head, check_bucket, check_key, shorten};

/// The event source of uploads that no store told of.
const RECONCILER: &str = "darkroom:reconcile";
/// Longest tag, version and sequencer: no store's has more.
const MAX_NAME_BYTES: usize = 1024;

/// The notification of an object that no store told of, or whose notification was lost: the same each time that it is
/// written of the same content.
pub fn unheard(bucket: &str, key: &str, head: &Head) -> Value {
    json!({"Records": [{
        "eventSource": RECONCILER,
        "eventName": "ObjectCreated:Put",
        "eventTime": head.modified.map(|time| time.to_string()),
        "s3": {
            "bucket": { "name": bucket },
            "object": { "key": key, "size": head.bytes, "eTag": head.etag, "versionId": head.version },
        },
    }]})
}

/// One record of an S3 notification, as far as we read it. Senders add fields at will, so others are let pass.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Record {
    event_source: String,
    event_name: String,
    #[serde(default)]
    event_time: Option<String>,
    #[serde(default)]
    response_elements: Option<ResponseElements>,
    s3: Entity,
}

#[derive(Debug, Deserialize)]
struct ResponseElements {
    #[serde(rename = "x-amz-request-id", default)]
    request_id: Option<String>,
}

#[derive(Debug, Deserialize)]
struct Entity {
    bucket: Bucket,
    object: Object,
}

#[derive(Debug, Deserialize)]
struct Bucket {
    name: String,
}

/// An object as S3 (`eTag`, `versionId`) and EventBridge (`etag`, `version-id`) write it.
#[derive(Debug, Deserialize)]
struct Object {
    key: String,
    #[serde(default, deserialize_with = "size")]
    size: Option<u64>,
    #[serde(default, rename = "eTag", alias = "etag")]
    etag: Option<String>,
    #[serde(default, rename = "versionId", alias = "version-id")]
    version: Option<String>,
    #[serde(default)]
    sequencer: Option<String>,
}

/// A number; a string of digits in what some versions of Ceph write.
fn size<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u64>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Size {
        Number(u64),
        Text(String),
    }
    match Option::<Size>::deserialize(deserializer)? {
        None => Ok(None),
        Some(Size::Number(bytes)) => Ok(Some(bytes)),
        Some(Size::Text(text)) => text.parse().map(Some).map_err(|_| D::Error::custom("size is no number")),
    }
}

/// `detail` of an EventBridge event.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Detail {
    bucket: Bucket,
    object: Object,
    #[serde(default)]
    request_id: Option<String>,
}

/// How a sender writes keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Encoding {
    /// `+` is a space, `%XX` a byte (AWS; MinIO, which encodes `/` as well).
    Form,
    /// As it is (Ceph RGW, EventBridge).
    Raw,
}

/// One element of `Records`.
///
/// # Errors
/// [`ErrorCode::MessageInvalid`].
pub(super) fn record(value: Value) -> Result<Trigger> {
    let record: Record = serde_json::from_value(value).map_err(|e| told(e, "a record"))?;
    let (origin, encoding) = match record.event_source.as_str() {
        "aws:s3" | "minio:s3" => (Origin::Upload, Encoding::Form),
        "ceph:s3" => (Origin::Upload, Encoding::Raw),
        RECONCILER => (Origin::Reconciler, Encoding::Raw),
        other => {
            let known = "`aws:s3`, `minio:s3` and `ceph:s3` are known";
            return Err(invalid(format!("the event source `{}` is not known: {known}", shorten(other))));
        }
    };
    let request_id = record.response_elements.and_then(|r| r.request_id);
    // MinIO writes `s3:ObjectCreated:Put`, AWS and Ceph `ObjectCreated:Put`.
    let name = record.event_name.strip_prefix("s3:").unwrap_or(&record.event_name);
    let reason = match name.split(':').next() {
        Some("ObjectCreated") => None,
        Some("ObjectRemoved") => Some(IgnoredReason::Deleted),
        Some("TestEvent") => Some(IgnoredReason::TestEvent),
        _ => Some(IgnoredReason::NotCreated),
    };
    let event = Event { name: &record.event_name, origin, request_id, time: record.event_time.as_deref() };
    build(event, reason, encoding, record.s3)
}

/// An EventBridge event of the source `aws.s3`.
///
/// # Errors
/// [`ErrorCode::MessageInvalid`].
pub(super) fn event_bridge(detail_type: &str, time: Option<&str>, detail: Value) -> Result<Trigger> {
    let reason = match detail_type {
        "Object Created" => None,
        "Object Deleted" => Some(IgnoredReason::Deleted),
        "Object Test Event" => Some(IgnoredReason::TestEvent),
        _ => Some(IgnoredReason::NotCreated),
    };
    let detail: Detail = serde_json::from_value(detail).map_err(|e| told(e, "the detail of the event"))?;
    let entity = Entity { bucket: detail.bucket, object: detail.object };
    let event = Event { name: detail_type, origin: Origin::Upload, request_id: detail.request_id, time };
    build(event, reason, Encoding::Raw, entity)
}

/// What is told beside the object.
struct Event<'a> {
    name: &'a str,
    origin: Origin,
    request_id: Option<String>,
    time: Option<&'a str>,
}

fn build(event: Event<'_>, reason: Option<IgnoredReason>, encoding: Encoding, entity: Entity) -> Result<Trigger> {
    let Entity { bucket: Bucket { name: bucket }, object } = entity;
    let key = decode(&object.key, encoding)?;
    check_bucket(&bucket).and_then(|()| check_key(&key)).map_err(invalid)?;
    let reason = reason.or_else(|| key.ends_with('/').then_some(IgnoredReason::Folder));
    if let Some(reason) = reason {
        return Ok(Trigger::Ignored(Ignored { reason, about: format!("s3://{bucket}/{key}") }));
    }
    let names = [("eTag", &object.etag), ("versionId", &object.version), ("sequencer", &object.sequencer)];
    for (name, value) in names.into_iter().filter_map(|(name, value)| Some((name, value.as_ref()?))) {
        // They go into headers and records.
        if value.len() > MAX_NAME_BYTES || !value.bytes().all(|c| c.is_ascii_graphic() || c == b' ') {
            return Err(invalid(format!("its `{name}` is not S3's: {}", shorten(value))));
        }
    }
    let etag = object.etag.map(|tag| tag.trim_matches('"').to_owned()).filter(|tag| !tag.is_empty());
    let version = object.version.filter(|v| !v.is_empty() && v != "null");
    let sequencer = object.sequencer.filter(|s| !s.is_empty());
    let mut upload = Upload {
        origin: event.origin,
        event_name: shorten(event.name),
        bucket,
        key,
        etag,
        version,
        size: object.size,
        sequencer,
        submission_id: String::new(),
        event_time: event.time.and_then(|t| t.parse::<Timestamp>().ok()),
    };
    upload.submission_id = submission_id(event.request_id.as_deref(), &upload, event.time);
    Ok(Trigger::Upload(upload))
}

/// Request id and sequencer where both are told, else a digest of what is: stable over deliveries either way.
fn submission_id(request_id: Option<&str>, upload: &Upload, time: Option<&str>) -> String {
    let plain =
        |text: &str| text.len() <= 128 && text.bytes().all(|c| c.is_ascii_alphanumeric() || b"-_.".contains(&c));
    match (request_id, &upload.sequencer) {
        (Some(id), Some(sequencer)) if !id.is_empty() && plain(id) && plain(sequencer) => format!("{id}-{sequencer}"),
        (id, sequencer) => {
            let told = (id, sequencer, time, &upload.bucket, &upload.key, &upload.version, &upload.etag);
            let digest = Sha256::digest(format!("{told:?}"));
            data_encoding::BASE32_NOPAD.encode(&digest[..20]).to_ascii_lowercase()
        }
    }
}

fn decode(key: &str, encoding: Encoding) -> Result<String> {
    if encoding == Encoding::Raw {
        return Ok(key.to_owned());
    }
    // The decoder lets `%` without two digits pass; a form encoder never writes that, so its sender is another.
    let mut bytes = key.bytes();
    while let Some(byte) = bytes.next() {
        let digit = |b: Option<u8>| b.is_some_and(|b| b.is_ascii_hexdigit());
        if byte == b'%' && !(digit(bytes.next()) && digit(bytes.next())) {
            return Err(invalid(format!("the key `{}` has a % without two hexadecimal digits", shorten(key))));
        }
    }
    let spaced = key.replace('+', " ");
    let decoded = percent_decode_str(&spaced).decode_utf8().map(Cow::into_owned);
    decoded.map_err(|_| invalid(format!("the key `{}` is not UTF-8", shorten(key))))
}

/// What serde says repeats what is wrong, at length.
fn told(error: serde_json::Error, what: &str) -> JobError {
    invalid(format!("{what} is not S3's: {}", shorten(&error.to_string())))
}

pub(super) fn invalid(problem: impl std::fmt::Display) -> JobError {
    JobError::new(ErrorCode::MessageInvalid, format!("The message is not valid: {problem}."))
}
