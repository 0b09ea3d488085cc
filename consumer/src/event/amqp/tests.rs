//! On a real broker.

use darkroom_tests::rabbitmq::{PASSWORD, USER, broker};
use lapin::options::{BasicGetOptions, QueueBindOptions, QueueDeclareOptions};

use super::*;
use crate::config::{AwsConfig, Secret, SinkKind};
use crate::event::{EventKind, Outlet};

async fn amqp() -> AmqpConfig {
    AmqpConfig {
        url: Some(format!("amqp://127.0.0.1:{}", broker().await.port)),
        username: Some(USER.into()),
        password: Some(Secret::new(PASSWORD)),
        ..AmqpConfig::default()
    }
}

async fn outlet(exchange: &str, required: bool) -> Result<Outlet, String> {
    let config = SinkConfig { exchange: Some(exchange.into()), required, ..SinkConfig::new(SinkKind::Amqp) };
    Outlet::open(&config, None, &amqp().await, &AwsConfig::default()).await
}

fn message(id: &str) -> Message {
    Message { id: id.into(), kind: EventKind::Completed, body: format!("{{\"id\":\"{id}\"}}") }
}

async fn channel() -> (Connection, Channel) {
    let connection = broker().await.connect("%2f").await.unwrap();
    let channel = connection.create_channel().await.unwrap();
    (connection, channel)
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_reaches_the_queues_of_its_type_or_is_no_success() {
    let (_connection, channel) = channel().await;
    let missing = outlet("events", true).await.unwrap_err();
    assert!(missing.contains("`events`") && missing.contains("NOT_FOUND"), "{missing}");
    let (name, durable) = ("events", ExchangeDeclareOptions { durable: true, ..ExchangeDeclareOptions::default() });
    channel.exchange_declare(name.into(), ExchangeKind::Topic, durable, FieldTable::default()).await.unwrap();
    let (required, other) = (outlet(name, true).await.unwrap(), outlet(name, false).await.unwrap());

    let unheard = required.sink.deliver(&message("a.completed")).await.unwrap_err();
    assert!(matches!(&unheard, SinkError::Passing(why) if why.contains("bind one")), "{unheard}");
    other.sink.deliver(&message("a.completed")).await.unwrap();

    let table = FieldTable::default();
    channel.queue_declare("heard".into(), QueueDeclareOptions::durable(), table.clone()).await.unwrap();
    let (key, bind) = ("dev.darkroom.job.#", QueueBindOptions::default());
    channel.queue_bind("heard".into(), name.into(), key.into(), bind, table).await.unwrap();
    required.sink.deliver(&message("b.completed")).await.unwrap();
    let got = channel.basic_get("heard".into(), BasicGetOptions { no_ack: true }).await.unwrap().unwrap();
    let properties = &got.properties;
    assert_eq!(got.data, b"{\"id\":\"b.completed\"}");
    assert_eq!(properties.message_id().as_ref().unwrap().as_str(), "b.completed");
    assert_eq!(properties.kind().as_ref().unwrap().as_str(), "dev.darkroom.job.completed.v1");
    assert_eq!(properties.delivery_mode(), &Some(2));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_connection_is_made_again() {
    let (_connection, channel) = channel().await;
    let durable = ExchangeDeclareOptions { durable: true, ..ExchangeDeclareOptions::default() };
    channel.exchange_declare("lossy".into(), ExchangeKind::Fanout, durable, FieldTable::default()).await.unwrap();
    let config = SinkConfig { exchange: Some("lossy".into()), ..SinkConfig::new(SinkKind::Amqp) };
    let sink = AmqpSink::open(&config, &amqp().await).await.unwrap();
    sink.deliver(&message("a")).await.unwrap();
    let ended = sink.open.lock().await.as_ref().unwrap().channel.clone();
    ended.close(200, "a test".into()).await.unwrap();
    sink.deliver(&message("b")).await.unwrap();
}
