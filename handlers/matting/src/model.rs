//! Robust Video Matting (Lin et al., WACV 2022) and models of its interface.
//!
//! Inputs `src` (RGB 0..1: one frame `[1,3,H,W]`, or several `[1,T,3,H,W]`), `r1i`..`r4i` (the state, zeros of
//! `[1,1,1,1]` at first) and `downsample_ratio`; outputs `fgr` (foreground colour), `pha` (alpha) and `r1o`..`r4o` (the
//! state after). All f32, or all f16 but for the ratio. The state never leaves ONNX Runtime's memory: what comes out of one
//! call goes into the next as it is.

use darkroom_api::{ErrorCode, JobError, Result};
use darkroom_inference::ort::session::{Session, SessionInputValue};
use darkroom_inference::ort::value::{DynValue, Tensor, TensorElementType, TensorRef};
use darkroom_inference::{PooledSession, TensorInfo, ort, retry_halving, signature};
use half::f16;
use half::slice::HalfFloatSliceExt;

const STATE_IN: [&str; 4] = ["r1i", "r2i", "r3i", "r4i"];
const STATE_OUT: [&str; 4] = ["r1o", "r2o", "r3o", "r4o"];
const RATIO: &str = "downsample_ratio";
const CHANNELS: usize = 3;

/// What a session's model takes, read from its inputs and outputs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Layout {
    /// Whether `src` has a time axis.
    takes_several: bool,
    /// Whether pictures and state are f16.
    half: bool,
    /// Whether the ratio is an input; TensorRT exports have it folded in.
    takes_ratio: bool,
}

/// A matting model at work on one video.
pub struct Rvm<'a> {
    session: PooledSession<'a>,
    layout: Layout,
    width_px: usize,
    height_px: usize,
    /// Frames that `src` has room for.
    capacity: usize,
    /// Frames a call: `capacity`, until memory runs short.
    batch: usize,
    /// Planes of red, green and blue, frame after frame.
    src: Vec<f32>,
    src_half: Vec<f16>,
    outputs_half: Halves,
    ratio: Tensor<f32>,
    state: [DynValue; 4],
}

/// f32 copies of f16 outputs.
#[derive(Default)]
struct Halves {
    fgr: Vec<f32>,
    pha: Vec<f32>,
}

/// What the model says of one frame: planes of values in 0..=1, where ONNX Runtime left them. They are the caller's to
/// change.
#[derive(Debug)]
pub struct Matte<'a> {
    /// Foreground colour, planes of red, green and blue; edges carry no background.
    pub foreground: &'a mut [f32],
    /// Alpha.
    pub alpha: &'a mut [f32],
}

impl<'a> Rvm<'a> {
    /// A model for frames of one size. `batch` is the number of frames a call, for models that take several.
    ///
    /// # Errors
    /// [`ErrorCode::ModelInvalid`] where the model has another interface; the message lists what it has.
    pub fn new(session: PooledSession<'a>, width_px: u32, height_px: u32, ratio: f64, batch: usize) -> Result<Rvm<'a>> {
        let layout = layout(&session).map_err(|why| refuse(&session, &why))?;
        let (width_px, height_px) = (width_px as usize, height_px as usize);
        let capacity = if layout.takes_several { batch } else { 1 };
        let values = capacity * CHANNELS * width_px * height_px;
        let make = |e: ort::Error| darkroom_inference::job_error("preparing the model", &e);
        #[allow(clippy::cast_possible_truncation, reason = "the model takes f32")]
        let ratio = Tensor::from_array(([1_usize], vec![ratio as f32])).map_err(make)?;
        Ok(Rvm {
            state: blank_state(layout.half).map_err(make)?,
            session,
            layout,
            width_px,
            height_px,
            capacity,
            batch: capacity,
            src: vec![0.0; values],
            src_half: vec![f16::ZERO; if layout.half { values } else { 0 }],
            outputs_half: Halves::default(),
            ratio,
        })
    }

    /// Whether a session's model has the interface.
    ///
    /// # Errors
    /// As [`Rvm::new`].
    pub fn check(session: &Session) -> Result<()> {
        layout(session).map(drop).map_err(|why| refuse(session, &why))
    }

    /// Frames that one [`Rvm::run`] takes at most.
    pub fn capacity(&self) -> usize {
        self.capacity
    }

    /// The session, to tell what was used.
    pub fn session(&self) -> &PooledSession<'a> {
        &self.session
    }

