//! Frames to planar float RGB.

use std::ops::Range;

use darkroom_api::{ErrorCode, JobError, Result};
use ffmpeg_next::format::Pixel;
use ffmpeg_next::software::scaling;

use super::matrix::{Codes, Matrix, Siting};
use super::planes::{Component, Layout, load_row, plane_of};
use super::simd;
use super::tone::ToneMap;
use crate::error::internal;
use crate::info::is_rgb;
use crate::{ColourTags, Frame, ffi};

/// What to do with PQ and HLG.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Hdr {
    /// Fail with `input-hdr`: the output cannot hold it.
    #[default]
    Refuse,
    /// Pass the coded values on: the output carries the same tags.
    Keep,
    /// Map to BT.709 (`colour::tone` says how).
    ToneMap,
}

/// Turns frames into RGB, `[3, h, w]`, 0 to 1, in the frame's own transfer. Keeps its rows between frames.
pub struct ToRgb {
    hdr: Hdr,
    nearest_chroma: bool,
    rows: Rows,
    unpack: Option<Unpack>,
    tone: Option<ToneMap>,
}

#[derive(Default)]
struct Rows {
    y: Vec<f32>,
    /// Two neighbouring rows of each colour difference, as coded.
    coded: [[Vec<f32>; 2]; 2],
    /// The chroma row that stands in each slot.
    held: [Option<usize>; 2],
    /// Between two rows, one sample longer at both ends.
    between: Vec<f32>,
    u: Vec<f32>,
    v: Vec<f32>,
}

pub(super) struct Unpack {
    scaler: scaling::Context,
    from: (Pixel, u32, u32),
    frame: Frame,
}

// SAFETY: a scaler has no tie to the thread that made it, and nobody else holds this one.
unsafe impl Send for Unpack {}

impl ToRgb {
    /// A converter. One for each thread.
    pub fn new(hdr: Hdr) -> ToRgb {
        ToRgb { hdr, nearest_chroma: false, rows: Rows::default(), unpack: None, tone: None }
    }

    /// The same without interpolation of chroma: each sample stands for its two or four pixels, as OpenCV and swscale's
    /// fast paths decode, and so as models of vision mostly saw their training data. Files also often lie about where
    /// chroma sits: swscale makes it of pairs of pixels, H.264 without a word means "left".
    #[must_use]
    pub fn with_nearest_chroma(mut self) -> ToRgb {
        self.nearest_chroma = true;
        self
    }

    /// Writes a frame's colour into `out`: `3 * width * height` values, red plane first.
    ///
    /// # Errors
    /// `input-hdr`; `input-unsupported` for a matrix that is not linear in RGB.
    pub fn convert(&mut self, frame: &Frame, out: &mut [f32]) -> Result<()> {
        self.of(frame)?.rows(0..frame.height() as usize, out)
    }

    /// A frame whose rows can be converted a few at a time.
    ///
    /// # Errors
    /// As [`ToRgb::convert`].
    pub fn of<'a>(&'a mut self, frame: &'a Frame) -> Result<RgbRows<'a>> {
        let tags = frame.colour().resolved(frame.format(), frame.height());
        if tags.is_hdr() && self.hdr == Hdr::Refuse {
            return Err(JobError::new(
                ErrorCode::InputHdr,
                "The video is HDR (PQ or HLG), which this output cannot hold: set `tone_map`, or choose an output of \
                 more than 8 bits.",
            ));
        }
        let tone = if tags.is_hdr() && self.hdr == Hdr::ToneMap {
            Some(&*self.tone.get_or_insert_with(|| ToneMap::new(tags)))
        } else {
            None
        };
        let frame = match Layout::of(frame.format()) {
            Some(_) => frame,
            None => unpack(&mut self.unpack, frame)?,
        };
        let layout = Layout::of(frame.format())
            .ok_or_else(|| internal("A frame was not unpacked", "its format is not plain"))?;
        let code = Code::of(&layout, tags, is_rgb(frame.format()))?;
        self.rows.start(frame, &layout);
        Ok(RgbRows { frame, layout, tags, code, nearest: self.nearest_chroma, rows: &mut self.rows, tone })
    }
}

/// Through swscale to a plain format of the same family, so that matrix and range stay ours.
pub(super) fn unpack<'a>(kept: &'a mut Option<Unpack>, frame: &Frame) -> Result<&'a Frame> {
    let fault = |e: ffmpeg_next::Error| internal("A frame's pixel format cannot be converted", e);
    let from = (frame.format(), frame.width(), frame.height());
    let unpack = match kept.take().filter(|u| u.from == from) {
        Some(unpack) => unpack,
        None => {
            let to = unpacked_format(from.0);
            let flags = scaling::Flags::ACCURATE_RND | scaling::Flags::FULL_CHR_H_INT | scaling::Flags::BILINEAR;
            let scaler = scaling::Context::get(from.0, from.1, from.2, to, from.1, from.2, flags).map_err(fault)?;
            Unpack { scaler, from, frame: Frame::new(to, from.1, from.2)? }
        }
    };
    let unpack = kept.insert(unpack);
    unpack.scaler.run(frame.inner(), unpack.frame.inner_mut()).map_err(fault)?;
    Ok(&unpack.frame)
}

