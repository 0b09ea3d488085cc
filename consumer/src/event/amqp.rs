//! Events to an exchange of RabbitMQ.
//!
//! A message is the CloudEvent as it is; its `message_id` is the event's, its `type` and, where none is configured, its
//! routing key are the event's type, so that a topic exchange tells kinds apart (`dev.darkroom.job.#`). It is persistent
//! and confirmed. Where the sink is required it is mandatory too: an exchange that no queue is bound to has not taken it.

use std::time::Duration;

use anyhow::anyhow;
use async_trait::async_trait;
use lapin::options::{ConfirmSelectOptions, ExchangeDeclareOptions};
use lapin::types::FieldTable;
use lapin::{BasicProperties, Channel, Confirmation, Connection, ExchangeKind};
use tokio::sync::Mutex;
use tokio::time::timeout;

use super::sink::{EventSink, Message, SinkError};
use crate::config::{AmqpConfig, SinkConfig};
use crate::queue::amqp::{Server, confirmed};

const ANSWER: Duration = Duration::from_secs(20);
const HEARTBEAT: Duration = Duration::from_secs(30);
const CONTENT_TYPE: &str = "application/cloudevents+json";
const PERSISTENT: u8 = 2;

/// An exchange.
#[derive(Debug)]
pub struct AmqpSink {
    server: Server,
    exchange: String,
    routing_key: Option<String>,
    mandatory: bool,
    /// Absent while in use: what fails, or is given up half-way, is opened anew.
    open: Mutex<Option<Open>>,
}

#[derive(Debug)]
struct Open {
    /// Ends when it is dropped.
    _connection: Connection,
    channel: Channel,
}

impl AmqpSink {
    /// Connects, and looks for the exchange.
    ///
    /// # Errors
    /// A sentence: there is none, or the broker does not answer.
    pub async fn open(config: &SinkConfig, amqp: &AmqpConfig) -> Result<Self, String> {
        let sink = AmqpSink {
            server: Server::from(amqp),
            exchange: config.exchange.clone().ok_or("a sink of kind \"amqp\" needs `exchange`")?,
            routing_key: config.routing_key.clone(),
            mandatory: config.required,
            open: Mutex::default(),
        };
        let open = sink.connect().await.map_err(|e| format!("the sink `{}`: {e}", config.name()))?;
        *sink.open.lock().await = Some(open);
        Ok(sink)
    }

    async fn connect(&self) -> anyhow::Result<Open> {
        let opening = async {
            let connection = self.server.connect(HEARTBEAT).await?;
            let channel = connection.create_channel().await?;
            // With `passive` its kind is not compared.
            let look = ExchangeDeclareOptions { passive: true, ..ExchangeDeclareOptions::default() };
            let (name, kind) = (self.exchange.as_str().into(), ExchangeKind::Topic);
            channel.exchange_declare(name, kind, look, FieldTable::default()).await.map_err(|e| {
                anyhow!("the exchange `{}` cannot be used: {e}. Create it, or correct `exchange`", self.exchange)
            })?;
            channel.confirm_select(ConfirmSelectOptions::default()).await?;
            Ok(Open { _connection: connection, channel })
        };
        timeout(ANSWER, opening).await.map_err(|_| anyhow!("the broker does not answer"))?
    }
}

#[async_trait]
impl EventSink for AmqpSink {
    async fn deliver(&self, message: &Message) -> Result<(), SinkError> {
        let passing = |why: String| SinkError::Passing(why);
        let mut place = self.open.lock().await;
        let open = match place.take().filter(|open| open.channel.status().connected()) {
            Some(open) => open,
            None => self.connect().await.map_err(|e| passing(e.to_string()))?,
        };
        let kind = message.kind.type_name();
        let properties = BasicProperties::default()
            .with_content_type(CONTENT_TYPE.into())
            .with_message_id(message.id.as_str().into())
            .with_type(kind.into())
            .with_delivery_mode(PERSISTENT);
        let key = self.routing_key.as_deref().unwrap_or(kind);
        let published =
            confirmed(&open.channel, &self.exchange, key, self.mandatory, message.body.as_bytes(), properties);
        let answer = timeout(ANSWER, published).await.map_err(|_| passing("the broker does not confirm".into()))?;
        let answer = answer.map_err(|e| passing(e.to_string()))?;
        *place = Some(open);
        match answer {
            Confirmation::Ack(None) => Ok(()),
            Confirmation::Ack(Some(_)) => Err(passing(format!(
                "no queue is bound to the exchange `{}` for the routing key `{key}`: bind one",
                self.exchange
            ))),
            Confirmation::Nack(_) => Err(passing("the broker refused the event: a queue is full".into())),
            Confirmation::NotRequested => Err(passing("the channel has no confirms".into())),
        }
    }
}

#[cfg(test)]
mod tests;
