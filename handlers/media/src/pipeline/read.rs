//! Decoding beside something that only looks: the first of two passes, in which nothing is written.

use std::sync::atomic::AtomicBool;
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use darkroom_api::{ErrorCode, JobContext, JobError, Result, StageReport};

use super::{Line, PipelineOptions, Teller, queue, spawn, stages};
use crate::{Frame, Reader};

/// How it went.
#[derive(Debug, Clone)]
pub struct ReadReport {
    /// Frames decoded and seen.
    pub frames: u64,
    /// Packets of the source that were damaged.
    pub corrupt_packets: u64,
    /// Seconds from start to end.
    pub wall_secs: f64,
    /// decode, process.
    pub stages: Vec<StageReport>,
    /// What the user should know of the source.
    pub warnings: Vec<String>,
}

/// Decodes a video on a thread of its own, and shows each frame to `see` on the caller's, in order.
///
/// # Errors
/// The first error of either; `cancelled`; `internal` for a panic.
pub fn read<S>(reader: Reader, ctx: &JobContext, options: &PipelineOptions, see: S) -> Result<ReadReport>
where
    S: FnMut(Frame) -> Result<()>,
{
    let (start, info) = (Instant::now(), reader.info());
    let teller = Teller::new(ctx.reporter.as_ref(), &options.stage, info.frames, options.tell_every);
    let line = Line { ctx, teller, stopped: AtomicBool::new(false), error: Mutex::new(None) };
    let bytes = crate::frame::frame_bytes(info.pixel_format, info.width_px, info.height_px);
    let (to_see, decoded) = queue(options, bytes);
    let line_ref = &line;
    let outcome = std::thread::scope(|scope| {
        let decode = spawn(scope, line_ref, "decode", to_see, move |out| stages::decode(line_ref, reader, out))?;
        let seen = line_ref.stage("process", || stages::see(line_ref, &decoded, see));
        // A decoder that waits for room hears that nobody takes its frames.
        drop(decoded);
        Some((decode.join().ok().flatten()?, seen?))
    });
    if let Some(error) = line.error.into_inner().unwrap_or_else(PoisonError::into_inner) {
        return Err(error);
    }
    let Some((decode, seen)) = outcome else {
        return Err(JobError::new(ErrorCode::Internal, "A stage ended without a word. This is a fault: report it."));
    };
    Ok(ReadReport {
        frames: seen.frames,
        corrupt_packets: decode.corrupt_packets,
        wall_secs: start.elapsed().as_secs_f64(),
        warnings: decode.warnings(),
        stages: vec![decode.report, seen],
    })
}
