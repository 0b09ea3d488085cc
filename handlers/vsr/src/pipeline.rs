//! One run: file in, file out.

use std::path::Path;

use darkroom_api::{Auto, ErrorCode, Inputs, JobContext, JobError, OutputFile, Outputs, Result, Seconds};
use darkroom_inference::{Device, Precision, Runtime};
use darkroom_media::colour::{FromRgb, Hdr, Light, ToRgb, alpha_of};
use darkroom_media::pipeline::{self, Emitter, PipelineOptions, PipelineReport};
use darkroom_media::{Frame, ReadOptions, Reader, Traits, VideoInfo, Writer};
use serde_json::json;

use crate::cover::{associate, cover, dissociate, is_opaque};
use crate::enlarge::{Enlarger, Room};
use crate::known::Known;
use crate::look::Look;
use crate::params::Sessions;
use crate::repeats::Repeats;
use crate::resize::Resize;
use crate::tiles::Picture;
use crate::{Aim, Codec, Goal, Params, REFERENCE, STAGE, VIDEO, reference};

/// Sessions on a GPU for what is no task of the replaced service.
const GPU_SESSIONS: usize = 8;
/// Memory of all sessions on a CPU, and of each on a GPU.
const MEMORY_MIB: u64 = 1024;
/// The same on a CPU where the result is large, and a session less than eight: encoder and pictures need most of 4 GB.
const LARGE_MEMORY_MIB: u64 = 512;
/// What a session of many has there: SPAN takes 1.0 kB a pixel, and smaller tiles than these would mostly be what they share.
const SESSION_MIB: u64 = 64;
/// Most sessions on a CPU.
const MAX_CPU_SESSIONS: usize = 12;
/// Enlarged pictures of more bytes than this do not wait for the next stage: there is one in each.
const MAX_WAITING_BYTES: u64 = 128 << 20;

/// Share of the pictures on which a model may fail without a word.
const WORTH_TELLING: f64 = 0.001;

/// All that a run is set up with.
pub struct Setup<'a> {
    /// Models at work.
    pub enlarger: Enlarger<'a>,
    /// How often the model is applied.
    pub passes: u32,
    /// Frames a step.
    pub batch: usize,
    /// The size of the result.
    pub goal: Goal,
    /// What the result is written as.
    pub look: Look,
    /// What the frames are.
    pub info: VideoInfo,
    /// What the result's frames are.
    pub out_info: VideoInfo,
}

/// Opens a video and all that it takes.
///
/// # Errors
/// Those of reading, of the parameters with this video, and of the model.
pub fn set_up<'a>(
    runtime: &'a Runtime,
    known: &'a Known,
    ctx: &JobContext,
    video: &Path,
    params: &Params,
) -> Result<(Reader, Setup<'a>)> {
    let threads = codec_threads(runtime)?;
    let reader = Reader::open(video, &read_options(params, threads, ctx))?;
    let info = reader.info().clone();
    let goal = Goal::of(params, info.width_px, info.height_px)?;
    let look = Look::of(params, Traits::from(&info), threads)?;
    let room = room(runtime, params, goal.is_large())?;
    let mut enlarger = Enlarger::open(runtime, params.model_name(goal.wanted_scale()), room, known, &ctx.cancel)?;
    let scale = enlarger.net().scale;
    goal.check_picture(info.width_px, info.height_px, scale)?;
    let passes = goal.passes(scale);
    let batch = enlarger.batch(info.width_px as usize, info.height_px as usize)?;
    let out_info = look.describe(&info, &goal);
    Ok((reader, Setup { enlarger, passes, batch, goal, look, info, out_info }))
}

/// Sessions and memory.
///
/// # Errors
/// As [`Runtime::device`].
pub fn room(runtime: &Runtime, params: &Params, large: bool) -> Result<Room> {
    let on_cpu = runtime.device()? == Device::Cpu;
    let sessions = match params.sessions {
        sessions if on_cpu => cpu_sessions(runtime, sessions),
        sessions => gpu_sessions(sessions, params.aim()?),
    };
    let memory_mib = memory_mib(runtime, params, large, !on_cpu)?;
    let precision = if params.half_precision { Precision::Half } else { Precision::Full };
    Ok(Room { sessions, memory_mib, precision })
}

