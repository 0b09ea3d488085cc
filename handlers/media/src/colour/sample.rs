//! Parts of a frame as planar float RGB, turned and scaled, straight from the frame's planes: a model that looks at a person
//! needs no whole frame in RGB.
//!
//! Chroma is taken where [`super::ToRgb::with_nearest_chroma`] takes it, in the middle of its luma samples.

use darkroom_api::Result;

use super::planes::Layout;
use super::samples::{Samples, Scratch};
use super::simd;
use super::to_rgb::{Code, Unpack, unpack};
use super::tone::ToneMap;
use crate::Frame;
use crate::error::internal;
use crate::info::is_rgb;

/// Which point of a frame a point of a crop shows: `x = x[0] * u + x[1] * v + x[2]`, and `y` alike, in pixels from the upper
/// left corners, so that the middle of a first pixel is (0.5, 0.5).
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Affine {
    /// The frame's column.
    pub x: [f32; 3],
    /// The frame's row.
    pub y: [f32; 3],
}

/// Takes crops. HDR is mapped to BT.709, which is what models know.
#[derive(Default)]
pub struct Sampler {
    unpack: Option<Unpack>,
    tone: Option<ToneMap>,
    planes: [Vec<f32>; 3],
    scratch: Scratch,
}

impl Sampler {
    /// A sampler. One for each thread.
    pub fn new() -> Sampler {
        Sampler::default()
    }

    /// Writes a crop of `width` columns into `out`: `[3, h, w]`, 0 to 1, red first, with bilinear interpolation; where the crop
    /// is n times smaller than what it shows, between means of n x n samples. Black where the frame ends.
    ///
    /// # Errors
    /// `input-unsupported` for a matrix that is not linear in RGB.
    pub fn warp(&mut self, frame: &Frame, map: &Affine, width: usize, out: &mut [f32]) -> Result<()> {
        self.fill(frame, width, out, |samples, scratch, out| samples.warp(map, width, scratch, out))
    }

    /// Writes a whole frame into `out`, with `width` columns, each pixel the mean of those that it stands for. For much smaller
    /// pictures: pixels of the frame are not shared out.
    ///
    /// # Errors
    /// As [`Sampler::warp`].
    pub fn shrink(&mut self, frame: &Frame, width: usize, out: &mut [f32]) -> Result<()> {
        self.fill(frame, width, out, |samples, scratch, out| samples.shrink(width, scratch, out))
    }

