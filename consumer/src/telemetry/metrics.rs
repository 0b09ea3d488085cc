//! Metrics in Prometheus' words. Every label has few values: handlers that exist, closed codes, configured sinks.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicI64, AtomicU64};
use std::sync::{Arc, Mutex, PoisonError};

use darkroom_api::{ErrorCode, StageReport};
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Registry;

use crate::queue::Depth;

/// How a job ended for good.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum JobOutcome {
    /// With a manifest.
    Completed,
    /// With an error.
    Failed,
    /// By a user.
    Cancelled,
}

/// How an attempt ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum AttemptOutcome {
    /// With a manifest.
    Completed,
    /// With an error, for good.
    Failed,
    /// By a user.
    Cancelled,
    /// With an error, and another attempt follows.
    Retrying,
    /// By shutdown.
    Interrupted,
    /// Somebody else has the delivery.
    LeaseLost,
    /// The object is another by now.
    Superseded,
}

/// What became of an event at one sink.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum EventOutcome {
    /// The sink has it.
    Delivered,
    /// The sink did not take it in time.
    Failed,
    /// Too many were waiting for the sink.
    Dropped,
}

impl JobOutcome {
    const fn as_str(self) -> &'static str {
        match self {
            JobOutcome::Completed => "completed",
            JobOutcome::Failed => "failed",
            JobOutcome::Cancelled => "cancelled",
        }
    }
}

impl AttemptOutcome {
    const fn as_str(self) -> &'static str {
        match self {
            AttemptOutcome::Completed => "completed",
            AttemptOutcome::Failed => "failed",
            AttemptOutcome::Cancelled => "cancelled",
            AttemptOutcome::Retrying => "retrying",
            AttemptOutcome::Interrupted => "interrupted",
            AttemptOutcome::LeaseLost => "lease-lost",
            AttemptOutcome::Superseded => "superseded",
        }
    }
}

