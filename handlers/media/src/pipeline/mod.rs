//! Decode, process and encode on threads of their own, joined by short queues.
//!
//! The queues are bounded in frames, and by that in bytes, since all frames of a run have one size (what lies between
//! `process` and `develop` the handler bounds): memory does not grow with length, and the slowest stage alone sets the speed. Output frames come from the writer's pool and go
//! back to it. A stage that fails, panics or is cancelled drops its ends of the queues, which stops its neighbours.
//! Processing happens on the caller's thread; what is made of its results may have a thread of its own.

mod meter;
mod read;
mod stages;
mod teller;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{Scope, ScopedJoinHandle};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, bounded};
use darkroom_api::{ErrorCode, JobContext, JobError, Result, StageReport};

use crate::{Frame, FramePool, Reader, WriteReport, Writer, ffi};
use meter::Meter;
use teller::Teller;

pub use read::{ReadReport, read};
pub use teller::{Ahead, FITTING};

/// How frames travel.
#[derive(Debug, Clone)]
pub struct PipelineOptions {
    /// Most frames in one call of `process`; the last call may have fewer.
    pub batch: usize,
    /// Most frames waiting in each queue.
    pub queue_frames: usize,
    /// Most bytes waiting in each queue; at least one frame fits.
    pub queue_bytes: u64,
    /// Most results of `process` that wait for `develop`, see [`run_in_two`]. Their size is the handler's to know.
    pub queue_results: usize,
    /// Name of the stage in progress messages. A second encoding, for a file that was too large, is told as [`FITTING`].
    pub stage: String,
    /// Where frames take longer than this, parts of them are told too, see [`Emitter::ahead`].
    pub tell_every: Duration,
}

impl Default for PipelineOptions {
    fn default() -> Self {
        PipelineOptions {
            batch: 1,
            queue_frames: 3,
            queue_bytes: 96 << 20,
            queue_results: 0,
            stage: "process".to_owned(),
            tell_every: Duration::from_secs(2),
        }
    }
}

/// How a run went.
#[derive(Debug, Clone)]
pub struct PipelineReport {
    /// Frames decoded, processed and encoded: the three are equal.
    pub frames: u64,
    /// Packets of the source that were damaged.
    pub corrupt_packets: u64,
    /// Seconds from start to end.
    pub wall_secs: f64,
    /// decode, process, (develop,) encode.
    pub stages: Vec<StageReport>,
    /// What was written, with warnings of the whole run.
    pub write: WriteReport,
}

impl PipelineReport {
    /// Frames per second.
    pub fn fps(&self) -> f64 {
        #[allow(clippy::cast_precision_loss, reason = "a rate for people")]
        let frames = self.frames as f64;
        frames / self.wall_secs.max(1e-9)
    }
}

/// Where a stage puts what it makes.
pub struct Emitter<'a, T = Frame> {
    out: &'a Sender<T>,
    pool: FramePool,
    meter: &'a mut Meter,
    ahead: Ahead<'a>,
    sent: u64,
}

impl<'a, T> Emitter<'a, T> {
    /// To tell, from any thread, how far the frames at hand are.
    pub fn ahead(&self) -> Ahead<'a> {
        self.ahead
    }

    /// A frame of the writer's kind to fill, with the time of `source`.
    ///
    /// # Errors
    /// `internal` when there is no memory for it.
    pub fn blank(&self, source: &Frame) -> Result<Frame> {
        let mut frame = self.pool.take()?;
        frame.set_pts(source.pts());
        ffi::set_frame_duration(frame.inner_mut(), source.duration());
        Ok(frame)
    }

    /// A frame that was made before once more, with the time of `source`: the same pixels, to be read only.
    ///
    /// # Errors
    /// `internal` when there is no memory for it.
    pub fn again(&self, made: &Frame, source: &Frame) -> Result<Frame> {
        let mut frame = made.share()?;
        frame.set_pts(source.pts());
        ffi::set_frame_duration(frame.inner_mut(), source.duration());
        Ok(frame)
    }

    /// Hands something to the next stage; waits while its queue is full.
    ///
    /// # Errors
    /// `interrupted` when the next stage has stopped; the run then fails with that stage's error.
    pub fn send(&mut self, made: T) -> Result<()> {
        self.meter.wait_output(|| self.out.send(made)).map_err(|_| stopped())?;
        self.sent += 1;
        Ok(())
    }
}

