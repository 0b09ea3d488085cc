//! Outputs that may not be larger than so many bytes: what that leaves for the pictures, and what cannot be.

use darkroom_api::{ErrorCode, JobError, Result};

use super::WriteOptions;
use crate::VideoInfo;

/// A bound on an encoder: no stretch of video takes more than `bits_per_sec` times its length and `buffer_bits`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Cap {
    pub bits_per_sec: u64,
    pub buffer_bits: u64,
}

/// Bits a pixel below which no codec here makes pictures of real footage, at its coarsest.
const LEAST_BITS_A_PIXEL: f64 = 0.0015;
/// What a container adds for each frame, and for the file.
const BYTES_A_FRAME: u64 = 24;
const BYTES_A_FILE: u64 = 4096;

impl Cap {
    /// The bound that keeps a video of this length within so many bytes. A tenth is a buffer, from which hard moments
    /// take what easy ones left over.
    pub(crate) fn within(bytes: u64, secs: f64) -> Cap {
        #[allow(clippy::cast_precision_loss, reason = "bits of a file fit a float")]
        let bits = bytes as f64 * 8.0;
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "positive; casts saturate")]
        Cap { bits_per_sec: (bits * 0.9 / secs.max(0.001)) as u64, buffer_bits: (bits * 0.1) as u64 }
    }
}

impl WriteOptions {
    /// Whether `max_bytes` can hold a video of this size with sound and subtitles of `other_bytes`, judged by what the
    /// codecs need at their coarsest. [`super::Writer::create`] asks it too, where the source tells its frames.
    ///
    /// # Errors
    /// `params-invalid` with the least that would do.
    pub fn check_size(&self, width_px: u32, height_px: u32, frames: u64, other_bytes: u64) -> Result<()> {
        let least = least_video_bytes(width_px, height_px, frames).saturating_add(overhead(frames)) + other_bytes;
        match self.max_bytes {
            Some(max) if max < least => Err(too_small(max, least, other_bytes)),
            _ => Ok(()),
        }
    }

    /// The bound on the encoder that `max_bytes` asks for; `None` without one, or where the length is not known before
    /// the end.
    ///
    /// # Errors
    /// As [`WriteOptions::check_size`].
    pub(crate) fn cap(&self, info: &VideoInfo, other_bytes: u64) -> Result<Option<Cap>> {
        let (Some(max), Some(frames)) = (self.max_bytes, info.frames.filter(|f| *f > 0)) else { return Ok(None) };
        self.check_size(info.width_px, info.height_px, frames, other_bytes)?;
        #[allow(clippy::cast_precision_loss, reason = "frames of a video fit a float")]
        let secs = frames as f64 / info.fps();
        Ok(Some(Cap::within(max - other_bytes - overhead(frames), secs)))
    }
}

/// What the container itself takes.
pub(crate) fn overhead(frames: u64) -> u64 {
    frames.saturating_mul(BYTES_A_FRAME).saturating_add(BYTES_A_FILE)
}

/// What the pictures take at the coarsest.
pub(crate) fn least_video_bytes(width_px: u32, height_px: u32, frames: u64) -> u64 {
    #[allow(clippy::cast_precision_loss, reason = "an estimate")]
    let bits = f64::from(width_px) * f64::from(height_px) * LEAST_BITS_A_PIXEL * frames as f64;
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "positive; casts saturate")]
    let bytes = (bits / 8.0).ceil() as u64;
    bytes
}

/// The refusal of a limit.
pub(crate) fn too_small(max: u64, least: u64, other_bytes: u64) -> JobError {
    #[allow(clippy::cast_precision_loss, reason = "megabytes for people")]
    let mb = |bytes: u64| bytes as f64 / 1e6;
    let sound =
        if other_bytes > 0 { format!(", {:.3} MB of it sound and subtitles", mb(other_bytes)) } else { String::new() };
    let message = format!(
        "The size limit of {:.3} MB is too small: at least {:.3} MB are needed{sound}. Raise the limit, or choose a \
         smaller picture or a shorter part.",
        mb(max),
        // Rounded up, so that the number named is enough.
        mb(least + 500),
    );
    JobError::new(ErrorCode::ParamsInvalid, message)
        .with_detail(serde_json::json!({ "max_bytes": max, "least_bytes": least, "other_bytes": other_bytes }))
}
