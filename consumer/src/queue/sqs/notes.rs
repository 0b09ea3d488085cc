//! What a message carries along when it is sent anew, as attributes that begin with `darkroom-`.

use std::collections::HashMap;
use std::time::Duration;

use aws_sdk_sqs::types::{self, MessageAttributeValue, MessageSystemAttributeName as System};
use darkroom_api::{ErrorCode, JobError};
use jiff::Timestamp;

use super::LONGEST_DELAY;

const ID: &str = "darkroom-message-id";
const RECEIVES: &str = "darkroom-receives";
const COUNTED: &str = "darkroom-counted";
const SENT_AT: &str = "darkroom-sent-at";
const NOT_BEFORE: &str = "darkroom-not-before";
const REASON: &str = "darkroom-reason";
const DEAD_AT: &str = "darkroom-dead-at";
/// What is asked for with a message.
pub(super) const NAMES: [&str; 7] = [ID, RECEIVES, COUNTED, SENT_AT, NOT_BEFORE, REASON, DEAD_AT];
/// Longest text of a reason.
const REASON_CHARS: usize = 600;

/// The attributes. Anybody may write them: what is not readable counts as absent.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Notes {
    /// Id of the first message.
    pub id: Option<String>,
    /// Hand-overs of the messages before this one.
    pub receives: u32,
    /// Those of them that count against the limit.
    pub counted: u32,
    /// When the first message was sent.
    pub sent_at: Option<Timestamp>,
    /// Not to be handed out before this.
    pub not_before: Option<Timestamp>,
    /// Why it is a dead letter.
    pub reason: Option<JobError>,
    /// Since when it is one.
    pub dead_at: Option<Timestamp>,
}

impl Notes {
    fn read(attributes: &HashMap<String, MessageAttributeValue>) -> Self {
        let text = |name: &str| attributes.get(name).and_then(MessageAttributeValue::string_value);
        let count = |name| text(name).and_then(|text| text.parse().ok()).unwrap_or(0);
        let time = |name| text(name).and_then(timestamp);
        Notes {
            id: text(ID).filter(|id| is_id(id)).map(ToOwned::to_owned),
            receives: count(RECEIVES),
            counted: count(COUNTED),
            sent_at: time(SENT_AT),
            not_before: time(NOT_BEFORE),
            reason: text(REASON).map(read_reason),
            dead_at: time(DEAD_AT),
        }
    }

    /// The attributes to send, at most `room` bytes: they count as part of the message. Where there is less than they
    /// need, the reason is shortened or left out; where that is too little still, all are.
    pub(super) fn attributes(&self, room: usize) -> Option<HashMap<String, MessageAttributeValue>> {
        let others = bytes(&self.values(None));
        let reason_room = room.saturating_sub(others + REASON.len() + "String".len());
        let reason = self.reason.as_ref().and_then(|reason| write_reason(reason, reason_room));
        let values = self.values(reason);
        // The names of their types are right by construction.
        let attribute = |(name, kind, value): Value| {
            let value = MessageAttributeValue::builder().data_type(kind).string_value(value?).build().ok()?;
            Some((name.to_owned(), value))
        };
        let fits = bytes(&values) <= room;
        let attributes: HashMap<_, _> = values.into_iter().filter(|_| fits).filter_map(attribute).collect();
        (!attributes.is_empty()).then_some(attributes)
    }

    fn values(&self, reason: Option<String>) -> [Value; 7] {
        let count = |count: u32| (count > 0).then(|| count.to_string());
        let time = |time: Option<Timestamp>| time.map(|time| time.as_millisecond().to_string());
        [
            (ID, "String", self.id.clone()),
            (RECEIVES, "Number", count(self.receives)),
            (COUNTED, "Number", count(self.counted)),
            (SENT_AT, "Number", time(self.sent_at)),
            (NOT_BEFORE, "Number", time(self.not_before)),
            (REASON, "String", reason),
            (DEAD_AT, "Number", time(self.dead_at)),
        ]
    }
}

/// An attribute's name, its type, and its text if it is to be sent.
type Value = (&'static str, &'static str, Option<String>);

/// What attributes add to a message's length, as SQS counts.
fn bytes(values: &[Value]) -> usize {
    let bytes = |(name, kind, value): &Value| Some(name.len() + kind.len() + value.as_ref()?.len());
    values.iter().filter_map(bytes).sum()
}

/// Whether it may be one of SQS, which gives UUIDs. It names a submission, so that it is not taken from anybody as it is.
fn is_id(text: &str) -> bool {
    (1..=100).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
}

