//! The process that runs handlers for the consumer, confined, one a device slot.
//!
//! `serve` confines itself ([`confine`]) before it reads a byte from anybody or starts a thread, says Hello, and then
//! answers requests ([`darkroom_api::protocol`]) one after the other until its standard input, a socket, ends. `describe`,
//! `doctor` and `bench` answer people and scripts on standard output instead.

use std::process::ExitCode;
use std::sync::Arc;

use clap::Parser;
use darkroom_inference::Runtime;

mod bench;
pub mod confine;
mod doctor;
pub mod handlers;
mod logs;
mod options;
mod serve;
mod uplink;
mod work;

use handlers::Table;
use options::{Cli, Command};

/// What the binary does, with these handlers.
pub fn main(table: fn(&Arc<Runtime>) -> Table) -> ExitCode {
    let done = match Cli::parse().command {
        Command::Serve(options) => serve::serve(&options, table),
        Command::Bench(options) => bench::bench(&options, table),
        Command::Describe(models) => doctor::describe(&models, table),
        Command::Doctor(models) => doctor::doctor(&models),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("darkroom-executor: {why}");
            ExitCode::FAILURE
        }
    }
}
