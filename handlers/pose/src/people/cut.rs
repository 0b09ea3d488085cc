//! Where one shot ends and the next begins.

use darkroom_api::Result;
use darkroom_media::Frame;
use darkroom_media::colour::{Affine, Sampler};

/// Points that are looked at.
const COLUMNS: usize = 48;
const ROWS: usize = 27;
const BINS: usize = 16;
/// What must change at least, both: the mean of all points, and the part of points whose brightness is not there any more.
/// A moving camera changes the first, a flash the second.
const MIN_CHANGE: f32 = 0.09;
const MIN_NEW: f32 = 0.3;

/// Compares each frame with the one before it.
#[derive(Default)]
pub struct CutDetector {
    sampler: Sampler,
    before: Vec<f32>,
    now: Vec<f32>,
}

impl CutDetector {
    /// Whether a frame begins another shot than the one before it. The first one begins none.
    ///
    /// # Errors
    /// As [`Sampler::warp`].
    #[allow(clippy::cast_precision_loss, reason = "sides of pictures")]
    pub fn is_cut(&mut self, frame: &Frame) -> Result<bool> {
        let apart = [frame.width() as f32 / COLUMNS as f32, frame.height() as f32 / ROWS as f32];
        let map = Affine { x: [apart[0], 0.0, 0.0], y: [0.0, apart[1], 0.0] };
        std::mem::swap(&mut self.before, &mut self.now);
        self.now.resize(3 * COLUMNS * ROWS, 0.0);
        self.sampler.warp(frame, &map, COLUMNS, &mut self.now)?;
        if self.before.is_empty() {
            return Ok(false);
        }
        let count = self.now.len() as f32;
        let change = self.before.iter().zip(&self.now).map(|(a, b)| (a - b).abs()).sum::<f32>() / count;
        let (before, now) = (histogram(&self.before), histogram(&self.now));
        let new = before.iter().zip(now).map(|(a, b)| (b - a).max(0.0)).sum::<f32>() / count;
        Ok(change > MIN_CHANGE && new > MIN_NEW)
    }
}

/// Of each channel for itself.
#[allow(clippy::cast_precision_loss, clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "0 to 15")]
fn histogram(values: &[f32]) -> [f32; 3 * BINS] {
    let mut bins = [0.0; 3 * BINS];
    for (channel, values) in values.chunks_exact(COLUMNS * ROWS).enumerate() {
        for value in values {
            bins[channel * BINS + ((value * BINS as f32) as usize).min(BINS - 1)] += 1.0;
        }
    }
    bins
}

#[cfg(test)]
mod tests {
    use darkroom_media::Pixel;

    use super::*;

    fn picture(draw: impl Fn(usize, usize) -> u8) -> Frame {
        let mut frame = Frame::new(Pixel::GRAY8, 320, 180).unwrap();
        let plane = frame.plane_mut(0).unwrap();
        let stride = plane.stride;
        plane.data.iter_mut().enumerate().for_each(|(at, byte)| *byte = draw(at % stride, at / stride));
        frame
    }

    #[test]
    fn another_scene_is_a_cut_and_a_moving_camera_is_none() {
        let street = |shift: usize| picture(move |x, y| (60 + 120 * ((x + shift) / 40 % 2) + y / 4) as u8);
        let room = picture(|x, y| (200_usize.saturating_sub(x / 8 + y)) as u8);
        let mut cuts = CutDetector::default();
        let told: Vec<bool> =
            [street(0), street(20), street(40), room].iter().map(|frame| cuts.is_cut(frame).unwrap()).collect();
        assert_eq!(told, [false, false, false, true]);
    }
}
