//! How leases are kept: by extension, and beyond the 12 hours of a delivery.

use std::sync::Arc;

use super::testing::{Emulator, aws, named, short};
use super::tests::{NOW, PATIENCE, all, one, send, settle};
use super::*;
use crate::queue::lease::Lease;
use crate::store::scripted::{answer, listen};

#[tokio::test(flavor = "multi_thread")]
async fn each_message_in_hand_is_extended_whatever_becomes_of_the_others() {
    let each = |emulator: Emulator| async move {
        let queue = Arc::new(emulator.queue(false, short()).await);
        for body in ["a", "b", "c"] {
            send(&queue, body).await;
        }
        let mut leases = Vec::new();
        for _ in 0..3 {
            leases.push(Lease::start(queue.clone(), one(&queue).await));
        }
        // Two leases long nobody else gets any of them, and the first one's end does not end the others.
        assert!(queue.receive(10, queue.lease_duration()).await.unwrap().is_empty(), "{emulator:?}");
        assert_eq!(leases.remove(0).ack().await.unwrap(), Settled::Done, "{emulator:?}");
        assert!(queue.receive(10, queue.lease_duration()).await.unwrap().is_empty(), "{emulator:?}");
        for lease in leases {
            assert_eq!(lease.ack().await.unwrap(), Settled::Done, "{emulator:?}");
        }
        assert_eq!(all(&queue).await, 0, "{emulator:?}");
    };
    futures::future::join_all(Emulator::BOTH.map(each)).await;
}

