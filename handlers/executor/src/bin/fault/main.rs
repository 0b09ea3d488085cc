//! `darkroom-executor` with one more handler, which does what a handler fed with hostile media might. For tests only.

mod fault;

use std::process::ExitCode;

fn main() -> ExitCode {
    darkroom_executor::main(|runtime| {
        let mut table = darkroom_executor::handlers::all(runtime);
        table.push(darkroom_api::erase(fault::Fault::default()));
        table
    })
}
