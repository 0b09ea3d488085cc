//! The vector instructions that the method needs, for each set of them that processors have.
#![allow(clippy::undocumented_unsafe_blocks, reason = "all of them rest on what the trait asks of callers")]

#[allow(clippy::wildcard_imports, reason = "intrinsics have names of their own")]
use std::arch::x86_64::*;

/// Vectors of `LANES` numbers.
///
/// # Safety
/// Whoever calls a function makes sure that the processor has the instructions ([`Lanes::are_there`]), and that pointers
/// are valid for as many numbers as the function tells.
pub unsafe trait Lanes {
    /// A vector.
    type V: Copy;
    /// Its numbers.
    const LANES: usize;
    /// Whether the processor has the instructions.
    fn are_there() -> bool;
    /// All the same.
    unsafe fn splat(x: f32) -> Self::V;
    /// From `LANES` numbers.
    unsafe fn load(from: *const f32) -> Self::V;
    /// To `LANES` numbers.
    unsafe fn store(to: *mut f32, v: Self::V);
    /// a + b
    unsafe fn add(a: Self::V, b: Self::V) -> Self::V;
    /// a - b
    unsafe fn sub(a: Self::V, b: Self::V) -> Self::V;
    /// a * b
    unsafe fn mul(a: Self::V, b: Self::V) -> Self::V;
    /// a / b
    unsafe fn div(a: Self::V, b: Self::V) -> Self::V;
    /// The smaller ones.
    unsafe fn min(a: Self::V, b: Self::V) -> Self::V;
    /// The larger ones.
    unsafe fn max(a: Self::V, b: Self::V) -> Self::V;
    /// a * b + c
    unsafe fn mul_add(a: Self::V, b: Self::V, c: Self::V) -> Self::V;
    /// The nearest whole numbers.
    unsafe fn round(a: Self::V) -> Self::V;
    /// a times two to the power of a whole number from -126 to 127.
    unsafe fn scale(a: Self::V, power: Self::V) -> Self::V;
    /// From 4 `LANES` numbers: every fourth from the first on, every fourth from the second on, and so forth.
    unsafe fn deal(from: *const f32) -> [Self::V; 4];
    /// The opposite of [`Lanes::deal`].
    unsafe fn collect(v: [Self::V; 4], to: *mut f32);
}

/// 16 numbers: AVX-512F.
pub struct Avx512;

// SAFETY: each function uses instructions of AVX-512F only, and the memory that the trait tells.
unsafe impl Lanes for Avx512 {
    type V = __m512;
    const LANES: usize = 16;

    fn are_there() -> bool {
        is_x86_feature_detected!("avx512f")
    }

    #[inline(always)]
    unsafe fn splat(x: f32) -> __m512 {
        unsafe { _mm512_set1_ps(x) }
    }

    #[inline(always)]
    unsafe fn load(from: *const f32) -> __m512 {
        unsafe { _mm512_loadu_ps(from) }
    }

    #[inline(always)]
    unsafe fn store(to: *mut f32, v: __m512) {
        unsafe { _mm512_storeu_ps(to, v) }
    }

    #[inline(always)]
    unsafe fn add(a: __m512, b: __m512) -> __m512 {
        unsafe { _mm512_add_ps(a, b) }
    }

    #[inline(always)]
    unsafe fn sub(a: __m512, b: __m512) -> __m512 {
        unsafe { _mm512_sub_ps(a, b) }
    }

    #[inline(always)]
    unsafe fn mul(a: __m512, b: __m512) -> __m512 {
        unsafe { _mm512_mul_ps(a, b) }
    }

    #[inline(always)]
    unsafe fn div(a: __m512, b: __m512) -> __m512 {
        unsafe { _mm512_div_ps(a, b) }
    }

    #[inline(always)]
    unsafe fn min(a: __m512, b: __m512) -> __m512 {
        unsafe { _mm512_min_ps(a, b) }
    }

    #[inline(always)]
    unsafe fn max(a: __m512, b: __m512) -> __m512 {
        unsafe { _mm512_max_ps(a, b) }
    }

    #[inline(always)]
    unsafe fn round(a: __m512) -> __m512 {
        unsafe { _mm512_roundscale_ps::<0>(a) }
    }

    #[inline(always)]
    unsafe fn scale(a: __m512, power: __m512) -> __m512 {
        unsafe { _mm512_scalef_ps(a, power) }
    }

    #[inline(always)]
    unsafe fn mul_add(a: __m512, b: __m512, c: __m512) -> __m512 {
        unsafe { _mm512_fmadd_ps(a, b, c) }
    }

    #[inline(always)]
    unsafe fn deal(from: *const f32) -> [__m512; 4] {
        unsafe {
            let [a, b, c, d] = [0, 16, 32, 48].map(|at| _mm512_loadu_ps(from.add(at)));
            let even = _mm512_setr_epi32(0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30);
            let odd = _mm512_setr_epi32(1, 3, 5, 7, 9, 11, 13, 15, 17, 19, 21, 23, 25, 27, 29, 31);
            let (even_ab, even_cd) = (_mm512_permutex2var_ps(a, even, b), _mm512_permutex2var_ps(c, even, d));
            let (odd_ab, odd_cd) = (_mm512_permutex2var_ps(a, odd, b), _mm512_permutex2var_ps(c, odd, d));
            [
                _mm512_permutex2var_ps(even_ab, even, even_cd),
                _mm512_permutex2var_ps(odd_ab, even, odd_cd),
                _mm512_permutex2var_ps(even_ab, odd, even_cd),
                _mm512_permutex2var_ps(odd_ab, odd, odd_cd),
            ]
        }
    }

