//! What an AMQP message carries besides its body.
//!
//! The broker counts deliveries of one copy of a message. A copy that we make starts from zero there, so the counts up
//! to it travel in headers of ours.

use std::time::Duration;

use bytes::Bytes;
use darkroom_api::JobError;
use data_encoding::HEXLOWER;
use jiff::Timestamp;
use lapin::BasicProperties;
use lapin::message::Delivery;
use lapin::types::{AMQPValue, FieldTable};
use sha2::{Digest, Sha256};

use crate::queue::{DeadLetter, MessageId};

/// Deliveries before this copy.
const RECEIVES: &str = "x-darkroom-receives";
/// Those of them that count against the receive limit.
const COUNTED: &str = "x-darkroom-counted";
/// Unix milliseconds.
const SENT_AT: &str = "x-darkroom-sent-at";
/// Unix milliseconds.
const DEAD_AT: &str = "x-darkroom-dead-at";
/// The [`JobError`] as JSON.
const REASON: &str = "x-darkroom-reason";
/// Tells a parked copy from others in the same queue.
const PARKED_AS: &str = "x-darkroom-parked-as";
const OUR_PREFIX: &str = "x-darkroom-";
/// Headers that mean something to the broker: they would be taken for facts about the copy (`x-death` ends cycles), or
/// send it elsewhere (`CC`, `BCC`).
const BROKERS: [&str; 5] = ["x-death", "x-delivery-count", "x-acquired-count", "CC", "BCC"];
const BROKERS_PREFIXES: [&str; 2] = ["x-first-death-", "x-last-death-"];
/// Longest id of somebody else's that is taken as it is.
const MAX_ID_CHARS: usize = 128;

/// A message, and what is known of its past.
#[derive(Debug, Clone)]
pub(super) struct Message {
    pub(super) id: MessageId,
    pub(super) body: Bytes,
    pub(super) sent_at: Timestamp,
    /// Deliveries so far, this one included.
    pub(super) receives: u32,
    /// Those that count against the receive limit.
    pub(super) counted: u32,
    properties: BasicProperties,
}

impl Message {
    /// A message that was never delivered.
    pub(super) fn new(body: &str) -> Self {
        Message {
            id: MessageId(uuid::Uuid::now_v7().to_string()),
            body: Bytes::copy_from_slice(body.as_bytes()),
            sent_at: Timestamp::now(),
            receives: 0,
            counted: 0,
            properties: BasicProperties::default().with_content_type("application/json".into()),
        }
    }

    /// Reads what the broker handed over; the body moves.
    pub(super) fn read(delivery: &mut Delivery) -> Self {
        let body = Bytes::from(std::mem::take(&mut delivery.data));
        let properties = std::mem::take(&mut delivery.properties);
        // Classic queues do not count, and quorum queues not always; they know of one delivery before this one, at least.
        let earlier = number(&properties, "x-delivery-count").unwrap_or(0).max(i64::from(delivery.redelivered));
        let count = |header| {
            let total =
                number(&properties, header).unwrap_or(0).max(0).saturating_add(earlier.max(0)).saturating_add(1);
            u32::try_from(total).unwrap_or(u32::MAX)
        };
        let (receives, counted) = (count(RECEIVES), count(COUNTED));
        let seconds = properties.timestamp().and_then(|secs| Timestamp::from_second(i64::try_from(secs).ok()?).ok());
        let sent_at = time(&properties, SENT_AT).or(seconds).unwrap_or_else(Timestamp::now);
        Message { id: id(&properties, &body), body, sent_at, receives, counted, properties }
    }

    /// Properties of a copy that goes on counting where this one is.
    pub(super) fn copy(&self) -> Copy {
        let given = &self.properties;
        let mut headers = FieldTable::default();
        for (name, value) in given.headers().iter().flat_map(|headers| headers.inner()) {
            if !is_ours_or_the_brokers(name.as_str()) {
                headers.insert(name.clone(), value.clone());
            }
        }
        let mut copy = Copy { properties: BasicProperties::default(), headers };
        copy.put(RECEIVES, AMQPValue::LongLongInt(self.receives.into()));
        copy.put(COUNTED, AMQPValue::LongLongInt(self.counted.into()));
        copy.put(SENT_AT, AMQPValue::LongLongInt(self.sent_at.as_millisecond()));
        // `user-id` would have to be ours, `expiration` has done its work.
        let mut properties =
            BasicProperties::default().with_delivery_mode(2).with_message_id(self.id.0.as_str().into());
        macro_rules! keep {
            ($($name:ident $with:ident),*) => { $(if let Some(value) = given.$name() {
                properties = properties.$with(value.clone());
            })* };
        }
        keep!(content_type with_content_type, content_encoding with_content_encoding, kind with_type,
              correlation_id with_correlation_id, reply_to with_reply_to, app_id with_app_id,
              timestamp with_timestamp, priority with_priority);
        copy.properties = properties;
        copy
    }

