//! On two emulators, and on servers that break.

use std::sync::Arc;

use aws_sdk_sqs::types::QueueAttributeName as Attribute;
use darkroom_api::{ErrorCode, JobError};

use super::testing::{Emulator, aws, named, short};
use super::*;
use crate::config::SqsConfig;
use crate::queue::conformance;
use crate::store::scripted::{Answer, answer, listen};

pub(super) const PATIENCE: Duration = Duration::from_secs(20);
pub(super) const NOW: Duration = Duration::ZERO;

async fn keeps_what_every_backend_promises(emulator: Emulator) {
    let suite = conformance::all(async || Arc::new(emulator.queue(false, short()).await) as Arc<dyn Queue>);
    Box::pin(suite).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn keeps_what_every_backend_promises_on_moto() {
    keeps_what_every_backend_promises(Emulator::Moto).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn keeps_what_every_backend_promises_on_ministack() {
    keeps_what_every_backend_promises(Emulator::Ministack).await;
}

pub(super) async fn send(queue: &SqsQueue, body: &str) -> MessageId {
    queue.send(body, SendOptions::default()).await.unwrap()
}

pub(super) async fn one(queue: &SqsQueue) -> Delivery {
    let mut deliveries = queue.receive(1, PATIENCE).await.unwrap();
    assert_eq!(deliveries.len(), 1);
    deliveries.remove(0)
}

pub(super) async fn settle(queue: &SqsQueue, delivery: Delivery, settlement: Settlement) {
    assert_eq!(queue.settle(delivery.receipt, settlement).await.unwrap(), Settled::Done);
}

fn released(counted: bool) -> Settlement {
    Settlement::Release { after: NOW, counted }
}

/// How many messages the queue holds, whatever their state.
pub(super) async fn all(queue: &SqsQueue) -> u64 {
    let depth = queue.depth().await.unwrap();
    depth.visible + depth.delayed + depth.in_flight
}

#[tokio::test(flavor = "multi_thread")]
async fn uncounted_releases_do_not_bring_a_message_nearer_to_its_end() {
    for emulator in Emulator::BOTH {
        let queue = emulator.queue(false, Options { max_receives: 2, ..short() }).await;
        let id = send(&queue, "patient").await;
        for (receives, so_far, counted) in [(1, 1, false), (2, 1, false), (3, 1, false), (4, 1, true), (5, 2, true)] {
            let delivery = one(&queue).await;
            let told = (&delivery.message_id, delivery.receives, delivery.counted);
            assert_eq!(told, (&id, receives, so_far), "{emulator:?}");
            assert_eq!(queue.depth().await.unwrap().in_flight, 1);
            settle(&queue, delivery, released(counted)).await;
            assert_eq!(all(&queue).await, 1, "{emulator:?}: neither lost nor doubled");
        }
        assert!(queue.receive(1, NOW).await.unwrap().is_empty());
        let letter = queue.dead_letters(1, None).await.unwrap().remove(0);
        assert_eq!((&letter.message_id, letter.receives), (&id, 5), "{emulator:?}");
        assert_eq!(letter.reason.unwrap().code, ErrorCode::ExecutorCrashed);
        assert_eq!(all(&queue).await, 0, "{emulator:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn uncounted_releases_do_not_end_a_message_of_a_fifo_queue_either() {
    let queue = Emulator::Ministack.queue(true, Options { max_receives: 4, ..short() }).await;
    let id = send(&queue, "patient").await;
    for receives in 1..=12 {
        let delivery = one(&queue).await;
        assert_eq!((&delivery.message_id, delivery.receives), (&id, receives));
        assert!(delivery.counted <= 2, "{} of {receives} count", delivery.counted);
        settle(&queue, delivery, released(false)).await;
    }
    assert_eq!((all(&queue).await, queue.depth().await.unwrap().dead), (1, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_strangers_message_of_the_greatest_length_can_be_sent_anew_and_given_up() {
    for emulator in Emulator::BOTH {
        let queue = emulator.queue(false, short()).await;
        let body = "x".repeat(queue.jobs.max_bytes);
        let parcel = Parcel { body: &body, group: None, dedup_id: None, delay: NOW, notes: Notes::default() };
        queue.post(&queue.jobs, parcel).await.unwrap();
        settle(&queue, one(&queue).await, released(false)).await;
        let delivery = one(&queue).await;
        assert_eq!(delivery.body, body, "{emulator:?}");
        let reason = JobError::new(ErrorCode::MessageInvalid, "send a message");
        settle(&queue, delivery, Settlement::DeadLetter { reason }).await;
        let letters = queue.dead_letters(1, None).await.unwrap();
        assert_eq!((letters[0].body.len(), &letters[0].reason), (body.len(), &None), "{emulator:?}: no room for it");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redrive_of_all_leaves_what_is_given_up_meanwhile() {
    for emulator in Emulator::BOTH {
        let queue = emulator.queue(false, short()).await;
        for (body, hours) in [("earlier", -1), ("later", 1)] {
            let dead_at = Some(jiff::Timestamp::now() + jiff::SignedDuration::from_hours(hours));
            let notes = Notes { dead_at, ..Notes::default() };
            let parcel = Parcel { body, group: None, dedup_id: None, delay: NOW, notes };
            queue.post(&queue.dead, parcel).await.unwrap();
        }
        assert_eq!(queue.redrive(Redrive::All).await.unwrap(), 1, "{emulator:?}");
        let left = queue.dead_letters(10, None).await.unwrap();
        assert_eq!(left.iter().map(|letter| &letter.body[..]).collect::<Vec<_>>(), [b"later"], "{emulator:?}");
        assert_eq!(&one(&queue).await.body[..], b"earlier", "{emulator:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_that_the_redrive_policy_took_is_a_dead_letter_without_a_reason() {
    for emulator in Emulator::BOTH {
        let name = emulator.pair(false, 2).await;
        let queue = emulator.open(&name, Options { max_receives: 2, ..short() }).await.unwrap();
        let id = send(&queue, "poison").await;
        for receives in 1..=2 {
            assert_eq!(one(&queue).await.receives, receives);
        }
        // Its lease has to expire; what SQS moves is not handed out.
        assert!(queue.receive(1, Duration::from_secs(3)).await.unwrap().is_empty());
        let letter = queue.dead_letters(1, None).await.unwrap().remove(0);
        assert_eq!((&letter.message_id, &letter.body[..], letter.reason), (&id, &b"poison"[..], None), "{emulator:?}");
        assert_eq!(queue.redrive(Redrive::One(id.clone())).await.unwrap(), 1);
        let again = one(&queue).await;
        assert_eq!((again.message_id, again.receives), (id, 1), "{emulator:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_that_came_before_its_time_is_put_back() {
    for emulator in Emulator::BOTH {
        for fifo in [false, true] {
            let queue = emulator.queue(fifo, short()).await;
            let begun = Instant::now();
            let notes = Notes::default();
            let parcel = Parcel { body: "later", group: None, dedup_id: None, delay: NOW, notes };
            // As a FIFO queue has it, and others after their 15 minutes.
            let parcel = parcel.delayed(Duration::from_secs(2), true);
            let id = queue.post(&queue.jobs, parcel).await.unwrap();
            assert!(queue.receive(1, NOW).await.unwrap().is_empty());
            let delivery = one(&queue).await;
            assert_eq!(delivery.message_id.0, id, "{emulator:?}");
            assert!(begun.elapsed() >= Duration::from_millis(1900), "{emulator:?}: {:?}", begun.elapsed());
            assert!(fifo || delivery.receives == 1, "{emulator:?}");
            settle(&queue, delivery, Settlement::Ack).await;
            assert_eq!(all(&queue).await, 0, "{emulator:?}");
        }
    }
}

#[test]
fn delays_beyond_fifteen_minutes_carry_their_end() {
    let parcel = |secs, fifo| {
        let parcel = Parcel { body: "", group: None, dedup_id: None, delay: NOW, notes: Notes::default() };
        let parcel = parcel.delayed(Duration::from_secs(secs), fifo);
        (parcel.delay.as_secs(), parcel.notes.not_before.is_some())
    };
    assert_eq!([parcel(0, false), parcel(900, false), parcel(901, false)], [(0, false), (900, false), (900, true)]);
    assert_eq!([parcel(0, true), parcel(1, true)], [(0, false), (0, true)]);
}

/// Without our own table: what the service itself says of a receipt.
#[tokio::test(flavor = "multi_thread")]
async fn a_receipt_that_the_service_refuses_is_stale() {
    for emulator in Emulator::BOTH {
        let queue = emulator.queue(false, short()).await;
        send(&queue, "x").await;
        let (first, second) = (one(&queue).await, one(&queue).await);
        let ours = queue.hide(&queue.jobs, first.receipt.as_str(), PATIENCE).await.unwrap();
        assert_eq!(ours, !emulator.refuses_earlier_handles(), "{emulator:?}");
        let too_long = Duration::from_secs(12 * 3600);
        let ours = queue.hide(&queue.jobs, second.receipt.as_str(), too_long).await.unwrap();
        assert_eq!(ours, !emulator.ends_deliveries(), "{emulator:?}");
        assert!(!queue.hide(&queue.jobs, "nobody", PATIENCE).await.unwrap(), "{emulator:?}");
        assert!(!queue.delete(&queue.jobs, "nobody").await.unwrap(), "{emulator:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fifo_queue_keeps_its_groups_in_order_and_takes_a_message_once() {
    for emulator in Emulator::BOTH {
        let queue = emulator.queue(true, short()).await;
        for body in ["a1", "a2"] {
            let notes = Notes::default();
            let parcel = Parcel { body, group: Some("a"), dedup_id: None, delay: NOW, notes };
            queue.post(&queue.jobs, parcel).await.unwrap();
        }
        let once = || SendOptions { dedup_id: Some("an id with spaces".into()), ..SendOptions::default() };
        queue.send("b", once()).await.unwrap();
        queue.send("b", once()).await.unwrap();
        let first = one(&queue).await;
        let other = one(&queue).await;
        assert_eq!((&first.body[..], &other.body[..]), (&b"a1"[..], &b"b"[..]), "{emulator:?}: a1 locks its group");
        settle(&queue, other, Settlement::Ack).await;
        // Released, even uncounted, it is still the first of its group.
        settle(&queue, first, released(false)).await;
        let first = one(&queue).await;
        assert_eq!((&first.body[..], first.receives), (&b"a1"[..], 2), "{emulator:?}");
        let reason = JobError::new(ErrorCode::InputNotMedia, "send a video");
        settle(&queue, first, Settlement::DeadLetter { reason: reason.clone() }).await;
        let second = one(&queue).await;
        assert_eq!(&second.body[..], b"a2", "{emulator:?}");
        settle(&queue, second, Settlement::Ack).await;
        assert_eq!(queue.dead_letters(1, None).await.unwrap()[0].reason, Some(reason), "{emulator:?}");
        assert_eq!(queue.redrive(Redrive::All).await.unwrap(), 1);
        settle(&queue, one(&queue).await, Settlement::Ack).await;
        assert_eq!(all(&queue).await, 0, "{emulator:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_encrypted_queue_works_as_any_other() {
    for emulator in Emulator::BOTH {
        let attributes = [(Attribute::KmsMasterKeyId, "alias/aws/sqs")];
        let (jobs, dead) = ("encrypted", "encrypted-dead");
        emulator.create(dead, &attributes).await;
        emulator.create(jobs, &attributes).await;
        let config = SqsConfig { dead_letter_queue: Some(dead.into()), ..named(jobs) };
        let queue = SqsQueue::open(&emulator.aws(), &config, short()).await.unwrap();
        send(&queue, "secret").await;
        settle(&queue, one(&queue).await, Settlement::Ack).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_with_a_queue_is_said_at_the_start() {
    let emulator = Emulator::Ministack;
    let refused = async |config: &SqsConfig| {
        SqsQueue::open(&emulator.aws(), config, short()).await.map(|_| ()).unwrap_err().to_string()
    };
    let missing = refused(&named("no-such-queue")).await;
    assert!(missing.contains("no-such-queue") && missing.contains("create the queue"), "{missing}");
    let low = emulator.pair(false, 19).await;
    let error = refused(&named(&low)).await;
    assert!(error.contains("after 19 receives") && error.contains("at least 20"), "{error}");
    emulator.create("alone", &[]).await;
    let alone = named("alone");
    let error = refused(&alone).await;
    assert!(error.contains("dead_letter_queue"), "{error}");
    let itself = SqsConfig { dead_letter_queue: alone.queue.clone(), ..alone };
    assert!(refused(&itself).await.contains("the queue itself"));
}

/// A queue whose service answers every request after the start with this.
async fn broken(status: &'static str, code: &'static str, message: &'static str) -> SqsQueue {
    let json = |status: &str, code: &str, body: String| {
        let headers = format!(
            "content-type: application/x-amz-json-1.0\r\nx-amzn-query-error: {code};Sender\r\ncontent-length: {}",
            body.len()
        );
        answer(status, &headers, &body)
    };
    let (endpoint, _) = listen(move |request| -> Answer {
        let body = match request.headers.contains("getqueueattributes") {
            true => r#"{"Attributes":{"MaximumMessageSize":"262144"}}"#.to_owned(),
            false => format!(r#"{{"__type":"com.amazonaws.sqs#{code}","message":"{message}"}}"#),
        };
        json(if body.contains("__type") { status } else { "200 OK" }, code, body)
    })
    .await;
    let dead_letter_queue = Some(format!("{endpoint}/1/dead"));
    let config = SqsConfig { dead_letter_queue, ..named(&format!("{endpoint}/1/jobs")) };
    SqsQueue::open(&aws(&endpoint), &config, short()).await.unwrap()
}

#[tokio::test]
async fn a_service_that_is_busy_or_broken_is_unavailable() {
    for (status, code) in [
        ("400 Bad Request", "RequestThrottled"),
        ("400 Bad Request", "ThrottlingException"),
        ("503 Service Unavailable", "ServiceUnavailable"),
        ("500 Internal Server Error", "InternalFailure"),
    ] {
        let queue = broken(status, code, "later").await;
        let error = queue.receive(1, NOW).await.unwrap_err();
        assert!(matches!(error, Error::Unavailable(_)) && error.to_string().contains(code), "{error}");
        assert!(queue.hide(&queue.jobs, "x", PATIENCE).await.is_err(), "{code}");
        assert!(matches!(queue.send("x", SendOptions::default()).await, Err(Error::Unavailable(_))), "{code}");
    }
}

#[tokio::test]
async fn refusals_are_told_apart() {
    for code in ["MessageNotInflight", "AWS.SimpleQueueService.MessageNotInflight", "InvalidParameterValue"] {
        let queue = broken("400 Bad Request", code, "Reason: Message does not exist").await;
        assert!(!queue.hide(&queue.jobs, "x", PATIENCE).await.unwrap(), "{code}");
        assert!(queue.send("x", SendOptions::default()).await.is_err(), "{code}: only a receipt is stale");
    }
    for (code, message, remedy) in [
        ("KmsAccessDenied", "no", "kms:GenerateDataKey"),
        ("AccessDeniedException", "not authorized to perform: kms:Decrypt", "kms:Decrypt"),
        ("AccessDenied", "no", "sqs:SendMessage"),
        ("KmsDisabled", "no", "enable"),
        ("AWS.SimpleQueueService.NonExistentQueue", "no", "create the queue"),
    ] {
        let error = broken("400 Bad Request", code, message).await.receive(1, NOW).await.unwrap_err().to_string();
        assert!(error.contains(remedy), "{error}");
    }
}
