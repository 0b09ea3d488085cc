//! Parts of a frame as planar float RGB, turned and scaled, straight from the frame's planes: a model that looks at a person
//! needs no whole frame in RGB.
//!
//! Chroma is taken where [`super::ToRgb::with_nearest_chroma`] takes it, in the middle of its luma samples.

use darkroom_api::Result;

use super::matrix::Codes;
use super::planes::{Component, Layout, plane_of};
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
    rows: [Vec<f32>; 3],
    sums: Vec<u32>,
}

impl Sampler {
    /// A sampler. One for each thread.
    pub fn new() -> Sampler {
        Sampler::default()
    }

    /// Writes a crop of `width` columns into `out`: `[3, h, w]`, 0 to 1, red first, with bilinear interpolation; black where
    /// the frame ends.
    ///
    /// # Errors
    /// `input-unsupported` for a matrix that is not linear in RGB.
    pub fn warp(&mut self, frame: &Frame, map: &Affine, width: usize, out: &mut [f32]) -> Result<()> {
        self.each_row(frame, width, out, |plane, _, row, _, out| plane.interpolate(map, row, out))
    }

    /// Writes a whole frame into `out`, with `width` columns, each pixel the mean of those that it stands for. For much smaller
    /// pictures: pixels of the frame are not shared out.
    ///
    /// # Errors
    /// As [`Sampler::warp`].
    pub fn shrink(&mut self, frame: &Frame, width: usize, out: &mut [f32]) -> Result<()> {
        self.each_row(frame, width, out, |plane, sums, row, rows, out| plane.average(sums, row, rows, out))
    }

    fn each_row(
        &mut self,
        frame: &Frame,
        width: usize,
        out: &mut [f32],
        mut fill: impl FnMut(&Samples<'_>, &mut Vec<u32>, usize, usize, &mut [f32]),
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
        let planes = Samples::of(frame, &layout, &code, tags.is_full_range());
        for row in &mut self.rows {
            row.resize(width, 0.0);
        }
        let rows = out.len() / (3 * width);
        let (r, gb) = out.split_at_mut(rows * width);
        let (g, b) = gb.split_at_mut(rows * width);
        let lines = r.chunks_exact_mut(width).zip(g.chunks_exact_mut(width)).zip(b.chunks_exact_mut(width));
        let sums = &mut self.sums;
        for (row, ((r, g), b)) in lines.enumerate() {
            match (&code, &planes[..]) {
                (Code::Yuv(_, factors), [y, u, v]) => {
                    let [to_y, to_u, to_v] = &mut self.rows;
                    fill(y, sums, row, rows, to_y);
                    fill(u, sums, row, rows, to_u);
                    fill(v, sums, row, rows, to_v);
                    simd::yuv_to_rgb(to_y, to_u, to_v, r, g, b, *factors);
                }
                (Code::Rgb(_), [red, green, blue]) => {
                    fill(red, sums, row, rows, r);
                    fill(green, sums, row, rows, g);
                    fill(blue, sums, row, rows, b);
                }
                (_, planes) => {
                    let grey = planes.first().ok_or_else(|| fault("it has no planes"))?;
                    fill(grey, sums, row, rows, r);
                    r.iter_mut().for_each(|value| *value = value.clamp(0.0, 1.0));
                    g.copy_from_slice(r);
                    b.copy_from_slice(r);
                }
            }
        }
        if tags.is_hdr() {
            self.tone.get_or_insert_with(|| ToneMap::new(tags)).apply(out);
        }
        Ok(())
    }
}

/// The samples of one component.
struct Samples<'a> {
    data: &'a [u8],
    stride: usize,
    component: Component,
    width: usize,
    height: usize,
    /// What of a luma sample one of these is wide and high.
    share: [f32; 2],
    /// Value of a stored sample: `sample * scale + offset`.
    scale: f32,
    offset: f32,
}