impl EventOutcome {
    const fn as_str(self) -> &'static str {
        match self {
            EventOutcome::Delivered => "delivered",
            EventOutcome::Failed => "failed",
            EventOutcome::Dropped => "dropped",
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct JobLabels {
    handler: String,
    outcome: &'static str,
    code: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct AttemptLabels {
    handler: String,
    outcome: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct HandlerLabels {
    handler: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct StageLabels {
    handler: String,
    stage: String,
    kind: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ReasonLabels {
    reason: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct QueueLabels {
    queue: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct EventLabels {
    sink: String,
    outcome: &'static str,
}

/// Most stages of all handlers together. Their names come from executors: more than these count as `other`.
const MAX_STAGES: usize = 64;

type Seconds = Counter<f64, AtomicU64>;
type Count = Gauge<i64, AtomicI64>;

/// All metrics of the worker.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    jobs: Family<JobLabels, Counter>,
    attempts: Family<AttemptLabels, Counter>,
    job_duration: Family<HandlerLabels, Histogram>,
    job_fps: Family<HandlerLabels, Histogram>,
    stage_seconds: Family<StageLabels, Seconds>,
    stages: Mutex<BTreeSet<(String, String)>>,
    queue_visible: Family<QueueLabels, Count>,
    queue_in_flight: Family<QueueLabels, Count>,
    queue_dead: Family<QueueLabels, Count>,
    queue_oldest_age: Family<QueueLabels, Gauge<f64, AtomicU64>>,
    executor_restarts: Family<ReasonLabels, Counter>,
    events: Family<EventLabels, Counter>,
    fetched_bytes: Counter,
    committed_bytes: Counter,
    slots: Count,
    slots_busy: Count,
}

impl Metrics {
    /// All at zero.
    #[allow(clippy::new_without_default, reason = "metrics are made once, not by default somewhere")]
    pub fn new() -> Self {
        // 0.5 s to 9 hours.
        let seconds: fn() -> Histogram = || Histogram::new(exponential_buckets(0.5, 2.0, 17));
        // 0.5 to 1024 frames per second.
        let fps: fn() -> Histogram = || Histogram::new(exponential_buckets(0.5, 2.0, 12));
        let mut metrics = Metrics {
            registry: Registry::with_prefix("darkroom"),
            jobs: Family::default(),
            attempts: Family::default(),
            job_duration: Family::new_with_constructor(seconds),
            job_fps: Family::new_with_constructor(fps),
            stage_seconds: Family::default(),
            stages: Mutex::default(),
            queue_visible: Family::default(),
            queue_in_flight: Family::default(),
            queue_dead: Family::default(),
            queue_oldest_age: Family::default(),
            executor_restarts: Family::default(),
            events: Family::default(),
            fetched_bytes: Counter::default(),
            committed_bytes: Counter::default(),
            slots: Count::default(),
            slots_busy: Count::default(),
        };
        metrics.register();
        metrics
    }

    /// The library appends `_total` to counters.
    fn register(&mut self) {
        let r = &mut self.registry;
        r.register("jobs", "Jobs that ended for good", self.jobs.clone());
        r.register("attempts", "Attempts that ended", self.attempts.clone());
        r.register("job_duration_seconds", "Time of a completed job's run", self.job_duration.clone());
        r.register("job_fps", "Frames per second of a completed job's run", self.job_fps.clone());
        r.register("stage_seconds", "Where the time of completed runs went", self.stage_seconds.clone());
        r.register("queue_visible", "Messages ready to be received", self.queue_visible.clone());
        r.register("queue_in_flight", "Messages received and not settled", self.queue_in_flight.clone());
        r.register("queue_dead", "Dead letters", self.queue_dead.clone());
        let age = "Age of the oldest message ready to be received, 0 without one";
        r.register("queue_oldest_age_seconds", age, self.queue_oldest_age.clone());
        r.register("executor_restarts", "Executors that had to be replaced", self.executor_restarts.clone());
        r.register("events", "Events by sink and what became of them", self.events.clone());
        r.register("fetched_bytes", "Bytes of inputs fetched", self.fetched_bytes.clone());
        r.register("committed_bytes", "Bytes of outputs committed", self.committed_bytes.clone());
        r.register("slots", "Jobs that can run at once", self.slots.clone());
        r.register("slots_busy", "Jobs that run now", self.slots_busy.clone());
    }

    /// A job ended for good. `handler` is one that exists, or `unknown`.
    pub fn job(&self, handler: &str, outcome: JobOutcome, code: Option<ErrorCode>) {
        let code = code.map_or("", ErrorCode::as_str);
        let labels = JobLabels { handler: handler.into(), outcome: outcome.as_str(), code };
        self.jobs.get_or_create(&labels).inc();
    }

    /// An attempt ended.
    pub fn attempt(&self, handler: &str, outcome: AttemptOutcome) {
        let labels = AttemptLabels { handler: handler.into(), outcome: outcome.as_str() };
        self.attempts.get_or_create(&labels).inc();
    }

    /// How a completed run went.
    pub fn run(&self, handler: &str, run_secs: Option<f64>, fps: Option<f64>, stages: &[StageReport]) {
        let labels = HandlerLabels { handler: handler.into() };
        if let Some(secs) = run_secs {
            self.job_duration.get_or_create(&labels).observe(secs);
        }
        if let Some(fps) = fps {
            self.job_fps.get_or_create(&labels).observe(fps);
        }
        for stage in stages {
            let name = self.stage_label(handler, &stage.name);
            let kinds = [
                ("busy", stage.busy_secs),
                ("waiting_input", stage.waiting_input_secs),
                ("waiting_output", stage.waiting_output_secs),
            ];
            for (kind, secs) in kinds {
                let labels = StageLabels { handler: handler.into(), stage: name.clone(), kind };
                self.stage_seconds.get_or_create(&labels).inc_by(secs.max(0.0));
            }
        }
    }

    fn stage_label(&self, handler: &str, stage: &str) -> String {
        let mut stages = self.stages.lock().unwrap_or_else(PoisonError::into_inner);
        let known = (handler.to_owned(), stage.to_owned());
        if stages.contains(&known) || stages.len() < MAX_STAGES && stages.insert(known) {
            return stage.to_owned();
        }
        "other".to_owned()
    }

    /// How full a queue is, by its name in the configuration.
    pub fn queue(&self, name: &str, depth: &Depth) {
        let labels = QueueLabels { queue: name.into() };
        let counts = [
            (&self.queue_visible, depth.visible),
            (&self.queue_in_flight, depth.in_flight),
            (&self.queue_dead, depth.dead),
        ];
        for (family, count) in counts {
            family.get_or_create(&labels).set(i64::try_from(count).unwrap_or(i64::MAX));
        }
        self.queue_oldest_age.get_or_create(&labels).set(depth.oldest_age_secs.unwrap_or(0.0));
    }

    /// An executor had to be replaced.
    pub fn executor_restarted(&self, reason: &'static str) {
        self.executor_restarts.get_or_create(&ReasonLabels { reason }).inc();
    }

    /// What became of an event at a sink.
    pub fn event(&self, sink: &str, outcome: EventOutcome) {
        let labels = EventLabels { sink: sink.into(), outcome: outcome.as_str() };
        self.events.get_or_create(&labels).inc();
    }

    /// Bytes of inputs fetched.
    pub fn fetched(&self, bytes: u64) {
        self.fetched_bytes.inc_by(bytes);
    }

    /// Bytes of outputs committed.
    pub fn committed(&self, bytes: u64) {
        self.committed_bytes.inc_by(bytes);
    }

    /// Jobs that can run at once.
    pub fn set_slots(&self, slots: u32) {
        self.slots.set(i64::from(slots));
    }

    /// A job runs until the answer is dropped.
    pub fn busy_slot(self: &Arc<Self>) -> BusySlot {
        self.slots_busy.inc();
        BusySlot(Arc::clone(self))
    }

    /// All metrics in the OpenMetrics text format.
    ///
    /// # Errors
    /// None in practice: writing to a string does not fail.
    pub fn encode(&self) -> Result<String, std::fmt::Error> {
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &self.registry)?;
        Ok(text)
    }
}

/// A slot in use. See [`Metrics::busy_slot`].
#[derive(Debug)]
#[must_use = "the slot is busy until this is dropped"]
pub struct BusySlot(Arc<Metrics>);

impl Drop for BusySlot {
    fn drop(&mut self) {
        self.0.slots_busy.dec();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stages_that_executors_name_do_not_add_up() {
        let metrics = Metrics::new();
        for n in 0..MAX_STAGES + 10 {
            let (name, busy_secs) = (format!("stage-{n}"), 1.0);
            let (waiting_input_secs, waiting_output_secs, cpu_secs) = (0.0, 0.0, 0.0);
            let stage = StageReport { name, frames: 1, busy_secs, waiting_input_secs, waiting_output_secs, cpu_secs };
            metrics.run("matting", None, None, &[stage]);
        }
        let text = metrics.encode().unwrap();
        let busy = text.lines().filter(|line| line.contains("kind=\"busy\""));
        assert_eq!(busy.count(), MAX_STAGES + 1);
        assert!(text.contains("darkroom_stage_seconds_total{handler=\"matting\",stage=\"other\",kind=\"busy\"} 10.0"));
    }

    #[test]
    fn everything_stands_in_the_exposition_under_its_name() {
        let metrics = Arc::new(Metrics::new());
        metrics.job("matting", JobOutcome::Failed, Some(ErrorCode::InputEmpty));
        metrics.attempt("matting", AttemptOutcome::LeaseLost);
        let stage = StageReport {
            name: "encode".into(),
            frames: 10,
            busy_secs: 1.5,
            waiting_input_secs: 0.25,
            waiting_output_secs: 0.0,
            cpu_secs: 1.0,
        };
        metrics.run("matting", Some(2.0), Some(24.0), &[stage.clone(), stage]);
        metrics.queue("main", &Depth { visible: 3, delayed: 9, in_flight: 2, dead: 1, oldest_age_secs: Some(4.5) });
        metrics.executor_restarted("hung");
        metrics.event("backend", EventOutcome::Dropped);
        metrics.fetched(1000);
        metrics.committed(10);
        metrics.set_slots(4);
        let busy = (metrics.busy_slot(), metrics.busy_slot());
        drop(busy.0);
        let text = metrics.encode().unwrap();
        for line in [
            "darkroom_jobs_total{handler=\"matting\",outcome=\"failed\",code=\"input-empty\"} 1",
            "darkroom_attempts_total{handler=\"matting\",outcome=\"lease-lost\"} 1",
            "darkroom_job_duration_seconds_count{handler=\"matting\"} 1",
            "darkroom_job_duration_seconds_bucket{le=\"2.0\",handler=\"matting\"} 1",
            "darkroom_job_fps_sum{handler=\"matting\"} 24.0",
            "darkroom_stage_seconds_total{handler=\"matting\",stage=\"encode\",kind=\"busy\"} 3.0",
            "darkroom_stage_seconds_total{handler=\"matting\",stage=\"encode\",kind=\"waiting_input\"} 0.5",
            "darkroom_queue_visible{queue=\"main\"} 3",
            "darkroom_queue_in_flight{queue=\"main\"} 2",
            "darkroom_queue_dead{queue=\"main\"} 1",
            "darkroom_queue_oldest_age_seconds{queue=\"main\"} 4.5",
            "darkroom_executor_restarts_total{reason=\"hung\"} 1",
            "darkroom_events_total{sink=\"backend\",outcome=\"dropped\"} 1",
            "darkroom_fetched_bytes_total 1000",
            "darkroom_committed_bytes_total 10",
            "darkroom_slots 4",
            "darkroom_slots_busy 1",
        ] {
            assert!(text.lines().any(|l| l == line), "no `{line}` in\n{text}");
        }
        assert!(text.ends_with("# EOF\n"));
    }
}
