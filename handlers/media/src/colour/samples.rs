//! The samples of one component of a frame, interpolated and averaged.

use std::ops::Range;

use super::bilinear::{Line, Source};
use super::matrix::Codes;
use super::planes::{Component, Layout, plane_of};
use super::sample::Affine;
use super::simd;
use super::to_rgb::Code;
use crate::Frame;

/// Most samples along a side that become one before they are interpolated.
const MAX_MEAN: usize = 64;

/// Places are kept in this many parts of a cell.
const ONE: f64 = 4_294_967_296.0;

#[allow(clippy::cast_possible_truncation, reason = "what is far away is far away")]
fn fixed(place: f32) -> i64 {
    (f64::from(place) * ONE) as i64
}

/// Which of `count` places, evenly `step` apart, are at least 0 and less than `end` cells away from it.
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped")]
fn inside(start: i64, step: i64, end: usize, count: usize) -> Range<usize> {
    let (start, step, end) = (i128::from(start), i128::from(step), (end as i128) << 32);
    let index = |index: i128| index.clamp(0, count as i128) as usize;
    // The first place at or beyond a border.
    let first = |border: i128| -((start - border).div_euclid(step));
    match step.signum() {
        1 => index(first(0))..index(first(end)),
        // As seen from the other side: at or beyond, in steps downwards.
        -1 => index((start - end).div_euclid(-step) + 1)..index(start.div_euclid(-step) + 1),
        _ if (0..end).contains(&start) => 0..count,
        _ => 0..0,
    }
}

/// The samples of one component.
pub(crate) struct Samples<'a> {
    data: &'a [u8],
    stride: usize,
    component: Component,
    width: usize,
    height: usize,
    /// Samples for each pixel of the frame, along rows and columns.
    share: [f32; 2],
    /// Value of a stored sample: `sample * scale + offset`.
    scale: f32,
    offset: f32,
}

/// Memory that is used again for the next crop.
#[derive(Default)]
pub(crate) struct Scratch {
    sums: Vec<u32>,
    means: Vec<f32>,
}

/// What is interpolated: samples, or means of them.
struct Grid {
    width: usize,
    height: usize,
    /// Where it begins, and how many samples one of its cells is wide and high.
    origin: [usize; 2],
    cell: usize,
}

