//! `preview.png`: one frame over a checkerboard, small, to look at without a player.

use std::fs::File;
use std::io::BufWriter;
use std::path::Path;

use darkroom_api::{ErrorCode, JobError, Result};

/// Name of the output.
pub const NAME: &str = "preview.png";

const LONGEST_SIDE_PX: usize = 512;
const SQUARE_PX: usize = 16;
const SQUARES: [f32; 2] = [0.82, 0.62];

/// Keeps the frame at the wanted place, or the nearest before it.
pub struct Preview {
    wanted: u64,
    picture: Option<Picture>,
}

struct Picture {
    width_px: usize,
    rgb: Vec<u8>,
}

impl Preview {
    /// For the frame in the middle of a video of that many frames; the first, where the number is unknown.
    pub fn new(frames: Option<u64>) -> Preview {
        Preview { wanted: frames.unwrap_or(0) / 2, picture: None }
    }

    /// Looks at frame `index`: takes the first, and again the wanted one.
    pub fn offer(&mut self, index: u64, foreground: &[f32], alpha: &[f32], width_px: usize) {
        if self.picture.is_none() || index == self.wanted {
            self.picture = Some(Picture::over_squares(foreground, alpha, width_px));
        }
    }

    /// Writes what was kept; `false` where nothing was offered.
    ///
    /// # Errors
    /// Those of writing a file: [`ErrorCode::ScratchFull`], [`ErrorCode::Internal`].
    pub fn write(&self, dir: &Path) -> Result<bool> {
        let Some(picture) = &self.picture else { return Ok(false) };
        let fault = |why: String| JobError::new(ErrorCode::Internal, format!("The preview cannot be written: {why}."));
        let file = File::create(dir.join(NAME)).map_err(|e| match e.kind() {
            std::io::ErrorKind::StorageFull => JobError::new(ErrorCode::ScratchFull, "The scratch disk is full."),
            _ => fault(e.to_string()),
        })?;
        let (width, height) = (picture.width_px, picture.rgb.len() / 3 / picture.width_px);
        let size = |side: usize| u32::try_from(side).map_err(|e| fault(e.to_string()));
        let mut encoder = png::Encoder::new(BufWriter::new(file), size(width)?, size(height)?);
        encoder.set_color(png::ColorType::Rgb);
        encoder.set_depth(png::BitDepth::Eight);
        let mut writer = encoder.write_header().map_err(|e| fault(e.to_string()))?;
        writer.write_image_data(&picture.rgb).map_err(|e| fault(e.to_string()))?;
        writer.finish().map_err(|e| fault(e.to_string()))?;
        Ok(true)
    }
}

impl Picture {
    /// Averages blocks of pixels with premultiplied colour, so that what is transparent has no say.
    fn over_squares(foreground: &[f32], alpha: &[f32], width_px: usize) -> Picture {
        let pixels = alpha.len();
        let height_px = pixels / width_px;
        let step = width_px.max(height_px).div_ceil(LONGEST_SIDE_PX);
        let (width, height) = ((width_px / step).max(1), (height_px / step).max(1));
        let mut rgb = Vec::with_capacity(width * height * 3);
        for y in 0..height {
            for x in 0..width {
                let (mut colour, mut cover, mut count) = ([0.0; 3], 0.0, 0.0_f32);
                for row in (y * step..(y + 1) * step).take_while(|row| *row < height_px) {
                    for column in (x * step..(x + 1) * step).take_while(|column| *column < width_px) {
                        let at = row * width_px + column;
                        for (channel, value) in colour.iter_mut().enumerate() {
                            *value += foreground[channel * pixels + at] * alpha[at];
                        }
                        cover += alpha[at];
                        count += 1.0;
                    }
                }
                let square = SQUARES[(x / SQUARE_PX + y / SQUARE_PX) % 2];
                let behind = square * (1.0 - cover / count);
                rgb.extend(colour.map(|value| to_byte(value / count + behind)));
            }
        }
        Picture { width_px: width, rgb }
    }
}

#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a float cast saturates")]
fn to_byte(value: f32) -> u8 {
    (value * 255.0 + 0.5) as u8
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_middle_frame_lies_over_squares() {
        const SIDE: usize = 64;
        let (red, clear) = (vec![1.0; SIDE * SIDE], vec![0.0; SIDE * SIDE * 2]);
        let foreground = [red, clear].concat();
        // The left half is there, the right half is not.
        let alpha: Vec<f32> = (0..SIDE * SIDE).map(|i| f32::from(u8::from(i % SIDE < SIDE / 2))).collect();
        let mut preview = Preview::new(Some(4));
        preview.offer(0, &foreground, &vec![0.0; SIDE * SIDE], SIDE);
        preview.offer(2, &foreground, &alpha, SIDE);
        preview.offer(3, &foreground, &vec![0.0; SIDE * SIDE], SIDE);

        let dir = tempfile::tempdir().unwrap();
        assert!(preview.write(dir.path()).unwrap());
        let decoder = png::Decoder::new(std::io::BufReader::new(File::open(dir.path().join(NAME)).unwrap()));
        let mut reader = decoder.read_info().unwrap();
        let mut rgb = vec![0; reader.output_buffer_size().unwrap()];
        reader.next_frame(&mut rgb).unwrap();
        let pixel = |x: usize, y: usize| &rgb[(y * SIDE + x) * 3..][..3];
        assert_eq!(pixel(5, 5), [255, 0, 0]);
        assert_eq!(pixel(40, 5), [209, 209, 209]);
        assert_eq!(pixel(60, 5), [158, 158, 158]);
        assert!(!Preview::new(None).write(dir.path()).unwrap());
    }
}
