//! The journey's parts: times of each, and how they spread.

use std::time::Instant;

use serde::Serialize;

use crate::telemetry::{Reached, Step};

/// What the median from the beginning to the executor should be at most, on the embedded backends.
const TARGET_MS: f64 = 15.0;
/// What it should be at most beside the broker alone.
const TARGET_RATIO: f64 = 1.5;

/// What a job begins with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Begin {
    /// The PUT of an object.
    Upload,
    /// A job message.
    Message,
}

/// The parts in order: each from the step before it (the first from the answer to the beginning) to the named one.
const LEGS: [(&str, Step); 8] = [
    ("answered -> delivery received", Step::Received),
    ("parse, route", Step::Routed),
    ("identify, claim", Step::Claimed),
    ("check parameters", Step::Checked),
    ("fetch", Step::Fetched),
    ("probe, plan", Step::Planned),
    ("wait for a slot", Step::SlotTaken),
    ("Run sent -> executor has it", Step::Arrived),
];

/// Milliseconds of one job.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(super) struct Times {
    /// Its beginning: the PUT, or the message until the queue has it for good.
    begin: f64,
    /// One for each of [`LEGS`]. The first is negative where the delivery was there before the client had its answer.
    legs: Vec<f64>,
    /// All of that: from before the beginning to the executor.
    total: f64,
    /// From there to the decision about the delivery: the run, the commit, the event.
    rest: f64,
    /// Settling it.
    settlement: f64,
}

impl Times {
    /// From when it began and was answered, and the steps of its delivery. `None` where one is missing.
    pub(super) fn new(begun: Instant, answered: Instant, steps: &[Reached]) -> Option<Times> {
        let at = |step| steps.iter().find(|(reached, _)| *reached == step).map(|(_, at)| *at);
        let mut last = answered;
        let mut legs = Vec::with_capacity(LEGS.len());
        for (_, step) in LEGS {
            let at = at(step)?;
            legs.push(millis(last, at));
            last = at;
        }
        let (settling, settled) = (at(Step::Settling)?, at(Step::Settled)?);
        Some(Times {
            begin: millis(begun, answered),
            legs,
            total: millis(begun, last),
            rest: millis(last, settling),
            settlement: millis(settling, settled),
        })
    }

    /// What of it is the queue's: until the delivery is in hand, and its settlement.
    fn queue(&self) -> f64 {
        self.begin + self.legs[0] + self.settlement
    }
}

/// From one to the other, below zero where they are the other way round.
fn millis(from: Instant, to: Instant) -> f64 {
    match to.checked_duration_since(from) {
        Some(time) => time.as_secs_f64() * 1e3,
        None => -(from - to).as_secs_f64() * 1e3,
    }
}

/// How one part spreads over all jobs, in milliseconds.
#[derive(Debug, PartialEq, Serialize)]
struct Spread {
    name: &'static str,
    p50_ms: f64,
    p95_ms: f64,
    max_ms: f64,
}

impl Spread {
    /// By nearest rank: a value that was measured.
    fn of(name: &'static str, mut values: Vec<f64>) -> Spread {
        values.sort_by(f64::total_cmp);
        let rank = |percent: usize| {
            let nearest = (values.len() * percent).div_ceil(100).max(1) - 1;
            values.get(nearest).copied().unwrap_or(f64::NAN)
        };
        Spread { name, p50_ms: rank(50), p95_ms: rank(95), max_ms: rank(100) }
    }

    fn line(&self) -> String {
        format!("{:<36}{:>9.2}{:>9.2}{:>9.2}", self.name, self.p50_ms, self.p95_ms, self.max_ms)
    }
}

/// All that was found.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    jobs: usize,
    begin: Begin,
    /// The beginning, and each of [`LEGS`].
    parts: Vec<Spread>,
    total: Spread,
    /// What follows.
    rest: [Spread; 2],
    /// What of all that is the queue's.
    queue: Spread,
    /// The broker alone, where it was measured: the target is about the queue's part then.
    bare: Option<Spread>,
    /// The queue's part beside the broker alone, by their p50.
    ratio: Option<f64>,
    target: f64,
    met: bool,
}

