//! Directions that a surface faces.

use glam::Vec3;

/// Unit normals of vertices: the mean of their triangles', by area; outward where triangles run counter-clockwise as seen
/// from outside in a right-handed frame. A vertex without area faces the camera. `normals` is overwritten.
///
/// Triangles must index `vertices`, as those of a [`super::Body`] do.
pub fn normals(vertices: &[Vec3], triangles: &[[u32; 3]], normals: &mut Vec<Vec3>) {
    normals.clear();
    normals.resize(vertices.len(), Vec3::ZERO);
    for triangle in triangles {
        let [a, b, c] = triangle.map(|i| i as usize);
        let area = (vertices[b] - vertices[a]).cross(vertices[c] - vertices[a]);
        for corner in [a, b, c] {
            normals[corner] += area;
        }
    }
    for normal in normals {
        *normal = normal.try_normalize().unwrap_or(Vec3::NEG_Z);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn normals_of_a_cube_point_away_from_its_middle() {
        let corner = |i: u32| Vec3::new((i & 1) as f32, (i >> 1 & 1) as f32, (i >> 2) as f32) * 2.0 - Vec3::ONE;
        let vertices: Vec<Vec3> = (0..8).map(corner).chain([Vec3::ZERO]).collect();
        let quads = [[0, 2, 3, 1], [4, 5, 7, 6], [0, 1, 5, 4], [2, 6, 7, 3], [0, 4, 6, 2], [1, 3, 7, 5]];
        let triangles: Vec<[u32; 3]> = quads.iter().flat_map(|q| [[q[0], q[1], q[2]], [q[0], q[2], q[3]]]).collect();
        let mut found = Vec::new();
        normals(&vertices, &triangles, &mut found);
        for (normal, vertex) in found.iter().zip(&vertices).take(8) {
            assert!(
                normal.dot(vertex.normalize()) > 0.8 && (normal.length() - 1.0).abs() < 1e-6,
                "{normal} at {vertex}"
            );
        }
        assert_eq!(found[8], Vec3::NEG_Z);
    }
}
