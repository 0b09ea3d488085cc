//! One run: file in, files out.

use std::ops::Range;
use std::path::{Path, PathBuf};

use darkroom_api::{ErrorCode, Inputs, JobContext, JobError, ModelUse, OutputFile, Outputs, Result};
use darkroom_inference::{Device, PooledSession, Runtime};
use darkroom_media::colour::{Hdr, ToRgb};
use darkroom_media::pipeline::{self, Emitter, PipelineOptions, PipelineReport};
use darkroom_media::{
    ColourTags, Frame, OutputFormat, Rate, ReadOptions, Reader, Tracks, VideoInfo, WriteOptions, Writer,
};
use serde_json::json;

use crate::background::Background;
use crate::develop::{Developer, Look};
use crate::preview::{self, Preview};
use crate::{BACKGROUND, Format, Found, Mattes, Params, Rvm, STAGE, Sessions, Source, VIDEO};

/// Shortest side of the picture in which the model looks for people: its smallest layer is 16 times smaller.
const MIN_INNER_SIDE_PX: f64 = 16.0;

/// The encoders' `speed` from which on a thread of theirs keeps ahead of the network by far.
const QUICK_SPEED: u8 = 6;

/// Runs the handler.
///
/// # Errors
/// Codes of reading, of the model and of writing.
pub fn run(runtime: &Runtime, ctx: &JobContext, inputs: &Inputs, params: &Params) -> Result<Outputs> {
    let backdrop = inputs.optional(BACKGROUND);
    check_background(params.format, backdrop.is_some())?;
    let threads = codec_threads(runtime, params)?;
    let reader = Reader::open(inputs.one(VIDEO)?, &read_options(params, threads, ctx))?;
    let info = reader.info().clone();
    let hdr = hdr(params, info.colour.is_hdr())?;
    let (mut rvm, mut mattes) = open_model(runtime, params, &info)?;

    let out_info = output_info(&info, hdr);
    let writer = open_writer(ctx, params, &out_info, reader.tracks(), threads)?;
    let mut developer = developer(params, backdrop, &info, &out_info, ctx)?;
    let (mut reading, mut drawing) = (to_rgb(hdr), to_rgb(hdr));
    let options = PipelineOptions {
        batch: rvm.capacity(),
        queue_results: rvm.waiting_results(),
        stage: STAGE.to_owned(),
        ..PipelineOptions::default()
    };
    let find = |frames: &mut Vec<Frame>, out: &mut Emitter<'_, (Vec<Frame>, Found)>| {
        rvm.see(frames.len(), &mut Decoded { frames, to_rgb: &mut reading })?;
        rvm.run(frames.len(), |places, found| out.send((frames.drain(..places.len()).collect(), found)))
    };
    let draw = |(frames, found): (Vec<Frame>, Found), out: &mut Emitter<'_>| {
        let mut blank = None;
        mattes.hand_out(found, &mut Decoded { frames: &frames, to_rgb: &mut drawing }, |place, matte| {
            let frame = &frames[place];
            let ends = matte.rows.end == frame.height() as usize;
            let mut developed = blank.take().map_or_else(|| out.blank(frame), Ok)?;
            developer.develop(matte, secs_since_start(&info, frame.pts()), &mut developed)?;
            if ends {
                return out.send(developed);
            }
            blank = Some(developed);
            Ok(())
        })
    };
    let report = pipeline::run_in_two(reader, writer, ctx, &options, find, draw)?;
    let model = model_use(rvm.used());
    let ratio = params.ratio(info.width_px, info.height_px);
    finish(ctx, params, &info, &Done { report, developer, model, ratio, batch: rvm.capacity() })
}

/// The model for a video, and what makes mattes of what it finds out.
///
/// # Errors
/// Those of [`check_ratio`], of loading it and of its interface.
pub fn open_model<'a>(runtime: &'a Runtime, params: &Params, info: &VideoInfo) -> Result<(Rvm<'a>, Mattes<'a>)> {
    let ratio = check_ratio(params, info.width_px, info.height_px)?;
    let sessions = Sessions::open(runtime, params.model_name())?;
    let batch = params.batch(info.width_px, info.height_px);
    Rvm::new(sessions, info.width_px, info.height_px, ratio, batch)
}

/// Frames as the model takes them. Interpolated chroma softens edges, which costs RVM 6 to 19 % of its accuracy on the
/// clip of known truth.
pub fn to_rgb(hdr: Hdr) -> ToRgb {
    ToRgb::new(hdr).with_nearest_chroma()
}

/// Decoded frames as the model's source.
pub struct Decoded<'a> {
    /// A batch.
    pub frames: &'a [Frame],
    /// What makes colour of them.
    pub to_rgb: &'a mut ToRgb,
}

