//! Triangles made ready: edges, depth and normals as linear functions of the picture.

use glam::{DVec2, Vec3};
use rayon::prelude::*;

use super::clip::{Corner, Vertex, clip};
use super::mesh::{Mesh, Scene};

/// Triangles that one thread makes ready at a time.
const CHUNK: usize = 2048;
/// Twice the area in square pixels below which normals are not interpolated: their slopes would be mostly rounding.
const TINY: f64 = 1e-3;

/// `x * slope.x + y * slope.y + at_origin`, over the picture.
#[derive(Debug, Clone, Copy)]
pub(super) struct Linear {
    pub slope: DVec2,
    pub at_origin: f64,
}

impl Linear {
    /// The same with the origin at a tile's corner, in single precision: slope along x, along y, value there.
    #[inline(always)]
    pub(super) fn at_tile(&self, origin: DVec2) -> [f32; 3] {
        [self.slope.x as f32, self.slope.y as f32, (self.at_origin + self.slope.dot(origin)) as f32]
    }
}

/// A triangle that faces the camera.
#[derive(Debug, Clone)]
pub(super) struct Triangle {
    /// Positive inside.
    pub edges: [Linear; 3],
    /// What an edge must at least be at a sample: zero if the edge's samples belong to this triangle, else the number
    /// after zero.
    pub least: [f32; 3],
    pub inverse_depth: Linear,
    /// Least and greatest inverse depth of the corners.
    pub depth_range: [f32; 2],
    /// Normal times inverse depth at `origin`, and how it changes along x and y. Its direction is the normal's.
    pub normal: [Vec3; 3],
    pub origin: [f32; 2],
    /// First and last pixel along x and y that it may touch, inside the picture.
    pub columns: [u32; 2],
    pub rows: [u32; 2],
    /// Which of the scene's meshes, and which of its colours.
    pub mesh: u32,
    pub part: u8,
}

/// Adds what is seen of a mesh in a picture of `size` pixels.
pub(super) fn set_up(
    scene: &Scene<'_>,
    index: usize,
    size: [usize; 2],
    vertices: &mut Vec<Vertex>,
    triangles: &mut Vec<Triangle>,
) {
    let mesh = &scene.meshes[index];
    // A mesh without normals for all of its vertices is drawn as far as they go.
    let known = mesh.positions.len().min(mesh.normals.len());
    mesh.positions[..known]
        .par_iter()
        .with_min_len(CHUNK)
        .map(|p| Vertex::new(&scene.camera, *p))
        .collect_into_vec(vertices);
    let vertices = &*vertices;
    let chunks: Vec<Vec<Triangle>> = mesh
        .triangles
        .par_chunks(CHUNK)
        .map(|chunk| {
            // About half of a body's faces turn away.
            let mut ready = Vec::with_capacity(chunk.len() * 5 / 8);
            for named in chunk {
                let [a, b, c] = named.map(|i| mesh.parts.get(i as usize).copied().unwrap_or(0));
                let part = if b == c { b } else { a };
                one(scene, mesh, vertices, named, |corners| {
                    ready.extend(Triangle::new(corners, (index as u32, part), size));
                });
            }
            ready
        })
        .collect();
    chunks.into_iter().for_each(|mut chunk| triangles.append(&mut chunk));
}

/// Hands on what of a triangle lies before the camera.
fn one(
    scene: &Scene<'_>,
    mesh: &Mesh<'_>,
    vertices: &[Vertex],
    triangle: &[u32; 3],
    mut emit: impl FnMut(&[Corner; 3]),
) {
    let [i, j, k] = triangle.map(|i| i as usize);
    let (Some(a), Some(b), Some(c)) = (vertices.get(i), vertices.get(j), vertices.get(k)) else { return };
    if let (
        Vertex::Seen { at: a, inverse_depth: za },
        Vertex::Seen { at: b, inverse_depth: zb },
        Vertex::Seen { at: c, inverse_depth: zc },
    ) = (a, b, c)
    {
        let corner = |at: &DVec2, inverse_depth: &f64, i: usize| Corner {
            at: *at,
            inverse_depth: *inverse_depth,
            normal: mesh.normals[i],
        };
        return emit(&[corner(a, za, i), corner(b, zb, j), corner(c, zc, k)]);
    }
    let all = [a, b, c];
    if all.iter().any(|v| matches!(v, Vertex::Lost)) || all.iter().all(|v| matches!(v, Vertex::Behind)) {
        return;
    }
    let (corners, count) =
        clip(&scene.camera, [i, j, k].map(|i| mesh.positions[i]), [i, j, k].map(|i| mesh.normals[i]));
    for last in 2..count {
        emit(&[corners[0], corners[last - 1], corners[last]]);
    }
}

