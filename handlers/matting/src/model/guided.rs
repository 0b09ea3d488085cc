//! The first and the last step of RVM around its network: the frame made small, and the network's coefficients enlarged
//! and applied to the frame, in bands of rows that stay in the processor's cache.
//!
//! Both are ONNX's bilinear `Resize` between pixel centres, computed in f32 as ONNX Runtime does, so that results equal
//! those of the whole graph to a few units in the last place (a test holds them to 2e-5).

use std::ops::Range;

use darkroom_api::Result;

use super::simd;

const CHANNELS: usize = 3;
/// Slopes and offsets of red, green, blue and alpha.
const COEFFICIENTS: usize = 4;
/// Bytes of a band's colour and alpha: a part of one core's second-level cache.
const BAND_BYTES: usize = 192 << 10;
/// Chroma of a frame is stored for pairs of rows.
const BAND_STEP: usize = 2;

/// Makes frames small.
pub struct Shrink {
    width: usize,
    across: Axis,
    down: Axis,
    /// Two rows of the frame.
    pair: Vec<f32>,
}

/// Enlarges coefficients and applies them to frames.
pub struct Refine {
    width: usize,
    height: usize,
    across: Axis,
    down: Axis,
    /// A row of a slope or an offset, and what lies beyond its edge.
    narrow: Vec<f32>,
    /// Two neighbouring rows of slopes and offsets, enlarged to a frame's width; even ones in the first.
    wide: [Vec<f32>; 2],
    /// The rows that stand there.
    held: [Option<usize>; 2],
}

/// Where samples along one side are taken from: between `index` and the next, `weight` of the way.
struct Axis {
    from: usize,
    index: Vec<u32>,
    weight: Vec<f32>,
}

impl Axis {
    /// `Resize` of `from` samples to `to`, which are `scale` times as many.
    #[allow(clippy::cast_precision_loss, clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "pixels")]
    fn new(from: usize, to: usize, scale: f32) -> Axis {
        let last = from.saturating_sub(1);
        let place = |x: usize| if to > 1 { (x as f32 + 0.5) / scale - 0.5 } else { 0.0 };
        let places = (0..to).map(|x| place(x).clamp(0.0, last as f32));
        let (index, weight) = places.map(|place| (place as u32, place.fract())).unzip();
        Axis { from, index, weight }
    }

    /// The two samples at `x`, and the second one's weight.
    fn at(&self, x: usize) -> (usize, usize, f32) {
        let index = self.index[x] as usize;
        (index, (index + 1).min(self.from - 1), self.weight[x])
    }
}

/// The side that `Resize` gives its output: a product in f32, without its fraction.
#[allow(clippy::cast_precision_loss, clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "pixels")]
fn small(side: usize, ratio: f32) -> usize {
    ((side as f32 * ratio) as usize).max(1)
}

impl Shrink {
    /// For frames of one size; `ratio` of the small picture's sides to theirs.
    pub fn new(width: usize, height: usize, ratio: f32) -> Shrink {
        let axis = |side: usize| Axis::new(side, small(side, ratio), ratio);
        Shrink { width, across: axis(width), down: axis(height), pair: vec![0.0; 2 * CHANNELS * width] }
    }

    /// Width and height of the small picture.
    pub fn size(&self) -> (usize, usize) {
        (self.across.index.len(), self.down.index.len())
    }