impl Report {
    /// Over at least one job; `bare` are the milliseconds of the broker alone, where it was measured.
    pub(super) fn new(begin: Begin, all: &[Times], bare: Vec<f64>) -> Report {
        let first = match begin {
            Begin::Upload => "the PUT, until it is answered",
            Begin::Message => "the message, until it is confirmed",
        };
        let spread = |name, of: &dyn Fn(&Times) -> f64| Spread::of(name, all.iter().map(of).collect());
        let legs = LEGS.iter().enumerate().map(|(i, (name, _))| spread(name, &|times| times.legs[i]));
        let total = spread("in all, to the executor", &|times| times.total);
        let rest = [spread("run, commit, event", &|times| times.rest), spread("settlement", &|times| times.settlement)];
        let queue = spread("the queue's part", &Times::queue);
        let parts = std::iter::once(spread(first, &|times| times.begin)).chain(legs).collect();
        let bare = (!bare.is_empty()).then(|| Spread::of("a bare lapin consumer", bare));
        let ratio = bare.as_ref().map(|bare| queue.p50_ms / bare.p50_ms);
        let target = if ratio.is_some() { TARGET_RATIO } else { TARGET_MS };
        Report {
            jobs: all.len(),
            begin,
            parts,
            met: ratio.unwrap_or(total.p50_ms) <= target,
            total,
            rest,
            queue,
            bare,
            ratio,
            target,
        }
    }

    /// As a table for people.
    pub(super) fn lines(&self) -> Vec<String> {
        let verdict = if self.met { "met" } else { "MISSED" };
        let what = match self.begin {
            Begin::Upload => "uploads of 1 KiB",
            Begin::Message => "messages about 1 KiB",
        };
        let title = format!("{} {what}, one after the other, warm executor", self.jobs);
        let head = format!("{:<36}{:>9}{:>9}{:>9}", "milliseconds", "p50", "p95", "max");
        let parts = self.parts.iter().chain([&self.total]).chain(&self.rest).chain([&self.queue]).chain(&self.bare);
        let target = match self.ratio {
            Some(ratio) => {
                format!("\np50, the queue's part / bare: {ratio:.2}, aim at most {TARGET_RATIO}: {verdict}")
            }
            None => format!("\np50 to the executor, aim at most {TARGET_MS:.0} ms: {verdict}"),
        };
        [title, String::new(), head].into_iter().chain(parts.map(Spread::line)).chain([target]).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn job(scale: u64) -> Option<Times> {
        let begun = Instant::now();
        let at = |ms: u64| begun + Duration::from_millis(ms * scale);
        // The delivery is there a millisecond before the client has its answer at 5.
        let mut steps: Vec<Reached> =
            LEGS.iter().zip([4, 5, 8, 9, 12, 12, 12, 13]).map(|((_, s), ms)| (*s, at(ms))).collect();
        steps.extend([(Step::Settling, at(19)), (Step::Settled, at(20))]);
        Times::new(begun, at(5), &steps)
    }

    #[test]
    fn parts_add_up_to_the_whole() {
        let times = job(1).unwrap();
        let rounded = [times.begin, times.legs[0], times.total, times.rest, times.queue()].map(f64::round);
        assert_eq!(rounded, [5.0, -1.0, 13.0, 6.0, 5.0]);
        assert!((times.begin + times.legs.iter().sum::<f64>() - times.total).abs() < 1e-6);
        let begun = Instant::now();
        assert_eq!(Times::new(begun, begun, &[(Step::Received, begun)]), None);
    }

    #[test]
    fn percentiles_are_measured_values_and_a_miss_is_said() {
        let spread = Spread::of("x", (1..=50).rev().map(f64::from).collect());
        assert_eq!((spread.p50_ms, spread.p95_ms, spread.max_ms), (25.0, 48.0, 50.0));
        let report = |scale, bare| Report::new(Begin::Message, &[job(scale).unwrap()], bare).lines().join("\n");
        assert!(report(1, vec![]).contains(": met") && report(2, vec![]).contains(": MISSED"), "{}", report(2, vec![]));
        assert!(report(2, vec![8.0]).contains("1.25, aim at most 1.5: met"), "{}", report(2, vec![8.0]));
        assert!(report(1, vec![2.0]).contains("2.50, aim at most 1.5: MISSED"), "{}", report(1, vec![2.0]));
        let lines = report(1, vec![]);
        assert!(lines.contains("fetch                                    3.00     3.00     3.00"), "{lines}");
    }
}
