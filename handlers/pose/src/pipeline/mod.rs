//! One run: file in, files out.
//!
//! The video is decoded twice. The first pass finds the people ([`find`]); then, the whole clip being known, a body is fitted to
//! each of them ([`fit`]); the second pass draws ([`draw`]), and nothing of the pictures is kept in between.

mod clip;
mod draw;
mod fallback;
mod files;
mod find;
mod fit;
mod nobody;
mod paint;
mod progress;
mod surface;

use std::sync::Arc;
use std::time::Instant;

use darkroom_api::{ErrorCode, Inputs, JobContext, JobError, ModelUse, OutputFile, Outputs, Result, StageReport};
use darkroom_inference::Runtime;
use darkroom_media::VideoInfo;
use darkroom_models::ResolvedModel;
use glam::Vec2;
use rustix::time::{ClockId, clock_gettime};
use serde_json::{Map, Value, json};

use crate::body::{Body, Smpl};
use crate::fit::{Fitter, TrackOptions};
use crate::output::{Summary, TrackSummary};
use crate::params::BODY;
use crate::people::Counts;
use crate::render::Mode;
use crate::view::Camera;
use crate::{Params, VIDEO};
pub use clip::Clip;
pub use draw::{Cast, Drawer};
use fallback::Unfitted;
use files::Facts;
pub use files::MAX_ANIMATIONS;
pub use find::{Found, MAX_POSES, find, finder};
pub use fit::{Person, fit};
use progress::share;

/// Where, in percent, finding ends and drawing begins.
const FOUND: f32 = 60.0;
const FITTED: f32 = 66.0;
const DRAWN: f32 = 98.0;

/// What a run has at hand.
pub struct Setup {
    /// Fits bodies.
    pub fitter: Fitter,
    /// SMPL, where it is to be drawn.
    pub smpl: Option<Smpl>,
    /// The files of both.
    pub files: Vec<ModelUse>,
    /// Who fits and draws.
    pub threads: rayon::ThreadPool,
}

impl Setup {
    /// Loads the bodies and starts the threads.
    ///
    /// # Errors
    /// Those of the registry, of [`Body::load`] and of [`Smpl::load`]; [`ErrorCode::OutOfMemory`] for threads that cannot be started.
    pub fn new(runtime: &Runtime, params: &Params) -> Result<Setup> {
        let registry = runtime.registry();
        let file = registry.resolve(BODY)?;
        let fitter = Fitter::new(Arc::new(Body::load(&file.path)?))?;
        let own = params.smpl(registry).map(|name| registry.resolve(name)).transpose()?;
        let smpl = own.as_ref().map(|file| Smpl::load(&file.path)).transpose()?;
        let used = |file: ResolvedModel| ModelUse { name: file.name, sha256: file.sha256 };
        let files = [file].into_iter().chain(own).map(used).collect();
        let threads = rayon::ThreadPoolBuilder::new().num_threads(runtime.intra_threads()).build().map_err(|e| {
            JobError::new(ErrorCode::OutOfMemory, format!("The system has no room for another thread ({e})."))
        })?;
        Ok(Setup { fitter, smpl, files, threads })
    }
}

/// Runs the handler.
///
/// # Errors
/// Codes of reading, of the models and of writing; [`ErrorCode::ModelInvalid`] and [`ErrorCode::Internal`] where more than half
/// of the frames with people could not be fitted or drawn.
pub fn run(runtime: &Runtime, ctx: &JobContext, inputs: &Inputs, params: &Params) -> Result<Outputs> {
    let started = Instant::now();
    let params = &params.clone().as_far_as_known();
    let clip = Clip { path: inputs.one(VIDEO)?, ctx, params, threads: runtime.intra_threads() };
    let reader = clip.open()?;
    if params.render != Mode::None {
        // What cannot be written is refused before the work.
        clip.look(reader.info())?;
    }
    let setup = Setup::new(runtime, params)?;
    let (finder, mut models) = finder(runtime, params, reader.info().fps())?;
    models.extend(setup.files.clone());
    let found = find(reader, finder, &share(ctx, 0.0, FOUND))?;
    let Found { info, times, tracks, counts, at_once, report } = found;
    let camera = camera(params, &info);
    let mut stages = vec![renamed(&report.stages, 0, "decode, finding"), renamed(&report.stages, 1, "find")];
    let people = clocked("fit", &mut stages, || {
        let ctx = share(ctx, FOUND, FITTED);
        setup.threads.install(|| fit(&ctx, &setup.fitter, &camera, &track_options(params, &info), tracks))
    })?;

    let unfitted = Unfitted::of(&people, times.len());
    let (body, smpl) = (setup.fitter.body(), setup.smpl.as_ref());
    let cast = Cast { body, smpl, people: &people, times: &times, camera, threads: &setup.threads };
    let mut drawn = clip.draw_if_wanted(&cast, &unfitted, report.corrupt_packets)?;
    stages.append(&mut drawn.stages);

    let facts = Facts { info: &info, times: &times, camera, body };
    let summary = summary(&people, &unfitted, drawn.fallback);
    let mut warnings = params.warnings();
    warnings.extend(uncounted(params, counts.uncounted));
    warnings.extend(drawn.warnings.take().unwrap_or(report.warnings));
    let mut files: Vec<OutputFile> = drawn.file.into_iter().collect();
    clocked("write", &mut stages, || {
        let ctx = share(ctx, DRAWN, 100.0);
        files.push(files::poses(&ctx, params, &facts, &people)?);
        files.push(files::summary(&ctx, &summary)?);
        files.extend(files::motions(&ctx, params, &facts, people, &mut warnings)?);
        Ok(())
    })?;
    let mut metrics = metrics(&facts, &summary, &counts, started.elapsed().as_secs_f64());
    metrics.insert("people_at_once".into(), at_once.into());
    metrics.insert("corrupt_packets".into(), report.corrupt_packets.into());
    metrics.insert("bytes".into(), drawn.bytes.into());
    let params = serde_json::to_value(params).map_err(|e| JobError::new(ErrorCode::Internal, e.to_string()))?;
    Ok(Outputs { files, params, models, metrics, stages, warnings })
}

