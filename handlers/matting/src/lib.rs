//! Video matting: cuts people out of a video, with Robust Video Matting or a model of its interface.
//!
//! [`Matting`] is the handler. A run reads the video ([`darkroom_media::Reader`]), hands each frame to the model with the
//! state of all frames before it ([`Rvm`]), and makes of colour and alpha what [`Format`] says.

mod background;
mod bench;
mod develop;
mod model;
mod params;
mod pipeline;
mod preview;
mod ranges;

use std::sync::Arc;

use darkroom_api::{
    Alone, Descriptor, Handler, InputRole, Inputs, JobContext, Limits, MediaKind, Outputs, Part, Plan, Probe, Probes,
    Result, Seconds, Stage,
};
use darkroom_inference::Runtime;

pub use model::{Found, Matte, Mattes, Rvm, Sessions, Source};
pub use params::{Format, Params, Rgb};
pub use ranges::{BatchSize, GpuCount, Ratio};

/// Role of the video to cut people out of.
pub const VIDEO: &str = "video";
/// Role of what a composite lies over.
pub const BACKGROUND: &str = "background";
/// The one stage of a run: decoding, model and encoding overlap.
const STAGE: &str = "matting";
/// Longest time without a frame: a 4K frame takes a slow CPU seconds.
const STALL_SECS: f64 = 60.0;

/// The handler.
pub struct Matting {
    runtime: Arc<Runtime>,
}

impl Matting {
    /// The handler on a device.
    pub fn new(runtime: Arc<Runtime>) -> Matting {
        Matting { runtime }
    }
}

impl Handler for Matting {
    type Params = Params;

    fn describe(&self) -> Descriptor {
        let role =
            |name: &str, min, kinds: &[MediaKind]| InputRole { name: name.into(), min, max: 1, kinds: kinds.into() };
        Descriptor {
            name: "matting".into(),
            version: env!("CARGO_PKG_VERSION").into(),
            summary: "Cuts people out of a video: transparent WebM, ProRes, pictures, a composite, or the matte alone."
                .into(),
            params_schema: schemars::schema_for!(Params).into(),
            inputs: vec![
                role(VIDEO, 1, &[MediaKind::Video]),
                role(BACKGROUND, 0, &[MediaKind::Image, MediaKind::Video]),
            ],
            limits: Limits::default(),
            models: vec!["matting/rvm-mobilenetv3".into(), "matting/rvm-resnet50".into()],
            stages: vec![Stage { name: STAGE.into(), stall_secs: STALL_SECS }],
            resumable: false,
        }
    }

    fn check(&self, params: &Params) -> Result<()> {
        params.check()?;
        self.runtime.registry().resolve(params.model_name()).map(drop)
    }

    fn warm(&self, params: &Params) -> Result<()> {
        Sessions::open(&self.runtime, params.model_name()).map(drop)
    }

    fn plan(&self, params: &Params, probes: &Probes) -> Result<Plan> {
        let first = |role: &str| probes.get(role).and_then(|probes| probes.first());
        pipeline::check_background(params.format, first(BACKGROUND).is_some())?;
        let mut plan = first(VIDEO).map_or(Ok(Plan::default()), |probe| self.plan_video(params, probe))?;
        if let Some(video) = first(BACKGROUND).and_then(|probe| probe.video.as_ref()) {
            pipeline::check_background_hdr(params, video.is_hdr)?;
            plan.host_mib += (u64::from(video.width_px) * u64::from(video.height_px) * BACKGROUND_BYTES_A_PIXEL) >> 20;
        }
        Ok(plan)
    }

    fn run(&self, ctx: &JobContext, inputs: &Inputs, params: &Params) -> Result<Outputs> {
        params.check()?;
        pipeline::run(&self.runtime, ctx, inputs, params)
    }

    fn alone<'a>(&'a self, part: Part, ctx: &'a JobContext, inputs: &Inputs, params: Params) -> Result<Alone<'a>> {
        params.check()?;
        bench::alone(&self.runtime, part, ctx, inputs, params)
    }
}

/// Measured with VP9, the heaviest of the encoders, and a graph that runs whole, as a user's own may: 0.69 GB at 1080x1920,
/// 2.1 GB at 2160x3840. RVM in halves takes 0.62 and 1.6.
const BASE_MIB: u64 = 230;
/// The same, per pixel of a frame.
const BYTES_A_PIXEL: u64 = 240;
/// Of a background's own pixels: three planes of floats, one more while it is scaled, and decoded frames.
const BACKGROUND_BYTES_A_PIXEL: u64 = 30;

impl Matting {
    fn plan_video(&self, params: &Params, probe: &Probe) -> Result<Plan> {
        let Some(video) = &probe.video else { return Ok(Plan::default()) };
        pipeline::check_ratio(params, video.width_px, video.height_px)?;
        pipeline::hdr(params, video.is_hdr)?;
        let pixels = u64::from(video.width_px) * u64::from(video.height_px);
        let memory_mib = BASE_MIB + ((pixels * BYTES_A_PIXEL) >> 20);
        let range = (params.start_secs.map(Seconds::get), params.end_secs.map(Seconds::get));
        let options = pipeline::write_options(params, video.bit_depth, 1);
        Ok(Plan {
            device_mib: if self.runtime.expects_accelerator() { memory_mib } else { 0 },
            host_mib: memory_mib,
            scratch_bytes: options.scratch_bytes((video.width_px, video.height_px), probe, range),
            exclusive: false,
        })
    }
}

#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