    /// Forgets what was seen: for another video.
    ///
    /// # Errors
    /// [`ErrorCode::Internal`] when ONNX Runtime cannot make the blank state.
    pub fn reset(&mut self) -> Result<()> {
        self.state =
            blank_state(self.layout.half).map_err(|e| darkroom_inference::job_error("preparing the model", &e))?;
        Ok(())
    }

    /// Where the frame of that place in the batch is written before [`Rvm::run`]: planes of red, green and blue in 0..=1.
    pub fn input(&mut self, place: usize) -> &mut [f32] {
        let frame = CHANNELS * self.width_px * self.height_px;
        &mut self.src[place * frame..(place + 1) * frame]
    }

    /// Runs the first `frames` inputs and hands each matte to `take`, in order.
    ///
    /// # Errors
    /// Those of `take`, [`ErrorCode::OutOfMemory`], [`ErrorCode::ModelInvalid`] for outputs of another shape.
    pub fn run(&mut self, frames: usize, mut take: impl FnMut(usize, Matte<'_>) -> Result<()>) -> Result<()> {
        let mut done = 0;
        while done < frames {
            let mut batch = self.batch.min(frames - done);
            let (mut fgr, mut pha) = retry_halving(&mut batch, |batch| self.call(done, batch))?;
            if batch < self.batch.min(frames - done) {
                self.batch = batch;
            }
            self.hand_out(done, batch, &mut fgr, &mut pha, &mut take)?;
            done += batch;
        }
        Ok(())
    }

    /// One call: `count` frames from `first` on. The state moves on only where it succeeds.
    fn call(&mut self, first: usize, count: usize) -> Result<(DynValue, DynValue)> {
        let frame = CHANNELS * self.width_px * self.height_px;
        let range = first * frame..(first + count) * frame;
        let (height, width) = (self.height_px, self.width_px);
        let mut shape = vec![1, count, CHANNELS, height, width];
        if !self.layout.takes_several {
            shape.remove(1);
        }
        if self.layout.half {
            self.src_half[range.clone()].convert_from_f32_slice(&self.src[range.clone()]);
        }
        let (layout, ratio, state) = (self.layout, &self.ratio, &self.state);
        let (src, src_half) = (&self.src, &self.src_half);
        let outputs = self.session.call(|session| {
            let mut inputs: Vec<(&str, SessionInputValue<'_>)> = Vec::with_capacity(6);
            if layout.half {
                inputs.push(("src", TensorRef::from_array_view((shape, &src_half[range]))?.into()));
            } else {
                inputs.push(("src", TensorRef::from_array_view((shape, &src[range]))?.into()));
            }
            inputs.extend(STATE_IN.iter().zip(state).map(|(name, value)| (*name, value.into())));
            if layout.takes_ratio {
                inputs.push((RATIO, ratio.into()));
            }
            outputs(session, inputs)
        })?;
        let [fgr, pha, state @ ..] = outputs;
        self.state = state;
        Ok((fgr, pha))
    }

    fn hand_out(
        &mut self,
        first: usize,
        count: usize,
        fgr: &mut DynValue,
        pha: &mut DynValue,
        take: &mut impl FnMut(usize, Matte<'_>) -> Result<()>,
    ) -> Result<()> {
        let pixels = self.width_px * self.height_px;
        let halves = &mut self.outputs_half;
        let colours = plane(&self.session, self.layout.half, fgr, "fgr", count * CHANNELS * pixels, &mut halves.fgr)?;
        let alphas = plane(&self.session, self.layout.half, pha, "pha", count * pixels, &mut halves.pha)?;
        for (place, (foreground, alpha)) in
            colours.chunks_mut(CHANNELS * pixels).zip(alphas.chunks_mut(pixels)).enumerate()
        {
            take(first + place, Matte { foreground, alpha })?;
        }
        Ok(())
    }
}

fn outputs(session: &mut Session, inputs: Vec<(&str, SessionInputValue<'_>)>) -> ort::Result<[DynValue; 6]> {
    let mut outputs = session.run(inputs)?;
    let mut take = |name: &str| outputs.remove(name).ok_or_else(|| ort::Error::new(format!("no output `{name}`")));
    let [r1, r2, r3, r4] = STATE_OUT;
    Ok([take("fgr")?, take("pha")?, take(r1)?, take(r2)?, take(r3)?, take(r4)?])
}

/// The values of an output, read where they lie (f32) or out of `copy` (f16).
fn plane<'v>(
    session: &Session,
    half: bool,
    output: &'v mut DynValue,
    name: &str,
    length: usize,
    copy: &'v mut Vec<f32>,
) -> Result<&'v mut [f32]> {
    let unreadable = |e: ort::Error| refuse(session, &format!("its output `{name}` cannot be read: {e}"));
    let values = if half {
        let values = output.try_extract_tensor::<f16>().map_err(unreadable)?.1;
        copy.resize(values.len(), 0.0);
        values.convert_to_f32_slice(copy);
        &mut copy[..]
    } else {
        output.try_extract_tensor_mut::<f32>().map_err(unreadable)?.1
    };
    if values.len() != length {
        let why = format!("its output `{name}` has {} values where the frames need {length}", values.len());
        return Err(refuse(session, &why));
    }
    Ok(values)
}

fn blank_state(half: bool) -> ort::Result<[DynValue; 4]> {
    let blank = || -> ort::Result<DynValue> {
        let shape = [1_usize; 4];
        if half {
            Ok(Tensor::from_array((shape, vec![f16::ZERO]))?.into_dyn())
        } else {
            Ok(Tensor::from_array((shape, vec![0.0_f32]))?.into_dyn())
        }
    };
    Ok([blank()?, blank()?, blank()?, blank()?])
}

/// Reads the interface, or says what is missing.
fn layout(session: &Session) -> Result<Layout, String> {
    let list = |outlets: &[ort::value::Outlet]| outlets.iter().map(TensorInfo::from).collect::<Vec<_>>();
    let (inputs, outputs) = (list(session.inputs()), list(session.outputs()));
    let find = |list: &[TensorInfo], name: &str| list.iter().find(|info| info.name == name).cloned();
    let src = find(&inputs, "src").ok_or("it has no input `src`")?;
    let half = match src.element {
        Some(TensorElementType::Float32) => false,
        Some(TensorElementType::Float16) => true,
        _ => return Err("its input `src` is neither f32 nor f16".into()),
    };
    let takes_several = match src.dims.len() {
        4 => false,
        5 => true,
        rank => return Err(format!("its input `src` has {rank} dimensions instead of 4 or 5")),
    };
    let channels = src.dims[src.dims.len() - 3];
    if channels.is_some_and(|count| count != CHANNELS as u64) {
        return Err("its input `src` does not take red, green and blue".into());
    }
    for name in STATE_IN {
        let state = find(&inputs, name).ok_or_else(|| format!("it has no input `{name}`"))?;
        if state.element != src.element {
            return Err(format!("its input `{name}` is of another type than `src`"));
        }
    }
    for name in ["fgr", "pha"].iter().chain(&STATE_OUT) {
        let output = find(&outputs, name).ok_or_else(|| format!("it has no output `{name}`"))?;
        if output.element != src.element {
            return Err(format!("its output `{name}` is of another type than `src`"));
        }
    }
    let known = |name: &str| ["src", RATIO].contains(&name) || STATE_IN.contains(&name);
    if let Some(other) = inputs.iter().find(|info| !known(&info.name)) {
        return Err(format!("it has an input `{}` that nobody fills", other.name));
    }
    Ok(Layout { takes_several, half, takes_ratio: find(&inputs, RATIO).is_some() })
}

fn refuse(session: &Session, why: &str) -> JobError {
    let message = format!(
        "The model is not one of Robust Video Matting's interface: {why}. Found: {}. Register another file.",
        signature(session)
    );
    JobError::new(ErrorCode::ModelInvalid, message)
}

#[cfg(test)]
mod tests;
