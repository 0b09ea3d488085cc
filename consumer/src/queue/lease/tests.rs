//! On tokio's paused clock: time moves when everybody waits.

use std::{
    collections::VecDeque,
    sync::{
        Mutex,
        atomic::{AtomicBool, Ordering},
    },
};

use darkroom_api::ErrorCode;
use tokio::time::{advance, sleep};

use super::*;
use crate::queue::{DeadLetter, Depth, Error, Redrive, SendOptions};

const LEASE: Duration = Duration::from_secs(30);

/// What the broker does with a beat.
#[derive(Debug, Clone, Copy)]
enum Beat {
    Renew,
    Replace(&'static str),
    Lose,
    Fail,
    Hang,
    Panic,
    /// Takes this many seconds, then renews.
    Slow(u64),
}

/// A broker that follows a script; after its end it renews.
#[derive(Debug, Default)]
struct Script {
    beats: Mutex<VecDeque<Beat>>,
    log: Mutex<Vec<String>>,
    in_beat: AtomicBool,
    start: Option<Instant>,
}

impl Script {
    fn new(beats: impl IntoIterator<Item = Beat>) -> Arc<Self> {
        let beats = Mutex::new(beats.into_iter().collect());
        Arc::new(Script { beats, start: Some(Instant::now()), ..Script::default() })
    }

    fn note(&self, what: String) {
        let at = self.start.unwrap().elapsed().as_secs_f64();
        self.log.lock().unwrap().push(format!("{at:.1} {what}"));
    }

