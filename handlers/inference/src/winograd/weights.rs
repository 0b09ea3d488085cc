//! The weights of a convolution, transformed.

use super::POINTS;
use super::activation::Activation;

/// Outputs that are computed at once.
pub const GROUP: usize = 8;

/// Of one 3x3 convolution.
#[derive(Debug)]
pub struct Weights {
    /// Channels that go in.
    pub inputs: usize,
    /// Channels that come out.
    pub outputs: usize,
    /// By point of the tile, by group of outputs, by input, by output of the group; the last group is filled with zeros.
    pub transformed: Vec<f32>,
    /// By output, to the end of the last group.
    pub bias: Vec<f32>,
    /// What follows.
    pub activation: Activation,
}

impl Weights {
    /// From the weights of ONNX's `Conv`, `[outputs, inputs, 3, 3]`, and its bias, if it has one. `None` where they are not that.
    pub fn new(weights: &[f32], dims: &[i64], bias: Option<&[f32]>, activation: Activation) -> Option<Weights> {
        let [outputs, inputs, 3, 3] = *dims else { return None };
        let (outputs, inputs) = (usize::try_from(outputs).ok()?, usize::try_from(inputs).ok()?);
        if weights.len() != outputs * inputs * 9 || weights.is_empty() || bias.is_some_and(|b| b.len() != outputs) {
            return None;
        }
        let activation = match activation {
            Activation::Slope(slopes) if slopes.len() == 1 => Activation::Slope(vec![slopes[0]; outputs]),
            Activation::Slope(slopes) if slopes.len() != outputs => return None,
            other => other,
        };
        let groups = outputs.div_ceil(GROUP);
        let mut transformed = vec![0.0; POINTS * groups * inputs * GROUP];
        for (index, kernel) in weights.chunks_exact(9).enumerate() {
            let (output, input) = (index / inputs, index % inputs);
            for (point, value) in transform(kernel).into_iter().enumerate() {
                let group = point * groups + output / GROUP;
                transformed[(group * inputs + input) * GROUP + output % GROUP] = value;
            }
        }
        let mut bias = bias.unwrap_or_default().to_vec();
        bias.resize(groups * GROUP, 0.0);
        Some(Weights { inputs, outputs, transformed, bias, activation })
    }

    /// How many groups of outputs there are.
    pub fn groups(&self) -> usize {
        self.outputs.div_ceil(GROUP)
    }
}

/// G g Gᵀ, in double precision.
#[allow(clippy::cast_possible_truncation, reason = "weights are single")]
fn transform(kernel: &[f32]) -> [f32; POINTS] {
    const G: [[f64; 3]; 6] = [
        [1.0 / 4.0, 0.0, 0.0],
        [-1.0 / 6.0, -1.0 / 6.0, -1.0 / 6.0],
        [-1.0 / 6.0, 1.0 / 6.0, -1.0 / 6.0],
        [1.0 / 24.0, 1.0 / 12.0, 1.0 / 6.0],
        [1.0 / 24.0, -1.0 / 12.0, 1.0 / 6.0],
        [0.0, 0.0, 1.0],
    ];
    std::array::from_fn(|point| {
        let (down, across) = (&G[point / 6], &G[point % 6]);
        let products = kernel.iter().enumerate().map(|(i, g)| down[i / 3] * f64::from(*g) * across[i % 3]);
        products.sum::<f64>() as f32
    })
}
