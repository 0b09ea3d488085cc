//! Crops as networks were trained on them, filter for filter: bilinear, of a picture that is blurred first.

use darkroom_api::Result;
use darkroom_media::Frame;
use darkroom_media::colour::{Affine, Sampler};

/// Rows of the frame that are in memory at once.
const BAND: usize = 32;
/// Where a Gaussian ends, in sigmas (scipy's `truncate`).
const TRUNCATE: f64 = 4.0;
/// The widest one: no person is so large that more is asked for.
const MAX_SIGMA: f64 = 32.0;

/// Where along one axis the pixels of a crop look: the first one at `start`, in pixels from the middle of the frame's first one,
/// the others each `step` further.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Axis {
    /// Of the first pixel.
    pub start: f64,
    /// To the next.
    pub step: f64,
}

/// Takes crops.
#[derive(Default)]
pub struct Filter {
    sampler: Sampler,
    band: Vec<f32>,
    line: Vec<f32>,
}

/// The pixels of the frame that one of the crop is made of.
struct Taps {
    first: usize,
    shares: Vec<f32>,
}

impl Filter {
    /// Writes `[3, height, width]` into `out`, red first, 0 to 1: the frame is blurred by a Gaussian of `sigma` pixels, for which
    /// its border goes on outside, and then interpolated between four pixels, for which it is black outside.
    ///
    /// # Errors
    /// As [`Sampler::warp`].
    #[allow(clippy::cast_precision_loss, reason = "sides of pictures")]
    pub fn crop(
        &mut self,
        frame: &Frame,
        [x, y]: [Axis; 2],
        [width, height]: [usize; 2],
        sigma: f64,
        out: &mut [f32],
    ) -> Result<()> {
        out.fill(0.0);
        let columns = taps(x, width, frame.width() as usize, sigma);
        let rows = taps(y, height, frame.height() as usize, sigma);
        let (Some(across), Some(down)) = (range(&columns), range(&rows)) else { return Ok(()) };
        let seen = across.len();
        for start in down.clone().step_by(BAND) {
            let count = BAND.min(down.end - start);
            self.band.resize(3 * count * seen, 0.0);
            let map = Affine { x: [1.0, 0.0, across.start as f32], y: [0.0, 1.0, start as f32] };
            self.sampler.warp(frame, &map, seen, &mut self.band)?;
            for (index, line) in self.band.chunks_exact(seen).enumerate() {
                let (channel, row) = (index / count, start + index % count);
                self.line.clear();
                self.line.extend(columns.iter().map(|taps| {
                    let pixels = &line[taps.first.saturating_sub(across.start)..];
                    taps.shares.iter().zip(pixels).map(|(share, pixel)| share * pixel).sum::<f32>()
                }));
                let plane = &mut out[channel * width * height..(channel + 1) * width * height];
                for (taps, out) in rows.iter().zip(plane.chunks_exact_mut(width)) {
                    let share = row.checked_sub(taps.first).and_then(|at| taps.shares.get(at));
                    let Some(share) = share else { continue };
                    out.iter_mut().zip(&self.line).for_each(|(out, value)| *out += share * value);
                }
            }
        }
        Ok(())
    }
}

/// The pixels that any of a crop's are made of.
fn range(taps: &[Taps]) -> Option<std::ops::Range<usize>> {
    let made = || taps.iter().filter(|taps| !taps.shares.is_empty());
    let first = made().map(|taps| taps.first).min()?;
    let end = made().map(|taps| taps.first + taps.shares.len()).max()?;
    Some(first..end)
}

/// What each pixel along an axis of a crop is made of, in a frame of `side` pixels.
#[allow(clippy::cast_precision_loss, reason = "sides of pictures")]
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped to the frame")]
fn taps(axis: Axis, count: usize, side: usize, sigma: f64) -> Vec<Taps> {
    let sigma = sigma.min(MAX_SIGMA);
    let reach = if sigma > 0.0 { (TRUNCATE * sigma + 0.5) as i64 } else { 0 };
    let weights: Vec<f64> = (-reach..=reach).map(|d| (-0.5 * (d as f64 / sigma.max(1e-9)).powi(2)).exp()).collect();
    let total: f64 = weights.iter().sum();
    let last = side as i64 - 1;
    let pixel = |index: usize| {
        let at = axis.start + axis.step * index as f64;
        let left = at.floor();
        let part = at - left;
        let left = if at.is_finite() { left.clamp(-1e9, 1e9) as i64 } else { -2 };
        let four = [(left, 1.0 - part), (left + 1, part)];
        let inside = || four.iter().filter(|(pixel, share)| (0..=last).contains(pixel) && *share > 0.0);
        let first = inside().map(|(pixel, _)| (pixel - reach).max(0)).min();
        let end = inside().map(|(pixel, _)| (pixel + reach).min(last)).max();
        let (Some(first), Some(end)) = (first, end) else { return Taps { first: 0, shares: Vec::new() } };
        let mut shares = vec![0.0; (end - first + 1) as usize];
        for (pixel, share) in inside() {
            for (away, weight) in (-reach..).zip(&weights) {
                shares[((pixel + away).clamp(0, last) - first) as usize] += share * weight / total;
            }
        }
        Taps { first: first as usize, shares: shares.into_iter().map(|share: f64| share as f32).collect() }
    };
    (0..count).map(pixel).collect()
}
