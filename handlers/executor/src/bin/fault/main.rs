//! `darkroom-executor` with two more handlers, for tests only: one does what a handler fed with hostile media might, one nothing
//! but copy.

mod copy;
mod fault;

use std::process::ExitCode;

fn main() -> ExitCode {
    darkroom_executor::main(|runtime| {
        let mut table = darkroom_executor::handlers::all(runtime);
        table.push(darkroom_api::erase(fault::Fault::default()));
        table.push(darkroom_api::erase(copy::Copy));
        table
    })
}
