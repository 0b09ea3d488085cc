//! What every backend promises, as one suite: [`all`] runs it on fresh queues of the backend under test.
//!
//! Expiry is waited for inside `receive`, as a worker does, so that the suite holds for any clock.

use std::{sync::Arc, time::Duration};

use darkroom_api::{ErrorCode, JobError};

use super::{Delivery, Error, Extended, Queue, Receipt, Redrive, SendOptions, Settled, Settlement};

/// Long enough for any broker to answer; a passing test does not wait for it.
const PATIENCE: Duration = Duration::from_secs(20);
const NOW: Duration = Duration::ZERO;

/// Runs the suite. `make` gives an empty queue, with leases of 1 or 2 seconds, at every call.
pub async fn all(make: impl AsyncFn() -> Arc<dyn Queue>) {
    tokio::join!(
        async { a_message_is_received_once_and_acked(&*make().await).await },
        async { receive_waits_and_wakes_for_a_send(make().await).await },
        async { an_expired_delivery_comes_back_and_its_receipt_is_stale(&*make().await).await },
        async { an_extended_delivery_stays_away(&*make().await).await },
        async { a_release_waits_its_time(&*make().await).await },
        async { a_dead_letter_keeps_its_reason_and_can_be_redriven(&*make().await).await },
        async { a_delay_hides_a_message(&*make().await).await },
        async { a_batch_is_bounded_and_nothing_is_handed_out_twice(make().await).await },
        async { bodies_are_bounded_and_kept_exactly(&*make().await).await },
        async { receipts_of_nobody_are_stale(&*make().await).await },
    );
}

async fn send(queue: &dyn Queue, body: &str) {
    queue.send(body, SendOptions::default()).await.unwrap();
}

async fn one(queue: &dyn Queue) -> Delivery {
    let mut deliveries = queue.receive(1, PATIENCE).await.unwrap();
    assert_eq!(deliveries.len(), 1);
    deliveries.remove(0)
}

async fn a_message_is_received_once_and_acked(queue: &dyn Queue) {
    let id = queue.send("one", SendOptions::default()).await.unwrap();
    let delivery = one(queue).await;
    assert_eq!((delivery.message_id, &delivery.body[..], delivery.receives), (id, &b"one"[..], 1));
    let depth = queue.depth().await.unwrap();
    assert_eq!((depth.visible, depth.in_flight), (0, 1));
    assert!(queue.receive(1, NOW).await.unwrap().is_empty());
    assert_eq!(queue.settle(delivery.receipt, Settlement::Ack).await.unwrap(), Settled::Done);
    let depth = queue.depth().await.unwrap();
    assert_eq!((depth.visible, depth.delayed, depth.in_flight, depth.dead), (0, 0, 0, 0));
}

async fn receive_waits_and_wakes_for_a_send(queue: Arc<dyn Queue>) {
    let waiting = tokio::spawn({
        let queue = queue.clone();
        async move { queue.receive(10, PATIENCE).await.unwrap().len() }
    });
    send(&*queue, "late").await;
    assert_eq!(waiting.await.unwrap(), 1);
}

async fn an_expired_delivery_comes_back_and_its_receipt_is_stale(queue: &dyn Queue) {
    send(queue, "again").await;
    let first = one(queue).await;
    let second = one(queue).await;
    assert_eq!((&second.message_id, second.receives), (&first.message_id, 2));
    // A lease may be told to begin a little before it does, never after.
    assert!(second.leased_at + queue.lease_duration() / 4 >= first.leased_at + queue.lease_duration());
    assert_eq!(queue.extend(&first.receipt, PATIENCE).await.unwrap(), Extended::Lost);
    assert_eq!(queue.settle(first.receipt, Settlement::Ack).await.unwrap(), Settled::Lost);
    assert_eq!(queue.settle(second.receipt, Settlement::Ack).await.unwrap(), Settled::Done);
}

async fn an_extended_delivery_stays_away(queue: &dyn Queue) {
    send(queue, "long").await;
    let mut receipt = one(queue).await.receipt;
    for _ in 0..2 {
        match queue.extend(&receipt, queue.lease_duration() * 3).await.unwrap() {
            Extended::Renewed => {}
            Extended::Replaced(new) => receipt = new,
            Extended::Lost => panic!("lost in its lease"),
        }
    }
    assert!(queue.receive(1, queue.lease_duration() * 3 / 2).await.unwrap().is_empty());
    assert_eq!(queue.settle(receipt, Settlement::Ack).await.unwrap(), Settled::Done);
}

async fn a_release_waits_its_time(queue: &dyn Queue) {
    send(queue, "later").await;
    let first = one(queue).await;
    let begun = tokio::time::Instant::now();
    let after = Duration::from_secs(1);
    assert_eq!(queue.settle(first.receipt, Settlement::Release { after, counted: true }).await.unwrap(), Settled::Done);
    let second = one(queue).await;
    assert_eq!(second.receives, 2);
    // A broker may keep its times in milliseconds or worse.
    assert!(begun.elapsed() >= after - Duration::from_millis(100), "{:?}", begun.elapsed());
    assert_eq!(
        queue.settle(second.receipt, Settlement::Release { after: NOW, counted: false }).await.unwrap(),
        Settled::Done
    );
    assert_eq!(one(queue).await.receives, 3);
}

