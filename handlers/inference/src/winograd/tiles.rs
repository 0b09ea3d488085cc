//! From the planes of a picture's channels to those of the result, some tiles at a time.

use super::activation::{Activation, activate};
use super::lanes::Lanes;
use super::weights::{GROUP, Weights};
use super::{IN, OUT, POINTS};

/// Vectors of tiles that are worked on at once: with [`GROUP`] outputs their sums stay in registers.
pub const VECTORS: usize = 2;
/// Numbers that lists of points are apart beyond their length: at a power of two they would share the lines of the cache.
const APART: usize = 16;

/// Height and width.
pub type Size = (usize, usize);

/// A picture that goes through.
#[derive(Clone, Copy)]
pub struct Picture<'a> {
    /// Its planes, one for each input.
    pub planes: &'a [f32],
    /// Planes of the result's kind for [`Activation::Gate`], else none.
    pub beside: &'a [f32],
    /// Of all planes.
    pub size: Size,
}

/// What one thread computes with.
#[derive(Default)]
pub struct Desk {
    /// Rows of the picture, and those rows mixed.
    rows: Vec<f32>,
    /// Tiles as points: by point, by input, by tile.
    points: Vec<f32>,
    /// Sums: by output, by point, by tile.
    sums: Vec<f32>,
}

/// A picture whose parts are written by several threads.
pub struct Planes(pub *mut f32);

// SAFETY: each thread writes other tiles.
unsafe impl Sync for Planes {}

/// How many times `VECTORS` vectors of tiles a picture has.
pub fn blocks<L: Lanes>((height, width): Size) -> usize {
    (height.div_ceil(OUT) * width.div_ceil(L::LANES * OUT)).div_ceil(VECTORS)
}

/// One column of Bᵀ d.
#[inline(always)]
unsafe fn into_points<L: Lanes>(d: [L::V; IN]) -> [L::V; IN] {
    // SAFETY: as the caller says.
    unsafe {
        let [two, minus_two, four, minus_four, minus_five] = [2.0, -2.0, 4.0, -4.0, -5.0].map(|x| L::splat(x));
        let (a, b) = (L::mul_add(minus_four, d[2], d[4]), L::mul_add(minus_four, d[1], d[3]));
        let (c, e) = (L::sub(d[4], d[2]), L::sub(d[3], d[1]));
        [
            L::mul_add(four, d[0], L::mul_add(minus_five, d[2], d[4])),
            L::add(a, b),
            L::sub(a, b),
            L::mul_add(two, e, c),
            L::mul_add(minus_two, e, c),
            L::mul_add(four, d[1], L::mul_add(minus_five, d[3], d[5])),
        ]
    }
}

/// One column of Aᵀ m.
#[inline(always)]
unsafe fn from_points<L: Lanes>(m: [L::V; IN]) -> [L::V; OUT] {
    // SAFETY: as the caller says.
    unsafe {
        let (p, q) = (L::add(m[1], m[2]), L::sub(m[1], m[2]));
        let (r, s) = (L::add(m[3], m[4]), L::sub(m[3], m[4]));
        [
            L::add(m[0], L::add(p, r)),
            L::mul_add(L::splat(2.0), s, q),
            L::mul_add(L::splat(4.0), r, p),
            L::add(L::mul_add(L::splat(8.0), s, q), m[5]),
        ]
    }
}

/// One block of a picture.
///
/// # Safety
/// The processor has the instructions. `picture` has as many planes as it must, `result` points to `outputs` of them, and
/// nobody else reads or writes the block's part of it meanwhile.
#[inline(always)]
pub unsafe fn convolve<L: Lanes>(
    weights: &Weights,
    picture: Picture<'_>,
    block: usize,
    result: *mut f32,
    desk: &mut Desk,
) {
    let (tiles, size) = (VECTORS * L::LANES, picture.size);
    let step = weights.inputs * tiles + APART;
    desk.rows.resize(2 * IN * row_length::<L>(), 0.0);
    desk.points.resize(POINTS * step, 0.0);
    desk.sums.resize(weights.groups() * GROUP * POINTS * tiles, 0.0);
    let across = size.1.div_ceil(L::LANES * OUT);
    let all = size.0.div_ceil(OUT) * across;
    let places: [Option<(usize, usize)>; VECTORS] = std::array::from_fn(|vector| {
        let index = block * VECTORS + vector;
        (index < all).then(|| (index / across * OUT, index % across * L::LANES * OUT))
    });
    // SAFETY: as the caller says; the desk's lists were made as long as the functions need.
    unsafe {
        for (vector, place) in places.iter().enumerate() {
            let Some(place) = *place else { continue };
            for (input, plane) in picture.planes.chunks_exact(size.0 * size.1).enumerate() {
                read::<L>(plane, size, place, &mut desk.rows);
                let to = desk.points.as_mut_ptr().add(input * tiles + vector * L::LANES);
                mix::<L>(&mut desk.rows, to, step);
            }
        }
        for point in 0..POINTS {
            multiply::<L>(weights, point, desk.points.as_ptr().add(point * step), &mut desk.sums);
        }
        for (vector, place) in places.iter().enumerate() {
            let Some(place) = *place else { continue };
            for output in 0..weights.outputs {
                let sums = desk.sums.as_ptr().add(output * POINTS * tiles + vector * L::LANES);
                write::<L>(sums, weights, output, picture, result, place);
            }
        }
    }
}

