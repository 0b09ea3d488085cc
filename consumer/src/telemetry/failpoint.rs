//! Kills this process at a chosen point of a journey. In builds with the feature `fault-injection` only: for tests of
//! what a crash leaves behind.
//!
//! `DARKROOM_FAILPOINT=committed=kill@3`: the process ends by SIGKILL, sent by itself, when a delivery comes to
//! [`Step::Committed`] for the third time since it started. Nothing runs after that point: no destructor, no other task's
//! next step.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::process::{Signal, getpid, kill_process};

use super::Step;

/// Variable of the environment that names the point.
const VARIABLE: &str = "DARKROOM_FAILPOINT";

static ARMED: OnceLock<Failpoint> = OnceLock::new();

/// Where to die.
#[derive(Debug)]
struct Failpoint {
    step: Step,
    /// The passing that is the last one, from 1.
    nth: u64,
    passed: AtomicU64,
}

impl Failpoint {
    fn parse(text: &str) -> Option<Failpoint> {
        let (step, nth) = text.split_once("=kill@")?;
        let (step, nth) = (Step::named(step)?, nth.parse().ok().filter(|nth| *nth > 0)?);
        Some(Failpoint { step, nth, passed: AtomicU64::new(0) })
    }

    /// Whether this passing is the one.
    fn is_due(&self, step: Step) -> bool {
        step == self.step && self.passed.fetch_add(1, Ordering::Relaxed) + 1 == self.nth
    }
}

/// Arms the point that the environment names, if it names one.
///
/// # Errors
/// A sentence, for what is no point: a test would wait for it in vain.
pub fn arm() -> Result<(), String> {
    let Some(text) = std::env::var_os(VARIABLE) else { return Ok(()) };
    let wrong = || format!("{VARIABLE} reads STEP=kill@N, with a step of a journey; it is {}", text.display());
    let point = text.to_str().and_then(Failpoint::parse).ok_or_else(wrong)?;
    ARMED.set(point).map_err(|point| format!("{VARIABLE} is armed already, with {point:?}"))
}

/// A delivery has come to this step.
pub(super) fn passed(step: Step) {
    if ARMED.get().is_some_and(|point| point.is_due(step)) {
        // A kernel that would not let us end ourselves: this thread at least goes no further.
        let _never_answers = kill_process(getpid(), Signal::KILL);
        loop {
            std::thread::park();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nth_passing_of_the_named_step_is_due_and_no_other() {
        let point = Failpoint::parse("slot-taken=kill@2").unwrap();
        let due = [Step::SlotTaken, Step::Fetched, Step::SlotTaken, Step::SlotTaken].map(|step| point.is_due(step));
        assert_eq!(due, [false, false, true, false]);
        for wrong in ["", "slot-taken", "slot-taken=kill@0", "slot-taken=kill@x", "elsewhere=kill@1"] {
            assert!(Failpoint::parse(wrong).is_none(), "{wrong}");
        }
    }
}
