//! From samples to colours: one shading a pixel, or one a surface where several meet.

use glam::Vec3;

use super::layer::Layer;
use super::mesh::Scene;
use super::setup::Triangle;
use super::simd::{unit, vectorised};
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
    /// Mesh and part.
    paint: Vec<(u32, u8)>,
    /// Red, green and blue times what they cover.
    colour: [Vec<f32>; 3],
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
            paint: vec![(0, 0); most],
            colour: [floats(), floats(), floats()],
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
        let share = scene.opacity.clamp(0.0, 1.0) / SAMPLES as f32;
        let mut from = 0;
        for run in self.paint[..self.count].chunk_by(|a, b| a == b) {
            let (at, [x, y, z]) = (from..from + run.len(), &self.normal);
            let [red, green, blue] = &mut self.colour;
            light(
                [&x[at.clone()], &y[at.clone()], &z[at.clone()]],
                &self.pixel[at.clone()],
                &self.samples[at.clone()],
                &view,
                scene.meshes[run[0].0 as usize].colour(run[0].1),
                share,
                [&mut red[at.clone()], &mut green[at.clone()], &mut blue[at]],
            );
            from += run.len();
        }
        for piece in 0..self.count {
            let [red, green, blue] = &self.colour;
            let colour = [red[piece], green[piece], blue[piece]];
            layer.add(self.pixel[piece] as usize, colour, self.samples[piece] * share);
        }
    }

    /// Finds the surfaces that the samples of each pixel belong to.
    fn gather(&mut self, samples: &Samples, triangles: &[Triangle], corner: [usize; 2]) {
        self.count = 0;
        let depths = samples.inverse_depth.as_chunks::<SAMPLES>().0;
        let ids = samples.triangle.as_chunks::<SAMPLES>().0;
        for (pixel, (depth, id)) in depths.iter().zip(ids).enumerate() {
            // Depths are positive numbers: none of their bits is set where nothing is.
            let [a, b, c, d] = depth.map(f32::to_bits);
            if a | b | c | d == 0 {
                continue;
            }
            let at = |offset: [f32; 2]| {
                [(corner[0] + pixel % TILE) as f32 + offset[0], (corner[1] + pixel / TILE) as f32 + offset[1]]
            };
            let one = id[0] == id[1] && id[0] == id[2] && id[0] == id[3];
            if one && a != 0 && b != 0 && c != 0 && d != 0 {
                self.push(&triangles[id[0] as usize], at([0.5, 0.5]), pixel, SAMPLES);
                continue;
            }
            let mut left = depth.map(|d| d > 0.0);
            while let Some(first) = left.iter().position(|l| *l) {
                let triangle = &triangles[id[first] as usize];
                let mut together = 0;
                for other in first..SAMPLES {
                    let near = (depth[other] - depth[first]).abs() <= ONE_SURFACE * depth[first];
                    let its = &triangles[id[other] as usize];
                    if left[other] && near && its.mesh == triangle.mesh && its.part == triangle.part {
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
        self.paint[at] = (triangle.mesh, triangle.part);
        self.count += 1;
    }
}

vectorised! {
    /// The colour of each piece of surface of a mesh, times what it covers: `share` for each of its samples.
    fn light(
        normals: [&[f32]; 3],
        pixels: &[u16],
        samples: &[f32],
        view: &View,
        colour: Vec3,
        share: f32,
        out: [&mut [f32]; 3],
    ) {
        let ([x, y, z], [red, green, blue]) = (normals, out);
        let out = red.iter_mut().zip(green).zip(blue);
        let pieces = x.iter().zip(y).zip(z).zip(pixels.iter().zip(samples)).zip(out);
        for ((((x, y), z), (pixel, samples)), ((red, green), blue)) in pieces {
            let long = 1.0 / (x * x + y * y + z * z).max(1e-30).sqrt();
            let (x, y, z) = (x * long, y * long, z * long);
            let key = (x * KEY.x + y * KEY.y + z * KEY.z + KEY_WRAP).max(0.0) * (1.0 / (1.0 + KEY_WRAP));
            let fill = (x * FILL.x + y * FILL.y + z * FILL.z).max(0.0);
            let light = AMBIENT + KEY_STRENGTH * key + FILL_STRENGTH * fill;

            let across = view.first[0] + f32::from(pixel % TILE as u16) * view.step;
            let down = view.first[1] + f32::from(pixel / TILE as u16) * view.step;
            let towards = (x * across + y * down + z).abs() / (across * across + down * down + 1.0).sqrt();
            let away = (1.0 - towards).max(0.0);
            let rim = RIM_STRENGTH * away * away * away;

            let cover = samples * share;
            *red = unit(colour.x * light + rim) * cover;
            *green = unit(colour.y * light + rim) * cover;
            *blue = unit(colour.z * light + rim) * cover;
        }
    }
}
