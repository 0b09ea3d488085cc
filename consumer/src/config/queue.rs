//! `[queue]` and `[[queues]]`: where job messages wait.

use std::path::PathBuf;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// Kinds of queues.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum QueueKind {
    /// Embedded, one file.
    #[default]
    Sqlite,
    /// RabbitMQ.
    Amqp,
    /// Amazon SQS, or what speaks as it does.
    Sqs,
}

/// `[queue]`, and each of `[[queues]]`: where job messages wait.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct QueueConfig {
    /// What commands, metrics and errors call it. Each has its own.
    pub name: String,
    /// Kind of queue.
    #[serde(deserialize_with = "super::decode::word")]
    pub kind: QueueKind,
    /// The file of an embedded queue.
    pub path: PathBuf,
    /// A delivery that is not extended for this long goes to another worker.
    pub lease_secs: u64,
    /// Its share of the messages that are taken while several queues of its priority have some.
    pub weight: u32,
    /// As long as a queue with a higher one has messages, none are taken from this one.
    pub priority: i32,
    /// For later: messages are taken only while all queues that are not deferred are empty.
    pub deferred: bool,
    /// When messages of a deferred queue are taken at all; at any time if absent.
    pub hours: Option<Hours>,
    /// `[queue.amqp]`.
    pub amqp: AmqpQueueConfig,
    /// `[queue.sqs]`.
    pub sqs: SqsConfig,
}

impl Default for QueueConfig {
    fn default() -> Self {
        QueueConfig {
            name: "main".into(),
            kind: QueueKind::Sqlite,
            path: "/var/lib/darkroom/queue.sqlite".into(),
            lease_secs: 30,
            weight: 1,
            priority: 0,
            deferred: false,
            hours: None,
            amqp: AmqpQueueConfig::default(),
            sqs: SqsConfig::default(),
        }
    }
}

/// `[queue.amqp]`: a queue on RabbitMQ.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AmqpQueueConfig {
    /// Its name; the other queues' names begin with it.
    pub queue: String,
    /// Whether we make the queues; else they are only checked to be there.
    pub declare: bool,
    /// The broker's `consumer_timeout` in seconds, after which it takes an unacknowledged delivery back.
    pub ack_timeout_secs: u64,
}

impl Default for AmqpQueueConfig {
    fn default() -> Self {
        AmqpQueueConfig { queue: "darkroom.jobs".into(), declare: true, ack_timeout_secs: 1800 }
    }
}

/// `[queue.sqs]`: a queue in SQS.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SqsConfig {
    /// Name or URL of the queue.
    pub queue: Option<String>,
    /// Name or URL of the queue of its dead letters; the one of its redrive policy if absent.
    pub dead_letter_queue: Option<String>,
}

/// Minutes of a day.
const DAY: u16 = 24 * 60;

/// A part of each day, in UTC, as `22:00-06:00`: from the first minute on, up to the last one, which is not in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Hours {
    from: u16,
    to: u16,
}

impl Hours {
    /// Whether this moment is in it.
    pub fn contains(self, at: Timestamp) -> bool {
        let minute = at.as_second().rem_euclid(i64::from(DAY) * 60) / 60;
        let (from, to) = (i64::from(self.from), i64::from(self.to));
        if from < to { (from..to).contains(&minute) } else { minute >= from || minute < to }
    }
}

impl TryFrom<String> for Hours {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let minute = |text: &str| {
            let (hours, minutes) = text.trim().split_once(':')?;
            let number = |text: &str| text.parse::<u16>().ok().filter(|_| text.len() == 2 && !text.starts_with('+'));
            let (hours, minutes) = (number(hours)?, number(minutes)?);
            (hours < 24 && minutes < 60).then_some(hours * 60 + minutes)
        };
        let both = text.split_once('-').and_then(|(from, to)| Some((minute(from)?, minute(to)?)));
        match both {
            Some((from, to)) if from != to => Ok(Hours { from, to }),
            _ => Err(format!("`{text}` is no part of a day; write it 22:00-06:00, in UTC")),
        }
    }
}

impl From<Hours> for String {
    fn from(Hours { from, to }: Hours) -> String {
        format!("{:02}:{:02}-{:02}:{:02}", from / 60, from % 60, to / 60, to % 60)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hours_may_go_over_midnight_and_leave_their_last_minute_out() {
        let is_in = |hours: &str, time: &str| {
            let hours = Hours::try_from(hours.to_owned()).unwrap();
            hours.contains(format!("2026-11-21T{time}Z").parse().unwrap())
        };
        for (time, night, day) in [("21:59:59", false, true), ("22:00:00", true, false), ("05:59:59", true, false)] {
            assert_eq!((is_in("22:00-06:00", time), is_in("06:00-22:00", time)), (night, day), "{time}");
        }
        assert_eq!((is_in("22:00-06:00", "06:00:00"), is_in("06:00-22:00", "06:00:00")), (false, true));
        for bad in ["22:00", "22:00-22:00", "24:00-06:00", "22:60-06:00", "22-6", "2:00-6:00", "+2:00-06:00"] {
            assert!(Hours::try_from(bad.to_owned()).unwrap_err().contains("22:00-06:00"), "{bad}");
        }
        assert_eq!(String::from(Hours::try_from("09:05-17:30".to_owned()).unwrap()), "09:05-17:30");
    }
}
