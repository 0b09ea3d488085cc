//! The parts of a run alone, with the job's settings, for `darkroom bench`.

use std::path::Path;

use darkroom_api::{Alone, Inputs, JobContext, Part, Result};
use darkroom_inference::Runtime;
use darkroom_media::{Writer, alone};

use crate::known::Known;
use crate::pipeline::{Developer, Enlarged, Reading, codec_threads, read_options, set_up};
use crate::{Params, VIDEO};

/// Most results that lie ready for the encoder.
const MAX_RESULTS: usize = 8;

/// Prepares a part.
///
/// # Errors
/// As a run.
pub fn alone<'a>(
    runtime: &'a Runtime,
    known: &'a Known,
    part: Part,
    ctx: &'a JobContext,
    inputs: &Inputs,
    params: &Params,
) -> Result<Alone<'a>> {
    let video = inputs.one(VIDEO)?;
    match part {
        Part::Decode => Ok(alone::decode(video, read_options(params, codec_threads(runtime)?, ctx))),
        Part::Model => model(runtime, known, ctx, video, params),
        Part::Encode => encode(runtime, known, ctx, video, params),
        Part::Fit | Part::Draw => Err(part.missing("vsr")),
    }
}

/// From pictures to enlarged pictures: the first ones again and again, as the model computes the same whatever it sees.
fn model<'a>(
    runtime: &'a Runtime,
    known: &'a Known,
    ctx: &'a JobContext,
    video: &Path,
    params: &Params,
) -> Result<Alone<'a>> {
    let (mut reader, mut setup) = set_up(runtime, known, ctx, video, params)?;
    let mut reading = Reading::new(&setup);
    let (mut first, mut frames) = (Vec::new(), 0);
    while let Some(frame) = reader.next()? {
        if first.len() < setup.batch {
            first.push(reading.colour(&frame)?);
        }
        frames += 1;
    }
    Ok(Alone::new(move || {
        let mut left = frames;
        while left > 0 {
            let count = first.len().min(left);
            setup.enlarger.enlarge(first[..count].to_vec(), setup.passes, &|_| ())?;
            left -= count;
        }
        Ok(frames as u64)
    }))
}

/// Real results of the first frames.
fn encode<'a>(runtime: &Runtime, known: &Known, ctx: &JobContext, video: &Path, params: &Params) -> Result<Alone<'a>> {
    let (mut reader, mut setup) = set_up(runtime, known, ctx, video, params)?;
    let path = ctx.output_dir.join(&setup.look.name);
    let writer = Writer::create(&path, &setup.look.options, &setup.out_info, reader.tracks())?;
    let mut reading = Reading::new(&setup);
    let mut developer = Developer::new(&setup);
    let (mut results, mut times) = (Vec::new(), Vec::new());
    while let Some(frame) = reader.next()? {
        times.push(frame.pts());
        if results.len() < MAX_RESULTS {
            let enlarged = setup.enlarger.enlarge(vec![reading.colour(&frame)?], setup.passes, &|_| ())?;
            for colour in enlarged {
                let mut result = writer.pool().take()?;
                developer.fill(Enlarged { colour, alpha: None }, &mut result)?;
                results.push(result);
            }
        }
    }
    drop(setup);
    // The model's memory is not the encoder's.
    runtime.release_idle();
    Ok(alone::encode(writer, results, times))
}
