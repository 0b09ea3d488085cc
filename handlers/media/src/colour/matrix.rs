//! From luma and colour differences to RGB: the numbers of ITU-T H.273.

use darkroom_api::Result;

use crate::ColourTags;
use crate::error::unsupported;

/// Luma weights of red and blue.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Matrix {
    pub kr: f32,
    pub kb: f32,
}

impl Matrix {
    /// The matrix that resolved tags name.
    pub(crate) fn of(tags: ColourTags) -> Result<Matrix> {
        let (kr, kb) = match tags.matrix {
            1 => (0.2126, 0.0722),
            4 => (0.30, 0.11),
            5 | 6 => (0.299, 0.114),
            7 => (0.212, 0.087),
            9 => (0.2627, 0.0593),
            _ => {
                return Err(unsupported(format!("The colour matrix `{}` is not supported", tags.names().matrix)));
            }
        };
        Ok(Matrix { kr, kb })
    }

    /// Weight of green.
    pub(crate) fn kg(self) -> f32 {
        1.0 - self.kr - self.kb
    }

    /// What a unit of Cr adds to red, of Cb and Cr to green, of Cb to blue.
    pub(crate) fn to_rgb(self) -> ChromaToRgb {
        let (r, b) = (2.0 * (1.0 - self.kr), 2.0 * (1.0 - self.kb));
        ChromaToRgb { cr_r: r, cb_g: -b * self.kb / self.kg(), cr_g: -r * self.kr / self.kg(), cb_b: b }
    }
}

/// See [`Matrix::to_rgb`].
#[derive(Debug, Clone, Copy)]
pub(crate) struct ChromaToRgb {
    pub cr_r: f32,
    pub cb_g: f32,
    pub cr_g: f32,
    pub cb_b: f32,
}

/// How codes and values belong together: `code = value * scale + offset`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Codes {
    pub scale: f32,
    pub offset: f32,
}

impl Codes {
    /// Luma, and components of RGB in limited range: black 16, white 235 of 8 bits.
    #[allow(clippy::cast_precision_loss, reason = "at most 16 bits")]
    pub(crate) fn luma(depth: u32, full_range: bool) -> Codes {
        if full_range {
            Codes { scale: ((1_u32 << depth) - 1) as f32, offset: 0.0 }
        } else {
            let unit = (1_u32 << (depth - 8)) as f32;
            Codes { scale: 219.0 * unit, offset: 16.0 * unit }
        }
    }

    /// Colour differences, -0.5 to 0.5: 16 to 240 of 8 bits in limited range.
    #[allow(clippy::cast_precision_loss, reason = "at most 16 bits")]
    pub(crate) fn chroma(depth: u32, full_range: bool) -> Codes {
        let offset = (1_u32 << (depth - 1)) as f32;
        let scale = if full_range { ((1_u32 << depth) - 1) as f32 } else { 224.0 * (1_u32 << (depth - 8)) as f32 };
        Codes { scale, offset }
    }
}

/// Where chroma samples sit between luma samples, as weights for making one from its neighbours.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Siting {
    /// For an even luma sample: weight of the chroma sample before; the rest is of the one at hand.
    pub even_before: f32,
    /// For an odd luma sample: weight of the chroma sample after.
    pub odd_after: f32,
}

impl Siting {
    const COSITED: Siting = Siting { even_before: 0.0, odd_after: 0.5 };
    const MIDDLE: Siting = Siting { even_before: 0.25, odd_after: 0.25 };
    /// Each chroma sample stands for its luma samples.
    pub(crate) const NEAREST: Siting = Siting { even_before: 0.0, odd_after: 0.0 };
    const LAST: Siting = Siting { even_before: 0.5, odd_after: 0.0 };

    /// Along rows, for an `AVChromaLocation`.
    pub(crate) fn horizontal(location: i32) -> Siting {
        if matches!(location, 2 | 4 | 6) { Siting::MIDDLE } else { Siting::COSITED }
    }

    /// Along columns, for an `AVChromaLocation`.
    pub(crate) fn vertical(location: i32) -> Siting {
        match location {
            3 | 4 => Siting::COSITED,
            5 | 6 => Siting::LAST,
            _ => Siting::MIDDLE,
        }
    }
}
