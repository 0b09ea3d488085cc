//! What follows a convolution, while its results are at hand.

use super::lanes::Lanes;

/// What becomes of a result.
#[derive(Debug, Clone, PartialEq)]
pub enum Activation {
    /// Nothing.
    None,
    /// What is below zero is multiplied, by output: ONNX's `PRelu`, `LeakyRelu` and `Relu`.
    Slope(Vec<f32>),
    /// y sigmoid(y).
    Silu,
    /// (y + x / 2) tanh(y) with another picture x: SPAN's gates, see the converter of ncnn's networks.
    Gate,
}

/// One vector of results of an output.
///
/// # Safety
/// As [`Lanes`]; slopes are there for the output.
#[inline(always)]
pub unsafe fn activate<L: Lanes>(y: L::V, activation: &Activation, output: usize, beside: L::V) -> L::V {
    // SAFETY: as the caller says.
    unsafe {
        match activation {
            Activation::None => y,
            Activation::Slope(slopes) => {
                let zero = L::splat(0.0);
                // The second of two is taken where one is not a number: so it stays none.
                L::mul_add(L::splat(slopes[output]), L::min(zero, y), L::max(zero, y))
            }
            Activation::Silu => L::mul(y, sigmoid::<L>(y)),
            Activation::Gate => {
                let tanh = L::mul_add(L::splat(2.0), sigmoid::<L>(L::add(y, y)), L::splat(-1.0));
                L::mul(L::mul_add(L::splat(0.5), beside, y), tanh)
            }
        }
    }
}

/// 1 / (1 + exp(-x)), to some 1e-7.
#[inline(always)]
unsafe fn sigmoid<L: Lanes>(x: L::V) -> L::V {
    // SAFETY: as the caller says.
    unsafe {
        // Further out it is 0 or 1.
        let x = L::max(L::min(L::sub(L::splat(0.0), x), L::splat(87.0)), L::splat(-87.0));
        let one = L::splat(1.0);
        L::div(one, L::add(one, exp::<L>(x)))
    }
}

/// exp(x) for x from -87 to 87: two to a whole power, and a polynomial for what is left, of at most ln 2 / 2 (coefficients of the
/// series; the next term is below 2e-8).
#[inline(always)]
unsafe fn exp<L: Lanes>(x: L::V) -> L::V {
    // ln 2 in two parts, the first exact when multiplied by small whole numbers.
    const LN_2_HIGH: f32 = 0.693_359_4;
    const LN_2_LOW: f32 = -2.121_944_4e-4;
    // SAFETY: as the caller says.
    unsafe {
        let power = L::round(L::mul(x, L::splat(std::f32::consts::LOG2_E)));
        let left = L::mul_add(power, L::splat(-LN_2_HIGH), x);
        let left = L::mul_add(power, L::splat(-LN_2_LOW), left);
        let mut sum = L::splat(1.0 / 5040.0);
        for factor in [1.0 / 720.0, 1.0 / 120.0, 1.0 / 24.0, 1.0 / 6.0, 0.5, 1.0, 1.0] {
            sum = L::mul_add(sum, left, L::splat(factor));
        }
        L::scale(sum, power)
    }
}
