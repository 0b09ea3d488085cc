//! The parts of a run alone, with the job's settings, for `darkroom bench`.

use std::ops::Range;
use std::path::Path;
use std::sync::mpsc::sync_channel;

use darkroom_api::{Alone, ErrorCode, Inputs, JobContext, JobError, Part, Result};
use darkroom_inference::Runtime;
use darkroom_media::{Frame, Reader, Writer, alone};

use crate::pipeline::{self, Decoded, check_ratio, hdr, output_info, read_options, secs_since_start};
use crate::{BACKGROUND, Found, Params, VIDEO};

/// Most mattes that lie ready for the encoder: enough to see people move, 0.4 GB of 1080p.
const MAX_MATTES: usize = 60;

/// Prepares a part.
///
/// # Errors
/// As a run.
pub fn alone<'a>(
    runtime: &'a Runtime,
    part: Part,
    ctx: &'a JobContext,
    inputs: &Inputs,
    params: Params,
) -> Result<Alone<'a>> {
    let video = inputs.one(VIDEO)?;
    match part {
        Part::Decode => {
            let threads = pipeline::codec_threads(runtime, &params)?;
            Ok(alone::decode(video, read_options(&params, threads, ctx)))
        }
        Part::Model => model(runtime, ctx, video, &params),
        Part::Encode => encode(runtime, ctx, video, inputs.optional(BACKGROUND), &params),
        Part::Fit | Part::Draw => Err(part.missing("matting")),
    }
}

/// From decoded frames to mattes, on two threads as in a run. The model computes the same whatever it sees, so it sees the
/// first frames again and again.
fn model<'a>(runtime: &'a Runtime, ctx: &JobContext, video: &Path, params: &Params) -> Result<Alone<'a>> {
    let mut reader = Reader::open(video, &read_options(params, pipeline::codec_threads(runtime, params)?, ctx))?;
    let info = reader.info().clone();
    let hdr = hdr(params, info.colour.is_hdr())?;
    let (mut reading, mut drawing) = (pipeline::to_rgb(hdr), pipeline::to_rgb(hdr));
    let (mut rvm, mut mattes) = pipeline::open_model(runtime, params, &info)?;
    let (mut first, mut frames) = (Vec::new(), 0);
    while let Some(frame) = reader.next()? {
        if first.len() < rvm.capacity() {
            first.push(frame);
        }
        frames += 1;
    }
    Ok(Alone::new(move || {
        std::thread::scope(|scope| {
            let (to_draw, found) = sync_channel::<(Range<usize>, Found)>(rvm.waiting_results());
            let (first, mattes) = (&first, &mut mattes);
            let draw = scope.spawn(move || {
                found.into_iter().try_for_each(|(places, found)| {
                    let mut source = Decoded { frames: &first[places], to_rgb: &mut drawing };
                    mattes.hand_out(found, &mut source, |_, _| Ok(()))
                })
            });
            let mut done = 0;
            while done < frames {
                let batch = rvm.capacity().min(frames - done);
                rvm.see(batch, &mut Decoded { frames: first, to_rgb: &mut reading })?;
                rvm.run(batch, |places, found| {
                    // Nobody listens where drawing has failed, which is told below.
                    drop(to_draw.send((places, found)));
                    Ok(())
                })?;
                done += batch;
            }
            drop(to_draw);
            let panicked = |_| JobError::new(ErrorCode::Internal, "Drawing panicked. This is a fault: report it.");
            draw.join().map_err(panicked)??;
            Ok(done as u64)
        })
    }))
}

/// Real mattes of the first frames.
fn encode<'a>(
    runtime: &Runtime,
    ctx: &JobContext,
    video: &Path,
    backdrop: Option<&Path>,
    params: &Params,
) -> Result<Alone<'a>> {
    let threads = pipeline::codec_threads(runtime, params)?;
    let mut reader = Reader::open(video, &read_options(params, threads, ctx))?;
    let info = reader.info().clone();
    check_ratio(params, info.width_px, info.height_px)?;
    let out_info = output_info(&info, hdr(params, info.colour.is_hdr())?);
    let writer = pipeline::open_writer(ctx, params, &out_info, reader.tracks(), threads)?;
    let (mattes, times) = mattes(runtime, ctx, &mut reader, backdrop, params, &writer)?;
    // The model's memory is not the encoder's.
    runtime.release_idle();
    Ok(alone::encode(writer, mattes, times))
}

/// Developed frames of the beginning, and the times of all.
fn mattes(
    runtime: &Runtime,
    ctx: &JobContext,
    reader: &mut Reader,
    backdrop: Option<&Path>,
    params: &Params,
    writer: &Writer,
) -> Result<(Vec<Frame>, Vec<i64>)> {
    let info = reader.info().clone();
    let hdr = hdr(params, info.colour.is_hdr())?;
    let mut developer = pipeline::developer(params, backdrop, &info, &output_info(&info, hdr), ctx)?;
    let mut to_rgb = pipeline::to_rgb(hdr);
    let (mut rvm, mut drawing) = pipeline::open_model(runtime, params, &info)?;
    let (mut mattes, mut times) = (Vec::new(), Vec::new());
    while let Some(frame) = reader.next()? {
        times.push(frame.pts());
        if mattes.len() < MAX_MATTES {
            let secs = secs_since_start(&info, frame.pts());
            let mut blank = writer.pool().take()?;
            let frames = [frame];
            let mut source = Decoded { frames: &frames, to_rgb: &mut to_rgb };
            rvm.see(1, &mut source)?;
            rvm.run(1, |_, found| {
                drawing.hand_out(found, &mut source, |_, matte| developer.develop(matte, secs, &mut blank))
            })?;
            mattes.push(blank);
        }
    }
    Ok((mattes, times))
}

#[cfg(test)]
mod tests {
    use super::*;

    use darkroom_api::Handler;

    use crate::Matting;
    use crate::testing::{Bench, runtime};

    #[test]
    fn each_part_works_on_every_frame() {
        let bench = Bench::new();
        let clip = bench.person(7);
        let inputs = Inputs([(VIDEO.to_owned(), vec![clip.into()])].into());
        let handler = Matting::new(runtime().clone());
        let ctx = bench.context();
        for part in [Part::Decode, Part::Model, Part::Encode] {
            let alone = handler.alone(part, &ctx, &inputs, Params::default()).unwrap();
            assert_eq!((alone.work)().unwrap(), 7, "{part}");
        }
        assert_eq!(bench.times("out/matte.webm").len(), 7, "the encoder's part writes a whole file");
        let missing: JobError = handler.alone(Part::Decode, &ctx, &Inputs::default(), Params::default()).err().unwrap();
        assert!(missing.message.contains(VIDEO));
    }
}
