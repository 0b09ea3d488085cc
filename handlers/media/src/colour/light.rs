//! Signal to linear light and back, for work that adds pixels up: resampling, blending.
//!
//! SDR is the display's power curve of ITU-R BT.1886, 2.4, whatever its transfer's name: cameras' curves differ in the
//! darkest codes only, and their linear foot would tell apart what a display does not. PQ is SMPTE ST 2084, HLG the
//! scene's light of ITU-R BT.2100. Powers, logarithms and exponentials are polynomials that the compiler makes vectors
//! of, exact to a few millionths, so that there and back is the same code.

use super::simd::for_every_row;
use crate::ColourTags;

/// Turns values of 0..=1 (full scale of the signal) into light of 0..=1 and back, in place.
///
/// Light of 1 is what a signal of 1 means: the display's white, for PQ 10000 cd/m2. Below zero both curves go on
/// mirrored, so that what a resampling filter undershoots is kept; PQ is cut at 1, the others go on. NaN is 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Light(Curve);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Curve {
    Linear,
    Power,
    Pq,
    Hlg,
}

impl Light {
    /// The curve that the tags' transfer names.
    pub fn of(tags: ColourTags) -> Light {
        Light(match tags.transfer {
            8 => Curve::Linear,
            16 => Curve::Pq,
            18 => Curve::Hlg,
            _ => Curve::Power,
        })
    }

    /// Signal to light.
    pub fn to_linear(self, values: &mut [f32]) {
        match self.0 {
            Curve::Linear => {}
            Curve::Power => power_to_linear(values),
            Curve::Pq => pq_to_linear(values),
            Curve::Hlg => hlg_to_linear(values),
        }
    }

    /// Light to signal, the inverse of [`Light::to_linear`].
    pub fn to_signal(self, values: &mut [f32]) {
        match self.0 {
            Curve::Linear => {}
            Curve::Power => power_to_signal(values),
            Curve::Pq => pq_to_signal(values),
            Curve::Hlg => hlg_to_signal(values),
        }
    }
}

/// Exponent of BT.1886.
const GAMMA: f32 = 2.4;
/// Below this a logarithm is not looked at: its powers are nothing.
const DARK: f32 = 1e-30;

for_every_row! {
    fn power_to_linear(values: &mut [f32]) {
        for v in values {
            *v = power(v.abs().max(DARK), GAMMA).copysign(*v);
        }
    }
}

for_every_row! {
    fn power_to_signal(values: &mut [f32]) {
        for v in values {
            *v = power(v.abs().max(DARK), 1.0 / GAMMA).copysign(*v);
        }
    }
}

for_every_row! {
    fn pq_to_linear(values: &mut [f32]) {
        for v in values {
            *v = pq_light(v.abs()).copysign(*v);
        }
    }
}

for_every_row! {
    fn pq_to_signal(values: &mut [f32]) {
        for v in values {
            *v = pq_signal(v.abs()).copysign(*v);
        }
    }
}

for_every_row! {
    fn hlg_to_linear(values: &mut [f32]) {
        for v in values {
            *v = hlg_light(v.abs()).copysign(*v);
        }
    }
}

for_every_row! {
    fn hlg_to_signal(values: &mut [f32]) {
        for v in values {
            *v = hlg_signal(v.abs()).copysign(*v);
        }
    }
}

/// The constants of ST 2084.
const M1: f32 = 0.159_301_76;
const M2: f32 = 78.843_75;
const C1: f32 = 0.835_937_5;
const C2: f32 = 18.851_563;
const C3: f32 = 18.6875;

/// PQ code to light, 1 for 10000 cd/m2.
#[inline(always)]
#[allow(clippy::manual_clamp, reason = "clamp would keep NaN")]
pub(super) fn pq_light(code: f32) -> f32 {
    let p = power(code.max(DARK).min(1.0), 1.0 / M2);
    power(((p - C1) / (C2 - C3 * p)).max(DARK), 1.0 / M1)
}

/// Light to PQ code.
#[inline(always)]
#[allow(clippy::manual_clamp, reason = "clamp would keep NaN")]
pub(super) fn pq_signal(light: f32) -> f32 {
    let p = power(light.max(DARK).min(1.0), M1);
    power((C1 + C2 * p) / (1.0 + C3 * p), M2)
}

/// The constants of HLG.
const A: f32 = 0.178_832_77;
const B: f32 = 0.284_668_92;
const C: f32 = 0.559_910_7;

/// HLG code to the scene's light.
#[inline(always)]
pub(super) fn hlg_light(code: f32) -> f32 {
    let code = code.max(0.0);
    let above = (exp2((code - C) * (std::f32::consts::LOG2_E / A)) + B) / 12.0;
    if code <= 0.5 { code * code / 3.0 } else { above }
}

/// The scene's light to HLG code.
#[inline(always)]
fn hlg_signal(light: f32) -> f32 {
    let light = light.max(0.0);
    let above = A * std::f32::consts::LN_2 * log2((12.0 * light - B).max(DARK)) + C;
    if light <= 1.0 / 12.0 { (3.0 * light).sqrt() } else { above }
}