/// The error of a stage whose neighbour has gone; the neighbour's own error is the one that counts.
fn stopped() -> JobError {
    JobError::new(ErrorCode::Interrupted, "The pipeline was stopped.")
}

/// Shared by the stages: whether to stop, and why.
struct Line<'a> {
    ctx: &'a JobContext,
    teller: Teller<'a>,
    stopped: AtomicBool,
    error: Mutex<Option<JobError>>,
}

impl Line<'_> {
    /// Keeps the first error and stops everybody.
    fn fail(&self, error: JobError) {
        let mut first = self.error.lock().unwrap_or_else(PoisonError::into_inner);
        // A stage that only noticed its neighbour's end does not name the cause.
        if first.as_ref().is_none_or(|e| e.code == ErrorCode::Interrupted) {
            *first = Some(error);
        }
        self.stopped.store(true, Ordering::Release);
    }

    fn check(&self) -> Result<()> {
        if self.stopped.load(Ordering::Acquire) {
            return Err(stopped());
        }
        self.ctx.check_cancelled()
    }

    /// Runs a stage's body; errors and panics stop the line.
    fn stage<T>(&self, name: &str, body: impl FnOnce() -> Result<T>) -> Option<T> {
        let outcome = catch_unwind(AssertUnwindSafe(body)).unwrap_or_else(|panic| {
            let text = panic.downcast_ref::<&str>().map(|s| (*s).to_owned());
            let text = text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_default();
            let message =
                format!("The {name} stage panicked ({text}). This is a fault: report it with the worker's log.");
            Err(JobError::new(ErrorCode::Internal, message))
        });
        outcome.map_err(|e| self.fail(e)).ok()
    }
}