/// Numbers of a row of `rows`: what a vector of tiles reads, and what is loaded beyond.
const fn row_length<L: Lanes>() -> usize {
    L::LANES * OUT + L::LANES
}

/// The rows that a vector of tiles reads, zeros around the picture.
fn read<L: Lanes>(plane: &[f32], (height, width): Size, (top, left): (usize, usize), rows: &mut [f32]) {
    let wanted = L::LANES * OUT + 2;
    for (row, line) in rows.chunks_exact_mut(row_length::<L>()).take(IN).enumerate() {
        let line = &mut line[..wanted];
        // The first row is that above the tiles.
        let Some(y) = (top + row).checked_sub(1).filter(|y| *y < height) else {
            line.fill(0.0);
            continue;
        };
        let source = &plane[y * width..][..width];
        if left > 0 && left + wanted - 1 <= width {
            line.copy_from_slice(&source[left - 1..left + wanted - 1]);
            continue;
        }
        let before = usize::from(left == 0);
        let from = left + before - 1;
        let there = (width - from).min(wanted - before);
        line[..before].fill(0.0);
        line[before..before + there].copy_from_slice(&source[from..from + there]);
        line[before + there..].fill(0.0);
    }
}

/// Bᵀ d B of a vector of tiles, one number of each point `step` after that of the one before.
#[inline(always)]
unsafe fn mix<L: Lanes>(rows: &mut [f32], to: *mut f32, step: usize) {
    let length = row_length::<L>();
    let (rows, mixed) = rows.split_at_mut(IN * length);
    // SAFETY: as the caller says.
    unsafe {
        for at in (0..length).step_by(L::LANES) {
            let column = into_points::<L>(std::array::from_fn(|row| L::load(rows.as_ptr().add(row * length + at))));
            for (row, v) in column.into_iter().enumerate() {
                L::store(mixed.as_mut_ptr().add(row * length + at), v);
            }
        }
        for row in 0..IN {
            let from = mixed.as_ptr().add(row * length);
            let ([a, b, c, d], [e, f, ..]) = (L::deal(from), L::deal(from.add(OUT)));
            for (column, v) in into_points::<L>([a, b, c, d, e, f]).into_iter().enumerate() {
                L::store(to.add((row * IN + column) * step), v);
            }
        }
    }
}

/// The sums over all inputs at one point, for all outputs.
#[inline(always)]
unsafe fn multiply<L: Lanes>(weights: &Weights, point: usize, points: *const f32, sums: &mut [f32]) {
    let tiles = VECTORS * L::LANES;
    let (inputs, groups) = (weights.inputs, weights.groups());
    let of_point = &weights.transformed[point * groups * inputs * GROUP..][..groups * inputs * GROUP];
    // SAFETY: as the caller says.
    unsafe {
        for (group, weights) in of_point.chunks_exact(inputs * GROUP).enumerate() {
            let mut made = [[L::splat(0.0); VECTORS]; GROUP];
            for (input, weights) in weights.chunks_exact(GROUP).enumerate() {
                let from = points.add(input * tiles);
                let tiles: [L::V; VECTORS] = std::array::from_fn(|vector| L::load(from.add(vector * L::LANES)));
                for (made, weight) in made.iter_mut().zip(weights) {
                    let weight = L::splat(*weight);
                    for (made, tile) in made.iter_mut().zip(tiles) {
                        *made = L::mul_add(weight, tile, *made);
                    }
                }
            }
            let to = sums.as_mut_ptr().add(group * GROUP * POINTS * tiles + point * tiles);
            for (output, made) in made.into_iter().enumerate() {
                for (vector, made) in made.into_iter().enumerate() {
                    L::store(to.add(output * POINTS * tiles + vector * L::LANES), made);
                }
            }
        }
    }
}

/// Aᵀ m A of a vector of tiles, the bias, and what follows, to the picture.
#[inline(always)]
unsafe fn write<L: Lanes>(
    sums: *const f32,
    weights: &Weights,
    output: usize,
    picture: Picture<'_>,
    result: *mut f32,
    (top, left): (usize, usize),
) {
    let ((height, width), tiles, span) = (picture.size, VECTORS * L::LANES, L::LANES * OUT);
    let there = span.min(width - left);
    // SAFETY: as the caller says.
    unsafe {
        let bias = L::splat(weights.bias[output]);
        let mut half = [[bias; IN]; OUT];
        for column in 0..IN {
            let sums = std::array::from_fn(|row| L::load(sums.add((row * IN + column) * tiles)));
            for (half, v) in half.iter_mut().zip(from_points::<L>(sums)) {
                half[column] = v;
            }
        }
        for (row, half) in half.into_iter().take(height - top).enumerate() {
            let at = output * height * width + (top + row) * width + left;
            let mut line = from_points::<L>(half).map(|v| L::add(v, bias));
            let beside = if matches!(weights.activation, Activation::Gate) {
                // At the end of a row as many as are there.
                let mut whole = [0.0; 64];
                whole[..there].copy_from_slice(&picture.beside[at..at + there]);
                L::deal(whole.as_ptr())
            } else {
                line
            };
            for (v, beside) in line.iter_mut().zip(beside) {
                *v = activate::<L>(*v, &weights.activation, output, beside);
            }
            if there == span {
                L::collect(line, result.add(at));
            } else {
                let mut whole = [0.0; 64];
                L::collect(line, whole.as_mut_ptr());
                std::ptr::copy_nonoverlapping(whole.as_ptr(), result.add(at), there);
            }
        }
    }
}