impl Source for Decoded<'_> {
    fn frame(&mut self, place: usize) -> Result<impl FnMut(Range<usize>, &mut [f32]) -> Result<()>> {
        let mut frame = self.to_rgb.of(&self.frames[place])?;
        Ok(move |rows: Range<usize>, out: &mut [f32]| frame.rows(rows, out))
    }
}

/// What makes frames of `out_info`'s kind from mattes of `info`'s video.
///
/// # Errors
/// Those of reading the background.
pub fn developer(
    params: &Params,
    backdrop: Option<&Path>,
    info: &VideoInfo,
    out_info: &VideoInfo,
    ctx: &JobContext,
) -> Result<Developer> {
    let depth = params.format.bit_depth(info.bit_depth);
    let look = look(params, backdrop, out_info, ctx)?;
    Ok(Developer::new(look, info.bit_depth > depth, Preview::new(info.frames)))
}

/// What a run ends with.
struct Done {
    report: PipelineReport,
    developer: Developer,
    model: ModelUse,
    ratio: f64,
    batch: usize,
}

fn finish(ctx: &JobContext, params: &Params, info: &VideoInfo, done: &Done) -> Result<Outputs> {
    let mut files = output_files(params.format, &done.report.write.files);
    if done.developer.preview().write(&ctx.output_dir)? {
        files.push(OutputFile { name: preview::NAME.into(), media_type: "image/png".into() });
    }
    let metrics = json!({
        "frames": done.report.frames,
        "fps": done.report.fps(),
        "wall_secs": done.report.wall_secs,
        "width_px": info.width_px,
        "height_px": info.height_px,
        "downsample_ratio": done.ratio,
        "frames_a_call": done.batch,
        "coverage_mean": done.developer.coverage(),
        "corrupt_packets": done.report.corrupt_packets,
    });
    let mut warnings = params.warnings();
    warnings.extend(done.report.write.warnings.iter().cloned());
    Ok(Outputs {
        files,
        params: serde_json::to_value(params).map_err(|e| JobError::new(ErrorCode::Internal, e.to_string()))?,
        models: vec![done.model.clone()],
        metrics: metrics.as_object().cloned().unwrap_or_default(),
        stages: done.report.stages.clone(),
        warnings,
    })
}

impl Format {
    /// The container that holds it.
    pub(crate) fn container(self) -> OutputFormat {
        match self {
            Format::WebmAlpha => OutputFormat::WEBM_ALPHA,
            Format::Prores4444 => OutputFormat::MOV_PRORES4444,
            Format::Png => OutputFormat::PNG_FOLDER,
            Format::Composite | Format::Alpha => OutputFormat::MP4_H264,
        }
    }

    /// Bits a component in the output of a video.
    fn bit_depth(self, source_bits: u32) -> u32 {
        match self {
            // Browsers play no H.264 of more.
            Format::Composite | Format::Alpha => 8,
            Format::WebmAlpha | Format::Prores4444 | Format::Png => self.container().bit_depth_for(source_bits),
        }
    }

    /// Name of the file; of a folder's pictures there are many.
    fn file_name(self) -> &'static str {
        match self {
            Format::WebmAlpha => "matte.webm",
            Format::Prores4444 => "matte.mov",
            Format::Png => "",
            Format::Composite => "composite.mp4",
            Format::Alpha => "alpha.mp4",
        }
    }
}

/// A background belongs to a composite and to nothing else.
///
/// # Errors
/// [`ErrorCode::InputsInvalid`].
pub fn check_background(format: Format, given: bool) -> Result<()> {
    if given && format != Format::Composite {
        let why = "The input `background` is for `format` = `composite` only: set it, or leave the input out.";
        return Err(JobError::new(ErrorCode::InputsInvalid, why));
    }
    Ok(())
}

/// The ratio for a video, where it leaves the model a picture to look at.
///
/// # Errors
/// [`ErrorCode::ParamsInvalid`], with the smallest ratio that does.
pub fn check_ratio(params: &Params, width_px: u32, height_px: u32) -> Result<f64> {
    let (ratio, side) = (params.ratio(width_px, height_px), f64::from(width_px.min(height_px)));
    if ratio * side < MIN_INNER_SIDE_PX {
        let least = (MIN_INNER_SIDE_PX / side).min(1.0);
        let why = format!(
            "Parameter `downsample_ratio` is not valid: a {width_px}x{height_px} video times {ratio:.3} is too small to find \
             people in, use at least {least:.2}."
        );
        return Err(JobError::new(ErrorCode::ParamsInvalid, why));
    }
    Ok(ratio)
}

