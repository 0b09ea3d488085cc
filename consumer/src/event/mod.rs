//! Events: what the world is told about jobs and workers, as CloudEvents 1.0.

mod kind;
mod webhook;

pub use kind::EventKind;
pub use webhook::{SigningKey, check_webhook_url};
