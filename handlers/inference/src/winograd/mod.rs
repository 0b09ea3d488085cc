//! Convolutions of 3x3 on the CPU by the method of Winograd, as an operator of ONNX Runtime.
//!
//! ONNX Runtime's own convolution runs at what the processor's vector units can do: less time is to be had with fewer
//! multiplications only. A tile of 4x4 results needs 36 for each pair of channels in place of 144 where the tile, of 6x6 with
//! what surrounds it, and the weights are transformed before, and the sums after: F(4x4, 3x3) of A. Lavin and S. Gray, "Fast
//! Algorithms for Convolutional Neural Networks", 2015 (arXiv:1509.09308), whose matrices these are. Vectors hold as many tiles that
//! lie side by side. Results differ from those of a plain sum by some 1e-6 of the largest number that goes in.
//!
//! [`Graph::own_convolutions`](crate::Graph::own_convolutions) puts the operator in the place of `Conv`.

mod activation;
mod lanes;
#[cfg(test)]
mod tests;
mod tiles;
mod weights;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use ort::operator::{ComputeContext, Kernel, KernelContext, Operator, OperatorDomain, OperatorInput, OperatorOutput};
use ort::value::TensorElementType::Float32;

use activation::Activation;
use lanes::{Avx2, Avx512, Lanes};
use tiles::{Desk, Picture, Planes, blocks, convolve};
use weights::Weights;

/// Side of the tile that is made at once.
const OUT: usize = 4;
/// Side of what it is made of.
const IN: usize = OUT + 2;
/// Numbers of a tile.
const POINTS: usize = IN * IN;

/// Domain of the operator.
pub(crate) const DOMAIN: &str = "darkroom";
/// Its name: inputs and output as those of `Conv` with a kernel of 3x3, a border of one zero and no steps; then what its
/// activation needs.
pub(crate) const NAME: &str = "Convolution3x3";
/// Its attribute that tells what follows: absent, or one of the next.
pub(crate) const ACTIVATION: &str = "activation";
/// What is below zero is multiplied by the fourth input, one number for each output or for all.
pub(crate) const SLOPE: &str = "slope";
/// y sigmoid(y).
pub(crate) const SILU: &str = "silu";
/// (y + x / 2) tanh(y), x being the fourth input.
pub(crate) const GATE: &str = "gate";

/// Whether this processor has instructions that it is written for.
pub(crate) fn is_there() -> bool {
    Avx512::are_there() || Avx2::are_there()
}

/// Transformed weights of all sessions, by the model's sha256, the operation's name and what follows it: sessions of a model share them.
#[derive(Debug, Default)]
pub(crate) struct Shared(Mutex<HashMap<(String, String), Weak<Weights>>>);

impl Shared {
    /// Those of an operation; made by `make` where no session has them.
    fn weights(&self, key: (String, String), make: impl FnOnce() -> ort::Result<Weights>) -> ort::Result<Arc<Weights>> {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(weights) = known.get(&key).and_then(Weak::upgrade) {
            return Ok(weights);
        }
        let weights = Arc::new(make()?);
        known.retain(|_, weights| weights.strong_count() > 0);
        known.insert(key, Arc::downgrade(&weights));
        Ok(weights)
    }
}

/// The operator, for one session of a model.
pub(crate) fn domain(shared: &Arc<Shared>, sha256: &str) -> ort::Result<OperatorDomain> {
    let (shared, sha256) = (Arc::clone(shared), sha256.to_owned());
    OperatorDomain::new(DOMAIN)?.add(Convolution3x3 { shared, sha256, desks: Desks::default() })
}

struct Convolution3x3 {
    shared: Arc<Shared>,
    sha256: String,
    desks: Desks,
}

/// What no thread of the session computes with just now.
type Desks = Arc<Mutex<Vec<Desk>>>;

impl Operator for Convolution3x3 {
    type Kernel<'attr> = Convolution;

    fn name(&self) -> &str {
        NAME
    }

    fn inputs(&self) -> impl IntoIterator<Item = OperatorInput> {
        let [required, optional] = [OperatorInput::required, OperatorInput::optional];
        [required(Float32), required(Float32), optional(Float32), optional(Float32)]
    }

    fn outputs(&self) -> impl IntoIterator<Item = OperatorOutput> {
        [OperatorOutput::required(Float32)]
    }

