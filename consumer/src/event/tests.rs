use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use darkroom_api::{ErrorCode, JobError, Progress};
use jiff::Timestamp;
use serde_json::{Value, json};
use tokio::sync::Notify;
use tokio::time::Instant;

use super::*;
use crate::config::{AmqpConfig, AwsConfig, SinkConfig, SinkKind};
use crate::db::Db;
use crate::job::Manifest;
use crate::queue::Queue;
use crate::queue::sqlite::{self, SqliteQueue};
use crate::store::Place;
use crate::telemetry::Metrics;

const JOB: &str = "abcdefghijklmnopqrstuvwxyz234567abcdefghijklmnopqrst";
const RUN: &str = "019a0000000070008000000000000000";

pub(crate) fn facts() -> JobFacts {
    JobFacts {
        job_id: JOB.into(),
        submission_id: "sub-1".into(),
        handler: "matting".into(),
        input: Some("s3://uploads/in/a b+é.mp4".into()),
        reference: Some("order 7".into()),
        attempt: Some(2),
    }
}

pub(crate) fn completion(outputs: usize) -> Completion {
    let output = |n: usize| {
        let key = format!("matting/{JOB}/{RUN}/{n}.webm");
        json!({"bucket": "results", "key": key, "bytes": 10, "sha256": "00ff", "media_type": "video/webm"})
    };
    let manifest: Manifest = serde_json::from_value(json!({
        "schema": "darkroom.manifest.v1", "job_id": JOB, "run_id": RUN, "handler": "matting", "handler_version": "0.1.0",
        "inputs": [], "params": {}, "outputs": (0..outputs).map(output).collect::<Vec<_>>(), "models": [],
        "stages": [{"name": "encode", "frames": 48, "busy_secs": 1.5, "waiting_input_secs": 0.25,
                    "waiting_output_secs": 0.0, "cpu_secs": 1.25}],
        "metrics": {"frames": 48, "fps": 24.0}, "timings": {"fetch": 0.5, "run": 2.0},
        "warnings": ["audio transcoded"], "reference": "order 7", "created_at": "2026-11-21T07:00:05Z",
    }))
    .unwrap();
    let destination = Place { store: "main".into(), bucket: "results".into(), prefix: "matting/".into() };
    Completion { manifest: Box::new(manifest), destination, urls: vec!["https://signed.example/0".into()] }
}

fn at() -> Timestamp {
    "2026-11-21T07:00:00Z".parse().unwrap()
}

#[track_caller]
fn assert_event(event: &Event, id: &str, type_name: &str, more: &Value, data: &Value) {
    let mut expected = json!({"specversion": "1.0", "id": id, "source": "/darkroom", "type": type_name,
        "time": "2026-11-21T07:00:00Z", "datacontenttype": "application/json"});
    for (key, value) in more.as_object().unwrap() {
        expected[key] = value.clone();
    }
    expected["data"] = data.clone();
    let found: Value = serde_json::from_str(&event.to_json()).unwrap();
    assert_eq!(found, expected);
    for name in found.as_object().unwrap().keys() {
        assert!(name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit()), "CloudEvents forbids `{name}`");
    }
}

fn job_attributes() -> Value {
    json!({"subject": "s3://uploads/in/a b+é.mp4", "jobid": JOB, "handler": "matting", "attempt": 2})
}

fn job_data(more: &Value) -> Value {
    let mut data = json!({"job_id": JOB, "submission_id": "sub-1", "handler": "matting",
        "input": "s3://uploads/in/a b+é.mp4", "reference": "order 7", "attempt": 2});
    for (key, value) in more.as_object().unwrap() {
        data[key] = value.clone();
    }
    data
}

