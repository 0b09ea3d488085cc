//! Frames as pictures for people: eight bits of red, green and blue.

use darkroom_api::{ErrorCode, JobError, Result};
use darkroom_media::Frame;
use darkroom_media::colour::{Hdr, ToRgb};

/// Rows that are converted at once.
const STRIP_ROWS: usize = 64;
/// Side of the squares by which the place of a crop is chosen.
const BLOCK_PX: usize = 16;
/// Most that differences are multiplied by.
const MAX_GAIN: u8 = 16;

/// A picture, three bytes a pixel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rgb8 {
    /// Width in pixels.
    pub width: usize,
    /// Height in pixels.
    pub height: usize,
    /// Row after row.
    pub pixels: Vec<u8>,
}

/// A part of a picture.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window {
    /// Left edge.
    pub x: usize,
    /// Upper edge.
    pub y: usize,
    /// Width in pixels.
    pub width: usize,
    /// Height in pixels.
    pub height: usize,
}

impl Rgb8 {
    /// One colour.
    pub fn filled(width: usize, height: usize, colour: [u8; 3]) -> Rgb8 {
        Rgb8 { width, height, pixels: colour.repeat(width * height) }
    }

    /// A frame as it is seen; HDR is mapped to standard range.
    ///
    /// # Errors
    /// Those of the conversion.
    pub fn of(frame: &Frame) -> Result<Rgb8> {
        let (width, height) = (frame.width() as usize, frame.height() as usize);
        let mut picture = Rgb8::filled(width, height, [0; 3]);
        let mut to_rgb = ToRgb::new(Hdr::ToneMap);
        let mut rows = to_rgb.of(frame)?;
        let mut strip = vec![0.0; 3 * width * STRIP_ROWS.min(height)];
        for top in (0..height).step_by(STRIP_ROWS) {
            let bottom = (top + STRIP_ROWS).min(height);
            let count = width * (bottom - top);
            let strip = &mut strip[..3 * count];
            rows.rows(top..bottom, strip)?;
            let pixels = picture.pixels[top * width * 3..bottom * width * 3].chunks_exact_mut(3);
            for (at, pixel) in pixels.enumerate() {
                for (channel, byte) in pixel.iter_mut().enumerate() {
                    *byte = to_byte(strip[channel * count + at]);
                }
            }
        }
        Ok(picture)
    }

    /// A part of it.
    #[must_use]
    pub fn crop(&self, window: Window) -> Rgb8 {
        let rows = (window.y..window.y + window.height).flat_map(|row| {
            let start = (row * self.width + window.x) * 3;
            &self.pixels[start..start + window.width * 3]
        });
        Rgb8 { width: window.width, height: window.height, pixels: rows.copied().collect() }
    }

    /// Copies a picture into it, each pixel `zoom` times in both directions.
    pub fn paste(&mut self, other: &Rgb8, (left, top): (usize, usize), zoom: usize) {
        for row in 0..other.height * zoom {
            for column in 0..other.width * zoom {
                let from = (row / zoom * other.width + column / zoom) * 3;
                let to = ((top + row) * self.width + left + column) * 3;
                self.pixels[to..to + 3].copy_from_slice(&other.pixels[from..from + 3]);
            }
        }
    }

    /// The file's bytes.
    ///
    /// # Errors
    /// [`ErrorCode::Internal`].
    pub fn png(&self) -> Result<Vec<u8>> {
        let fault = |e: &dyn std::fmt::Display| {
            JobError::new(ErrorCode::Internal, format!("A picture of the comparison cannot be encoded: {e}."))
        };
        let side = |side: usize| u32::try_from(side).map_err(|e| fault(&e));
        let mut file = Vec::new();
        let mut encoder = png::Encoder::new(&mut file, side(self.width)?, side(self.height)?);
        encoder.set_color(png::ColorType::Rgb);
        encoder.set_depth(png::BitDepth::Eight);
        let mut writer = encoder.write_header().map_err(|e| fault(&e))?;
        writer.write_image_data(&self.pixels).map_err(|e| fault(&e))?;
        writer.finish().map_err(|e| fault(&e))?;
        Ok(file)
    }
}

#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a float cast saturates")]
fn to_byte(value: f32) -> u8 {
    (value * 255.0 + 0.5) as u8
}

/// How much two pictures of one size differ at each pixel, and by what that was multiplied to be seen: a power of two with
/// which nearly all of it fits.
pub fn difference(a: &Rgb8, b: &Rgb8) -> (Rgb8, u8) {
    let mut pixels: Vec<u8> = a.pixels.iter().zip(&b.pixels).map(|(a, b)| a.abs_diff(*b)).collect();
    let mut counts = [0_usize; 256];
    pixels.iter().for_each(|value| counts[usize::from(*value)] += 1);
    // One sample of a thousand may be cut.
    let mut above = pixels.len() / 1000;
    let most = (1..=255_u8).rev().find(|value| {
        let count = counts[usize::from(*value)];
        let fits = count <= above;
        above = above.saturating_sub(count);
        !fits
    });
    let mut gain = MAX_GAIN;
    while gain > 1 && most.unwrap_or(0).checked_mul(gain).is_none() {
        gain /= 2;
    }
    pixels.iter_mut().for_each(|value| *value = value.saturating_mul(gain));
    (Rgb8 { width: a.width, height: a.height, pixels }, gain)
}