fn unpacked_format(format: Pixel) -> Pixel {
    let deep = ffi::component_depth(format).0 > 8;
    let palette = ffi::format_flags(format) & ffmpeg_next::ffi::AV_PIX_FMT_FLAG_PAL as u64 != 0;
    match (is_rgb(format) || palette, deep, format) {
        // swscale takes other ways from palettes through YUV, with loss.
        (true, false, _) => Pixel::RGB24,
        (true, true, _) => Pixel::GBRP16LE,
        (false, true, _) => Pixel::YUV444P16LE,
        (false, false, Pixel::YUVJ411P | Pixel::YUVJ440P) => Pixel::YUVJ444P,
        (false, false, _) => Pixel::YUV444P,
    }
}

/// Writes a frame's alpha into `out` (`width * height` values, 1 is opaque); `false` where it has none.
pub fn alpha_of(frame: &Frame, out: &mut [f32]) -> bool {
    if let Some(palette) = ffi::palette(frame.inner()) {
        return alpha_of_palette(frame, palette, out);
    }
    let Some(layout) = Layout::of(frame.format()).filter(|l| l.has_alpha) else { return false };
    let component = layout.components[layout.components.len() - 1];
    let codes = Codes::luma(component.depth, true);
    for (row, out) in out.chunks_exact_mut(frame.width() as usize).enumerate() {
        load_row(plane_of(frame, component), component, row, codes, out);
    }
    true
}

fn alpha_of_palette(frame: &Frame, palette: &[u8], out: &mut [f32]) -> bool {
    let Some(plane) = frame.plane(0) else { return false };
    let alphas: Vec<f32> =
        palette.chunks_exact(4).map(|c| (u32::from_ne_bytes([c[0], c[1], c[2], c[3]]) >> 24) as f32 / 255.0).collect();
    for (row, out) in plane.data.chunks(plane.stride).zip(out.chunks_exact_mut(frame.width() as usize)) {
        for (o, index) in out.iter_mut().zip(row) {
            *o = alphas.get(usize::from(*index)).copied().unwrap_or(1.0);
        }
    }
    true
}

/// How a frame's samples become RGB.
pub(super) enum Code {
    /// They are RGB.
    Rgb(Codes),
    /// Luma alone.
    Grey(Codes),
    /// Luma, colour differences, and factors of the matrix: cr_r, cb_g, cr_g, cb_b.
    Yuv(Codes, [f32; 4]),
}

impl Code {
    pub(super) fn of(layout: &Layout, tags: ColourTags, rgb: bool) -> Result<Code> {
        let depth = layout.components[0].depth;
        let luma = Codes::luma(depth, tags.is_full_range() || (rgb && tags.range == 0));
        if rgb {
            return Ok(Code::Rgb(luma));
        }
        if layout.colours() < 3 {
            return Ok(Code::Grey(luma));
        }
        let to_rgb = Matrix::of(tags)?.to_rgb();
        Ok(Code::Yuv(luma, [to_rgb.cr_r, to_rgb.cb_g, to_rgb.cr_g, to_rgb.cb_b]))
    }
}

/// A frame whose rows can be converted.
pub struct RgbRows<'a> {
    frame: &'a Frame,
    layout: Layout,
    tags: ColourTags,
    code: Code,
    nearest: bool,
    rows: &'a mut Rows,
    tone: Option<&'a ToneMap>,
}