fn metrics(facts: &Facts<'_>, summary: &Summary, counts: &Counts, wall_secs: f64) -> Map<String, Value> {
    #[allow(clippy::cast_precision_loss, reason = "a rate for people")]
    let fps = summary.frames as f64 / wall_secs.max(1e-9);
    let metrics = json!({
        "people": summary.people,
        "frames": summary.frames,
        "fps": fps,
        "wall_secs": wall_secs,
        "width_px": facts.info.width_px,
        "height_px": facts.info.height_px,
        "focal_px": facts.camera.focal_px,
        "coverage": summary.coverage,
        "frames_fallback": summary.frames_fallback,
        "jitter_raw_mm": summary.jitter_raw_mm,
        "jitter_mm": summary.jitter_mm,
        "reprojection_error": summary.reprojection_error,
        "uncounted": counts.uncounted,
        "scene_cuts": counts.cuts,
        "detections": counts.detections,
        "looks": counts.looks,
    });
    metrics.as_object().cloned().unwrap_or_default()
}

fn summary(people: &[Person], counts: &Unfitted, fallback: u64) -> Summary {
    let tracks: Vec<TrackSummary> = people.iter().map(Person::summary).collect();
    Summary::new(counts.frames, counts.with_people, fallback, tracks)
}

/// The camera that bodies are seen by.
#[allow(clippy::cast_possible_truncation, clippy::cast_precision_loss, reason = "pixels of a picture")]
pub fn camera(params: &Params, info: &VideoInfo) -> Camera {
    let centre_px = Vec2::new(info.width_px as f32, info.height_px as f32) / 2.0;
    Camera { focal_px: params.focal_px(info.width_px, info.height_px) as f32, centre_px }
}

/// How tracks are fitted.
pub fn track_options(params: &Params, info: &VideoInfo) -> TrackOptions {
    TrackOptions {
        rate_fps: info.fps(),
        smooth_secs: params.smooth_secs.get(),
        keep_feet: params.keep_feet,
        ..TrackOptions::default()
    }
}

fn uncounted(params: &Params, people: usize) -> Option<String> {
    (people > 0).then(|| {
        format!(
            "In some frames there are up to {people} candidates for people beyond the {} that are followed (`max_people`, 40 at \
             most): they are in no file and not drawn.",
            params.max_people.get()
        )
    })
}

/// A stage's report under another name; an empty one where there is none.
fn renamed(stages: &[StageReport], index: usize, name: &str) -> StageReport {
    let report = stages.get(index).cloned().unwrap_or_else(|| stage(name, 0.0, 0.0));
    StageReport { name: name.to_owned(), ..report }
}

fn stage(name: &str, busy_secs: f64, cpu_secs: f64) -> StageReport {
    let (waiting_input_secs, waiting_output_secs) = (0.0, 0.0);
    StageReport { name: name.to_owned(), frames: 0, busy_secs, waiting_input_secs, waiting_output_secs, cpu_secs }
}

/// Does something that nothing runs beside, so that the process's CPU time is its.
fn clocked<T>(name: &str, stages: &mut Vec<StageReport>, work: impl FnOnce() -> Result<T>) -> Result<T> {
    let cpu = || {
        let time = clock_gettime(ClockId::ProcessCPUTime);
        #[allow(clippy::cast_precision_loss, reason = "seconds fit a float")]
        let (whole, rest) = (time.tv_sec as f64, time.tv_nsec as f64);
        whole + rest * 1e-9
    };
    let (before, started) = (cpu(), Instant::now());
    let done = work()?;
    stages.push(stage(name, started.elapsed().as_secs_f64(), cpu() - before));
    Ok(done)
}
