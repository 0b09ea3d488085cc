//! The binary; everything is in the library.

use std::process::ExitCode;

/// A request to a store is some hundred small allocations: a worker's CPU per job is a tenth less than with the C library's.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    darkroom::cli::main(std::env::args_os())
}
