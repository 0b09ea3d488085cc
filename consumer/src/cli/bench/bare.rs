//! What the broker alone costs: the least that a consumer of RabbitMQ does for a job, on a queue of the same kind beside
//! the worker's. A persistent message is published and confirmed, delivered, and acknowledged, and nothing else happens.

use std::time::Instant;

use anyhow::{Context, ensure};
use futures::StreamExt;
use lapin::options::{
    BasicAckOptions, BasicConsumeOptions, BasicQosOptions, ConfirmSelectOptions, QueueDeclareOptions,
    QueueDeleteOptions,
};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{BasicProperties, Channel, Confirmation, Connection, Consumer};

use crate::config::AmqpConfig;
use crate::queue::amqp::{CONNECT, Server, confirmed};

use super::super::Failure;

/// A consumer of lapin and nothing around it.
pub(super) struct Bare {
    queue: String,
    _connection: Connection,
    publish: Channel,
    consume: Channel,
    deliveries: Consumer,
}

/// Milliseconds from before the publication on.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bared {
    /// Until the delivery was in hand.
    pub(super) received: f64,
    /// Until it was acknowledged.
    pub(super) settled: f64,
}

impl Bare {
    /// Connects, and makes a quorum queue beside the worker's.
    pub(super) async fn open(amqp: &AmqpConfig, beside: &str) -> Result<Bare, Failure> {
        Bare::start(amqp, beside).await.map_err(|e| Failure::Failed(format!("RabbitMQ alone cannot be measured: {e:#}.")))
    }

    async fn start(amqp: &AmqpConfig, beside: &str) -> anyhow::Result<Bare> {
        let queue = format!("{beside}.bare");
        let connection = Server::from(amqp).connect(CONNECT).await?;
        let (publish, consume) = (connection.create_channel().await?, connection.create_channel().await?);
        publish.confirm_select(ConfirmSelectOptions::default()).await?;
        let mut arguments = FieldTable::default();
        arguments.insert("x-queue-type".into(), AMQPValue::LongString("quorum".into()));
        publish.queue_declare(queue.as_str().into(), QueueDeclareOptions::durable(), arguments).await?;
        consume.basic_qos(1, BasicQosOptions::default()).await?;
        let options = BasicConsumeOptions::default();
        let deliveries =
            consume.basic_consume(queue.as_str().into(), "bare".into(), options, FieldTable::default()).await?;
        Ok(Bare { queue, _connection: connection, publish, consume, deliveries })
    }

    /// One message, there and gone.
    pub(super) async fn one(&mut self, body: &str) -> Result<Bared, Failure> {
        self.message(body).await.map_err(|e| Failure::Failed(format!("RabbitMQ alone cannot be measured: {e:#}.")))
    }

    async fn message(&mut self, body: &str) -> anyhow::Result<Bared> {
        let begun = Instant::now();
        let millis = || begun.elapsed().as_secs_f64() * 1e3;
        let properties = BasicProperties::default().with_delivery_mode(2);
        let confirmation = confirmed(&self.publish, "", &self.queue, true, body.as_bytes(), properties).await?;
        ensure!(matches!(confirmation, Confirmation::Ack(None)), "a message was not taken");
        let delivery = self.deliveries.next().await.context("the consumer ended")??;
        let received = millis();
        ensure!(delivery.acker.ack(BasicAckOptions::default()).await?, "an acknowledgement was not taken");
        Ok(Bared { received, settled: millis() })
    }

    /// Takes the queue away.
    pub(super) async fn close(self) -> Result<(), Failure> {
        let deleted = self.consume.queue_delete(self.queue.as_str().into(), QueueDeleteOptions::default()).await;
        deleted.map(|_| ()).map_err(|e| Failure::Failed(format!("The queue {} is left: {e}. Delete it.", self.queue)))
    }
}
