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

use guided::{Refine, Shrink};
use layout::{CHANNELS, Layout};
use network::{Network, Results, refuse};

/// A matting model at work on one video: what it finds out of each frame, with the state of all before.
pub struct Rvm<'a> {
    network: Network<'a>,
    width: usize,
    height: usize,
    ratio: f32,
    /// Frames a [`Rvm::run`].
    capacity: usize,
    /// Frames a call: `capacity`, until memory runs short.
    batch: usize,
    /// For a network without its own first and last step.
    shrink: Option<Shrink>,
}

/// What a model found out of some frames; [`Mattes`] makes mattes of it.
pub struct Found(Results);

/// What makes mattes of a model's results, frame after frame; it may work on a thread of its own.
pub struct Mattes {
    width: usize,
    height: usize,
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
        let shrink = layout.detached.then(|| Shrink::new(width, height, ratio));
        let (size, inner) = shrink.as_ref().map_or(((width, height), ratio), |shrink| (shrink.size(), 1.0));
        let network = Network::new(session, layout, size, inner, capacity)?;
        Ok(Rvm { network, width, height, ratio, capacity, batch: capacity, shrink })
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

    /// What makes mattes of this model's results.
    pub fn mattes(&self) -> Mattes {
        let (width, height) = (self.width, self.height);
        let refine = self.shrink.as_ref().map(|_| Refine::new(width, height, self.ratio));
        Mattes { width, height, refine, band: Vec::new(), copies: Default::default() }
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
    /// Those of `take`, [`darkroom_api::ErrorCode::OutOfMemory`], [`darkroom_api::ErrorCode::ModelInvalid`] for outputs of
    /// another shape.
    pub fn run(&mut self, frames: usize, mut take: impl FnMut(Range<usize>, Found) -> Result<()>) -> Result<()> {
        let mut done = 0;
        while done < frames {
            let mut batch = self.batch.min(frames - done);
            let found = retry_halving(&mut batch, |batch| self.network.call(done, batch))?;
            if batch < self.batch.min(frames - done) {
                self.batch = batch;
            }
            take(done..done + batch, Found(found))?;
            done += batch;
        }
        Ok(())
    }
}

impl Mattes {
    /// Hands the mattes of the frames of which `found` was found out to `take` with their places in `source`, in order,
    /// each from top to bottom.
    ///
    /// # Errors
    /// Those of `source` and `take`.
    pub fn hand_out(
        &mut self,
        mut found: Found,
        source: &mut impl Source,
        mut take: impl FnMut(usize, Matte<'_>) -> Result<()>,
    ) -> Result<()> {
        let (pixels, height) = (self.width * self.height, self.height);
        let [first, second] = found.0.values(&mut self.copies)?;
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
