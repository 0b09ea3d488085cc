//! Loops over rows, for any processor and for one with AVX2.

/// Samples that must exist beyond the end of a row for [`enlarge`].
pub const BEYOND: usize = 9;
/// Slopes and offsets of red, green, blue and alpha.
const COEFFICIENTS: usize = 8;

/// Each sample between `row[index]` and the next, `weight` of the way. Indices rise by at most one from each to the next.
pub fn enlarge(row: &[f32], index: &[u32], weight: &[f32], out: &mut [f32]) {
    #[cfg(target_arch = "x86_64")]
    if std::arch::is_x86_feature_detected!("avx2") {
        // SAFETY: the processor has AVX2, as was just asked.
        return unsafe { enlarge_avx2(row, index, weight, out) };
    }
    enlarge_any(row, index, weight, out);
}

fn enlarge_any(row: &[f32], index: &[u32], weight: &[f32], out: &mut [f32]) {
    for ((out, index), weight) in out.iter_mut().zip(index).zip(weight) {
        let (left, right) = (row[*index as usize], row[*index as usize + 1]);
        *out = left + (right - left) * weight;
    }
}

/// Eight samples at a time: as they are enlarged, they lie within eight neighbours, which one permutation puts in place.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
fn enlarge_avx2(row: &[f32], index: &[u32], weight: &[f32], out: &mut [f32]) {
    use std::arch::x86_64::{
        __m256i, _mm256_add_ps, _mm256_loadu_ps, _mm256_loadu_si256, _mm256_mul_ps, _mm256_permutevar8x32_ps,
        _mm256_set1_epi32, _mm256_storeu_ps, _mm256_sub_epi32, _mm256_sub_ps,
    };
    const LANES: usize = 8;
    let count = out.len().min(index.len()).min(weight.len());
    let whole = count / LANES * LANES;
    for x in (0..whole).step_by(LANES) {
        let first = index[x] as usize;
        // The bound of the reads below, checked once for eight samples.
        let near = &row[first..first + LANES + 1];
        // SAFETY: `near` has nine samples, of which eight are read from its first and from its second; `index`, `weight` and
        // `out` have at least `whole` elements, of which eight are read or written from `x` on.
        unsafe {
            let places = _mm256_loadu_si256(index.as_ptr().add(x).cast::<__m256i>());
            let places = _mm256_sub_epi32(places, _mm256_set1_epi32(index[x].cast_signed()));
            let left = _mm256_permutevar8x32_ps(_mm256_loadu_ps(near.as_ptr()), places);
            let right = _mm256_permutevar8x32_ps(_mm256_loadu_ps(near.as_ptr().add(1)), places);
            let along = _mm256_mul_ps(_mm256_sub_ps(right, left), _mm256_loadu_ps(weight.as_ptr().add(x)));
            _mm256_storeu_ps(out.as_mut_ptr().add(x), _mm256_add_ps(left, along));
        }
    }
    enlarge_any(row, &index[whole..count], &weight[whole..count], &mut out[whole..count]);
}

/// `clamp(colour * slope + offset + colour)` in the place of red, green and blue, and `clamp(grey * slope + offset)` as
/// alpha, where grey is their mean. Slopes and offsets, plane after plane, lie between those `above` and those `below`,
/// `weight` of the way.
#[allow(clippy::too_many_arguments, reason = "rows of a frame")]
pub fn apply(
    above: &[f32],
    below: &[f32],
    weight: f32,
    r: &mut [f32],
    g: &mut [f32],
    b: &mut [f32],
    alpha: &mut [f32],
) {
    #[cfg(target_arch = "x86_64")]
    {
        #[target_feature(enable = "avx2")]
        fn avx2(above: &[f32], below: &[f32], weight: f32, colour: [&mut [f32]; 3], alpha: &mut [f32]) {
            apply_any(above, below, weight, colour, alpha);
        }
        if std::arch::is_x86_feature_detected!("avx2") {
            // SAFETY: the processor has AVX2, as was just asked.
            return unsafe { avx2(above, below, weight, [r, g, b], alpha) };
        }
    }
    apply_any(above, below, weight, [r, g, b], alpha);
}

#[inline(always)]
fn apply_any(above: &[f32], below: &[f32], weight: f32, [r, g, b]: [&mut [f32]; 3], alpha: &mut [f32]) {
    let width = alpha.len();
    debug_assert_eq!((above.len(), below.len()), (COEFFICIENTS * width, COEFFICIENTS * width));
    let plane = |index: usize| {
        let range = index * width..(index + 1) * width;
        (&above[range.clone()], &below[range])
    };
    let at = |(above, below): (&[f32], &[f32]), x: usize| above[x] + (below[x] - above[x]) * weight;
    // Two passes: one over all sixteen rows has more addresses than a processor has registers.
    let [slope_a, offset_a] = [3, 7].map(plane);
    let (r, g, b) = (&mut r[..width], &mut g[..width], &mut b[..width]);
    for x in 0..width {
        alpha[x] = ((r[x] + g[x] + b[x]) / 3.0 * at(slope_a, x) + at(offset_a, x)).clamp(0.0, 1.0);
    }
    for (index, colour) in [r, g, b].into_iter().enumerate() {
        let (slope, offset) = (plane(index), plane(index + 4));
        for (x, colour) in colour.iter_mut().enumerate() {
            *colour = (*colour * at(slope, x) + at(offset, x) + *colour).clamp(0.0, 1.0);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_ways_of_enlarging_agree_to_the_bit() {
        for (from, to) in [(1, 1), (7, 7), (9, 40), (100, 333), (64, 65)] {
            let mut row: Vec<f32> = (0..from).map(|i| ((i * 37 % 11) as f32).sin()).collect();
            row.resize(from + BEYOND, row[from - 1]);
            let place = |x: usize| ((x as f32 + 0.5) * from as f32 / to as f32 - 0.5).clamp(0.0, (from - 1) as f32);
            let index: Vec<u32> = (0..to).map(|x| place(x) as u32).collect();
            let weight: Vec<f32> = (0..to).map(|x| place(x).fract()).collect();
            let (mut any, mut fast) = (vec![0.0; to], vec![0.0; to]);
            enlarge_any(&row, &index, &weight, &mut any);
            enlarge(&row, &index, &weight, &mut fast);
            assert_eq!(any, fast, "{from} to {to}");
            assert!((any[0] - row[0]).abs() < 1e-6 && (any[to - 1] - row[from - 1]).abs() < 1e-6, "edges hold");
        }
    }
}
