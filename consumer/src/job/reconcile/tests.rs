//! On a real queue and a real store that tells of nothing.

use std::collections::BTreeMap;

use darkroom_api::{Descriptor, InputRole, Limits, MediaKind};
use serde_json::{Value, json};

use super::*;
use crate::job::record::Claim;
use crate::job::testing::{Ground, place};
use crate::store::{Put, StoreConfig};
use crate::trigger::{Origin, RouteRules};

/// `s3://uploads/in/*.mp4` is to be matted.
fn routes() -> Routes {
    let rules: BTreeMap<String, Value> = toml::from_str(
        r#"
        sources = [{ bucket = "uploads", prefix = "in/" }]
        destinations = [{ bucket = "results" }]
        routes = [{ bucket = "uploads", prefix = "in/", suffixes = [".mp4"], handler = "matting",
                    params = { format = "png" }, output = "s3://results/m/" }]
        "#,
    )
    .unwrap();
    let handler = Descriptor {
        name: "matting".into(),
        version: "1".into(),
        summary: String::new(),
        params_schema: Value::Null,
        inputs: vec![InputRole { name: "video".into(), min: 1, max: 1, kinds: vec![MediaKind::Video] }],
        limits: Limits::default(),
        models: vec![],
        stages: vec![],
        resumable: false,
    };
    let rules = RouteRules {
        routes: serde_json::from_value(rules["routes"].clone()).unwrap(),
        sources: serde_json::from_value(rules["sources"].clone()).unwrap(),
        destinations: serde_json::from_value(rules["destinations"].clone()).unwrap(),
        ..RouteRules::default()
    };
    let store = StoreConfig { name: "main".into(), ..StoreConfig::default() };
    Routes::new(&rules, &[store], &[handler], &place("state")).unwrap()
}

struct Lab {
    ground: Ground,
    reconciler: Reconciler,
}

impl Lab {
    async fn new() -> Lab {
        let ground = Ground::new().await;
        let reconciler = Reconciler {
            queue: ground.queue.clone(),
            stores: ground.stores(),
            routes: routes(),
            state: place("state"),
            min_age: Duration::ZERO,
        };
        Lab { ground, reconciler }
    }

    /// What the notification of the store asks for.
    async fn told(&self, key: &str) -> Submission {
        let head = self.ground.running.store.head(&ObjectRef::new("main", "uploads", key)).await.unwrap().unwrap();
        let encoded = percent_encoding::utf8_percent_encode(key, percent_encoding::NON_ALPHANUMERIC).to_string();
        let body = json!({"Records": [{
            "eventSource": "aws:s3", "eventName": "ObjectCreated:Put", "eventTime": "2026-03-04T10:11:12Z",
            "s3": {"bucket": {"name": "uploads"}, "object": {"key": encoded, "eTag": head.etag, "size": head.bytes}},
        }]});
        self.reconciler.submission(&body.to_string()).unwrap()
    }

    /// An upload whose first attempt ended so.
    async fn ended(&self, key: &str, outcome: Outcome, error: Option<ErrorCode>, is_final: bool) -> Submission {
        self.ended_at(Timestamp::now(), key, outcome, error, is_final).await
    }

    async fn ended_at(
        &self,
        ended_at: Timestamp,
        key: &str,
        outcome: Outcome,
        error: Option<ErrorCode>,
        is_final: bool,
    ) -> Submission {
        self.ground.put(key, key).await;
        let submission = self.told(key).await;
        self.ground.attempt(&submission, ended_at, outcome, error, is_final).await;
        submission
    }

    /// What is found, by key.
    async fn look(&self) -> (BTreeMap<String, Finding>, Report) {
        let mut found = BTreeMap::new();
        let tell = |object: &ObjectRef, finding: &Finding| {
            found.insert(object.key.clone(), finding.clone());
            Ok::<_, Error>(())
        };
        let report = self.reconciler.places(&[place("uploads")], tell).await.unwrap();
        (found, report)
    }

    async fn waiting(&self) -> u64 {
        self.reconciler.queue.depth().await.unwrap().visible
    }
}

#[tokio::test]
async fn an_upload_that_nobody_told_of_is_submitted_once_as_the_job_that_it_is() {
    let mut lab = Lab::new().await;
    let key = "in/a b+%2B é\u{1}\r\n&<.mp4";
    for key in [key, "in/notes.txt", "in/folder.mp4/", "elsewhere/a.mp4"] {
        lab.ground.put(key, key).await;
    }
    lab.reconciler.min_age = Duration::from_secs(3600);
    assert!(matches!(lab.look().await.0[key], Finding::Young));
    assert_eq!(lab.waiting().await, 0);

    lab.reconciler.min_age = Duration::ZERO;
    let (found, report) = lab.look().await;
    assert_eq!(report, Report { submitted: 1, not_taken: 3, ..Report::default() });
    let Finding::Submitted { job, message_id } = &found[key] else { panic!("{found:?}") };
    let told = lab.told(key).await;
    assert_eq!(*job, JobId::of(&told).unwrap(), "as if the store had told of it");

    let (found_again, _) = lab.look().await;
    let Finding::Submitted { message_id: again, .. } = &found_again[key] else { panic!("nobody took it") };
    assert_eq!((again, lab.waiting().await), (message_id, 1), "it waits already");
    let delivery = lab.ground.take().await;
    let submission = lab.reconciler.submission(std::str::from_utf8(&delivery.body).unwrap()).unwrap();
    assert_eq!((submission.origin, &submission.inputs), (Origin::Reconciler, &told.inputs));
    assert!(matches!(lab.ground.claim(&submission, Timestamp::now()).await.1, Claim::Won(_)));
    assert_eq!(lab.look().await.0[key], Finding::GoingOn);
}

