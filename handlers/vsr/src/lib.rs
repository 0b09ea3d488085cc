//! Video super-resolution: makes videos and pictures larger with a model that enlarges pictures.
//!
//! [`Vsr`] is the handler. A run reads the video ([`darkroom_media::Reader`]), sends each frame that is not a repetition through
//! the model, in tiles where memory asks for it (`enlarge`), fits the result into the size that was asked for, and encodes it.

mod bench;
mod cover;
mod doubt;
mod enlarge;
mod goal;
mod known;
mod look;
mod luma;
mod net;
mod params;
mod pipeline;
mod reference;
mod repeats;
mod resize;
mod task;
mod tiles;

use std::sync::Arc;

use darkroom_api::{
    Alone, CancelToken, Descriptor, ErrorCode, Handler, InputRole, Inputs, JobContext, JobError, Limits, MediaKind,
    Outputs, Part, Plan, Probe, Probes, Result, Seconds, Stage,
};
use darkroom_inference::Runtime;
use darkroom_media::Traits;
use darkroom_media::compare::check_sizes;
use darkroom_media::pipeline::FITTING;

pub use darkroom_api::{Codec, Holder};
pub use enlarge::{Enlarger, Room, Watch};
pub use goal::Goal;
pub use known::Known;
pub use net::Net;
pub use params::{Aim, Params, Size};
pub use task::TaskType;
pub use tiles::Picture;

use look::Look;

/// Role of the video or picture to enlarge.
pub const VIDEO: &str = "video";
/// Role of what the result should have been, where somebody has it.
pub const REFERENCE: &str = "reference";
/// The stage in which decoding, model and encoding overlap.
const STAGE: &str = "upscaling";
/// The stage after it where there is a reference.
const COMPARING: &str = "comparing";
/// Longest time without progress: a tile of a large model takes a slow CPU a while.
const STALL_SECS: f64 = 120.0;
/// Memory of a run beside the models and what depends on the result's size.
const BASE_MIB: u64 = 230;
/// Bytes a pixel of the result: pictures in floats on their way (two at 8K), frames, and the encoder's own.
const BYTES_A_PIXEL: u64 = 75;
/// The handler.
pub struct Vsr {
    runtime: Arc<Runtime>,
    known: Known,
}

impl Vsr {
    /// The handler on a device.
    pub fn new(runtime: Arc<Runtime>) -> Vsr {
        Vsr { runtime, known: Known::default() }
    }

    /// Whether the model is there.
    fn resolve(&self, params: &Params, wanted_scale: f64) -> Result<()> {
        let registry = self.runtime.registry();
        params.check_model(registry)?;
        registry.resolve(params.model_name(wanted_scale)).map(drop)
    }

    fn plan_video(&self, params: &Params, probe: &Probe) -> Result<Plan> {
        let Some(video) = &probe.video else { return Ok(Plan::default()) };
        let goal = Goal::of(params, video.width_px, video.height_px)?;
        self.resolve(params, goal.wanted_scale())?;
        goal.check_picture(video.width_px, video.height_px, params::family_scale(params, &goal))?;
        let look = Look::of(params, Traits::probed(probe.kind, video), 1)?;
        let pixels = goal.pixels();
        let range = (params.start_secs.map(Seconds::get), params.end_secs.map(Seconds::get));
        if let (Some(frames), (None, None)) = (video.frames.filter(|_| video.frames_counted), range) {
            // Before the work: how much the sound takes is known only then.
            look.options.check_size(frames, 0)?;
        }
        let on_device = self.runtime.expects_accelerator();
        let models_mib = pipeline::memory_mib(&self.runtime, params, goal.is_large(), on_device)?;
        let own_mib = BASE_MIB + ((pixels * BYTES_A_PIXEL) >> 20);
        Ok(Plan {
            device_mib: if on_device { models_mib } else { 0 },
            host_mib: if on_device { own_mib } else { own_mib + models_mib },
            scratch_bytes: look.options.scratch_bytes((goal.width_px, goal.height_px), probe, range),
            exclusive: false,
        })
    }
}

impl Handler for Vsr {
    type Params = Params;

    fn describe(&self) -> Descriptor {
        let kinds = [MediaKind::Video, MediaKind::Image];
        let role = |name: &str, min| InputRole { name: name.into(), min, max: 1, kinds: kinds.into() };
        Descriptor {
            name: "vsr".into(),
            version: env!("CARGO_PKG_VERSION").into(),
            summary: "Enlarges videos and pictures: by task type, by a factor, or to fill a size.".into(),
            params_schema: schemars::schema_for!(Params).into(),
            inputs: vec![role(VIDEO, 1), role(REFERENCE, 0)],
            limits: Limits::default(),
            models: params::models(),
            stages: [STAGE, FITTING, COMPARING].map(|name| Stage { name: name.into(), stall_secs: STALL_SECS }).into(),
            resumable: false,
        }
    }

    fn check(&self, params: &Params) -> Result<()> {
        params.check()?;
        self.resolve(params, params.likely_scale())
    }

    fn warm(&self, params: &Params) -> Result<()> {
        let room = pipeline::room(&self.runtime, params, false)?;
        let (model, cancel) = (params.model_name(params.likely_scale()), CancelToken::default());
        Enlarger::open(&self.runtime, model, room, &self.known, &cancel).map(drop)
    }

    fn plan(&self, params: &Params, probes: &Probes) -> Result<Plan> {
        let first = |role: &str| probes.get(role).and_then(|probes| probes.first());
        let Some(probe) = first(VIDEO) else { return Ok(Plan::default()) };
        if first(REFERENCE).is_some() && params.start_secs.is_some() {
            let why = "The input `reference` is compared from its start: cut it to the part that `start_secs` begins, and give that \
                       part as the video too.";
            return Err(JobError::new(ErrorCode::InputsInvalid, why));
        }
        if let (Some(video), Some(reference)) = (&probe.video, first(REFERENCE).and_then(|probe| probe.video.as_ref()))
        {
            let goal = Goal::of(params, video.width_px, video.height_px)?;
            check_sizes((goal.width_px, goal.height_px), (reference.width_px, reference.height_px))?;
        }
        self.plan_video(params, probe)
    }

    fn run(&self, ctx: &JobContext, inputs: &Inputs, params: &Params) -> Result<Outputs> {
        params.check()?;
        pipeline::run(&self.runtime, &self.known, ctx, inputs, params)
    }

    fn alone<'a>(&'a self, part: Part, ctx: &'a JobContext, inputs: &Inputs, params: Params) -> Result<Alone<'a>> {
        params.check()?;
        bench::alone(&self.runtime, &self.known, part, ctx, inputs, &params)
    }
}

#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
