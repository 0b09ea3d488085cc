//! End-to-end tests: the real binaries, the embedded queue and S3 server, real media.

#![allow(clippy::print_stdout, reason = "measurements are printed, never asserted on time")]

mod architecture;
