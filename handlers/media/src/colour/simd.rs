//! Loops over rows, compiled twice: for any x86-64 (or other) processor, and for one with AVX2.

/// Defines a function whose body is compiled for the baseline and for AVX2, and chosen when it is called.
macro_rules! for_every_row {
    ($(#[$doc:meta])* fn $name:ident($($arg:ident: $ty:ty),* $(,)?) $body:block) => {
        $(#[$doc])*
        #[allow(clippy::too_many_arguments, reason = "rows and factors of one loop")]
        pub(crate) fn $name($($arg: $ty),*) {
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

pub(super) use for_every_row;

for_every_row! {
    /// 8 bit samples as `code * scale + offset`.
    fn load_u8(codes: &[u8], out: &mut [f32], scale: f32, offset: f32) {
        for (o, c) in out.iter_mut().zip(codes) {
            *o = f32::from(*c) * scale + offset;
        }
    }
}

for_every_row! {
    /// Adds bytes to sums.
    fn add_bytes(bytes: &[u8], sums: &mut [u32]) {
        for (sum, byte) in sums.iter_mut().zip(bytes) {
            *sum += u32::from(*byte);
        }
    }
}

for_every_row! {
    /// 16 bit little-endian samples as `code * scale + offset`.
    fn load_u16(bytes: &[u8], out: &mut [f32], scale: f32, offset: f32) {
        for (o, c) in out.iter_mut().zip(bytes.chunks_exact(2)) {
            *o = f32::from(u16::from_le_bytes([c[0], c[1]])) * scale + offset;
        }
    }
}

for_every_row! {
    /// `a * weight_a + b * weight_b`.
    fn blend(a: &[f32], b: &[f32], out: &mut [f32], weight_a: f32, weight_b: f32) {
        for ((o, a), b) in out.iter_mut().zip(a).zip(b) {
            *o = a * weight_a + b * weight_b;
        }
    }
}

for_every_row! {
    /// Doubles a row. `padded` has one sample before and one after those that belong to `out`.
    fn upsample(padded: &[f32], out: &mut [f32], even_before: f32, odd_after: f32) {
        let n = out.len() / 2;
        let (before, here, after) = (&padded[..n], &padded[1..=n], &padded[2..n + 2]);
        for (((o, b), h), a) in out.chunks_exact_mut(2).zip(before).zip(here).zip(after) {
            o[0] = h + (b - h) * even_before;
            o[1] = h + (a - h) * odd_after;
        }
    }
}

for_every_row! {
    /// RGB, clamped to 0..=1, from luma and colour differences; `m` is cr_r, cb_g, cr_g, cb_b.
    fn yuv_to_rgb(y: &[f32], u: &[f32], v: &[f32], r: &mut [f32], g: &mut [f32], b: &mut [f32], m: [f32; 4]) {
        let rows = r.iter_mut().zip(g.iter_mut()).zip(b.iter_mut());
        for ((((r, g), b), y), (u, v)) in rows.zip(y).zip(u.iter().zip(v)) {
            *r = (y + m[0] * v).clamp(0.0, 1.0);
            *g = (y + (m[1] * u + m[2] * v)).clamp(0.0, 1.0);
            *b = (y + m[3] * u).clamp(0.0, 1.0);
        }
    }
}

for_every_row! {
    /// Luma and scaled colour differences from RGB; `k` is kr, kg, kb, and what turns B-Y and R-Y into Cb and Cr.
    fn rgb_to_yuv(r: &[f32], g: &[f32], b: &[f32], y: &mut [f32], u: &mut [f32], v: &mut [f32], k: [f32; 5]) {
        let out = y.iter_mut().zip(u.iter_mut()).zip(v.iter_mut());
        for (((y, u), v), (r, (g, b))) in out.zip(r.iter().zip(g.iter().zip(b))) {
            let (r, g, b) = (r.clamp(0.0, 1.0), g.clamp(0.0, 1.0), b.clamp(0.0, 1.0));
            let luma = k[0] * r + k[1] * g + k[2] * b;
            *y = luma;
            *u = (b - luma) * k[3];
            *v = (r - luma) * k[4];
        }
    }
}

for_every_row! {
    /// Black where alpha is below a value.
    fn hide(alpha: &[f32], y: &mut [f32], u: &mut [f32], v: &mut [f32], below: f32) {
        for (((y, u), v), a) in y.iter_mut().zip(u.iter_mut()).zip(v.iter_mut()).zip(alpha) {
            let seen = if *a < below { 0.0 } else { 1.0 };
            *y *= seen;
            *u *= seen;
            *v *= seen;
        }
    }
}

for_every_row! {
    /// Halves a row for co-sited chroma: 1/4, 1/2, 1/4 around every even sample. `padded` has one sample before and
    /// two after.
    fn downsample(padded: &[f32], out: &mut [f32]) {
        for (o, p) in out.iter_mut().zip(padded.windows(3).step_by(2)) {
            *o = (p[0] + p[2]) * 0.25 + p[1] * 0.5;
        }
    }
}

/// Adding it leaves a float of up to 22 bits as a rounded integer in its lowest bits.
const ROUND: f32 = 8_388_608.0;

for_every_row! {
    /// Codes of 8 bits: `value * scale + offset`, rounded after `dither` (less than half a code) is added.
    fn store_u8(values: &[f32], out: &mut [u8], scale: f32, offset: f32, dither: &[f32]) {
        for ((o, v), d) in out.iter_mut().zip(values).zip(dither) {
            *o = ((v * scale + offset + d).clamp(0.0, 255.0) + ROUND).to_bits() as u8;
        }
    }
}

for_every_row! {
    /// Codes of more bits, little-endian.
    fn store_u16(values: &[f32], out: &mut [u8], scale: f32, offset: f32, max: f32) {
        for (o, v) in out.chunks_exact_mut(2).zip(values) {
            let code = ((v * scale + offset).clamp(0.0, max) + ROUND).to_bits() as u16;
            o.copy_from_slice(&code.to_le_bytes());
        }
    }
}