impl<'a> Samples<'a> {
    /// The colour components of a frame.
    #[allow(clippy::cast_precision_loss, reason = "at most 2^16")]
    pub(crate) fn of(frame: &'a Frame, layout: &Layout, code: &Code, full_range: bool) -> Vec<Samples<'a>> {
        let colours = layout.components.iter().take(if layout.colours() < 3 { 1 } else { 3 });
        let samples = colours.enumerate().map(|(index, component)| {
            let chroma = index > 0 && matches!(code, Code::Yuv(..));
            let codes = match code {
                Code::Rgb(codes) | Code::Grey(codes) => *codes,
                Code::Yuv(luma, _) if !chroma => *luma,
                Code::Yuv(..) => Codes::chroma(component.depth, full_range),
            };
            let shift = if chroma { [layout.log2_chroma_w, layout.log2_chroma_h] } else { [0, 0] };
            let side = |side: u32, shift: u32| side.div_ceil(1 << shift) as usize;
            let plane = plane_of(frame, *component);
            Samples {
                data: plane.data,
                stride: plane.stride,
                component: *component,
                width: side(frame.width(), shift[0]),
                height: side(frame.height(), shift[1]),
                share: shift.map(|shift| 1.0 / (1_u32 << shift) as f32),
                scale: 1.0 / (codes.scale * (1_u32 << component.shift) as f32),
                offset: -codes.offset / codes.scale,
            }
        });
        samples.collect()
    }

    /// A crop of `width` columns.
    pub(crate) fn warp(&self, map: &Affine, width: usize, scratch: &mut Scratch, out: &mut [f32]) {
        let rows = out.len() / width;
        let grid = self.grid(map, width, rows);
        let step = self.component.step;
        if grid.cell > 1 {
            self.mean_cells(&grid, scratch);
            let means = &scratch.means;
            let pair = |x: usize, y: usize| {
                let at = y * grid.width + x;
                [means[at], means.get(at + 1).copied().unwrap_or(0.0)]
            };
            self.interpolate(&grid, map, width, out, Some((Source::Floats(means), grid.width)), pair);
        } else {
            // The common case is a plane of bytes.
            let plain = self.component.sample_bytes() == 1 && step == 1;
            let bytes = plain.then(|| self.data.get(self.component.offset..)).flatten();
            let pair = |x: usize, y: usize| {
                let at = y * self.stride + x * step + self.component.offset;
                [self.at(at), self.at(at + step)]
            };
            self.interpolate(&grid, map, width, out, bytes.map(|bytes| (Source::Bytes(bytes), self.stride)), pair);
        }
    }

    /// A stored sample; 0 behind the end of a damaged frame.
    #[allow(clippy::cast_precision_loss, reason = "at most 2^16")]
    #[inline(always)]
    fn at(&self, index: usize) -> f32 {
        let byte = |index: usize| u32::from(self.data.get(index).copied().unwrap_or(0));
        let sample = match (self.component.sample_bytes(), self.component.big_endian) {
            (1, _) => byte(index),
            (_, false) => byte(index) | byte(index + 1) << 8,
            (_, true) => byte(index) << 8 | byte(index + 1),
        };
        sample as f32
    }

    /// What a crop is interpolated of: the part of the frame that it shows, in cells as large as its pixels or smaller.
    #[allow(clippy::cast_precision_loss, reason = "sides of pictures")]
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped")]
    fn grid(&self, map: &Affine, width: usize, rows: usize) -> Grid {
        let length = |column: usize| (map.x[column] * self.share[0]).hypot(map.y[column] * self.share[1]);
        let cell = (length(0).min(length(1)) as usize).clamp(1, MAX_MEAN);
        if cell == 1 {
            return Grid { width: self.width, height: self.height, origin: [0, 0], cell };
        }
        let (u, v) = (width as f32, rows as f32);
        let part = |axis: usize, a: [f32; 3], side: usize| -> Range<usize> {
            let corners = [[0.0, 0.0], [u, 0.0], [0.0, v], [u, v]];
            let ends = corners.map(|[u, v]| (a[0] * u + a[1] * v + a[2]) * self.share[axis] / cell as f32);
            let cells = side.div_ceil(cell);
            let least = ends.into_iter().fold(f32::MAX, f32::min).floor().clamp(0.0, cells as f32) as usize;
            let most = ends.into_iter().fold(f32::MIN, f32::max).ceil().clamp(0.0, cells as f32) as usize;
            least..most.max(least)
        };
        let (columns, lines) = (part(0, map.x, self.width), part(1, map.y, self.height));
        let origin = [columns.start * cell, lines.start * cell];
        Grid { width: columns.len(), height: lines.len(), origin, cell }
    }

    /// The means of a grid's cells, of what of them lies in the frame.
    #[allow(clippy::cast_precision_loss, reason = "at most 64 x 64 samples of 2^16")]
    fn mean_cells(&self, grid: &Grid, scratch: &mut Scratch) {
        let end = |origin: usize, cells: usize, side: usize| (origin + cells * grid.cell).min(side);
        let columns = grid.origin[0]..end(grid.origin[0], grid.width, self.width);
        scratch.means.clear();
        for line in 0..grid.height {
            let start = grid.origin[1] + line * grid.cell;
            let lines = start..(start + grid.cell).min(self.height);
            let count = lines.len();
            self.sum_lines(lines, columns.clone(), &mut scratch.sums);
            scratch.means.extend(scratch.sums.chunks(grid.cell).map(|cell| {
                let sum: u32 = cell.iter().sum();
                sum as f32 / (cell.len() * count) as f32
            }));
        }
    }

    /// The sums of some rows, column by column.
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "at most 2^16")]
    fn sum_lines(&self, lines: Range<usize>, columns: Range<usize>, sums: &mut Vec<u32>) {
        sums.clear();
        sums.resize(columns.len(), 0);
        let step = self.component.step;
        for line in lines {
            let start = line * self.stride + columns.start * step + self.component.offset;
            if self.component.sample_bytes() == 1 && step == 1 {
                simd::add_bytes(self.data.get(start..).unwrap_or(&[]), sums);
            } else {
                for (column, sum) in sums.iter_mut().enumerate() {
                    *sum += self.at(start + column * step) as u32;
                }
            }
        }
    }

    /// Values of a crop; `pair` tells what a cell has and the one to its right, `plain` where all of them are, row by row.
    #[inline(always)]
    #[allow(clippy::cast_precision_loss, clippy::cast_possible_truncation, reason = "places of pictures, in 2^-32")]
    #[allow(clippy::cast_sign_loss, reason = "what is left of the picture becomes a column far to its right")]
    fn interpolate(
        &self,
        grid: &Grid,
        map: &Affine,
        width: usize,
        out: &mut [f32],
        plain: Option<(Source<'_>, usize)>,
        pair: impl Fn(usize, usize) -> [f32; 2],
    ) {
        let cell = grid.cell as f32;
        let step = [map.x[0] * self.share[0] / cell, map.y[0] * self.share[1] / cell].map(fixed);
        // Of the fraction the upper 16 bits.
        let fraction = |place: i64| ((place >> 16) & 0xffff) as f32 / 65_536.0;
        let (right, below) = (grid.width.saturating_sub(1), grid.height.saturating_sub(1));
        for (row, line) in out.chunks_exact_mut(width).enumerate() {
            let v = row as f32 + 0.5;
            // From the middle of the crop's pixel to places between the middles of cells.
            let start = |axis: usize, a: [f32; 3]| {
                let place = (a[0] * 0.5 + a[1] * v + a[2]) * self.share[axis] - grid.origin[axis] as f32;
                fixed(place / cell - 0.5)
            };
            let start = [start(0, map.x), start(1, map.y)];
            let at = |axis: usize, index: usize| start[axis].wrapping_add(step[axis].wrapping_mul(index as i64));
            let one_by_one = |range: Range<usize>, line: &mut [f32]| {
                let (mut x, mut y) = (at(0, range.start), at(1, range.start));
                for out in &mut line[range] {
                    let (left, top) = ((x >> 32) as usize, (y >> 32) as usize);
                    let place = [fraction(x), fraction(y)];
                    *out = if left < right && top < below {
                        let ([a, b], [c, d]) = (pair(left, top), pair(left, top + 1));
                        let (upper, lower) = (a + (b - a) * place[0], c + (d - c) * place[0]);
                        (upper + (lower - upper) * place[1]) * self.scale + self.offset
                    } else {
                        self.at_border(grid, [left, top], place, &pair)
                    };
                    (x, y) = (x.wrapping_add(step[0]), y.wrapping_add(step[1]));
                }
            };
            let (columns, rows) = (inside(start[0], step[0], right, width), inside(start[1], step[1], below, width));
            let inner = columns.start.max(rows.start)..columns.end.min(rows.end);
            let filled = match plain {
                Some((source, stride)) if !inner.is_empty() => {
                    let place = |fixed: i64| (fixed as f64 / ONE) as f32;
                    let line_of = Line {
                        source,
                        stride,
                        last: [right - 1, below - 1],
                        start: [place(at(0, inner.start)), place(at(1, inner.start))],
                        step: step.map(place),
                        scale: self.scale,
                        offset: self.offset,
                    };
                    inner.start..inner.start + line_of.fill(&mut line[inner])
                }
                _ => 0..0,
            };
            one_by_one(0..filled.start, line);
            one_by_one(filled.end..width, line);
        }
    }

    /// Where not all of four cells are in the frame; the others are black.
    fn at_border(
        &self,
        grid: &Grid,
        [left, top]: [usize; 2],
        [fx, fy]: [f32; 2],
        pair: &impl Fn(usize, usize) -> [f32; 2],
    ) -> f32 {
        let value = |dx: usize, dy: usize| {
            let (x, y) = (left.wrapping_add(dx), top.wrapping_add(dy));
            let there = x < grid.width && y < grid.height;
            if there { pair(x, y)[0] * self.scale + self.offset } else { 0.0 }
        };
        let upper = value(0, 0) * (1.0 - fx) + value(1, 0) * fx;
        let lower = value(0, 1) * (1.0 - fx) + value(1, 1) * fx;
        upper * (1.0 - fy) + lower * fy
    }

    /// A smaller picture of `width` columns.
    #[allow(clippy::cast_precision_loss, reason = "at most 2^16 samples of 2^16")]
    pub(crate) fn shrink(&self, width: usize, scratch: &mut Scratch, out: &mut [f32]) {
        let rows = out.len() / width;
        let part = |index: usize, count: usize, side: usize| {
            let start = (index * side / count).min(side - 1);
            start..((index + 1) * side / count).clamp(start + 1, side)
        };
        for (row, line) in out.chunks_exact_mut(width).enumerate() {
            let lines = part(row, rows, self.height);
            let count = lines.len();
            self.sum_lines(lines, 0..self.width, &mut scratch.sums);
            for (column, out) in line.iter_mut().enumerate() {
                let sums = &scratch.sums[part(column, width, self.width)];
                let sum: u64 = sums.iter().map(|sum| u64::from(*sum)).sum();
                *out = sum as f32 / (sums.len() * count) as f32 * self.scale + self.offset;
            }
        }
    }
}
