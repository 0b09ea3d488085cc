//! Which constant quality makes a file of so many bytes: tried, and nearer with each try.

use std::f64::consts::LN_2;

/// An encoder's scale of constant quality (CRF); less is better and larger.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Scale {
    /// What the qualities 100 and 0 stand for.
    pub quality: (i32, i32),
    /// The finest and the coarsest that there is.
    pub range: (f64, f64),
    /// How finely it can be set.
    pub step: f64,
    /// By how much more a file of ordinary footage becomes half as large: a first guess.
    pub halving: f64,
}

/// The part of the budget that is aimed at.
const AIM: f64 = 0.96;

/// Bytes by quality, as far as they are known: close to a straight line between quality and the logarithm of bytes.
pub(crate) struct Search {
    scale: Scale,
    start: f64,
    /// Logarithm of the bytes aimed at.
    aim: f64,
    /// The coarsest that was too large and the finest that was not: quality, logarithm of bytes.
    over: Option<(f64, f64)>,
    under: Option<(f64, f64)>,
    /// Whether the last try was on the same side as the one before: then the line is none, and halves do better.
    same_side: bool,
    last_fitted: Option<bool>,
}

impl Search {
    /// `asked` made `bytes`, of a source that is no longer at hand; `None` where a bit rate did. The aim is just below `budget`.
    pub(crate) fn new(scale: Scale, asked: Option<f64>, bytes: u64, budget: u64) -> Search {
        let aim = log(budget) + AIM.ln();
        let (best, worst) = scale.quality;
        let start =
            asked.map_or(f64::from(best + worst) / 2.0, |asked| asked + (log(bytes) - aim) / LN_2 * scale.halving);
        Search { scale, start, aim, over: None, under: None, same_side: false, last_fitted: None }
    }

    /// What to try next; `None` where nothing is left between what is too large and what is not. The `last` try is the
    /// coarsest where nothing has fitted yet.
    pub(crate) fn next(&self, last: bool) -> Option<f64> {
        let Scale { range, step, halving, .. } = self.scale;
        let finest = self.over.map_or(range.0, |(crf, _)| crf + step);
        let coarsest = self.under.map_or(range.1, |(crf, _)| crf - step);
        if finest > coarsest {
            return None;
        }
        if last && self.under.is_none() {
            return Some(range.1);
        }
        let guess = match (self.over, self.under) {
            (Some((fine, _)), Some((coarse, _))) if self.same_side => (fine + coarse) / 2.0,
            (Some((fine, large)), Some((coarse, small))) => {
                let part = (large - self.aim) / (large - small).max(1e-6);
                fine + (coarse - fine) * part.clamp(0.1, 0.9)
            }
            (Some((crf, bytes)), None) | (None, Some((crf, bytes))) => crf + (bytes - self.aim) / LN_2 * halving,
            (None, None) => self.start,
        };
        Some(((guess / step).round() * step).clamp(finest, coarsest))
    }

    /// Whether this is the end of the scale.
    pub(crate) fn is_coarsest(&self, crf: f64) -> bool {
        crf >= self.scale.range.1
    }

    /// What became of a try.
    pub(crate) fn record(&mut self, crf: f64, bytes: u64, fits: bool) {
        let place = if fits { &mut self.under } else { &mut self.over };
        *place = Some((crf, log(bytes)));
        self.same_side = self.last_fitted.replace(fits) == Some(fits);
    }
}

#[allow(clippy::cast_precision_loss, reason = "bytes of a file fit a float")]
fn log(bytes: u64) -> f64 {
    (bytes.max(1) as f64).ln()
}

#[cfg(test)]
mod tests {
    use super::*;

    const SCALE: Scale = Scale { quality: (14, 38), range: (0.0, 51.0), step: 0.25, halving: 6.0 };

    /// Tries until it has 90 % of the budget; how often, and what fitted best.
    fn tries(asked: Option<f64>, budget: u64, bytes: impl Fn(f64) -> f64) -> (u32, Option<f64>) {
        let mut search = Search::new(SCALE, asked, bytes(asked.unwrap_or(20.0)) as u64, budget);
        let mut best = None;
        for done in 1..=6 {
            let Some(crf) = search.next(done == 6) else { return (done - 1, best) };
            assert!((0.0..=51.0).contains(&crf) && (crf / 0.25).fract() == 0.0, "{crf}");
            let made = bytes(crf);
            let fits = made <= budget as f64;
            search.record(crf, made as u64, fits);
            if fits {
                best = Some(made / budget as f64);
                if made >= 0.9 * budget as f64 {
                    return (done, best);
                }
            }
        }
        (6, best)
    }

    #[test]
    fn it_finds_what_fits_in_few_tries() {
        for (halving, asked, budget) in
            [(6.0, Some(20.0), 400_000), (4.0, Some(20.0), 100_000), (9.0, Some(20.0), 500_000), (6.0, None, 300_000)]
        {
            let line = |crf: f64| 1e6 * 0.5_f64.powf((crf - 20.0) / halving);
            let (count, best) = tries(asked, budget, line);
            assert!(count <= 3 && best.is_some_and(|best| best >= 0.9), "{halving} {budget}: {count} tries, {best:?}");
        }
    }

    #[test]
    fn what_does_not_fit_is_tried_at_the_coarsest_and_steps_are_not_split() {
        let stubborn = |crf: f64| 1e6 - 100.0 * crf;
        assert_eq!(tries(Some(20.0), 400_000, stubborn).1, None);
        // Nothing between too large and far too small.
        let cliff = |crf: f64| if crf < 30.0 { 1e6 } else { 1e5 };
        assert_eq!(tries(Some(20.0), 400_000, cliff).1, Some(0.25));
    }
}
