//! On a real broker.

use std::sync::atomic::{AtomicU32, Ordering};

use darkroom_api::{ErrorCode, JobError};
use darkroom_tests::rabbitmq::{self, broker};
use lapin::options::{
    BasicAckOptions, BasicPublishOptions, ExchangeDeclareOptions, QueueBindOptions, QueueDeclareOptions,
    QueueDeleteOptions,
};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{BasicProperties, Channel, ExchangeKind};

use super::*;
use crate::config::Secret;
use crate::queue::{conformance, lease::Lease};

mod long;
mod lost;
mod queues;

const PATIENCE: Duration = Duration::from_secs(30);
const NOW: Duration = Duration::ZERO;

/// The broker, by this URL if it is not the plain one.
async fn server(url: Option<String>) -> Server {
    let url = match url {
        Some(url) => url,
        None => format!("amqp://127.0.0.1:{}", broker().await.port),
    };
    Server { url, username: Some(rabbitmq::USER.into()), password: Some(Secret::new(rabbitmq::PASSWORD)) }
}

/// Options of a queue of that name, with leases of 2 s.
async fn options(name: &str) -> Options {
    Options { server: server(None).await, name: name.into(), lease: Duration::from_secs(2), ..Options::default() }
}

async fn queue(name: &str) -> AmqpQueue {
    AmqpQueue::new(options(name).await)
}

async fn send(queue: &AmqpQueue, body: &str) -> MessageId {
    queue.send(body, SendOptions::default()).await.unwrap()
}

async fn one(queue: &AmqpQueue) -> Delivery {
    let begun = Instant::now();
    loop {
        // A connection that ends while we wait is told; a worker asks again too.
        match queue.receive(1, PATIENCE).await {
            Ok(mut deliveries) if deliveries.len() == 1 => return deliveries.remove(0),
            Ok(other) => panic!("{other:?}"),
            Err(error) => assert!(begun.elapsed() < PATIENCE, "{error}"),
        }
    }
}

async fn ack(queue: &AmqpQueue, delivery: Delivery) {
    assert_eq!(queue.settle(delivery.receipt, Settlement::Ack).await.unwrap(), Settled::Done);
}

async fn channel() -> (lapin::Connection, Channel) {
    let connection = broker().await.connect("%2f").await.unwrap();
    let channel = connection.create_channel().await.unwrap();
    (connection, channel)
}

#[tokio::test(flavor = "multi_thread")]
async fn keeps_what_every_backend_promises() {
    let names = AtomicU32::new(0);
    conformance::all(async || {
        let name = format!("promises.{}", names.fetch_add(1, Ordering::Relaxed));
        Arc::new(queue(&name).await) as Arc<dyn Queue>
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_that_kills_its_worker_is_given_up_and_uncounted_releases_do_not_count() {
    let options = Options { max_receives: 2, ..options("poison").await };
    let queue = AmqpQueue::new(options);
    send(&queue, "poison").await;
    for receives in 1..=5 {
        let delivery = one(&queue).await;
        assert_eq!(delivery.receives, receives);
        let settlement = Settlement::Release { after: NOW, counted: false };
        assert_eq!(queue.settle(delivery.receipt, settlement).await.unwrap(), Settled::Done);
    }
    for receives in 6..=7 {
        let delivery = one(&queue).await;
        assert_eq!(delivery.receives, receives);
        let settlement = Settlement::Release { after: NOW, counted: true };
        assert_eq!(queue.settle(delivery.receipt, settlement).await.unwrap(), Settled::Done);
    }
    assert!(queue.receive(1, Duration::from_secs(1)).await.unwrap().is_empty());
    let letter = queue.dead_letters(10, None).await.unwrap().remove(0);
    assert_eq!((letter.receives, letter.reason.unwrap().code), (7, ErrorCode::ExecutorCrashed));
}

#[tokio::test(flavor = "multi_thread")]
async fn notifications_from_an_exchange_keep_their_bytes_and_get_an_id() {
    let queue = AmqpQueue::new(Options { lease: PATIENCE, ..options("uploads").await });
    assert!(queue.receive(1, NOW).await.unwrap().is_empty());
    let (_connection, channel) = channel().await;
    let options = ExchangeDeclareOptions { durable: true, ..ExchangeDeclareOptions::default() };
    channel
        .exchange_declare("bucket-events".into(), ExchangeKind::Fanout, options, FieldTable::default())
        .await
        .unwrap();
    let bind = QueueBindOptions::default();
    channel.queue_bind("uploads".into(), "bucket-events".into(), "".into(), bind, FieldTable::default()).await.unwrap();
    // As a hostile publisher would: an odd id, and a header that would send copies elsewhere.
    let mut headers = FieldTable::default();
    let elsewhere = vec![AMQPValue::LongString("uploads".into())];
    headers.insert("CC".into(), AMQPValue::FieldArray(elsewhere.into()));
    let body = b"{\"Key\":\"in/a b%2B\xff\"}\n";
    let properties = BasicProperties::default().with_message_id("../a b".into()).with_headers(headers);
    let publish = BasicPublishOptions::default();
    channel.basic_publish("bucket-events".into(), "".into(), publish, body, properties).await.unwrap().await.unwrap();
    let first = one(&queue).await;
    assert_eq!(&first.body[..], body);
    assert!(first.message_id.0.starts_with("sha256-"), "{}", first.message_id);
    let id = first.message_id.clone();
    let settlement = Settlement::Release { after: NOW, counted: false };
    assert_eq!(queue.settle(first.receipt, settlement).await.unwrap(), Settled::Done);
    let second = one(&queue).await;
    assert_eq!((second.message_id.clone(), &second.body[..], second.receives), (id, &body[..], 2));
    ack(&queue, second).await;
    assert!(queue.receive(1, NOW).await.unwrap().is_empty(), "the copy went to two places");
}
