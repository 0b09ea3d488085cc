//! Events are picked from a real queue.

use std::sync::Arc;

use darkroom_api::{ErrorCode, JobError};
use serde_json::{Map, json};
use tempfile::TempDir;

use crate::db::Db;
use crate::job::RunId;
use crate::job::record::{Attempt, End, Outcome};
use crate::queue::SendOptions;
use crate::queue::sqlite::{Options, SqliteQueue};
use crate::store::testing::TestStore;
use crate::store::{Place, Stores};
use crate::trigger::{Origin, Submission};

use super::*;

#[test]
fn what_to_wait_for_is_told_by_its_looks() {
    let job = "a".repeat(52);
    assert_eq!("s3://b/k.mp4".parse(), Ok(About::Input("s3://b/k.mp4".into())));
    assert_eq!(job.parse(), Ok(About::Job(job.parse().unwrap())));
    assert_eq!("0199-ab".parse(), Ok(About::Submission("0199-ab".into())));
    assert!("https://x/y".parse::<About>().is_err() && "".parse::<About>().is_err());
}

#[test]
fn since_is_a_time_or_an_age() {
    let ago = |text: &str| {
        let then = since(text).unwrap();
        Timestamp::now().duration_since(then).as_secs()
    };
    assert_eq!(since("2026-01-31T12:00:00Z").unwrap().to_string(), "2026-01-31T12:00:00Z");
    assert!((600..605).contains(&ago("10m")) && (86_400 * 30..86_400 * 30 + 5).contains(&ago("720h")));
    assert!(since("yesterday").is_err());
}

const PATIENCE: Duration = Duration::from_secs(20);

fn job() -> JobId {
    "a".repeat(52).parse().unwrap()
}

/// A queue that holds so many events about the job.
async fn queue(folder: &TempDir, events: usize) -> Arc<dyn Queue> {
    let options = Options { name: "events".into(), max_receives: u32::MAX, ..Options::default() };
    let queue = SqliteQueue::new(Db::open(folder.path().join("db")).await.unwrap(), options);
    for _ in 0..events {
        queue.send(&json!({ "jobid": job() }).to_string(), SendOptions::default()).await.unwrap();
    }
    Arc::new(queue)
}

#[tokio::test]
async fn an_event_goes_once_it_was_handed_on_and_stays_where_that_failed() {
    let folder = TempDir::new().unwrap();
    let queue = queue(&folder, 1).await;
    let take = async || Lease::start(queue.clone(), queue.receive(1, PATIENCE).await.unwrap().remove(0));
    let full = Err(Failure::Failed("The disk is full.".into()));
    let said = settle(take().await, full).await.unwrap_err();
    assert!(matches!(said, Failure::Failed(why) if why.starts_with("The disk is full. The event stays")));
    settle(take().await, Ok(())).await.unwrap();
    let depth = queue.depth().await.unwrap();
    assert_eq!((depth.visible, depth.delayed, depth.in_flight), (0, 0, 0));
}

#[tokio::test]
async fn where_an_event_cannot_be_judged_all_are_handed_back() {
    let (running, folder) = (TestStore::start(&["records"]).await, TempDir::new().unwrap());
    let queue = queue(&folder, 3).await;
    // Records are looked for in a store that is not there.
    let place = Place { store: "gone".into(), bucket: "records".into(), prefix: String::new() };
    let records = Records { stores: Stores::of(running.store.clone()), place };
    let args = Args { about: About::Job(job()), since: None, timeout_secs: 1, save: None };
    let waiter = Waiter { args: &args, queue: queue.clone(), records, upload: None, since: Timestamp::MIN };
    let deliveries = queue.receive(AT_ONCE, PATIENCE).await.unwrap();
    assert_eq!(deliveries.len(), 3);
    let mut passed_over = 0;
    assert!(waiter.pick(deliveries, &mut passed_over).await.is_err());
    let depth = queue.depth().await.unwrap();
    assert_eq!((depth.visible + depth.delayed, depth.in_flight, passed_over), (3, 0, 0));
}

/// A job's record after one attempt that ended so, at the epoch.
fn history(outcome: Outcome, code: Option<ErrorCode>) -> History {
    let (then, run_id) = (Timestamp::UNIX_EPOCH, RunId::new());
    let submission = Submission {
        submission_id: "s-1".into(),
        origin: Origin::Upload,
        handler: "matting".into(),
        params: Map::new(),
        inputs: Vec::new(),
        destination: Place { store: "main".into(), bucket: "results".into(), prefix: String::new() },
        reference: None,
        deadline_secs: None,
        rerun: None,
        submitted_at: then,
    };
    let error = code.map(|code| JobError::new(code, "said"));
    let is_final = outcome != Outcome::Interrupted;
    let end = End { attempt: 1, run_id: run_id.clone(), outcome, error, is_final, ended_at: then };
    let attempt = Attempt { number: 1, run_id, worker: "w".into(), claimed_at: then, live_until: then, submission };
    History {
        attempt_numbers: vec![1],
        end_numbers: vec![1],
        attempts: vec![attempt],
        ends: vec![end],
        ..History::default()
    }
}

#[test]
fn a_record_tells_that_no_event_will_come() {
    let at = |secs| Timestamp::from_second(secs).unwrap();
    let superseded = history(Outcome::Interrupted, Some(ErrorCode::InputChanged));
    assert!(silence(&job(), &superseded, at(0)).unwrap().contains("was replaced"));
    let completed = history(Outcome::Completed, None);
    assert!(silence(&job(), &completed, at(90)).unwrap().contains("is completed since 1970"));
    assert_eq!(silence(&job(), &completed, at(30)), None, "its event may be on the way");
    assert_eq!(silence(&job(), &history(Outcome::Interrupted, Some(ErrorCode::Interrupted)), at(90)), None);
    assert_eq!(silence(&job(), &History::default(), at(90)), None);
}
