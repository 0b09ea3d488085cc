//! The parts of a run alone, with the job's settings, for `darkroom bench`.

use darkroom_api::{Alone, Inputs, JobContext, Part, Result};
use darkroom_inference::Runtime;
use darkroom_media::alone::{self, there_and_back};
use darkroom_media::{Frame, Reader, Writer};

use crate::people::Track;
use crate::pipeline::{Cast, Clip, Drawer, Found, Person, Setup, camera, find, finder, fit, track_options};
use crate::render::Mode;
use crate::{Params, VIDEO};

/// Most frames that lie ready, from the beginning: enough to see people move, 0.2 GB of 1080p.
const MAX_FRAMES: usize = 60;

/// Prepares a part.
///
/// # Errors
/// As a run; [`darkroom_api::ErrorCode::HandlerUnknown`] for what a run without a video does not do.
pub fn alone<'a>(
    runtime: &'a Runtime,
    part: Part,
    ctx: &'a JobContext,
    inputs: &Inputs,
    params: &Params,
) -> Result<Alone<'a>> {
    let clip = Clip { path: inputs.one(VIDEO)?, ctx, params, threads: runtime.intra_threads() };
    if params.render == Mode::None && matches!(part, Part::Draw | Part::Encode) {
        return Err(part.missing("pose with render=none"));
    }
    match part {
        Part::Decode => Ok(decode(&clip)),
        Part::Model => model(runtime, &clip),
        Part::Fit => fitting(runtime, &clip),
        Part::Draw => draw(runtime, &clip),
        Part::Encode => encode(runtime, &clip),
    }
}

/// Both passes, of which there is one where nothing is drawn.
fn decode<'a>(clip: &Clip<'_>) -> Alone<'a> {
    let first = alone::decode(clip.path, clip.read_options());
    if clip.params.render == Mode::None {
        return first;
    }
    let second = alone::decode(clip.path, clip.read_options());
    Alone::new(move || (first.work)().and_then(|_| (second.work)()))
}

/// From decoded frames to tracks: over the first frames forwards and backwards, as people move either way.
fn model<'a>(runtime: &'a Runtime, clip: &Clip<'_>) -> Result<Alone<'a>> {
    let mut reader = clip.open()?;
    let (mut finder, _) = finder(runtime, clip.params, reader.info().fps())?;
    let (frames, times) = first_frames(&mut reader)?;
    let held_bytes = frames.iter().skip(1).map(Frame::bytes).sum();
    let work = move || -> Result<u64> {
        for index in 0..times.len() {
            finder.push(&frames[there_and_back(index, frames.len())])?;
        }
        finder.finish();
        Ok(times.len() as u64)
    };
    Ok(Alone { work: Box::new(work), held_bytes })
}

/// From tracks to bodies.
fn fitting<'a>(runtime: &Runtime, clip: &Clip<'_>) -> Result<Alone<'a>> {
    let (setup, found) = (Setup::new(runtime, clip.params)?, found(runtime, clip)?);
    let (ctx, camera, options) =
        (clip.ctx.clone(), camera(clip.params, &found.info), track_options(clip.params, &found.info));
    Ok(Alone::new(move || {
        setup.threads.install(|| fit(&ctx, &setup.fitter, &camera, &options, found.tracks))?;
        Ok(found.times.len() as u64)
    }))
}

/// From decoded frames to frames for the encoder: the first ones forwards and backwards, each with its own people.
fn draw<'a>(runtime: &Runtime, clip: &Clip<'_>) -> Result<Alone<'a>> {
    let ready = Ready::new(runtime, clip)?;
    let mut reader = clip.open()?;
    let look = clip.look(reader.info())?;
    let pool = look.pool(reader.info(), clip.params);
    let (frames, times) = first_frames(&mut reader)?;
    let held_bytes = frames.iter().skip(1).map(Frame::bytes).sum();
    let (params, info) = (clip.params.clone(), reader.info().clone());
    let work = move || -> Result<u64> {
        let mut drawer = Drawer::new(&ready.cast(), &params, &look, &info);
        for index in 0..times.len() {
            let original = &frames[there_and_back(index, frames.len())];
            let mut result = pool.take()?;
            drawer.draw(original, &mut result)?;
            pool.give(result);
        }
        Ok(times.len() as u64)
    };
    Ok(Alone { work: Box::new(work), held_bytes })
}

/// Frames that were really drawn, of the beginning.
fn encode<'a>(runtime: &Runtime, clip: &Clip<'_>) -> Result<Alone<'a>> {
    let ready = Ready::new(runtime, clip)?;
    let mut reader = clip.open()?;
    let info = reader.info().clone();
    let look = clip.look(&info)?;
    let path = clip.ctx.output_dir.join(look.name());
    let writer = Writer::create(&path, &look.options, &look.describe(&info, clip.params), reader.tracks())?;
    let (frames, times) = first_frames(&mut reader)?;
    let cast = ready.cast();
    let mut drawer = Drawer::new(&cast, clip.params, &look, &info);
    let mut results = Vec::with_capacity(frames.len());
    for frame in &frames {
        let mut result = writer.pool().take()?;
        drawer.draw(frame, &mut result)?;
        results.push(result);
    }
    // The models' memory is not the encoder's.
    runtime.release_idle();
    Ok(alone::encode(writer, results, times))
}

/// The first frames, and the times of all.
fn first_frames(reader: &mut Reader) -> Result<(Vec<Frame>, Vec<i64>)> {
    let (mut frames, mut times) = (Vec::new(), Vec::new());
    while let Some(frame) = reader.next()? {
        times.push(frame.pts());
        if frames.len() < MAX_FRAMES {
            frames.push(frame);
        }
    }
    Ok((frames, times))
}

/// The first pass.
fn found(runtime: &Runtime, clip: &Clip<'_>) -> Result<Found> {
    let reader = clip.open()?;
    let (finder, _) = finder(runtime, clip.params, reader.info().fps())?;
    find(reader, finder, clip.ctx)
}

/// People who can be drawn.
struct Ready {
    setup: Setup,
    people: Vec<Person>,
    times: Vec<i64>,
    camera: crate::view::Camera,
}

impl Ready {
    fn new(runtime: &Runtime, clip: &Clip<'_>) -> Result<Ready> {
        let (setup, found) = (Setup::new(runtime, clip.params)?, found(runtime, clip)?);
        let (camera, options) = (camera(clip.params, &found.info), track_options(clip.params, &found.info));
        let tracks: Vec<Track> = found.tracks;
        let people = setup.threads.install(|| fit(clip.ctx, &setup.fitter, &camera, &options, tracks))?;
        Ok(Ready { setup, people, times: found.times, camera })
    }

    fn cast(&self) -> Cast<'_> {
        let (body, threads) = (self.setup.fitter.body(), &self.setup.threads);
        Cast {
            body,
            smpl: self.setup.smpl.as_ref(),
            people: &self.people,
            times: &self.times,
            camera: self.camera,
            threads,
        }
    }
}