impl Triangle {
    /// `None` when it turns away, has no area or lies outside the picture.
    fn new(corners: &[Corner; 3], (mesh, part): (u32, u8), size: [usize; 2]) -> Option<Triangle> {
        // As y points down, faces towards us are clockwise in numbers: two corners change places.
        let [a, c, b] = corners;
        let area = (b.at - a.at).perp_dot(c.at - a.at);
        // False for what is not a number, too.
        if !(area > 0.0 && area.is_finite()) {
            return None;
        }
        let (low, high) = (a.at.min(b.at).min(c.at), a.at.max(b.at).max(c.at));
        let columns = pixels(low.x, high.x, size[0])?;
        let rows = pixels(low.y, high.y, size[1])?;

        let (bc, ca, ab) = (edge(b.at, c.at), edge(c.at, a.at), edge(a.at, b.at));
        let depths = [a.inverse_depth, b.inverse_depth, c.inverse_depth];
        let weigh = |w: [f64; 3]| (w[0] * depths[0] + w[1] * depths[1] + w[2] * depths[2]) / area;
        let inverse_depth = Linear {
            slope: DVec2::new(weigh([bc.slope.x, ca.slope.x, ab.slope.x]), weigh([bc.slope.y, ca.slope.y, ab.slope.y])),
            at_origin: weigh([bc.at_origin, ca.at_origin, ab.at_origin]),
        };
        let normals = [a, b, c].map(|corner| corner.normal * corner.inverse_depth as f32);
        let slope = |w: [f64; 3]| {
            let [a, b, c] = w.map(|w| (w / area) as f32);
            normals[0] * a + normals[1] * b + normals[2] * c
        };
        let normal = if area < TINY {
            [normals[0] + normals[1] + normals[2], Vec3::ZERO, Vec3::ZERO]
        } else {
            [normals[0], slope([bc.slope.x, ca.slope.x, ab.slope.x]), slope([bc.slope.y, ca.slope.y, ab.slope.y])]
        };
        let [a0, b0, c0] = depths.map(|d| d as f32);
        Some(Triangle {
            edges: [bc, ca, ab],
            least: [least(b.at, c.at), least(c.at, a.at), least(a.at, b.at)],
            inverse_depth,
            depth_range: [a0.min(b0).min(c0), a0.max(b0).max(c0)],
            normal,
            origin: [a.at.x as f32, a.at.y as f32],
            columns,
            rows,
            mesh,
            part,
        })
    }
}

/// First and last pixel between two coordinates, `None` outside the picture.
fn pixels(low: f64, high: f64, size: usize) -> Option<[u32; 2]> {
    if !(high > 0.0 && low < size as f64) {
        return None;
    }
    // Casts of floats saturate.
    Some([low as u32, (high as u32).min(size as u32 - 1)])
}

/// The line through two corners, positive on the side of the third. Both triangles at an edge compute the same numbers,
/// with opposite signs: so each sample belongs to one of them.
fn edge(from: DVec2, to: DVec2) -> Linear {
    let forward = (from.y, from.x) < (to.y, to.x);
    let (first, second) = if forward { (from, to) } else { (to, from) };
    let along = second - first;
    let slope = DVec2::new(-along.y, along.x);
    let at_origin = -slope.dot(first);
    if forward { Linear { slope, at_origin } } else { Linear { slope: -slope, at_origin: -at_origin } }
}

/// The top-left rule: samples exactly on an edge belong to the triangle right of it or below it.
fn least(from: DVec2, to: DVec2) -> f32 {
    let owns = to.y < from.y || (to.y == from.y && to.x > from.x);
    if owns { 0.0 } else { f32::from_bits(1) }
}
