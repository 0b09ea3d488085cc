//! The journey's parts: times of each, and how they spread.

use std::time::Instant;

use serde::Serialize;

use crate::telemetry::{Reached, Step};

/// What the median from the PUT's answer to the executor should be at most.
const TARGET_MS: f64 = 20.0;

/// The parts in order: each from the step before it (the first from the PUT's answer) to the named one.
const LEGS: [(&str, Step); 8] = [
    ("PUT answered -> delivery received", Step::Received),
    ("parse, route", Step::Routed),
    ("identify, claim", Step::Claimed),
    ("check parameters", Step::Checked),
    ("fetch", Step::Fetched),
    ("probe, plan", Step::Planned),
    ("wait for a slot", Step::SlotTaken),
    ("Run sent -> executor has it", Step::Arrived),
];

/// Milliseconds of one upload.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(super) struct Times {
    /// The PUT itself, which comes before all that counts.
    put: f64,
    /// One for each of [`LEGS`]. The first is negative where the delivery was there before the client had its answer.
    legs: Vec<f64>,
    /// From the PUT's answer to the executor.
    total: f64,
}

impl Times {
    /// From when the PUT began and was answered, and the steps of its delivery. `None` where one is missing.
    pub(super) fn new(begun: Instant, answered: Instant, steps: &[Reached]) -> Option<Times> {
        let mut last = answered;
        let mut legs = Vec::with_capacity(LEGS.len());
        for (_, step) in LEGS {
            let at = steps.iter().find(|(reached, _)| *reached == step)?.1;
            legs.push(millis(last, at));
            last = at;
        }
        Some(Times { put: millis(begun, answered), legs, total: millis(answered, last) })
    }
}

/// From one to the other, below zero where they are the other way round.
fn millis(from: Instant, to: Instant) -> f64 {
    match to.checked_duration_since(from) {
        Some(time) => time.as_secs_f64() * 1e3,
        None => -(from - to).as_secs_f64() * 1e3,
    }
}

/// How one part spreads over all uploads, in milliseconds.
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
    uploads: usize,
    put: Spread,
    legs: Vec<Spread>,
    total: Spread,
    target_p50_ms: f64,
    met: bool,
}

impl Report {
    /// Over at least one upload.
    pub(super) fn new(all: Vec<Times>) -> Report {
        let legs = LEGS.iter().enumerate();
        let total = Spread::of("PUT answered -> executor has it", all.iter().map(|times| times.total).collect());
        Report {
            uploads: all.len(),
            put: Spread::of("(the PUT itself)", all.iter().map(|times| times.put).collect()),
            legs: legs
                .map(|(i, (name, _))| Spread::of(name, all.iter().map(|times| times.legs[i]).collect()))
                .collect(),
            met: total.p50_ms <= TARGET_MS,
            total,
            target_p50_ms: TARGET_MS,
        }
    }

    /// As a table for people.
    pub(super) fn lines(&self) -> Vec<String> {
        let verdict = if self.met { "met" } else { "MISSED" };
        let title = format!("1 KiB uploads, one after the other, embedded backends, warm executor: {}", self.uploads);
        let head = format!("{:<36}{:>9}{:>9}{:>9}", "milliseconds", "p50", "p95", "max");
        let parts = [&self.put].into_iter().chain(&self.legs).chain([&self.total]).map(Spread::line);
        let target = format!("\np50 from the PUT's answer to the executor at most {TARGET_MS:.0} ms: {verdict}");
        [title, String::new(), head].into_iter().chain(parts).chain([target]).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn upload(scale: u64) -> Option<Times> {
        let begun = Instant::now();
        let at = |ms: u64| begun + Duration::from_millis(ms * scale);
        // The delivery is there a millisecond before the client has its answer at 5.
        let steps: Vec<Reached> =
            LEGS.iter().zip([4, 5, 8, 9, 12, 15, 15, 16]).map(|((_, s), ms)| (*s, at(ms))).collect();
        Times::new(begun, at(5), &steps)
    }

    #[test]
    fn parts_add_up_to_the_whole() {
        let times = upload(1).unwrap();
        assert_eq!((times.put.round(), times.total.round(), times.legs[0].round()), (5.0, 11.0, -1.0));
        assert!((times.legs.iter().sum::<f64>() - times.total).abs() < 1e-6);
        let begun = Instant::now();
        assert_eq!(Times::new(begun, begun, &[(Step::Received, begun)]), None);
    }

    #[test]
    fn percentiles_are_measured_values_and_a_miss_is_said() {
        let spread = Spread::of("x", (1..=50).rev().map(f64::from).collect());
        assert_eq!((spread.p50_ms, spread.p95_ms, spread.max_ms), (25.0, 48.0, 50.0));
        let report = |scale| Report::new(vec![upload(scale).unwrap()]).lines().join("\n");
        assert!(report(1).contains(": met") && report(2).contains(": MISSED"), "{}", report(2));
        assert!(report(1).contains("probe, plan                              3.00     3.00     3.00"), "{}", report(1));
    }
}
