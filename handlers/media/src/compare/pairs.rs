//! Two videos decoded beside each other, frame by frame of one time.

use std::panic::resume_unwind;
use std::thread::{Scope, ScopedJoinHandle};

use crossbeam_channel::{Receiver, bounded};
use darkroom_api::{JobError, Result};

use crate::{Frame, Reader, VideoInfo};

/// Frames that a decoder may be ahead.
const AHEAD: usize = 2;

/// Says which of the two files an error is about.
pub(super) fn about(role: &'static str) -> impl Fn(JobError) -> JobError {
    move |error| JobError { message: format!("The {role}: {}", error.message), ..error }
}

/// Two frames of one time.
pub(super) struct Pair {
    pub video: Frame,
    pub reference: Frame,
    /// Time since the reference's first frame.
    pub secs: f64,
}

/// What reading a file told beside its frames.
#[derive(Clone, Copy, Default)]
pub(super) struct Read {
    pub corrupt_packets: u64,
    pub deinterlaced: bool,
}

/// One file: its decoder's thread, and the frame that comes next.
struct Side<'scope> {
    role: &'static str,
    info: VideoInfo,
    frames: Option<Receiver<Result<Frame>>>,
    thread: Option<ScopedJoinHandle<'scope, Read>>,
    head: Option<(Frame, f64)>,
    unmatched: u64,
}

/// Pairs of frames. Times count from each file's first frame; two frames belong together where they differ by less than half
/// a frame of the faster video.
pub(super) struct Pairs<'scope> {
    video: Side<'scope>,
    reference: Side<'scope>,
    tolerance_secs: f64,
}

impl<'scope> Pairs<'scope> {
    pub(super) fn start(scope: &'scope Scope<'scope, '_>, video: Reader, reference: Reader) -> Pairs<'scope> {
        let fps = video.info().fps().max(reference.info().fps());
        let (video, reference) = (Side::start(scope, video, "video"), Side::start(scope, reference, "reference"));
        Pairs { video, reference, tolerance_secs: 0.5 / fps }
    }

    /// The next pair; `None` once either has ended.
    pub(super) fn next(&mut self) -> Result<Option<Pair>> {
        loop {
            // Both are looked at, so that it is known which one goes on.
            let heads = (self.video.fill()?, self.reference.fill()?);
            let (Some(video), Some(reference)) = heads else { return Ok(None) };
            let gap = video - reference;
            if gap.abs() <= self.tolerance_secs {
                let heads = self.video.head.take().zip(self.reference.head.take());
                return Ok(heads.map(|((video, _), (reference, secs))| Pair { video, reference, secs }));
            }
            let late = if gap < 0.0 { &mut self.video } else { &mut self.reference };
            late.head = None;
            late.unmatched += 1;
        }
    }

    /// Frames of each that were passed over: the video's, the reference's.
    pub(super) fn unmatched(&self) -> (u64, u64) {
        (self.video.unmatched, self.reference.unmatched)
    }

    /// Which of the two goes on after the end of the other, and where the other ended.
    pub(super) fn longer(&self) -> Option<&'static str> {
        [&self.video, &self.reference].into_iter().find(|side| side.head.is_some()).map(|side| side.role)
    }

    /// Ends both decoders; what they told, by role.
    pub(super) fn end(self) -> [(&'static str, Read); 2] {
        [self.video, self.reference].map(|mut side| {
            // Nobody receives any more: the thread sees that with its next frame.
            side.frames = None;
            let read = side.thread.take().map(ScopedJoinHandle::join);
            // A thread that panicked looked like a file that ended.
            (side.role, read.map_or_else(Read::default, |read| read.unwrap_or_else(|panic| resume_unwind(panic))))
        })
    }
}

impl<'scope> Side<'scope> {
    fn start(scope: &'scope Scope<'scope, '_>, mut reader: Reader, role: &'static str) -> Side<'scope> {
        let info = reader.info().clone();
        let (send, frames) = bounded(AHEAD);
        let thread = scope.spawn(move || {
            while let Some(next) = reader.next().transpose() {
                let failed = next.is_err();
                if send.send(next).is_err() || failed {
                    break;
                }
            }
            Read { corrupt_packets: reader.corrupt_packets(), deinterlaced: reader.deinterlaced() }
        });
        Side { role, info, frames: Some(frames), thread: Some(thread), head: None, unmatched: 0 }
    }

    /// Time of the frame that comes next, `None` at the end.
    fn fill(&mut self) -> Result<Option<f64>> {
        if self.head.is_none()
            && let Some(next) = self.frames.as_ref().and_then(|frames| frames.recv().ok())
        {
            let frame = next.map_err(about(self.role))?;
            #[allow(clippy::cast_precision_loss, reason = "seconds of a video fit a float")]
            let secs = (frame.pts() - self.info.start_pts) as f64 * f64::from(self.info.time_base);
            self.head = Some((frame, secs));
        }
        Ok(self.head.as_ref().map(|(_, secs)| *secs))
    }
}
