//! Robust Video Matting (Lin et al., WACV 2022) and models of its interface.
//!
//! Inputs `src` (RGB 0..1: one frame `[1,3,H,W]`, or several `[1,T,3,H,W]`), `r1i`..`r4i` (the state, zeros of
//! `[1,1,1,1]` at first) and `downsample_ratio`; outputs `fgr` (foreground colour), `pha` (alpha) and `r1o`..`r4o` (the
//! state after). All f32, or all f16 but for the ratio. The state never leaves ONNX Runtime's memory: what comes out of one
//! call goes into the next as it is.
//!
//! Where a graph ends in RVM's refiner, its last step is ours ([`guided`]), and on the CPU what is left runs in two halves,
//! side by side on two frames ([`refiner`]); other graphs run whole.

mod guided;
mod layout;
mod network;
mod refiner;
mod simd;

use std::ops::Range;

use darkroom_api::{ErrorCode, JobError, Result};
use darkroom_inference::{PooledSession, retry_halving};

use guided::{Refine, Shrink};
use layout::CHANNELS;
use network::{Network, SecondHalf};

pub use network::{Found, Sessions};

/// Results between the network's halves. Measured on 2 cores: 4 % more frames a second than none, no fewer than with 4.
const WAITING: usize = 2;
/// Most bytes of them.
const WAITING_BYTES: usize = 64 << 20;

/// A matting model at work on one video: what it finds out of each frame, with the state of all before.
pub struct Rvm<'a> {
    network: Network<'a>,
    height: usize,
    /// Frames a [`Rvm::run`].
    capacity: usize,
    /// Frames a call: `capacity`, until memory runs short.
    batch: usize,
    /// For a network without its own first and last step.
    shrink: Option<Shrink>,
}

/// What makes mattes of what a model found out, frame after frame; on a thread of its own it works while the model is at
/// the next frame.
pub struct Mattes<'a> {
    width: usize,
    height: usize,
    /// The rest of the network, where it has two halves.
    second: Option<SecondHalf<'a>>,
    refine: Option<Refine>,
    /// A band of a frame: colour, then alpha.
    band: Vec<f32>,
    /// f32 copies of f16 results.
    copies: [Vec<f32>; 2],
}

/// Frames as colour.
pub trait Source {
    /// The frame of that place in the batch, as what writes rows of it: `[3, rows, width]`, red first, in 0..=1.
    ///
    /// # Errors
    /// Those of conversion.
    fn frame(&mut self, place: usize) -> Result<impl FnMut(Range<usize>, &mut [f32]) -> Result<()>>;
}

/// What the model says of some rows of a frame, in 0..=1. The values are the caller's to change.
#[derive(Debug)]
pub struct Matte<'a> {
    /// Which rows.
    pub rows: Range<usize>,
    /// Foreground colour, planes of red, green and blue; edges carry no background.
    pub foreground: &'a mut [f32],
    /// Alpha.
    pub alpha: &'a mut [f32],
}

impl<'a> Rvm<'a> {
    /// A model for frames of one size, and what makes mattes of what it finds out. `batch` is the number of frames a call,
    /// for models that take several.
    ///
    /// # Errors
    /// [`ErrorCode::OutOfMemory`].
    pub fn new(
        sessions: Sessions<'a>,
        width_px: u32,
        height_px: u32,
        ratio: f64,
        batch: usize,
    ) -> Result<(Rvm<'a>, Mattes<'a>)> {
        let layout = sessions.layout;
        let (width, height) = (width_px as usize, height_px as usize);
        let capacity = if layout.takes_several && !layout.detached { batch } else { 1 };
        #[allow(clippy::cast_possible_truncation, reason = "the model takes f32")]
        let ratio = ratio as f32;
        let shrink = layout.detached.then(|| Shrink::new(width, height, ratio));
        let refine = layout.detached.then(|| Refine::new(width, height, ratio));
        let (size, inner) = shrink.as_ref().map_or(((width, height), ratio), |shrink| (shrink.size(), 1.0));
        let (network, second) = Network::new(sessions, size, inner, capacity)?;
        let rvm = Rvm { network, height, capacity, batch: capacity, shrink };
        Ok((rvm, Mattes { width, height, second, refine, band: Vec::new(), copies: Default::default() }))
    }

    /// Frames that one [`Rvm::run`] takes at most.
    pub fn capacity(&self) -> usize {
        self.capacity
    }

