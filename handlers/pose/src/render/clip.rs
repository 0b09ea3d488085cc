//! From vertices in space to corners in the picture, and what of a triangle lies before the camera.

use glam::{DVec2, DVec3, Vec3};

use crate::view::Camera;

/// Nothing nearer than this is drawn, in metres.
pub const NEAR_METRES: f64 = 0.05;
/// Farther from the camera along any axis than a body can be: such vertices are of a failed fit.
const FAR_METRES: f32 = 1e6;

/// A corner of a triangle as it is seen. In double precision: single loses a thousandth of a pixel at the far side of a
/// 4K picture.
#[derive(Debug, Clone, Copy)]
pub(super) struct Corner {
    /// In pixels.
    pub at: DVec2,
    /// One over the distance along the optical axis, in 1/m: it is linear in the picture.
    pub inverse_depth: f64,
    /// Direction out of the surface.
    pub normal: Vec3,
}

/// Where a vertex is.
#[derive(Debug, Clone, Copy)]
pub(super) enum Vertex {
    /// Before the near plane.
    Seen { at: DVec2, inverse_depth: f64 },
    /// Behind it.
    Behind,
    /// Nowhere.
    Lost,
}

impl Vertex {
    pub(super) fn new(camera: &Camera, position: Vec3) -> Vertex {
        if !position.is_finite() || position.abs().max_element() >= FAR_METRES {
            Vertex::Lost
        } else if f64::from(position.z) < NEAR_METRES {
            Vertex::Behind
        } else {
            let (at, inverse_depth) = project(camera, position.as_dvec3());
            Vertex::Seen { at, inverse_depth }
        }
    }
}

fn project(camera: &Camera, p: DVec3) -> (DVec2, f64) {
    let inverse_depth = 1.0 / p.z;
    (p.truncate() * (f64::from(camera.focal_px) * inverse_depth) + camera.centre_px.as_dvec2(), inverse_depth)
}

/// The part of a triangle before the near plane: 3 or 4 corners in the triangle's order, fewer when there is none.
pub(super) fn clip(camera: &Camera, positions: [Vec3; 3], normals: [Vec3; 3]) -> ([Corner; 4], usize) {
    let nothing = Corner { at: DVec2::ZERO, inverse_depth: 0.0, normal: Vec3::ZERO };
    let (mut corners, mut count) = ([nothing; 4], 0);
    let mut add = |p: DVec3, normal: Vec3| {
        let (at, inverse_depth) = project(camera, p);
        corners[count] = Corner { at, inverse_depth, normal };
        count += 1;
    };
    let points = positions.map(|p| p.as_dvec3());
    for this in 0..3 {
        let next = (this + 1) % 3;
        let inside = |i: usize| points[i].z >= NEAR_METRES;
        if inside(this) {
            add(points[this], normals[this]);
        }
        if inside(this) != inside(next) {
            // From the seen end always, so that both triangles at an edge cut it at the same point, to the bit.
            let (from, to) = if inside(this) { (this, next) } else { (next, this) };
            let share = (points[from].z - NEAR_METRES) / (points[from].z - points[to].z);
            let mut cut = points[from].lerp(points[to], share);
            cut.z = NEAR_METRES;
            add(cut, normals[from].lerp(normals[to], share as f32));
        }
    }
    (corners, count)
}