/// As many as there is room for, one long poll for all of the wait, and leases as long as the queue's own are not asked.
#[tokio::test]
async fn a_worker_with_one_free_slot_asks_for_one_message_and_waits_long_for_it() {
    let (endpoint, mut requests) = listen(|request| {
        let body = match request.headers.contains("getqueueattributes") {
            true => r#"{"Attributes":{}}"#,
            false => "{}",
        };
        answer("200 OK", &format!("content-length: {}", body.len()), body)
    })
    .await;
    let config = crate::config::SqsConfig {
        dead_letter_queue: Some(format!("{endpoint}/1/dead")),
        ..named(&format!("{endpoint}/1/jobs"))
    };
    let queue = SqsQueue::open(&aws(&endpoint), &config, short()).await.unwrap();
    // The script answers at once, so there are further polls until the time is over: only the first is looked at.
    let receive = tokio::spawn(async move { queue.receive(1, PATIENCE).await });
    let asked = loop {
        let request = requests.recv().await.unwrap();
        if request.headers.contains("receivemessage") {
            break serde_json::from_slice::<serde_json::Value>(&request.body).unwrap();
        }
    };
    receive.abort();
    let found = ["MaxNumberOfMessages", "WaitTimeSeconds", "VisibilityTimeout"].map(|name| asked[name].as_u64());
    assert_eq!(found, [Some(1), Some(20), Some(2)], "{asked}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lease_goes_on_with_a_copy_before_the_cap_and_the_message_is_never_away() {
    let each = |emulator| [goes_on_with_a_copy(emulator, false), goes_on_with_a_copy(emulator, true)];
    futures::future::join_all(Emulator::BOTH.into_iter().flat_map(each)).await;
}

async fn goes_on_with_a_copy(emulator: Emulator, fifo: bool) {
    let options = Options { cap: Duration::from_secs(5), lead: Duration::from_secs(3), ..short() };
    let queue = Arc::new(emulator.queue(fifo, options).await);
    let id = send(&queue, "long").await;
    let delivery = one(&queue).await;
    let first = delivery.receipt.as_str().to_owned();
    let lease = Lease::start(queue.clone(), delivery);
    // Longer than the cap: what is still in hand then is a copy.
    let end = Instant::now() + Duration::from_secs(6);
    while Instant::now() < end {
        let count = all(&queue).await;
        assert!((1..=2).contains(&count), "{emulator:?}: {count} messages");
        assert!(!lease.lost().is_cancelled(), "{emulator:?}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert!(queue.held.get(&first).is_none(), "{emulator:?}: the first delivery is not in hand any more");
    assert!(queue.receive(1, NOW).await.unwrap().is_empty(), "{emulator:?}: the copy is in hand");
    assert_eq!(lease.release(NOW, true).await.unwrap(), Settled::Done);
    let again = one(&queue).await;
    assert_eq!((&again.message_id, &again.body[..]), (&id, &b"long"[..]), "{emulator:?}");
    assert!(again.receives >= 3, "{emulator:?}: the first, its copies, and now");
    settle(&queue, again, Settlement::Ack).await;
    assert_eq!(all(&queue).await, 0, "{emulator:?}, fifo {fifo}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_receives_the_copy_of_what_it_holds_keeps_it() {
    // At the limit: the copy is one hand-over beyond it, and no dead letter.
    let options = Options { cap: Duration::from_secs(8), lead: Duration::from_secs(8), max_receives: 1, ..short() };
    let queue = Emulator::Ministack.queue(false, options).await;
    send(&queue, "long").await;
    let delivery = one(&queue).await;
    let held = queue.held.get(delivery.receipt.as_str()).unwrap();
    queue.post(&queue.jobs, held.message.anew(true)).await.unwrap();
    queue.held.expect_copy(delivery.receipt.as_str());
    assert!(queue.receive(10, NOW).await.unwrap().is_empty(), "it is handed to nobody else");
    let extended = queue.extend(&delivery.receipt, queue.lease_duration()).await.unwrap();
    let Extended::Replaced(receipt) = extended else { panic!("{extended:?}") };
    assert_eq!(queue.settle(delivery.receipt, Settlement::Ack).await.unwrap(), Settled::Lost);
    assert_eq!(queue.settle(receipt, Settlement::Ack).await.unwrap(), Settled::Done);
    assert_eq!(all(&queue).await, 0);
}

/// What the beats of a lease do near the cap while the copy is in other hands, and at the cap.
#[tokio::test(flavor = "multi_thread")]
async fn a_worker_whose_copy_another_one_has_goes_on_until_the_cap_and_no_further() {
    let emulator = Emulator::Ministack;
    let name = emulator.pair(false, 20).await;
    let options = Options { cap: Duration::from_secs(6), lead: Duration::from_secs(6), ..short() };
    let (ours, other) = (emulator.open(&name, options).await.unwrap(), emulator.open(&name, short()).await.unwrap());
    let id = send(&ours, "long").await;
    let delivery = one(&ours).await;
    let held = ours.held.get(delivery.receipt.as_str()).unwrap();
    ours.post(&ours.jobs, held.message.anew(true)).await.unwrap();
    ours.held.expect_copy(delivery.receipt.as_str());
    let copy = one(&other).await;
    assert_eq!((&copy.message_id, copy.receives), (&id, 2));
    let Extended::Renewed = other.extend(&copy.receipt, PATIENCE).await.unwrap() else { panic!("the copy is lost") };

    let mut beats = 0;
    while ours.extend(&delivery.receipt, ours.lease_duration()).await.unwrap() == Extended::Renewed {
        beats += 1;
    }
    assert!(beats > 1, "{beats} beats in the time before the cap");
    assert_eq!(ours.settle(delivery.receipt, Settlement::Ack).await.unwrap(), Settled::Lost);
    assert_eq!(all(&ours).await, 1, "the copy, in the other's hands");
    settle(&other, copy, Settlement::Ack).await;
    assert_eq!(all(&ours).await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn looking_for_a_copy_wears_no_other_message_out() {
    let queue = Emulator::Ministack.queue(false, Options { max_receives: 4, ..short() }).await;
    let id = send(&queue, "bystander").await;
    for _ in 0..9 {
        queue.look().await.unwrap();
        assert_eq!(all(&queue).await, 1);
    }
    let delivery = one(&queue).await;
    assert_eq!((&delivery.message_id, delivery.receives, delivery.counted), (&id, 1, 1));
    settle(&queue, delivery, Settlement::Ack).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn looking_for_a_copy_hands_no_other_message_out_before_its_time() {
    for fifo in [false, true] {
        let queue = Emulator::Ministack.queue(fifo, Options { max_receives: 4, ..short() }).await;
        let notes = Notes::default();
        let parcel = Parcel { body: "later", group: None, dedup_id: None, delay: NOW, notes };
        // As FIFO queues have it, and others beyond 15 minutes.
        queue.post(&queue.jobs, parcel.delayed(Duration::from_secs(600), true)).await.unwrap();
        for _ in 0..2 {
            queue.look().await.unwrap();
        }
        assert!(queue.receive(1, NOW).await.unwrap().is_empty());
        let depth = queue.depth().await.unwrap();
        assert_eq!((depth.visible, depth.delayed + depth.in_flight, depth.dead), (0, 1, 0), "fifo: {fifo}");
    }
}
