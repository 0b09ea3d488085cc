//! Loops over lanes and rows, compiled twice: for any processor, and for an x86-64 one with AVX2.

/// Defines a function whose body is compiled for the baseline and for AVX2, and chosen when it is called. What the body
/// calls in its loops must be `#[inline(always)]` to gain from it.
macro_rules! vectorised {
    ($(#[$doc:meta])* $vis:vis fn $name:ident($($arg:ident: $ty:ty),* $(,)?) $body:block) => {
        $(#[$doc])*
        #[allow(clippy::too_many_arguments, reason = "rows and factors of one loop")]
        $vis fn $name($($arg: $ty),*) {
            #[inline(always)]
            #[allow(clippy::too_many_arguments, reason = "rows and factors of one loop")]
            fn body($($arg: $ty),*) $body

            #[cfg(target_arch = "x86_64")]
            {
                #[target_feature(enable = "avx2")]
                #[allow(clippy::too_many_arguments, reason = "rows and factors of one loop")]
                fn avx2($($arg: $ty),*) {
                    body($($arg),*);
                }
                if std::arch::is_x86_feature_detected!("avx2") {
                    // SAFETY: the processor has AVX2, as was just asked.
                    return unsafe { avx2($($arg),*) };
                }
            }
            body($($arg),*);
        }
    };
}

pub(super) use vectorised;

/// Adding it leaves a float of up to 22 bits as a rounded integer in its lowest bits: vectors have no saturating cast.
pub(super) const ROUND: f32 = 8_388_608.0;

/// At least 0 and at most 1; 0 for what is no number.
#[inline(always)]
#[allow(clippy::manual_clamp, reason = "clamp would keep NaN")]
pub(super) fn unit(value: f32) -> f32 {
    value.max(0.0).min(1.0)
}