#[test]
fn events_on_the_way_have_these_shapes() {
    let (job, more) = (facts(), job_attributes());
    let id = format!("{JOB}.2.accepted");
    assert_event(&Event::accepted(&job, at()), &id, "dev.darkroom.job.accepted.v1", &more, &job_data(&json!({})));
    let progress = Progress { stage: "encode".into(), percent: Some(37.5), done: 18, total: Some(48), fps: Some(12.0) };
    let event = Event::progress(&job, at(), 3, &progress);
    let data = job_data(&json!({"stage": "encode", "percent": 37.5, "done": 18, "total": 48, "fps": 12.0}));
    assert_event(&event, &format!("{JOB}.2.progress.3"), "dev.darkroom.job.progress.v1", &more, &data);
}

#[test]
fn events_at_the_end_have_these_shapes() {
    let (job, mut more) = (facts(), job_attributes());
    let error = JobError::new(ErrorCode::InputTruncated, "Upload the file again.").with_detail(json!({"bytes": 9}));
    let data = job_data(&json!({"error": {"code": "input-truncated", "message": "Upload the file again.",
        "detail": {"bytes": 9}}}));
    let event = Event::failed(&job, at(), &error);
    assert_event(&event, &format!("{JOB}.2.failed"), "dev.darkroom.job.failed.v1", &more, &data);

    let id = format!("{JOB}.2.cancelled");
    assert_event(&Event::cancelled(&job, at()), &id, "dev.darkroom.job.cancelled.v1", &more, &job_data(&json!({})));

    more["time"] = json!("2026-11-21T07:00:05Z");
    let data = job_data(&json!({
        "run_id": RUN, "handler_version": "0.1.0",
        "manifest": {"bucket": "results", "key": format!("matting/{JOB}/manifest.json")},
        "outputs": [{"bucket": "results", "key": format!("matting/{JOB}/{RUN}/0.webm"), "bytes": 10, "sha256": "00ff",
                     "media_type": "video/webm", "url": "https://signed.example/0"}],
        "outputs_total": 1, "timings_secs": {"fetch": 0.5, "run": 2.0},
        "stages": [{"name": "encode", "frames": 48, "busy_secs": 1.5, "waiting_input_secs": 0.25,
                    "waiting_output_secs": 0.0, "cpu_secs": 1.25}],
        "metrics": {"frames": 48, "fps": 24.0}, "warnings": ["audio transcoded"],
    }));
    let event = Event::completed(&job, &completion(1));
    assert_event(&event, &format!("{JOB}.completed"), "dev.darkroom.job.completed.v1", &more, &data);
}

#[test]
fn events_without_a_job_have_these_shapes() {
    let rejected = Rejected {
        submission_id: "message-9".into(),
        handler: None,
        subject: None,
        reference: None,
        error: JobError::new(ErrorCode::MessageInvalid, "Send JSON."),
    };
    let data = json!({"submission_id": "message-9", "error": {"code": "message-invalid", "message": "Send JSON."}});
    let event = Event::rejected(&rejected, at());
    assert_event(&event, "message-9.failed", "dev.darkroom.job.failed.v1", &json!({}), &data);

    let heartbeat = HeartbeatData {
        worker: "gpu-7".into(),
        version: "0.1.0".into(),
        slots: 2,
        jobs: vec![JOB.into()],
        draining: true,
        draining_because: Some("the worker shuts down"),
        queues: vec!["main".into()],
        uptime_secs: 1.5,
    };
    let data = serde_json::to_value(&heartbeat).unwrap();
    assert_eq!(data["jobs"], json!([JOB]));
    assert_eq!((&data["queues"], &data["draining_because"]), (&json!(["main"]), &json!("the worker shuts down")));
    let event = Event::heartbeat(heartbeat, at());
    let more = json!({"source": "/darkroom/workers/gpu-7"});
    assert_event(&event, "gpu-7.1795244400000", "dev.darkroom.worker.heartbeat.v1", &more, &data);
}

#[test]
fn a_million_outputs_stay_sendable() {
    let event = Event::completed(&facts(), &completion(5000)).to_json();
    let found: Value = serde_json::from_str(&event).unwrap();
    assert_eq!(found["data"]["outputs"].as_array().unwrap().len(), MAX_LISTED_OUTPUTS);
    assert_eq!(found["data"]["outputs_total"], 5000);
    assert!(event.len() < 256 << 10, "{} bytes", event.len());
}