    /// Most results that may wait for their mattes: some where the network has two halves, of which neither should wait for
    /// the other; none where results are large, or where the network has all threads anyway.
    pub fn waiting_results(&self) -> usize {
        let bytes = self.network.seam_bytes().unwrap_or(usize::MAX);
        if bytes.saturating_mul(WAITING) <= WAITING_BYTES { WAITING } else { 0 }
    }

    /// The session, to tell what was used.
    pub fn used(&self) -> &PooledSession<'a> {
        self.network.session()
    }

    /// Forgets what was seen: for another video.
    ///
    /// # Errors
    /// [`ErrorCode::Internal`] when ONNX Runtime cannot make the blank state.
    pub fn reset(&mut self) -> Result<()> {
        self.network.reset()
    }

    /// Takes a batch in: `frames` of them, at most [`Rvm::capacity`].
    ///
    /// # Errors
    /// Those of `source`.
    pub fn see(&mut self, frames: usize, source: &mut impl Source) -> Result<()> {
        for place in 0..frames {
            let (mut rows, picture) = (source.frame(place)?, self.network.picture(place));
            match &mut self.shrink {
                Some(shrink) => shrink.shrink(rows, picture)?,
                None => rows(0..self.height, picture)?,
            }
        }
        Ok(())
    }

    /// Runs the frames last seen, and hands what was found out to `take` with their places, in order.
    ///
    /// # Errors
    /// Those of `take`, [`ErrorCode::OutOfMemory`], [`ErrorCode::ModelInvalid`] for outputs of
    /// another shape.
    pub fn run(&mut self, frames: usize, mut take: impl FnMut(Range<usize>, Found) -> Result<()>) -> Result<()> {
        let mut done = 0;
        while done < frames {
            let mut batch = self.batch.min(frames - done);
            let found = retry_halving(&mut batch, |batch| self.network.call(done, batch))?;
            if batch < self.batch.min(frames - done) {
                self.batch = batch;
            }
            take(done..done + batch, found)?;
            done += batch;
        }
        Ok(())
    }
}

impl Mattes<'_> {
    /// Hands the mattes of the frames of which `found` was found out to `take` with their places in `source`, in order,
    /// each from top to bottom.
    ///
    /// # Errors
    /// Those of `source` and `take`, and those of [`Rvm::run`].
    pub fn hand_out(
        &mut self,
        found: Found,
        source: &mut impl Source,
        mut take: impl FnMut(usize, Matte<'_>) -> Result<()>,
    ) -> Result<()> {
        let (pixels, height) = (self.width * self.height, self.height);
        let mut results = match (found, &mut self.second) {
            (Found::Half(read), Some(second)) => second.call(&read)?,
            (Found::Whole(results), _) => results,
            (Found::Half(_), None) => {
                let why = "What was found is another model's. This is a fault: report it with the worker's log.";
                return Err(JobError::new(ErrorCode::Internal, why));
            }
        };
        let [first, second] = results.values(&mut self.copies)?;
        if let Some(refine) = &mut self.refine {
            return in_bands(refine, &mut self.band, [first, second], source.frame(0)?, |matte| take(0, matte));
        }
        let mattes = first.chunks_mut(CHANNELS * pixels).zip(second.chunks_mut(pixels));
        for (place, (foreground, alpha)) in mattes.enumerate() {
            take(place, Matte { rows: 0..height, foreground, alpha })?;
        }
        Ok(())
    }
}

/// One frame's matte, of its colour and its slopes and offsets.
fn in_bands(
    refine: &mut Refine,
    buffer: &mut Vec<f32>,
    [slope, offset]: [&mut [f32]; 2],
    mut rows: impl FnMut(Range<usize>, &mut [f32]) -> Result<()>,
    mut take: impl FnMut(Matte<'_>) -> Result<()>,
) -> Result<()> {
    for band in refine.bands() {
        let pixels = band.len() * refine.width();
        buffer.resize((CHANNELS + 1) * pixels, 0.0);
        let (foreground, alpha) = buffer.split_at_mut(CHANNELS * pixels);
        rows(band.clone(), foreground)?;
        refine.refine(band.clone(), slope, offset, foreground, alpha);
        take(Matte { rows: band, foreground, alpha })?;
    }
    Ok(())
}

#[cfg(test)]
mod tests;
