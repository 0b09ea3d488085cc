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
    let link = queue.current().await.unwrap();
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
        let link = queue.current().await.unwrap();
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