    /// Fills `small` (`[3, h, w]`) from a frame's rows, which `rows` writes as `[3, rows, width]`.
    ///
    /// # Errors
    /// Those of `rows`.
    pub fn shrink(
        &mut self,
        mut rows: impl FnMut(Range<usize>, &mut [f32]) -> Result<()>,
        small: &mut [f32],
    ) -> Result<()> {
        let ((width, height), across, down) = (self.size(), &self.across, &self.down);
        for y in 0..height {
            let (above, below, weight) = down.at(y);
            let lines = below - above + 1;
            let pair = &mut self.pair[..lines * CHANNELS * self.width];
            rows(above..below + 1, pair)?;
            for (channel, lines) in pair.chunks_exact(lines * self.width).enumerate() {
                let (above, below) = (&lines[..self.width], &lines[lines.len() - self.width..]);
                let out = &mut small[(channel * height + y) * width..][..width];
                for (x, out) in out.iter_mut().enumerate() {
                    let (left, right, along) = across.at(x);
                    let mix = |row: &[f32]| row[left] + (row[right] - row[left]) * along;
                    let above = mix(above);
                    *out = above + (mix(below) - above) * weight;
                }
            }
        }
        Ok(())
    }
}

impl Refine {
    /// For frames of one size, as [`Shrink::new`] takes them.
    #[allow(clippy::cast_precision_loss, reason = "pixels")]
    pub fn new(width: usize, height: usize, ratio: f32) -> Refine {
        let axis = |side: usize| Axis::new(small(side, ratio), side, side as f32 / small(side, ratio) as f32);
        let (across, down) = (axis(width), axis(height));
        // Kernels read some samples beyond a row's end.
        let narrow = vec![0.0; across.from + simd::BEYOND];
        let wide = [(); 2].map(|()| vec![0.0; 2 * COEFFICIENTS * width]);
        Refine { width, height, across, down, narrow, wide, held: [None; 2] }
    }

    /// Width of a frame.
    pub fn width(&self) -> usize {
        self.width
    }

    /// Begins a frame: its rows in bands, from the top.
    pub fn bands(&mut self) -> impl Iterator<Item = Range<usize>> + use<> {
        self.held = [None; 2];
        let row_bytes = (CHANNELS + 1) * self.width * size_of::<f32>();
        let (rows, height) = ((BAND_BYTES / row_bytes).next_multiple_of(BAND_STEP).max(BAND_STEP), self.height);
        (0..height).step_by(rows).map(move |top| top..(top + rows).min(height))
    }

    /// Applies the frame's coefficients (`[4, h, w]` of the small picture) to a band: `colour` (`[3, rows, width]`) becomes
    /// the foreground's, and `alpha` is filled.
    pub fn refine(&mut self, band: Range<usize>, slope: &[f32], offset: &[f32], colour: &mut [f32], alpha: &mut [f32]) {
        let width = self.width;
        let [r, g, b] = {
            let (r, rest) = colour.split_at_mut(band.len() * width);
            let (g, b) = rest.split_at_mut(band.len() * width);
            [r, g, b]
        };
        let colour = r.chunks_exact_mut(width).zip(g.chunks_exact_mut(width)).zip(b.chunks_exact_mut(width));
        for ((y, ((r, g), b)), alpha) in band.zip(colour).zip(alpha.chunks_exact_mut(width)) {
            let (above, below, weight) = self.down.at(y);
            self.enlarge(above, slope, offset);
            self.enlarge(below, slope, offset);
            simd::apply(&self.wide[above % 2], &self.wide[below % 2], weight, r, g, b, alpha);
        }
    }

    /// Brings a row of the coefficients to a frame's width, where it is not yet.
    fn enlarge(&mut self, row: usize, slope: &[f32], offset: &[f32]) {
        let (width, height) = (self.across.from, self.down.from);
        if self.held[row % 2].replace(row) == Some(row) {
            return;
        }
        let planes = slope.chunks_exact(width * height).chain(offset.chunks_exact(width * height));
        for (plane, wide) in planes.zip(self.wide[row % 2].chunks_exact_mut(self.width)) {
            let samples = &plane[row * width..(row + 1) * width];
            self.narrow[..width].copy_from_slice(samples);
            // What lies beyond the edge is the edge.
            self.narrow[width..].fill(samples[width - 1]);
            simd::enlarge(&self.narrow, &self.across.index, &self.across.weight, wide);
        }
    }
}
