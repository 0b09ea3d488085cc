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
    /// Direction out of the surface at each vertex, of any length.
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

/// The normals of a posed mesh: at each vertex the sum of its faces' normals, weighted by their areas. Of any length;
/// none for a vertex without faces.
pub fn vertex_normals(positions: &[Vec3], triangles: &[[u32; 3]], normals: &mut Vec<Vec3>) {
    normals.clear();
    normals.resize(positions.len(), Vec3::ZERO);
    for triangle in triangles {
        let corners = triangle.map(|i| positions.get(i as usize));
        let [Some(a), Some(b), Some(c)] = corners else { continue };
        let normal = (b - a).cross(c - a);
        for i in triangle {
            normals[*i as usize] += normal;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn normals_of_a_closed_mesh_point_outward_and_bad_indices_are_left_out() {
        let positions = [Vec3::ZERO, Vec3::X, Vec3::Y, Vec3::Z];
        let triangles = [[0, 2, 1], [0, 1, 3], [0, 3, 2], [1, 2, 3], [0, 1, 9]];
        let mut normals = Vec::new();
        vertex_normals(&positions, &triangles, &mut normals);
        let centre = Vec3::splat(0.25);
        for (p, n) in positions.iter().zip(&normals) {
            assert!(n.dot(p - centre) > 0.0, "{p} {n}");
        }
    }
}