    fn create_kernel<'attr>(&self, context: &KernelContext<'attr>) -> ort::Result<Convolution> {
        let count = context.inputs()?.len();
        let constant = |index: usize| context.constant_input::<ort::value::TensorValueType<f32>>(index);
        let (kernels, bias) = (constant(1)?, (count > 2).then(|| constant(2)).transpose()?);
        let named = context.get::<String>(ACTIVATION);
        let activation = match named.as_deref() {
            None => Activation::None,
            Some(SLOPE) => Activation::Slope(constant(3)?.extract_tensor().1.to_vec()),
            Some(SILU) => Activation::Silu,
            Some(GATE) => Activation::Gate,
            Some(other) => return Err(ort::Error::new(format!("an activation `{other}`"))),
        };
        let weights =
            self.shared.weights((self.sha256.clone(), format!("{} {named:?}", context.node_name()?)), || {
                let (dims, numbers) = kernels.extract_tensor();
                let weights =
                    Weights::new(numbers, dims, bias.as_ref().map(|bias| bias.extract_tensor().1), activation);
                weights.ok_or_else(|| ort::Error::new("weights that are no 3x3 convolution's"))
            })?;
        Ok(Convolution { weights, desks: self.desks.clone() })
    }
}

/// A convolution of a network.
struct Convolution {
    weights: Arc<Weights>,
    desks: Desks,
}

impl Kernel for Convolution {
    fn compute(&mut self, context: &ComputeContext) -> ort::Result<()> {
        let input = context.input(0)?.ok_or_else(|| ort::Error::new("no input"))?;
        let (dims, numbers) = input.try_extract_tensor::<f32>()?;
        let sides = |dim: i64| usize::try_from(dim).ok().filter(|side| *side > 0);
        let [count, inputs, height, width] = dims[..] else {
            return Err(ort::Error::new("an input of other than 4 dimensions"));
        };
        let (Some(inputs), Some(height), Some(width)) = (sides(inputs), sides(height), sides(width)) else {
            return Err(ort::Error::new("an empty input"));
        };
        if inputs != self.weights.inputs {
            return Err(ort::Error::new(format!("{inputs} channels where weights are for {}", self.weights.inputs)));
        }
        let made = [count, self.weights.outputs as i64, dims[2], dims[3]];
        let mut output = context.output(0, made.to_vec())?.ok_or_else(|| ort::Error::new("no output"))?;
        let (_, result) = output.try_extract_tensor_mut::<f32>()?;
        let gate = || context.input(3)?.ok_or_else(|| ort::Error::new("no picture beside a gate"));
        let beside = (self.weights.activation == Activation::Gate).then(gate).transpose()?;
        let beside = match &beside {
            Some(beside) => {
                let (dims, numbers) = beside.try_extract_tensor::<f32>()?;
                if dims[..] != made {
                    return Err(ort::Error::new("a gate for a picture of another size"));
                }
                numbers
            }
            None => &[],
        };
        let (plane, outputs) = (height * width, self.weights.outputs);
        for (index, result) in result.chunks_exact_mut(outputs * plane).enumerate() {
            let part = |planes: usize| index * planes * plane..(index + 1) * planes * plane;
            let picture = Picture {
                planes: &numbers[part(inputs)],
                beside: if beside.is_empty() { beside } else { &beside[part(outputs)] },
                size: (height, width),
            };
            if Avx512::are_there() {
                self.picture::<Avx512>(context, picture, result, avx512)?;
            } else {
                self.picture::<Avx2>(context, picture, result, avx2)?;
            }
        }
        Ok(())
    }
}

/// [`convolve`] compiled for instructions of its own.
type Compiled = unsafe fn(&Weights, Picture<'_>, usize, *mut f32, &mut Desk);

impl Convolution {
    /// One picture, by all threads of the session.
    fn picture<L: Lanes>(
        &self,
        context: &ComputeContext,
        picture: Picture<'_>,
        result: &mut [f32],
        compiled: Compiled,
    ) -> ort::Result<()> {
        let result = Planes(result.as_mut_ptr());
        let result = &result;
        let one = |block: usize| {
            let take = || self.desks.lock().unwrap_or_else(PoisonError::into_inner).pop();
            let mut desk = take().unwrap_or_default();
            // SAFETY: sessions have the operator only where instructions are there; the slices have as many planes as weights
            // tell, and each block is computed once.
            unsafe { compiled(&self.weights, picture, block, result.0, &mut desk) };
            self.desks.lock().unwrap_or_else(PoisonError::into_inner).push(desk);
        };
        context.par_for(blocks::<L>(picture.size), 0, one)
    }
}

#[target_feature(enable = "avx512f")]
unsafe fn avx512(weights: &Weights, picture: Picture<'_>, block: usize, result: *mut f32, desk: &mut Desk) {
    // SAFETY: as the caller says.
    unsafe { convolve::<Avx512>(weights, picture, block, result, desk) }
}

#[target_feature(enable = "avx2,fma")]
unsafe fn avx2(weights: &Weights, picture: Picture<'_>, block: usize, result: *mut f32, desk: &mut Desk) {
    // SAFETY: as the caller says.
    unsafe { convolve::<Avx2>(weights, picture, block, result, desk) }
}
