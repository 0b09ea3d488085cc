//! What handlers that write videos let their users choose of it.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How the result is encoded.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Codec {
    /// By what the video needs.
    #[default]
    Auto,
    /// H.264 (AVC): plays everywhere.
    H264,
    /// HEVC (H.265): 10 bits, smaller.
    #[serde(alias = "h265")]
    Hevc,
    /// AV1: smallest, slow to encode.
    Av1,
    /// VP9: for the web; the one that holds alpha.
    Vp9,
}

/// What holds the result.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Holder {
    /// By the codec.
    #[default]
    Auto,
    /// MP4.
    Mp4,
    /// WebM.
    Webm,
    /// Matroska: takes every sound and subtitle there is.
    Mkv,
}
