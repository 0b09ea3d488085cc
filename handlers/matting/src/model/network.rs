//! A session with its state.

use std::ops::Range;

use darkroom_api::{ErrorCode, JobError, Result};
use darkroom_inference::ort::session::{Session, SessionInputValue};
use darkroom_inference::ort::value::{DynValue, Tensor, TensorRef};
use darkroom_inference::{PooledSession, job_error, ort, signature};
use half::f16;
use half::slice::HalfFloatSliceExt;

use super::layout::{CHANNELS, Layout, RATIO, STATE_IN, STATE_OUT};

/// The network for pictures of one size, and what it remembers.
pub struct Network<'a> {
    session: PooledSession<'a>,
    layout: Layout,
    width: usize,
    height: usize,
    /// Planes of red, green and blue, picture after picture.
    src: Vec<f32>,
    src_half: Vec<f16>,
    ratio: Tensor<f32>,
    state: [DynValue; 4],
}

/// What a call gives beside the state, in ONNX Runtime's memory.
pub struct Results {
    values: [DynValue; 2],
    half: bool,
}

impl<'a> Network<'a> {
    /// With room for `capacity` pictures.
    ///
    /// # Errors
    /// Where ONNX Runtime has no memory for the state.
    pub fn new(
        session: PooledSession<'a>,
        layout: Layout,
        (width, height): (usize, usize),
        ratio: f32,
        capacity: usize,
    ) -> Result<Network<'a>> {
        let make = |e: ort::Error| job_error("preparing the model", &e);
        let values = capacity * CHANNELS * width * height;
        Ok(Network {
            state: blank_state(layout.half).map_err(make)?,
            session,
            layout,
            width,
            height,
            src: vec![0.0; values],
            src_half: vec![f16::ZERO; if layout.half { values } else { 0 }],
            ratio: Tensor::from_array(([1_usize], vec![ratio])).map_err(make)?,
        })
    }

    /// The session, to tell what was used.
    pub fn session(&self) -> &PooledSession<'a> {
        &self.session
    }

    /// Forgets what was seen.
    ///
    /// # Errors
    /// As [`Network::new`].
    pub fn reset(&mut self) -> Result<()> {
        self.state = blank_state(self.layout.half).map_err(|e| job_error("preparing the model", &e))?;
        Ok(())
    }

    /// Where a picture is written before a call: planes of red, green and blue in 0..=1.
    pub fn picture(&mut self, place: usize) -> &mut [f32] {
        let values = CHANNELS * self.width * self.height;
        &mut self.src[place * values..(place + 1) * values]
    }

    /// One call: `count` pictures from `first` on. The state moves on only where it succeeds.
    ///
    /// # Errors
    /// [`ErrorCode::OutOfMemory`], [`ErrorCode::ModelInvalid`] for results of another shape, and those of ONNX Runtime.
    pub fn call(&mut self, first: usize, count: usize) -> Result<Results> {
        let range = self.values(first, count);
        let mut shape = vec![1, count, CHANNELS, self.height, self.width];
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
            outputs(session, inputs, layout)
        })?;
        let [first, second, state @ ..] = outputs;
        self.state = state;
        let (names, pixels) = (self.layout.results(), count * self.width * self.height);
        for ((output, name), channels) in [&first, &second].into_iter().zip(names).zip(self.layout.result_channels()) {
            check(output, pixels * channels)
                .map_err(|why| refuse(&self.session, &format!("its output `{name}` {why}")))?;
        }
        Ok(Results { values: [first, second], half: self.layout.half })
    }

    fn values(&self, first: usize, count: usize) -> Range<usize> {
        let values = CHANNELS * self.width * self.height;
        first * values..(first + count) * values
    }
}

fn outputs(
    session: &mut Session,
    inputs: Vec<(&str, SessionInputValue<'_>)>,
    layout: Layout,
) -> ort::Result<[DynValue; 6]> {
    let mut outputs = session.run(inputs)?;
    let mut take = |name: &str| outputs.remove(name).ok_or_else(|| ort::Error::new(format!("no output `{name}`")));
    let ([first, second], [r1, r2, r3, r4]) = (layout.results(), STATE_OUT);
    Ok([take(first)?, take(second)?, take(r1)?, take(r2)?, take(r3)?, take(r4)?])
}

/// Whether an output has a value for each pixel.
fn check(output: &DynValue, length: usize) -> Result<(), String> {
    let found: i64 = output.shape().iter().product();
    if usize::try_from(found) == Ok(length) {
        Ok(())
    } else {
        Err(format!("has {found} values where the frames need {length}"))
    }
}

impl Results {
    /// The values of both, read where they lie (f32) or out of `copies` (f16).
    ///
    /// # Errors
    /// [`ErrorCode::ModelInvalid`] for values of another type than the model's description says.
    pub fn values<'v>(&'v mut self, copies: &'v mut [Vec<f32>; 2]) -> Result<[&'v mut [f32]; 2]> {
        let ([first, second], [copy_first, copy_second]) = (&mut self.values, copies);
        Ok([values(first, self.half, copy_first)?, values(second, self.half, copy_second)?])
    }
}

fn values<'v>(output: &'v mut DynValue, half: bool, copy: &'v mut Vec<f32>) -> Result<&'v mut [f32]> {
    let unreadable = |e: ort::Error| job_error("reading what the model gave", &e);
    if !half {
        return Ok(output.try_extract_tensor_mut::<f32>().map_err(unreadable)?.1);
    }
    let values = output.try_extract_tensor::<f16>().map_err(unreadable)?.1;
    copy.resize(values.len(), 0.0);
    values.convert_to_f32_slice(copy);
    Ok(copy)
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

/// The error for a model of another interface, with what it has.
pub fn refuse(session: &Session, why: &str) -> JobError {
    let message = format!(
        "The model is not one of Robust Video Matting's interface: {why}. Found: {}. Register another file.",
        signature(session)
    );
    JobError::new(ErrorCode::ModelInvalid, message)
}
