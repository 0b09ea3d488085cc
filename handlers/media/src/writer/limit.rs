//! Outputs that may not be larger than so many bytes: what cannot be, and what making them takes on the disk.

use darkroom_api::{ErrorCode, JobError, Result};

use super::settings::{encoder_name, holds_bounds};
use super::{Rate, WriteOptions};
use crate::VideoInfo;

/// What no video goes below, container and all. Black pictures of 64x64 at each codec's coarsest took 20 to 33 bytes a
/// frame over 20 s, and 1233 bytes or more in all over 1 s.
const LEAST_BYTES_A_FRAME: u64 = 16;
const LEAST_BYTES_A_FILE: u64 = 800;
/// Thousandths of a byte that a pixel of a frame takes in a file of middling quality, generously: half a bit.
const MILLIBYTES_A_PIXEL: u64 = 60;
/// The same for what is asked to be finer.
const FINE_MILLIBYTES_A_PIXEL: u64 = 250;
/// How many times its limit the first encoding may take where it may become larger still. What is over by so much is
/// encoded far coarser in the end, and this much finer it is a good source for that.
const FAR: u64 = 8;

/// A bound on an encoder: no stretch of video takes more than `bits_per_sec` times its length and `buffer_bits`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Cap {
    pub bits_per_sec: u64,
    pub buffer_bits: u64,
}

impl WriteOptions {
    /// Whether `max_bytes` can hold so many frames with sound and subtitles of `other_bytes`, were they all black. What these
    /// pictures need is known only when they were tried. [`super::Writer::create`] asks it too, where the source tells its
    /// frames.
    ///
    /// # Errors
    /// `params-invalid` with the least that would do for black ones.
    pub fn check_size(&self, frames: u64, other_bytes: u64) -> Result<()> {
        let least = least_bytes(frames).saturating_add(other_bytes);
        match self.max_bytes {
            Some(max) if max < least => Err(too_small(max, least, other_bytes, Least::OfBlack)),
            _ => Ok(()),
        }
    }

    /// Most bytes that writing such a video takes on the disk, by a generous estimate: the file, and where it may have to be
    /// made smaller two more, of which each is held below the limit.
    pub fn scratch_bytes(&self, width_px: u32, height_px: u32, frames: u64, fps: f64) -> u64 {
        let free = self.free_bytes(width_px, height_px, frames, fps);
        match self.max_bytes {
            Some(max) if free > max => {
                let bounded = holds_bounds(encoder_name(self.format.codec, width_px, height_px));
                let first = if bounded { free.min(max.saturating_mul(FAR)) } else { free };
                first.saturating_add(max.saturating_mul(2))
            }
            _ => free,
        }
    }

    /// The bound on the first encoding, which keeps it within what [`WriteOptions::scratch_bytes`] says. `None` where that is not
    /// near: then it is as it would be without a limit. A file that fits never meets the bound: its buffer alone holds the file.
    pub(crate) fn guard(&self, info: &VideoInfo) -> Option<Cap> {
        let (max, frames) = (self.max_bytes?, info.frames.filter(|f| *f > 0)?);
        let bounded = holds_bounds(encoder_name(self.format.codec, info.width_px, info.height_px));
        if !bounded || self.free_bytes(info.width_px, info.height_px, frames, info.fps()) <= max.saturating_mul(FAR) {
            return None;
        }
        let bits = max.saturating_mul(8);
        Some(Cap {
            bits_per_sec: whole(as_float(bits) * as_float(FAR - 1) / secs(frames, info.fps())),
            buffer_bits: bits,
        })
    }

    /// Bytes of the file without a limit, generously.
    fn free_bytes(&self, width_px: u32, height_px: u32, frames: u64, fps: f64) -> u64 {
        let fine = match self.rate {
            Rate::BitsPerSec(bits) => return whole(1.2 * as_float(bits) / 8.0 * secs(frames, fps)),
            Rate::Quality(quality) => quality > 80,
            Rate::Crf(crf) => crf < 18,
        };
        let millibytes = if fine { FINE_MILLIBYTES_A_PIXEL } else { MILLIBYTES_A_PIXEL };
        frames.saturating_mul(u64::from(width_px) * u64::from(height_px) * millibytes / 1000)
    }
}

/// What so many frames take at the least.
pub(crate) fn least_bytes(frames: u64) -> u64 {
    frames.saturating_mul(LEAST_BYTES_A_FRAME).saturating_add(LEAST_BYTES_A_FILE)
}

fn secs(frames: u64, fps: f64) -> f64 {
    (as_float(frames) / fps.max(1e-3)).max(1e-3)
}

#[allow(clippy::cast_precision_loss, reason = "an estimate")]
fn as_float(number: u64) -> f64 {
    number as f64
}

#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "positive; casts saturate")]
fn whole(number: f64) -> u64 {
    number as u64
}

/// Of what a number of bytes is the least.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Least {
    /// Of as many black pictures.
    OfBlack,
    /// Of these pictures, tried, in part estimated.
    OfThese,
}

/// The refusal of a limit.
pub(crate) fn too_small(max: u64, least: u64, other_bytes: u64, of: Least) -> JobError {
    let mb = |bytes: u64| as_float(bytes) / 1e6;
    let (about, which) = match of {
        Least::OfBlack => ("at least", "even were all pictures black"),
        Least::OfThese => ("about", "with the codec at its coarsest"),
    };
    let other = match (other_bytes, of) {
        (0, _) => String::new(),
        (_, Least::OfBlack) => format!(", {:.3} MB of it sound and subtitles", mb(other_bytes)),
        (_, Least::OfThese) => format!(", {:.3} MB of it sound, subtitles and what holds them", mb(other_bytes)),
    };
    let message = format!(
        "The size limit of {:.3} MB is too small: {about} {:.3} MB are needed {which}{other}. Raise the limit, or choose a \
         smaller picture or a shorter part.",
        mb(max),
        // Rounded up, so that the number named is enough.
        mb(least + 500),
    );
    JobError::new(ErrorCode::ParamsInvalid, message)
        .with_detail(serde_json::json!({ "max_bytes": max, "least_bytes": least, "other_bytes": other_bytes }))
}
