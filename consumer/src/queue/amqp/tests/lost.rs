//! Whatever takes a delivery away loses its lease, and no message.

use super::*;

/// Extends until the lease is lost.
async fn lost(queue: &AmqpQueue, receipt: &Receipt) {
    let begun = Instant::now();
    while queue.extend(receipt, PATIENCE).await.unwrap() != Extended::Lost {
        assert!(begun.elapsed() < PATIENCE, "still ours");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cut_connection_loses_its_deliveries_and_no_message() {
    let broker = broker().await;
    let url = format!("amqp://127.0.0.1:{}/{}", broker.port, rabbitmq::CUT);
    let server = server(Some(url)).await;
    let made = async |name| AmqpQueue::new(Options { server: server.clone(), lease: PATIENCE, ..options(name).await });
    let (queue, idle) = (made("cut").await, Arc::new(made("cut.idle").await));
    idle.depth().await.unwrap();
    let waiting = tokio::spawn({
        let idle = Arc::clone(&idle);
        async move { one(&idle).await.message_id }
    });
    let id = send(&queue, "job").await;
    let first = one(&queue).await;
    broker.control(&["close_all_connections", "-p", rabbitmq::CUT, "a test"]).await;
    lost(&queue, &first.receipt).await;
    assert_eq!(queue.settle(first.receipt, Settlement::Ack).await.unwrap(), Settled::Lost);
    let second = one(&queue).await;
    assert_eq!((&second.message_id, &second.body[..], second.receives), (&id, &b"job"[..], 2));
    ack(&queue, second).await;
    assert!(queue.receive(1, NOW).await.unwrap().is_empty());
    // Who waited through it gets what comes after it.
    assert_eq!(send(&idle, "late").await, waiting.await.unwrap());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_channel_that_is_closed_with_406_loses_its_deliveries_and_no_message() {
    let queue = AmqpQueue::new(Options { lease: PATIENCE, ..options("closed").await });
    let id = send(&queue, "job").await;
    let first = one(&queue).await;
    assert_eq!(queue.extend(&first.receipt, PATIENCE).await.unwrap(), Extended::Renewed);
    // The broker answers this as it does a delivery that took too long: PRECONDITION_FAILED.
    let link = queue.current().unwrap();
    let unknown = link.incoming.basic_ack(4711, BasicAckOptions::default()).await;
    lost(&queue, &first.receipt).await;
    assert_eq!(queue.settle(first.receipt, Settlement::Ack).await.unwrap(), Settled::Lost, "{unknown:?}");
    let second = one(&queue).await;
    assert_eq!((&second.message_id, second.receives, second.counted), (&id, 2, 2));
    ack(&queue, second).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_acknowledgement_that_is_stale_to_the_client_means_lost() {
    let options = Options { lease: PATIENCE, ack_timeout: Duration::ZERO, ..options("stale").await };
    let queue = AmqpQueue::new(options);
    for extends in [false, true] {
        send(&queue, "job").await;
        let delivery = one(&queue).await;
        let link = queue.current().unwrap();
        let held = link.inbox().take(delivery.receipt.as_str()).unwrap();
        assert!(held.acker.ack(BasicAckOptions::default()).await.unwrap());
        assert!(!held.acker.ack(BasicAckOptions::default()).await.unwrap(), "`Ok(false)` is what this is about");
        link.inbox().put(delivery.receipt.as_str().to_owned(), held);
        if extends {
            assert_eq!(queue.extend(&delivery.receipt, PATIENCE).await.unwrap(), Extended::Lost);
            // The copy that was made before it was known is there for others.
            let copy = one(&queue).await;
            assert_eq!(copy.message_id, delivery.message_id);
            ack(&queue, copy).await;
        } else {
            assert_eq!(queue.settle(delivery.receipt, Settlement::Ack).await.unwrap(), Settled::Lost);
        }
    }
}

/// The broker cancels the consumer (`basic.cancel`), and the stream ends.
#[tokio::test(flavor = "multi_thread")]
async fn a_deleted_queue_ends_its_deliveries_and_is_made_again() {
    let queue = AmqpQueue::new(Options { lease: PATIENCE, ..options("deleted").await });
    send(&queue, "job").await;
    let delivery = one(&queue).await;
    let (_connection, channel) = channel().await;
    channel.queue_delete("deleted".into(), QueueDeleteOptions::default()).await.unwrap();
    lost(&queue, &delivery.receipt).await;
    let id = send(&queue, "another").await;
    let again = one(&queue).await;
    assert_eq!(again.message_id, id);
    ack(&queue, again).await;
}

/// However long it takes to connect again.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_lost_is_told_at_once() {
    let queue = AmqpQueue::new(Options { lease: PATIENCE, ..options("at-once").await });
    send(&queue, "job").await;
    let delivery = one(&queue).await;
    queue.current().unwrap().end("the broker is gone in this test");
    let _connecting = queue.connecting.lock().await;
    let told = async {
        assert_eq!(queue.extend(&delivery.receipt, PATIENCE).await.unwrap(), Extended::Lost);
        assert_eq!(queue.settle(delivery.receipt, Settlement::Ack).await.unwrap(), Settled::Lost);
    };
    tokio::time::timeout(PATIENCE, told).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_that_cannot_be_given_up_keeps_no_other_back() {
    let options = Options { lease: PATIENCE, max_receives: 1, ..options("worn").await };
    AmqpQueue::open(options.clone()).await.unwrap();
    // Its dead letters have no room.
    let (_connection, channel) = channel().await;
    channel.queue_delete("worn.dead".into(), QueueDeleteOptions::default()).await.unwrap();
    let mut arguments = FieldTable::default();
    arguments.insert("x-max-length".into(), AMQPValue::LongLongInt(0));
    arguments.insert("x-overflow".into(), AMQPValue::LongString("reject-publish".into()));
    channel.queue_declare("worn.dead".into(), QueueDeclareOptions::durable(), arguments).await.unwrap();
    let bind = QueueBindOptions::default();
    channel.queue_bind("worn.dead".into(), "worn.dlx".into(), "".into(), bind, FieldTable::default()).await.unwrap();
    let queue = AmqpQueue::open(Options { declare: false, ..options }).await.unwrap();
    send(&queue, "worn out").await;
    let first = queue.receive(1, NOW).await.unwrap().remove(0);
    let released = Settlement::Release { after: NOW, counted: true };
    assert_eq!(queue.settle(first.receipt, released).await.unwrap(), Settled::Done);
    send(&queue, "fresh").await;
    let deliveries = queue.receive(2, NOW).await.unwrap();
    assert_eq!(deliveries.iter().map(|delivery| &delivery.body[..]).collect::<Vec<_>>(), [b"fresh"]);
    assert_eq!(queue.current().unwrap().inbox().in_flight(), 2, "it is kept until its lease ends");
}
