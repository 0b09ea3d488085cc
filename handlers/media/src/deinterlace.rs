//! Interlaced frames to whole ones: one frame for each, at its time.
//!
//! The filter is FFmpeg's `bwdif` (Weston's three fields with Yadif's edges). It looks one frame ahead and passes frames
//! that are not flagged as interlaced, so that mixed material may go through it.

use std::collections::VecDeque;

use darkroom_api::Result;
use ffmpeg_next as ff;

use crate::error::{internal, is_again, unsupported};
use crate::{Frame, ffi};

/// One frame a frame, field order as flagged, only what is flagged as interlaced.
const FILTER: &str = "bwdif=mode=send_frame:parity=auto:deint=interlaced";

/// A filter graph that makes whole frames of the fields of one format.
pub(crate) struct Deinterlacer {
    graph: ff::filter::Graph,
    shape: (ff::format::Pixel, u32, u32),
    /// Times and durations of the frames inside, in order: the filter counts in a time base of its own.
    times: VecDeque<(i64, i64)>,
    ended: bool,
}

impl Deinterlacer {
    /// For frames like this one.
    pub(crate) fn new(like: &Frame) -> Result<Deinterlacer> {
        let mut graph = ff::filter::Graph::new();
        let filter = |name| ff::filter::find(name).ok_or(ff::Error::FilterNotFound);
        let format = like.format().descriptor().map_or("", ff::format::pixel::Descriptor::name);
        let (width, height) = (like.width(), like.height());
        let args = format!("video_size={width}x{height}:pix_fmt={format}:time_base=1/1");
        let mut build = || {
            graph.add(&filter("buffer")?, "in", &args)?;
            graph.add(&filter("buffersink")?, "out", "")?;
            // What the filter cannot work on is converted for it and back.
            graph.output("in", 0)?.input("out", 0)?.parse(&format!("{FILTER},format={format}"))?;
            graph.validate()
        };
        build().map_err(fault)?;
        let shape = (like.format(), width, height);
        Ok(Deinterlacer { graph, shape, times: VecDeque::new(), ended: false })
    }

    /// Gives it the next frame.
    pub(crate) fn push(&mut self, frame: Frame) -> Result<()> {
        if self.shape != (frame.format(), frame.width(), frame.height()) {
            return Err(unsupported(
                "The size or the format of an interlaced picture changes in the middle of the video",
            ));
        }
        self.times.push_back((frame.pts(), frame.duration()));
        self.end("in")?.source().add(frame.inner()).map_err(fault)
    }

    /// Says that there are no more frames, so that what is inside comes out; `false` where that was said before.
    pub(crate) fn finish(&mut self) -> Result<bool> {
        if self.ended {
            return Ok(false);
        }
        self.ended = true;
        self.end("in")?.source().flush().map_err(fault).map(|()| true)
    }

    /// The next whole frame, `None` where it needs more or has ended.
    pub(crate) fn pull(&mut self) -> Result<Option<Frame>> {
        let mut whole = ff::frame::Video::empty();
        match self.end("out")?.sink().frame(&mut whole) {
            Ok(()) => {}
            Err(ff::Error::Eof) => return Ok(None),
            Err(e) if is_again(&e) => return Ok(None),
            Err(e) => return Err(fault(e)),
        }
        let Some((pts, duration)) = self.times.pop_front() else { return Ok(None) };
        ffi::set_frame_duration(&mut whole, duration);
        let mut whole = Frame::wrap(whole);
        whole.set_pts(pts);
        Ok(Some(whole))
    }

    fn end(&mut self, name: &str) -> Result<ff::filter::Context> {
        self.graph.get(name).ok_or_else(|| fault(ff::Error::FilterNotFound))
    }
}

fn fault(e: ff::Error) -> darkroom_api::JobError {
    internal("A frame could not be deinterlaced", e)
}
