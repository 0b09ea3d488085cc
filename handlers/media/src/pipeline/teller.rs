//! What is told of a run's progress. Several stages know something of it; all of it is told from here, so that numbers
//! never go back.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use darkroom_api::{Progress, Reporter};

use crate::Closing;

/// The stage in which a file that may not be larger than something is encoded once more. Its frames are counted anew with
/// each try; its percentage takes half of what is left for each, since nobody knows how many it will be.
pub const FITTING: &str = "fitting";
/// Percent that is left for what an encoder holds back until the end.
const DRAINING: f64 = 1.0;

/// Tells.
pub(super) struct Teller<'a> {
    reporter: &'a dyn Reporter,
    stage: &'a str,
    total: Option<u64>,
    /// Frames that take longer have their parts told.
    every: Duration,
    state: Mutex<State>,
}

struct State {
    /// Frames that the encoder has taken.
    done: u64,
    /// Frames, with parts of one, that some stage is through with.
    reached: f64,
    /// What goes on once the encoder has taken all.
    closing: Closing,
    /// Frames that have left the encoder since, of this try.
    left: u64,
    ended: bool,
    percent: Option<f64>,
    pace: Pace,
    fps: Option<f32>,
    told: Instant,
}

impl<'a> Teller<'a> {
    pub(super) fn new(reporter: &'a dyn Reporter, stage: &'a str, total: Option<u64>, every: Duration) -> Teller<'a> {
        let state = State {
            done: 0,
            reached: 0.0,
            closing: Closing::Draining,
            left: 0,
            ended: false,
            percent: None,
            pace: Pace::new(),
            fps: None,
            told: Instant::now(),
        };
        Teller { reporter, stage, total, every, state: Mutex::new(state) }
    }

    /// The encoder has taken so many frames.
    pub(super) fn taken(&self, done: u64) {
        self.with(|state| {
            state.done = done;
            state.fps = state.pace.step(done);
            self.tell(state);
        });
    }

    /// So many frames, with parts of one, are through with what comes before the encoder.
    fn reached(&self, frames: f64) {
        self.with(|state| {
            state.reached = state.reached.max(frames);
            if state.told.elapsed() >= self.every {
                self.tell(state);
            }
        });
    }

    /// So many frames have left the encoder while it is drained, or in a further try.
    pub(super) fn closing(&self, closing: Closing, frames: u64) {
        self.with(|state| {
            (state.closing, state.left) = (closing, frames);
            state.fps = None;
            self.tell(state);
        });
    }

    /// All is written.
    pub(super) fn end(&self, frames: u64) {
        self.with(|state| {
            (state.done, state.left, state.ended) = (frames, frames, true);
            self.tell(state);
        });
    }

    fn with(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner));
    }

    fn tell(&self, state: &mut State) {
        state.told = Instant::now();
        let (stage, done) = match state.closing {
            Closing::Fitting(_) => (FITTING, state.left),
            Closing::Draining => (self.stage, state.done),
        };
        state.percent = self.percent(state);
        // An estimate that turned out too small is no total.
        let total = self.total.filter(|total| *total >= done);
        #[allow(clippy::cast_possible_truncation, reason = "a percentage for people")]
        let percent = state.percent.map(|percent| percent as f32);
        self.reporter.progress(Progress { stage: stage.to_owned(), percent, done, total, fps: state.fps });
    }

    #[allow(clippy::cast_precision_loss, reason = "a percentage for people")]
    fn percent(&self, state: &State) -> Option<f64> {
        let (done, left) = (state.done as f64, state.left as f64);
        let part = |frames: f64, total: u64| (frames / total as f64).min(1.0);
        match (self.total.filter(|total| *total > 0), state.closing) {
            (Some(_), Closing::Fitting(_)) if state.ended => Some(100.0),
            (Some(total), Closing::Fitting(number)) => {
                let ahead = 0.5_f64.powf(f64::from(number.max(1) - 1));
                Some(100.0 * (1.0 - ahead * (1.0 - part(left, total) / 2.0)))
            }
            (Some(total), Closing::Draining) => {
                let reached = part(done.max(state.reached), total);
                let percent = (100.0 - DRAINING) * reached + DRAINING * part(left, total);
                Some(percent.max(state.percent.unwrap_or(0.0)))
            }
            // Of an unknown length there is no percentage. Where single frames take long, a part of the first percent shows
            // that there is life.
            (None, _) if state.reached > done => {
                Some((1.0 - 1.0 / (1.0 + state.reached)).max(state.percent.unwrap_or(0.0)))
            }
            (None, _) => state.percent,
        }
    }
}

