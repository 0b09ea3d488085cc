//! Events are picked from a real queue.

use std::sync::Arc;

use darkroom_api::{ErrorCode, JobError};
use serde_json::{Map, json};
use tempfile::TempDir;

use crate::db::Db;
use crate::job::RunId;
use crate::job::record::{Claim, ClaimRequest, End, Outcome};
use crate::queue::SendOptions;
use crate::queue::sqlite::{Options, SqliteQueue};
use crate::store::testing::TestStore;
use crate::store::{Place, Stores};
use crate::trigger::{InputRef, Origin, Submission};

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

#[test]
fn an_upload_that_no_route_takes_is_told_with_those_that_would() {
    let route = |text: &str| toml::from_str::<RouteConfig>(text).unwrap();
    let named = |more: &str| {
        route(&format!(
            "bucket = \"inbox\"\nprefix = \"matting/\"\nhandler = \"matting\"\noutput = \"s3://o/\"\n{more}"
        ))
    };
    let routes = [named("suffixes = [\".MP4\"]")];
    taken(&routes, "s3://inbox/matting/a.mp4").unwrap();
    for url in ["s3://inbox/a.mp4", "s3://inbox/matting/a.txt", "s3://other/matting/a.mp4"] {
        let Err(Failure::Failed(why)) = taken(&routes, url) else { panic!("{url} is taken") };
        assert!(why.contains("Routes take: s3://inbox/matting/ (.MP4)"), "{why}");
    }
}

async fn records(running: &TestStore) -> Records {
    let place = Place { store: running.store.name().into(), bucket: "records".into(), prefix: String::new() };
    Records { stores: Stores::of(running.store.clone()), place }
}

/// Records a job about the object that failed in its only attempt.
async fn failed(records: &Records, job: &JobId, origin: Origin, submission: &str) {
    let record = records.of(job.clone()).unwrap();
    let object = ObjectRef { etag: Some("e1".into()), ..ObjectRef::new(&records.place.store, "inbox", "m/a.mp4") };
    let (now, run_id) = (Timestamp::now(), RunId::new());
    let submission = Submission {
        submission_id: submission.into(),
        origin,
        handler: "matting".into(),
        params: Map::new(),
        inputs: vec![InputRef { role: "video".into(), object }],
        destination: records.place.clone(),
        reference: None,
        deadline_secs: None,
        rerun: None,
        submitted_at: now,
    };
    let request = ClaimRequest {
        run_id: &run_id,
        worker: "w",
        submission: &submission,
        max_attempts: 3,
        now,
        live_until: now + SignedDuration::from_mins(1),
    };
    let store = records.stores.default_store();
    assert!(matches!(record.claim(store, &request).await.unwrap(), Claim::Won(_)));
    let error = Some(JobError::new(ErrorCode::InputCorrupt, "said"));
    let end =
        End { attempt: 1, run_id: run_id.clone(), outcome: Outcome::Failed, error, is_final: true, ended_at: now };
    record.write_end(&end).await.unwrap();
}

#[tokio::test]
async fn a_finished_job_is_told_from_its_record_and_an_upload_is_not_told_of_a_submit() {
    let (running, folder) = (TestStore::start(&["records"]).await, TempDir::new().unwrap());
    let (uploads, submits) = (job(), "b".repeat(52).parse::<JobId>().unwrap());
    let told = async |about: About| {
        let args = Args { about, since: None, timeout_secs: 0, save: None };
        let waiter = Waiter {
            args: &args,
            queue: queue(&folder, 0).await,
            records: records(&running).await,
            upload: None,
            since: Timestamp::MIN,
        };
        let told = waiter.event().await.ok();
        told.map(|(event, lease)| {
            assert!(lease.is_none());
            assert_eq!(event["data"]["error"]["code"], "input-corrupt");
            event["jobid"].as_str().unwrap().to_owned()
        })
    };
    let url = About::Input("s3://inbox/m/a.mp4".into());
    failed(&records(&running).await, &submits, Origin::Message, "s-message").await;
    assert_eq!(told(url.clone()).await, None);
    assert_eq!(told(About::Submission("s-message".into())).await.as_deref(), Some(submits.as_str()));
    failed(&records(&running).await, &uploads, Origin::Upload, "s-upload").await;
    for about in [url.clone(), url, About::Job(uploads.clone()), About::Submission("s-upload".into())] {
        assert_eq!(told(about).await.as_deref(), Some(uploads.as_str()));
    }
}
