//! Values between four neighbours, eight at a time where the processor has AVX2: crops of people are made of them.

/// What is interpolated.
#[derive(Clone, Copy)]
pub(super) enum Source<'a> {
    /// Samples of one byte, one after another.
    Bytes(&'a [u8]),
    /// Means.
    Floats(&'a [f32]),
}

/// Values on a straight line through a source.
#[derive(Clone, Copy)]
pub(super) struct Line<'a> {
    pub source: Source<'a>,
    /// Values from one row of the source to the next.
    pub stride: usize,
    /// Last column and row that have a neighbour to their right and below.
    pub last: [usize; 2],
    /// Place of the first value, and from each to the next: column and row.
    pub start: [f32; 2],
    pub step: [f32; 2],
    /// A value is `stored * scale + offset`.
    pub scale: f32,
    pub offset: f32,
}

impl Line<'_> {
    /// Writes the first values, all of which have four neighbours in the source; tells how many: the rest is left to others.
    #[cfg_attr(not(target_arch = "x86_64"), allow(unused_variables, reason = "there only the caller interpolates"))]
    pub fn fill(&self, out: &mut [f32]) -> usize {
        #[cfg(target_arch = "x86_64")]
        if self.is_safe() && std::arch::is_x86_feature_detected!("avx2") && std::arch::is_x86_feature_detected!("fma") {
            // SAFETY: the processor has both, as was just asked, and the source has all that `last` allows to be read.
            return unsafe { wide::fill(self, out) };
        }
        0
    }

    /// Whether the source reaches as far as `last` says, and all its places are numbers of 31 bits.
    #[cfg(target_arch = "x86_64")]
    fn is_safe(&self) -> bool {
        let length = match self.source {
            Source::Bytes(bytes) => bytes.len(),
            Source::Floats(floats) => floats.len(),
        };
        let end = (self.last[1] + 1).checked_mul(self.stride).and_then(|start| start.checked_add(self.last[0] + 2));
        length >= 4 && i32::try_from(length).is_ok() && end.is_some_and(|end| end <= length)
    }
}

#[cfg(target_arch = "x86_64")]
mod wide {
    use std::arch::x86_64::*;

    use super::{Line, Source};

    /// # Safety
    /// Needs AVX2 and FMA, and a line that is safe.
    #[target_feature(enable = "avx2,fma")]
    #[allow(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_possible_wrap,
        reason = "31 bits"
    )]
    pub(super) unsafe fn fill(line: &Line<'_>, out: &mut [f32]) -> usize {
        let all = |value: f32| _mm256_set1_ps(value);
        let lanes = _mm256_setr_ps(0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0);
        let (scale, offset) = (all(line.scale), all(line.offset));
        let stride = _mm256_set1_epi32(line.stride as i32);
        for (index, eight) in out.as_chunks_mut::<8>().0.iter_mut().enumerate() {
            let count = _mm256_add_ps(lanes, all(8.0 * index as f32));
            let axis = |axis: usize| {
                let place = _mm256_fmadd_ps(count, all(line.step[axis]), all(line.start[axis]));
                let last = _mm256_set1_epi32(line.last[axis] as i32);
                // Never outside, whatever the places are; they are rounded.
                let cell = _mm256_max_epi32(_mm256_min_epi32(_mm256_cvttps_epi32(place), last), _mm256_setzero_si256());
                (cell, _mm256_sub_ps(place, _mm256_cvtepi32_ps(cell)))
            };
            let ((left, x), (top, y)) = (axis(0), axis(1));
            let upper = _mm256_add_epi32(_mm256_mullo_epi32(top, stride), left);
            let lower = _mm256_add_epi32(upper, stride);
            // SAFETY: rows and columns are at most the last ones, and those are in the source.
            let ([a, b], [c, d]) = unsafe { (pairs(line.source, upper), pairs(line.source, lower)) };
            let (upper, lower) = (between(a, b, x), between(c, d, x));
            let value = _mm256_fmadd_ps(between(upper, lower, y), scale, offset);
            // SAFETY: eight floats have room for eight.
            unsafe { _mm256_storeu_ps(eight.as_mut_ptr(), value) };
        }
        out.len() / 8 * 8
    }

    #[target_feature(enable = "avx2,fma")]
    fn between(a: __m256, b: __m256, share: __m256) -> __m256 {
        _mm256_fmadd_ps(_mm256_sub_ps(b, a), share, a)
    }

    /// The values at eight places, and those to their right.
    ///
    /// # Safety
    /// Needs AVX2; the source has more than three values, and at each place one and another to its right.
    #[target_feature(enable = "avx2,fma")]
    #[allow(clippy::cast_possible_truncation, clippy::cast_possible_wrap, reason = "31 bits")]
    unsafe fn pairs(source: Source<'_>, at: __m256i) -> [__m256; 2] {
        match source {
            Source::Bytes(bytes) => {
                // Four bytes are read at once: at the very end they begin earlier.
                let begin = _mm256_min_epi32(at, _mm256_set1_epi32(bytes.len() as i32 - 4));
                // SAFETY: four bytes before the end at the latest.
                let four = unsafe { _mm256_i32gather_epi32::<1>(bytes.as_ptr().cast(), begin) };
                let two = _mm256_srlv_epi32(four, _mm256_slli_epi32::<3>(_mm256_sub_epi32(at, begin)));
                let byte = _mm256_set1_epi32(255);
                [two, _mm256_srli_epi32::<8>(two)].map(|value| _mm256_cvtepi32_ps(_mm256_and_si256(value, byte)))
            }
            Source::Floats(floats) => {
                let right = _mm256_add_epi32(at, _mm256_set1_epi32(1));
                // SAFETY: the caller says that these are there.
                unsafe { [at, right].map(|at| _mm256_i32gather_ps::<4>(floats.as_ptr(), at)) }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_those_of_the_definition_up_to_the_last_sample() {
        let bytes: Vec<u8> = (0..7 * 5).map(|i: u32| (i * i % 251) as u8).collect();
        let floats: Vec<f32> = bytes.iter().map(|byte| f32::from(*byte)).collect();
        for source in [Source::Bytes(&bytes), Source::Floats(&floats)] {
            for (start, step) in [([0.1, 0.2], [0.3, 0.2]), ([5.9, 3.9], [-0.3, -0.2]), ([5.99, 3.99], [0.0; 2])] {
                let (last, scale, offset) = ([5, 3], 0.5, -1.0);
                let line = Line { source, stride: 7, last, start, step, scale, offset };
                let mut out = [f32::NAN; 19];
                let done = line.fill(&mut out);
                assert!(done == 16 || done == 0, "no processor with AVX2");
                for (index, value) in out[..done].iter().enumerate() {
                    let [x, y] = [0, 1].map(|axis| start[axis] + index as f32 * step[axis]);
                    let (left, top) = (x as usize, y as usize);
                    let at = |dx: usize, dy: usize| floats[(top + dy) * 7 + left + dx];
                    let (fx, fy) = (x - left as f32, y - top as f32);
                    let row = |dy| at(0, dy) * (1.0 - fx) + at(1, dy) * fx;
                    let wanted = (row(0) * (1.0 - fy) + row(1) * fy) * scale + offset;
                    assert!((value - wanted).abs() < 1e-3, "{index}: {value} {wanted}");
                }
            }
            // A source that ends too early is not read.
            let short =
                Line { source, stride: 7, last: [6, 3], start: [0.0; 2], step: [0.0; 2], scale: 1.0, offset: 0.0 };
            assert_eq!(short.fill(&mut [0.0; 8]), 0);
        }
    }
}
