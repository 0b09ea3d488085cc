//! Work that takes longer than the broker waits for an acknowledgement.

use super::*;

#[tokio::test(flavor = "multi_thread")]
async fn long_work_is_kept_from_others_and_comes_back_when_its_worker_dies() {
    let options =
        Options { lease: Duration::from_secs(1), ack_timeout: Duration::from_secs(2), ..options("long").await };
    let (ours, others) = (Arc::new(AmqpQueue::new(options.clone())), AmqpQueue::new(options));
    let id = send(&ours, "long job").await;
    let delivery = one(&ours).await;
    let first = delivery.receipt.as_str().to_owned();
    let lease = Lease::start(ours.clone(), delivery);
    // Three times the broker's patience, in which a copy of it could come to the others.
    assert!(others.receive(1, Duration::from_secs(6)).await.unwrap().is_empty());
    assert!(!lease.lost().is_cancelled());
    let link = ours.current().unwrap();
    assert_eq!(link.inbox().in_flight(), 1);
    assert!(link.inbox().take(&first).is_none(), "the receipt was not replaced");
    link.end("the worker dies in this test");
    let again = one(&others).await;
    assert_eq!((&again.message_id, &again.body[..], again.receives), (&id, &b"long job"[..], 2));
    lease.lost().cancelled().await;
    assert_eq!(lease.ack().await.unwrap(), Settled::Lost);
    ack(&others, again).await;
    assert!(others.receive(1, Duration::from_secs(2)).await.unwrap().is_empty(), "it was there twice");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_parked_delivery_is_settled_in_every_way() {
    let server = Server { username: Some(rabbitmq::LIMITED.into()), ..server(None).await };
    let options = Options { server, ack_timeout: Duration::ZERO, ..options(rabbitmq::LIMITED).await };
    let queue = AmqpQueue::new(options);
    let park = async |delivery: Delivery| match queue.extend(&delivery.receipt, PATIENCE).await.unwrap() {
        Extended::Replaced(receipt) => receipt,
        other => panic!("{other:?}"),
    };
    let id = send(&queue, "job").await;
    let settle = async |settlement| {
        let delivery = one(&queue).await;
        let receives = delivery.receives;
        assert_eq!(delivery.message_id, id);
        let receipt = park(delivery).await;
        assert_eq!(queue.settle(receipt, settlement).await.unwrap(), Settled::Done);
        receives
    };
    assert_eq!(settle(Settlement::Release { after: NOW, counted: true }).await, 1);
    assert_eq!(settle(Settlement::Release { after: NOW, counted: false }).await, 2);
    let reason = JobError::new(ErrorCode::Internal, "x");
    assert_eq!(settle(Settlement::DeadLetter { reason }).await, 3);
    assert_eq!(queue.redrive(Redrive::All).await.unwrap(), 1);
    assert_eq!(settle(Settlement::Ack).await, 1);
    assert!(queue.receive(1, NOW).await.unwrap().is_empty());
    let depth = queue.depth().await.unwrap();
    assert_eq!((depth.visible, depth.delayed, depth.in_flight, depth.dead), (0, 0, 0, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn parking_takes_no_other_message_from_those_who_wait() {
    let options = Options { lease: PATIENCE, ack_timeout: Duration::ZERO, ..options("backlog").await };
    let (ours, others) = (AmqpQueue::new(options.clone()), AmqpQueue::new(options));
    let mut ids = Vec::new();
    for n in 0..8 {
        ids.push(send(&ours, &n.to_string()).await);
    }
    for pair in ids.chunks(2) {
        let long = one(&ours).await;
        assert_eq!((&long.message_id, long.counted), (&pair[0], 1));
        let Extended::Replaced(receipt) = ours.extend(&long.receipt, PATIENCE).await.unwrap() else {
            panic!("not parked")
        };
        assert_eq!(ours.current().unwrap().inbox().supply(), 0, "a consumer that nobody reads");
        // The next in line, untouched: in our hands it would be missing there, and count once more.
        let next = others.receive(1, NOW).await.unwrap().remove(0);
        assert_eq!((&next.message_id, next.receives, next.counted), (&pair[1], 1, 1));
        ack(&others, next).await;
        assert_eq!(ours.settle(receipt, Settlement::Ack).await.unwrap(), Settled::Done);
    }
}

/// With `DARKROOM_TEST_LONG` only (`infra/test --long`): the broker's timeout of 60 s fires at its own look, up to 60 s
/// later.
#[tokio::test(flavor = "multi_thread")]
async fn the_brokers_timeout_takes_what_is_not_renewed_and_nothing_else() {
    if std::env::var_os("DARKROOM_TEST_LONG").is_none() {
        eprintln!("not run: it takes 150 s. `infra/test --long` runs it");
        return;
    }
    let work = Duration::from_secs(150);
    let job = async |name: &str, ack_timeout: u64| {
        let ack_timeout = Duration::from_secs(ack_timeout);
        let options = Options { lease: Duration::from_secs(15), ack_timeout, ..options(name).await };
        let queue = Arc::new(AmqpQueue::new(options));
        send(&queue, "job").await;
        let lease = Lease::start(queue.clone(), one(&queue).await);
        let begun = Instant::now();
        let is_lost = tokio::time::timeout(work, lease.lost().cancelled_owned()).await.is_ok();
        println!("{name}: lost {is_lost} after {:?}", begun.elapsed());
        (is_lost, lease.ack().await.unwrap(), queue)
    };
    let (renewed, not_renewed) = tokio::join!(job("renewed", 60), job("not-renewed", 1800));
    assert_eq!((renewed.0, renewed.1), (false, Settled::Done));
    assert!(renewed.2.receive(1, Duration::from_secs(2)).await.unwrap().is_empty());
    assert_eq!((not_renewed.0, not_renewed.1), (true, Settled::Lost));
    ack(&not_renewed.2, one(&not_renewed.2).await).await;
}
