//! The worker: takes deliveries from a queue, runs the matching handler in an executor, commits outputs, publishes events.

mod address;
mod aws;
pub mod cli;
pub mod config;
pub mod db;
pub mod event;
pub mod gateway;
mod http;
pub mod job;
pub mod queue;
pub mod store;
pub mod telemetry;
pub mod trigger;
pub mod worker;