impl RgbRows<'_> {
    /// Writes the colour of some rows into `out`: `3 * rows * width` values, red first. Rows that follow each other cost
    /// least.
    ///
    /// # Errors
    /// `internal` where `out` has another size or the frame fewer rows.
    pub fn rows(&mut self, range: Range<usize>, out: &mut [f32]) -> Result<()> {
        let w = self.frame.width() as usize;
        if out.len() != 3 * w * range.len() || range.end > self.frame.height() as usize {
            let what = format!("{} values for rows {range:?} of {w}", out.len());
            return Err(internal("A frame does not fit its buffer", what));
        }
        let (r, gb) = out.split_at_mut(out.len() / 3);
        let (g, b) = gb.split_at_mut(gb.len() / 2);
        let planes = r.chunks_exact_mut(w).zip(g.chunks_exact_mut(w)).zip(b.chunks_exact_mut(w));
        let (frame, components) = (self.frame, &self.layout.components);
        let mut chroma = match self.code {
            Code::Yuv(..) => Some(Chroma::new(frame, &self.layout, self.tags, self.nearest)),
            _ => None,
        };
        for (row, ((r, g), b)) in range.zip(planes) {
            let load = |index: usize, codes: Codes, out: &mut [f32]| {
                load_row(plane_of(frame, components[index]), components[index], row, codes, out);
            };
            match (&self.code, &mut chroma) {
                (Code::Rgb(codes), _) => {
                    for (index, out) in [r, g, b].into_iter().enumerate() {
                        load(index, *codes, out);
                    }
                }
                (Code::Yuv(luma, factors), Some(chroma)) => {
                    load(0, *luma, &mut self.rows.y);
                    chroma.row(self.rows, row);
                    simd::yuv_to_rgb(&self.rows.y, &self.rows.u, &self.rows.v, r, g, b, *factors);
                }
                (Code::Grey(luma) | Code::Yuv(luma, _), _) => {
                    load(0, *luma, r);
                    r.iter_mut().for_each(|v| *v = v.clamp(0.0, 1.0));
                    g.copy_from_slice(r);
                    b.copy_from_slice(r);
                }
            }
        }
        if let Some(tone) = self.tone {
            tone.apply(out);
        }
        Ok(())
    }
}

impl Rows {
    fn start(&mut self, frame: &Frame, layout: &Layout) {
        let width = frame.width() as usize;
        let chroma_width = if layout.log2_chroma_w == 1 { width.div_ceil(2) } else { width };
        self.y.resize(width, 0.0);
        // An odd width is rounded up: the last pair's second sample is never read.
        self.u.resize(width + 1, 0.0);
        self.v.resize(width + 1, 0.0);
        self.between.resize(chroma_width + 2, 0.0);
        for row in self.coded.iter_mut().flatten() {
            row.resize(chroma_width, 0.0);
        }
        self.held = [None, None];
    }
}

/// A frame's colour differences, brought to the size of its luma row by row.
struct Chroma<'a> {
    frame: &'a Frame,
    components: [Component; 2],
    codes: Codes,
    width: usize,
    height: usize,
    halved: (bool, bool),
    horizontal: Siting,
    vertical: Siting,
}

impl<'a> Chroma<'a> {
    fn new(frame: &'a Frame, layout: &Layout, tags: ColourTags, nearest: bool) -> Chroma<'a> {
        let halved = (layout.log2_chroma_w == 1, layout.log2_chroma_h == 1);
        let half = |n: u32, halved: bool| if halved { n.div_ceil(2) as usize } else { n as usize };
        Chroma {
            frame,
            components: [layout.components[1], layout.components[2]],
            codes: Codes::chroma(layout.components[1].depth, tags.is_full_range()),
            width: half(frame.width(), halved.0),
            height: half(frame.height(), halved.1),
            halved,
            horizontal: if nearest { Siting::NEAREST } else { Siting::horizontal(tags.chroma) },
            vertical: if nearest { Siting::NEAREST } else { Siting::vertical(tags.chroma) },
        }
    }

    /// Fills `rows.u` and `rows.v` for a luma row.
    fn row(&mut self, rows: &mut Rows, row: usize) {
        let (here, other, weight) = self.neighbours(row);
        self.hold(rows, here);
        self.hold(rows, other);
        for index in 0..2 {
            let slots = &rows.coded[index];
            let (a, b) = (&slots[here % 2], &slots[other % 2]);
            let out = if index == 0 { &mut rows.u } else { &mut rows.v };
            if !self.halved.0 {
                simd::blend(a, b, out, 1.0 - weight, weight);
                continue;
            }
            let padded = &mut rows.between;
            simd::blend(a, b, &mut padded[1..=self.width], 1.0 - weight, weight);
            padded[0] = padded[1];
            padded[self.width + 1] = padded[self.width];
            simd::upsample(padded, &mut out[..2 * self.width], self.horizontal.even_before, self.horizontal.odd_after);
        }
    }

    /// The chroma row at a luma row, the neighbour that it is blended with, and the neighbour's weight.
    fn neighbours(&self, row: usize) -> (usize, usize, f32) {
        if !self.halved.1 {
            return (row, row, 0.0);
        }
        let here = row / 2;
        if row.is_multiple_of(2) {
            (here, here.saturating_sub(1), self.vertical.even_before)
        } else {
            (here, (here + 1).min(self.height - 1), self.vertical.odd_after)
        }
    }

    fn hold(&self, rows: &mut Rows, chroma_row: usize) {
        let slot = chroma_row % 2;
        if rows.held[slot] == Some(chroma_row) {
            return;
        }
        for (index, component) in self.components.into_iter().enumerate() {
            let out = &mut rows.coded[index][slot];
            load_row(plane_of(self.frame, component), component, chroma_row, self.codes, out);
        }
        rows.held[slot] = Some(chroma_row);
    }
}