    /// The dead letter that this message is.
    pub(super) fn into_letter(self) -> DeadLetter {
        let reason = text(&self.properties, REASON).map(|json| {
            serde_json::from_str(&json).unwrap_or_else(|_| JobError::new(darkroom_api::ErrorCode::Internal, json))
        });
        let dead_at = time(&self.properties, DEAD_AT).or_else(|| time_of_death(&self.properties));
        DeadLetter {
            message_id: self.id,
            body: self.body,
            reason,
            // This delivery is our look at it.
            receives: u32::try_from(number(&self.properties, RECEIVES).unwrap_or(0)).unwrap_or(u32::MAX),
            sent_at: self.sent_at,
            dead_at: dead_at.unwrap_or(self.sent_at),
        }
    }

    /// Whether it is the copy that was parked under this name.
    pub(super) fn is_parked_as(&self, name: &str) -> bool {
        text(&self.properties, PARKED_AS).is_some_and(|found| found == name)
    }
}

/// Properties on their way to the broker.
pub(super) struct Copy {
    properties: BasicProperties,
    headers: FieldTable,
}

impl Copy {
    fn put(&mut self, name: &str, value: AMQPValue) {
        self.headers.insert(name.into(), value);
    }

    /// The last delivery does not count against the receive limit.
    pub(super) fn uncounted(mut self, message: &Message) -> Self {
        self.put(COUNTED, AMQPValue::LongLongInt(message.counted.saturating_sub(1).into()));
        self
    }

    /// Begins again.
    pub(super) fn anew(mut self) -> Self {
        self.put(RECEIVES, AMQPValue::LongLongInt(0));
        self.put(COUNTED, AMQPValue::LongLongInt(0));
        self
    }

    /// Given up now, for this reason.
    pub(super) fn dead(mut self, reason: &JobError) -> Self {
        self.put(REASON, AMQPValue::LongString(serde_json::json!(reason).to_string().into()));
        self.put(DEAD_AT, AMQPValue::LongLongInt(Timestamp::now().as_millisecond()));
        self
    }

    /// With the number of deliveries that there really were.
    pub(super) fn received(mut self, times: u32) -> Self {
        self.put(RECEIVES, AMQPValue::LongLongInt(times.into()));
        self
    }

    /// To be recognised in the queue of parked copies.
    pub(super) fn parked_as(mut self, name: &str) -> Self {
        self.put(PARKED_AS, AMQPValue::LongString(name.into()));
        self
    }

    /// Leaves the queue it is put in after this time.
    pub(super) fn expiring(mut self, after: Duration) -> Self {
        self.properties = self.properties.with_expiration(after.as_millis().to_string().into());
        self
    }

    /// What lapin sends.
    pub(super) fn finish(self) -> BasicProperties {
        self.properties.with_headers(self.headers)
    }
}

fn is_ours_or_the_brokers(name: &str) -> bool {
    name.starts_with(OUR_PREFIX)
        || BROKERS.contains(&name)
        || BROKERS_PREFIXES.iter().any(|prefix| name.starts_with(prefix))
}

fn header<'a>(properties: &'a BasicProperties, name: &str) -> Option<&'a AMQPValue> {
    properties.headers().as_ref()?.inner().get(name)
}

fn number(properties: &BasicProperties, name: &str) -> Option<i64> {
    Some(match header(properties, name)? {
        AMQPValue::LongLongInt(n) => *n,
        AMQPValue::LongInt(n) => (*n).into(),
        AMQPValue::LongUInt(n) => (*n).into(),
        AMQPValue::ShortInt(n) => (*n).into(),
        AMQPValue::ShortUInt(n) => (*n).into(),
        AMQPValue::ShortShortInt(n) => (*n).into(),
        AMQPValue::ShortShortUInt(n) => (*n).into(),
        _ => return None,
    })
}

fn text(properties: &BasicProperties, name: &str) -> Option<String> {
    match header(properties, name)? {
        AMQPValue::LongString(text) => Some(String::from_utf8_lossy(text.as_bytes()).into_owned()),
        _ => None,
    }
}

fn time(properties: &BasicProperties, name: &str) -> Option<Timestamp> {
    Timestamp::from_millisecond(number(properties, name)?).ok()
}

/// When the broker gave it up: the latest entry of `x-death` stands first.
fn time_of_death(properties: &BasicProperties) -> Option<Timestamp> {
    let AMQPValue::FieldArray(deaths) = header(properties, "x-death")? else { return None };
    let AMQPValue::FieldTable(latest) = deaths.as_slice().first()? else { return None };
    let AMQPValue::Timestamp(secs) = latest.inner().get("time")? else { return None };
    Timestamp::from_second(i64::try_from(*secs).ok()?).ok()
}

/// The publisher's id. One that is missing or odd is made of what stays the same over all deliveries.
fn id(properties: &BasicProperties, body: &[u8]) -> MessageId {
    let given = properties.message_id().as_ref().map_or("", |id| id.as_str());
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_.:".contains(c);
    if !given.is_empty() && given.len() <= MAX_ID_CHARS && given.chars().all(is_plain) {
        return MessageId(given.to_owned());
    }
    let mut hash = Sha256::new();
    let correlation = properties.correlation_id().as_ref().map_or("", |id| id.as_str());
    for part in [given, correlation, &properties.timestamp().unwrap_or(0).to_string()] {
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part);
    }
    hash.update(body);
    MessageId(format!("sha256-{}", &HEXLOWER.encode(&hash.finalize())[..32]))
}
