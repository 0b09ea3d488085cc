//! End-to-end tests live in `e2e/`; Python peers that `darkroom bench` is compared with in `bench/`. The library is what
//! tests of other crates share.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test says what is wrong by panicking")]

pub mod rabbitmq;