#[inline(always)]
fn power(x: f32, exponent: f32) -> f32 {
    exp2(log2(x) * exponent)
}

/// Logarithm of a normal positive number, to 1e-7 of the whole plus rounding: exponent, and the series of the inverse
/// hyperbolic tangent for a mantissa of 0.7 to 1.4.
#[inline(always)]
fn log2(x: f32) -> f32 {
    /// Bits of the square root of one half.
    const HALF_ROOT: i32 = 0x3f35_04f3;
    let bits = x.to_bits().cast_signed();
    let exponent = (bits - HALF_ROOT) >> 23;
    let mantissa = f32::from_bits((bits - (exponent << 23)).cast_unsigned());
    let s = (mantissa - 1.0) / (mantissa + 1.0);
    let s2 = s * s;
    let s4 = s2 * s2;
    let series = s * ((2.885_39 + s2 * 0.961_796_7) + s4 * (0.577_078_04 + s2 * 0.412_198_6));
    #[allow(clippy::cast_precision_loss, reason = "at most 8 bits")]
    let whole = exponent as f32;
    whole + series
}

/// Two to the power of `x`, to 2e-7 of the value; -126 below that, 127 above.
#[inline(always)]
fn exp2(x: f32) -> f32 {
    /// Adding it rounds to a whole number, which then stands in the lowest bits.
    const ROUND: f32 = 12_582_912.0;
    let x = x.clamp(-126.0, 127.0);
    let rounded = x + ROUND;
    let f = x - (rounded - ROUND);
    // The Taylor series of e^(f ln 2) for half a unit either way, in pairs that need not wait for one another.
    let (f2, low) = (f * f, 1.0 + f * std::f32::consts::LN_2);
    let (middle, high) = (0.240_226_5 + f * 0.055_504_11, 0.009_618_129 + f * 0.001_333_355_8 + f2 * 0.000_154_035_3);
    let series = low + f2 * (middle + f2 * high);
    series * f32::from_bits((rounded.to_bits() << 23).wrapping_add(0x3f80_0000))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn light(transfer: i32) -> Light {
        Light::of(ColourTags { transfer, ..ColourTags::BT709 })
    }

    /// The curves from their standards, in double precision.
    fn exact(transfer: i32, v: f64) -> f64 {
        match transfer {
            16 => {
                let (m1, m2) = (2610.0 / 16384.0, 2523.0 / 4096.0 * 128.0);
                let (c1, c2, c3) = (3424.0 / 4096.0, 2413.0 / 4096.0 * 32.0, 2392.0 / 4096.0 * 32.0);
                let p = v.powf(1.0 / m2);
                ((p - c1).max(0.0) / (c2 - c3 * p)).powf(1.0 / m1)
            }
            18 if v <= 0.5 => v * v / 3.0,
            18 => {
                let a: f64 = 0.178_832_77;
                let (b, c) = (1.0 - 4.0 * a, 0.5 - a * (4.0 * a).ln());
                (((v - c) / a).exp() + b) / 12.0
            }
            8 => v,
            _ => v.powf(2.4),
        }
    }

    #[test]
    fn light_is_what_the_standards_say_and_comes_back_as_the_same_code() {
        for transfer in [1, 6, 8, 13, 16, 18] {
            let light = light(transfer);
            // Every code of 16 bits.
            let codes: Vec<f32> = (0..=65_535_u16).map(|c| f32::from(c) / 65_535.0).collect();
            let mut values = codes.clone();
            light.to_linear(&mut values);
            for (code, value) in codes.iter().zip(&values) {
                let want = exact(transfer, f64::from(*code));
                let off = (f64::from(*value) - want).abs();
                assert!(off <= 1e-6 + 1e-4 * want, "{transfer} {code}: {value} for {want}");
            }
            light.to_signal(&mut values);
            let worst = codes.iter().zip(&values).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
            assert!(worst <= 2e-5, "{transfer}: {worst}");
        }
    }

    #[test]
    fn values_outside_are_mirrored_kept_or_cut_and_never_lost() {
        for transfer in [1, 16, 18] {
            let mut values = [-0.25_f32, 0.25, 1.1, 0.0, f32::NAN, f32::INFINITY, f32::NEG_INFINITY];
            light(transfer).to_linear(&mut values);
            assert_eq!(values[0], -values[1], "{transfer}");
            assert!(values[3].abs() < 1e-6 && values[4].abs() < 1e-6, "{transfer}: {values:?}");
            assert!(values.iter().all(|v| v.is_finite()), "{transfer}: {values:?}");
            light(transfer).to_signal(&mut values);
            let top = if transfer == 16 { 1.0 } else { 1.1 };
            assert!((values[0] + 0.25).abs() < 1e-4 && (values[2] - top).abs() < 1e-3, "{transfer}: {values:?}");
            assert!(values.iter().all(|v| v.is_finite()), "{transfer}: {values:?}");
        }
    }
}