impl<'a> Samples<'a> {
    #[allow(clippy::cast_precision_loss, reason = "at most 2^16")]
    fn of(frame: &'a Frame, layout: &Layout, code: &Code, full_range: bool) -> Vec<Samples<'a>> {
        let colours = layout.components.iter().take(if layout.colours() < 3 { 1 } else { 3 });
        let samples = colours.enumerate().map(|(index, component)| {
            let chroma = index > 0 && matches!(code, Code::Yuv(..));
            let codes = match code {
                Code::Rgb(codes) | Code::Grey(codes) => *codes,
                Code::Yuv(luma, _) if !chroma => *luma,
                Code::Yuv(..) => Codes::chroma(component.depth, full_range),
            };
            let shift = if chroma { [layout.log2_chroma_w, layout.log2_chroma_h] } else { [0, 0] };
            let side = |side: u32, shift: u32| side.div_ceil(1 << shift) as usize;
            let plane = plane_of(frame, *component);
            Samples {
                data: plane.data,
                stride: plane.stride,
                component: *component,
                width: side(frame.width(), shift[0]),
                height: side(frame.height(), shift[1]),
                share: shift.map(|shift| 1.0 / (1_u32 << shift) as f32),
                scale: 1.0 / (codes.scale * (1_u32 << component.shift) as f32),
                offset: -codes.offset / codes.scale,
            }
        });
        samples.collect()
    }

    /// A stored sample; 0 behind the end of a damaged frame.
    #[inline(always)]
    fn at(&self, index: usize) -> u32 {
        let byte = |index: usize| u32::from(self.data.get(index).copied().unwrap_or(0));
        match (self.component.sample_bytes(), self.component.big_endian) {
            (1, _) => byte(index),
            (_, false) => byte(index) | byte(index + 1) << 8,
            (_, true) => byte(index) << 8 | byte(index + 1),
        }
    }

    /// A row of a crop.
    fn interpolate(&self, map: &Affine, row: usize, out: &mut [f32]) {
        let step = self.component.step;
        if self.component.sample_bytes() == 1 && step == 1 {
            // The common case, without what it does not need.
            let byte = |index: usize| f32::from(self.data[index]);
            self.interpolate_with(map, row, out, byte, 1);
        } else {
            #[allow(clippy::cast_precision_loss, reason = "at most 2^16")]
            let sample = |index: usize| self.at(index) as f32;
            self.interpolate_with(map, row, out, sample, step);
        }
    }

    #[inline(always)]
    #[allow(clippy::cast_precision_loss, clippy::cast_possible_truncation, reason = "columns and rows of pictures")]
    #[allow(clippy::cast_sign_loss, reason = "what is left of the picture becomes a column far to its right")]
    fn interpolate_with(&self, map: &Affine, row: usize, out: &mut [f32], sample: impl Fn(usize) -> f32, step: usize) {
        let v = row as f32 + 0.5;
        // From the middle of the crop's pixel to places between the middles of samples.
        let start = |a: [f32; 3], share: f32| (a[0] * 0.5 + a[1] * v + a[2]) * share - 0.5;
        let (x0, y0) = (start(map.x, self.share[0]), start(map.y, self.share[1]));
        let (dx, dy) = (map.x[0] * self.share[0], map.y[0] * self.share[1]);
        let last = self.component.sample_bytes() - 1;
        let (right, below) = (self.width.saturating_sub(1), self.height.saturating_sub(1));
        for (column, out) in out.iter_mut().enumerate() {
            let (x, y) = (x0 + dx * column as f32, y0 + dy * column as f32);
            let (left, top) = (x.floor(), y.floor());
            let (fx, fy) = (x - left, y - top);
            let (left, top) = (left as i32 as usize, top as i32 as usize);
            if left < right && top < below {
                let at = top * self.stride + left * step + self.component.offset;
                let under = at + self.stride;
                if under + step + last < self.data.len() {
                    let upper = sample(at) + (sample(at + step) - sample(at)) * fx;
                    let lower = sample(under) + (sample(under + step) - sample(under)) * fx;
                    *out = (upper + (lower - upper) * fy) * self.scale + self.offset;
                    continue;
                }
            }
            *out = self.at_border(left, top, [fx, fy]);
        }
    }

    /// Where not all of four samples are in the frame; the others are black.
    #[allow(clippy::cast_precision_loss, reason = "at most 2^16")]
    fn at_border(&self, left: usize, top: usize, [fx, fy]: [f32; 2]) -> f32 {
        let value = |dx: usize, dy: usize| {
            let (x, y) = (left.wrapping_add(dx), top.wrapping_add(dy));
            if x >= self.width || y >= self.height {
                return 0.0;
            }
            let index = y * self.stride + x * self.component.step + self.component.offset;
            self.at(index) as f32 * self.scale + self.offset
        };
        let upper = value(0, 0) * (1.0 - fx) + value(1, 0) * fx;
        let lower = value(0, 1) * (1.0 - fx) + value(1, 1) * fx;
        upper * (1.0 - fy) + lower * fy
    }

    /// A row of a smaller picture of `rows` rows.
    #[allow(clippy::cast_precision_loss, reason = "at most 2^16 samples of 2^16")]
    fn average(&self, sums: &mut Vec<u32>, row: usize, rows: usize, out: &mut [f32]) {
        let part = |index: usize, count: usize, side: usize| {
            let start = (index * side / count).min(side - 1);
            start..((index + 1) * side / count).clamp(start + 1, side)
        };
        let lines = part(row, rows, self.height);
        sums.clear();
        sums.resize(self.width, 0);
        let step = self.component.step;
        for line in lines.clone() {
            let start = line * self.stride + self.component.offset;
            if self.component.sample_bytes() == 1 && step == 1 {
                let bytes = self.data.get(start..).unwrap_or(&[]);
                for (sum, byte) in sums.iter_mut().zip(bytes) {
                    *sum += u32::from(*byte);
                }
            } else {
                for (column, sum) in sums.iter_mut().enumerate() {
                    *sum += self.at(start + column * step);
                }
            }
        }
        let columns = out.len();
        for (column, out) in out.iter_mut().enumerate() {
            let part = part(column, columns, self.width);
            let count = part.len() * lines.len();
            let sum: u64 = sums[part].iter().map(|sum| u64::from(*sum)).sum();
            *out = sum as f32 / count as f32 * self.scale + self.offset;
        }
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
        // Half as large, between pixels: the mean of four. And black outside.
        let half = Affine { x: [2.0, 0.0, -2.0], y: [0.0, 2.0, 0.0] };
        Sampler::new().warp(&frame, &half, 8, &mut crop).unwrap();
        assert!(crop[0].abs() < 1e-6);
        let mean = (grey[0] + grey[1] + grey[32] + grey[33]) / 4.0;
        assert!((crop[1] - mean).abs() < 1e-5);
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
