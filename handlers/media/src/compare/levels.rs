//! Samples of two videos in one layout.
//!
//! Where both are coded alike, samples are taken as they are, with zeros below those of the shallower one: nothing is
//! rounded, and the numbers are those of FFmpeg's filters. What is coded otherwise (RGB, another subsampling, range or
//! matrix) goes through RGB to the reference's layout.

use darkroom_api::Result;
use ffmpeg_next::format::Pixel;

use crate::colour::{Component, FromRgb, Hdr, Layout, ToRgb};
use crate::error::internal;
use crate::info::is_rgb;
use crate::{ColourTags, Frame, Plane, VideoInfo};

/// One plane, row after row.
#[derive(Default)]
pub(super) struct Samples {
    pub width: usize,
    pub values: Vec<u16>,
    pub height: usize,
}

impl Samples {
    pub(super) fn row(&self, row: usize) -> &[u16] {
        &self.values[row * self.width..(row + 1) * self.width]
    }
}

/// Luma and colour differences of a frame.
#[derive(Default)]
pub(super) struct Picture {
    pub planes: [Samples; 3],
}

impl Picture {
    /// Planes of one value each: width, height, value.
    #[cfg(test)]
    pub(super) fn flat(planes: [(usize, usize, u16); 3]) -> Picture {
        let plane = |(width, height, value)| Samples { width, height, values: vec![value; width * height] };
        Picture { planes: planes.map(plane) }
    }
}

/// The layout that both are brought to.
#[derive(Clone, Copy)]
pub(super) struct Common {
    pub format: Pixel,
    pub depth: u32,
    /// Whether columns and rows of the colour differences are halved.
    halved: (bool, bool),
    tags: ColourTags,
}

impl Common {
    /// The reference's layout, where that is YUV, at the depth of the deeper one. RGB and grey become 4:4:4 with ten bits or
    /// more, so that nothing of eight bits is lost.
    pub(super) fn of(video: &VideoInfo, reference: &VideoInfo) -> Common {
        let halved = subsampling(reference.pixel_format);
        let least = if halved.is_some() { 8 } else { 10 };
        let deep = video.bit_depth.max(reference.bit_depth).max(least);
        let depth = [8, 10, 12].into_iter().find(|depth| *depth >= deep).unwrap_or(16);
        let mut tags = reference.colour;
        if halved.is_none() {
            tags.range = 1;
        }
        if let Some(matrix) = matrix(reference).or(matrix(video)) {
            tags.matrix = matrix;
        }
        let halved = halved.unwrap_or((false, false));
        Common { format: format(halved, depth), depth, halved, tags }
    }
}

fn format(halved: (bool, bool), depth: u32) -> Pixel {
    match (halved, depth) {
        ((true, true), 8) => Pixel::YUV420P,
        ((true, true), 10) => Pixel::YUV420P10LE,
        ((true, true), 12) => Pixel::YUV420P12LE,
        ((true, true), _) => Pixel::YUV420P16LE,
        ((true, false), 8) => Pixel::YUV422P,
        ((true, false), 10) => Pixel::YUV422P10LE,
        ((true, false), 12) => Pixel::YUV422P12LE,
        ((true, false), _) => Pixel::YUV422P16LE,
        (_, 8) => Pixel::YUV444P,
        (_, 10) => Pixel::YUV444P10LE,
        (_, 12) => Pixel::YUV444P12LE,
        (_, _) => Pixel::YUV444P16LE,
    }
}

/// FFmpeg's name of a format.
pub(super) fn name(format: Pixel) -> String {
    format.descriptor().map_or("unknown", ffmpeg_next::format::pixel::Descriptor::name).to_owned()
}

/// Which sides of the colour differences are halved; `None` for what is not plain YUV of a usual kind.
fn subsampling(format: Pixel) -> Option<(bool, bool)> {
    let layout = Layout::of(format).filter(|layout| layout.colours() == 3 && !is_rgb(format))?;
    let halved = (layout.log2_chroma_w == 1, layout.log2_chroma_h == 1);
    (halved != (false, true)).then_some(halved)
}

/// The matrix that a YUV file names; BT.470BG and SMPTE 170M are one.
fn matrix(info: &VideoInfo) -> Option<i32> {
    let named = info.colour_in_file.matrix;
    let matrix = if named == 5 { 6 } else { named };
    (!is_rgb(info.pixel_format) && !matches!(matrix, 0 | 2 | 3)).then_some(matrix)
}

/// Brings the frames of one video to the common layout. Keeps its buffers between frames.
pub(super) struct Levels {
    common: Common,
    size: (u32, u32),
    /// `None` where the file names none: it is then taken for the common one.
    matrix: Option<i32>,
    detour: Option<Detour>,
    picture: Picture,
}

/// The way through RGB.
struct Detour {
    to_rgb: ToRgb,
    rgb: Vec<f32>,
    from_rgb: FromRgb,
    frame: Frame,
}

impl Levels {
    pub(super) fn new(info: &VideoInfo, common: Common) -> Levels {
        let size = (info.width_px, info.height_px);
        Levels { common, size, matrix: matrix(info), detour: None, picture: Picture::default() }
    }

    /// Whether a frame had to be converted.
    pub(super) fn converted(&self) -> bool {
        self.detour.is_some()
    }

    /// The samples of a frame.
    pub(super) fn load(&mut self, frame: &Frame) -> Result<&Picture> {
        let words = |layout: &Layout| layout.components.iter().all(|c| !c.big_endian);
        let layout = Layout::of(frame.format()).filter(words).filter(|layout| self.is_common(frame, layout));
        match layout {
            Some(layout) => take(frame, &layout, self.common, &mut self.picture)?,
            None => self.convert(frame)?,
        }
        Ok(&self.picture)
    }

