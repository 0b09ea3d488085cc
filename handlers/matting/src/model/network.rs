//! A model's sessions, with their state.

use std::ops::Range;
use std::sync::Arc;

use darkroom_api::{ErrorCode, JobError, Result};
use darkroom_inference::ort::session::{Session, SessionInputValue, SessionOutputs};
use darkroom_inference::ort::value::{DynValue, Outlet, Tensor, TensorRef};
use darkroom_inference::{
    Device, Edit, Graph, PooledSession, Precision, Runtime, TensorInfo, job_error, ort, signature,
};
use half::f16;
use half::slice::HalfFloatSliceExt;

use super::layout::{CHANNELS, Layout, RATIO, STATE_IN, STATE_OUT};
use super::refiner;

/// A model's sessions.
pub struct Sessions<'a> {
    /// The whole model, or its first half.
    pub first: PooledSession<'a>,
    /// The second half, where the model has two.
    pub second: Option<PooledSession<'a>>,
    /// What they take and give.
    pub layout: Layout,
}

/// The network for pictures of one size, up to the state of the next one, and what it remembers.
pub struct Network<'a> {
    session: PooledSession<'a>,
    layout: Layout,
    width: usize,
    height: usize,
    /// Planes of red, green and blue, picture after picture.
    src: Vec<f32>,
    src_half: Vec<f16>,
    ratio: Tensor<f32>,
    state: [Arc<DynValue>; 4],
    /// What a second half reads, where there is one.
    seam: Option<Vec<String>>,
}

/// The network's second half.
pub struct SecondHalf<'a> {
    session: PooledSession<'a>,
    seam: Vec<String>,
    layout: Layout,
    pixels: usize,
}

/// What a [`Network`] gives beside the state, in ONNX Runtime's memory.
pub enum Found {
    /// All there is to find.
    Whole(Results),
    /// What the second half reads.
    Half(Vec<Arc<DynValue>>),
}

/// Mattes, or a refiner's coefficients, in ONNX Runtime's memory.
pub struct Results {
    values: [DynValue; 2],
    half: bool,
}

impl<'a> Sessions<'a> {
    /// Takes the sessions for a model of the registry: without the refiner's last step where the model has it, and in two
    /// halves where they have a thread each on the CPU; on other devices what is between them would have to travel.
    ///
    /// # Errors
    /// As [`Runtime::session`]; [`ErrorCode::ModelInvalid`] where the model has another interface.
    pub fn open(runtime: &'a Runtime, model: &str) -> Result<Sessions<'a>> {
        if let Some(halves) = Sessions::halves(runtime, model)? {
            return Ok(halves);
        }
        let edit = Edit { name: "without the refiner's last step", threads: None, apply: &refiner::detach };
        let session = match edited(runtime, model, edit)? {
            Some(session) => session,
            None => runtime.session(model, Precision::Full)?,
        };
        Sessions::of(session, None)
    }

    fn halves(runtime: &'a Runtime, model: &str) -> Result<Option<Sessions<'a>>> {
        let threads = runtime.intra_threads();
        if runtime.device()? != Device::Cpu || threads == 1 {
            return Ok(None);
        }
        let more = Some(threads.div_ceil(2));
        let first = Edit { name: "first half", threads: more, apply: &refiner::first_half };
        let Some(first) = edited(runtime, model, first)? else { return Ok(None) };
        let outputs: Vec<TensorInfo> = first.outputs().iter().map(TensorInfo::from).collect();
        let apply = |graph: &mut Graph| refiner::second_half(graph, &outputs);
        let second = Edit { name: "second half", threads: Some(threads / 2), apply: &apply };
        let Some(second) = edited(runtime, model, second)? else { return Ok(None) };
        // A model that lacks something is described as it is in its file.
        Ok(Sessions::of(first, Some(second)).ok())
    }

    /// Checks the interface.
    ///
    /// # Errors
    /// [`ErrorCode::ModelInvalid`]; the message lists what the model has.
    pub fn of(first: PooledSession<'a>, second: Option<PooledSession<'a>>) -> Result<Sessions<'a>> {
        let layout = Layout::of(&first, second.as_deref()).map_err(|why| refuse(&first, &why))?;
        Ok(Sessions { first, second, layout })
    }
}

impl<'a> Network<'a> {
    /// With room for `capacity` pictures; the second half is what [`Network::call`] finds out in halves for.
    ///
    /// # Errors
    /// Where ONNX Runtime has no memory for the state.
    pub fn new(
        sessions: Sessions<'a>,
        (width, height): (usize, usize),
        ratio: f32,
        capacity: usize,
    ) -> Result<(Network<'a>, Option<SecondHalf<'a>>)> {
        let make = |e: ort::Error| job_error("preparing the model", &e);
        let Sessions { first: session, second, layout } = sessions;
        let values = capacity * CHANNELS * width * height;
        let names = |inputs: &[Outlet]| inputs.iter().map(|input| input.name().to_owned()).collect::<Vec<_>>();
        let seam = second.as_ref().map(|second| names(second.inputs()));
        let network = Network {
            state: blank_state(layout.half).map_err(make)?,
            session,
            layout,
            width,
            height,
            src: vec![0.0; values],
            src_half: vec![f16::ZERO; if layout.half { values } else { 0 }],
            ratio: Tensor::from_array(([1_usize], vec![ratio])).map_err(make)?,
            seam: seam.clone(),
        };
        let halves = second.zip(seam);
        let second = halves.map(|(session, seam)| SecondHalf { session, seam, layout, pixels: width * height });
        Ok((network, second))
    }

