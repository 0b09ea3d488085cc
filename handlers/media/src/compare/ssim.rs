//! Structural similarity (Wang et al. 2004), as FFmpeg's `ssim` filter (after x264's) computes it: windows of 8x8 samples,
//! four apart, without a Gaussian.

use super::levels::{Picture, Samples};
use super::scores::{Planes, Summary};

/// Samples of a window.
const WINDOW: f64 = 64.0;

/// Adds up frames. Keeps its rows between them.
pub(super) struct Ssim {
    /// The constants that keep the quotient from noise where there is little signal.
    c1: f64,
    c2: f64,
    rows: [Vec<Block>; 2],
    /// Sums over frames: planes, then all together.
    sums: [f64; 4],
    frames: f64,
    min: Planes,
}

/// Sums over 4x4 samples of both pictures.
#[derive(Clone, Copy, Default)]
struct Block {
    a: u32,
    b: u32,
    squares: u64,
    products: u64,
}

impl Ssim {
    pub(super) fn new(depth: u32) -> Ssim {
        let peak = f64::from((1_u32 << depth) - 1);
        Ssim {
            c1: (0.01 * 0.01 * peak * peak * WINDOW).round(),
            c2: (0.03 * 0.03 * peak * peak * WINDOW * (WINDOW - 1.0)).round(),
            rows: [Vec::new(), Vec::new()],
            sums: [0.0; 4],
            frames: 0.0,
            min: Planes { y: 1.0, u: 1.0, v: 1.0, all: 1.0 },
        }
    }

    /// Measures a pair.
    pub(super) fn add(&mut self, video: &Picture, reference: &Picture) -> Planes {
        let (mut found, mut samples) = ([0.0; 4], 0.0);
        for (index, (a, b)) in video.planes.iter().zip(&reference.planes).enumerate() {
            #[allow(clippy::cast_precision_loss, reason = "samples of a picture")]
            let count = a.values.len() as f64;
            found[index] = self.plane(a, b);
            found[3] += found[index] * count;
            samples += count;
        }
        found[3] /= samples;
        self.sums.iter_mut().zip(found).for_each(|(sum, value)| *sum += value);
        self.frames += 1.0;
        let frame = planes(found);
        self.min = self.min.min(frame);
        frame
    }

    pub(super) fn summary(&self) -> Summary {
        Summary { mean: planes(self.sums.map(|sum| sum / self.frames)), min: self.min }
    }

    /// The mean over all windows; a plane has at least 8x8 samples.
    fn plane(&mut self, a: &Samples, b: &Samples) -> f64 {
        let (columns, rows) = (a.width / 4, a.height / 4);
        let [mut above, mut below] = std::mem::take(&mut self.rows);
        above.resize(columns, Block::default());
        below.resize(columns, Block::default());
        let mut sum = 0.0;
        for row in 0..rows {
            blocks(a, b, row, &mut below);
            if row > 0 {
                let window = |(above, below): (&[Block], &[Block])| self.window(above, below);
                sum += above.windows(2).zip(below.windows(2)).map(window).sum::<f64>();
            }
            std::mem::swap(&mut above, &mut below);
        }
        self.rows = [above, below];
        #[allow(clippy::cast_precision_loss, reason = "windows of a picture")]
        let windows = ((columns - 1) * (rows - 1)) as f64;
        sum / windows
    }

    /// The index of one window, of two blocks above and two below.
    #[allow(clippy::cast_precision_loss, reason = "sums over 64 samples")]
    fn window(&self, above: &[Block], below: &[Block]) -> f64 {
        let (mut a, mut b, mut squares, mut products) = (0, 0, 0, 0);
        for block in above.iter().chain(below) {
            (a, b) = (a + block.a, b + block.b);
            (squares, products) = (squares + block.squares, products + block.products);
        }
        let (a, b, both) = (f64::from(a), f64::from(b), f64::from(a) * f64::from(b));
        let energy = a * a + b * b;
        let variances = squares as f64 * WINDOW - energy;
        let covariance = products as f64 * WINDOW - both;
        (2.0 * both + self.c1) * (2.0 * covariance + self.c2) / ((energy + self.c1) * (variances + self.c2))
    }
}

fn planes(values: [f64; 4]) -> Planes {
    #[allow(clippy::cast_possible_truncation, reason = "a number for people")]
    let [y, u, v, all] = values.map(|value| value as f32);
    Planes { y, u, v, all }
}

/// Sums up a row of blocks.
fn blocks(a: &Samples, b: &Samples, row: usize, out: &mut [Block]) {
    out.fill(Block::default());
    for line in row * 4..row * 4 + 4 {
        let (a, b) = (a.row(line).chunks_exact(4), b.row(line).chunks_exact(4));
        for (block, (a, b)) in out.iter_mut().zip(a.zip(b)) {
            for (a, b) in a.iter().zip(b) {
                let (a, b) = (u32::from(*a), u32::from(*b));
                block.a += a;
                block.b += b;
                block.squares += u64::from(a * a) + u64::from(b * b);
                block.products += u64::from(a * b);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_pictures_are_one_and_flat_ones_differ_by_their_level_alone() {
        let grey = |y: u16| Picture::flat([(16, 12, y), (8, 8, 128), (8, 8, 128)]);
        let mut ssim = Ssim::new(8);
        let equal = ssim.add(&grey(50), &grey(50));
        assert_eq!((equal.y, equal.u, equal.all), (1.0, 1.0, 1.0));
        // Without variance: (2ab + c1) / (a2 + b2 + c1). The paper's c1 is (0.01 * 255)^2, x264's a 64th of it.
        let frame = ssim.add(&grey(50), &grey(100));
        assert!((f64::from(frame.y) - 10_000.101_6 / 12_500.101_6).abs() < 1e-7, "{frame:?}");
        let Summary { mean, min } = ssim.summary();
        assert!((mean.y - (1.0 + frame.y) / 2.0).abs() < 1e-6 && (min.y - frame.y).abs() < 1e-6);
    }

    #[test]
    fn the_deepest_samples_do_not_overflow() {
        let most = || Picture::flat([(8, 8, u16::MAX); 3]);
        assert_eq!(Ssim::new(16).add(&most(), &most()).all, 1.0);
    }
}