/// What to do with the video's range of brightness.
///
/// # Errors
/// [`ErrorCode::InputHdr`] where the output cannot hold it and nobody asked to map it.
pub fn hdr(params: &Params, is_hdr: bool) -> Result<Hdr> {
    let deep = matches!(params.format, Format::Prores4444 | Format::Png);
    match (is_hdr, params.tone_map, deep) {
        (false, ..) => Ok(Hdr::Refuse),
        (true, true, _) => Ok(Hdr::ToneMap),
        (true, false, true) => Ok(Hdr::Keep),
        (true, false, false) => Err(JobError::new(
            ErrorCode::InputHdr,
            "The video is HDR (PQ or HLG) and the output has 8 bits: set `tone_map`, or choose `format` = `prores4444`.",
        )),
    }
}

/// The same for what a composite lies over.
///
/// # Errors
/// [`ErrorCode::InputHdr`].
pub fn check_background_hdr(params: &Params, is_hdr: bool) -> Result<()> {
    if is_hdr && !params.tone_map {
        let why = "The background is HDR (PQ or HLG) and the output has 8 bits: set `tone_map`, or name another file.";
        return Err(JobError::new(ErrorCode::InputHdr, why));
    }
    Ok(())
}

/// Threads of the decoder, and of the encoder. Beside a network on the CPU, which takes far longer than quick codecs, half
/// of the threads do: more of them only wait for one another, which took 1 % more CPU time with 2 of each on 2 cores.
///
/// # Errors
/// As [`Runtime::device`].
pub fn codec_threads(runtime: &Runtime, params: &Params) -> Result<usize> {
    let quick = params.speed.get() >= QUICK_SPEED && !matches!(params.format, Format::Prores4444 | Format::Png);
    let threads = runtime.intra_threads();
    Ok(if quick && runtime.device()? == Device::Cpu { threads.div_ceil(2) } else { threads })
}

/// Which part of the video to read.
pub fn read_options(params: &Params, threads: usize, ctx: &JobContext) -> ReadOptions {
    ReadOptions {
        start_secs: params.start_secs.map(darkroom_api::Seconds::get),
        end_secs: params.end_secs.map(darkroom_api::Seconds::get),
        threads,
        cancel: ctx.cancel.clone(),
        ..ReadOptions::default()
    }
}

/// The input's description with the colour that the output has.
pub fn output_info(info: &VideoInfo, hdr: Hdr) -> VideoInfo {
    let mut info = info.clone();
    if hdr == Hdr::ToneMap {
        info.colour = ColourTags::BT709;
    }
    info
}

/// How the output of a video with so many bits a component is written.
pub fn write_options(params: &Params, source_bits: u32, threads: usize) -> WriteOptions {
    WriteOptions {
        format: params.format.container(),
        rate: Rate::Quality(params.quality.get()),
        speed: params.speed.get(),
        threads,
        bit_depth: params.format.bit_depth(source_bits),
        max_bytes: None,
    }
}

/// The output, with the job's settings.
///
/// # Errors
/// As [`Writer::create`].
pub fn open_writer(
    ctx: &JobContext,
    params: &Params,
    info: &VideoInfo,
    tracks: Option<Tracks>,
    threads: usize,
) -> Result<Writer> {
    let options = write_options(params, info.bit_depth, threads);
    let path: PathBuf = ctx.output_dir.join(params.format.file_name());
    // A matte is a mask: whoever cuts with it has the sound.
    let tracks = tracks.filter(|_| params.format != Format::Alpha);
    Writer::create(&path, &options, info, tracks)
}

fn look(params: &Params, backdrop: Option<&Path>, info: &VideoInfo, ctx: &JobContext) -> Result<Look> {
    Ok(match (params.format, backdrop) {
        (Format::WebmAlpha | Format::Prores4444 | Format::Png, _) => Look::Cutout,
        (Format::Alpha, _) => Look::Grey,
        (Format::Composite, None) => Look::Over(Background::colour(params.background_colour)),
        (Format::Composite, Some(path)) => {
            let hdr = if params.tone_map { Hdr::ToneMap } else { Hdr::Refuse };
            Look::Over(Background::file(path, info, hdr, &ctx.cancel)?)
        }
    })
}

/// The moment of a frame.
pub fn secs_since_start(info: &VideoInfo, pts: i64) -> f64 {
    #[allow(clippy::cast_precision_loss, reason = "seconds fit a float")]
    let ticks = (pts - info.start_pts) as f64;
    ticks * f64::from(info.time_base)
}

fn model_use(session: &PooledSession<'_>) -> ModelUse {
    ModelUse { name: session.name().to_owned(), sha256: session.sha256().to_owned() }
}

fn output_files(format: Format, pictures: &[String]) -> Vec<OutputFile> {
    let media_type = format.container().media_type();
    if format != Format::Png {
        return vec![OutputFile { name: format.file_name().into(), media_type: media_type.into() }];
    }
    let media_type = |name: &str| if name.ends_with(".json") { "application/json" } else { media_type };
    let file = |name: &String| OutputFile { name: name.clone(), media_type: media_type(name).into() };
    pictures.iter().map(file).collect()
}
