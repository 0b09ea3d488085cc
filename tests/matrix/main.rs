//! The fault matrix: what Darkroom promises, with everything done to it that happens to workers, brokers and stores.
//!
//! Each case runs real `darkroom work` processes on one of the queues, with the embedded S3 server in a process of its
//! own, and does harm. In the end every submission must have exactly one visible result or one expected failure, and
//! nothing may be left anywhere: see `check.rs`. The table says what was done and what was found; the exit status is 1
//! where a requirement is broken.
//!
//! `cargo test -p darkroom-tests --test matrix -- --only amqp/kill` runs a part, `--list` names all, `--long` does more.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a case says what is wrong by panicking")]
#![allow(clippy::print_stdout, reason = "the table is for people")]

#[path = "../e2e/harness/mod.rs"]
mod harness;

mod args;
mod cases;
mod check;
mod ground;
mod http;
mod runner;
mod s3_proxy;
mod sink;
mod site;
mod table;
mod wire;

use std::process::ExitCode;

fn main() -> ExitCode {
    let args = match args::Args::parse(std::env::args().skip(1)) {
        Ok(args) => args,
        Err(error) => {
            eprintln!("error: {error}");
            return ExitCode::from(2);
        }
    };
    let cases: Vec<_> = cases::all(&args).into_iter().filter(|case| args.wants(&case.name())).collect();
    if args.list {
        cases.iter().for_each(|case| println!("{}: test", case.name()));
        return ExitCode::SUCCESS;
    }
    if cases.is_empty() {
        return ExitCode::SUCCESS;
    }
    runner::check_build();
    let rows = runner::run(cases, args.lanes);
    match table::tell(&rows) {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    }
}
