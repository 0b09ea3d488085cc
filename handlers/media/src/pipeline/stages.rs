//! The stages.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender};
use darkroom_api::{Progress, Result, StageReport};

use super::meter::Meter;
use super::{Emitter, Line, stopped};
use crate::{Frame, FramePool, Reader, WriteReport, Writer};

pub(super) struct Decoded {
    pub report: StageReport,
    pub corrupt_packets: u64,
    pub deinterlaced: bool,
}

pub(super) struct Processed {
    pub report: StageReport,
    pub sent: u64,
}

pub(super) struct Encoded {
    pub report: StageReport,
    pub write: WriteReport,
}

pub(super) fn decode(line: &Line<'_>, mut reader: Reader, out: &Sender<Frame>) -> Result<Decoded> {
    let mut meter = Meter::new("decode");
    while let Some(frame) = reader.next()? {
        line.check()?;
        meter.wait_output(|| out.send(frame)).map_err(|_| stopped())?;
        meter.frames += 1;
    }
    let (corrupt_packets, deinterlaced) = (reader.corrupt_packets(), reader.deinterlaced());
    Ok(Decoded { report: meter.report(), corrupt_packets, deinterlaced })
}

pub(super) fn process<T, P>(
    line: &Line<'_>,
    input: &Receiver<Frame>,
    out: &Sender<T>,
    pool: &FramePool,
    batch: usize,
    mut process: P,
) -> Result<Processed>
where
    P: FnMut(&mut Vec<Frame>, &mut Emitter<'_, T>) -> Result<()>,
{
    let mut meter = Meter::new("process");
    let batch = batch.max(1);
    let mut frames = Vec::with_capacity(batch);
    let mut sent = 0;
    let mut open = true;
    while open {
        while open && frames.len() < batch {
            match meter.wait_input(|| input.recv()) {
                Ok(frame) => frames.push(frame),
                Err(_) => open = false,
            }
        }
        line.check()?;
        if !frames.is_empty() {
            meter.frames += frames.len() as u64;
            let mut emitter = Emitter { out, pool: pool.clone(), meter: &mut meter, sent: 0 };
            process(&mut frames, &mut emitter)?;
            sent += emitter.sent;
            frames.clear();
        }
    }
    Ok(Processed { report: meter.report(), sent })
}

pub(super) fn develop<T, D>(
    line: &Line<'_>,
    input: &Receiver<T>,
    out: &Sender<Frame>,
    pool: &FramePool,
    mut develop: D,
) -> Result<Processed>
where
    D: FnMut(T, &mut Emitter<'_>) -> Result<()>,
{
    let mut meter = Meter::new("develop");
    let mut sent = 0;
    while let Ok(made) = meter.wait_input(|| input.recv()) {
        line.check()?;
        let mut emitter = Emitter { out, pool: pool.clone(), meter: &mut meter, sent: 0 };
        develop(made, &mut emitter)?;
        sent += emitter.sent;
        meter.frames = sent;
    }
    Ok(Processed { report: meter.report(), sent })
}

pub(super) fn encode(
    line: &Line<'_>,
    mut writer: Writer,
    input: &Receiver<Frame>,
    stage: &str,
    total: Option<u64>,
) -> Result<Encoded> {
    let mut meter = Meter::new("encode");
    let mut pace = Pace::new();
    while let Ok(mut frame) = meter.wait_input(|| input.recv()) {
        line.check()?;
        writer.write(&mut frame)?;
        writer.pool().give(frame);
        meter.frames += 1;
        let fps = pace.step(meter.frames);
        line.ctx.reporter.progress(progress(stage, meter.frames, total, fps));
    }
    // The queue also ends when a neighbour failed: then there is nothing to complete.
    line.check()?;
    // Draining takes seconds, encoding a second time for `max_bytes` minutes: both are told of and can be cancelled.
    let write = writer.finish_watched(&mut |done| {
        line.check()?;
        line.ctx.reporter.progress(progress(stage, done, total, None));
        Ok(())
    })?;
    Ok(Encoded { report: meter.report(), write })
}

fn progress(stage: &str, done: u64, total: Option<u64>, fps: Option<f32>) -> Progress {
    #[allow(clippy::cast_precision_loss, clippy::cast_possible_truncation, reason = "a percentage for people")]
    let percent = total.filter(|t| *t > 0).map(|t| (done as f64 * 100.0 / t as f64).min(100.0) as f32);
    // An estimate that turned out too small is no total.
    Progress { stage: stage.to_owned(), percent, done, total: total.filter(|t| *t >= done), fps }
}

/// Frames per second over the last seconds.
struct Pace(VecDeque<(Instant, u64)>);

impl Pace {
    const WINDOW: Duration = Duration::from_secs(3);
    /// Marks are this far apart, so that the window holds a few dozen.
    const GAP: Duration = Duration::from_millis(100);

    fn new() -> Pace {
        Pace(VecDeque::from([(Instant::now(), 0)]))
    }

    fn step(&mut self, done: u64) -> Option<f32> {
        let now = Instant::now();
        if self.0.back().is_none_or(|(at, _)| now.duration_since(*at) >= Pace::GAP) {
            self.0.push_back((now, done));
        }
        while self.0.len() > 2 && self.0.front().is_some_and(|(at, _)| now.duration_since(*at) > Pace::WINDOW) {
            self.0.pop_front();
        }
        let (since, before) = *self.0.front()?;
        let secs = now.duration_since(since).as_secs_f32();
        #[allow(clippy::cast_precision_loss, reason = "a rate for people")]
        (secs >= 0.1).then(|| (done - before) as f32 / secs)
    }
}
