//! Any bytes as a message's body.

#![no_main]

mod invariants;

use std::sync::LazyLock;

use darkroom::trigger::Routes;
use libfuzzer_sys::fuzz_target;

static ROUTES: LazyLock<Routes> = LazyLock::new(invariants::routes);

fuzz_target!(|body: &[u8]| invariants::check(&ROUTES, body));
