//! `preview.png`: one frame over a checkerboard, small, to look at without a player.

use std::fs::File;
use std::io::BufWriter;
use std::path::Path;

use darkroom_api::{ErrorCode, JobError, Result};

use crate::Matte;

/// Name of the output.
pub const NAME: &str = "preview.png";

const LONGEST_SIDE_PX: usize = 512;
const SQUARE_PX: usize = 16;
const SQUARES: [f32; 2] = [0.82, 0.62];

/// Keeps the frame at the wanted place, or the nearest before it.
pub struct Preview {
    wanted: u64,
    /// The frame in `picture`.
    shown: Option<u64>,
    picture: Picture,
}

/// Sums over blocks of pixels, with premultiplied colour, so that what is transparent has no say.
#[derive(Default)]
struct Picture {
    /// Of the frame.
    width_px: usize,
    height_px: usize,
    /// Side of a block.
    step: usize,
    /// Red, green, blue and alpha of each block.
    blocks: Vec<[f32; 4]>,
}

impl Preview {
    /// For the frame in the middle of a video of that many frames; the first, where the number is unknown.
    pub fn new(frames: Option<u64>) -> Preview {
        Preview { wanted: frames.unwrap_or(0) / 2, shown: None, picture: Picture::default() }
    }

    /// Looks at rows of frame `index`, which is `height_px` high: takes the first, and again the wanted one.
    pub fn offer(&mut self, index: u64, matte: &Matte<'_>, height_px: usize) {
        if matte.rows.start == 0 && (self.shown.is_none() || index == self.wanted) {
            self.shown = Some(index);
            self.picture = Picture::new(matte.alpha.len() / matte.rows.len().max(1), height_px);
        }
        if self.shown == Some(index) {
            self.picture.add(matte);
        }
    }

    /// Writes what was kept; `false` where nothing was offered.
    ///
    /// # Errors
    /// Those of writing a file: [`ErrorCode::ScratchFull`], [`ErrorCode::Internal`].
    pub fn write(&self, dir: &Path) -> Result<bool> {
        if self.shown.is_none() {
            return Ok(false);
        }
        let picture = &self.picture;
        let fault = |why: String| JobError::new(ErrorCode::Internal, format!("The preview cannot be written: {why}."));
        let file = File::create(dir.join(NAME)).map_err(|e| match e.kind() {
            std::io::ErrorKind::StorageFull => JobError::new(ErrorCode::ScratchFull, "The scratch disk is full."),
            _ => fault(e.to_string()),
        })?;
        let (width, height) = picture.size();
        let size = |side: usize| u32::try_from(side).map_err(|e| fault(e.to_string()));
        let mut encoder = png::Encoder::new(BufWriter::new(file), size(width)?, size(height)?);
        encoder.set_color(png::ColorType::Rgb);
        encoder.set_depth(png::BitDepth::Eight);
        let mut writer = encoder.write_header().map_err(|e| fault(e.to_string()))?;
        writer.write_image_data(&picture.over_squares()).map_err(|e| fault(e.to_string()))?;
        writer.finish().map_err(|e| fault(e.to_string()))?;
        Ok(true)
    }
}

impl Picture {
    fn new(width_px: usize, height_px: usize) -> Picture {
        let step = width_px.max(height_px).div_ceil(LONGEST_SIDE_PX).max(1);
        let mut picture = Picture { width_px, height_px, step, blocks: Vec::new() };
        let (width, height) = picture.size();
        picture.blocks.resize(width * height, [0.0; 4]);
        picture
    }

    /// Blocks in a row, and rows of blocks.
    fn size(&self) -> (usize, usize) {
        ((self.width_px / self.step).max(1), (self.height_px / self.step).max(1))
    }

    fn add(&mut self, matte: &Matte<'_>) {
        let ((width, height), step) = (self.size(), self.step);
        for (at, row) in matte.rows.clone().enumerate().filter(|(_, row)| row / step < height) {
            let line = |plane: &[f32], index: usize| {
                let start = (index * matte.rows.len() + at) * self.width_px;
                start..start + self.width_px.min(plane.len() - start)
            };
            let alpha = &matte.alpha[line(matte.alpha, 0)];
            for channel in 0..3 {
                let colour = &matte.foreground[line(matte.foreground, channel)];
                for (x, (value, alpha)) in colour.iter().zip(alpha).take(width * step).enumerate() {
                    self.blocks[row / step * width + x / step][channel] += value * alpha;
                }
            }
            for (x, alpha) in alpha.iter().take(width * step).enumerate() {
                self.blocks[row / step * width + x / step][3] += alpha;
            }
        }
    }

    /// Packed bytes of red, green and blue.
    #[allow(clippy::cast_precision_loss, reason = "pixels of a block")]
    fn over_squares(&self) -> Vec<u8> {
        let (width, _) = self.size();
        let count = (self.step.min(self.width_px) * self.step.min(self.height_px)) as f32;
        let pixel = |(at, [r, g, b, cover]): (usize, &[f32; 4])| {
            let square = SQUARES[(at % width / SQUARE_PX + at / width / SQUARE_PX) % 2];
            let behind = square * (1.0 - cover / count);
            [r, g, b].map(|value| to_byte(value / count + behind))
        };
        self.blocks.iter().enumerate().flat_map(pixel).collect()
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
        let mut foreground = [red, clear].concat();
        // The left half is there, the right half is not.
        let mut alpha: Vec<f32> = (0..SIDE * SIDE).map(|i| f32::from(u8::from(i % SIDE < SIDE / 2))).collect();
        let mut preview = Preview::new(Some(4));
        let mut nothing = vec![0.0; SIDE * SIDE];
        for index in [0, 2, 3] {
            let alpha = if index == 2 { &mut alpha } else { &mut nothing };
            let matte = Matte { rows: 0..SIDE, foreground: &mut foreground, alpha };
            preview.offer(index, &matte, SIDE);
        }

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
