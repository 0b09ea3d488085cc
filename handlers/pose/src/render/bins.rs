//! Which triangles and strokes touch which tile.

use darkroom_api::{ErrorCode, JobError, Result};
use glam::DVec2;

use super::setup::{Linear, Triangle};
use super::stroke::Stroke;
use super::tile::TILE;

/// Entries there may be: bodies of any sane size and number need a tenth, and they take 64 MiB.
const LIMIT: usize = 1 << 24;
/// Tiles of a triangle's rectangle above which each is looked at: of a long thin triangle's most are empty.
const FEW: usize = 4;

/// Lists of what touches each tile, tiles in rows.
#[derive(Default)]
pub(super) struct Bins {
    columns: usize,
    /// Where each tile's list begins, and the end of the last.
    starts: Vec<u32>,
    entries: Vec<u32>,
}

impl Bins {
    /// Sorts triangles into the tiles of a picture of `size` pixels; each list keeps their order.
    ///
    /// # Errors
    /// `internal` when they touch more tiles than any real scene's.
    pub(super) fn fill(&mut self, triangles: &[Triangle], size: [usize; 2]) -> Result<()> {
        self.sort(triangles, size, |triangle, columns, visit| triangle_tiles(triangle, columns, visit))
    }

    /// Sorts strokes.
    ///
    /// # Errors
    /// As [`Bins::fill`].
    pub(super) fn fill_strokes(&mut self, strokes: &[Stroke], size: [usize; 2]) -> Result<()> {
        let rows = size[1].div_ceil(TILE);
        self.sort(strokes, size, |stroke, columns, visit| {
            let (across, down) = stroke.tiles(TILE, [columns, rows]);
            for row in down {
                for column in across.clone() {
                    if stroke.touches([column * TILE, row * TILE], TILE) {
                        visit(row * columns + column);
                    }
                }
            }
        })
    }

    /// Sorts things by the tiles that `visit` is called with; `tiles` is given the number of tiles in a row.
    fn sort<T>(
        &mut self,
        things: &[T],
        size: [usize; 2],
        tiles: impl Fn(&T, usize, &mut dyn FnMut(usize)),
    ) -> Result<()> {
        self.columns = size[0].div_ceil(TILE);
        let count = self.columns * size[1].div_ceil(TILE);
        self.starts.clear();
        self.starts.resize(count + 1, 0);
        let mut total = 0;
        for thing in things {
            tiles(thing, self.columns, &mut |tile| {
                self.starts[tile + 1] += 1;
                total += 1;
            });
            if total > LIMIT {
                return Err(JobError::new(ErrorCode::Internal, "A body is too distorted to be drawn."));
            }
        }
        for tile in 0..count {
            self.starts[tile + 1] += self.starts[tile];
        }
        // Each list's start serves as its pen; afterwards all stand one list too far.
        self.entries.resize(total, 0);
        for (index, thing) in things.iter().enumerate() {
            tiles(thing, self.columns, &mut |tile| {
                self.entries[self.starts[tile] as usize] = index as u32;
                self.starts[tile] += 1;
            });
        }
        self.starts.pop();
        self.starts.insert(0, 0);
        Ok(())
    }

    /// The indices of what touches a tile.
    pub(super) fn tile(&self, column: usize, row: usize) -> &[u32] {
        let tile = row * self.columns + column;
        &self.entries[self.starts[tile] as usize..self.starts[tile + 1] as usize]
    }
}

fn triangle_tiles(triangle: &Triangle, columns: usize, visit: &mut dyn FnMut(usize)) {
    let tiles = |range: [u32; 2]| range[0] as usize / TILE..=range[1] as usize / TILE;
    let (across, down) = (tiles(triangle.columns), tiles(triangle.rows));
    let few = (across.end() - across.start() + 1) * (down.end() - down.start() + 1) <= FEW;
    for row in down {
        for column in across.clone() {
            if few || triangle.edges.iter().all(|edge| reaches(edge, column, row)) {
                visit(row * columns + column);
            }
        }
    }
}

/// Whether some of a tile may lie on an edge's inner side.
fn reaches(edge: &Linear, column: usize, row: usize) -> bool {
    let far = |slope: f64, at: usize| ((at + usize::from(slope > 0.0)) * TILE) as f64;
    let corner = DVec2::new(far(edge.slope.x, column), far(edge.slope.y, row));
    edge.at_origin + edge.slope.dot(corner) >= 0.0
}
