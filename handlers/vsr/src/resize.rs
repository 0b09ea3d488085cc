//! Resampling of planes with a Lanczos kernel of three lobes.

use darkroom_api::{ErrorCode, JobError, Result};
use fast_image_resize::images::{TypedImage, TypedImageRef};
use fast_image_resize::pixels::F32;
use fast_image_resize::{FilterType, ResizeAlg, ResizeOptions, Resizer};
use zerocopy::IntoBytes;

use crate::tiles::Picture;

/// Keeps its buffers between pictures.
pub struct Resize(Resizer);

impl Resize {
    /// A resampler.
    pub fn new() -> Resize {
        Resize(Resizer::new())
    }

    /// A picture at another size.
    ///
    /// # Errors
    /// [`ErrorCode::Internal`] for a picture without pixels.
    pub fn picture(&mut self, picture: &Picture, width: usize, height: usize) -> Result<Picture> {
        let mut result = Picture::new(picture.planes().len(), width, height);
        for (from, to) in picture.planes().zip(result.planes_mut()) {
            self.plane(from, (picture.width, picture.height), to, (width, height))?;
        }
        Ok(result)
    }

    /// A plane at another size: width and height of both.
    ///
    /// # Errors
    /// As [`Resize::picture`].
    pub fn plane(
        &mut self,
        from: &[f32],
        from_size: (usize, usize),
        to: &mut [f32],
        to_size: (usize, usize),
    ) -> Result<()> {
        let wrong = |e: String| JobError::new(ErrorCode::Internal, format!("A picture cannot be resampled: {e}."));
        let [from_width, from_height, to_width, to_height] =
            [from_size.0, from_size.1, to_size.0, to_size.1].map(|side| u32::try_from(side).unwrap_or(0));
        let source = TypedImageRef::<F32>::from_buffer(from_width, from_height, from.as_bytes());
        let source = source.map_err(|e| wrong(e.to_string()))?;
        let target = TypedImage::<F32>::from_buffer(to_width, to_height, to.as_mut_bytes());
        let mut target = target.map_err(|e| wrong(e.to_string()))?;
        let options = ResizeOptions::new().resize_alg(ResizeAlg::Convolution(FilterType::Lanczos3));
        self.0.resize_typed(&source, &mut target, &options).map_err(|e| wrong(e.to_string()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flat_stays_flat_and_a_slope_stays_a_slope() {
        let picture = Picture { width: 40, height: 4, values: (0..160).map(|i| (i % 40) as f32 / 40.0).collect() };
        let larger = Resize::new().picture(&picture, 45, 6).unwrap();
        assert_eq!((larger.width, larger.height, larger.values.len()), (45, 6, 270));
        for (x, value) in larger.values[90..135].iter().enumerate().skip(4).take(36) {
            let wanted = ((x as f32 + 0.5) * 40.0 / 45.0 - 0.5) / 40.0;
            assert!((value - wanted).abs() < 2e-3, "{x}: {value} {wanted}");
        }
    }
}
