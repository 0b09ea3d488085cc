//! `[[sinks]]`: where events go.

use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::Secret;
use crate::event::EventKind;
use crate::queue::sqlite::Retention;

/// Seven days: how long a queue sink keeps an event that nobody takes.
pub const DEFAULT_MAX_AGE_SECS: u64 = 7 * 24 * 3600;
/// How many events a queue sink keeps.
pub const DEFAULT_MAX_EVENTS: u64 = 10_000;

/// Kinds of sinks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SinkKind {
    /// A log line.
    Log,
    /// A message in a queue.
    Queue,
    /// A signed HTTP POST.
    Webhook,
    /// A message to an exchange of RabbitMQ.
    Amqp,
    /// A message in a queue of Amazon SQS.
    Sqs,
    /// A message to a topic of Amazon SNS.
    Sns,
    /// An event on a bus of Amazon EventBridge.
    EventBridge,
}

impl SinkKind {
    /// As written in the configuration.
    pub const fn as_str(self) -> &'static str {
        match self {
            SinkKind::Log => "log",
            SinkKind::Queue => "queue",
            SinkKind::Webhook => "webhook",
            SinkKind::Amqp => "amqp",
            SinkKind::Sqs => "sqs",
            SinkKind::Sns => "sns",
            SinkKind::EventBridge => "eventbridge",
        }
    }
}

/// One sink.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SinkConfig {
    /// Kind of sink.
    #[serde(deserialize_with = "super::decode::word")]
    pub kind: SinkKind,
    /// Name in logs and metrics; the kind if absent.
    #[serde(default)]
    pub name: Option<String>,
    /// A delivery is acknowledged only when this sink has confirmed its terminal event.
    #[serde(default)]
    pub required: bool,
    /// Kinds of events it gets; all if empty.
    #[serde(default, deserialize_with = "super::decode::words")]
    pub types: Vec<EventKind>,
    /// Webhook: where to POST.
    #[serde(default)]
    pub url: Option<String>,
    /// Webhook: key of the signature, `whsec_` and base64 of 24 to 64 bytes.
    #[serde(default)]
    pub secret: Option<Secret>,
    /// Webhook: file that holds the key.
    #[serde(default)]
    pub secret_file: Option<PathBuf>,
    /// Webhook: allows http and addresses that are loopback, private or link-local.
    #[serde(default)]
    pub allow_private: bool,
    /// Queue: file of an embedded queue that takes the events.
    #[serde(default)]
    pub path: Option<PathBuf>,
    /// AMQP: name of the exchange.
    #[serde(default)]
    pub exchange: Option<String>,
    /// AMQP: routing key; the event's type if absent.
    #[serde(default)]
    pub routing_key: Option<String>,
    /// SQS: name or URL of the queue.
    #[serde(default)]
    pub queue: Option<String>,
    /// SNS: ARN of the topic.
    #[serde(default)]
    pub topic: Option<String>,
    /// EventBridge: name or ARN of the bus; the account's default one if absent.
    #[serde(default)]
    pub bus: Option<String>,
    /// Queue: an event that nobody takes is kept this long; [`DEFAULT_MAX_AGE_SECS`] if absent.
    #[serde(default)]
    pub max_age_secs: Option<u64>,
    /// Queue: so many events are kept, the latest; [`DEFAULT_MAX_EVENTS`] if absent.
    #[serde(default)]
    pub max_events: Option<u64>,
}

impl SinkConfig {
    /// A sink of this kind, with nothing else set.
    pub fn new(kind: SinkKind) -> Self {
        SinkConfig {
            kind,
            name: None,
            required: false,
            types: Vec::new(),
            url: None,
            secret: None,
            secret_file: None,
            allow_private: false,
            path: None,
            exchange: None,
            routing_key: None,
            queue: None,
            topic: None,
            bus: None,
            max_age_secs: None,
            max_events: None,
        }
    }

    /// What a queue sink keeps.
    pub fn retention(&self) -> Retention {
        Retention {
            max_age: Duration::from_secs(self.max_age_secs.unwrap_or(DEFAULT_MAX_AGE_SECS)),
            max_messages: self.max_events.unwrap_or(DEFAULT_MAX_EVENTS),
        }
    }

    /// Name in logs and metrics.
    pub fn name(&self) -> &str {
        self.name.as_deref().unwrap_or(self.kind.as_str())
    }

    /// Whether it gets events of this kind.
    pub fn wants(&self, kind: EventKind) -> bool {
        self.types.is_empty() || self.types.contains(&kind)
    }
}
