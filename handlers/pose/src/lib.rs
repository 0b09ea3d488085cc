//! Pose and body mesh of the people in a video.
//!
//! [`Pose`] is the handler. A run finds the people ([`people`]), fits a body to each of them ([`fit`], [`body`]), draws them over
//! the video ([`render`]) and writes what it knows of them ([`output`]); `pipeline` joins the rooms.

mod bench;
pub mod body;
pub mod fit;
mod look;
pub mod output;
mod params;
pub mod people;
mod pipeline;
pub mod render;
pub mod view;

use std::path::Path;
use std::sync::Arc;

use darkroom_api::{
    Alone, Descriptor, Handler, InputRole, Inputs, JobContext, Limits, MediaKind, Outputs, Part, Plan, Probe, Probes,
    Result, Seconds, Stage,
};
use darkroom_inference::Runtime;
use darkroom_media::Traits;

pub use params::{Extra, Params};

use look::Look;
use pipeline::MAX_POSES;
use render::Mode;

/// Role of the video or picture with the people.
pub const VIDEO: &str = "video";
/// The stage in which decoding and the models overlap.
const FINDING: &str = "finding";
/// The stage in which bodies are fitted.
const FITTING: &str = "fitting";
/// The stage in which decoding, drawing and encoding overlap.
const DRAWING: &str = "drawing";
/// The stage in which the other files are written.
const WRITING: &str = "writing";
/// Longest time without a frame.
const STALL_SECS: f64 = 60.0;
/// The same while people are found: a hundred looks of a model that takes a CPU seconds each.
const FINDING_STALL_SECS: f64 = 600.0;
/// Longest time without a person fitted.
const FITTING_STALL_SECS: f64 = 900.0;

/// Memory of a run beside what depends on the frames and on the people, as measured with 1080p: models and their sessions.
const BASE_MIB: u64 = 320;
/// The same, per pixel of a frame of the result: frames on their way (twelve of 1.5 bytes), the encoder's own, and the floats
/// of frames that have to be converted.
const BYTES_A_PIXEL: u64 = 110;
/// Of each person in each frame: landmarks and body, and beside that the longest track's once more.
const BYTES_A_POSE: u64 = 2400;
/// Bytes of all files of each person in each frame.
const FILE_BYTES_A_POSE: u64 = 9000;
/// The same of each frame with nobody in it.
const FILE_BYTES_A_FRAME: u64 = 128;
/// Bytes of a body in an animation, of which there are so many.
const ANIMATION_BYTES: u64 = 2 << 20;
/// So many people are expected in a frame, where memory and disk are set aside.
const EXPECTED_PEOPLE: u64 = 10;

/// The handler.
pub struct Pose {
    runtime: Arc<Runtime>,
}

impl Pose {
    /// The handler on a device.
    pub fn new(runtime: Arc<Runtime>) -> Pose {
        Pose { runtime }
    }

    fn plan_video(&self, params: &Params, probe: &Probe) -> Result<Plan> {
        let Some(video) = &probe.video else { return Ok(Plan::default()) };
        let width_px = params.render.output_width_px(video.width_px);
        let pixels = u64::from(width_px) * u64::from(video.height_px);
        let frames = video.frames.unwrap_or(MAX_POSES as u64);
        let poses = frames.saturating_mul(EXPECTED_PEOPLE).min(MAX_POSES as u64);
        let video_bytes = if params.render == Mode::None {
            0
        } else {
            let options = Look::of(params, Traits::probed(probe.kind, video), 1)?.options;
            let range = (params.start_secs.map(Seconds::get), params.end_secs.map(Seconds::get));
            // Where nobody is, the input itself comes back.
            options.scratch_bytes((width_px, video.height_px), probe, range).max(probe.bytes)
        };
        let animations = ANIMATION_BYTES * pipeline::MAX_ANIMATIONS as u64;
        let files = poses * FILE_BYTES_A_POSE + frames.saturating_mul(FILE_BYTES_A_FRAME) + animations;
        let choice = params.choice()?;
        let own = |name: &str| self.runtime.registry().custom().get(name).map_or(0, |path| own_mib(path));
        let models_mib = BASE_MIB + own(&params.detector) + own(choice.entry).max(choice.more_mib());
        Ok(Plan {
            device_mib: if self.runtime.expects_accelerator() { models_mib } else { 0 },
            host_mib: models_mib + ((pixels * BYTES_A_PIXEL + poses * BYTES_A_POSE) >> 20),
            scratch_bytes: video_bytes.saturating_add(files),
            exclusive: false,
        })
    }
}

/// Memory for a file of the user's own, of which nothing is known but its size: its weights, and as much again while they are
/// loaded.
fn own_mib(path: &Path) -> u64 {
    std::fs::metadata(path).map_or(0, |file| file.len().saturating_mul(2) >> 20)
}

impl Handler for Pose {
    type Params = Params;

    fn describe(&self) -> Descriptor {
        let stage = |name: &str, stall_secs| Stage { name: name.into(), stall_secs };
        let kinds = vec![MediaKind::Video, MediaKind::Image];
        Descriptor {
            name: "pose".into(),
            version: env!("CARGO_PKG_VERSION").into(),
            summary: "Finds the people in a video or picture, fits a body to each, draws it over them, and tells their motion."
                .into(),
            params_schema: schemars::schema_for!(Params).into(),
            inputs: vec![InputRole { name: VIDEO.into(), min: 1, max: 1, kinds }],
            limits: Limits::default(),
            models: params::models(),
            stages: vec![
                stage(FINDING, FINDING_STALL_SECS),
                stage(FITTING, FITTING_STALL_SECS),
                stage(DRAWING, STALL_SECS),
                stage(WRITING, STALL_SECS),
            ],
            resumable: false,
        }
    }

    fn check(&self, params: &Params) -> Result<()> {
        params.check()?;
        params.resolve(self.runtime.registry())
    }

    fn warm(&self, params: &Params) -> Result<()> {
        pipeline::finder(&self.runtime, params, 30.0).map(drop)
    }

    fn plan(&self, params: &Params, probes: &Probes) -> Result<Plan> {
        let first = probes.get(VIDEO).and_then(|probes| probes.first());
        first.map_or(Ok(Plan::default()), |probe| self.plan_video(params, probe))
    }

    fn run(&self, ctx: &JobContext, inputs: &Inputs, params: &Params) -> Result<Outputs> {
        params.check()?;
        pipeline::run(&self.runtime, ctx, inputs, params)
    }

    fn alone<'a>(&'a self, part: Part, ctx: &'a JobContext, inputs: &Inputs, params: Params) -> Result<Alone<'a>> {
        params.check()?;
        bench::alone(&self.runtime, part, ctx, inputs, &params.as_far_as_known())
    }
}

#[cfg(test)]
#[path = "../examples/plausible/mod.rs"]
mod plausible;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod truth;