async fn a_dead_letter_keeps_its_reason_and_can_be_redriven(queue: &dyn Queue) {
    send(queue, "poison").await;
    send(queue, "venom").await;
    // The jobs that are to run again with the letter.
    let detail = serde_json::json!({ "job_ids": ["a".repeat(52), "b".repeat(52)] });
    let reason = JobError::new(ErrorCode::InputNotMedia, "send a video").with_detail(detail);
    let mut ids = Vec::new();
    for delivery in [one(queue).await, one(queue).await] {
        ids.push(delivery.message_id);
        let settlement = Settlement::DeadLetter { reason: reason.clone() };
        assert_eq!(queue.settle(delivery.receipt, settlement).await.unwrap(), Settled::Done);
    }
    assert!(queue.receive(1, NOW).await.unwrap().is_empty());
    assert_eq!(queue.depth().await.unwrap().dead, 2);
    let letters = queue.dead_letters(10, None).await.unwrap();
    let first = queue.dead_letters(1, None).await.unwrap();
    assert_eq!((first.len(), &first[0].message_id), (1, &letters[0].message_id));
    let second = queue.dead_letters(10, first.last()).await.unwrap();
    assert_eq!((second.len(), &second[0].message_id), (1, &letters[1].message_id));
    assert!(queue.dead_letters(10, second.last()).await.unwrap().is_empty());
    assert!(letters.iter().all(|letter| letter.reason.as_ref() == Some(&reason) && letter.receives == 1));
    assert_eq!(queue.redrive(Redrive::One(ids[0].clone())).await.unwrap(), 1);
    let again = one(queue).await;
    assert_eq!((&again.message_id, &again.body[..], again.receives), (&ids[0], &b"poison"[..], 1));
    assert_eq!(queue.settle(again.receipt, Settlement::Ack).await.unwrap(), Settled::Done);
    assert_eq!(queue.redrive(Redrive::One(ids[0].clone())).await.unwrap(), 0);
    assert_eq!(queue.redrive(Redrive::All).await.unwrap(), 1);
    assert_eq!(one(queue).await.message_id, ids[1]);
    assert_eq!(queue.depth().await.unwrap().dead, 0);
}

async fn a_delay_hides_a_message(queue: &dyn Queue) {
    let begun = tokio::time::Instant::now();
    let delay = Duration::from_secs(1);
    queue.send("delayed", SendOptions { delay, dedup_id: None }).await.unwrap();
    assert!(queue.receive(1, NOW).await.unwrap().is_empty());
    let depth = queue.depth().await.unwrap();
    assert_eq!((depth.visible, depth.delayed, depth.in_flight), (0, 1, 0));
    assert_eq!(one(queue).await.receives, 1);
    assert!(begun.elapsed() >= delay - Duration::from_millis(100), "{:?}", begun.elapsed());
}

async fn a_batch_is_bounded_and_nothing_is_handed_out_twice(queue: Arc<dyn Queue>) {
    for n in 0..12 {
        send(&*queue, &n.to_string()).await;
    }
    assert!(queue.depth().await.unwrap().oldest_age_secs.is_none_or(|age| (0.0..60.0).contains(&age)));
    let receiver = || {
        let queue = queue.clone();
        tokio::spawn(async move {
            let mut bodies = Vec::new();
            loop {
                let deliveries = queue.receive(5, NOW).await.unwrap();
                assert!(deliveries.len() <= 5);
                if deliveries.is_empty() {
                    return bodies;
                }
                for delivery in deliveries {
                    bodies.push(delivery.body);
                    assert_eq!(queue.settle(delivery.receipt, Settlement::Ack).await.unwrap(), Settled::Done);
                }
            }
        })
    };
    let (a, b) = (receiver(), receiver());
    let mut bodies = a.await.unwrap();
    bodies.extend(b.await.unwrap());
    let mut numbers: Vec<u32> = bodies.iter().map(|body| str::from_utf8(body).unwrap().parse().unwrap()).collect();
    numbers.sort_unstable();
    assert_eq!(numbers, (0..12).collect::<Vec<_>>());
}

async fn bodies_are_bounded_and_kept_exactly(queue: &dyn Queue) {
    let odd = "{\"key\":\"in/a b+c%2B é 𝄞 \\u0000 '\\\"\"}\n".to_owned() + &"x".repeat(200 << 10);
    send(queue, &odd).await;
    assert_eq!(one(queue).await.body, odd.as_bytes());
    let refused = queue.send(&"x".repeat(17 << 20), SendOptions::default()).await;
    assert!(matches!(refused, Err(Error::TooLarge { .. })), "{refused:?}");
}

async fn receipts_of_nobody_are_stale(queue: &dyn Queue) {
    let nobody = Receipt::new("nobody");
    assert_eq!(queue.extend(&nobody, PATIENCE).await.unwrap(), Extended::Lost);
    assert_eq!(queue.settle(nobody, Settlement::Ack).await.unwrap(), Settled::Lost);
}
