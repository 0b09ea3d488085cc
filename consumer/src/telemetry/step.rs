//! Points that a delivery passes on its way: debug lines for who follows a message through the log, times for `darkroom
//! bench journey`, and the points where tests kill the worker.

use std::fmt;
use std::time::Instant;

use tokio::sync::mpsc;
use tracing::field::{Field, Visit};
use tracing::{Event, Subscriber};
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::Context;
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::{Layer, filter::LevelFilter};

/// Target of the lines, as `log.level` names it: `info,darkroom::step=debug`.
const TARGET: &str = "darkroom::step";
/// Target of what executors say.
const EXECUTOR: &str = "darkroom::executor";
/// Steps that wait to be read by whoever measures; more are dropped.
const MAX_UNREAD: usize = 4096;

/// A point on the way of a delivery, in order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Step {
    /// `receive` has handed the delivery over.
    Received,
    /// Its message was read.
    Parsed,
    /// A route or the message said which job it is.
    Routed,
    /// The attempt is ours.
    Claimed,
    /// The handler takes the parameters.
    Checked,
    /// Inputs are on the scratch disk.
    Fetched,
    /// They were looked at, and the handler has said what it needs.
    Planned,
    /// A device slot is ours.
    SlotTaken,
    /// The executor has said that the run arrived.
    Arrived,
    /// The run has made its outputs.
    Ran,
    /// They are in the bucket, where nobody sees them yet.
    Uploaded,
    /// The manifest makes them the job's result.
    Committed,
    /// The record says how the attempt ended.
    Recorded,
    /// Every required sink has the terminal event.
    Published,
    /// It is decided what becomes of the delivery.
    Settling,
    /// Acknowledged, released or kept as a dead letter.
    Settled,
}

impl Step {
    const ALL: [Step; 16] = [
        Step::Received,
        Step::Parsed,
        Step::Routed,
        Step::Claimed,
        Step::Checked,
        Step::Fetched,
        Step::Planned,
        Step::SlotTaken,
        Step::Arrived,
        Step::Ran,
        Step::Uploaded,
        Step::Committed,
        Step::Recorded,
        Step::Published,
        Step::Settling,
        Step::Settled,
    ];

    /// Its name in the log.
    pub const fn as_str(self) -> &'static str {
        match self {
            Step::Received => "received",
            Step::Parsed => "parsed",
            Step::Routed => "routed",
            Step::Claimed => "claimed",
            Step::Checked => "checked",
            Step::Fetched => "fetched",
            Step::Planned => "planned",
            Step::SlotTaken => "slot-taken",
            Step::Arrived => "arrived",
            Step::Ran => "ran",
            Step::Uploaded => "uploaded",
            Step::Committed => "committed",
            Step::Recorded => "recorded",
            Step::Published => "published",
            Step::Settling => "settling",
            Step::Settled => "settled",
        }
    }

    /// The step of this name.
    pub fn named(name: &str) -> Option<Step> {
        Step::ALL.into_iter().find(|step| step.as_str() == name)
    }

    /// Tells that a delivery has come here; `about` is its message or its job.
    pub fn reached(self, about: &dyn fmt::Display) {
        tracing::debug!(target: TARGET, step = self.as_str(), %about);
        #[cfg(feature = "fault-injection")]
        super::failpoint::passed(self);
    }
}

/// When a step was reached.
pub type Reached = (Step, Instant);

/// A layer that notes steps, and where they can be read. [`Step::Arrived`] is the executor's own first line of a run.
pub fn recorder<S>() -> (impl Layer<S> + Send + Sync, mpsc::Receiver<Reached>)
where
    S: Subscriber + for<'a> LookupSpan<'a>,
{
    let (sender, reached) = mpsc::channel(MAX_UNREAD);
    let wanted = Targets::new().with_target(TARGET, LevelFilter::DEBUG).with_target(EXECUTOR, LevelFilter::DEBUG);
    (Recorder(sender).with_filter(wanted), reached)
}

struct Recorder(mpsc::Sender<Reached>);

impl<S: Subscriber> Layer<S> for Recorder {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let now = Instant::now();
        let mut found = Found { executor: event.metadata().target() == EXECUTOR, step: None };
        event.record(&mut found);
        if let Some(step) = found.step {
            // Nobody reads any more: nobody is missing it.
            self.0.try_send((step, now)).ok();
        }
    }
}

struct Found {
    executor: bool,
    step: Option<Step>,
}

impl Visit for Found {
    fn record_str(&mut self, field: &Field, value: &str) {
        if !self.executor && field.name() == "step" {
            self.step = Step::named(value);
        }
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        // The executor's word as it takes a request of this kind.
        if self.executor && field.name() == "message" && format!("{value:?}").starts_with("run ") {
            self.step = Some(Step::Arrived);
        }
    }
}

#[cfg(test)]
mod tests {
    use tracing_subscriber::layer::SubscriberExt;

    use super::*;

    #[test]
    fn steps_and_the_executors_word_are_noted_and_nothing_else() {
        let (layer, mut reached) = recorder();
        tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), || {
            Step::Received.reached(&"m-1");
            tracing::debug!(target: "darkroom::elsewhere", step = "claimed");
            tracing::debug!(target: EXECUTOR, pid = 7, "{}", "loading");
            tracing::debug!(target: EXECUTOR, pid = 7, "{}", "run matting for job x");
            Step::Settled.reached(&"m-1");
        });
        let steps: Vec<Step> = std::iter::from_fn(|| reached.try_recv().ok()).map(|(step, _)| step).collect();
        assert_eq!(steps, [Step::Received, Step::Arrived, Step::Settled]);
    }
}
