//! Outputs that may not be larger than so many bytes: what cannot be.

use darkroom_api::{ErrorCode, JobError, Result};

use super::WriteOptions;

/// What no video goes below, container and all. Black pictures of 64x64 at each codec's coarsest took 20 to 33 bytes a
/// frame over 20 s, and 1233 bytes or more in all over 1 s.
const LEAST_BYTES_A_FRAME: u64 = 16;
const LEAST_BYTES_A_FILE: u64 = 800;

impl WriteOptions {
    /// Whether `max_bytes` can hold so many frames with sound and subtitles of `other_bytes`, were they all black. What these
    /// pictures need is known only when they were tried. `frames` are such as a container counts: of an estimate nothing
    /// can be refused. [`super::Writer::create`] asks it too.
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
}

/// What so many frames take at the least.
pub(crate) fn least_bytes(frames: u64) -> u64 {
    frames.saturating_mul(LEAST_BYTES_A_FRAME).saturating_add(LEAST_BYTES_A_FILE)
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
    #[allow(clippy::cast_precision_loss, reason = "bytes of a file fit a float")]
    let mb = |bytes: u64| bytes as f64 / 1e6;
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
