//! A job: the message that asks for it, its identity, its record in a bucket, its manifest.

mod claim;
pub mod collect;
mod entries;
pub mod executor;
pub mod history;
pub mod id;
pub mod link;
pub mod local;
pub mod manifest;
pub mod message;
pub mod reconcile;
pub mod record;
#[cfg(test)]
mod record_tests;
pub mod redrive;
pub mod room;
pub mod runner;
#[cfg(test)]
mod testing;

pub use history::History;
pub use id::{JobId, RunId};
pub use manifest::Manifest;
pub use message::JobMessage;
pub use record::{Claim, Record};
