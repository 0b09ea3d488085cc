use std::{path::Path, process::Command, sync::Arc};

use super::*;
use crate::queue::{conformance, lease::Lease};

async fn queue(dir: &Path, options: Options) -> SqliteQueue {
    SqliteQueue::new(Db::open(dir.join("db")).await.unwrap(), options)
}

fn short(name: &str) -> Options {
    Options { name: name.into(), lease: Duration::from_secs(1), ..Options::default() }
}

const PATIENCE: Duration = Duration::from_secs(20);

#[tokio::test(flavor = "multi_thread")]
async fn keeps_what_every_backend_promises() {
    let dir = tempfile::tempdir().unwrap();
    let db = Db::open(dir.path().join("db")).await.unwrap();
    let names = std::sync::atomic::AtomicU32::new(0);
    conformance::all(async || {
        let name = names.fetch_add(1, std::sync::atomic::Ordering::Relaxed).to_string();
        Arc::new(SqliteQueue::new(db.clone(), short(&name))) as Arc<dyn Queue>
    })
    .await;
}

#[tokio::test]
async fn a_message_that_kills_its_worker_is_given_up() {
    let dir = tempfile::tempdir().unwrap();
    let queue = queue(dir.path(), Options { max_receives: 2, lease: Duration::from_millis(50), ..short("q") }).await;
    queue.send("poison", SendOptions::default()).await.unwrap();
    for receives in 1..=2 {
        assert_eq!(queue.receive(1, PATIENCE).await.unwrap()[0].receives, receives);
    }
    assert!(queue.receive(1, Duration::from_millis(200)).await.unwrap().is_empty());
    let letter = queue.dead_letters(10, None).await.unwrap().remove(0);
    assert_eq!((letter.receives, letter.reason.unwrap().code), (2, darkroom_api::ErrorCode::ExecutorCrashed));
}

#[tokio::test]
async fn uncounted_releases_do_not_bring_a_message_nearer_to_its_end() {
    let dir = tempfile::tempdir().unwrap();
    let queue = queue(dir.path(), Options { max_receives: 2, ..short("q") }).await;
    queue.send("patient", SendOptions::default()).await.unwrap();
    let release = async |counted| {
        let delivery = queue.receive(1, PATIENCE).await.unwrap().remove(0);
        let settlement = Settlement::Release { after: Duration::ZERO, counted };
        assert_eq!(queue.settle(delivery.receipt, settlement).await.unwrap(), Settled::Done);
        (delivery.receives, delivery.counted)
    };
    for receives in 1..=10 {
        assert_eq!(release(false).await, (receives, 1), "hand-overs are told all the same");
    }
    assert_eq!((release(true).await, release(true).await), ((11, 1), (12, 2)));
    assert!(queue.receive(1, Duration::ZERO).await.unwrap().is_empty());
    assert_eq!(queue.depth().await.unwrap().dead, 1);
    // Redriven, it has all of its patience again.
    assert_eq!(queue.redrive(Redrive::All).await.unwrap(), 1);
    assert_eq!((release(false).await, release(true).await, release(true).await), ((1, 1), (2, 1), (3, 2)));
    assert!(queue.receive(1, Duration::ZERO).await.unwrap().is_empty());
}

