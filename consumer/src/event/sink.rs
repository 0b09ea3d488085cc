//! Where events go: the log, a queue, a webhook, RabbitMQ, Amazon's services.

use std::sync::Arc;

use async_trait::async_trait;

use super::amqp::AmqpSink;
use super::aws::{EventBridgeSink, SnsSink, SqsSink};
use super::webhook::Webhook;
use super::{Event, EventKind};
use crate::config::{AmqpConfig, AwsConfig, SinkConfig, SinkKind};
use crate::queue::{self, Queue, SendOptions};

/// An event, and the bytes that all sinks send of it.
#[derive(Debug, Clone)]
pub struct Message {
    /// Its id.
    pub id: String,
    /// What it tells.
    pub kind: EventKind,
    /// Structured JSON.
    pub body: String,
}

impl From<&Event> for Message {
    fn from(event: &Event) -> Self {
        Message { id: event.id().to_owned(), kind: event.kind(), body: event.to_json() }
    }
}

/// Why a sink did not take an event.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SinkError {
    /// Worth another try.
    #[error("{0}")]
    Passing(String),
    /// The same again would fail again.
    #[error("{0}")]
    Final(String),
}

/// Takes events.
#[async_trait]
pub trait EventSink: Send + Sync + std::fmt::Debug {
    /// One try. When this returns the receiver has the event.
    ///
    /// # Errors
    /// [`SinkError`]; the [`super::Publisher`] repeats.
    async fn deliver(&self, message: &Message) -> Result<(), SinkError>;
}

/// Writes events to the log.
#[derive(Debug, Clone, Copy)]
pub struct LogSink;

#[async_trait]
impl EventSink for LogSink {
    async fn deliver(&self, message: &Message) -> Result<(), SinkError> {
        let event = without_urls(&message.body);
        tracing::info!(target: "darkroom::event", id = message.id, kind = ?message.kind, event, "event");
        Ok(())
    }
}

/// Whoever has a presigned URL has the object: they do not belong in logs.
fn without_urls(body: &str) -> String {
    let Ok(mut event) = serde_json::from_str::<serde_json::Value>(body) else { return String::new() };
    let outputs = event.pointer_mut("/data/outputs").and_then(serde_json::Value::as_array_mut);
    for output in outputs.into_iter().flatten().filter_map(serde_json::Value::as_object_mut) {
        output.remove("url");
    }
    event.to_string()
}

/// Sends events to a queue.
#[derive(Debug, Clone)]
pub struct QueueSink(pub Arc<dyn Queue>);

#[async_trait]
impl EventSink for QueueSink {
    async fn deliver(&self, message: &Message) -> Result<(), SinkError> {
        let options = SendOptions { dedup_id: Some(message.id.clone()), ..SendOptions::default() };
        match self.0.send(&message.body, options).await {
            Ok(_) => Ok(()),
            Err(error @ queue::Error::TooLarge { .. }) => Err(SinkError::Final(error.to_string())),
            Err(error) => Err(SinkError::Passing(error.to_string())),
        }
    }
}

/// A sink with what the configuration says of it.
#[derive(Debug)]
pub struct Outlet {
    /// Its section.
    pub config: SinkConfig,
    /// Where events go.
    pub sink: Box<dyn EventSink>,
}

impl Outlet {
    /// Makes the sink of a `[[sinks]]` section; `queue` is the one at the `path` of a queue sink, opened by the caller,
    /// who may have the file open already, `amqp` the broker of those that are RabbitMQ's, and `aws` the account of those
    /// that are Amazon's.
    ///
    /// # Errors
    /// A sentence.
    pub async fn open(
        config: &SinkConfig,
        queue: Option<Arc<dyn Queue>>,
        amqp: &AmqpConfig,
        aws: &AwsConfig,
    ) -> Result<Self, String> {
        let sink: Box<dyn EventSink> = match config.kind {
            SinkKind::Log => Box::new(LogSink),
            SinkKind::Queue => Box::new(QueueSink(queue.ok_or("a queue sink needs `path`")?)),
            SinkKind::Webhook => Box::new(Webhook::open(config)?),
            SinkKind::Amqp => Box::new(AmqpSink::open(config, amqp).await?),
            SinkKind::Sqs => Box::new(SqsSink::open(config, aws).await?),
            SinkKind::Sns => Box::new(SnsSink::open(config, aws).await?),
            SinkKind::EventBridge => Box::new(EventBridgeSink::open(config, aws).await),
        };
        Ok(Outlet { config: config.clone(), sink })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn presigned_urls_stay_out_of_the_log() {
        let body = r#"{"id":"x","data":{"outputs":[{"key":"a","url":"http://h/a?X-Amz-Signature=1"}]}}"#;
        assert_eq!(without_urls(body), r#"{"data":{"outputs":[{"key":"a"}]},"id":"x"}"#);
    }
}