/// Short, since it is part of the message's length: of the detail, which events have told, only the jobs that are to run
/// again with the letter, as many as there is room for. None where there is not even room for the sentence.
fn write_reason(reason: &JobError, room: usize) -> Option<String> {
    let message: String = reason.message.chars().take(REASON_CHARS).collect();
    let mut short = JobError::new(reason.code, message);
    let detail = |ids: &[&str]| serde_json::json!({ "job_ids": ids });
    let mut used = serde_json::json!(short.clone().with_detail(detail(&[]))).to_string().len();
    let ids = reason.detail.as_ref().and_then(|detail| detail.get("job_ids")?.as_array()).into_iter().flatten();
    let fits = |id: &&str| {
        // Two quotation marks and a comma; what is longer than it looks is no job's id.
        used += id.len() + 3;
        used <= room && id.bytes().all(|byte| byte.is_ascii_alphanumeric())
    };
    let ids: Vec<&str> = ids.filter_map(|id| id.as_str()).take_while(fits).collect();
    if !ids.is_empty() {
        short.detail = Some(detail(&ids));
    }
    Some(serde_json::json!(short).to_string()).filter(|text| text.len() <= room)
}

fn read_reason(json: &str) -> JobError {
    serde_json::from_str(json).unwrap_or_else(|_| JobError::new(ErrorCode::Internal, json))
}

fn timestamp(unix_ms: &str) -> Option<Timestamp> {
    Timestamp::from_millisecond(unix_ms.parse().ok()?).ok()
}

/// A message as it was received.
#[derive(Debug, Clone)]
pub(super) struct Received {
    pub handle: String,
    pub body: String,
    pub group: Option<String>,
    broker_id: String,
    /// Hand-overs of this very message, this time included.
    receives: u32,
    sent_at: Timestamp,
    first_received_at: Option<Timestamp>,
    notes: Notes,
}

impl Received {
    /// None without the parts that SQS always gives.
    pub(super) fn read(message: types::Message) -> Option<Self> {
        let system = |name| message.attributes.as_ref().and_then(|all| all.get(&name)).map(String::as_str);
        Some(Received {
            receives: system(System::ApproximateReceiveCount).and_then(|text| text.parse().ok()).unwrap_or(1).max(1),
            sent_at: system(System::SentTimestamp).and_then(timestamp).unwrap_or_default(),
            first_received_at: system(System::ApproximateFirstReceiveTimestamp).and_then(timestamp),
            group: system(System::MessageGroupId).map(ToOwned::to_owned),
            notes: message.message_attributes.as_ref().map(Notes::read).unwrap_or_default(),
            handle: message.receipt_handle?,
            body: message.body?,
            broker_id: message.message_id?,
        })
    }

    /// Id of the first message.
    pub(super) fn id(&self) -> &str {
        self.notes.id.as_deref().unwrap_or(&self.broker_id)
    }

    /// Hand-overs of it and its predecessors, this time included.
    pub(super) fn receives(&self) -> u32 {
        self.notes.receives.saturating_add(self.receives)
    }

    /// Those of its predecessors that count.
    pub(super) fn counted_before(&self) -> u32 {
        self.notes.counted
    }

    /// Those of them that count, should this one.
    pub(super) fn counted(&self) -> u32 {
        self.notes.counted.saturating_add(self.receives)
    }

    /// Name of this very message.
    pub(super) fn broker_id(&self) -> &str {
        &self.broker_id
    }

    /// Hand-overs that SQS counts.
    pub(super) fn broker_receives(&self) -> u32 {
        self.receives
    }

    /// When the first message was sent.
    pub(super) fn sent_at(&self) -> Timestamp {
        self.notes.sent_at.unwrap_or(self.sent_at)
    }

    /// How long it must not be handed out yet.
    pub(super) fn early_by(&self) -> Option<Duration> {
        let early = self.notes.not_before?.duration_since(Timestamp::now());
        Duration::try_from(early).ok().filter(|early| !early.is_zero())
    }

    /// Why and since when it is a dead letter. What SQS itself moved here has no reason, and its first hand-over for time.
    pub(super) fn death(&self) -> (Option<JobError>, Timestamp) {
        let dead_at = self.notes.dead_at.or(self.first_received_at).unwrap_or(self.sent_at);
        (self.notes.reason.clone(), dead_at)
    }

    /// Whether we gave it up at that time or later. When SQS did is not known.
    pub(super) fn died_since(&self, begun: Timestamp) -> bool {
        self.notes.dead_at.is_some_and(|dead_at| dead_at >= begun)
    }

    /// Hand-overs before it became a dead letter: since then it has been looked at. What SQS moved keeps its count.
    pub(super) fn receives_alive(&self) -> u32 {
        if self.notes.dead_at.is_some() { self.notes.receives } else { self.receives() }
    }

