//! What holds of every message, whoever wrote it. Shared by the fuzz targets and by `consumer/tests/hostile.rs`.

use darkroom::job::record::Attempt;
use darkroom::job::{JobId, RunId, manifest};
use darkroom::store::{HttpsConfig, ObjectRef, Place, StoreConfig};
use darkroom::trigger::{DestinationConfig, RouteConfig, RouteRules, Routes, SourceConfig, Submission, Trigger, parse};
use darkroom_api::{Descriptor, ErrorCode, InputRole, JobError, Limits, MediaKind};
use jiff::Timestamp;
use serde_json::{Map, Value};

/// Longest error, or name of what is ignored: strangers' texts are not repeated at length.
const MAX_TEXT_BYTES: usize = 8 << 10;

/// Uploads to `s3://uploads/in/` are worked on; messages may read there and at two names in the web, and write to
/// `s3://results/`.
#[must_use]
pub fn routes() -> Routes {
    let role = |name: &str, min| InputRole { name: name.into(), min, max: 9, kinds: vec![MediaKind::Video] };
    let handler = Descriptor {
        name: "matting".into(),
        version: "1".into(),
        summary: String::new(),
        params_schema: Value::Null,
        inputs: vec![role("video", 1), role("background", 0)],
        limits: Limits::default(),
        models: vec![],
        stages: vec![],
        resumable: false,
    };
    let route = RouteConfig {
        store: None,
        bucket: "uploads".into(),
        prefix: "in/".into(),
        suffixes: vec![],
        handler: "matting".into(),
        params: Map::new(),
        output: "s3://results/route/".into(),
        output_store: None,
        deadline_secs: None,
    };
    let rules = RouteRules {
        routes: vec![route],
        sources: vec![SourceConfig { store: None, bucket: "uploads".into(), prefix: "in/".into() }],
        // Messages may not write where the route listens, though this rule allows it.
        destinations: ["results", "uploads"]
            .map(|bucket| DestinationConfig { store: None, bucket: bucket.into(), prefix: String::new() })
            .into(),
        https: HttpsConfig { hosts: vec!["media.example.com".into(), "*.example.org".into()], allow_private: false },
    };
    let state = Place { store: "main".into(), bucket: "state".into(), prefix: String::new() };
    let store = StoreConfig { name: "main".into(), ..StoreConfig::default() };
    Routes::new(&rules, &[store], &[handler], &state).expect("good rules")
}

/// Reads a message as a worker does.
///
/// # Panics
/// Where something does not hold.
pub fn check(routes: &Routes, body: &[u8]) {
    let triggers = match (parse(body), parse(body)) {
        (Ok(one), Ok(other)) => {
            assert_eq!(one, other, "a message is read in one way");
            one
        }
        (Err(one), Err(other)) => {
            assert_eq!(one, other);
            return refused(&one, &[ErrorCode::MessageInvalid, ErrorCode::MessageTooLarge]);
        }
        (one, other) => panic!("read in two ways: {one:?} {other:?}"),
    };
    assert!(!triggers.is_empty(), "a message is never passed over in silence");
    for trigger in triggers {
        match trigger {
            Trigger::Upload(upload) => {
                named(&upload.bucket, &upload.key);
                assert!(!upload.key.ends_with('/') && !upload.submission_id.is_empty());
                assert!(upload.submission_id.len() <= 257, "{}", upload.submission_id);
                if let Some(submission) = routes.route(&upload) {
                    submitted(submission);
                }
            }
            Trigger::Job(message) => {
                message.check().expect("checked when it was read");
                match routes.accept(*message, "m-1", Timestamp::UNIX_EPOCH) {
                    Ok(submission) => submitted(submission),
                    Err(error) => refused(
                        &error,
                        &[
                            ErrorCode::HandlerUnknown,
                            ErrorCode::InputsInvalid,
                            ErrorCode::SourceForbidden,
                            ErrorCode::DestinationForbidden,
                            ErrorCode::MessageInvalid,
                        ],
                    ),
                }
            }
            Trigger::Ignored(ignored) => assert!(ignored.about.len() <= MAX_TEXT_BYTES),
        }
    }
}

fn refused(error: &JobError, codes: &[ErrorCode]) {
    assert!(codes.contains(&error.code), "{error:?}");
    assert!(error.message.len() <= MAX_TEXT_BYTES, "{} bytes: {}", error.message.len(), error.message);
}

fn named(bucket: &str, key: &str) {
    assert!((1..=1024).contains(&key.len()), "{key:?}");
    assert!(!bucket.contains('/') && !bucket.contains(':') && !bucket.contains(".."), "{bucket:?}");
}

/// Only what the rules allow is read and written, and the job is the same however often it is written down.
fn submitted(mut submission: Submission) {
    for input in &mut submission.inputs {
        let is_web = input.object.is_web();
        assert!(!is_web || !input.object.to_string().contains('?'), "a query may be a secret");
        let ObjectRef { store, bucket, key, etag, version, .. } = &mut input.object;
        if is_web {
            let host = bucket.split(':').next().unwrap_or_default();
            assert!(store == "https" && key.starts_with('/'), "{store}://{bucket}{key}");
            assert!(host == "media.example.com" || host.ends_with(".example.org"), "{bucket}");
            assert!(!bucket.contains(['@', '/', '?', '#', '\\']), "{bucket}");
        } else {
            named(bucket, key);
            assert!(bucket == "uploads" && key.starts_with("in/"), "s3://{bucket}/{key}");
        }
        if version.is_none() {
            // As a look at the store would do.
            etag.get_or_insert_with(|| "etag".into());
        }
    }
    let place = &submission.destination;
    let listens = Place { bucket: "uploads".into(), prefix: "in/".into(), ..place.clone() };
    assert!(place.bucket == "results" || place.bucket == "uploads" && !listens.holds("uploads", &place.prefix));
    assert!(!(place.bucket == "uploads" && place.holds("uploads", "in/")), "{place}");
    assert!(place.prefix.is_empty() || place.prefix.ends_with('/'), "{place}");
    let folded = |segment: &str| matches!(segment, "." | ".." | "");
    assert!(!place.prefix.trim_end_matches('/').split('/').any(|s| folded(s) && !place.prefix.is_empty()), "{place}");

    let job = JobId::of(&submission).expect("its inputs are pinned");
    assert_eq!(job.as_str().parse::<JobId>().as_ref(), Ok(&job));
    let run = RunId::new();
    let output = manifest::run_place(place, &job, &run).key("0.webm");
    assert_eq!(manifest::owner(place, &output), Some((place.clone(), job.clone(), run.clone())), "{output}");
    assert!(output.len() <= 1024);

    // A record holds it, and whoever reads that sees the same job.
    let (claimed_at, live_until) = (Timestamp::UNIX_EPOCH, Timestamp::UNIX_EPOCH);
    let attempt = Attempt { number: 1, run_id: run, worker: "w".into(), claimed_at, live_until, submission };
    let written = serde_json::to_vec(&attempt).expect("a record");
    let read: Attempt = serde_json::from_slice(&written).expect("what is recorded can be read");
    assert_eq!(JobId::of(&read.submission).as_ref(), Ok(&job), "a job is the same when it is read again");
    assert_eq!(read, attempt);
}
