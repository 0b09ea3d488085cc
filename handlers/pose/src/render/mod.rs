//! Draws bodies and skeletons onto frames: a rasteriser of tiles for the CPU, without any display or graphics driver.
//!
//! A picture is cut into tiles of 32x32 pixels. Per tile: which triangle is seen at four samples of each pixel, one
//! shading for each surface of a pixel, strokes over it, and the result goes straight into the frame's planes. Rows of
//! tiles are drawn by threads of rayon; a tile that nothing touches costs nothing, and its bytes are not looked at.
//!
//! Edges are decided exactly: a sample belongs to one of two triangles that share an edge, never to both or to none.
//! Coordinates are in double precision until a tile's corner is taken off, so that this holds at any size of picture.

mod bins;
mod blend;
mod canvas;
mod clip;
mod lanes;
mod layer;
mod mesh;
mod mode;
mod setup;
mod shade;
mod simd;
mod skeleton;
mod stroke;
#[cfg(test)]
mod tests;
mod tile;

use darkroom_api::Result;
use rayon::prelude::*;

pub use canvas::{Canvas, Coding, Pixels};
pub use clip::NEAR_METRES;
pub use mesh::{Mesh, Scene};
pub use mode::{Mode, put_side_by_side};
pub use skeleton::{BLAZEPOSE, Limb, Side, Skeleton};
pub use stroke::Stroke;

use bins::Bins;
use blend::{Carry, blend};
use clip::Vertex;
use layer::Layer;
use setup::{Triangle, set_up};
use shade::Pieces;
use tile::{Samples, TILE};

/// Draws scenes; keeps its lists between pictures.
#[derive(Default)]
pub struct Renderer {
    vertices: Vec<Vertex>,
    triangles: Vec<Triangle>,
    bins: Bins,
    strokes: Vec<Stroke>,
    stroke_bins: Bins,
}

/// What a thread needs for a tile.
struct Desk {
    samples: Samples,
    pieces: Pieces,
    layer: Layer,
    carry: Carry,
}

impl Renderer {
    /// Draws a scene over a picture. Pixels that nothing covers keep their bits, and so does the whole picture on an error.
    ///
    /// # Errors
    /// `internal` when the bodies are distorted beyond what can be drawn.
    pub fn draw(&mut self, canvas: &mut Canvas<'_>, scene: &Scene<'_>) -> Result<()> {
        self.prepare(canvas, scene)?;
        let (triangles, bins) = (&self.triangles, &self.bins);
        let (strokes, stroke_bins) = (&self.strokes, &self.stroke_bins);
        let columns = canvas.width.div_ceil(TILE);
        canvas.bands(TILE).into_par_iter().enumerate().for_each_init(Desk::new, |desk, (row, mut band)| {
            desk.carry.clear();
            for column in 0..columns {
                let corner = [column * TILE, row * TILE];
                let list = bins.tile(column, row);
                let over = stroke_bins.tile(column, row);
                if list.is_empty() && over.is_empty() && !desk.carry.is_some() {
                    continue;
                }
                desk.layer.clear();
                if !list.is_empty() {
                    desk.samples.draw(triangles, list, corner);
                    desk.pieces.shade(&desk.samples, triangles, scene, corner, &mut desk.layer);
                }
                over.iter().for_each(|stroke| desk.layer.lay(&strokes[*stroke as usize], corner));
                blend(&mut band, corner[0], &mut desk.layer, &mut desk.carry);
            }
        });
        Ok(())
    }

    /// Makes the lists.
    fn prepare(&mut self, canvas: &Canvas<'_>, scene: &Scene<'_>) -> Result<()> {
        let size = [canvas.width, canvas.height];
        self.triangles.clear();
        // Nearest first: what lies behind then fails the depth test instead of being written twice.
        let mut order: Vec<usize> = (0..scene.meshes.len()).collect();
        let nearest = |i: &usize| scene.meshes[*i].positions.iter().map(|p| p.z).fold(f32::INFINITY, f32::min);
        order.sort_by(|a, b| nearest(a).total_cmp(&nearest(b)));
        if scene.opacity > 0.0 && scene.camera.focal_px > 0.0 {
            for index in order {
                set_up(scene, index, size, &mut self.vertices, &mut self.triangles);
            }
        }
        self.strokes.clear();
        self.strokes.extend(scene.strokes.iter().filter(|stroke| stroke.is_sane()));
        self.stroke_bins.fill_strokes(&self.strokes, size)?;
        self.bins.fill(&self.triangles, size)
    }
}

impl Desk {
    fn new() -> Desk {
        Desk { samples: Samples::new(), pieces: Pieces::new(), layer: Layer::new(), carry: Carry::new() }
    }
}
