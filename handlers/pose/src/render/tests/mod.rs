//! The whole rasteriser against a reference that is slow and obvious.

mod exact;
mod planes;
mod reference;

use glam::{Vec2, Vec3};

use super::bins::Bins;
use super::mesh::{Mesh, Scene};
use super::setup::{Triangle, set_up};
use super::tile::{SAMPLES, Samples, TILE};
use crate::view::Camera;

/// Numbers that look random and are the same each time.
pub struct Dice(u64);

impl Dice {
    pub fn new(seed: u64) -> Dice {
        Dice(seed)
    }

    /// 0 to 1.
    pub fn roll(&mut self) -> f32 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 40) as f32 / (1_u64 << 24) as f32
    }

    pub fn between(&mut self, low: f32, high: f32) -> f32 {
        low + (high - low) * self.roll()
    }
}

pub fn camera(size: [usize; 2]) -> Camera {
    Camera { focal_px: 0.9 * size[0] as f32, centre_px: Vec2::new(size[0] as f32 * 0.5, size[1] as f32 * 0.5) }
}

pub fn scene<'a>(camera: Camera, meshes: &'a [Mesh<'a>]) -> Scene<'a> {
    Scene { camera, meshes, opacity: 1.0, strokes: &[] }
}

/// A sphere seen from outside.
pub fn sphere(centre: Vec3, radius: f32, rings: u32) -> (Vec<Vec3>, Vec<Vec3>, Vec<[u32; 3]>) {
    let (mut positions, mut normals, mut triangles) = (vec![], vec![], vec![]);
    for ring in 0..=rings {
        let (out, up) = (std::f32::consts::PI * ring as f32 / rings as f32).sin_cos();
        for step in 0..rings {
            let (sin, cos) = (std::f32::consts::TAU * step as f32 / rings as f32).sin_cos();
            let normal = Vec3::new(out * cos, -up, out * sin);
            positions.push(centre + normal * radius);
            normals.push(normal);
        }
    }
    for ring in 0..rings {
        for step in 0..rings {
            let at = |ring: u32, step: u32| ring * rings + step % rings;
            let [a, b, c, d] = [at(ring, step), at(ring, step + 1), at(ring + 1, step + 1), at(ring + 1, step)];
            triangles.extend([[a, b, c], [a, c, d]]);
        }
    }
    (positions, normals, triangles)
}

/// What the rasteriser sees at each sample of a picture: inverse depth (zero for nothing) and mesh.
pub fn seen(scene: &Scene<'_>, size: [usize; 2]) -> Vec<(f32, u32)> {
    let (mut vertices, mut triangles, mut bins) = (vec![], vec![], Bins::default());
    for index in 0..scene.meshes.len() {
        set_up(scene, index, size, &mut vertices, &mut triangles);
    }
    bins.fill(&triangles, size).unwrap();
    look(&triangles, &bins, size)
}

fn look(triangles: &[Triangle], bins: &Bins, size: [usize; 2]) -> Vec<(f32, u32)> {
    let mut all = vec![(0.0, 0); size[0] * size[1] * SAMPLES];
    let mut samples = Samples::new();
    for row in 0..size[1].div_ceil(TILE) {
        for column in 0..size[0].div_ceil(TILE) {
            samples.draw(triangles, bins.tile(column, row), [column * TILE, row * TILE]);
            for (at, depth) in samples.inverse_depth.iter().enumerate() {
                let (pixel, sample) = (at / SAMPLES, at % SAMPLES);
                let (x, y) = (column * TILE + pixel % TILE, row * TILE + pixel / TILE);
                if x < size[0] && y < size[1] && *depth > 0.0 {
                    let mesh = triangles[samples.triangle[at] as usize].mesh;
                    all[(y * size[0] + x) * SAMPLES + sample] = (*depth, mesh);
                }
            }
        }
    }
    all
}