/// Runs a video through `process`, which takes a batch of frames and emits exactly one for each.
///
/// # Errors
/// The first error of any stage; `cancelled`; `internal` for a panic, or when frames were lost on the way.
pub fn run<P>(
    reader: Reader,
    writer: Writer,
    ctx: &JobContext,
    options: &PipelineOptions,
    process: P,
) -> Result<PipelineReport>
where
    P: FnMut(&mut Vec<Frame>, &mut Emitter<'_>) -> Result<()>,
{
    join(reader, writer, ctx, options, |line, decoded, out, pool| {
        let stage = || stages::process(line, &decoded, &out, pool, options.batch, process);
        let done = line.stage("process", stage)?;
        Some(Middle { reports: vec![done.report], sent: done.sent })
    })
}

/// The same where a frame is made in two steps: `process` finds out what the next frame needs, `develop` does the rest, on
/// a thread of its own, while `process` is at the next frames. `process` emits what `develop` needs, which emits
/// exactly one frame for each decoded one.
///
/// # Errors
/// As [`run`].
pub fn run_in_two<T, P, D>(
    reader: Reader,
    writer: Writer,
    ctx: &JobContext,
    options: &PipelineOptions,
    process: P,
    develop: D,
) -> Result<PipelineReport>
where
    T: Send,
    P: FnMut(&mut Vec<Frame>, &mut Emitter<'_, T>) -> Result<()>,
    D: FnMut(T, &mut Emitter<'_>) -> Result<()> + Send,
{
    join(reader, writer, ctx, options, |line, decoded, out, pool| {
        let (to_develop, processed) = bounded(options.queue_results);
        std::thread::scope(|scope| {
            let ends = (processed, out);
            let body = move |(input, out): &(_, _)| stages::develop(line, input, out, pool, develop);
            let develop = spawn(scope, line, "develop", ends, body)?;
            let stage = || stages::process(line, &decoded, &to_develop, pool, options.batch, process);
            let process = line.stage("process", stage);
            drop((decoded, to_develop));
            let develop = develop.join().ok().flatten()?;
            Some(Middle { reports: vec![process?.report, develop.report], sent: develop.sent })
        })
    })
}

/// What the stages between decoding and encoding did.
struct Middle {
    reports: Vec<StageReport>,
    sent: u64,
}

/// Decodes and encodes on threads of their own around `middle`, which must drop its ends of the queues.
fn join<M>(
    reader: Reader,
    writer: Writer,
    ctx: &JobContext,
    options: &PipelineOptions,
    middle: M,
) -> Result<PipelineReport>
where
    M: FnOnce(&Line<'_>, Receiver<Frame>, Sender<Frame>, &FramePool) -> Option<Middle>,
{
    let start = Instant::now();
    let info = reader.info();
    let teller = Teller::new(ctx.reporter.as_ref(), &options.stage, info.frames, options.tell_every);
    let line = Line { ctx, teller, stopped: AtomicBool::new(false), error: Mutex::new(None) };
    let frame_in = crate::frame::frame_bytes(info.pixel_format, info.width_px, info.height_px);
    let (to_process, decoded) = queue(options, frame_in);
    let (to_encode, processed) = queue(options, writer.pool().frame_bytes());
    let pool = writer.pool().clone();
    let line_ref = &line;

    let outcome = std::thread::scope(|scope| {
        let decode = spawn(scope, line_ref, "decode", to_process, move |out| stages::decode(line_ref, reader, out));
        let encode = spawn(scope, line_ref, "encode", processed, move |input| stages::encode(line_ref, writer, input));
        let (Some(decode), Some(encode)) = (decode, encode) else {
            drop((decoded, to_encode));
            return None;
        };
        let middle = middle(line_ref, decoded, to_encode, &pool);
        // A stage's panic is caught inside it, so that joining cannot fail.
        let (decode, encode) = (decode.join().ok().flatten(), encode.join().ok().flatten());
        Some((decode?, middle?, encode?))
    });
    if let Some(error) = line.error.into_inner().unwrap_or_else(PoisonError::into_inner) {
        return Err(error);
    }
    let Some((decode, middle, encode)) = outcome else {
        return Err(JobError::new(ErrorCode::Internal, "A stage ended without a word. This is a fault: report it."));
    };
    finish(decode, middle, encode, start)
}

/// Starts a stage on a thread of its own. Its ends of the queues are dropped after its error is kept: neighbours must not
/// take a failure for the end.
fn spawn<'scope, Q: Send + 'scope, T: Send + 'scope>(
    scope: &'scope Scope<'scope, '_>,
    line: &'scope Line<'_>,
    name: &'static str,
    ends: Q,
    body: impl FnOnce(&Q) -> Result<T> + Send + 'scope,
) -> Option<ScopedJoinHandle<'scope, Option<T>>> {
    let thread = std::thread::Builder::new().name(name.to_owned());
    let started = thread.spawn_scoped(scope, move || line.stage(name, || body(&ends)));
    let full = |_| line.fail(JobError::new(ErrorCode::OutOfMemory, "The system has no room for another thread."));
    started.map_err(full).ok()
}

/// A queue as long as frames and bytes allow.
fn queue(options: &PipelineOptions, frame_bytes: u64) -> (Sender<Frame>, Receiver<Frame>) {
    let by_bytes = usize::try_from(options.queue_bytes / frame_bytes.max(1)).unwrap_or(usize::MAX);
    bounded(options.queue_frames.min(by_bytes).max(1))
}

fn finish(decode: stages::Decoded, middle: Middle, encode: stages::Encoded, start: Instant) -> Result<PipelineReport> {
    let (taken, sent, written) = (decode.report.frames, middle.sent, encode.write.frames);
    if taken != sent || sent != written {
        let message = format!(
            "{taken} frames were decoded, {sent} processed and {written} written: they must be equal. This is a \
             fault: report it with the worker's log."
        );
        return Err(JobError::new(ErrorCode::Internal, message));
    }
    let mut write = encode.write;
    write.warnings.extend(decode.warnings());
    Ok(PipelineReport {
        frames: written,
        corrupt_packets: decode.corrupt_packets,
        wall_secs: start.elapsed().as_secs_f64(),
        stages: [vec![decode.report], middle.reports, vec![encode.report]].concat(),
        write,
    })
}

#[cfg(test)]
mod tests;
