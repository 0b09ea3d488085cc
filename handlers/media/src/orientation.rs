//! The eight ways a picture can lie, and the filter that makes it upright.

use darkroom_api::Result;
use ffmpeg_next as ff;
use ffmpeg_next::Rational;

use crate::error::internal;
use crate::{Frame, ffi};

/// What makes the coded picture upright, as its display matrix says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Orientation {
    /// Nothing.
    #[default]
    Upright,
    /// Quarter turn clockwise.
    Clockwise,
    /// Half turn.
    Half,
    /// Quarter turn counter-clockwise.
    CounterClockwise,
    /// Left and right swapped.
    MirrorHorizontal,
    /// Top and bottom swapped.
    MirrorVertical,
    /// Rows become columns.
    Transpose,
    /// Rows become columns, and a half turn.
    Transverse,
}

impl Orientation {
    /// Reads a display matrix (nine little-endian 16.16 numbers). Angles between the quarters count as the nearest.
    pub(crate) fn from_display_matrix(bytes: &[u8]) -> Orientation {
        let at = |i: usize| {
            let b = bytes.get(i * 4..i * 4 + 4).and_then(|b| b.try_into().ok()).unwrap_or([0; 4]);
            f64::from(i32::from_ne_bytes(b))
        };
        // The picture's point (p, q) is shown at (a p + c q, b p + d q).
        let (a, b, c, d) = (at(0), at(1), at(3), at(4));
        if a.abs() + d.abs() >= b.abs() + c.abs() {
            match (a < 0.0, d < 0.0) {
                (false, false) => Orientation::Upright,
                (true, true) => Orientation::Half,
                (true, false) => Orientation::MirrorHorizontal,
                (false, true) => Orientation::MirrorVertical,
            }
        } else {
            match (b < 0.0, c < 0.0) {
                (false, true) => Orientation::Clockwise,
                (true, false) => Orientation::CounterClockwise,
                (false, false) => Orientation::Transpose,
                (true, true) => Orientation::Transverse,
            }
        }
    }

    /// What a frame's own display matrix says: decoders make one of EXIF.
    pub(crate) fn of_frame(frame: &Frame) -> Orientation {
        let matrix = frame.inner().side_data(ff::frame::side_data::Type::DisplayMatrix);
        matrix.map_or(Orientation::Upright, |m| Orientation::from_display_matrix(m.data()))
    }

    /// Clockwise degrees, mirroring aside.
    pub fn degrees(self) -> u32 {
        match self {
            Orientation::Upright | Orientation::MirrorHorizontal | Orientation::MirrorVertical => 0,
            Orientation::Clockwise | Orientation::Transpose => 90,
            Orientation::Half => 180,
            Orientation::CounterClockwise | Orientation::Transverse => 270,
        }
    }

    /// Whether width and height change places.
    pub fn swaps_sides(self) -> bool {
        matches!(self.degrees(), 90 | 270)
    }

    fn filter(self) -> &'static str {
        match self {
            Orientation::Upright => "null",
            Orientation::Clockwise => "transpose=clock",
            Orientation::Half => "hflip,vflip",
            Orientation::CounterClockwise => "transpose=cclock",
            Orientation::MirrorHorizontal => "hflip",
            Orientation::MirrorVertical => "vflip",
            Orientation::Transpose => "transpose=cclock_flip",
            Orientation::Transverse => "transpose=clock_flip",
        }
    }

    /// Where chroma samples sit after the turn (`AVChromaLocation`): left becomes top, and the other way round.
    pub(crate) fn turn_chroma(self, location: i32) -> i32 {
        match (self, location) {
            (Orientation::Upright | Orientation::MirrorVertical, l) => l,
            (Orientation::Clockwise | Orientation::Transpose, 1) => 4,
            (Orientation::CounterClockwise | Orientation::Transverse, 1) => 6,
            // Half a sample to the right of "left" is not in FFmpeg's list: the centre is nearest.
            (_, 1 | 3) => 2,
            (_, l) => l,
        }
    }
}

/// A filter graph that turns frames of one format.
pub(crate) struct Turner {
    graph: ff::filter::Graph,
    shape: (ff::format::Pixel, u32, u32),
}

impl Turner {
    /// A graph for frames like this one.
    pub(crate) fn new(orientation: Orientation, like: &Frame) -> Result<Turner> {
        let fault = |e: ff::Error| internal("The rotation filter could not be set up", e);
        let missing = || fault(ff::Error::FilterNotFound);
        let mut graph = ff::filter::Graph::new();
        ffi::single_threaded(&mut graph);
        let format: ff::ffi::AVPixelFormat = like.format().into();
        let args = format!("video_size={}x{}:pix_fmt={}:time_base=1/1", like.width(), like.height(), format as i32);
        graph.add(&ff::filter::find("buffer").ok_or_else(missing)?, "in", &args).map_err(fault)?;
        graph.add(&ff::filter::find("buffersink").ok_or_else(missing)?, "out", "").map_err(fault)?;
        graph
            .output("in", 0)
            .and_then(|p| p.input("out", 0))
            .and_then(|p| p.parse(orientation.filter()))
            .and_then(|()| graph.validate())
            .map_err(fault)?;
        Ok(Turner { graph, shape: (like.format(), like.width(), like.height()) })
    }

    /// Whether it was made for frames like this one.
    pub(crate) fn fits(&self, frame: &Frame) -> bool {
        self.shape == (frame.format(), frame.width(), frame.height())
    }

    /// The frame, turned. Times and tags stay.
    pub(crate) fn turn(&mut self, frame: &Frame) -> Result<Frame> {
        let fault = |e: ff::Error| internal("A frame could not be rotated", e);
        let missing = || fault(ff::Error::FilterNotFound);
        self.graph.get("in").ok_or_else(missing)?.source().add(frame.inner()).map_err(fault)?;
        let mut turned = ff::frame::Video::empty();
        self.graph.get("out").ok_or_else(missing)?.sink().frame(&mut turned).map_err(fault)?;
        Ok(Frame::wrap(turned))
    }
}

/// A pixel's shape after the turn.
pub(crate) fn turn_aspect(orientation: Orientation, aspect: Rational) -> Rational {
    if orientation.swaps_sides() && aspect.numerator() > 0 { aspect.invert() } else { aspect }
}
