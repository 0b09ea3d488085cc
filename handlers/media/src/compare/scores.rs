//! What a comparison finds.

use serde::{Serialize, Serializer};

use crate::VideoInfo;

/// One measure of luma, of the two colour differences, and of all three together. PSNR is in dB; it is infinite, `null` in
/// JSON, where there is no difference.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Planes {
    /// Luma.
    #[serde(serialize_with = "tidy")]
    pub y: f32,
    /// Blue difference (Cb).
    #[serde(serialize_with = "tidy")]
    pub u: f32,
    /// Red difference (Cr).
    #[serde(serialize_with = "tidy")]
    pub v: f32,
    /// All planes, each with the weight of its samples.
    #[serde(serialize_with = "tidy")]
    pub all: f32,
}

impl Planes {
    /// The smaller of each.
    #[must_use]
    pub(super) fn min(self, other: Planes) -> Planes {
        let Planes { y, u, v, all } = other;
        Planes { y: self.y.min(y), u: self.u.min(u), v: self.v.min(v), all: self.all.min(all) }
    }
}

/// A measure over all compared frames.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Summary {
    /// SSIM: the mean of the frames'. PSNR: that of the mean squared error of all frames, as FFmpeg's filter has it.
    pub mean: Planes,
    /// Of each plane the worst frame's.
    pub min: Planes,
}

/// VMAF over all compared frames, 0 to 100.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct VmafScores {
    /// Name of the model.
    pub model: String,
    /// Mean of the frames.
    #[serde(serialize_with = "tidy")]
    pub mean: f32,
    /// The worst frame's.
    #[serde(serialize_with = "tidy")]
    pub min: f32,
    /// Harmonic mean of the frames, which bad ones pull down.
    #[serde(serialize_with = "tidy")]
    pub harmonic_mean: f32,
}

/// One pair of frames.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct FrameScores {
    /// Place among the compared frames.
    pub frame: u64,
    /// Time since the reference's first frame.
    #[serde(serialize_with = "tidy_secs")]
    pub secs: f64,
    /// PSNR in dB.
    pub psnr: Planes,
    /// SSIM, at most 1.
    pub ssim: Planes,
    /// VMAF, where it was measured.
    #[serde(serialize_with = "tidy_option")]
    pub vmaf: Option<f32>,
}

/// One of the two files.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Side {
    /// Width of the upright picture.
    pub width_px: u32,
    /// Height of the upright picture.
    pub height_px: u32,
    /// Average frames a second.
    pub fps: f64,
    /// Frames by the container's word, where it has one.
    pub frames: Option<u64>,
    /// FFmpeg's pixel format name.
    pub pixel_format: String,
    /// Colour tags in FFmpeg's names, as the file has them.
    pub colour: darkroom_api::Colour,
    /// Frames that were passed over because the other file has none at their time.
    pub unmatched: u64,
}

impl Side {
    pub(super) fn new(info: &VideoInfo, unmatched: u64) -> Side {
        Side {
            width_px: info.width_px,
            height_px: info.height_px,
            fps: info.fps(),
            frames: info.frames,
            pixel_format: super::levels::name(info.pixel_format),
            colour: info.colour_in_file.names(),
            unmatched,
        }
    }
}

/// How close a video is to its reference.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Comparison {
    /// The video.
    pub video: Side,
    /// What it was compared with.
    pub reference: Side,
    /// Pairs of frames that were compared.
    pub compared: u64,
    /// Layout in which they were compared, in FFmpeg's name.
    pub pixel_format: String,
    /// Whether no sample differs.
    pub identical: bool,
    /// Peak signal-to-noise ratio in dB.
    pub psnr: Summary,
    /// Structural similarity.
    pub ssim: Summary,
    /// VMAF, where it was measured.
    pub vmaf: Option<VmafScores>,
    /// What the user should know of these numbers.
    pub warnings: Vec<String>,
    /// Each pair, the first [`super::MAX_LISTED`] of them.
    pub frames: Vec<FrameScores>,
}

/// Six decimals: what a sample's worth of difference changes, and not what binary fractions add.
fn tidy<S: Serializer>(value: &f32, to: S) -> Result<S::Ok, S::Error> {
    tidy_secs(&f64::from(*value), to)
}

fn tidy_option<S: Serializer>(value: &Option<f32>, to: S) -> Result<S::Ok, S::Error> {
    match value {
        Some(value) => tidy(value, to),
        None => to.serialize_none(),
    }
}

fn tidy_secs<S: Serializer>(value: &f64, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_f64((value * 1e6).round() / 1e6)
}
