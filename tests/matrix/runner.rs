//! Runs cases, some at a time, and turns what a case says by panicking into a row.

use std::cell::RefCell;
use std::panic::{AssertUnwindSafe, catch_unwind, set_hook};
use std::process::Command;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use crate::cases::{Case, Plan};
use crate::check::Outcome;
use crate::ground::{Ground, World};
use crate::harness::binary;
use crate::table::{Row, Verdict, progress};

thread_local! {
    /// What the last panic of this thread said.
    static SAID: RefCell<String> = const { RefCell::new(String::new()) };
}

/// Workers that know no failpoints would live for ever where they should die.
///
/// # Panics
/// When `darkroom` was built without `fault-injection`.
pub(crate) fn check_build() {
    let refused = Command::new(binary("darkroom")).args(["models", "list"]).env("DARKROOM_FAILPOINT", "none").output();
    let said = String::from_utf8_lossy(&refused.unwrap().stderr).into_owned();
    let build = "cargo build -p darkroom -p darkroom-executor --features fault-injection";
    assert!(said.contains("DARKROOM_FAILPOINT reads"), "darkroom has no failpoints: run `{build}` ({said})");
}

/// All cases, in rows in the order given.
pub(crate) fn run(cases: Vec<Case>, lanes: usize) -> Vec<Row> {
    set_hook(Box::new(|info| {
        let said = info.payload_as_str().unwrap_or("a panic that says nothing");
        let place = info.location().map(ToString::to_string).unwrap_or_default();
        SAID.with_borrow_mut(|text| *text = format!("{place}: {said}"));
    }));
    let (world, next) = (World::new(), AtomicUsize::new(0));
    let rows: Mutex<Vec<(usize, Row)>> = Mutex::default();
    std::thread::scope(|scope| {
        for _ in 0..lanes.min(cases.len()) {
            scope.spawn(|| {
                while let Some((index, case)) = cases.iter().enumerate().nth(next.fetch_add(1, Ordering::Relaxed)) {
                    let row = one(&world, case);
                    progress(&row);
                    rows.lock().unwrap().push((index, row));
                }
            });
        }
    });
    let mut rows = rows.into_inner().unwrap();
    rows.sort_by_key(|(index, _)| *index);
    rows.into_iter().map(|(_, row)| row).collect()
}

fn one(world: &World, case: &Case) -> Row {
    let begun = Instant::now();
    let row =
        |outcome: Outcome, verdict| Row { name: case.name(), outcome, secs: begun.elapsed().as_secs_f64(), verdict };
    let run = match &case.plan {
        Plan::NotHere(why) => return row(Outcome::default(), Verdict::NotHere(why)),
        Plan::Run(run) => run,
    };
    let name = case.name().replace('/', "-");
    let ground = Ground { world, backend: case.backend, name, limit: case.limit, seed: case.seed };
    match catch_unwind(AssertUnwindSafe(|| run(&ground))) {
        Ok(Ok(outcome)) if outcome.wrong.is_empty() => row(outcome, Verdict::Holds),
        Ok(Ok(outcome)) => {
            let wrong = outcome.wrong.clone();
            row(outcome, Verdict::Broken(wrong))
        }
        Ok(Err(why)) => row(Outcome::default(), Verdict::NotTried(why)),
        Err(_) => row(Outcome::default(), Verdict::Broken(vec![SAID.take()])),
    }
}
