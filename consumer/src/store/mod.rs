//! Buckets, through `aws-sdk-s3`: transfer, presigned URLs, conditional writes; and inputs by https.
//!
//! Buckets and keys are strings here and everywhere else in the worker, never paths: any byte sequence that S3 allows
//! (leading `/`, `..`, `%`) names one object and nothing on a disk. All failures come out as [`darkroom_api::JobError`]
//! through one table in [`error`].

mod client;
mod config;
pub mod embedded;
mod endpoints;
pub mod error;
mod hosts;
mod https;
#[cfg(test)]
mod https_tests;
mod objects;
mod presign;
mod ranges;
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
#[cfg(test)]
mod wire_tests;

pub use client::{Store, Stores};
pub use config::{Checksums, Encryption, Payer, StoreConfig};
pub use hosts::HttpsConfig;
pub use https::Web;
pub use objects::{Head, Listed, Put};
pub(crate) use presign::MAX_PRESIGN;
pub use presign::Presigned;
pub use transfer::Fetched;
pub use unfinished::{Marker, Unfinished};
pub use upload::Stored;
pub use url::{ObjectRef, Place};
pub(crate) use url::{check_bucket, check_key, is_web_scheme, parse_input, shorten, shown};
