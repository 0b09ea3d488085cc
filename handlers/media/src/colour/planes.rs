//! Any format of plain samples as rows of floats, by FFmpeg's own description of the format.

use ffmpeg_next::format::Pixel;

use super::matrix::Codes;
use super::simd;
use crate::{Frame, Plane, ffi};

/// One component of a format: where its samples are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Component {
    pub plane: usize,
    /// Bytes from one sample to the next.
    pub step: usize,
    /// Bytes before the first sample of a row.
    pub offset: usize,
    /// Bits below the value.
    pub shift: u32,
    pub depth: u32,
    /// Whether samples of two bytes begin with the higher one.
    pub big_endian: bool,
}

impl Component {
    pub(crate) fn sample_bytes(self) -> usize {
        if self.depth + self.shift > 8 { 2 } else { 1 }
    }
}

/// A format of plain samples: no palette, no bit packing, no floats.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Layout {
    pub components: Vec<Component>,
    pub has_alpha: bool,
    pub log2_chroma_w: u32,
    pub log2_chroma_h: u32,
}

impl Layout {
    /// `None` for formats that swscale must unpack first.
    pub(crate) fn of(format: Pixel) -> Option<Layout> {
        let layout = ffi::format_layout(format)?;
        let plain = layout
            .components
            .iter()
            .all(|c| (8..=16).contains(&c.depth) && c.depth + c.shift <= 16 && c.step >= c.sample_bytes());
        (plain && layout.log2_chroma_w <= 1 && layout.log2_chroma_h <= 1).then_some(layout)
    }

    /// Colour components, alpha apart.
    pub(crate) fn colours(&self) -> usize {
        self.components.len() - usize::from(self.has_alpha)
    }
}

/// Reads one row of a component as values.
pub(crate) fn load_row(plane: Plane<'_>, component: Component, row: usize, codes: Codes, out: &mut [f32]) {
    // Bits below the value only scale it; they are zero or noise below the last bit.
    #[allow(clippy::cast_precision_loss, reason = "at most 2^16")]
    let scale = 1.0 / (codes.scale * (1_u32 << component.shift) as f32);
    let offset = -codes.offset / codes.scale;
    let bytes = plane.data.get(row * plane.stride + component.offset..).unwrap_or(&[]);
    match (component.sample_bytes(), component.step) {
        (1, 1) => simd::load_u8(bytes, out, scale, offset),
        (2, 2) if !component.big_endian => simd::load_u16(bytes, out, scale, offset),
        (1, step) => {
            for (o, c) in out.iter_mut().zip(bytes.iter().step_by(step)) {
                *o = f32::from(*c) * scale + offset;
            }
        }
        (_, step) => {
            let word = if component.big_endian { u16::from_be_bytes } else { u16::from_le_bytes };
            for (o, c) in out.iter_mut().zip(bytes.chunks(step).filter(|c| c.len() >= 2)) {
                *o = f32::from(word([c[0], c[1]])) * scale + offset;
            }
        }
    }
}

/// The plane of a component; an empty one where a frame lacks it.
pub(crate) fn plane_of(frame: &Frame, component: Component) -> Plane<'_> {
    frame.plane(component.plane).unwrap_or(Plane { data: &[], stride: 0 })
}