#[tokio::test]
async fn what_is_known_is_left_alone() {
    let lab = Lab::new().await;
    let done = lab.ended("in/done.mp4", Outcome::Interrupted, None, false).await;
    let key = manifest::key(&done.destination, &JobId::of(&done).unwrap());
    let manifest =
        lab.ground.running.store.put_if_absent("results", &key, "{}".into(), "application/json").await.unwrap();
    assert_eq!(manifest, Put::Done);
    lab.ended("in/expired.mp4", Outcome::Completed, None, true).await;
    lab.ended("in/failed.mp4", Outcome::Failed, Some(ErrorCode::InputCorrupt), true).await;
    lab.ended("in/cancelled.mp4", Outcome::Cancelled, None, true).await;
    lab.ended("in/between.mp4", Outcome::Failed, Some(ErrorCode::ExecutorCrashed), false).await;
    let redriven = lab.ended("in/redriven.mp4", Outcome::Failed, Some(ErrorCode::InputCorrupt), true).await;
    let record = lab.ground.record(&redriven);
    record.redrive(&record.history().await.unwrap()).await.unwrap();
    let yesterday = Timestamp::now() - SignedDuration::from_hours(24);
    lab.ended_at(yesterday, "in/forgotten.mp4", Outcome::Failed, Some(ErrorCode::ExecutorCrashed), false).await;
    lab.ended("in/back.mp4", Outcome::Interrupted, Some(ErrorCode::InputChanged), false).await;
    lab.ground.put("in/dead.mp4", "in/dead.mp4").await;
    let long_ago = Timestamp::now() - SignedDuration::from_hours(1);
    assert!(matches!(lab.ground.claim(&lab.told("in/dead.mp4").await, long_ago).await.1, Claim::Won(_)));
    let damaged = lab.ended("in/damaged.mp4", Outcome::Failed, None, true).await;
    let key = format!("{}/attempt-1.json", JobId::of(&damaged).unwrap());
    lab.ground.running.store.put_bytes("state", &key, "{".into(), "application/json").await.unwrap();

    let (found, report) = lab.look().await;
    for (key, finding) in [
        ("in/done.mp4", Finding::Completed),
        ("in/expired.mp4", Finding::Completed),
        ("in/failed.mp4", Finding::GivenUp),
        ("in/cancelled.mp4", Finding::GivenUp),
        ("in/between.mp4", Finding::GoingOn),
        ("in/redriven.mp4", Finding::GoingOn),
    ] {
        assert_eq!(found[key], finding, "{key}");
    }
    for key in ["in/back.mp4", "in/dead.mp4", "in/forgotten.mp4"] {
        assert!(matches!(found[key], Finding::Submitted { .. }), "{key}: {:?}", found[key]);
    }
    assert!(matches!(found["in/damaged.mp4"], Finding::Unclear(_)));
    let expected = Report { submitted: 3, completed: 2, given_up: 2, going_on: 2, unclear: 1, ..Report::default() };
    assert_eq!((report, lab.waiting().await), (expected, 3));
}

#[tokio::test]
async fn its_message_starts_no_failed_job_over() {
    let lab = Lab::new().await;
    lab.ground.put("in/a.mp4", "in/a.mp4").await;
    lab.look().await;
    // The store's own message was only late, and its job fails before the reconciler's is taken.
    let told = lab.ended("in/a.mp4", Outcome::Failed, Some(ErrorCode::InputCorrupt), true).await;
    let delivery = lab.ground.take().await;
    let ours = lab.reconciler.submission(std::str::from_utf8(&delivery.body).unwrap()).unwrap();
    assert_ne!(ours.submission_id, told.submission_id);
    assert!(matches!(lab.ground.claim(&ours, Timestamp::now()).await.1, Claim::Ended(_)));
    let anew = Submission { origin: Origin::Upload, ..ours };
    assert!(matches!(lab.ground.claim(&anew, Timestamp::now()).await.1, Claim::Won(_)), "somebody uploads it again");
}

#[tokio::test]
async fn a_worker_does_not_look_while_messages_wait() {
    let lab = Lab::new().await;
    let places = lab.reconciler.routes.listened(None, "");
    let queues = [Arc::clone(&lab.reconciler.queue)];
    assert_eq!(lab.reconciler.pass(&queues, &places).await.unwrap(), Some(Report::default()));
    lab.ground.put("in/a.mp4", "in/a.mp4").await;
    assert_eq!(lab.reconciler.pass(&queues, &places).await.unwrap().map(|report| report.submitted), Some(1));
    assert_eq!(lab.reconciler.pass(&queues, &places).await.unwrap(), None);
}

#[tokio::test]
async fn more_than_a_page_is_looked_at() {
    let lab = Lab::new().await;
    let keys = (0..1001).map(|n| format!("in/{n}.txt"));
    stream::iter(keys.chain(["in/last.mp4".into()]))
        .for_each_concurrent(32, async |key: String| lab.ground.put(&key, &key).await)
        .await;
    let (found, report) = lab.look().await;
    assert_eq!((report.submitted, report.not_taken, found.len()), (1, 1001, 1002));
}