    /// Fills each component, and makes RGB of them.
    fn fill(
        &mut self,
        frame: &Frame,
        width: usize,
        out: &mut [f32],
        fill: impl Fn(&Samples<'_>, &mut Scratch, &mut [f32]),
    ) -> Result<()> {
        let tags = frame.colour().resolved(frame.format(), frame.height());
        let frame = match Layout::of(frame.format()) {
            Some(_) => frame,
            None => unpack(&mut self.unpack, frame)?,
        };
        let fault = |what| internal("A frame cannot be sampled", what);
        let layout = Layout::of(frame.format()).ok_or_else(|| fault("its format is not plain"))?;
        let code = Code::of(&layout, tags, is_rgb(frame.format()))?;
        if width == 0 || out.is_empty() || !out.len().is_multiple_of(3 * width) || frame.width() == 0 {
            return Err(fault("the crop has no size"));
        }
        let samples = Samples::of(frame, &layout, &code, tags.is_full_range());
        let size = out.len() / 3;
        let (r, gb) = out.split_at_mut(size);
        let (g, b) = gb.split_at_mut(size);
        match (&code, &samples[..]) {
            (Code::Yuv(_, factors), samples @ [_, _, _]) => {
                for (samples, plane) in samples.iter().zip(&mut self.planes) {
                    plane.resize(size, 0.0);
                    fill(samples, &mut self.scratch, plane);
                }
                let [y, u, v] = &self.planes;
                simd::yuv_to_rgb(y, u, v, r, g, b, *factors);
            }
            (Code::Rgb(_), samples @ [_, _, _]) => {
                for (samples, plane) in samples.iter().zip([r, g, b]) {
                    fill(samples, &mut self.scratch, plane);
                }
            }
            (_, samples) => {
                let grey = samples.first().ok_or_else(|| fault("it has no planes"))?;
                fill(grey, &mut self.scratch, r);
                r.iter_mut().for_each(|value| *value = value.clamp(0.0, 1.0));
                g.copy_from_slice(r);
                b.copy_from_slice(r);
            }
        }
        if tags.is_hdr() {
            self.tone.get_or_insert_with(|| ToneMap::new(tags)).apply(out);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use ffmpeg_next::format::Pixel;

    use super::*;
    use crate::colour::{Hdr, ToRgb};

    /// A picture that differs everywhere, smooth enough that chroma's place does not matter much.
    fn frame(format: Pixel, width: u32, height: u32) -> Frame {
        let mut frame = Frame::new(format, width, height).unwrap();
        for index in 0..3 {
            let Some(plane) = frame.plane_mut(index) else { continue };
            let stride = plane.stride;
            for (at, byte) in plane.data.iter_mut().enumerate() {
                let (x, y) = (at % stride, at / stride);
                *byte = (100 + index * 15 + 2 * x / (index + 1) + y) as u8;
            }
        }
        frame
    }

    fn whole(frame: &Frame) -> Vec<f32> {
        let mut rgb = vec![0.0; 3 * (frame.width() * frame.height()) as usize];
        ToRgb::new(Hdr::Refuse).with_nearest_chroma().convert(frame, &mut rgb).unwrap();
        rgb
    }

    #[test]
    fn a_crop_that_is_the_frame_has_its_pixels() {
        let same = Affine { x: [1.0, 0.0, 0.0], y: [0.0, 1.0, 0.0] };
        for (format, limit) in [
            (Pixel::RGB24, 1e-6),
            (Pixel::GRAY8, 1e-6),
            (Pixel::YUV444P, 1e-6),
            (Pixel::YUV420P, 0.02),
            (Pixel::NV12, 0.02),
        ] {
            let frame = frame(format, 32, 24);
            let mut crop = vec![9.0; 3 * 32 * 24];
            Sampler::new().warp(&frame, &same, 32, &mut crop).unwrap();
            let whole = whole(&frame);
            // The outermost pixels of what is smaller in chroma are blended with nothing.
            let inner = |index: usize| (1..31).contains(&(index % 32)) && (1..23).contains(&(index / 32 % 24));
            for (index, (a, b)) in crop.iter().zip(&whole).enumerate().filter(|(index, _)| inner(*index)) {
                assert!((a - b).abs() < limit, "{format:?} {index}: {a} {b}");
            }
        }
    }

    #[test]
    fn crops_turn_and_scale_about_pixel_corners() {
        let frame = frame(Pixel::GRAY8, 32, 24);
        let grey = whole(&frame);
        // A quarter turn: the crop's columns run down the frame.
        let turned = Affine { x: [0.0, -1.0, 20.0], y: [1.0, 0.0, 4.0] };
        let mut crop = vec![0.0; 3 * 8 * 8];
        Sampler::new().warp(&frame, &turned, 8, &mut crop).unwrap();
        for (u, v) in [(0, 0), (3, 5), (7, 7)] {
            let wanted = grey[(4 + u) * 32 + 19 - v];
            assert!((crop[v * 8 + u] - wanted).abs() < 1e-5, "{u} {v}");
        }
        // Half as large, a little more, and a third: means of four and of nine. And black outside.
        for (scale, cell) in [(2.0, 2), (2.5, 2), (3.0, 3)] {
            let smaller = Affine { x: [scale, 0.0, -2.0 * scale], y: [0.0, scale, 0.0] };
            Sampler::new().warp(&frame, &smaller, 8, &mut crop).unwrap();
            assert!(crop[0].abs() < 1e-6);
            let mean = (0..cell * cell).map(|i| grey[i / cell * 32 + i % cell]).sum::<f32>() / (cell * cell) as f32;
            if scale == cell as f32 {
                assert!((crop[2] - mean).abs() < 1e-5, "{scale}: {} {mean}", crop[2]);
            }
            // The picture is a slope: any means of it are on it.
            let slope = |u: f32, v: f32| (100.0 + 2.0 * (u - 0.5) + (v - 0.5) - 16.0) / 219.0;
            let (u, v) = ((4.5 - 2.0) * scale, 3.5 * scale);
            let wanted = slope(u, v);
            assert!((crop[3 * 8 + 4] - wanted).abs() < 1e-4, "{scale}: {} {wanted}", crop[3 * 8 + 4]);
        }
    }

    #[test]
    fn a_small_picture_has_the_means_of_its_parts() {
        for format in [Pixel::GRAY8, Pixel::YUV420P, Pixel::RGB24] {
            let frame = frame(format, 32, 24);
            let mut small = vec![0.0; 3 * 8 * 6];
            Sampler::new().shrink(&frame, 8, &mut small).unwrap();
            let whole = whole(&frame);
            for (index, value) in small.iter().enumerate() {
                let (c, y, x) = (index / 48, index / 8 % 6, index % 8);
                let part = (0..16).map(|i| whole[c * 768 + (4 * y + i / 4) * 32 + 4 * x + i % 4]);
                let mean = part.sum::<f32>() / 16.0;
                assert!((value - mean).abs() < 1e-4, "{format:?} {index}: {value} {mean}");
            }
        }
    }
}
