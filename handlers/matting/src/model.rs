//! Robust Video Matting (Lin et al., WACV 2022) and models of its interface.
//!
//! Inputs `src` (RGB 0..1: one frame `[1,3,H,W]`, or several `[1,T,3,H,W]`), `r1i`..`r4i` (the state, zeros of
//! `[1,1,1,1]` at first) and `downsample_ratio`; outputs `fgr` (foreground colour), `pha` (alpha) and `r1o`..`r4o` (the
//! state after). All f32, or all f16 but for the ratio. The state never leaves ONNX Runtime's memory: what comes out of one
//! call goes into the next as it is.
//!
//! Where a graph ends in RVM's refiner, its last step is ours ([`guided`]); other graphs run whole.

mod guided;
mod layout;
mod network;
mod refiner;
mod simd;

use std::ops::Range;

use darkroom_api::Result;
use darkroom_inference::{PooledSession, Precision, Runtime, retry_halving};

use guided::Guided;
use layout::{CHANNELS, Layout};
use network::{Network, refuse};

/// A matting model at work on one video.
pub struct Rvm<'a> {
    network: Network<'a>,
    width: usize,
    height: usize,
    /// Frames a [`Rvm::run`].
    capacity: usize,
    /// Frames a call: `capacity`, until memory runs short.
    batch: usize,
    /// The steps around a network without its own.
    guided: Option<Around>,
}

/// What a detached network needs beside it.
struct Around {
    guided: Guided,
    /// A band of a frame: colour, then alpha.
    band: Vec<f32>,
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
    /// Takes a session for a model, for [`Rvm::new`]: without the refiner's last step where the model has it.
    ///
    /// # Errors
    /// As [`Runtime::session`]; [`darkroom_api::ErrorCode::ModelInvalid`] where the model has another interface.
    pub fn session(runtime: &'a Runtime, model: &str) -> Result<PooledSession<'a>> {
        let session = runtime.edited_session(model, Precision::Full, refiner::DETACH)?;
        match Layout::of(&session) {
            Ok(_) => Ok(session),
            Err(why) => Err(refuse(&session, &why)),
        }
    }

    /// A model for frames of one size. `batch` is the number of frames a call, for models that take several.
    ///
    /// # Errors
    /// [`darkroom_api::ErrorCode::ModelInvalid`] where the model has another interface; the message lists what it has.
    pub fn new(session: PooledSession<'a>, width_px: u32, height_px: u32, ratio: f64, batch: usize) -> Result<Rvm<'a>> {
        let layout = Layout::of(&session).map_err(|why| refuse(&session, &why))?;
        let (width, height) = (width_px as usize, height_px as usize);
        let capacity = if layout.takes_several && !layout.detached { batch } else { 1 };
        #[allow(clippy::cast_possible_truncation, reason = "the model takes f32")]
        let ratio = ratio as f32;
        let guided = layout.detached.then(|| Around::new(Guided::new(width, height, ratio)));
        let (size, ratio) = guided.as_ref().map_or(((width, height), ratio), |around| (around.guided.small(), 1.0));
        let network = Network::new(session, layout, size, ratio, capacity)?;
        Ok(Rvm { network, width, height, capacity, batch: capacity, guided })
    }

    /// Frames that one [`Rvm::run`] takes at most.
    pub fn capacity(&self) -> usize {
        self.capacity
    }

    /// The session, to tell what was used.
    pub fn used(&self) -> &PooledSession<'a> {
        self.network.session()
    }

    /// Forgets what was seen: for another video.
    ///
    /// # Errors
    /// [`darkroom_api::ErrorCode::Internal`] when ONNX Runtime cannot make the blank state.
    pub fn reset(&mut self) -> Result<()> {
        self.network.reset()
    }

    /// Runs the first `frames` of `source` and hands their mattes to `take` with the frame's place, in order, each from top
    /// to bottom.
    ///
    /// # Errors
    /// Those of `source` and `take`, [`darkroom_api::ErrorCode::OutOfMemory`],
    /// [`darkroom_api::ErrorCode::ModelInvalid`] for outputs of another shape.
    pub fn run(
        &mut self,
        frames: usize,
        source: &mut impl Source,
        mut take: impl FnMut(usize, Matte<'_>) -> Result<()>,
    ) -> Result<()> {
        for place in 0..frames {
            let (mut rows, picture) = (source.frame(place)?, self.network.picture(place));
            match &mut self.guided {
                Some(around) => around.guided.shrink(rows, picture)?,
                None => rows(0..self.height, picture)?,
            }
        }
        let mut done = 0;
        while done < frames {
            let mut batch = self.batch.min(frames - done);
            let mut results = retry_halving(&mut batch, |batch| self.network.call(done, batch))?;
            if batch < self.batch.min(frames - done) {
                self.batch = batch;
            }
            let [first, second] = self.network.values_of(&mut results, batch)?;
            match &mut self.guided {
                Some(around) => around.hand_out(first, second, source.frame(done)?, |matte| take(done, matte))?,
                None => {
                    let pixels = self.width * self.height;
                    let mattes = first.chunks_mut(CHANNELS * pixels).zip(second.chunks_mut(pixels));
                    for (place, (foreground, alpha)) in mattes.enumerate() {
                        take(done + place, Matte { rows: 0..self.height, foreground, alpha })?;
                    }
                }
            }
            done += batch;
        }
        Ok(())
    }
}

impl Around {
    fn new(guided: Guided) -> Around {
        Around { guided, band: Vec::new() }
    }

    /// One frame's matte, band after band.
    fn hand_out(
        &mut self,
        slope: &[f32],
        offset: &[f32],
        mut rows: impl FnMut(Range<usize>, &mut [f32]) -> Result<()>,
        mut take: impl FnMut(Matte<'_>) -> Result<()>,
    ) -> Result<()> {
        for band in self.guided.bands() {
            let pixels = band.len() * self.guided.width();
            self.band.resize((CHANNELS + 1) * pixels, 0.0);
            let (foreground, alpha) = self.band.split_at_mut(CHANNELS * pixels);
            rows(band.clone(), foreground)?;
            self.guided.refine(band.clone(), slope, offset, foreground, alpha);
            take(Matte { rows: band, foreground, alpha })?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