/// The part, at most so large, in which two pictures of one size differ most; the middle where they do not differ.
pub fn busiest(a: &Rgb8, b: &Rgb8, (width, height): (usize, usize)) -> Window {
    let (width, height) = (width.min(a.width), height.min(a.height));
    let sums = Sums::of(a, b);
    let places = |whole: usize, part: usize| (0..whole - part).step_by(BLOCK_PX).chain([whole - part]);
    let window = |x, y| Window { x, y, width, height };
    let (mut best, mut most) = (window((a.width - width) / 2, (a.height - height) / 2), 0);
    for (x, y) in places(a.height, height).flat_map(|y| places(a.width, width).map(move |x| (x, y))) {
        let sum = sums.within(window(x, y));
        if sum > most {
            (best, most) = (window(x, y), sum);
        }
    }
    best
}

/// A grid of squares: at each of its corners the differences of all squares above and to the left.
struct Sums {
    columns: usize,
    sums: Vec<u64>,
}

impl Sums {
    fn of(a: &Rgb8, b: &Rgb8) -> Sums {
        let (columns, rows) = (a.width.div_ceil(BLOCK_PX) + 1, a.height.div_ceil(BLOCK_PX) + 1);
        let mut sums = vec![0; columns * rows];
        let lines = a.pixels.chunks_exact(a.width * 3).zip(b.pixels.chunks_exact(a.width * 3));
        for (y, (a, b)) in lines.enumerate() {
            for (x, (a, b)) in a.chunks(BLOCK_PX * 3).zip(b.chunks(BLOCK_PX * 3)).enumerate() {
                let sum: u64 = a.iter().zip(b).map(|(a, b)| u64::from(a.abs_diff(*b))).sum();
                sums[(y / BLOCK_PX + 1) * columns + x + 1] += sum;
            }
        }
        for at in columns + 1..sums.len() {
            if !at.is_multiple_of(columns) {
                sums[at] = sums[at] + sums[at - 1] + sums[at - columns] - sums[at - columns - 1];
            }
        }
        Sums { columns, sums }
    }

    /// Over the squares that a window touches with its upper left half.
    fn within(&self, window: Window) -> u64 {
        let at = |x: usize, y: usize| self.sums[y * self.columns + x];
        let (left, top) = (window.x / BLOCK_PX, window.y / BLOCK_PX);
        let (right, bottom) = ((window.x + window.width) / BLOCK_PX, (window.y + window.height) / BLOCK_PX);
        at(right, bottom) + at(left, top) - at(left, bottom) - at(right, top)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_crop_is_where_the_difference_is_and_it_is_made_visible() {
        let a = Rgb8::filled(200, 100, [100; 3]);
        let mut b = a.clone();
        assert_eq!(busiest(&a, &b, (50, 20)), Window { x: 75, y: 40, width: 50, height: 20 });
        b.paste(&Rgb8::filled(10, 10, [104; 3]), (180, 70), 1);
        let window = busiest(&a, &b, (50, 40));
        assert!(window.x <= 180 && window.x + 50 >= 190 && window.y <= 70 && window.y + 40 >= 80, "{window:?}");
        assert_eq!(busiest(&a, &b, (500, 500)), Window { x: 0, y: 0, width: 200, height: 100 });
        let (seen, gain) = difference(&a, &b);
        assert_eq!((gain, seen.crop(Window { x: 180, y: 70, width: 1, height: 1 }).pixels), (16, vec![64; 3]));
        // Stronger differences need less.
        b.paste(&Rgb8::filled(20, 20, [180; 3]), (0, 0), 1);
        assert_eq!(difference(&a, &b).1, 2);
        assert_eq!(difference(&a, &a).1, 16);
    }

    #[test]
    fn png_holds_what_was_pasted() {
        let mut picture = Rgb8::filled(6, 4, [1, 2, 3]);
        picture.paste(&Rgb8::filled(1, 1, [9; 3]), (2, 1), 2);
        let mut reader = png::Decoder::new(std::io::Cursor::new(picture.png().unwrap())).read_info().unwrap();
        let mut pixels = vec![0; reader.output_buffer_size().unwrap()];
        reader.next_frame(&mut pixels).unwrap();
        assert_eq!(pixels, picture.pixels);
        assert_eq!((pixels[(6 + 2) * 3], pixels[(2 * 6 + 3) * 3], pixels[(3 * 6 + 3) * 3]), (9, 9, 1));
    }
}
