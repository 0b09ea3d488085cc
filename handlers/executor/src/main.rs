//! `darkroom-executor`: runs handlers for `darkroom`, confined. People start `darkroom`, which starts this.

fn main() -> std::process::ExitCode {
    darkroom_executor::main(darkroom_executor::handlers::all)
}