/// Tells how far the frames at hand are.
#[derive(Clone, Copy)]
pub struct Ahead<'a> {
    pub(super) teller: &'a Teller<'a>,
    /// Frames before those at hand.
    pub(super) begun: u64,
    /// Frames at hand.
    pub(super) count: usize,
}

impl Ahead<'_> {
    /// A part of the work on the frames at hand is done, 0 to 1. Cheap; told only where frames take long.
    pub fn at(&self, part: f32) {
        #[allow(clippy::cast_precision_loss, reason = "a fraction for people")]
        let (begun, count) = (self.begun as f64, self.count as f64);
        self.teller.reached(begun + count * f64::from(part.clamp(0.0, 1.0)));
    }
}

/// Frames per second over the last seconds.
struct Pace(VecDeque<(Instant, u64)>);

impl Pace {
    const WINDOW: Duration = Duration::from_secs(3);
    /// Marks are this far apart, so that the window holds a few dozen.
    const GAP: Duration = Duration::from_millis(100);

    fn new() -> Pace {
        Pace(VecDeque::from([(Instant::now(), 0)]))
    }

    fn step(&mut self, done: u64) -> Option<f32> {
        let now = Instant::now();
        if self.0.back().is_none_or(|(at, _)| now.duration_since(*at) >= Pace::GAP) {
            self.0.push_back((now, done));
        }
        while self.0.len() > 2 && self.0.front().is_some_and(|(at, _)| now.duration_since(*at) > Pace::WINDOW) {
            self.0.pop_front();
        }
        let (since, before) = *self.0.front()?;
        let secs = now.duration_since(since).as_secs_f32();
        #[allow(clippy::cast_precision_loss, reason = "a rate for people")]
        (secs >= 0.1).then(|| (done - before) as f32 / secs)
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use darkroom_api::{LogLevel, Result};

    use super::*;

    #[derive(Default)]
    struct Heard(Mutex<Vec<(String, Option<f32>, u64)>>);

    impl Reporter for Heard {
        fn progress(&self, progress: Progress) {
            self.0.lock().unwrap().push((progress.stage, progress.percent, progress.done));
        }
        fn log(&self, _: LogLevel, _: &str) {}
        fn checkpoint(&self, _: &Path) -> Result<()> {
            Ok(())
        }
    }

    #[test]
    fn no_number_goes_back_until_all_is_encoded_again() {
        let heard = Heard::default();
        let teller = Teller::new(&heard, "making", Some(4), Duration::ZERO);
        let ahead = |begun, part| Ahead { teller: &teller, begun, count: 2 }.at(part);
        ahead(0, 0.5);
        ahead(0, 1.0);
        ahead(2, 0.5);
        // The encoder is behind.
        teller.taken(1);
        ahead(2, 0.25);
        ahead(2, 1.0);
        (2..=4).for_each(|done| teller.taken(done));
        (1..=4).for_each(|left| teller.closing(Closing::Draining, left));
        (0..=4).for_each(|left| teller.closing(Closing::Fitting(1), left));
        teller.end(4);
        let heard = heard.0.into_inner().unwrap();
        let making = heard.iter().take_while(|(stage, ..)| stage == "making").count();
        let (making, fitting) = heard.split_at(making);
        assert_eq!((making.len(), fitting.len()), (13, 6), "{heard:?}");
        for part in [making, fitting] {
            assert!(part.is_sorted_by(|a, b| a.1 <= b.1 && a.2 <= b.2), "{part:?}");
            assert_eq!(part.last().map(|(_, percent, done)| (*percent, *done)), Some((Some(100.0), 4)));
        }
        assert_eq!((making[2].1, making[2].2), (Some(99.0 * 0.75), 0), "what is made is not yet written");
    }

    #[test]
    fn of_an_unknown_length_life_is_seen_and_no_percentage_is_made_up() {
        let heard = Heard::default();
        let teller = Teller::new(&heard, "making", None, Duration::ZERO);
        teller.taken(1);
        for part in [0.1, 0.5, 0.9] {
            Ahead { teller: &teller, begun: 1, count: 1 }.at(part);
        }
        let percents: Vec<_> = heard.0.into_inner().unwrap().into_iter().map(|(_, percent, _)| percent).collect();
        assert!(percents[0].is_none() && percents.is_sorted_by(|a, b| a < b), "{percents:?}");
        assert!(percents[3] < Some(1.0), "{percents:?}");
    }
}
