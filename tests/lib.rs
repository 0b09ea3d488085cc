//! End-to-end tests live in `e2e/`; Python peers that `darkroom bench` is compared with in `bench/`.
