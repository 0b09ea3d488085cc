//! Any texts in the fields of a job message, so that what is behind the parser is reached: URLs, roles, rules, ids.
//!
//! The input's lines are handler, input, output, reference, `rerun`, and JSON for `params` and `inputs`.

#![no_main]

mod invariants;

use std::sync::LazyLock;

use darkroom::trigger::Routes;
use libfuzzer_sys::fuzz_target;
use serde_json::{Map, Value};

static ROUTES: LazyLock<Routes> = LazyLock::new(invariants::routes);

fuzz_target!(|text: &str| {
    let mut lines = text.split('\n');
    let mut message = Map::from_iter([("schema".to_owned(), Value::from("darkroom.job.v1"))]);
    for field in ["handler", "input", "output", "reference", "rerun"] {
        if let Some(line) = lines.next().filter(|line| !line.is_empty()) {
            message.insert(field.into(), line.into());
        }
    }
    for field in ["params", "inputs"] {
        if let Some(value) = lines.next().and_then(|line| serde_json::from_str(line).ok()) {
            message.insert(field.into(), value);
        }
    }
    invariants::check(&ROUTES, Value::Object(message).to_string().as_bytes());
});
