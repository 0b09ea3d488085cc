//! End-to-end tests: the real binaries, the embedded queue and S3 server or an emulator of AWS, real media.
//!
//! They need `cargo build -p darkroom -p darkroom-executor --features fault-injection` and what
//! `infra/setup` installs.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test says what is wrong by panicking")]

mod harness;

mod again;
mod amqp;
mod architecture;
mod bad_media;
mod bad_messages;
mod cli;
mod cli_jobs;
mod compare;
mod disk;
mod faults;
mod happy;
mod keys;
mod notifications;
mod once;
mod order;
mod pose;
mod sources;
mod spot;
mod sqs;
mod stores;
mod vsr;
mod webhook;
