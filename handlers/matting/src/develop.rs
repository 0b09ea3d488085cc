//! From a matte to a frame of the output.

use darkroom_api::Result;
use darkroom_media::Frame;
use darkroom_media::colour::FromRgb;

use crate::Matte;
use crate::background::Background;
use crate::preview::Preview;

/// What is made of a matte.
pub enum Look {
    /// Foreground colour with alpha.
    Cutout,
    /// Alpha in grey.
    Grey,
    /// Foreground over something.
    Over(Background),
}

/// Turns mattes into frames, and keeps count.
pub struct Developer {
    look: Look,
    from_rgb: FromRgb,
    preview: Preview,
    frames: u64,
    alpha_sum: f64,
    pixels: u64,
}

impl Developer {
    /// `dither` where the source has more bits than the output.
    pub fn new(look: Look, dither: bool, preview: Preview) -> Developer {
        Developer { look, from_rgb: FromRgb::new(dither), preview, frames: 0, alpha_sum: 0.0, pixels: 0 }
    }

    /// Fills rows of `out` from the matte of the moment `secs` after the first frame; the last rows end a frame.
    ///
    /// # Errors
    /// Those of the conversion and of the background.
    pub fn develop(&mut self, matte: Matte<'_>, secs: f64, out: &mut Frame) -> Result<()> {
        let height = out.height() as usize;
        self.preview.offer(self.frames, &matte, height);
        let Matte { rows, foreground, alpha } = matte;
        self.alpha_sum += sum(alpha);
        self.pixels += alpha.len() as u64;
        if rows.end == height {
            self.frames += 1;
        }
        match &mut self.look {
            Look::Cutout => self.from_rgb.convert_rows(rows, foreground, Some(alpha), out),
            Look::Grey => self.from_rgb.convert_grey_rows(rows, alpha, out),
            Look::Over(background) => {
                background.under(secs, rows.clone(), foreground, alpha)?;
                self.from_rgb.convert_rows(rows, foreground, None, out)
            }
        }
    }

    /// Mean alpha over all frames.
    pub fn coverage(&self) -> f64 {
        #[allow(clippy::cast_precision_loss, reason = "a mean for people")]
        let pixels = self.pixels.max(1) as f64;
        self.alpha_sum / pixels
    }

    /// The picture to look at.
    pub fn preview(&self) -> &Preview {
        &self.preview
    }
}

/// Sum in lanes, which a compiler turns into vector additions.
fn sum(values: &[f32]) -> f64 {
    let mut lanes = [0.0_f32; 16];
    let mut chunks = values.chunks_exact(16);
    for chunk in &mut chunks {
        for (lane, value) in lanes.iter_mut().zip(chunk) {
            *lane += value;
        }
    }
    lanes.iter().chain(chunks.remainder()).map(|value| f64::from(*value)).sum()
}

#[cfg(test)]
mod tests {
    use darkroom_media::{ColourTags, FramePool, Pixel};

    use super::*;
    use crate::Rgb;

    const W: u32 = 4;

    fn develop(look: Look, pixel: Pixel, foreground: &mut [f32], alpha: &mut [f32]) -> (Frame, Developer) {
        let mut out = FramePool::new(pixel, W, 2, ColourTags::BT709).take().unwrap();
        let mut developer = Developer::new(look, false, Preview::new(None));
        developer.develop(Matte { rows: 0..2, foreground, alpha }, 0.0, &mut out).unwrap();
        (out, developer)
    }

    #[test]
    fn colour_that_nobody_sees_is_black_and_edges_keep_theirs() {
        let mut alpha = [0.0, 0.001, 0.5, 1.0, 0.0, 0.0, 0.0, 1.0];
        let (out, developer) = develop(Look::Cutout, Pixel::RGBA, &mut [1.0; 24], &mut alpha);
        let pixels = out.plane(0).unwrap().data;
        assert_eq!(pixels[..8], [0; 8], "an alpha that rounds to nothing is nothing");
        assert_eq!(pixels[8..16], [255, 255, 255, 128, 255, 255, 255, 255]);
        assert!((developer.coverage() - 2.501 / 8.0).abs() < 1e-6);
    }

    #[test]
    fn a_composite_mixes_in_proportion() {
        let mut alpha = [0.0, 1.0, 0.5, 0.25, 0.0, 0.0, 0.0, 0.0];
        let green = Background::colour(Rgb([0, 255, 0]));
        let (out, _) = develop(Look::Over(green), Pixel::RGBA, &mut [1.0; 24], &mut alpha);
        let pixels = out.plane(0).unwrap().data;
        assert_eq!(pixels[..4], [0, 255, 0, 255]);
        assert_eq!(pixels[4..8], [255, 255, 255, 255]);
        assert_eq!(pixels[8..12], [128, 255, 128, 255]);
        assert_eq!(pixels[12..16], [64, 255, 64, 255]);
    }

    #[test]
    fn a_grey_matte_is_alpha_in_limited_range() {
        let mut alpha = [0.0, 1.0, 0.5, 0.0, 0.0, 0.0, 0.0, 0.0];
        let (out, _) = develop(Look::Grey, Pixel::YUV420P, &mut [0.3; 24], &mut alpha);
        assert_eq!(out.plane(0).unwrap().data[..3], [16, 235, 126]);
        assert_eq!(out.plane(1).unwrap().data[0], 128);
    }

    #[test]
    fn sums_include_the_rest_of_a_row() {
        let values: Vec<f32> = (0..37).map(|i| i as f32).collect();
        assert_eq!(sum(&values), 666.0);
    }
}
