//! Log lines, metrics, and the one place where a job's changes become both and an event.
//!
//! Only this module names metrics. A failure is logged once, where it is handled.

#[cfg(feature = "fault-injection")]
pub mod failpoint;
mod log;
mod metrics;
mod step;
mod transition;

pub use log::{LogGuard, init};
pub use metrics::{AttemptOutcome, BusySlot, EventOutcome, JobOutcome, Metrics};
pub use step::{Reached, Step, recorder};
pub use transition::{Change, JobTelemetry, Telemetry};
