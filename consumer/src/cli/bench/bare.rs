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
    connection: Connection,
    publish: Channel,
    consume: Channel,
    deliveries: Consumer,
}

impl Bare {
    /// Connects, and makes a quorum queue beside the worker's.
    pub(super) async fn open(amqp: &AmqpConfig, beside: &str) -> Result<Bare, Failure> {
        Bare::start(amqp, beside)
            .await
            .map_err(|e| Failure::Failed(format!("RabbitMQ alone cannot be measured: {e:#}.")))
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
        Ok(Bare { queue, connection, publish, consume, deliveries })
    }

    /// One message, there and gone: milliseconds.
    pub(super) async fn one(&mut self, body: &str) -> Result<f64, Failure> {
        self.message(body).await.map_err(|e| Failure::Failed(format!("RabbitMQ alone cannot be measured: {e:#}.")))
    }

    async fn message(&mut self, body: &str) -> anyhow::Result<f64> {
        let begun = Instant::now();
        let properties = BasicProperties::default().with_delivery_mode(2);
        let confirmation = confirmed(&self.publish, "", &self.queue, true, body.as_bytes(), properties).await?;
        ensure!(matches!(confirmation, Confirmation::Ack(None)), "a message was not taken");
        let delivery = self.deliveries.next().await.context("the consumer ended")??;
        ensure!(delivery.acker.ack(BasicAckOptions::default()).await?, "an acknowledgement was not taken");
        Ok(begun.elapsed().as_secs_f64() * 1e3)
    }

    /// Takes the queue away.
    pub(super) async fn close(self) -> Result<(), Failure> {
        let left = |e| Failure::Failed(format!("The queue {} is left: {e}. Delete it.", self.queue));
        let options = QueueDeleteOptions::default();
        self.consume.queue_delete(self.queue.as_str().into(), options).await.map_err(left)?;
        self.connection.close(200, "".into()).await.map_err(left)
    }
}
