//! Which triangle is seen at each sample of a tile.

use glam::DVec2;

use super::setup::Triangle;
use super::simd::vectorised;

/// Pixels along a tile's side. Even, so that pixels that share their chroma share their tile.
pub(super) const TILE: usize = 32;
/// Samples a pixel.
pub(super) const SAMPLES: usize = 4;
/// Where they are in a pixel: a grid turned so that nearly level and nearly upright edges get all steps of coverage.
pub(super) const OFFSETS: [[f32; 2]; SAMPLES] = [[0.375, 0.125], [0.875, 0.375], [0.125, 0.625], [0.625, 0.875]];
/// Pixels of a block along its side, which a triangle enters or not as a whole.
const BLOCK: usize = 8;
/// Samples worked on at once: those of two neighbours.
const LANES: usize = 8;

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

vectorised! {
    fn draw_all(depths: &mut [f32], ids: &mut [u32], triangles: &[Triangle], list: &[u32], corner: [usize; 2]) {
        for id in list {
            draw_one(depths, ids, &triangles[*id as usize], *id, corner);
        }
    }
}

#[inline(always)]
fn draw_one(depths: &mut [f32], ids: &mut [u32], triangle: &Triangle, id: u32, corner: [usize; 2]) {
    let origin = DVec2::new(corner[0] as f64, corner[1] as f64);
    let edges = triangle.edges.map(|edge| edge.at_tile(origin));
    let depth = triangle.inverse_depth.at_tile(origin);
    let inside = |range: [u32; 2], from: usize| {
        [(range[0] as usize).max(from) - from, (range[1] as usize - from).min(TILE - 1)]
    };
    let (columns, rows) = (inside(triangle.columns, corner[0]), inside(triangle.rows, corner[1]));
    let lanes = [Lanes::new(edges[0]), Lanes::new(edges[1]), Lanes::new(edges[2]), Lanes::new(depth)];
    let one_block = columns[0] / BLOCK == columns[1] / BLOCK && rows[0] / BLOCK == rows[1] / BLOCK;
    for block_row in rows[0] / BLOCK..=rows[1] / BLOCK {
        let from_row = rows[0].max(block_row * BLOCK);
        let to_row = rows[1].min(block_row * BLOCK + BLOCK - 1);
        for block_column in columns[0] / BLOCK..=columns[1] / BLOCK {
            if !one_block && edges.iter().any(|edge| misses(edge, block_column, block_row)) {
                continue;
            }
            let from_pair = columns[0].max(block_column * BLOCK) / 2;
            let to_pair = columns[1].min(block_column * BLOCK + BLOCK - 1) / 2;
            for row in from_row..=to_row {
                let start = (row * TILE / 2 + from_pair) * LANES;
                let end = (row * TILE / 2 + to_pair + 1) * LANES;
                let pairs = depths[start..end].chunks_exact_mut(LANES).zip(ids[start..end].chunks_exact_mut(LANES));
                let mut x = (2 * from_pair) as f32;
                for (depths, ids) in pairs {
                    draw_pair(depths, ids, &lanes, [x, row as f32], triangle, id);
                    x += 2.0;
                }
            }
        }
    }
}

/// A linear function at the samples of the tile's first two pixels.
struct Lanes {
    first: [f32; LANES],
    slope: [f32; 2],
}

impl Lanes {
    #[inline(always)]
    fn new([along_x, along_y, at_origin]: [f32; 3]) -> Lanes {
        let first = std::array::from_fn(|lane| {
            let [x, y] = OFFSETS[lane % SAMPLES];
            along_x * (x + (lane / SAMPLES) as f32) + along_y * y + at_origin
        });
        Lanes { first, slope: [along_x, along_y] }
    }

    /// What is added for the pair of pixels at `at`. Each sample's value is the same wherever a walk begins.
    #[inline(always)]
    fn step(&self, at: [f32; 2]) -> f32 {
        self.slope[0] * at[0] + self.slope[1] * at[1]
    }
}

#[inline(always)]
fn draw_pair(depths: &mut [f32], ids: &mut [u32], lanes: &[Lanes; 4], at: [f32; 2], triangle: &Triangle, id: u32) {
    let steps = [lanes[0].step(at), lanes[1].step(at), lanes[2].step(at), lanes[3].step(at)];
    let (least, [low, high]) = (&triangle.least, triangle.depth_range);
    for lane in 0..LANES {
        let edge = |i: usize| lanes[i].first[lane] + steps[i] >= least[i];
        // Of a sliver the slope is steep: rounding must not carry a depth beyond the corners'.
        let depth = (lanes[3].first[lane] + steps[3]).max(low).min(high);
        let seen = edge(0) & edge(1) & edge(2) & (depth > depths[lane]);
        depths[lane] = if seen { depth } else { depths[lane] };
        ids[lane] = if seen { id } else { ids[lane] };
    }
}

/// Whether a block lies outside of an edge for sure: by more than the samples' values are rounded.
#[inline(always)]
fn misses(edge: &[f32; 3], column: usize, row: usize) -> bool {
    let far = |slope: f32, at: usize| slope * ((at + usize::from(slope > 0.0)) * BLOCK) as f32;
    let slack = (edge[0].abs() + edge[1].abs()) * 1e-4;
    edge[2] + far(edge[0], column) + far(edge[1], row) < -slack
}
