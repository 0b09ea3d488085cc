//! A finished file that is larger than allowed: encoded again from itself, coarser, until it fits.
//!
//! That is the exception. The first encoding is capped, but codecs may exceed their caps (libvpx and libaom treat them
//! as advice, all of them have a coarsest step), and some lengths are known only at the end.

use std::path::PathBuf;

use darkroom_api::Result;

use super::limit::{Cap, least_video_bytes, overhead, too_small};
use super::mux::{Mux, Muxed};
use super::{Rate, Watch};
use crate::error::{internal, writing_io};
use crate::{Frame, ReadOptions, Reader};

/// Encodings after the first. Each asks for less by as much as the one before was over.
const ATTEMPTS: u32 = 6;
/// The part of its budget that an encoder is asked to use: they miss by a few per cent.
const AIM: f64 = 0.97;

/// Makes a finished file fit into `max` bytes.
///
/// # Errors
/// `params-invalid` where it does not fit at the codec's coarsest, with the least that would do; what `watch` returns;
/// those of reading and writing.
pub(crate) fn fit(first: &Muxed, max: u64, watch: &mut Watch<'_>) -> Result<Muxed> {
    let again = Again { first, temporary: first.path.with_extension("fit") };
    let outcome = again.run(max, watch);
    if outcome.is_err() {
        let removed = std::fs::remove_file(&again.temporary);
        removed.unwrap_or_else(|e| tracing::debug!(%e, "no unfinished second encoding to remove"));
    }
    outcome
}

struct Again<'a> {
    first: &'a Muxed,
    temporary: PathBuf,
}

impl Again<'_> {
    fn run(&self, max: u64, watch: &mut Watch<'_>) -> Result<Muxed> {
        let (first, info) = (self.first, &self.first.plan.info);
        let other = first.bytes.saturating_sub(first.video_bytes);
        let least = least_video_bytes(info.width_px, info.height_px, first.frames);
        if max < other + least {
            return Err(too_small(max, other + least, other.saturating_sub(overhead(first.frames))));
        }
        #[allow(clippy::cast_precision_loss, reason = "bytes of a file fit a float")]
        let budget = (max - other) as f64;
        let (mut aim, mut smallest) = (budget * AIM, first.bytes);
        for _ in 0..ATTEMPTS {
            #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "positive; casts saturate")]
            let bytes = (aim as u64).max(least);
            let mut made = self.encode(bytes, watch)?;
            smallest = smallest.min(made.bytes);
            if made.bytes <= max {
                std::fs::rename(&self.temporary, &first.path).map_err(|e| writing_io("The output is gone", &e))?;
                made.path.clone_from(&first.path);
                made.warnings.clone_from(&first.warnings);
                made.warnings.push(format!("The video was encoded a second time, coarser, to stay below {max} bytes."));
                return Ok(made);
            }
            if bytes == least {
                break;
            }
            #[allow(clippy::cast_precision_loss, reason = "bytes of a file fit a float")]
            let over = budget / made.video_bytes as f64;
            aim *= (over * AIM).clamp(0.1, 0.9);
        }
        Err(too_small(max, smallest, other.saturating_sub(overhead(first.frames))))
    }

    /// One more encoding of the finished file, its sound and subtitles copied.
    fn encode(&self, video_bytes: u64, watch: &mut Watch<'_>) -> Result<Muxed> {
        let mut plan = self.first.plan.clone();
        let options = ReadOptions {
            threads: plan.options.threads,
            alpha: plan.options.format.alpha,
            max_pixels: u64::MAX,
            ..ReadOptions::default()
        };
        let mut reader = Reader::open(&self.first.path, &options)?;
        plan.info.time_base = reader.info().time_base;
        plan.info.start_pts = reader.info().start_pts;
        let cap = Cap::within(video_bytes, self.first.secs);
        #[allow(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            clippy::cast_precision_loss,
            reason = "a rate"
        )]
        let rate = (video_bytes as f64 * 8.0 / self.first.secs.max(0.001)) as u64;
        plan.cap = Some(cap);
        plan.options.rate = Rate::BitsPerSec(rate.max(1));
        let mut mux = Mux::create(&self.temporary, plan, reader.tracks().as_ref())?;
        let mut frames = 0;
        while let Some(mut frame) = reader.next()? {
            self.same_kind(&mut frame)?;
            mux.write(&mut frame)?;
            frames += 1;
            watch(frames)?;
        }
        mux.finish(watch)
    }

    /// Decoders name full range in the format, encoders in a tag.
    fn same_kind(&self, frame: &mut Frame) -> Result<()> {
        use crate::Pixel;
        let plain = match frame.format() {
            Pixel::YUVJ420P => Pixel::YUV420P,
            Pixel::YUVJ444P => Pixel::YUV444P,
            other => other,
        };
        if plain != self.first.plan.pixels {
            return Err(internal("The output came back as something else", format!("{plain:?}")));
        }
        frame.inner_mut().set_format(plain);
        frame.set_colour(self.first.plan.colour);
        Ok(())
    }
}
