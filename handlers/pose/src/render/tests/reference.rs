//! Rays through samples, in double precision.

use glam::{DVec2, DVec3, Vec3};

use super::super::clip::NEAR_METRES;
use super::super::mesh::{Mesh, Scene};
use super::super::tile::{OFFSETS, SAMPLES};
use super::{Dice, camera, scene, seen};

/// How near an edge a sample may be decided either way, in pixels.
const EDGE_PX: f64 = 1e-4;

/// The nearest front face on the ray through a point of the picture: distance along the axis and mesh.
fn hit(scene: &Scene<'_>, at: DVec2) -> Option<(f64, u32)> {
    let off = (at - scene.camera.centre_px.as_dvec2()) / f64::from(scene.camera.focal_px);
    let ray = DVec3::new(off.x, off.y, 1.0);
    let mut nearest = None;
    for (index, mesh) in scene.meshes.iter().enumerate() {
        for triangle in mesh.triangles {
            let [a, b, c] = triangle.map(|i| mesh.positions[i as usize].as_dvec3());
            let normal = (b - a).cross(c - a);
            let facing = normal.dot(ray);
            if facing >= 0.0 {
                continue;
            }
            // As z of the ray is one, its parameter is the distance along the axis.
            let z = normal.dot(a) / facing;
            let p = ray * z;
            let within = [(a, b), (b, c), (c, a)].iter().all(|(a, b)| (b - a).cross(p - a).dot(normal) >= 0.0);
            if within && z >= NEAR_METRES && nearest.is_none_or(|(best, _)| z < best) {
                nearest = Some((z, index as u32));
            }
        }
    }
    nearest
}

/// Compares every sample that no edge is near to; returns how many were compared, covered and left out.
fn compare(scene: &Scene<'_>, size: [usize; 2]) -> [usize; 3] {
    let drawn = seen(scene, size);
    let [mut compared, mut covered, mut close] = [0; 3];
    for (at, (inverse_depth, mesh)) in drawn.iter().enumerate() {
        let (pixel, [x, y]) = (at / SAMPLES, OFFSETS[at % SAMPLES]);
        let point = DVec2::new((pixel % size[0]) as f64 + f64::from(x), (pixel / size[0]) as f64 + f64::from(y));
        let want = hit(scene, point);
        let got = (*inverse_depth > 0.0).then_some(*mesh);
        let off = want.map_or(0.0, |(z, _)| (z * f64::from(*inverse_depth) - 1.0).abs());
        if got == want.map(|w| w.1) && off < 1e-4 {
            compared += 1;
            covered += usize::from(got.is_some());
            continue;
        }
        // Not as expected: only where the reference itself changes within the tolerance.
        let around =
            [(1.0, 0.0), (-1.0, 0.0), (0.0, 1.0), (0.0, -1.0), (0.7, 0.7), (-0.7, 0.7), (0.7, -0.7), (-0.7, -0.7)];
        let excused = around.iter().any(|(dx, dy)| {
            let near = hit(scene, point + DVec2::new(*dx, *dy) * EDGE_PX);
            got == near.map(|n| n.1) && near.is_none_or(|(z, _)| (z * f64::from(*inverse_depth) - 1.0).abs() < 1e-3)
        });
        assert!(excused, "{point}: {got:?} at {inverse_depth} for {want:?}");
        close += 1;
    }
    [compared, covered, close]
}

/// Triangles anywhere: large and small, through one another and through the near plane.
fn soup(dice: &mut Dice, count: u32, size: f32) -> (Vec<Vec3>, Vec<[u32; 3]>) {
    let mut positions = vec![];
    for _ in 0..count {
        let z = dice.between(-0.3, 3.0);
        let centre =
            Vec3::new(dice.between(-1.0, 1.0) * z.abs().max(0.2), dice.between(-1.0, 1.0) * z.abs().max(0.2), z);
        let spread = size * dice.between(0.05, 1.0);
        for _ in 0..3 {
            let by = |dice: &mut Dice| dice.between(-spread, spread);
            positions.push(centre + Vec3::new(by(dice), by(dice), by(dice)));
        }
    }
    (positions, (0..count).map(|i| [3 * i, 3 * i + 1, 3 * i + 2]).collect())
}

#[test]
fn samples_see_what_rays_hit() {
    let size = [101, 67];
    let mut sums = [0; 3];
    for seed in 0..24 {
        let mut dice = Dice::new(seed);
        let spread = [0.05, 0.3, 1.5][seed as usize % 3];
        let soups = [soup(&mut dice, 30, spread), soup(&mut dice, 30, spread)];
        let meshes = soups.each_ref().map(|(positions, triangles)| Mesh {
            positions,
            normals: positions,
            triangles,
            colours: &[Vec3::ONE],
            parts: &[],
        });
        let counts = compare(&scene(camera(size), &meshes), size);
        sums = std::array::from_fn(|i| sums[i] + counts[i]);
    }
    let [compared, covered, close] = sums;
    assert!(covered * 5 > compared && close * 10_000 < compared, "{sums:?}");
}

#[test]
fn a_floor_under_the_camera_is_cut_at_the_near_plane_and_not_dropped() {
    let size = [64, 64];
    let positions = [
        Vec3::new(-40.0, 0.5, -9.0),
        Vec3::new(40.0, 0.5, -9.0),
        Vec3::new(40.0, 0.5, 90.0),
        Vec3::new(-40.0, 0.5, 90.0),
    ];
    let mesh = Mesh {
        positions: &positions,
        normals: &positions,
        triangles: &[[0, 1, 2], [0, 2, 3]],
        colours: &[Vec3::ONE],
        parts: &[],
    };
    let meshes = [mesh];
    let scene = scene(camera(size), &meshes);
    let [_, covered, _] = compare(&scene, size);
    // All below the horizon, which is a little under the middle as the floor ends.
    assert!(covered > size[0] * 30 * SAMPLES && covered <= size[0] * 32 * SAMPLES, "{covered}");
}
