//! Messages that nobody sane would send: whatever the bytes, no panic, bounded memory, and nothing that an invariant of
//! `fuzz/invariants.rs` forbids. `consumer/fuzz` does the same for as long as one likes.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test says what is wrong by panicking")]

#[path = "../fuzz/invariants.rs"]
mod invariants;
#[path = "hostile/meter.rs"]
mod meter;
#[path = "hostile/mutant.rs"]
mod mutant;

use std::sync::LazyLock;

use darkroom::trigger::{Routes, parse};
use proptest::prelude::*;

use mutant::{Change, Document, change, document, wrapped};

static ROUTES: LazyLock<Routes> = LazyLock::new(invariants::routes);

/// Most memory in use at once while a message is read, for each byte of it. A map in a map takes five bytes, and the
/// tree's node for it, which has room for eleven entries, some six hundred.
const MAX_BYTES_PER_BYTE: usize = 160;
/// And for any message.
const MAX_BYTES: usize = 64 << 10;

fn read(body: &[u8]) -> Result<(), TestCaseError> {
    let (_read, peak) = meter::peak(|| parse(body).is_ok());
    prop_assert!(peak <= body.len() * MAX_BYTES_PER_BYTE + MAX_BYTES, "{peak} bytes for {}", body.len());
    invariants::check(&ROUTES, body);
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 3000, max_shrink_iters: 2000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_bytes(bytes in proptest::collection::vec(any::<u8>(), 0..2000)) {
        read(&bytes)?;
    }

    #[test]
    fn what_senders_write_and_what_could_become_of_it(
        document in document(),
        changes in proptest::collection::vec(change(), 0..8),
        wrappers in proptest::collection::vec(any::<bool>(), 0..4),
        cut in proptest::option::weighted(0.1, any::<prop::sample::Index>()),
    ) {
        let mut document: Document = document;
        changes.into_iter().for_each(|change: Change| document.apply(change));
        let mut body = wrapped(document.text(), &wrappers).into_bytes();
        if let Some(cut) = cut.filter(|_| !body.is_empty()) {
            body.truncate(cut.index(body.len()));
        }
        read(&body)?;
    }
}

#[test]
fn the_costliest_messages_of_full_length_are_bounded() {
    let full = 250 << 10;
    let filled = |before: &str, part: &str, after: &str| {
        let count = (full - before.len() - after.len()) / (part.len() + 1);
        format!("{before}{}{after}", vec![part; count].join(","))
    };
    let job =
        r#"{"schema":"darkroom.job.v1","handler":"matting","output":"s3://results/m/","input":"s3://uploads/in/a","#;
    let deep = format!("{}{}", r#"{"":"#.repeat(40), "0".to_owned() + &"}".repeat(40));
    for (before, part, after) in [
        ("[", "0", "]"),
        ("[", "[]", "]"),
        (r#"{"Records":["#, "{}", "]}"),
        (r#"{"Records":["#, r#"{"":0}"#, "]}"),
        (r#"{"Records":["#, &deep, "]}"),
        (&format!(r#"{job}"params":{{"x":["#), r#"{"":0}"#, "]}}"),
        (&format!(r#"{job}"params":{{"x":["#), &deep, "]}}"),
        (r#"{"schema":"darkroom.job.v1","inputs":{"video":["#, r#"{"":0}"#, "]}}"),
        (r#"{"schema":"darkroom.job.v1","inputs":{"video":["#, r#""""#, "]}}"),
        (r#"{"schema":["#, &deep, "]}"),
    ] {
        let body = filled(before, part, after);
        let (_read, peak) = meter::peak(|| drop(parse(body.as_bytes())));
        let ratio = peak.saturating_sub(MAX_BYTES) as f64 / body.len() as f64;
        println!("{ratio:.1} bytes a byte: {before}{part:.20},...");
        assert!(peak <= body.len() * MAX_BYTES_PER_BYTE + MAX_BYTES, "{ratio} a byte for {before}{part}");
        invariants::check(&ROUTES, body.as_bytes());
    }
}
