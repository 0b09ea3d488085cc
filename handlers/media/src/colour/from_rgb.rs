//! Planar float RGB to frames.

use std::ops::Range;

use darkroom_api::Result;
use ffmpeg_next::format::Pixel;

use super::matrix::{Codes, Matrix};
use super::planes::Layout;
use super::simd;
use crate::Frame;
use crate::error::internal;
use crate::info::is_rgb;

/// Turns RGB (and alpha) into frames of a writer. Keeps its rows between frames.
pub struct FromRgb {
    dither: bool,
    rows: Rows,
}

#[derive(Default)]
struct Rows {
    /// Thresholds of one row of the dither pattern.
    dither: Vec<f32>,
    /// Those without dither.
    zeros: Vec<f32>,
    y: Vec<f32>,
    /// Colour differences of two luma rows.
    u: [Vec<f32>; 2],
    v: [Vec<f32>; 2],
    /// Mean of the two, one sample longer before and two after.
    mean: Vec<f32>,
    half: Vec<f32>,
}

/// Bayer's 8x8 matrix.
const BAYER: [[u8; 8]; 8] = [
    [0, 32, 8, 40, 2, 34, 10, 42],
    [48, 16, 56, 24, 50, 18, 58, 26],
    [12, 44, 4, 36, 14, 46, 6, 38],
    [60, 28, 52, 20, 62, 30, 54, 22],
    [3, 35, 11, 43, 1, 33, 9, 41],
    [51, 19, 59, 27, 49, 17, 57, 25],
    [15, 47, 7, 39, 13, 45, 5, 37],
    [63, 31, 55, 23, 61, 29, 53, 21],
];

impl FromRgb {
    /// A converter. `dither` spreads what 8 bits cannot hold over neighbours (ordered): for sources of more than 8
    /// bits. Codes that 8 bits hold exactly are left alone; alpha is only rounded.
    pub fn new(dither: bool) -> FromRgb {
        FromRgb { dither, rows: Rows::default() }
    }

    /// Fills a frame from `rgb` (`[3, h, w]`) and `alpha` (`[h, w]`, straight; opaque where absent), with the matrix
    /// and range of the frame's tags. Values outside 0..=1 are clamped. Where `alpha` rounds to nothing the colour is black:
    /// nobody sees it, and it would only cost bits.
    ///
    /// # Errors
    /// `internal` when sizes do not fit or a frame's format is none that a writer takes.
    pub fn convert(&mut self, rgb: &[f32], alpha: Option<&[f32]>, out: &mut Frame) -> Result<()> {
        self.convert_rows(0..out.height() as usize, rgb, alpha, out)
    }

    /// The same for some rows: `[3, rows, w]` and `[rows, w]`. They begin at an even row, and end at one or with the frame,
    /// as two rows share their chroma.
    ///
    /// # Errors
    /// As [`FromRgb::convert`].
    pub fn convert_rows(
        &mut self,
        rows: Range<usize>,
        rgb: &[f32],
        alpha: Option<&[f32]>,
        out: &mut Frame,
    ) -> Result<()> {
        let layout = self.start(&rows, out)?;
        let pixels = rows.len() * out.width() as usize;
        check_len(rgb.len(), 3 * pixels)?;
        check_len(alpha.map_or(pixels, <[f32]>::len), pixels)?;
        let planes: Vec<&[f32]> = rgb.chunks_exact(pixels.max(1)).collect();
        if is_rgb(out.format()) {
            return packed(rows, &planes, alpha, out);
        }
        if layout.colours() < 3 {
            return Err(internal("A frame cannot hold colour", "use convert_grey"));
        }
        self.colour(&rows, &planes, alpha.filter(|_| layout.has_alpha), out, &layout)?;
        if layout.has_alpha { self.alpha(&rows, alpha, out, &layout) } else { Ok(()) }
    }

    /// Fills a frame with shades of grey, `[h, w]`; colour differences are neutral, alpha is opaque.
    ///
    /// # Errors
    /// As [`FromRgb::convert`].
    pub fn convert_grey(&mut self, grey: &[f32], out: &mut Frame) -> Result<()> {
        self.convert_grey_rows(0..out.height() as usize, grey, out)
    }

