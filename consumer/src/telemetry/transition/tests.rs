use darkroom_api::ErrorCode;

use super::*;
use crate::config::{SinkConfig, SinkKind};
use crate::event::tests::{completion, facts};
use crate::event::{EventSink, Message, Outlet, SinkError};

#[derive(Debug, Clone, Default)]
struct Recorder(Arc<Mutex<Vec<Message>>>);

#[async_trait::async_trait]
impl EventSink for Recorder {
    async fn deliver(&self, message: &Message) -> Result<(), SinkError> {
        self.0.lock().unwrap().push(message.clone());
        Ok(())
    }
}

impl Recorder {
    fn ids(&self) -> Vec<String> {
        let short = |m: &Message| m.id.rsplit_once(&facts().job_id).map_or(m.id.clone(), |(_, rest)| rest.into());
        self.0.lock().unwrap().iter().map(short).collect()
    }
}

fn telemetry() -> (Telemetry, Recorder) {
    let recorder = Recorder::default();
    let config = SinkConfig { required: true, ..SinkConfig::new(SinkKind::Log) };
    let outlet = Outlet { config, sink: Box::new(recorder.clone()) };
    let metrics = Arc::new(Metrics::new());
    let publisher = Publisher::new(vec![outlet], Duration::from_secs(1), Arc::clone(&metrics));
    (Telemetry::new(metrics, Arc::new(publisher)), recorder)
}

fn progress(done: u64) -> Change {
    Change::Progress(Progress { stage: "encode".into(), percent: None, done, total: None, fps: None })
}

#[track_caller]
fn assert_metrics(telemetry: &Telemetry, lines: &[&str]) {
    let text = telemetry.metrics().encode().unwrap();
    for line in lines {
        assert!(text.lines().any(|l| l == *line), "no `{line}` in\n{text}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_jobs_way_becomes_events_and_metrics() {
    let (telemetry, recorder) = telemetry();
    let job = telemetry.job(facts());
    let end = Change::Completed(completion(2));
    for change in [
        Change::Accepted,
        Change::Waiting { fetched_bytes: 1000 },
        Change::Running,
        progress(1),
        progress(2),
        Change::Committing,
    ] {
        job.transition(&change).await.unwrap();
    }
    tokio::time::advance(PROGRESS_INTERVAL).await;
    job.transition(&progress(3)).await.unwrap();
    telemetry.publisher.close(Duration::from_secs(1)).await;
    assert_eq!(recorder.ids(), [".2.accepted", ".2.progress.1", ".2.progress.2"]);
    assert!(recorder.0.lock().unwrap()[2].body.contains("\"done\":3"));

    job.transition(&end).await.unwrap();
    job.repeat(&end).await.unwrap();
    assert_eq!(recorder.ids()[3..], [".completed", ".completed"], "terminal events do not need the background");
    let taken = recorder.0.lock().unwrap();
    assert_eq!(taken[3].body, taken[4].body);
    drop(taken);
    assert_metrics(
        &telemetry,
        &[
            "darkroom_jobs_total{handler=\"matting\",outcome=\"completed\",code=\"\"} 1",
            "darkroom_attempts_total{handler=\"matting\",outcome=\"completed\"} 1",
            "darkroom_job_fps_sum{handler=\"matting\"} 24.0",
            "darkroom_job_duration_seconds_sum{handler=\"matting\"} 2.0",
            "darkroom_stage_seconds_total{handler=\"matting\",stage=\"encode\",kind=\"busy\"} 1.5",
            "darkroom_fetched_bytes_total 1000",
            "darkroom_committed_bytes_total 20",
        ],
    );
}

#[tokio::test]
async fn failures_count_by_code_and_only_the_last_is_an_event() {
    let (telemetry, recorder) = telemetry();
    let job = telemetry.job(facts());
    let error = JobError::new(ErrorCode::StoreUnavailable, "Try later.");
    job.transition(&Change::Retrying { error: error.clone(), after: Duration::from_secs(5) }).await.unwrap();
    job.transition(&Change::Interrupted).await.unwrap();
    job.transition(&Change::LeaseLost).await.unwrap();
    assert!(recorder.ids().is_empty());
    job.transition(&Change::Failed(error)).await.unwrap();
    let rejected = Rejected {
        submission_id: "m1".into(),
        handler: Some("<script>".into()),
        subject: None,
        reference: None,
        error: JobError::new(ErrorCode::HandlerUnknown, "Use matting."),
    };
    telemetry.rejected(&rejected).await.unwrap();
    assert_eq!(recorder.ids(), [".2.failed", "m1.failed"]);
    assert_metrics(
        &telemetry,
        &[
            "darkroom_jobs_total{handler=\"matting\",outcome=\"failed\",code=\"store-unavailable\"} 1",
            "darkroom_jobs_total{handler=\"unknown\",outcome=\"failed\",code=\"handler-unknown\"} 1",
            "darkroom_attempts_total{handler=\"matting\",outcome=\"retrying\"} 1",
            "darkroom_attempts_total{handler=\"matting\",outcome=\"interrupted\"} 1",
            "darkroom_attempts_total{handler=\"matting\",outcome=\"lease-lost\"} 1",
        ],
    );
}

#[test]
fn every_change_but_a_lost_lease_names_a_state() {
    let error = JobError::new(ErrorCode::Internal, "x");
    let states = [
        (Change::Accepted, Some(State::Fetching)),
        (Change::Running, Some(State::Running)),
        (Change::Retrying { error: error.clone(), after: Duration::ZERO }, Some(State::Retrying)),
        (Change::LeaseLost, None),
        (Change::Failed(error), Some(State::Failed)),
    ];
    for (change, state) in states {
        assert_eq!(change.state(), state, "{change:?}");
    }
}
