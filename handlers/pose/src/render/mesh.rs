//! What is drawn.

use glam::Vec3;

use super::stroke::Stroke;
use crate::view::Camera;

/// A posed body, in metres in the camera's frame.
///
/// Faces are counter-clockwise seen from outside; those that turn away from the camera are not drawn. Triangles that name
/// a vertex there is not, or one that is not finite, are left out.
#[derive(Debug, Clone, Copy)]
pub struct Mesh<'a> {
    /// Vertices.
    pub positions: &'a [Vec3],
    /// Direction out of the surface at each vertex, of any length (see [`crate::body::normals`]).
    pub normals: &'a [Vec3],
    /// Three vertices each.
    pub triangles: &'a [[u32; 3]],
    /// Red, green, blue of 0 to 1, as signals (not linear light): one for each part.
    pub colours: &'a [Vec3],
    /// Index of each vertex's colour; the first one's where there are too few. A triangle is of the part that most of its
    /// vertices are of.
    pub parts: &'a [u8],
}

impl Mesh<'_> {
    /// The colour of a part; grey where there is none.
    pub(super) fn colour(&self, part: u8) -> Vec3 {
        let colour = self.colours.get(usize::from(part)).or(self.colours.first());
        colour.copied().unwrap_or(Vec3::splat(0.7))
    }
}

/// One picture's drawing.
#[derive(Debug, Clone, Copy)]
pub struct Scene<'a> {
    /// Where all is seen from.
    pub camera: Camera,
    /// Bodies, hidden by one another as their distances say.
    pub meshes: &'a [Mesh<'a>],
    /// How much of the picture the bodies cover, 0 to 1.
    pub opacity: f32,
    /// Lines and discs over the bodies, the later over the earlier.
    pub strokes: &'a [Stroke],
}
