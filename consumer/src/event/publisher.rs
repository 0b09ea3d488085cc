//! Gets events to their sinks.
//!
//! Terminal events go to required sinks at once, repeated until they are confirmed or time is up: only then may the
//! delivery be acknowledged. All else goes through a bounded queue for each sink, in the background: a slow receiver
//! costs events of its own, never a job's time. So a terminal event can overtake a progress event of its job.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use backon::{ExponentialBuilder, Retryable};
use darkroom_api::{ErrorCode, JobError, Result};
use futures::future::join_all;
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::sink::{Message, Outlet, SinkError};
use super::{Event, EventKind};
use crate::telemetry::{EventOutcome, Metrics};

/// Events that wait for one sink in the background.
const MAX_WAITING: usize = 256;
/// Of these, places that only terminal events take: news of the way never push out how a job ended.
const KEPT_FOR_TERMINAL: usize = 64;

/// Gets events to their sinks. See the module.
#[derive(Debug)]
pub struct Publisher {
    lanes: Vec<Lane>,
    retry: Duration,
    metrics: Arc<Metrics>,
    closing: CancellationToken,
    tasks: TaskTracker,
}

#[derive(Debug)]
struct Lane {
    outlet: Arc<Outlet>,
    waiting: mpsc::Sender<Arc<Message>>,
}

impl Publisher {
    /// Starts the background tasks; `retry` bounds the time to get an event to a sink. Needs a Tokio runtime.
    pub fn new(outlets: Vec<Outlet>, retry: Duration, metrics: Arc<Metrics>) -> Self {
        let (closing, tasks) = (CancellationToken::new(), TaskTracker::new());
        let lane = |outlet: Outlet| {
            let (waiting, events) = mpsc::channel(MAX_WAITING);
            let outlet = Arc::new(outlet);
            let task = background(Arc::clone(&outlet), events, retry, Arc::clone(&metrics), closing.clone());
            tasks.spawn(task);
            Lane { outlet, waiting }
        };
        let lanes = outlets.into_iter().map(lane).collect();
        Publisher { lanes, retry, metrics, closing, tasks }
    }

    /// Publishes an event. A terminal one is confirmed by every required sink that wants it when this returns; sending
    /// it again is harmless, its id is the same.
    ///
    /// # Errors
    /// [`ErrorCode::EventUndelivered`], with every required sink that did not confirm in time.
    pub async fn publish(&self, event: &Event) -> Result<()> {
        let message = Arc::new(Message::from(event));
        let wanting = self.lanes.iter().filter(|lane| lane.outlet.config.wants(message.kind));
        let (gating, others): (Vec<&Lane>, Vec<&Lane>) =
            wanting.partition(|lane| lane.outlet.config.required && message.kind.is_terminal());
        for lane in others {
            self.enqueue(lane, &message);
        }
        let tries = gating.iter().map(|lane| deliver(&lane.outlet, &message, Some(self.retry), &self.metrics));
        let failures: Vec<String> = join_all(tries).await.into_iter().filter_map(Result::err).collect();
        if failures.is_empty() {
            return Ok(());
        }
        let why = format!(
            "The event {} was not confirmed: {}. Check the receiver; the job's result is kept and the event comes again.",
            message.id,
            failures.join("; ")
        );
        Err(JobError::new(ErrorCode::EventUndelivered, why))
    }

    /// Sends what waits in the background, for at most `grace`; events published later may be dropped.
    pub async fn close(&self, grace: Duration) {
        self.closing.cancel();
        self.tasks.close();
        if timeout(grace, self.tasks.wait()).await.is_err() {
            tracing::warn!(grace_secs = grace.as_secs(), "events were still waiting for their sinks");
        }
    }

    fn enqueue(&self, lane: &Lane, message: &Arc<Message>) {
        let has_place = message.kind.is_terminal() || lane.waiting.capacity() > KEPT_FOR_TERMINAL;
        if !has_place || lane.waiting.try_send(Arc::clone(message)).is_err() {
            let sink = lane.outlet.config.name();
            self.metrics.event(sink, EventOutcome::Dropped);
            tracing::warn!(sink, event = message.id, "event dropped: the sink does not keep up");
        }
    }
}

async fn background(
    outlet: Arc<Outlet>,
    mut events: mpsc::Receiver<Arc<Message>>,
    retry: Duration,
    metrics: Arc<Metrics>,
    closing: CancellationToken,
) {
    loop {
        let message = tokio::select! {
            message = events.recv() => message,
            () = closing.cancelled(), if !events.is_closed() => {
                events.close();
                continue;
            }
        };
        let Some(message) = message else { return };
        // How far a job was some time ago is not worth a second try; newer news follows.
        let stale_soon = matches!(message.kind, EventKind::Progress | EventKind::Heartbeat);
        let budget = (!stale_soon).then_some(retry);
        // `deliver` has logged and counted a failure.
        drop(deliver(&outlet, &message, budget, &metrics).await);
    }
}

/// Delivers, with repeats for as long as `retry` says; the error names the sink.
async fn deliver(outlet: &Outlet, message: &Message, retry: Option<Duration>, metrics: &Metrics) -> Result<(), String> {
    let sink = outlet.config.name();
    let last = Mutex::new(String::from("it did not answer"));
    let once = || outlet.sink.deliver(message);
    let outcome = match retry {
        None => once().await.map_err(|e| e.to_string()),
        Some(budget) => {
            let repeated =
                once.retry(backoff()).when(|error| matches!(error, SinkError::Passing(_))).notify(|error, pause| {
                    tracing::debug!(sink, event = message.id, %error, ?pause, "event not delivered, trying again");
                    *last.lock().unwrap_or_else(PoisonError::into_inner) = error.to_string();
                });
            match timeout(budget, repeated).await {
                Ok(answer) => answer.map_err(|e| e.to_string()),
                Err(_) => Err(last.lock().unwrap_or_else(PoisonError::into_inner).clone()),
            }
        }
    };
    match outcome {
        Ok(()) => {
            metrics.event(sink, EventOutcome::Delivered);
            Ok(())
        }
        Err(error) => {
            metrics.event(sink, EventOutcome::Failed);
            tracing::warn!(sink, event = message.id, error, "event not delivered");
            Err(format!("sink `{sink}`: {error}"))
        }
    }
}

/// Pauses between tries; their sum is bounded by the caller's time.
fn backoff() -> ExponentialBuilder {
    ExponentialBuilder::default()
        .with_min_delay(Duration::from_millis(200))
        .with_max_delay(Duration::from_secs(10))
        .without_max_times()
        .with_jitter()
}
