//! Buckets, through `aws-sdk-s3`: transfer, presigned URLs, conditional writes.
//!
//! Buckets and keys are strings here and everywhere else in the worker, never paths: any byte sequence that S3 allows
//! (leading `/`, `..`, `%`) names one object and nothing on a disk. All failures come out as [`darkroom_api::JobError`]
//! through one table in [`error`].

mod client;
mod config;
pub mod embedded;
pub mod error;
mod objects;
#[cfg(test)]
mod real_tests;
#[cfg(test)]
pub(crate) mod scripted;
#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;
mod transfer;
mod unfinished;
mod upload;
mod url;

pub use client::{Store, Stores};
pub use config::{Checksums, StoreConfig};
pub use objects::{Head, Listed, Put};
pub use transfer::Fetched;
pub use upload::Stored;
pub use url::{ObjectRef, Place};
pub(crate) use url::{check_bucket, check_key, parse_input, shorten};
