//! Which triangle is seen at each sample of a tile.

use glam::DVec2;

use super::lanes::{LANES, Lanes};
use super::setup::Triangle;

/// Pixels along a tile's side. Even, so that pixels that share their chroma share their tile.
pub(super) const TILE: usize = 32;
/// Samples a pixel.
pub(super) const SAMPLES: usize = 4;
/// Where they are in a pixel: a grid turned so that nearly level and nearly upright edges get all steps of coverage.
pub(super) const OFFSETS: [[f32; 2]; SAMPLES] = [[0.375, 0.125], [0.875, 0.375], [0.125, 0.625], [0.625, 0.875]];
/// Pixels of a block along its side, which a triangle enters or not as a whole.
const BLOCK: usize = 8;
/// Where the samples of two neighbours are.
const ACROSS: [f32; LANES] = across_and_down()[0];
const DOWN: [f32; LANES] = across_and_down()[1];

const fn across_and_down() -> [[f32; LANES]; 2] {
    let mut places = [[0.0; LANES]; 2];
    let mut lane = 0;
    while lane < LANES {
        places[0][lane] = OFFSETS[lane % SAMPLES][0] + (lane / SAMPLES) as f32;
        places[1][lane] = OFFSETS[lane % SAMPLES][1];
        lane += 1;
    }
    places
}

/// What is seen at the samples of a tile, those of a pixel together, pixels in rows.
pub(super) struct Samples {
    /// One over the distance, in 1/m; zero where nothing is.
    pub inverse_depth: Vec<f32>,
    /// Index of the triangle, of any value where nothing is.
    pub triangle: Vec<u32>,
}

impl Samples {
    pub(super) fn new() -> Samples {
        let count = TILE * TILE * SAMPLES;
        Samples { inverse_depth: vec![0.0; count], triangle: vec![0; count] }
    }

    /// Finds what is seen of the listed triangles in the tile whose upper left pixel is `corner`.
    pub(super) fn draw(&mut self, triangles: &[Triangle], list: &[u32], corner: [usize; 2]) {
        self.inverse_depth.fill(0.0);
        draw_all(&mut self.inverse_depth, &mut self.triangle, triangles, list, corner);
    }
}

/// Draws with the widest registers that the processor has.
fn draw_all(depths: &mut [f32], ids: &mut [u32], triangles: &[Triangle], list: &[u32], corner: [usize; 2]) {
    #[cfg(target_arch = "x86_64")]
    {
        #[target_feature(enable = "avx2")]
        fn avx2(depths: &mut [f32], ids: &mut [u32], triangles: &[Triangle], list: &[u32], corner: [usize; 2]) {
            for id in list {
                draw_one::<super::lanes::Avx2>(depths, ids, &triangles[*id as usize], *id, corner);
            }
        }
        if std::arch::is_x86_feature_detected!("avx2") {
            // SAFETY: the processor has AVX2, as was just asked.
            return unsafe { avx2(depths, ids, triangles, list, corner) };
        }
    }
    for id in list {
        draw_one::<[f32; LANES]>(depths, ids, &triangles[*id as usize], *id, corner);
    }
}

