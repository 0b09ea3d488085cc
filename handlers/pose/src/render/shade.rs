//! From samples to colours: one shading a pixel, or one a surface where several meet.

use glam::Vec3;

use super::layer::Layer;
use super::mesh::Scene;
use super::setup::Triangle;
use super::simd::vectorised;
use super::tile::{OFFSETS, SAMPLES, Samples, TILE};

/// Samples of a pixel whose inverse depths differ by less than this share are of one surface.
const ONE_SURFACE: f32 = 0.01;
/// Light from everywhere.
const AMBIENT: f32 = 0.3;
/// The key light: from the upper left, beside the camera. Soft: it reaches a bit around the body.
const KEY: Vec3 = Vec3::new(-0.408, -0.612, -0.677);
const KEY_STRENGTH: f32 = 0.62;
const KEY_WRAP: f32 = 0.2;
/// A weak light from the other side, so that shadows have shape.
const FILL: Vec3 = Vec3::new(0.707, -0.141, -0.693);
const FILL_STRENGTH: f32 = 0.16;
/// Brightness added where a surface turns away, so that limbs stand out before the trunk.
const RIM_STRENGTH: f32 = 0.10;

/// Pieces of surface to be shaded, in columns.
pub(super) struct Pieces {
    count: usize,
    normal: [Vec<f32>; 3],
    /// Place in the tile.
    pixel: Vec<u16>,
    /// Samples they stand for.
    samples: Vec<f32>,
    mesh: Vec<u32>,
    light: Vec<f32>,
    rim: Vec<f32>,
}

/// How a scene's camera looks at a tile: direction of its first pixel's centre and the step to the next.
struct View {
    first: [f32; 2],
    step: f32,
}

impl Pieces {
    pub(super) fn new() -> Pieces {
        let most = TILE * TILE * SAMPLES;
        let floats = || vec![0.0; most];
        Pieces {
            count: 0,
            normal: [floats(), floats(), floats()],
            pixel: vec![0; most],
            samples: floats(),
            mesh: vec![0; most],
            light: floats(),
            rim: floats(),
        }
    }

    /// Shades a tile's samples and adds them to its layer.
    pub(super) fn shade(
        &mut self,
        samples: &Samples,
        triangles: &[Triangle],
        scene: &Scene<'_>,
        corner: [usize; 2],
        layer: &mut Layer,
    ) {
        self.gather(samples, triangles, corner);
        let step = 1.0 / scene.camera.focal_px;
        let centre = scene.camera.centre_px;
        let view = View {
            first: [(corner[0] as f32 + 0.5 - centre.x) * step, (corner[1] as f32 + 0.5 - centre.y) * step],
            step,
        };
        let count = self.count;
        let [x, y, z] = &self.normal;
        let normals = [&x[..count], &y[..count], &z[..count]];
        light(normals, &self.pixel[..count], &view, &mut self.light[..count], &mut self.rim[..count]);
        let share = scene.opacity.clamp(0.0, 1.0) / SAMPLES as f32;
        for piece in 0..count {
            let colour = scene.meshes[self.mesh[piece] as usize].colour * self.light[piece] + self.rim[piece];
            let weight = self.samples[piece] * share;
            layer.add(self.pixel[piece] as usize, colour.clamp(Vec3::ZERO, Vec3::ONE), weight);
        }
    }

    /// Finds the surfaces that the samples of each pixel belong to.
    fn gather(&mut self, samples: &Samples, triangles: &[Triangle], corner: [usize; 2]) {
        self.count = 0;
        let depths = samples.inverse_depth.as_chunks::<SAMPLES>().0;
        let ids = samples.triangle.as_chunks::<SAMPLES>().0;
        for (pixel, (depth, id)) in depths.iter().zip(ids).enumerate() {
            let mut left = depth.map(|d| d > 0.0);
            if left == [false; SAMPLES] {
                continue;
            }
            let at = |offset: [f32; 2]| {
                [(corner[0] + pixel % TILE) as f32 + offset[0], (corner[1] + pixel / TILE) as f32 + offset[1]]
            };
            if left == [true; SAMPLES] && *id == [id[0]; SAMPLES] {
                self.push(&triangles[id[0] as usize], at([0.5, 0.5]), pixel, SAMPLES);
                continue;
            }
            while let Some(first) = left.iter().position(|l| *l) {
                let triangle = &triangles[id[first] as usize];
                let mut together = 0;
                for other in first..SAMPLES {
                    let near = (depth[other] - depth[first]).abs() <= ONE_SURFACE * depth[first];
                    if left[other] && near && triangles[id[other] as usize].mesh == triangle.mesh {
                        left[other] = false;
                        together += 1;
                    }
                }
                // At a sample, not at the centre: there the triangle's normal may be far outside of what it spans.
                self.push(triangle, at(OFFSETS[first]), pixel, together);
            }
        }
    }

    #[inline(always)]
    fn push(&mut self, triangle: &Triangle, [x, y]: [f32; 2], pixel: usize, samples: usize) {
        let at = self.count;
        let [normal, along_x, along_y] = triangle.normal;
        let normal = normal + along_x * (x - triangle.origin[0]) + along_y * (y - triangle.origin[1]);
        self.normal[0][at] = normal.x;
        self.normal[1][at] = normal.y;
        self.normal[2][at] = normal.z;
        self.pixel[at] = pixel as u16;
        self.samples[at] = samples as f32;
        self.mesh[at] = triangle.mesh;
        self.count += 1;
    }
}

vectorised! {
    /// How bright each piece of surface is, as a factor of its colour and as an addition.
    fn light(normals: [&[f32]; 3], pixels: &[u16], view: &View, light: &mut [f32], rim: &mut [f32]) {
        let [x, y, z] = normals;
        let pieces = x.iter().zip(y).zip(z).zip(pixels).zip(light.iter_mut().zip(rim.iter_mut()));
        for ((((x, y), z), pixel), (light, rim)) in pieces {
            let long = 1.0 / (x * x + y * y + z * z).max(1e-30).sqrt();
            let (x, y, z) = (x * long, y * long, z * long);
            let key = (x * KEY.x + y * KEY.y + z * KEY.z + KEY_WRAP).max(0.0) * (1.0 / (1.0 + KEY_WRAP));
            let fill = (x * FILL.x + y * FILL.y + z * FILL.z).max(0.0);
            *light = AMBIENT + KEY_STRENGTH * key + FILL_STRENGTH * fill;

            let across = view.first[0] + f32::from(pixel % TILE as u16) * view.step;
            let down = view.first[1] + f32::from(pixel / TILE as u16) * view.step;
            let towards = (x * across + y * down + z).abs() / (across * across + down * down + 1.0).sqrt();
            let away = (1.0 - towards).max(0.0);
            *rim = RIM_STRENGTH * away * away * away;
        }
    }
}