    fn log(&self) -> Vec<String> {
        self.log.lock().unwrap().clone()
    }
}

#[async_trait::async_trait]
impl Queue for Script {
    fn lease_duration(&self) -> Duration {
        LEASE
    }
    async fn extend(&self, receipt: &Receipt, duration: Duration) -> Result<Extended> {
        assert_eq!(duration, LEASE);
        let beat = self.beats.lock().unwrap().pop_front().unwrap_or(Beat::Renew);
        self.note(format!("{beat:?} {}", receipt.as_str()));
        match beat {
            Beat::Renew => Ok(Extended::Renewed),
            Beat::Replace(new) => Ok(Extended::Replaced(Receipt::new(new))),
            Beat::Lose => Ok(Extended::Lost),
            Beat::Fail => Err(Error::unavailable(anyhow::anyhow!("reset"))),
            Beat::Hang => std::future::pending().await,
            Beat::Panic => panic!("a bug in a backend"),
            Beat::Slow(secs) => {
                self.in_beat.store(true, Ordering::Relaxed);
                sleep(Duration::from_secs(secs)).await;
                self.in_beat.store(false, Ordering::Relaxed);
                Ok(Extended::Renewed)
            }
        }
    }
    async fn settle(&self, receipt: Receipt, settlement: Settlement) -> Result<Settled> {
        assert!(!self.in_beat.load(Ordering::Relaxed), "settled while a beat was in flight");
        self.note(format!("{settlement:?} {}", receipt.as_str()));
        Ok(Settled::Done)
    }
    async fn send(&self, _: &str, _: SendOptions) -> Result<MessageId> {
        unreachable!()
    }
    async fn receive(&self, _: usize, _: Duration) -> Result<Vec<Delivery>> {
        unreachable!()
    }
    async fn depth(&self) -> Result<Depth> {
        unreachable!()
    }
    async fn dead_letters(&self, _: usize, _: Option<&DeadLetter>) -> Result<Vec<DeadLetter>> {
        unreachable!()
    }
    async fn redrive(&self, _: Redrive) -> Result<u64> {
        unreachable!()
    }
}

fn lease(script: &Arc<Script>) -> Lease {
    let delivery = Delivery {
        message_id: MessageId("m".into()),
        body: "body".into(),
        receipt: Receipt::new("r1"),
        receives: 1,
        counted: 1,
        sent_at: Timestamp::UNIX_EPOCH,
        leased_at: Instant::now(),
    };
    Lease::start(script.clone(), delivery)
}

async fn seconds(secs: u64) {
    sleep(Duration::from_secs(secs)).await;
}

#[tokio::test(start_paused = true)]
async fn beats_at_a_third_of_the_lease_until_settled() {
    let script = Script::new([]);
    let lease = lease(&script);
    seconds(25).await;
    assert_eq!(lease.ack().await.unwrap(), Settled::Done);
    seconds(100).await;
    assert_eq!(script.log(), ["10.0 Renew r1", "20.0 Renew r1", "25.0 Ack r1"]);
}

#[tokio::test(start_paused = true)]
async fn a_replaced_receipt_is_used_from_then_on() {
    let script = Script::new([Beat::Replace("r2")]);
    let lease = lease(&script);
    seconds(21).await;
    assert_eq!(lease.release(Duration::ZERO, true).await.unwrap(), Settled::Done);
    assert_eq!(
        script.log(),
        ["10.0 Replace(\"r2\") r1", "20.0 Renew r2", "21.0 Release { after: 0ns, counted: true } r2"]
    );
}

#[tokio::test(start_paused = true)]
async fn a_lost_lease_says_so_and_settles_nothing() {
    let script = Script::new([Beat::Renew, Beat::Lose]);
    let lease = lease(&script);
    lease.lost().cancelled().await;
    assert_eq!(script.start.unwrap().elapsed(), Duration::from_secs(20));
    let reason = JobError::new(ErrorCode::Internal, "x");
    assert_eq!(lease.dead_letter(reason).await.unwrap(), Settled::Lost);
    assert_eq!(script.log(), ["10.0 Renew r1", "20.0 Lose r1"]);
}

#[tokio::test(start_paused = true)]
async fn failing_beats_are_tried_again_and_one_success_is_enough() {
    let script = Script::new([Beat::Fail, Beat::Fail]);
    let lease = lease(&script);
    seconds(26).await;
    assert!(!lease.lost().is_cancelled());
    assert_eq!(script.log(), ["10.0 Fail r1", "12.5 Fail r1", "15.0 Renew r1", "25.0 Renew r1"]);
}

#[tokio::test(start_paused = true)]
async fn a_broker_that_stays_away_or_hangs_loses_the_lease_when_it_expires() {
    for beats in [vec![Beat::Fail; 100], vec![Beat::Hang; 100], vec![Beat::Fail, Beat::Hang]] {
        let script = Script::new(beats);
        let lease = lease(&script);
        lease.lost().cancelled().await;
        assert_eq!(script.start.unwrap().elapsed(), LEASE);
        assert_eq!(lease.ack().await.unwrap(), Settled::Lost);
    }
}

#[tokio::test(start_paused = true)]
async fn a_panicking_backend_loses_the_lease() {
    let script = Script::new([Beat::Panic]);
    let lease = lease(&script);
    lease.lost().cancelled().await;
    assert_eq!(lease.ack().await.unwrap(), Settled::Lost);
}

#[tokio::test(start_paused = true)]
async fn settling_awaits_the_beat_in_flight() {
    let script = Script::new([Beat::Slow(5)]);
    let lease = lease(&script);
    seconds(12).await;
    assert!(script.in_beat.load(Ordering::Relaxed));
    assert_eq!(lease.ack().await.unwrap(), Settled::Done);
    assert_eq!(script.log(), ["10.0 Slow(5) r1", "15.0 Ack r1"]);
}

#[tokio::test(start_paused = true)]
async fn a_dropped_lease_stops_beating() {
    let script = Script::new([]);
    let lease = lease(&script);
    seconds(11).await;
    drop(lease);
    seconds(100).await;
    assert_eq!(script.log(), ["10.0 Renew r1"]);
}

#[tokio::test(start_paused = true)]
async fn a_worker_that_was_suspended_beats_at_once() {
    let script = Script::new([]);
    let lease = lease(&script);
    tokio::task::yield_now().await;
    advance(Duration::from_secs(29)).await;
    sleep(Duration::from_millis(1)).await;
    assert_eq!(script.log(), ["29.0 Renew r1"]);
    assert!(!lease.lost().is_cancelled());
}