#[tokio::test]
async fn events_that_nobody_takes_go_oldest_first_and_jobs_never() {
    let dir = tempfile::tempdir().unwrap();
    let jobs = queue(dir.path(), short("jobs")).await;
    let keep =
        |max_age, max_messages| Options { retention: Some(Retention { max_age, max_messages }), ..short("events") };
    let events = queue(dir.path(), Options { lease: PATIENCE, ..keep(PATIENCE, 3) }).await;
    for n in 0..5 {
        jobs.send("job", SendOptions::default()).await.unwrap();
        events.send(&n.to_string(), SendOptions::default()).await.unwrap();
        if n == 0 {
            assert_eq!(events.receive(1, PATIENCE).await.unwrap()[0].body, "0");
        }
    }
    // The first is in flight, and stays; the second and third are the oldest of the rest.
    let kept: Vec<_> = events.receive(9, PATIENCE).await.unwrap().into_iter().map(|delivery| delivery.body).collect();
    assert_eq!(kept, ["3", "4"]);
    assert_eq!(events.depth().await.unwrap().in_flight, 3);
    assert_eq!(jobs.depth().await.unwrap().visible, 5);

    let brief = queue(dir.path(), Options { name: "brief".into(), ..keep(Duration::from_millis(20), 100) }).await;
    brief.send("old", SendOptions::default()).await.unwrap();
    while brief.depth().await.unwrap().oldest_age_secs.unwrap() < 0.03 {
        tokio::task::yield_now().await;
    }
    brief.send("new", SendOptions::default()).await.unwrap();
    let kept: Vec<_> = brief.receive(9, PATIENCE).await.unwrap().into_iter().map(|delivery| delivery.body).collect();
    assert_eq!(kept, ["new"]);
    assert_eq!(jobs.depth().await.unwrap().visible, 5);
}

#[tokio::test]
async fn an_event_told_again_is_as_new_as_its_last_telling() {
    let dir = tempfile::tempdir().unwrap();
    let keep = |name: &str, max_age, max_messages| Options {
        retention: Some(Retention { max_age, max_messages }),
        ..short(name)
    };
    let told = || SendOptions { dedup_id: Some("a.completed".into()), ..SendOptions::default() };
    let brief = queue(dir.path(), keep("brief", Duration::from_millis(50), 100)).await;
    let first = brief.send("told", told()).await.unwrap();
    while brief.depth().await.unwrap().oldest_age_secs.unwrap() < 0.06 {
        tokio::task::yield_now().await;
    }
    let again = Timestamp::now();
    assert_eq!(brief.send("told", told()).await.unwrap(), first);
    let delivery = brief.receive(9, Duration::ZERO).await.unwrap().remove(0);
    assert_eq!(delivery.message_id, first, "what was promised to be kept is kept");
    assert!(delivery.sent_at >= again.round(jiff::Unit::Millisecond).unwrap() - Duration::from_millis(1));

    // Others are older now, though they were sent later.
    let few = queue(dir.path(), keep("few", PATIENCE, 2)).await;
    few.send("told", told()).await.unwrap();
    few.send("other", SendOptions::default()).await.unwrap();
    let second = Timestamp::now();
    while Timestamp::now().duration_since(second).as_millis() < 3 {
        tokio::task::yield_now().await;
    }
    few.send("told", told()).await.unwrap();
    few.send("new", SendOptions::default()).await.unwrap();
    let kept = few.receive(9, PATIENCE).await.unwrap();
    assert_eq!(kept.iter().map(|delivery| &delivery.body[..]).collect::<Vec<_>>(), [b"told", &b"new"[..]]);

    // With all that is kept in flight, there is room for the new one all the same.
    few.send("newest", SendOptions::default()).await.unwrap();
    assert_eq!(few.receive(9, PATIENCE).await.unwrap()[0].body, "newest");
}

#[tokio::test]
async fn a_dedup_id_holds_while_the_first_message_lives() {
    let dir = tempfile::tempdir().unwrap();
    let queue = queue(dir.path(), short("q")).await;
    let options = || SendOptions { dedup_id: Some("upload".into()), ..SendOptions::default() };
    let first = queue.send("a", options()).await.unwrap();
    assert_eq!(queue.send("b", options()).await.unwrap(), first);
    let delivery = queue.receive(10, PATIENCE).await.unwrap().remove(0);
    assert_eq!(queue.send("c", options()).await.unwrap(), first, "in flight");
    let reason = JobError::new(darkroom_api::ErrorCode::Internal, "x");
    assert_eq!(queue.settle(delivery.receipt, Settlement::DeadLetter { reason }).await.unwrap(), Settled::Done);
    assert_ne!(queue.send("d", options()).await.unwrap(), first, "the first is dead");
    assert_eq!(queue.redrive(Redrive::All).await.unwrap(), 1);
    assert_eq!(queue.receive(10, PATIENCE).await.unwrap().len(), 2);
}

