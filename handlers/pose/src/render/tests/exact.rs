//! Each sample of a surface belongs to one triangle.

use glam::{Vec2, Vec3};

use super::super::bins::Bins;
use super::super::mesh::Mesh;
use super::super::setup::set_up;
use super::super::tile::SAMPLES;
use super::{Dice, look, scene, sphere};
use crate::view::Camera;

/// One metre away one metre is one pixel: corners are where they are put, to the bit.
const PLAIN: Camera = Camera { focal_px: 1.0, centre_px: Vec2::ZERO };

/// How often each sample is drawn when each triangle is drawn alone.
fn counts(mesh: Mesh<'_>, camera: Camera, size: [usize; 2]) -> Vec<u32> {
    let mut counts = vec![0; size[0] * size[1] * SAMPLES];
    for triangle in mesh.triangles {
        let meshes = [Mesh { triangles: std::slice::from_ref(triangle), ..mesh }];
        let (mut vertices, mut triangles, mut bins) = (vec![], vec![], Bins::default());
        set_up(&scene(camera, &meshes), 0, size, &mut vertices, &mut triangles);
        bins.fill(&triangles, size).unwrap();
        for (count, (depth, _)) in counts.iter_mut().zip(look(&triangles, &bins, size)) {
            *count += u32::from(depth > 0.0);
        }
    }
    counts
}

/// A sheet over more than the picture, its inner corners moved by `shift`.
fn sheet(cells: u32, size: f32, mut shift: impl FnMut() -> Vec2) -> (Vec<Vec3>, Vec<[u32; 3]>) {
    let step = (size / cells as f32).ceil();
    let mut positions = vec![];
    for y in 0..=cells {
        for x in 0..=cells {
            let edge = x == 0 || y == 0 || x == cells || y == cells;
            let by = if edge { Vec2::ZERO } else { shift() };
            positions.push((Vec2::new(x as f32, y as f32) * step - 1.0 + by).extend(1.0));
        }
    }
    let at = |x: u32, y: u32| y * (cells + 1) + x;
    let quads = (0..cells).flat_map(|y| (0..cells).map(move |x| (x, y)));
    let triangles = quads.flat_map(|(x, y)| {
        let [a, b, c, d] = [at(x, y), at(x + 1, y), at(x + 1, y + 1), at(x, y + 1)];
        // Both ways to cut a square.
        if (x + y) % 2 == 0 { [[a, c, b], [a, d, c]] } else { [[a, d, b], [b, d, c]] }
    });
    (positions, triangles.collect())
}

#[test]
fn samples_on_shared_edges_and_corners_are_drawn_once() {
    let mut dice = Dice::new(3);
    // Corners on samples exactly (multiples of 1/8), edges through them, and corners anywhere.
    for round in 0..4 {
        let mut shift = || {
            let by = Vec2::new(dice.between(-2.9, 2.9), dice.between(-2.9, 2.9));
            [Vec2::new(0.375, 0.125), (by * 8.0).round() / 8.0, by.round(), by][round]
        };
        let (positions, triangles) = sheet(8, 60.0, &mut shift);
        let mesh = Mesh {
            positions: &positions,
            normals: &positions,
            triangles: &triangles,
            colours: &[Vec3::ONE],
            parts: &[],
        };
        let counts = counts(mesh, PLAIN, [54, 54]);
        assert!(counts.iter().all(|c| *c == 1), "{round}: {:?}", counts.iter().position(|c| *c != 1));
    }
}

#[test]
fn the_outline_of_a_closed_body_is_drawn_once_everywhere_inside() {
    let (positions, normals, triangles) = sphere(Vec3::new(0.1, -0.05, 2.0), 0.7, 14);
    let mesh =
        Mesh { positions: &positions, normals: &normals, triangles: &triangles, colours: &[Vec3::ONE], parts: &[] };
    let camera = Camera { focal_px: 90.0, centre_px: Vec2::new(40.0, 40.0) };
    let counts = counts(mesh, camera, [80, 80]);
    // A convex body: twice nowhere; holes would be zeros between ones of a row.
    assert!(counts.iter().all(|c| *c <= 1));
    for row in counts.chunks(80 * SAMPLES) {
        for sample in 0..SAMPLES {
            let line: Vec<u32> = row.iter().skip(sample).step_by(SAMPLES).copied().collect();
            let changes = line.windows(2).filter(|w| w[0] != w[1]).count();
            assert!(changes <= 2, "{line:?}");
        }
    }
}
