//! Events: what the world is told about jobs and workers, as CloudEvents 1.0 in structured JSON.
//!
//! | type | id | sent |
//! |---|---|---|
//! | `dev.darkroom.job.accepted.v1` | `<job id>.<attempt>.accepted` | when an attempt is claimed |
//! | `dev.darkroom.job.progress.v1` | `<job id>.<attempt>.progress.<n>` | at least 5 s apart, best effort |
//! | `dev.darkroom.job.completed.v1` | `<job id>.completed` | when the manifest is there |
//! | `dev.darkroom.job.failed.v1` | `<job id>.<attempt>.failed` | when no other attempt follows |
//! | `dev.darkroom.job.cancelled.v1` | `<job id>.<attempt>.cancelled` | when a user's wish was carried out |
//! | `dev.darkroom.worker.heartbeat.v1` | `<worker>.<milliseconds>` | every `heartbeat_secs` |
//!
//! Receivers get terminal events at least once and recognise a repeat by its id; a failure after a redrive belongs to
//! another attempt and is a new event. A message that names no job fails as `<submission id>.failed`. [`Event`]s are
//! made where a job changes (`telemetry::transition`) and go to [`EventSink`]s through the [`Publisher`].

mod amqp;
mod aws;
mod cloudevent;
mod data;
mod kind;
mod publisher;
mod sink;
#[cfg(test)]
pub(crate) mod tests;
mod webhook;

pub use amqp::AmqpSink;
pub use aws::{EventBridgeSink, SnsSink, SqsSink};
pub use cloudevent::Event;
pub use data::{Completion, HeartbeatData, JobFacts, MAX_LISTED_OUTPUTS, Rejected};
pub use kind::EventKind;
pub use publisher::Publisher;
pub use sink::{EventSink, LogSink, Message, Outlet, QueueSink, SinkError};
pub use webhook::{SigningKey, Webhook, check_webhook_url};