#[inline(always)]
fn draw_one<L: Lanes>(depths: &mut [f32], ids: &mut [u32], triangle: &Triangle, id: u32, corner: [usize; 2]) {
    let origin = DVec2::new(corner[0] as f64, corner[1] as f64);
    let [bc, ca, ab] = &triangle.edges;
    let edges = [bc.at_tile(origin), ca.at_tile(origin), ab.at_tile(origin)];
    // Not by `map`: what is called from within it does not know of the registers.
    let (least, range) = (&triangle.least, &triangle.depth_range);
    let pen = Pen::<L> {
        edges: [Slope::new(edges[0]), Slope::new(edges[1]), Slope::new(edges[2])],
        depth: Slope::new(triangle.inverse_depth.at_tile(origin)),
        least: [L::splat(least[0]), L::splat(least[1]), L::splat(least[2])],
        range: [L::splat(range[0]), L::splat(range[1])],
        id,
    };
    let inside =
        |range: [u32; 2], from: usize| [(range[0] as usize).max(from) - from, (range[1] as usize - from).min(TILE - 1)];
    let (columns, rows) = (inside(triangle.columns, corner[0]), inside(triangle.rows, corner[1]));
    let one_block = columns[0] / BLOCK == columns[1] / BLOCK && rows[0] / BLOCK == rows[1] / BLOCK;
    for block_row in rows[0] / BLOCK..=rows[1] / BLOCK {
        let rows = [rows[0].max(block_row * BLOCK), rows[1].min(block_row * BLOCK + BLOCK - 1)];
        for block_column in columns[0] / BLOCK..=columns[1] / BLOCK {
            if one_block || !edges.iter().any(|edge| misses(edge, block_column, block_row)) {
                let first = columns[0].max(block_column * BLOCK);
                let last = columns[1].min(block_column * BLOCK + BLOCK - 1);
                pen.draw(depths, ids, rows, [first / 2, last / 2]);
            }
        }
    }
}

/// A linear function over a tile.
#[derive(Clone, Copy)]
struct Slope<L> {
    /// At the samples of the first two pixels.
    first: L,
    along_x: L,
    along_y: f32,
}

impl<L: Lanes> Slope<L> {
    #[inline(always)]
    fn new([along_x, along_y, at_origin]: [f32; 3]) -> Slope<L> {
        let (x, y) = (L::load(&ACROSS).mul(L::splat(along_x)), L::load(&DOWN).mul(L::splat(along_y)));
        Slope { first: x.add(y).add(L::splat(at_origin)), along_x: L::splat(along_x), along_y }
    }

    #[inline(always)]
    fn in_row(&self, row: f32) -> L {
        self.first.add(L::splat(self.along_y * row))
    }
}

/// One triangle, ready to be drawn in a tile. The value of a function at a sample is the same wherever drawing begins.
struct Pen<L> {
    edges: [Slope<L>; 3],
    depth: Slope<L>,
    least: [L; 3],
    /// Of a sliver the depth is steep: rounding must not carry it beyond the corners'.
    range: [L; 2],
    id: u32,
}

impl<L: Lanes> Pen<L> {
    /// From the first to the last of some rows, and of pairs of columns.
    #[inline(always)]
    fn draw(&self, depths: &mut [f32], ids: &mut [u32], rows: [usize; 2], pairs: [usize; 2]) {
        for row in rows[0]..=rows[1] {
            let y = row as f32;
            let edges = [self.edges[0].in_row(y), self.edges[1].in_row(y), self.edges[2].in_row(y)];
            let depth = self.depth.in_row(y);
            let range = (row * TILE / 2 + pairs[0]) * LANES..(row * TILE / 2 + pairs[1] + 1) * LANES;
            let depths = depths[range.clone()].as_chunks_mut::<LANES>().0;
            let ids = ids[range].as_chunks_mut::<LANES>().0;
            for ((depths, ids), pair) in depths.iter_mut().zip(ids).zip(pairs[0]..) {
                let x = L::splat((2 * pair) as f32);
                let edge = |i: usize| edges[i].add(self.edges[i].along_x.mul(x));
                let depth = depth.add(self.depth.along_x.mul(x)).between(self.range[0], self.range[1]);
                L::put(depth, self.id, [edge(0), edge(1), edge(2)], self.least, depths, ids);
            }
        }
    }
}

/// Whether a block lies outside of an edge for sure: by more than the samples' values are rounded.
#[inline(always)]
fn misses(edge: &[f32; 3], column: usize, row: usize) -> bool {
    let far = |slope: f32, at: usize| slope * ((at + usize::from(slope > 0.0)) * BLOCK) as f32;
    let slack = (edge[0].abs() + edge[1].abs()) * 1e-4;
    edge[2] + far(edge[0], column) + far(edge[1], row) < -slack
}
