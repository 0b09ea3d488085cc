//! A finished file that is larger than allowed: encoded again from itself, coarser, so that it just fits.
//!
//! The first encoding is as free as without a limit, so that a file which fits loses nothing. One that does not loses a
//! generation: frames that models made are not made twice. Tries that turn out too large are ended on the way.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use darkroom_api::Result;

use super::limit::{Least, least_bytes, too_small};
use super::mux::{Mux, Muxed};
use super::search::Search;
use super::settings::{constant_quality, encoder_name, scale};
use super::{Closing, Watch};
use crate::error::{internal, writing_io};
use crate::{Frame, ReadOptions, Reader};

/// Encodings after the first, at most.
const TRIES: u32 = 8;
/// The part of its budget that is enough to use.
const ENOUGH: f64 = 0.9;

/// Makes a finished file fit into `max` bytes.
///
/// # Errors
/// `params-invalid` where it does not fit at the codec's coarsest, with about what would do; what `watch` returns; those of
/// reading and writing.
pub(crate) fn fit(first: &Muxed, max: u64, watch: &mut Watch<'_>) -> Result<Muxed> {
    let other = first.bytes.saturating_sub(first.video_bytes);
    let again = Again {
        first,
        max,
        other,
        budget: max.saturating_sub(other),
        trial: first.path.with_extension("try"),
        best: first.path.with_extension("fit"),
    };
    let outcome = again.run(watch);
    for left in [&again.trial, &again.best] {
        match std::fs::remove_file(left) {
            Err(e) if e.kind() != ErrorKind::NotFound => tracing::debug!(%e, "an unfinished encoding stays"),
            _ => {}
        }
    }
    outcome
}

struct Again<'a> {
    first: &'a Muxed,
    max: u64,
    /// What of the file is not pictures, and what that leaves for them.
    other: u64,
    budget: u64,
    /// The encoding under way, and the best so far.
    trial: PathBuf,
    best: PathBuf,
}

/// What became of one encoding.
enum Made {
    Fits(Box<Muxed>),
    /// Bytes of its pictures, estimated where it was ended early.
    Over(u64),
}

impl Again<'_> {
    fn run(&self, watch: &mut Watch<'_>) -> Result<Muxed> {
        let (first, plan) = (self.first, &self.first.plan);
        let encoder = encoder_name(plan.options.format.codec, plan.info.width_px, plan.info.height_px);
        let Some(scale) = scale(encoder).filter(|_| self.budget > 0) else {
            // Nothing was tried: no more is known than of black pictures.
            let least = self.other.saturating_add(least_bytes(first.frames));
            return Err(too_small(self.max, least, self.other, Least::OfBlack));
        };
        let mut search = Search::new(scale, constant_quality(encoder, plan), first.video_bytes, self.budget);
        let (mut best, mut coarsest) = (None, None);
        for number in 1..=TRIES {
            let Some(crf) = search.next(number == TRIES) else { break };
            match self.encode(crf, best.is_some(), &mut |frames| watch(Closing::Fitting(number), frames))? {
                Made::Fits(made) => {
                    tracing::debug!(crf, bytes = made.bytes, max = self.max, "the file fits");
                    search.record(crf, made.video_bytes, true);
                    move_file(&self.trial, &self.best)?;
                    let enough = share(made.video_bytes, self.budget) >= ENOUGH;
                    best = Some(made);
                    if enough {
                        break;
                    }
                }
                Made::Over(bytes) => {
                    tracing::debug!(crf, bytes, max = self.max, "the file does not fit");
                    search.record(crf, bytes, false);
                    coarsest = search.is_coarsest(crf).then_some(bytes).or(coarsest);
                }
            }
        }
        let Some(mut made) = best else {
            return Err(self.impossible(coarsest.unwrap_or(first.video_bytes)));
        };
        move_file(&self.best, &first.path)?;
        made.path.clone_from(&first.path);
        made.warnings.clone_from(&first.warnings);
        made.warnings.push(format!(
            "The video was {} bytes large: it was encoded a second time, coarser, to stay below {}.",
            first.bytes, self.max
        ));
        Ok(*made)
    }

    fn impossible(&self, video_bytes: u64) -> darkroom_api::JobError {
        too_small(self.max, self.other.saturating_add(video_bytes), self.other, Least::OfThese)
    }

    /// One more encoding of the finished file, its sound and subtitles copied. On the disk it takes one limit, or two where
    /// nothing has fitted yet.
    fn encode(&self, crf: f64, some_fits: bool, watch: &mut dyn FnMut(u64) -> Result<()>) -> Result<Made> {
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
        plan.crf = Some(crf);
        let mut mux = Mux::create(&self.trial, plan, reader.tracks().as_ref())?;
        let most = if some_fits { self.budget } else { self.budget.saturating_mul(2) };
        let mut look = |mux: &Mux| -> Result<Option<Made>> {
            watch(mux.coded().frames)?;
            Ok((mux.coded().bytes > most).then(|| Made::Over(mux.coded().of_all(self.first.frames))))
        };
        while let Some(mut frame) = reader.next()? {
            self.same_kind(&mut frame)?;
            mux.write(&mut frame)?;
            if let Some(over) = look(&mux)? {
                return Ok(over);
            }
        }
        // An encoder may have held back a short video whole.
        mux.end()?;
        while mux.step()? {
            if let Some(over) = look(&mux)? {
                return Ok(over);
            }
        }
        let made = mux.finish()?;
        Ok(if made.bytes <= self.max { Made::Fits(Box::new(made)) } else { Made::Over(made.video_bytes) })
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

fn move_file(from: &Path, to: &Path) -> Result<()> {
    std::fs::rename(from, to).map_err(|e| writing_io("The output is gone", &e))
}

#[allow(clippy::cast_precision_loss, reason = "bytes of a file fit a float")]
fn share(part: u64, whole: u64) -> f64 {
    part as f64 / whole as f64
}