/// Fails so often, then takes everything; can be held up.
#[derive(Debug, Default)]
struct Fake {
    failures: AtomicUsize,
    is_final: bool,
    hold: Option<Arc<Notify>>,
    tries: AtomicUsize,
    taken: std::sync::Mutex<Vec<String>>,
}

#[derive(Debug)]
struct Shared(Arc<Fake>);

#[async_trait]
impl EventSink for Shared {
    async fn deliver(&self, message: &Message) -> Result<(), SinkError> {
        let fake = &self.0;
        fake.tries.fetch_add(1, Ordering::SeqCst);
        if let Some(hold) = &fake.hold {
            hold.notified().await;
        }
        if fake.failures.load(Ordering::SeqCst) > 0 {
            fake.failures.fetch_sub(1, Ordering::SeqCst);
            let make = if fake.is_final { SinkError::Final } else { SinkError::Passing };
            return Err(make("no".into()));
        }
        fake.taken.lock().unwrap().push(message.id.clone());
        Ok(())
    }
}

fn outlet(name: &str, required: bool, types: &[EventKind], fake: &Arc<Fake>) -> Outlet {
    let config =
        SinkConfig { name: Some(name.into()), required, types: types.to_vec(), ..SinkConfig::new(SinkKind::Log) };
    Outlet { config, sink: Box::new(Shared(Arc::clone(fake))) }
}

fn publisher(outlets: Vec<Outlet>) -> (Publisher, Arc<Metrics>) {
    let metrics = Arc::new(Metrics::new());
    (Publisher::new(outlets, Duration::from_secs(60), Arc::clone(&metrics)), metrics)
}

#[track_caller]
fn assert_metric(metrics: &Metrics, sink: &str, outcome: &str, count: usize) {
    let line = format!("darkroom_events_total{{sink=\"{sink}\",outcome=\"{outcome}\"}} {count}");
    let text = metrics.encode().unwrap();
    assert!(text.lines().any(|l| l == line), "no `{line}` in\n{text}");
}

#[tokio::test(start_paused = true)]
async fn a_terminal_event_is_repeated_until_the_required_sink_confirms() {
    let fake = Arc::new(Fake { failures: AtomicUsize::new(4), ..Fake::default() });
    let (publisher, metrics) = publisher(vec![outlet("backend", true, &[], &fake)]);
    publisher.publish(&Event::cancelled(&facts(), at())).await.unwrap();
    assert_eq!(*fake.taken.lock().unwrap(), [format!("{JOB}.2.cancelled")]);
    assert_eq!(fake.tries.load(Ordering::SeqCst), 5);
    assert_metric(&metrics, "backend", "delivered", 1);
}

#[tokio::test(start_paused = true)]
async fn a_required_sink_that_never_confirms_is_an_error_after_the_retry_time() {
    let dead = Arc::new(Fake { failures: AtomicUsize::new(usize::MAX), ..Fake::default() });
    let alive = Arc::new(Fake::default());
    let (publisher, metrics) = publisher(vec![outlet("dead", true, &[], &dead), outlet("alive", true, &[], &alive)]);
    let start = Instant::now();
    let error = publisher.publish(&Event::cancelled(&facts(), at())).await.unwrap_err();
    assert_eq!(error.code, ErrorCode::EventUndelivered);
    assert!(error.message.contains("sink `dead`: no") && !error.message.contains("alive"), "{error}");
    assert_eq!(start.elapsed().as_secs(), 60);
    assert!(dead.tries.load(Ordering::SeqCst) >= 6, "{dead:?}");
    assert_eq!(alive.taken.lock().unwrap().len(), 1);
    assert_metric(&metrics, "dead", "failed", 1);
}

#[tokio::test(start_paused = true)]
async fn a_final_refusal_is_not_repeated() {
    let fake = Arc::new(Fake { failures: AtomicUsize::new(9), is_final: true, ..Fake::default() });
    let (publisher, _) = publisher(vec![outlet("backend", true, &[], &fake)]);
    let start = Instant::now();
    assert!(publisher.publish(&Event::cancelled(&facts(), at())).await.is_err());
    assert_eq!((fake.tries.load(Ordering::SeqCst), start.elapsed()), (1, Duration::ZERO));
}