/// Memory of all sessions, in MiB.
///
/// # Errors
/// As [`Params::aim`].
pub fn memory_mib(runtime: &Runtime, params: &Params, large: bool, on_gpu: bool) -> Result<u64> {
    Ok(match params.memory_mib {
        Auto::Set(mib) => u64::from(mib.get()),
        Auto::Auto if on_gpu => MEMORY_MIB * gpu_sessions(params.sessions, params.aim()?) as u64,
        Auto::Auto if large => {
            (SESSION_MIB * cpu_sessions(runtime, params.sessions) as u64).clamp(LARGE_MEMORY_MIB, MEMORY_MIB)
        }
        Auto::Auto => MEMORY_MIB,
    })
}

fn cpu_sessions(runtime: &Runtime, asked: Auto<Sessions>) -> usize {
    match asked {
        Auto::Set(sessions) => sessions.get() as usize,
        Auto::Auto => runtime.intra_threads().min(MAX_CPU_SESSIONS),
    }
}

fn gpu_sessions(asked: Auto<Sessions>, aim: Aim) -> usize {
    match (asked, aim) {
        (Auto::Set(sessions), _) => sessions.get() as usize,
        (Auto::Auto, Aim::Task(task)) => task.sessions(),
        (Auto::Auto, Aim::Scale(_) | Aim::Size(..)) => GPU_SESSIONS,
    }
}

/// Runs the handler.
///
/// # Errors
/// Codes of reading, of the model and of writing.
pub fn run(runtime: &Runtime, known: &Known, ctx: &JobContext, inputs: &Inputs, params: &Params) -> Result<Outputs> {
    let video = inputs.one(VIDEO)?;
    let (reader, mut setup) = set_up(runtime, known, ctx, video, params)?;
    let path = ctx.output_dir.join(&setup.look.name);
    let writer = Writer::create(&path, &setup.look.options, &setup.out_info, reader.tracks())?;
    let (info, scale) = (&setup.info, setup.enlarger.net().scale);
    let picture_bytes = size_of::<f32>() as u64 * 3 * setup.goal.picture_pixels(info.width_px, info.height_px, scale);
    let options = PipelineOptions {
        batch: setup.batch,
        queue_results: if picture_bytes > MAX_WAITING_BYTES { 0 } else { setup.batch },
        stage: STAGE.to_owned(),
        ..PipelineOptions::default()
    };
    let mut repeats = Repeats::default();
    let mut reading = Reading::new(&setup);
    let mut developer = Developer::new(&setup);
    let (enlarger, passes) = (&mut setup.enlarger, setup.passes);
    let enlarge = |frames: &mut Vec<Frame>, out: &mut Emitter<'_, Made>| {
        let mut new = Vec::with_capacity(frames.len());
        for frame in frames.iter() {
            new.push(if repeats.repeats(frame)? { None } else { Some(reading.read(frame)?) });
        }
        let pictures: Vec<Picture> = new.iter_mut().flatten().map(|read| std::mem::take(&mut read.colour)).collect();
        pictures.iter().for_each(|picture| repeats.see(picture));
        let ahead = out.ahead();
        let done = |part: f32| ahead.at(part);
        let enlarged = enlarger.enlarge(pictures, passes, &done)?;
        let mut enlarged = enlarged.into_iter();
        for (frame, read) in frames.drain(..).zip(new) {
            let picture = read.and_then(|read| Some(Enlarged { colour: enlarged.next()?, alpha: read.alpha }));
            out.send(Made { frame, picture })?;
        }
        Ok(())
    };
    let develop = |made: Made, out: &mut Emitter<'_>| developer.develop(made, out);
    let report = pipeline::run_in_two(reader, writer, ctx, &options, enlarge, develop)?;
    let mut outputs = finish(params, &mut setup, &repeats, &report)?;
    if let Some(reference) = inputs.optional(REFERENCE) {
        // The models' memory is not needed any more.
        drop(setup);
        runtime.release_idle();
        let (scores, warnings) = reference::metrics(runtime, ctx, &path, reference, runtime.intra_threads())?;
        outputs.metrics.insert(REFERENCE.to_owned(), scores);
        outputs.warnings.extend(warnings);
    }
    Ok(outputs)
}

