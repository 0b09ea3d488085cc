//! HDR to SDR: PQ (SMPTE ST 2084) and HLG (ARIB STD-B67) to BT.709.
//!
//! Light of a display is computed from the code (for HLG with the 1000 cd/m2 system gamma of 1.2), the largest
//! component is rolled off from 1000 to 203 cd/m2 (reference white of ITU-R BT.2408) by the knee of ITU-R BT.2390,
//! all three are scaled alike so that hues hold, BT.2020 primaries become BT.709, and BT.1886 (gamma 2.4) codes it.
//! Light above 1000 cd/m2 is scaled down to that, in its hue: mastering metadata is not read.

use super::light::{hlg_light, pq_light, pq_signal};
use crate::ColourTags;

const PEAK_NITS: f32 = 1000.0;
const WHITE_NITS: f32 = 203.0;
/// BT.2020 to BT.709, linear light (ITU-R BT.2087).
const TO_709: [[f32; 3]; 3] = [
    [1.660_491, -0.587_641_1, -0.072_849_9],
    [-0.124_550_5, 1.132_899_9, -0.008_349_4],
    [-0.018_150_8, -0.100_578_9, 1.118_729_7],
];

/// A function on 0..=1 as a table, read with linear interpolation.
struct Table(Vec<f32>);

impl Table {
    const STEPS: usize = 4096;

    #[allow(clippy::cast_precision_loss, reason = "4096 steps")]
    fn new(f: impl Fn(f32) -> f32) -> Table {
        Table((0..=Table::STEPS).map(|i| f(i as f32 / Table::STEPS as f32)).collect())
    }

    #[allow(clippy::cast_precision_loss, clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "0..=4096")]
    fn at(&self, x: f32) -> f32 {
        let x = x.clamp(0.0, 1.0) * Table::STEPS as f32;
        let i = (x as usize).min(Table::STEPS - 1);
        self.0[i] + (self.0[i + 1] - self.0[i]) * (x - i as f32)
    }
}

/// The mapping for one transfer.
pub(crate) struct ToneMap {
    /// Code to light: of the display in units of the peak (PQ), of the scene (HLG).
    light: Table,
    is_hlg: bool,
    is_wide: bool,
    /// The fourth root of scene luminance to the gain of HLG's system gamma.
    gain: Table,
    /// The fourth root of the largest component to what all are multiplied with.
    knee: Table,
    /// The square root of light to the code: the root spreads the dark end.
    code: Table,
}

impl ToneMap {
    pub(crate) fn new(tags: ColourTags) -> ToneMap {
        let is_hlg = tags.transfer == 18;
        ToneMap {
            light: if is_hlg { Table::new(hlg_light) } else { Table::new(|c| pq_nits(c) / PEAK_NITS) },
            is_hlg,
            is_wide: tags.primaries == 9 || tags.primaries == 2,
            gain: Table::new(|root| root.powi(4).max(1e-6).powf(0.2)),
            knee: Table::new(|root| knee(root.powi(4).max(1e-7))),
            code: Table::new(|root| (root * root).powf(1.0 / 2.4)),
        }
    }

    /// Maps planar RGB in place.
    pub(crate) fn apply(&self, rgb: &mut [f32]) {
        let (r, gb) = rgb.split_at_mut(rgb.len() / 3);
        let (g, b) = gb.split_at_mut(gb.len() / 2);
        for ((r, g), b) in r.iter_mut().zip(g).zip(b) {
            [*r, *g, *b] = self.map([*r, *g, *b]);
        }
    }

    fn map(&self, code: [f32; 3]) -> [f32; 3] {
        let mut light = code.map(|c| self.light.at(c));
        if self.is_hlg {
            let scene = 0.2627 * light[0] + 0.678 * light[1] + 0.0593 * light[2];
            let gain = self.gain.at(scene.sqrt().sqrt());
            light = light.map(|l| l * gain);
        }
        let largest = light[0].max(light[1]).max(light[2]);
        // Above the peak all three come down together: clipped one by one they would turn white or yellow.
        let factor = self.knee.at(largest.min(1.0).sqrt().sqrt()) / largest.max(1.0);
        let light = light.map(|l| l * factor);
        let light =
            if self.is_wide { TO_709.map(|m| m[0] * light[0] + m[1] * light[1] + m[2] * light[2]) } else { light };
        light.map(|l| self.code.at(l.clamp(0.0, 1.0).sqrt()))
    }
}

/// PQ code to cd/m2.
fn pq_nits(code: f32) -> f32 {
    10_000.0 * pq_light(code)
}

/// cd/m2 to PQ code.
fn pq_code(nits: f32) -> f32 {
    pq_signal(nits / 10_000.0)
}

/// What light (in units of the source's peak) is multiplied with to stand in units of SDR white: the knee of BT.2390
/// in PQ codes.
fn knee(light: f32) -> f32 {
    let peak = pq_code(PEAK_NITS);
    let (code, max) = (pq_code(light.min(1.0) * PEAK_NITS) / peak, pq_code(WHITE_NITS) / peak);
    let start = 1.5 * max - 0.5;
    let mapped = if code < start {
        code
    } else {
        let t = (code - start) / (1.0 - start);
        let (t2, t3) = (t * t, t * t * t);
        (2.0 * t3 - 3.0 * t2 + 1.0) * start + (t3 - 2.0 * t2 + t) * (1.0 - start) + (3.0 * t2 - 2.0 * t3) * max
    };
    pq_nits(mapped * peak) / WHITE_NITS / light
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tags(transfer: i32) -> ColourTags {
        ColourTags { matrix: 9, range: 1, primaries: 9, transfer, chroma: 1 }
    }

    #[test]
    fn pq_is_its_own_inverse_and_knows_the_reference_points() {
        for nits in [0.01, 1.0, 100.0, 203.0, 1000.0, 10_000.0] {
            assert!((pq_nits(pq_code(nits)) / nits - 1.0).abs() < 1e-3, "{nits}");
        }
        assert!((pq_code(100.0) - 0.508_1).abs() < 1e-3);
        assert!((hlg_light(0.5) - 1.0 / 12.0).abs() < 1e-6);
        assert!((hlg_light(1.0) - 1.0).abs() < 1e-3);
    }

    #[test]
    fn greys_stay_grey_rise_and_end_at_white() {
        for transfer in [16, 18] {
            let map = ToneMap::new(tags(transfer));
            let mut last = -1.0;
            for step in 0..=20 {
                #[allow(clippy::cast_precision_loss, reason = "20 steps")]
                let code = step as f32 / 20.0;
                let [r, g, b] = map.map([code; 3]);
                assert!((r - g).abs() < 2e-3 && (g - b).abs() < 2e-3, "{transfer} {code}: {r} {g} {b}");
                assert!(r >= last - 1e-4, "{transfer} falls at {code}");
                last = r;
            }
            assert!(last > 0.98, "{transfer} ends at {last}");
            assert!(map.map([0.0; 3])[0] < 0.01);
        }
    }

    #[test]
    fn dark_light_is_left_as_it_is() {
        // 10 cd/m2 lies far below the knee: 10/203 of white, coded with gamma 2.4.
        let map = ToneMap::new(tags(16));
        let expected = (10.0_f32 / 203.0).powf(1.0 / 2.4);
        assert!((map.map([pq_code(10.0); 3])[1] - expected).abs() < 5e-3);
    }
}
