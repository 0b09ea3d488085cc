//! The stages.

use crossbeam_channel::{Receiver, Sender};
use darkroom_api::{Result, StageReport};

use super::meter::Meter;
use super::{Ahead, Emitter, Line, stopped};
use crate::{Frame, FramePool, Reader, WriteReport, Writer};

pub(super) struct Decoded {
    pub report: StageReport,
    pub corrupt_packets: u64,
    pub deinterlaced: bool,
    pub alpha_lost: bool,
}

impl Decoded {
    /// What the user should know of the source.
    pub fn warnings(&self) -> Vec<String> {
        let mut warnings = Vec::new();
        if self.deinterlaced {
            warnings.push("The video is interlaced: each pair of fields was made into one whole frame.".to_owned());
        }
        if self.alpha_lost {
            let why = "The GIF's first frame is opaque, so it was taken to have no alpha; later frames are not: what shows \
                       through them is lost. Convert it to APNG or WebM to keep it.";
            warnings.push(why.to_owned());
        }
        if self.corrupt_packets > 0 {
            let n = self.corrupt_packets;
            warnings.push(format!("{n} packets of the video were damaged: what could be decoded was used."));
        }
        warnings
    }
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
    Ok(Decoded {
        report: meter.report(),
        corrupt_packets: reader.corrupt_packets(),
        deinterlaced: reader.deinterlaced(),
        alpha_lost: reader.alpha_lost(),
    })
}

/// Shows all frames to `see`, and keeps none.
pub(super) fn see<S>(line: &Line<'_>, input: &Receiver<Frame>, mut see: S) -> Result<StageReport>
where
    S: FnMut(Frame) -> Result<()>,
{
    let mut meter = Meter::new("process");
    while let Ok(frame) = meter.wait_input(|| input.recv()) {
        line.check()?;
        see(frame)?;
        meter.frames += 1;
        line.teller.taken(meter.frames);
    }
    // The queue also ends when the decoder failed.
    line.check()?;
    line.teller.end(meter.frames);
    Ok(meter.report())
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
            let ahead = Ahead { teller: &line.teller, begun: meter.frames, count: frames.len() };
            meter.frames += frames.len() as u64;
            let mut emitter = Emitter { out, pool: pool.clone(), meter: &mut meter, ahead, sent: 0 };
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
        let ahead = Ahead { teller: &line.teller, begun: sent, count: 1 };
        let mut emitter = Emitter { out, pool: pool.clone(), meter: &mut meter, ahead, sent: 0 };
        develop(made, &mut emitter)?;
        sent += emitter.sent;
        meter.frames = sent;
    }
    Ok(Processed { report: meter.report(), sent })
}

pub(super) fn encode(line: &Line<'_>, mut writer: Writer, input: &Receiver<Frame>) -> Result<Encoded> {
    let mut meter = Meter::new("encode");
    while let Ok(mut frame) = meter.wait_input(|| input.recv()) {
        line.check()?;
        writer.write(&mut frame)?;
        writer.pool().give(frame);
        meter.frames += 1;
        line.teller.taken(meter.frames);
    }
    // The queue also ends when a neighbour failed: then there is nothing to complete.
    line.check()?;
    // Draining takes seconds, encoding a second time for `max_bytes` minutes: both are told of and can be cancelled.
    let write = writer.finish_watched(&mut |closing, frames| {
        line.check()?;
        line.teller.closing(closing, frames);
        Ok(())
    })?;
    line.teller.end(write.frames);
    Ok(Encoded { report: meter.report(), write })
}