/// A frame's colour, and its alpha where it is kept and something shines through.
pub struct Read {
    colour: Picture,
    alpha: Option<Picture>,
}

/// Frames to pictures.
pub struct Reading {
    to_rgb: ToRgb,
    alpha: bool,
}

impl Reading {
    /// For a run.
    pub fn new(setup: &Setup<'_>) -> Reading {
        Reading { to_rgb: ToRgb::new(setup.look.hdr), alpha: setup.look.options.format.alpha }
    }

    /// A frame's colour.
    ///
    /// # Errors
    /// As [`ToRgb::convert`].
    pub fn colour(&mut self, frame: &Frame) -> Result<Picture> {
        let mut colour = Picture::new(3, frame.width() as usize, frame.height() as usize);
        self.to_rgb.convert(frame, &mut colour.values)?;
        Ok(colour)
    }

    fn read(&mut self, frame: &Frame) -> Result<Read> {
        let mut colour = self.colour(frame)?;
        if !self.alpha {
            return Ok(Read { colour, alpha: None });
        }
        let mut alpha = Picture::new(1, colour.width, colour.height);
        if !alpha_of(frame, &mut alpha.values) || is_opaque(&alpha) {
            return Ok(Read { colour, alpha: None });
        }
        cover(&mut colour, &alpha);
        Ok(Read { colour, alpha: Some(alpha) })
    }
}

/// What goes from the models to the developer.
struct Made {
    frame: Frame,
    /// `None`: as the frame before.
    picture: Option<Enlarged>,
}

/// A picture that the model has enlarged, with alpha as it was.
pub struct Enlarged {
    /// Red, green and blue.
    pub colour: Picture,
    /// Opacity, at the size of the input.
    pub alpha: Option<Picture>,
}

/// Pictures to frames of the result.
pub struct Developer {
    from_rgb: FromRgb,
    resize: Resize,
    light: Light,
    size: (usize, usize),
    last: Option<Frame>,
}

impl Developer {
    /// For a run.
    pub fn new(setup: &Setup<'_>) -> Developer {
        let tone_mapped = setup.look.hdr == Hdr::ToneMap;
        Developer {
            from_rgb: FromRgb::new(setup.info.bit_depth > setup.look.options.bit_depth || tone_mapped),
            resize: Resize::new(),
            light: Light::of(setup.out_info.colour),
            size: (setup.goal.width_px as usize, setup.goal.height_px as usize),
            last: None,
        }
    }

    fn develop(&mut self, made: Made, out: &mut Emitter<'_>) -> Result<()> {
        if let (None, Some(last)) = (&made.picture, &self.last) {
            let again = out.again(last, &made.frame)?;
            return out.send(again);
        }
        let mut frame = out.blank(&made.frame)?;
        if let Some(picture) = made.picture {
            self.fill(picture, &mut frame)?;
        }
        self.last = Some(frame.share()?);
        out.send(frame)
    }

    /// Fills a frame with a picture, brought to the frame's size in linear light, where light adds up as on a retina.
    ///
    /// # Errors
    /// `internal` where sizes do not fit.
    pub fn fill(&mut self, picture: Enlarged, frame: &mut Frame) -> Result<()> {
        let mut colour = picture.colour;
        let mut alpha = picture.alpha.map(|alpha| self.opacity(&alpha, (colour.width, colour.height))).transpose()?;
        if (colour.width, colour.height) != self.size {
            self.light.to_linear(&mut colour.values);
            (colour, alpha) = self.fit(colour, alpha)?;
            self.light.to_signal(&mut colour.values);
        }
        self.from_rgb.convert(&colour.values, alpha.as_ref().map(|alpha| &alpha.values[..]), frame)
    }

    /// Light, and how far it is seen, at the size of the result.
    fn fit(&mut self, mut light: Picture, alpha: Option<Picture>) -> Result<(Picture, Option<Picture>)> {
        let (width, height) = self.size;
        let Some(alpha) = alpha else { return Ok((self.resize.picture(&light, width, height)?, None)) };
        associate(&mut light, &alpha);
        let mut fitted = self.resize.picture(&light, width, height)?;
        let mut alpha = self.resize.picture(&alpha, width, height)?;
        dissociate(&mut fitted, &alpha);
        clamp(&mut alpha);
        Ok((fitted, Some(alpha)))
    }