    /// The same for some rows, as [`FromRgb::convert_rows`] takes them.
    ///
    /// # Errors
    /// As [`FromRgb::convert`].
    pub fn convert_grey_rows(&mut self, rows: Range<usize>, grey: &[f32], out: &mut Frame) -> Result<()> {
        let layout = self.start(&rows, out)?;
        let w = out.width() as usize;
        check_len(grey.len(), w * rows.len())?;
        if is_rgb(out.format()) {
            return packed(rows, &[grey, grey, grey], None, out);
        }
        let tags = out.colour().resolved(out.format(), out.height());
        let depth = layout.components[0].depth;
        let luma = Codes::luma(depth, tags.is_full_range());
        for (row, values) in rows.clone().zip(grey.chunks_exact(w)) {
            self.rows.store(out, layout.components[0].plane, row, values, luma, depth, self.dither)?;
        }
        if layout.colours() >= 3 {
            let half = |n: usize, log2: u32| n.div_ceil(1 << log2);
            let neutral = vec![0.0; half(w, layout.log2_chroma_w)];
            for component in &layout.components[1..3] {
                let codes = Codes::chroma(depth, tags.is_full_range());
                for row in half(rows.start, layout.log2_chroma_h)..half(rows.end, layout.log2_chroma_h) {
                    self.rows.store(out, component.plane, row, &neutral, codes, depth, false)?;
                }
            }
        }
        if layout.has_alpha { self.alpha(&rows, None, out, &layout) } else { Ok(()) }
    }

    /// Checks that rows can be written alone.
    fn start(&mut self, rows: &Range<usize>, out: &Frame) -> Result<Layout> {
        let height = out.height() as usize;
        let ends = |row: usize| row.is_multiple_of(2) || row == height;
        if rows.end > height || !rows.start.is_multiple_of(2) || !ends(rows.end) {
            return Err(internal("Rows cannot be written alone", format!("{rows:?} of {height}")));
        }
        self.rows.start(out.width() as usize);
        layout_of(out)
    }

    fn alpha(&mut self, rows: &Range<usize>, alpha: Option<&[f32]>, out: &mut Frame, layout: &Layout) -> Result<()> {
        let w = out.width() as usize;
        let component = layout.components[layout.components.len() - 1];
        let codes = Codes::luma(component.depth, true);
        let opaque = vec![1.0; if alpha.is_none() { w } else { 0 }];
        for (at, row) in rows.clone().enumerate() {
            let values = alpha.map_or(opaque.as_slice(), |a| &a[at * w..(at + 1) * w]);
            self.rows.store(out, component.plane, row, values, codes, component.depth, false)?;
        }
        Ok(())
    }

    fn colour(
        &mut self,
        range: &Range<usize>,
        planes: &[&[f32]],
        alpha: Option<&[f32]>,
        out: &mut Frame,
        layout: &Layout,
    ) -> Result<()> {
        let w = out.width() as usize;
        let tags = out.colour().resolved(out.format(), out.height());
        let matrix = Matrix::of(tags)?;
        let factors = [matrix.kr, matrix.kg(), matrix.kb, 0.5 / (1.0 - matrix.kb), 0.5 / (1.0 - matrix.kr)];
        let depth = layout.components[0].depth;
        let luma = Codes::luma(depth, tags.is_full_range());
        let chroma = Codes::chroma(depth, tags.is_full_range());
        let step = 1 << layout.log2_chroma_h;
        for top in range.clone().step_by(step) {
            for line in 0..step {
                // A lone last row is its own neighbour.
                let row = (top + line).min(range.end - 1);
                let at = (row - range.start) * w..(row - range.start + 1) * w;
                let rows = &mut self.rows;
                let (u, v) = (&mut rows.u[line], &mut rows.v[line]);
                let [r, g, b] = [0, 1, 2].map(|p| &planes[p][at.clone()]);
                simd::rgb_to_yuv(r, g, b, &mut rows.y, u, v, factors);
                if let Some(alpha) = alpha {
                    simd::hide(&alpha[at], &mut rows.y, u, v, invisible_below(depth));
                }
                if top + line < range.end {
                    let y = std::mem::take(&mut rows.y);
                    rows.store(out, layout.components[0].plane, row, &y, luma, depth, self.dither)?;
                    rows.y = y;
                }
            }
            for (index, component) in layout.components[1..3].iter().enumerate() {
                let half = self.rows.chroma_row(index, layout, w);
                self.rows.store(out, component.plane, top / step, &half, chroma, depth, self.dither)?;
                self.rows.half = half;
            }
        }
        Ok(())
    }
}

impl Rows {
    fn start(&mut self, width: usize) {
        for row in [&mut self.y].into_iter().chain(&mut self.u).chain(&mut self.v) {
            row.resize(width, 0.0);
        }
        self.dither.resize(width, 0.0);
        self.zeros.resize(width, 0.0);
        self.mean.resize(width + 3, 0.0);
    }

    /// Brings the colour differences of the rows at hand to the size of a chroma row: the mean of two rows (chroma
    /// lies between them), and a 1-2-1 filter along the row (chroma lies on every even sample: "left").
    fn chroma_row(&mut self, index: usize, layout: &Layout, width: usize) -> Vec<f32> {
        let mut half = std::mem::take(&mut self.half);
        let rows = if index == 0 { &self.u } else { &self.v };
        let below = if layout.log2_chroma_h == 1 { &rows[1] } else { &rows[0] };
        if layout.log2_chroma_w == 0 {
            half.resize(width, 0.0);
            simd::blend(&rows[0], below, &mut half, 0.5, 0.5);
            return half;
        }
        simd::blend(&rows[0], below, &mut self.mean[1..=width], 0.5, 0.5);
        self.mean[0] = self.mean[1];
        self.mean[width + 1] = self.mean[width];
        self.mean[width + 2] = self.mean[width];
        half.resize(width.div_ceil(2), 0.0);
        simd::downsample(&self.mean, &mut half);
        half
    }