    /// The session, to tell what was used.
    pub fn session(&self) -> &PooledSession<'a> {
        &self.session
    }

    /// About how much a call gives its second half to read, where there is one: RVM's, eleven values a pixel.
    pub fn seam_bytes(&self) -> Option<usize> {
        self.seam.as_ref().map(|_| 11 * size_of::<f32>() * self.width * self.height)
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
    pub fn call(&mut self, first: usize, count: usize) -> Result<Found> {
        let range = self.values(first, count);
        let mut shape = vec![1, count, CHANNELS, self.height, self.width];
        if !self.layout.takes_several {
            shape.remove(1);
        }
        if self.layout.half {
            self.src_half[range.clone()].convert_from_f32_slice(&self.src[range.clone()]);
        }
        let (layout, ratio, state, seam) = (self.layout, &self.ratio, &self.state, self.seam.as_deref());
        let (src, src_half) = (&self.src, &self.src_half);
        let (state, found) = self.session.call(|session| {
            let mut inputs: Vec<(&str, SessionInputValue<'_>)> = Vec::with_capacity(6);
            if layout.half {
                inputs.push(("src", TensorRef::from_array_view((shape, &src_half[range]))?.into()));
            } else {
                inputs.push(("src", TensorRef::from_array_view((shape, &src[range]))?.into()));
            }
            inputs.extend(STATE_IN.iter().zip(state).map(|(name, value)| (*name, (&**value).into())));
            if layout.takes_ratio {
                inputs.push((RATIO, ratio.into()));
            }
            outputs(session.run(inputs)?, layout, seam)
        })?;
        self.state = state;
        if let Found::Whole(results) = &found {
            results.check(&self.session, layout, count * self.width * self.height)?;
        }
        Ok(found)
    }

    fn values(&self, first: usize, count: usize) -> Range<usize> {
        let values = CHANNELS * self.width * self.height;
        first * values..(first + count) * values
    }
}

/// An edited session, where the edit fits the model and ONNX Runtime takes what it makes of it.
fn edited<'a>(runtime: &'a Runtime, model: &str, edit: Edit<'_>) -> Result<Option<PooledSession<'a>>> {
    match runtime.edited_session(model, Precision::Full, edit) {
        Err(error) if error.code == ErrorCode::ModelInvalid => {
            tracing::warn!(%error, edit = edit.name, "the model runs without an edit that would make it faster");
            Ok(None)
        }
        session => session,
    }
}

/// The state, and what was found out; `seam` names what a second half reads, which may be part of the state.
fn outputs(
    mut outputs: SessionOutputs<'_>,
    layout: Layout,
    seam: Option<&[String]>,
) -> ort::Result<([Arc<DynValue>; 4], Found)> {
    let [r1, r2, r3, r4] = STATE_OUT;
    let state = [take(&mut outputs, r1)?, take(&mut outputs, r2)?, take(&mut outputs, r3)?, take(&mut outputs, r4)?];
    let state = state.map(Arc::new);
    let Some(seam) = seam else { return Ok((state, Found::Whole(results(outputs, layout)?))) };
    let known = |name: &String| STATE_OUT.iter().position(|known| known == name).map(|place| state[place].clone());
    let read = seam.iter().map(|name| known(name).map_or_else(|| take(&mut outputs, name).map(Arc::new), Ok));
    let read = read.collect::<ort::Result<_>>()?;
    Ok((state, Found::Half(read)))
}

fn results(mut outputs: SessionOutputs<'_>, layout: Layout) -> ort::Result<Results> {
    let [first, second] = layout.results();
    Ok(Results { values: [take(&mut outputs, first)?, take(&mut outputs, second)?], half: layout.half })
}

fn take(outputs: &mut SessionOutputs<'_>, name: &str) -> ort::Result<DynValue> {
    outputs.remove(name).ok_or_else(|| ort::Error::new(format!("no output `{name}`")))
}

impl SecondHalf<'_> {
    /// Goes on from what the first half found out.
    ///
    /// # Errors
    /// As [`Network::call`].
    pub fn call(&mut self, read: &[Arc<DynValue>]) -> Result<Results> {
        let inputs = self.seam.iter().zip(read).map(|(name, value)| (name.as_str(), (&**value).into()));
        let inputs: Vec<(&str, SessionInputValue<'_>)> = inputs.collect();
        let layout = self.layout;
        let results = self.session.call(|session| results(session.run(inputs)?, layout))?;
        results.check(&self.session, layout, self.pixels)?;
        Ok(results)
    }
}

impl Results {
    /// Checks that there is a value for each of the pixels.
    fn check(&self, session: &PooledSession<'_>, layout: Layout, pixels: usize) -> Result<()> {
        for ((value, name), channels) in self.values.iter().zip(layout.results()).zip(layout.result_channels()) {
            let (found, needed) = (value.shape().iter().product::<i64>(), pixels * channels);
            if usize::try_from(found) != Ok(needed) {
                let why = format!("its output `{name}` has {found} values where the frames need {needed}");
                return Err(refuse(session, &why));
            }
        }
        Ok(())
    }

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

fn blank_state(half: bool) -> ort::Result<[Arc<DynValue>; 4]> {
    let blank = || -> ort::Result<Arc<DynValue>> {
        let shape = [1_usize; 4];
        if half {
            Ok(Tensor::from_array((shape, vec![f16::ZERO]))?.into_dyn().into())
        } else {
            Ok(Tensor::from_array((shape, vec![0.0_f32]))?.into_dyn().into())
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
