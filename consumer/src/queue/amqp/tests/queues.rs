//! The queues behind a queue: made, checked, full, gone.

use super::*;
use crate::config::Secret;

#[tokio::test(flavor = "multi_thread")]
async fn a_message_that_no_queue_takes_is_not_settled() {
    let queue = AmqpQueue::new(Options { lease: PATIENCE, ..options("unroutable").await });
    let id = send(&queue, "job").await;
    let delivery = one(&queue).await;
    let (_connection, channel) = channel().await;
    channel.queue_delete("unroutable.dead".into(), QueueDeleteOptions::default()).await.unwrap();
    let dead = || Settlement::DeadLetter { reason: JobError::new(ErrorCode::Internal, "x") };
    let refused = queue.settle(delivery.receipt, dead()).await.unwrap_err();
    assert!(refused.to_string().contains("unroutable.dlx"), "{refused}");
    // It was not acknowledged: it comes again, and by now the queue is there again.
    let delivery = one(&queue).await;
    assert_eq!((&delivery.message_id, delivery.receives), (&id, 2));
    assert_eq!(queue.settle(delivery.receipt, dead()).await.unwrap(), Settled::Done);
    assert_eq!(queue.dead_letters(10, None).await.unwrap()[0].message_id, id);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_differs_is_named() {
    let broker = broker().await;
    let (_connection, channel) = channel().await;
    channel.queue_declare("classic".into(), QueueDeclareOptions::durable(), FieldTable::default()).await.unwrap();
    let error = queue("classic").await.send("x", SendOptions::default()).await.unwrap_err().to_string();
    for part in ["`classic`", "inequivalent arg", "queue.amqp.declare = false"] {
        assert!(error.contains(part), "{part}: {error}");
    }
    let unmade = AmqpQueue::new(Options { declare: false, ..options("unmade").await });
    let error = unmade.depth().await.unwrap_err().to_string();
    assert!(error.contains("unmade.dlx") && error.contains("NOT_FOUND"), "{error}");
    let wrong = AmqpQueue::new(Options {
        server: Server { password: Some(Secret::new("hunter2")), ..server(None).await },
        ..options("wrong").await
    });
    let error = wrong.depth().await.unwrap_err().to_string();
    assert!(error.contains("ACCESS_REFUSED") && !error.contains("hunter2"), "{error}");
    let url = format!("amqps://127.0.0.1:{}", broker.tls_port);
    let unknown = AmqpQueue::new(Options { server: server(Some(url)).await, ..options("tls").await });
    let error = unknown.depth().await.unwrap_err().to_string();
    assert!(error.contains("certificate"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn queues_of_others_are_used_as_they_are() {
    let ours = Options { declare: false, ..options("given").await };
    queue("given").await.depth().await.unwrap();
    let (_connection, channel) = channel().await;
    channel.queue_delete("given.delay.64".into(), QueueDeleteOptions::default()).await.unwrap();
    let lacking = AmqpQueue::open(ours.clone()).await.unwrap_err().to_string();
    assert!(lacking.contains("`given.delay.64`") && lacking.contains("queue.amqp.declare = true"), "{lacking}");
    topology::declare_delay(&channel, "given", 64).await.unwrap();
    let queue = AmqpQueue::open(ours).await.unwrap();
    send(&queue, "job").await;
    let settlement = Settlement::Release { after: Duration::from_millis(50), counted: true };
    assert_eq!(queue.settle(one(&queue).await.receipt, settlement).await.unwrap(), Settled::Done);
    ack(&queue, one(&queue).await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_queue_refuses_and_what_it_confirmed_is_there() {
    let queue = AmqpQueue::new(Options { lease: PATIENCE, ..options(rabbitmq::FULL).await });
    let mut sent = Vec::new();
    let refused = loop {
        match queue.send("job", SendOptions::default()).await {
            Ok(id) => sent.push(id),
            Err(refused) => break refused,
        }
        assert!(sent.len() < 100, "never full");
    };
    assert!(matches!(refused, Error::Full(_)), "{refused}");
    let first = one(&queue).await;
    let mut received = vec![first.message_id.clone()];
    for _ in 1..sent.len() {
        let delivery = one(&queue).await;
        received.push(delivery.message_id.clone());
        ack(&queue, delivery).await;
    }
    assert_eq!(received, sent);
    assert!(queue.receive(1, NOW).await.unwrap().is_empty(), "what was refused is not there");
    // A refusal is nobody's fault: connection and lease live on.
    assert_eq!(queue.extend(&first.receipt, PATIENCE).await.unwrap(), Extended::Renewed);
    ack(&queue, first).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_more_is_taken_than_was_asked_for_and_what_nobody_waits_for_goes_to_others() {
    let options = Options { lease: PATIENCE, ..options("prefetch").await };
    let (queue, others) = (AmqpQueue::new(options.clone()), AmqpQueue::new(options));
    for _ in 0..5 {
        send(&queue, "job").await;
    }
    let mut held = Vec::new();
    while held.len() < 2 {
        held.extend(queue.receive(2 - held.len(), PATIENCE).await.unwrap());
    }
    let rest = others.receive(9, NOW).await.unwrap();
    assert_eq!((held.len(), rest.len()), (2, 3));
    for delivery in rest {
        ack(&others, delivery).await;
    }
    // A free slot, and nobody who asks: a message that comes to it is handed on.
    ack(&queue, held.remove(0)).await;
    let id = send(&queue, "late").await;
    let late = one(&others).await;
    // Nobody was given it before.
    assert_eq!((&late.message_id, late.receives, late.counted), (&id, 1, 1));
    ack(&others, late).await;
    ack(&queue, held.remove(0)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_came_without_being_asked_for_goes_back_before_the_queue_rests() {
    let queue = AmqpQueue::new(Options { lease: PATIENCE, ..options("rests").await });
    // Leaves a consumer behind that may get one message more.
    assert!(queue.receive(1, Duration::from_millis(100)).await.unwrap().is_empty());
    let id = send(&queue, "unasked").await;
    let link = queue.current().unwrap();
    let state = || {
        let inbox = link.inbox();
        (inbox.in_flight(), inbox.credit())
    };
    let begun = Instant::now();
    while state() == (0, 1) {
        assert!(begun.elapsed() < PATIENCE);
        tokio::task::yield_now().await;
    }
    queue.rest().await;
    assert_eq!(state(), (0, 0));
    let other = AmqpQueue::new(Options { lease: PATIENCE, ..options("rests").await });
    let delivery = other.receive(1, NOW).await.unwrap().remove(0);
    assert_eq!((&delivery.message_id, delivery.counted), (&id, 1));
    ack(&other, delivery).await;
}