    fn is_common(&self, frame: &Frame, layout: &Layout) -> bool {
        subsampling(frame.format()) == Some(self.common.halved)
            && layout.components[..3].iter().all(|component| component.depth <= self.common.depth)
            && frame.colour().is_full_range() == self.common.tags.is_full_range()
            && self.matrix.is_none_or(|matrix| matrix == self.common.tags.matrix)
    }

    fn convert(&mut self, frame: &Frame) -> Result<()> {
        let (width, height) = self.size;
        let detour = match &mut self.detour {
            Some(detour) => detour,
            none => {
                let mut target = Frame::new(self.common.format, width, height)?;
                target.set_colour(self.common.tags);
                let rgb = vec![0.0; 3 * width as usize * height as usize];
                let (to_rgb, from_rgb) = (ToRgb::new(Hdr::Keep), FromRgb::new(false));
                none.insert(Detour { to_rgb, rgb, from_rgb, frame: target })
            }
        };
        let mut source = frame.share()?;
        if self.matrix.is_none() {
            source.set_colour(ColourTags { matrix: self.common.tags.matrix, ..frame.colour() });
        }
        detour.to_rgb.convert(&source, &mut detour.rgb)?;
        detour.from_rgb.convert(&detour.rgb, None, &mut detour.frame)?;
        let layout = Layout::of(self.common.format).ok_or_else(|| internal("A frame has no layout", "plain YUV"))?;
        take(&detour.frame, &layout, self.common, &mut self.picture)
    }
}

/// Copies the samples of a frame that is coded as the common layout, but for its depth.
fn take(frame: &Frame, layout: &Layout, common: Common, picture: &mut Picture) -> Result<()> {
    let half = |side: u32, halved: bool| if halved { side.div_ceil(2) as usize } else { side as usize };
    for (index, samples) in picture.planes.iter_mut().enumerate() {
        let component = layout.components[index];
        let plane = frame.plane(component.plane).ok_or_else(|| internal("A frame lacks a plane", component.plane))?;
        samples.width = half(frame.width(), index > 0 && common.halved.0);
        samples.height = half(frame.height(), index > 0 && common.halved.1);
        samples.values.resize(samples.width * samples.height, 0);
        let lift = Lift::new(component, common);
        for (row, out) in samples.values.chunks_exact_mut(samples.width).enumerate() {
            lift.row(plane, row, out);
        }
    }
    Ok(())
}

/// From a component's codes to those of the common depth.
#[derive(Clone, Copy)]
struct Lift {
    component: Component,
    mask: u32,
    up: u32,
    /// Full range is filled up with the code's own upper bits, so that white stays white.
    down: u32,
}

impl Lift {
    fn new(component: Component, common: Common) -> Lift {
        let up = common.depth - component.depth;
        let fill = common.tags.is_full_range() && up > 0;
        // Shifted by its own length, nothing is left of a code.
        let down = if fill { component.depth.saturating_sub(up) } else { component.depth };
        Lift { component, mask: (1 << component.depth) - 1, up, down }
    }

    fn row(self, plane: Plane<'_>, row: usize, out: &mut [u16]) {
        let bytes = plane.data.get(row * plane.stride + self.component.offset..).unwrap_or(&[]);
        let wide = self.component.depth + self.component.shift > 8;
        match (wide, self.component.step) {
            (false, 1) => self.store(bytes.iter().map(|byte| u32::from(*byte)), out),
            (false, step) => self.store(bytes.iter().step_by(step).map(|byte| u32::from(*byte)), out),
            (true, 2) => self.store(bytes.chunks_exact(2).map(word), out),
            (true, step) => self.store(bytes.chunks(step).filter(|bytes| bytes.len() >= 2).map(word), out),
        }
    }

    fn store(self, codes: impl Iterator<Item = u32>, out: &mut [u16]) {
        for (out, code) in out.iter_mut().zip(codes) {
            let code = code >> self.component.shift & self.mask;
            #[allow(clippy::cast_possible_truncation, reason = "no more bits than the common depth, at most 16")]
            let lifted = (code << self.up | code >> self.down) as u16;
            *out = lifted;
        }
    }
}

fn word(bytes: &[u8]) -> u32 {
    u16::from_le_bytes([bytes[0], bytes[1]]).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lift(depth: u32, shift: u32, common: u32, range: i32, bytes: &[u8]) -> Vec<u16> {
        let step = if depth + shift > 8 { 2 } else { 1 };
        let component = Component { plane: 0, step, offset: 0, shift, depth, big_endian: false };
        let tags = ColourTags { range, ..ColourTags::BT709 };
        let common = Common { format: Pixel::YUV420P, depth: common, halved: (true, true), tags };
        let mut out = vec![0; bytes.len() / step];
        Lift::new(component, common).row(Plane { data: bytes, stride: bytes.len() }, 0, &mut out);
        out
    }

    #[test]
    fn codes_are_lifted_as_their_range_wants_it() {
        assert_eq!(lift(8, 0, 8, 1, &[0, 16, 255]), [0, 16, 255]);
        assert_eq!(lift(8, 0, 10, 1, &[16, 235]), [64, 940]);
        assert_eq!(lift(8, 0, 10, 2, &[0, 255]), [0, 1023]);
        assert_eq!(lift(8, 0, 16, 2, &[1, 255]), [257, 65535]);
        // P010: ten bits at the top of a word. Stray bits above a code are dropped.
        assert_eq!(lift(10, 6, 10, 1, &[0xc0, 0xff]), [1023]);
        assert_eq!(lift(10, 0, 10, 1, &[0xff, 0xff]), [1023]);
    }
}
