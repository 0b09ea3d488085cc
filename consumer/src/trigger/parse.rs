//! Which shape a message has.

use std::collections::HashMap;

use darkroom_api::{ErrorCode, JobError, Result};
use serde_json::{Map, Value};

use super::notification::{event_bridge, invalid, record};
use super::{Ignored, IgnoredReason, Trigger, json};
use crate::job::JobMessage;
use crate::store::shorten;

/// Longest message: what SQS carries.
pub const MAX_MESSAGE_BYTES: usize = 256 << 10;
/// Wrappers taken off: an EventBridge or S3 event inside SNS is one; two leave room for a topic behind a topic.
const MAX_WRAPPERS: u32 = 2;

/// Reads a message of at most [`MAX_MESSAGE_BYTES`].
///
/// # Errors
/// As [`parse_within`].
pub fn parse(body: &[u8]) -> Result<Vec<Trigger>> {
    parse_within(body, MAX_MESSAGE_BYTES)
}

/// Reads a message: one job, or one entry for every record of a notification, in order.
///
/// # Errors
/// [`ErrorCode::MessageTooLarge`], [`ErrorCode::MessageInvalid`]. One bad record makes the whole message bad: it goes to
/// the dead letters as it came, rather than half done.
pub fn parse_within(body: &[u8], max_bytes: usize) -> Result<Vec<Trigger>> {
    if body.len() > max_bytes {
        let message = format!(
            "The message has {} bytes, {max_bytes} are allowed: put data in a bucket, or raise `worker.message_max_bytes`.",
            body.len()
        );
        return Err(JobError::new(ErrorCode::MessageTooLarge, message));
    }
    let mut triggers = unwrap(body, MAX_WRAPPERS)?;
    mark_superseded(&mut triggers);
    Ok(triggers)
}

fn unwrap(body: &[u8], wrappers_left: u32) -> Result<Vec<Trigger>> {
    let Value::Object(mut object) = json::parse(body)? else {
        return Err(invalid("it is no JSON object"));
    };
    if object.contains_key("schema") {
        return job(object).map(|job| vec![Trigger::Job(Box::new(job))]);
    }
    if let (Some(kind), true) = (text(&object, "Type"), object.contains_key("TopicArn")) {
        return match (kind, text(&object, "Message")) {
            ("Notification", Some(_)) if wrappers_left == 0 => Err(invalid("SNS messages are nested too deep")),
            ("Notification", Some(inner)) => unwrap(inner.as_bytes(), wrappers_left - 1),
            ("SubscriptionConfirmation" | "UnsubscribeConfirmation", _) => {
                Ok(ignored(IgnoredReason::Subscription, kind))
            }
            _ => Err(invalid(format!("`{}` is no type of SNS message", shorten(kind)))),
        };
    }
    if let Some(detail) = object.remove("detail") {
        return match (text(&object, "source"), text(&object, "detail-type")) {
            (Some("dev.darkroom"), Some(kind)) => Ok(ignored(IgnoredReason::OwnEvent, &shorten(kind))),
            (Some("aws.s3"), Some(kind)) => Ok(vec![event_bridge(kind, text(&object, "time"), detail)?]),
            _ => Err(invalid("the event is not from S3: let the rule match the source aws.s3")),
        };
    }
    if let (Some(kind), true) = (text(&object, "type"), object.contains_key("specversion"))
        && kind.starts_with("dev.darkroom.")
    {
        return Ok(ignored(IgnoredReason::OwnEvent, &shorten(kind)));
    }
    if let Some("s3:TestEvent") = text(&object, "Event") {
        return Ok(ignored(IgnoredReason::TestEvent, "s3:TestEvent"));
    }
    match object.remove("Records") {
        Some(Value::Array(records)) if records.is_empty() => Ok(ignored(IgnoredReason::Empty, "Records")),
        Some(Value::Array(records)) => records.into_iter().map(record).collect(),
        Some(_) => Err(invalid("`Records` is no list")),
        None => Err(invalid("it is neither a job (`schema`) nor a store's notification (`Records`, `detail`, SNS)")),
    }
}

fn job(object: Map<String, Value>) -> Result<JobMessage> {
    if text(&object, "schema") != Some("darkroom.job.v1") {
        return Err(invalid("its `schema` is not known: this version reads `darkroom.job.v1`"));
    }
    let message: JobMessage = serde_path_to_error::deserialize(Value::Object(object)).map_err(|e| {
        let (path, problem) = (e.path().to_string(), shorten(&e.inner().to_string()));
        if path == "." { invalid(problem) } else { invalid(format!("`{}`: {problem}", shorten(&path))) }
    })?;
    message.check()?;
    Ok(message)
}

fn text<'a>(object: &'a Map<String, Value>, name: &str) -> Option<&'a str> {
    object.get(name).and_then(Value::as_str)
}

fn ignored(reason: IgnoredReason, about: &str) -> Vec<Trigger> {
    vec![Trigger::Ignored(Ignored { reason, about: about.to_owned() })]
}

/// Within one message, only the latest event of a key counts.
fn mark_superseded(triggers: &mut [Trigger]) {
    let mut latest: HashMap<(String, String), usize> = HashMap::new();
    for index in 0..triggers.len() {
        let Trigger::Upload(upload) = &triggers[index] else { continue };
        let name = (upload.bucket.clone(), upload.key.clone());
        let about = format!("s3://{}/{}", upload.bucket, upload.key);
        let other = *latest.entry(name.clone()).or_insert(index);
        let Trigger::Upload(earlier) = &triggers[other] else { continue };
        let loser = if upload.supersedes(earlier) {
            latest.insert(name, index);
            other
        } else if earlier.supersedes(upload) {
            index
        } else {
            continue;
        };
        triggers[loser] = Trigger::Ignored(Ignored { reason: IgnoredReason::Superseded, about });
    }
}