    #[allow(clippy::too_many_arguments, reason = "one row and how it is coded")]
    fn store(
        &mut self,
        out: &mut Frame,
        plane: usize,
        row: usize,
        values: &[f32],
        codes: Codes,
        depth: u32,
        dither: bool,
    ) -> Result<()> {
        let plane = out.plane_mut(plane).ok_or_else(|| internal("A frame lacks a plane", plane))?;
        let bytes = plane.data.get_mut(row * plane.stride..).unwrap_or(&mut []);
        if depth > 8 {
            #[allow(clippy::cast_precision_loss, reason = "at most 16 bits")]
            let max = ((1_u32 << depth) - 1) as f32;
            simd::store_u16(values, bytes, codes.scale, codes.offset, max);
            return Ok(());
        }
        if dither {
            for (x, d) in self.dither.iter_mut().enumerate() {
                // Less than half a code either way, so that exact codes stay.
                *d = (f32::from(BAYER[row % 8][x % 8]) + 0.5) / 64.0 - 0.5;
            }
        }
        let thresholds = if dither { &self.dither } else { &self.zeros };
        simd::store_u8(values, bytes, codes.scale, codes.offset, thresholds);
        Ok(())
    }
}

/// RGB or RGBA of 8 or 16 bits, as PNG wants it.
fn packed(rows: Range<usize>, planes: &[&[f32]], alpha: Option<&[f32]>, out: &mut Frame) -> Result<()> {
    let w = out.width() as usize;
    let (deep, channels) = match out.format() {
        Pixel::RGB24 => (false, 3),
        Pixel::RGBA => (false, 4),
        Pixel::RGB48BE => (true, 3),
        Pixel::RGBA64BE => (true, 4),
        other => return Err(internal("No writer takes this format", format!("{other:?}"))),
    };
    let invisible = invisible_below(if deep { 16 } else { 8 });
    let alpha = alpha.filter(|_| channels == 4);
    let plane = out.plane_mut(0).ok_or_else(|| internal("A frame lacks a plane", 0))?;
    for (at, line) in plane.data.chunks_mut(plane.stride).skip(rows.start).take(rows.len()).enumerate() {
        let range = at * w..(at + 1) * w;
        let colour = planes[0][range.clone()].iter().zip(&planes[1][range.clone()]).zip(&planes[2][range.clone()]);
        let alphas = alpha.map(|a| &a[range]);
        for (x, ((r, g), b)) in colour.enumerate() {
            let alpha = alphas.map_or(1.0, |a| a[x]);
            let seen = alpha >= invisible;
            let pixel = if seen { [*r, *g, *b, alpha] } else { [0.0; 4] };
            if deep {
                let at = x * 2 * channels;
                for (o, v) in line[at..at + 2 * channels].chunks_exact_mut(2).zip(pixel) {
                    o.copy_from_slice(&code::<u16>(v, 65535.0).to_be_bytes());
                }
            } else {
                for (o, v) in line[x * channels..(x + 1) * channels].iter_mut().zip(pixel) {
                    *o = code::<u8>(v, 255.0);
                }
            }
        }
    }
    Ok(())
}

trait FromFloat {
    fn from_float(v: f32) -> Self;
}
impl FromFloat for u8 {
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped and rounded; casts saturate")]
    fn from_float(v: f32) -> u8 {
        v as u8
    }
}
impl FromFloat for u16 {
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped and rounded; casts saturate")]
    fn from_float(v: f32) -> u16 {
        v as u16
    }
}

fn code<T: FromFloat>(value: f32, max: f32) -> T {
    T::from_float(value.clamp(0.0, 1.0) * max + 0.5)
}

/// Half of the smallest step of an alpha plane.
fn invisible_below(depth: u32) -> f32 {
    #[allow(clippy::cast_precision_loss, reason = "at most 16 bits")]
    let steps = ((1_u32 << depth) - 1) as f32;
    0.5 / steps
}

fn layout_of(frame: &Frame) -> Result<Layout> {
    // Big-endian words are for PNG only, which is packed by hand.
    let writable = |layout: &Layout| is_rgb(frame.format()) || layout.components.iter().all(|c| !c.big_endian);
    let layout = Layout::of(frame.format()).filter(writable);
    layout.ok_or_else(|| internal("No writer takes this format", format!("{:?}", frame.format())))
}

fn check_len(got: usize, want: usize) -> Result<()> {
    if got == want { Ok(()) } else { Err(internal("A picture does not fit its frame", format!("{got} for {want}"))) }
}