#[tokio::test]
async fn queues_of_one_file_do_not_mix() {
    let dir = tempfile::tempdir().unwrap();
    let jobs = queue(dir.path(), short("jobs")).await;
    let events = SqliteQueue::new(jobs.db.clone(), short("events"));
    events.send("event", SendOptions::default()).await.unwrap();
    assert!(jobs.receive(1, Duration::ZERO).await.unwrap().is_empty());
    assert_eq!(events.receive(1, Duration::ZERO).await.unwrap().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_send_wakes_a_waiting_receiver_without_a_poll() {
    let dir = tempfile::tempdir().unwrap();
    let queue = queue(dir.path(), Options { poll: PATIENCE * 10, ..short("q") }).await;
    let mut waits = Vec::new();
    for _ in 0..20 {
        let (waiter, started) = (queue.clone(), Arc::new(tokio::sync::Barrier::new(2)));
        let begun = started.clone();
        let waiting = tokio::spawn(async move {
            begun.wait().await;
            let delivery = waiter.receive(1, PATIENCE).await.unwrap().remove(0);
            let received = std::time::Instant::now();
            assert_eq!(waiter.settle(delivery.receipt, Settlement::Ack).await.unwrap(), Settled::Done);
            received
        });
        started.wait().await;
        queue.send("x", SendOptions::default()).await.unwrap();
        let sent = std::time::Instant::now();
        waits.push(waiting.await.unwrap().saturating_duration_since(sent));
    }
    waits.sort_unstable();
    println!("send to receive: p50 {:?}, max {:?}", waits[10], waits[19]);
}

/// Run as another process by the tests below: does what `DARKROOM_TEST_CHILD` says to the file it names.
#[tokio::test]
async fn child() {
    let Ok(task) = std::env::var("DARKROOM_TEST_CHILD") else { return };
    let (verb, dir) = task.split_once(' ').unwrap();
    let queue = queue(Path::new(dir), short("q")).await;
    match verb {
        "send" => drop(queue.send("from afar", SendOptions::default()).await.unwrap()),
        "receive-and-die" => {
            let delivery = queue.receive(1, PATIENCE).await.unwrap().remove(0);
            let _lease = Lease::start(Arc::new(queue), delivery);
            // SAFETY: a signal to this very process, which is meant to die of it.
            unsafe { libc::kill(libc::getpid(), libc::SIGKILL) };
        }
        other => panic!("{other}"),
    }
}

fn child_process(verb: &str, dir: &Path) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "queue::sqlite::tests::child"]);
    command.env("DARKROOM_TEST_CHILD", format!("{verb} {}", dir.display()));
    command
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_of_another_process_is_seen() {
    let dir = tempfile::tempdir().unwrap();
    let queue = queue(dir.path(), short("q")).await;
    let mut process = child_process("send", dir.path()).spawn().unwrap();
    let delivery = queue.receive(1, PATIENCE).await.unwrap().remove(0);
    let age = Timestamp::now().duration_since(delivery.sent_at);
    assert!(process.wait().unwrap().success());
    assert_eq!(delivery.body, "from afar");
    assert!(age.as_millis() < 2000, "seen after {age}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_worker_loses_nothing() {
    use std::os::unix::process::ExitStatusExt;
    let dir = tempfile::tempdir().unwrap();
    let first = queue(dir.path(), short("q")).await;
    let id = first.send("survivor", SendOptions::default()).await.unwrap();
    drop(first);
    let status = child_process("receive-and-die", dir.path()).status().unwrap();
    assert_eq!(status.signal(), Some(libc::SIGKILL));
    let reopened = queue(dir.path(), short("q")).await;
    let delivery = reopened.receive(1, PATIENCE).await.unwrap().remove(0);
    assert_eq!((delivery.message_id, &delivery.body[..], delivery.receives), (id, &b"survivor"[..], 2));
}