#[tokio::test(start_paused = true)]
async fn only_terminal_events_and_required_sinks_make_the_job_wait() {
    let hold = Arc::new(Notify::new());
    let slow = Arc::new(Fake { hold: Some(hold), ..Fake::default() });
    let (publisher, metrics) =
        publisher(vec![outlet("optional", false, &[], &slow), outlet("required", true, &[], &slow)]);
    let start = Instant::now();
    // 192 wait, the rest is dropped.
    for _ in 0..300 {
        publisher.publish(&Event::accepted(&facts(), at())).await.unwrap();
    }
    assert_eq!(start.elapsed(), Duration::ZERO);
    assert_metric(&metrics, "optional", "dropped", 108);
    assert!(publisher.publish(&Event::cancelled(&facts(), at())).await.is_err());
    assert_eq!(start.elapsed().as_secs(), 60, "the required sink gates the terminal event");
    assert_metric(&metrics, "optional", "dropped", 108);
}

#[tokio::test(start_paused = true)]
async fn close_sends_what_waits_and_filters_hold() {
    let (all, few) = (Arc::new(Fake { failures: AtomicUsize::new(2), ..Fake::default() }), Arc::new(Fake::default()));
    let (publisher, _) =
        publisher(vec![outlet("all", false, &[], &all), outlet("few", true, &[EventKind::Cancelled], &few)]);
    publisher.publish(&Event::accepted(&facts(), at())).await.unwrap();
    publisher.publish(&Event::cancelled(&facts(), at())).await.unwrap();
    publisher.close(Duration::from_secs(30)).await;
    let cancelled = format!("{JOB}.2.cancelled");
    assert_eq!(*all.taken.lock().unwrap(), [format!("{JOB}.2.accepted"), cancelled.clone()]);
    assert_eq!(*few.taken.lock().unwrap(), [cancelled]);
}

#[tokio::test]
async fn a_queue_sink_sends_each_event_once() {
    let dir = tempfile::tempdir().unwrap();
    let db = Db::open(dir.path().join("db")).await.unwrap();
    let options = sqlite::Options { name: "events".into(), ..sqlite::Options::default() };
    let queue: Arc<dyn Queue> = Arc::new(SqliteQueue::new(db, options));
    let config = SinkConfig { required: true, ..SinkConfig::new(SinkKind::Queue) };
    let (amqp, aws) = (AmqpConfig::default(), AwsConfig::default());
    let (publisher, _) = publisher(vec![Outlet::open(&config, Some(Arc::clone(&queue)), &amqp, &aws).await.unwrap()]);
    let event = Event::cancelled(&facts(), at());
    publisher.publish(&event).await.unwrap();
    publisher.publish(&event).await.unwrap();
    let got = queue.receive(10, Duration::from_secs(20)).await.unwrap();
    assert_eq!(got.iter().map(|delivery| delivery.body.as_ref()).collect::<Vec<_>>(), [event.to_json().as_bytes()]);
    assert!(Outlet::open(&config, None, &amqp, &aws).await.unwrap_err().contains("path"));
}

#[test]
fn an_event_fits_into_a_queue_however_long_its_keys_are() {
    let mut long = completion(MAX_LISTED_OUTPUTS);
    for output in &mut long.manifest.outputs {
        output.key = "\"".repeat(1024);
    }
    long.urls = vec![format!("https://signed.example/{}", "%22".repeat(1024)); 20];
    let event = Event::completed(&facts(), &long).to_json();
    assert!(event.len() < 128 << 10, "{} bytes", event.len());
    let found: Value = serde_json::from_str(&event).unwrap();
    assert_eq!(found["data"]["outputs_total"], MAX_LISTED_OUTPUTS);
    assert!(!found["data"]["outputs"].as_array().unwrap().is_empty());
}