    #[inline(always)]
    unsafe fn collect(v: [__m512; 4], to: *mut f32) {
        unsafe {
            let low = _mm512_setr_epi32(0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23);
            let high = _mm512_setr_epi32(8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31);
            let (even_low, even_high) =
                (_mm512_permutex2var_ps(v[0], low, v[2]), _mm512_permutex2var_ps(v[0], high, v[2]));
            let (odd_low, odd_high) =
                (_mm512_permutex2var_ps(v[1], low, v[3]), _mm512_permutex2var_ps(v[1], high, v[3]));
            _mm512_storeu_ps(to, _mm512_permutex2var_ps(even_low, low, odd_low));
            _mm512_storeu_ps(to.add(16), _mm512_permutex2var_ps(even_low, high, odd_low));
            _mm512_storeu_ps(to.add(32), _mm512_permutex2var_ps(even_high, low, odd_high));
            _mm512_storeu_ps(to.add(48), _mm512_permutex2var_ps(even_high, high, odd_high));
        }
    }
}

/// 8 numbers: AVX2 with FMA.
pub struct Avx2;

impl Avx2 {
    /// Of four vectors: the first halves of each four numbers as rows of a square become its columns.
    #[inline(always)]
    unsafe fn turn([a, b, c, d]: [__m256; 4]) -> [__m256; 4] {
        unsafe {
            let (ab_low, ab_high) = (_mm256_unpacklo_ps(a, b), _mm256_unpackhi_ps(a, b));
            let (cd_low, cd_high) = (_mm256_unpacklo_ps(c, d), _mm256_unpackhi_ps(c, d));
            [
                _mm256_shuffle_ps::<0x44>(ab_low, cd_low),
                _mm256_shuffle_ps::<0xEE>(ab_low, cd_low),
                _mm256_shuffle_ps::<0x44>(ab_high, cd_high),
                _mm256_shuffle_ps::<0xEE>(ab_high, cd_high),
            ]
        }
    }
}

// SAFETY: each function uses instructions of AVX2 and FMA only, and the memory that the trait tells.
unsafe impl Lanes for Avx2 {
    type V = __m256;
    const LANES: usize = 8;

    fn are_there() -> bool {
        is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma")
    }

    #[inline(always)]
    unsafe fn splat(x: f32) -> __m256 {
        unsafe { _mm256_set1_ps(x) }
    }

    #[inline(always)]
    unsafe fn load(from: *const f32) -> __m256 {
        unsafe { _mm256_loadu_ps(from) }
    }

    #[inline(always)]
    unsafe fn store(to: *mut f32, v: __m256) {
        unsafe { _mm256_storeu_ps(to, v) }
    }

    #[inline(always)]
    unsafe fn add(a: __m256, b: __m256) -> __m256 {
        unsafe { _mm256_add_ps(a, b) }
    }

    #[inline(always)]
    unsafe fn sub(a: __m256, b: __m256) -> __m256 {
        unsafe { _mm256_sub_ps(a, b) }
    }

    #[inline(always)]
    unsafe fn mul(a: __m256, b: __m256) -> __m256 {
        unsafe { _mm256_mul_ps(a, b) }
    }

    #[inline(always)]
    unsafe fn div(a: __m256, b: __m256) -> __m256 {
        unsafe { _mm256_div_ps(a, b) }
    }

    #[inline(always)]
    unsafe fn min(a: __m256, b: __m256) -> __m256 {
        unsafe { _mm256_min_ps(a, b) }
    }

    #[inline(always)]
    unsafe fn max(a: __m256, b: __m256) -> __m256 {
        unsafe { _mm256_max_ps(a, b) }
    }

    #[inline(always)]
    unsafe fn round(a: __m256) -> __m256 {
        unsafe { _mm256_round_ps::<{ _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC }>(a) }
    }

    #[inline(always)]
    unsafe fn scale(a: __m256, power: __m256) -> __m256 {
        unsafe {
            // A number's exponent begins at its 23rd bit.
            let exponent = _mm256_add_epi32(_mm256_cvtps_epi32(power), _mm256_set1_epi32(127));
            _mm256_mul_ps(a, _mm256_castsi256_ps(_mm256_slli_epi32::<23>(exponent)))
        }
    }

    #[inline(always)]
    unsafe fn mul_add(a: __m256, b: __m256, c: __m256) -> __m256 {
        unsafe { _mm256_fmadd_ps(a, b, c) }
    }

    #[inline(always)]
    unsafe fn deal(from: *const f32) -> [__m256; 4] {
        unsafe {
            let rows = [0, 4, 8, 12].map(|at| _mm256_loadu2_m128(from.add(at + 16), from.add(at)));
            Avx2::turn(rows)
        }
    }

    #[inline(always)]
    unsafe fn collect(v: [__m256; 4], to: *mut f32) {
        unsafe {
            for (at, row) in [0, 4, 8, 12].into_iter().zip(Avx2::turn(v)) {
                _mm256_storeu2_m128(to.add(at + 16), to.add(at), row);
            }
        }
    }
}
