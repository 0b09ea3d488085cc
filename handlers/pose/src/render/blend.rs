//! A tile's drawing onto the planes of its picture.

use darkroom_media::PlaneMut;

use super::canvas::{Canvas, Coding, Pixels};
use super::layer::Layer;
use super::simd::{ROUND, vectorised};
use super::tile::TILE;

/// What the colour samples of the next tile need of this one: its last column. Cb, Cr and alpha, a row each.
pub(super) struct Carry {
    last: [[f32; TILE]; 3],
}

impl Carry {
    pub(super) fn new() -> Carry {
        Carry { last: [[0.0; TILE]; 3] }
    }

    /// Whether there is any.
    pub(super) fn is_some(&self) -> bool {
        self.last[2] != [0.0; TILE]
    }

    pub(super) fn clear(&mut self) {
        self.last = [[0.0; TILE]; 3];
    }
}

/// Lays a tile's drawing over a band's columns from `column` on. Pixels that it does not cover keep their bits.
pub(super) fn blend(band: &mut Canvas<'_>, column: usize, layer: &mut Layer, carry: &mut Carry) {
    let size = [TILE.min(band.width - column), TILE.min(band.height)];
    match &mut band.pixels {
        Pixels::Rgb { plane, channels } => blend_rgb(plane, *channels, column, size, layer),
        Pixels::Yuv { luma, chroma, coding } => {
            layer.turn_to_yuv(coding.factors());
            for row in 0..size[1] {
                let at = row * TILE..row * TILE + size[0];
                let codes = (coding.luma_codes(), coding.white);
                store(luma, row, column, &layer.colour[0][at.clone()], &layer.alpha[at], codes, coding);
            }
            if let Some(planes) = chroma {
                blend_chroma(planes, coding, column, size, layer, carry);
            }
        }
    }
}

fn blend_chroma(
    planes: &mut [PlaneMut<'_>; 2],
    coding: &Coding,
    column: usize,
    size: [usize; 2],
    layer: &Layer,
    carry: &mut Carry,
) {
    let width = coding.chroma_width(size[0]);
    for row in 0..coding.chroma_height(size[1]) {
        let top = row << coding.log2_chroma_h;
        let below = (top + (1 << coding.log2_chroma_h) - 1).min(size[1] - 1);
        let mut narrow = [[0.0; TILE]; 3];
        let sources = [&layer.colour[1], &layer.colour[2], &layer.alpha];
        for ((source, narrow), last) in sources.into_iter().zip(&mut narrow).zip(&mut carry.last) {
            let rows = [top, below].map(|row| &source[row * TILE..row * TILE + size[0]]);
            let mean: &mut [f32; TILE + 2] = &mut [0.0; TILE + 2];
            half_sum(rows[0], rows[1], &mut mean[1..=size[0]]);
            // Beyond the picture's sides is what is at its sides.
            mean[0] = if column == 0 { mean[1] } else { last[row] };
            mean[size[0] + 1] = mean[size[0]];
            last[row] = mean[size[0]];
            thin(&mean[..], &mut narrow[..width], coding);
        }
        let [u, v, alpha] = &narrow;
        for (plane, values) in planes.iter_mut().zip([u, v]) {
            let codes = (coding.chroma_codes(), coding.white);
            store(plane, row, column >> coding.log2_chroma_w, &values[..width], &alpha[..width], codes, coding);
        }
    }
}

/// Colour samples from a row of pixels that has one more at either end.
fn thin(row: &[f32], out: &mut [f32], coding: &Coding) {
    if coding.log2_chroma_w == 0 {
        out.copy_from_slice(&row[1..=out.len()]);
        return;
    }
    let weights = if coding.cosited { [0.25, 0.5, 0.25] } else { [0.0, 0.5, 0.5] };
    for (out, from) in out.iter_mut().zip(row.windows(3).step_by(2)) {
        *out = from[0] * weights[0] + from[1] * weights[1] + from[2] * weights[2];
    }
}

/// Lays part of a row of one component over a plane.
fn store(
    plane: &mut PlaneMut<'_>,
    row: usize,
    column: usize,
    values: &[f32],
    alpha: &[f32],
    ([scale, offset], white): ([f32; 2], f32),
    coding: &Coding,
) {
    if alpha.iter().all(|a| *a == 0.0) {
        return;
    }
    let start = row * plane.stride + column * coding.sample_bytes();
    let bytes = &mut plane.data[start..start + values.len() * coding.sample_bytes()];
    if coding.depth > 8 {
        mix_u16(bytes, values, alpha, scale * white, offset, coding.highest());
    } else {
        mix_u8(bytes, values, alpha, scale * white, offset);
    }
}

fn blend_rgb(plane: &mut PlaneMut<'_>, channels: usize, column: usize, size: [usize; 2], layer: &Layer) {
    for row in 0..size[1] {
        let start = row * plane.stride + column * channels;
        let pixels = plane.data[start..start + size[0] * channels].chunks_exact_mut(channels);
        for (pixel, at) in pixels.zip(row * TILE..) {
            let alpha = layer.alpha[at];
            for (byte, colour) in pixel.iter_mut().zip(&layer.colour) {
                *byte = mixed(f32::from(*byte), colour[at], alpha, 255.0, 0.0, 255.0) as u8;
            }
        }
    }
}

vectorised! {
    fn half_sum(a: &[f32], b: &[f32], out: &mut [f32]) {
        for ((o, a), b) in out.iter_mut().zip(a).zip(b) {
            *o = (a + b) * 0.5;
        }
    }
}

vectorised! {
    fn mix_u8(bytes: &mut [u8], values: &[f32], alpha: &[f32], scale: f32, offset: f32) {
        for ((byte, value), alpha) in bytes.iter_mut().zip(values).zip(alpha) {
            *byte = mixed(f32::from(*byte), *value, *alpha, scale, offset, 255.0) as u8;
        }
    }
}

vectorised! {
    fn mix_u16(bytes: &mut [u8], values: &[f32], alpha: &[f32], scale: f32, offset: f32, highest: f32) {
        for ((bytes, value), alpha) in bytes.as_chunks_mut::<2>().0.iter_mut().zip(values).zip(alpha) {
            let under = f32::from(u16::from_le_bytes(*bytes));
            *bytes = (mixed(under, *value, *alpha, scale, offset, highest) as u16).to_le_bytes();
        }
    }
}

/// A code with a value, already times alpha, laid over it; the result stands in the lowest bits.
#[inline(always)]
fn mixed(under: f32, value: f32, alpha: f32, scale: f32, offset: f32, highest: f32) -> u32 {
    let code = under * (1.0 - alpha) + (value * scale + alpha * offset);
    (code.max(0.0).min(highest) + ROUND).to_bits()
}
