//! Peak signal-to-noise ratio, as FFmpeg's `psnr` filter defines it: the peak is the largest code of the depth, whatever the
//! range, and planes together count by their samples.

use super::levels::Picture;
use super::scores::{Planes, Summary};

/// Adds up frames.
pub(super) struct Psnr {
    peak: f64,
    /// Sums of the frames' mean squared errors: planes, then all together.
    errors: [f64; 4],
    frames: f64,
    min: Planes,
}

impl Psnr {
    pub(super) fn new(depth: u32) -> Psnr {
        let infinite = Planes { y: f32::INFINITY, u: f32::INFINITY, v: f32::INFINITY, all: f32::INFINITY };
        Psnr { peak: f64::from((1_u32 << depth) - 1), errors: [0.0; 4], frames: 0.0, min: infinite }
    }

    /// Measures a pair.
    pub(super) fn add(&mut self, video: &Picture, reference: &Picture) -> Planes {
        let (mut errors, mut sum, mut samples) = ([0.0; 4], 0.0, 0.0);
        for ((a, b), error) in video.planes.iter().zip(&reference.planes).zip(&mut errors) {
            #[allow(clippy::cast_precision_loss, reason = "below 2^53 for any picture that is let in")]
            let (squares, count) = (squared_error(&a.values, &b.values) as f64, a.values.len() as f64);
            *error = squares / count;
            (sum, samples) = (sum + squares, samples + count);
        }
        errors[3] = sum / samples;
        let frame = self.planes(errors);
        self.errors.iter_mut().zip(errors).for_each(|(sum, error)| *sum += error);
        self.frames += 1.0;
        self.min = self.min.min(frame);
        frame
    }

    /// Whether no sample differed.
    pub(super) fn identical(&self) -> bool {
        self.errors[3] == 0.0
    }

    pub(super) fn summary(&self) -> Summary {
        Summary { mean: self.planes(self.errors.map(|sum| sum / self.frames)), min: self.min }
    }

    fn planes(&self, errors: [f64; 4]) -> Planes {
        #[allow(clippy::cast_possible_truncation, reason = "a number for people; infinity stays")]
        let [y, u, v, all] = errors.map(|error| (10.0 * (self.peak * self.peak / error).log10()) as f32);
        Planes { y, u, v, all }
    }
}

fn squared_error(a: &[u16], b: &[u16]) -> u64 {
    let square = |(a, b): (&u16, &u16)| {
        let difference = u32::from(a.abs_diff(*b));
        u64::from(difference * difference)
    };
    a.iter().zip(b).map(square).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_peak_is_squared_over_the_mean_error() {
        let mut psnr = Psnr::new(8);
        let grey = |y: u16| Picture::flat([(4, 4, y), (2, 2, 128), (2, 2, 128)]);
        let frame = psnr.add(&grey(100), &grey(110));
        // 255^2 / 10^2, and over the 16 of 24 samples that differ.
        assert!((frame.y - 28.1308).abs() < 1e-3 && (frame.all - 29.8917).abs() < 1e-3, "{frame:?}");
        assert!(frame.u.is_infinite() && !psnr.identical());
        let equal = psnr.add(&grey(7), &grey(7));
        assert!(equal.y.is_infinite());
        let Summary { mean, min } = psnr.summary();
        // Half the error is 3 dB more.
        assert!((mean.y - 31.1411).abs() < 1e-3 && (min.y - frame.y).abs() < 1e-6, "{mean:?}");
        assert_eq!(squared_error(&[0; 70_000], &[u16::MAX; 70_000]), 70_000 * 65_535 * 65_535);
    }
}
