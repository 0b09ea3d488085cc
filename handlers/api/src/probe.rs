//! What a look at a media file finds.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::MediaKind;

/// Colour tags of a video, in FFmpeg's names (`bt709`, `tv`, `smpte2084`; `unknown` where the file is silent).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Colour {
    /// `AVColorSpace`.
    pub matrix: String,
    /// `AVColorRange`: `tv` or `pc`.
    pub range: String,
    /// `AVColorPrimaries`.
    pub primaries: String,
    /// `AVColorTransferCharacteristic`.
    pub transfer: String,
}

/// The best video stream of a file.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct VideoProbe {
    /// FFmpeg's codec name.
    pub codec: String,
    /// Width of the upright picture in pixels.
    pub width_px: u32,
    /// Height of the upright picture in pixels.
    pub height_px: u32,
    /// Clockwise rotation that makes the coded picture upright: 0, 90, 180 or 270 degrees.
    pub rotation_degrees: u32,
    /// Average frame rate, 0 where unknown.
    pub fps: f64,
    /// Frames, from the container or estimated from duration and rate; absent where neither is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub frames: Option<u64>,
    /// Whether that is the container's own count and no estimate.
    #[serde(default)]
    pub frames_counted: bool,
    /// FFmpeg's pixel format name.
    pub pixel_format: String,
    /// Bits a component.
    pub bit_depth: u32,
    /// Whether it has an alpha plane (`alpha_mode` of WebM included).
    pub has_alpha: bool,
    /// Whether the transfer is PQ or HLG.
    pub is_hdr: bool,
    /// Colour tags.
    pub colour: Colour,
}

/// One audio stream.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct AudioProbe {
    /// FFmpeg's codec name.
    pub codec: String,
    /// Channels.
    pub channels: u32,
    /// Samples per second.
    pub sample_rate: u32,
}

/// What a look at a media file finds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Probe {
    /// What it is.
    pub kind: MediaKind,
    /// FFmpeg's container name.
    pub container: String,
    /// Size of the file.
    pub bytes: u64,
    /// Duration, where known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub duration_secs: Option<f64>,
    /// First time stamp of the file.
    pub start_secs: f64,
    /// The best video stream.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub video: Option<VideoProbe>,
    /// All audio streams.
    #[serde(default)]
    pub audio: Vec<AudioProbe>,
}