    /// The same message, to be sent anew; `counted` says whether this hand-over counts.
    pub(super) fn anew(&self, counted: bool) -> Parcel<'_> {
        let notes =
            Notes { receives: self.receives(), counted: self.counted() - u32::from(!counted), ..self.redriven().notes };
        Parcel { notes, ..self.redriven() }
    }

    /// The same message, to be sent anew as if it had never been handed over.
    pub(super) fn redriven(&self) -> Parcel<'_> {
        let notes = Notes { id: Some(self.id().to_owned()), sent_at: Some(self.sent_at()), ..Notes::default() };
        Parcel { body: &self.body, group: self.group.as_deref(), dedup_id: None, delay: Duration::ZERO, notes }
    }
}

/// A message as it is sent.
#[derive(Debug)]
pub(super) struct Parcel<'a> {
    pub body: &'a str,
    /// Its group in a FIFO queue; one of its own where there is none.
    pub group: Option<&'a str>,
    pub dedup_id: Option<&'a str>,
    pub delay: Duration,
    pub notes: Notes,
}

impl Parcel<'_> {
    /// Not handed out before `delay` has passed.
    pub(super) fn delayed(self, delay: Duration, fifo: bool) -> Self {
        let beyond = fifo && !delay.is_zero() || delay > LONGEST_DELAY;
        let not_before = beyond.then(|| Timestamp::now() + delay.min(Duration::from_secs(14 * 86400)));
        let delay = if fifo { Duration::ZERO } else { delay.min(LONGEST_DELAY) };
        Parcel { delay, notes: Notes { not_before, ..self.notes }, ..self }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(name: &str, kind: &str, value: &str) -> Notes {
        let value = MessageAttributeValue::builder().data_type(kind).string_value(value).build().unwrap();
        Notes::read(&HashMap::from([(name.to_owned(), value)]))
    }

    #[test]
    fn what_a_stranger_writes_into_attributes_counts_as_absent() {
        let id = "0b8a1c4e-5d6f-4a3b-9c2d-1e0f2a3b4c5d";
        assert_eq!(read(ID, "String", id).id.as_deref(), Some(id));
        for bad in ["../../jobs", "a b", "{}", &"a".repeat(101)] {
            assert_eq!(read(ID, "String", bad), Notes::default(), "{bad}");
        }
        for name in [RECEIVES, COUNTED, SENT_AT, NOT_BEFORE, DEAD_AT] {
            for bad in ["-1e99", "99999999999999999999", "soon"] {
                assert_eq!(read(name, "Number", bad), Notes::default(), "{name}: {bad}");
            }
        }
        assert_eq!(read(REASON, "String", "none").reason.unwrap().code, ErrorCode::Internal);
    }

    #[test]
    fn attributes_are_read_as_they_were_written() {
        let time = Timestamp::from_millisecond(1_764_000_000_123).unwrap();
        let notes = Notes {
            id: Some("m-1".into()),
            receives: 3,
            counted: 2,
            sent_at: Some(time),
            not_before: Some(time),
            reason: Some(JobError::new(ErrorCode::InputEmpty, "send a video")),
            dead_at: Some(time),
        };
        assert_eq!(Notes::read(&notes.attributes(1 << 10).unwrap()), notes);
        assert_eq!(Notes::default().attributes(1 << 10), None);
    }

    #[test]
    fn attributes_keep_to_their_room_and_give_up_what_matters_least_first() {
        let ids: Vec<String> = (0..256).map(|n| format!("{n:052}")).collect();
        let detail = serde_json::json!({ "job_ids": ids, "wanted": 4096 });
        let reason = JobError::new(ErrorCode::InputNotMedia, "\u{1} 1\"".repeat(300)).with_detail(detail);
        let notes = Notes { id: Some("m-1".into()), receives: 3, reason: Some(reason), ..Notes::default() };
        let read = |room| {
            let attributes = notes.attributes(room).unwrap_or_default();
            let bytes = |(name, value): (&String, &MessageAttributeValue)| {
                name.len() + value.data_type().len() + value.string_value().unwrap().len()
            };
            assert!(attributes.iter().map(bytes).sum::<usize>() <= room, "{room}");
            Notes::read(&attributes)
        };
        let jobs = |notes: &Notes| notes.reason.clone().unwrap().detail.unwrap()["job_ids"].as_array().unwrap().len();
        assert_eq!([jobs(&read(256 << 10)), jobs(&read(6 << 10))], [256, 81]);
        assert_eq!(read(1640).reason.unwrap().detail, None);
        let least = Notes { id: Some("m-1".into()), receives: 3, ..Notes::default() };
        assert_eq!([read(1000), read(70), read(10)], [least.clone(), least, Notes::default()]);
    }
}
