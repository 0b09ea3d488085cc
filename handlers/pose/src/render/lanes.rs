//! Eight samples at once: registers of AVX2, or arrays on other processors, with the same results to the bit.
//!
//! Compilers do not make vectors of a depth test by themselves, so these few operations are spelled out.

/// Numbers worked on at once.
pub(super) const LANES: usize = 8;

/// Eight numbers.
pub(super) trait Lanes: Copy {
    fn load(values: &[f32; LANES]) -> Self;
    fn splat(value: f32) -> Self;
    fn add(self, other: Self) -> Self;
    fn mul(self, other: Self) -> Self;
    /// Each at least and at most the others' numbers.
    fn between(self, low: Self, high: Self) -> Self;
    /// Where each of `edges` is at least its `least` and `depth` is greater than what stands in `depths`: puts `depth`
    /// and `id` there.
    fn put(depth: Self, id: u32, edges: [Self; 3], least: [Self; 3], depths: &mut [f32; LANES], ids: &mut [u32; LANES]);
}

impl Lanes for [f32; LANES] {
    #[inline(always)]
    fn load(values: &[f32; LANES]) -> Self {
        *values
    }
    #[inline(always)]
    fn splat(value: f32) -> Self {
        [value; LANES]
    }
    #[inline(always)]
    fn add(self, other: Self) -> Self {
        std::array::from_fn(|i| self[i] + other[i])
    }
    #[inline(always)]
    fn mul(self, other: Self) -> Self {
        std::array::from_fn(|i| self[i] * other[i])
    }
    #[inline(always)]
    fn between(self, low: Self, high: Self) -> Self {
        std::array::from_fn(|i| self[i].max(low[i]).min(high[i]))
    }
    #[inline(always)]
    fn put(
        depth: Self,
        id: u32,
        edges: [Self; 3],
        least: [Self; 3],
        depths: &mut [f32; LANES],
        ids: &mut [u32; LANES],
    ) {
        for i in 0..LANES {
            let inside = (0..3).all(|edge| edges[edge][i] >= least[edge][i]);
            if inside && depth[i] > depths[i] {
                (depths[i], ids[i]) = (depth[i], id);
            }
        }
    }
}

#[cfg(target_arch = "x86_64")]
pub(super) use avx2::Avx2;

#[cfg(target_arch = "x86_64")]
mod avx2 {
    use std::arch::x86_64::*;

    use super::{LANES, Lanes};

    /// A register. Made and used only in functions that are called where the processor has AVX2.
    #[derive(Clone, Copy)]
    pub(in super::super) struct Avx2(__m256);

    impl Lanes for Avx2 {
        #[inline(always)]
        fn load(values: &[f32; LANES]) -> Self {
            // SAFETY: reads the eight numbers of the array, at any alignment; the processor has AVX2.
            Avx2(unsafe { _mm256_loadu_ps(values.as_ptr()) })
        }
        #[inline(always)]
        fn splat(value: f32) -> Self {
            // SAFETY: the processor has AVX2.
            Avx2(unsafe { _mm256_set1_ps(value) })
        }
        #[inline(always)]
        fn add(self, other: Self) -> Self {
            // SAFETY: the processor has AVX2.
            Avx2(unsafe { _mm256_add_ps(self.0, other.0) })
        }
        #[inline(always)]
        fn mul(self, other: Self) -> Self {
            // SAFETY: the processor has AVX2.
            Avx2(unsafe { _mm256_mul_ps(self.0, other.0) })
        }
        #[inline(always)]
        fn between(self, low: Self, high: Self) -> Self {
            // SAFETY: the processor has AVX2.
            Avx2(unsafe { _mm256_min_ps(_mm256_max_ps(self.0, low.0), high.0) })
        }
        #[inline(always)]
        fn put(
            depth: Self,
            id: u32,
            edges: [Self; 3],
            least: [Self; 3],
            depths: &mut [f32; LANES],
            ids: &mut [u32; LANES],
        ) {
            // SAFETY: reads and writes the eight numbers of each array, at any alignment; the processor has AVX2.
            unsafe {
                let inside = |i: usize| _mm256_cmp_ps::<_CMP_GE_OQ>(edges[i].0, least[i].0);
                let before = _mm256_loadu_ps(depths.as_ptr());
                let nearer = _mm256_cmp_ps::<_CMP_GT_OQ>(depth.0, before);
                let put = _mm256_and_ps(_mm256_and_ps(inside(0), inside(1)), _mm256_and_ps(inside(2), nearer));
                if _mm256_testz_ps(put, put) == 0 {
                    let mask = _mm256_castps_si256(put);
                    _mm256_maskstore_ps(depths.as_mut_ptr(), mask, depth.0);
                    _mm256_maskstore_epi32(ids.as_mut_ptr().cast(), mask, _mm256_set1_epi32(id.cast_signed()));
                }
            }
        }
    }
}

#[cfg(all(test, target_arch = "x86_64"))]
mod tests {
    use super::*;

    #[test]
    fn registers_do_to_the_bit_what_arrays_do() {
        if !std::arch::is_x86_feature_detected!("avx2") {
            return;
        }
        fn run<L: Lanes>(round: u32) -> ([f32; LANES], [u32; LANES]) {
            let numbers = |salt: u32| -> [f32; LANES] {
                std::array::from_fn(|i| {
                    let bits = (round * 131 + salt * 17 + i as u32).wrapping_mul(0x9e37_79b9) >> 8;
                    let special = [0.0, -0.0, f32::from_bits(1), f32::NAN];
                    special.get(bits as usize % 20).copied().unwrap_or(bits as f32 * 1e-6 - 8.0)
                })
            };
            let lanes = |salt| L::load(&numbers(salt)).mul(L::splat(1.5)).add(L::load(&numbers(salt + 1)));
            let depth = lanes(0).between(L::splat(0.25), L::splat(4.0));
            let least = [L::splat(0.0), L::splat(f32::from_bits(1)), L::splat(0.0)];
            let (mut depths, mut ids) = ([0.5; LANES], [9; LANES]);
            L::put(depth, 4, [lanes(3), lanes(5), lanes(7)], least, &mut depths, &mut ids);
            (depths, ids)
        }
        let mut put = 0;
        for round in 0..4000 {
            let (arrays, registers) = (run::<[f32; LANES]>(round), run::<Avx2>(round));
            assert_eq!((arrays.0.map(f32::to_bits), arrays.1), (registers.0.map(f32::to_bits), registers.1), "{round}");
            put += arrays.1.iter().filter(|id| **id == 4).count();
        }
        assert!(put > 100, "{put}");
    }
}