    /// Alpha at another size. The filter overshoots at edges.
    fn opacity(&mut self, alpha: &Picture, (width, height): (usize, usize)) -> Result<Picture> {
        let mut alpha = self.resize.picture(alpha, width, height)?;
        clamp(&mut alpha);
        Ok(alpha)
    }
}

fn clamp(alpha: &mut Picture) {
    alpha.values.iter_mut().for_each(|value| *value = value.clamp(0.0, 1.0));
}

fn finish(params: &Params, setup: &mut Setup<'_>, repeats: &Repeats, report: &PipelineReport) -> Result<Outputs> {
    let (info, goal) = (&setup.info, &setup.goal);
    let tiles = setup.enlarger.tiles(info.width_px as usize, info.height_px as usize)?;
    let metrics = json!({
        "frames": report.frames,
        "fps": report.fps(),
        "wall_secs": report.wall_secs,
        "input_width_px": info.width_px,
        "input_height_px": info.height_px,
        "width_px": goal.width_px,
        "height_px": goal.height_px,
        "scale": goal.factor,
        "model_scale": setup.enlarger.net().scale,
        "model_passes": setup.passes,
        "sessions": setup.enlarger.sessions(),
        "tiles": tiles,
        "failed_share": setup.enlarger.failed_share(),
        "repeated_frames": repeats.repeated,
        "scene_cuts": repeats.cuts,
        "corrupt_packets": report.corrupt_packets,
        "bytes": report.write.bytes,
    });
    let mut warnings = setup.look.warnings.clone();
    warnings.extend(size_warning(params, info, goal)?);
    warnings.extend(failure_warning(params, setup.enlarger.failed_share()));
    warnings.extend(report.write.warnings.iter().cloned());
    Ok(Outputs {
        files: vec![OutputFile { name: setup.look.name.clone(), media_type: setup.look.media_type().to_owned() }],
        params: serde_json::to_value(params).map_err(|e| JobError::new(ErrorCode::Internal, e.to_string()))?,
        models: setup.enlarger.model_use().into_iter().collect(),
        metrics: metrics.as_object().cloned().unwrap_or_default(),
        stages: report.stages.clone(),
        warnings,
    })
}

/// Says how much of the pictures the model could not do.
fn failure_warning(params: &Params, share: f64) -> Option<String> {
    let model = &params.model;
    (share >= WORTH_TELLING).then(|| {
        format!(
            "The model `{model}` failed on {:.1} % of the pictures, as such do where hard, saturated colours meet: there the \
             resampled picture stands in. For graphics and drawings, `model` = `animevideov3` is made.",
            100.0 * share
        )
    })
}

/// Says where a video is not of the size that its task is for.
fn size_warning(params: &Params, info: &VideoInfo, goal: &Goal) -> Result<Option<String>> {
    let Aim::Task(task) = params.aim()? else { return Ok(None) };
    let (width, height) = task.expects();
    let size = (info.width_px, info.height_px);
    if size == (width, height) || size == (height, width) {
        return Ok(None);
    }
    Ok(Some(format!(
        "{} is for videos of {width}x{height}; this one is {}x{} and became {}x{}, its shape kept.",
        task.name(),
        info.width_px,
        info.height_px,
        goal.width_px,
        goal.height_px
    )))
}

/// Threads of decoder and encoder: on a CPU the models need them far more.
///
/// # Errors
/// As [`Runtime::device`].
pub fn codec_threads(runtime: &Runtime) -> Result<usize> {
    let threads = runtime.intra_threads();
    Ok(if runtime.device()? == Device::Cpu { threads.div_ceil(2) } else { threads })
}

/// Which part of the video to read.
pub fn read_options(params: &Params, threads: usize, ctx: &JobContext) -> ReadOptions {
    ReadOptions {
        start_secs: params.start_secs.map(Seconds::get),
        end_secs: params.end_secs.map(Seconds::get),
        threads,
        alpha: matches!(params.codec, Codec::Auto | Codec::Vp9),
        cancel: ctx.cancel.clone(),
        ..ReadOptions::default()
    }
}
