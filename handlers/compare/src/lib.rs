//! How close two videos (or pictures) are: PSNR, SSIM and VMAF, with pictures of where they differ.
//!
//! [`Compare`] is the handler. [`darkroom_media::compare`] measures; here are the report ([`page`]), the sheet of crops
//! ([`sheet`]) and the choice of frames for both ([`picks`]).

mod page;
mod params;
mod picks;
mod picture;
mod pipeline;
mod plot;
mod sheet;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use darkroom_api::{
    Descriptor, Handler, InputRole, Inputs, JobContext, Limits, MediaKind, Outputs, Plan, Probe, Probes, Result, Stage,
    VideoProbe,
};
use darkroom_inference::Runtime;
use darkroom_media::compare::{VMAF_TOOL, check_sizes};

pub use params::{Params, VmafModel};

/// Role of the video in question.
pub const VIDEO: &str = "video";
/// Role of what it is compared with.
pub const REFERENCE: &str = "reference";
/// The one stage of a run.
const STAGE: &str = "compare";
/// Longest time without a frame: VMAF at 8K takes a slow CPU seconds.
const STALL_SECS: f64 = 60.0;

/// Measured at 1080x1920 and 2160x3840: the executor takes 135 and 317 MiB, VMAF's process 402 and 1303.
const BASE_MIB: u64 = 100;
/// The same, per pixel of a frame; a third of it is for frames that have to be converted.
const BYTES_A_PIXEL: u64 = 60;
/// The same of VMAF's process.
const VMAF_BASE_MIB: u64 = 120;
const VMAF_BYTES_A_PIXEL: u64 = 150;
/// Of VMAF's log and of the report, per frame.
const BYTES_A_FRAME: u64 = 1500;
/// Of the pictures, which are crops.
const PICTURES_BYTES: u64 = 64 << 20;

/// The handler.
pub struct Compare {
    runtime: Arc<Runtime>,
}

impl Compare {
    /// The handler, with the registry that knows VMAF's tool. It computes on the CPU.
    pub fn new(runtime: Arc<Runtime>) -> Compare {
        Compare { runtime }
    }
}

impl Handler for Compare {
    type Params = Params;

    fn describe(&self) -> Descriptor {
        let kinds = vec![MediaKind::Video, MediaKind::Image];
        let role = |name: &str| InputRole { name: name.into(), min: 1, max: 1, kinds: kinds.clone() };
        Descriptor {
            name: "compare".into(),
            version: env!("CARGO_PKG_VERSION").into(),
            summary: "Tells how close two videos or pictures are: PSNR, SSIM, VMAF, a page and pictures to look at."
                .into(),
            params_schema: schemars::schema_for!(Params).into(),
            inputs: vec![role(VIDEO), role(REFERENCE)],
            limits: Limits::default(),
            models: vec![VMAF_TOOL.into()],
            stages: vec![Stage { name: STAGE.into(), stall_secs: STALL_SECS }],
            resumable: false,
        }
    }

    fn check(&self, _: &Params) -> Result<()> {
        Ok(())
    }

    fn warm(&self, _: &Params) -> Result<()> {
        Ok(())
    }

    fn plan(&self, params: &Params, probes: &Probes) -> Result<Plan> {
        let of = |role: &str| probes.get(role).and_then(|probes| probes.first()).and_then(|probe| probe.video.as_ref());
        let (Some(video), Some(reference)) = (of(VIDEO), of(REFERENCE)) else { return Ok(Plan::default()) };
        let size = |video: &VideoProbe| (video.width_px, video.height_px);
        check_sizes(size(video), size(reference))?;
        let pixels = u64::from(video.width_px) * u64::from(video.height_px);
        let vmaf_mib = if params.vmaf { VMAF_BASE_MIB + ((pixels * VMAF_BYTES_A_PIXEL) >> 20) } else { 0 };
        let frames = probes.get(VIDEO).and_then(|probes| probes.first()).map_or(1, frames);
        Ok(Plan {
            device_mib: 0,
            host_mib: BASE_MIB + ((pixels * BYTES_A_PIXEL) >> 20) + vmaf_mib,
            scratch_bytes: PICTURES_BYTES.saturating_add(frames.saturating_mul(BYTES_A_FRAME)),
            exclusive: false,
        })
    }

    fn run(&self, ctx: &JobContext, inputs: &Inputs, params: &Params) -> Result<Outputs> {
        pipeline::run(&self.runtime, ctx, inputs, params)
    }
}

/// Frames by the container's word, else by duration and rate.
fn frames(probe: &Probe) -> u64 {
    let video = probe.video.as_ref();
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "an estimate; the cast saturates")]
    let guessed = video.map_or(1.0, |video| probe.duration_secs.unwrap_or(0.0) * video.fps.max(1.0)) as u64;
    video.and_then(|video| video.frames).unwrap_or(guessed).max(1)
}
