//! CPU time of drawing bodies over frames of 1920x1080 in 4:2:0.
//!
//! `cargo run --release -p darkroom-pose --example raster_bench [body.safetensors]` draws the body of that file (what
//! `darkroom models fetch pose/body` makes) at rest; without one, a figure of 27,000 triangles made of spheroids.
//! `RAYON_NUM_THREADS=1` measures one core.

#![allow(clippy::print_stdout, reason = "that is what it is for")]

use std::path::Path;
use std::time::Instant;

use darkroom_media::PlaneMut;
use darkroom_pose::body::{Body, normals as vertex_normals};
use darkroom_pose::render::{BLAZEPOSE, Canvas, Coding, Mesh, Pixels, Renderer, Scene, Stroke};
use darkroom_pose::view::Camera;
use glam::{Vec2, Vec3};

const WIDTH: usize = 1920;
const HEIGHT: usize = 1080;
const ROUNDS: u32 = 40;
const COLOURS: [Vec3; 3] = [Vec3::new(0.65, 0.74, 0.86), Vec3::new(0.93, 0.66, 0.53), Vec3::new(0.66, 0.85, 0.6)];

/// Vertices and triangles.
type Figure = (Vec<Vec3>, Vec<[u32; 3]>);

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let (positions, triangles) = match std::env::args_os().nth(1) {
        Some(path) => {
            let body = Body::load(Path::new(&path))?;
            (body.vertices().to_vec(), body.triangles().to_vec())
        }
        None => figure(),
    };
    println!("{} vertices, {} triangles", positions.len(), triangles.len());
    let scenes: [(&str, Vec<Vec3>); 4] = [
        ("nobody", vec![]),
        ("one person", vec![Vec3::new(0.0, 0.0, 3.3)]),
        ("three", vec![Vec3::new(-0.9, 0.0, 3.4), Vec3::new(0.0, 0.1, 3.2), Vec3::new(0.9, 0.0, 3.0)]),
        ("close-up", vec![Vec3::new(0.0, 0.5, 1.2)]),
    ];
    for (name, places) in scenes {
        measure(name, (&positions, &triangles), &places, &[])?;
    }
    let mut strokes = Vec::new();
    for person in 0..10 {
        // Points all over a person's rectangle: longer lines than a body's.
        let at = |i: usize| Vec2::new((i * 97 % 200) as f32 + 180.0 * person as f32, (i * 61 % 900) as f32 + 90.0);
        let points: Vec<Vec2> = (0..BLAZEPOSE.points).map(at).collect();
        BLAZEPOSE.draw(&points, &[1.0; 33], 1.0, &mut strokes);
    }
    measure("ten skeletons", (&positions, &triangles), &[], &strokes)?;
    Ok(())
}

fn measure(
    name: &str,
    (body, triangles): (&[Vec3], &[[u32; 3]]),
    places: &[Vec3],
    strokes: &[Stroke],
) -> Result<(), Box<dyn std::error::Error>> {
    let posed: Vec<Vec<Vec3>> = places.iter().map(|at| body.iter().map(|p| *p + *at).collect()).collect();
    let mut normals: Vec<Vec<Vec3>> = vec![Vec::new(); posed.len()];
    let mut renderer = Renderer::default();
    let (mut luma, mut u, mut v) =
        (vec![90; WIDTH * HEIGHT], vec![128; WIDTH * HEIGHT / 4], vec![128; WIDTH * HEIGHT / 4]);
    let (mut of_normals, mut best, mut cpu) = (0.0, f64::INFINITY, f64::INFINITY);
    for _ in 0..ROUNDS {
        let start = Instant::now();
        for (positions, normals) in posed.iter().zip(&mut normals) {
            vertex_normals(positions, triangles, normals);
        }
        of_normals += start.elapsed().as_secs_f64() * 1e3 / f64::from(ROUNDS);
        let meshes: Vec<Mesh<'_>> = posed
            .iter()
            .zip(&normals)
            .zip(COLOURS.chunks(1))
            .map(|((positions, normals), colours)| Mesh { positions, normals, triangles, colours, parts: &[] })
            .collect();
        let camera =
            Camera { focal_px: 1.2 * WIDTH as f32, centre_px: Vec2::new(WIDTH as f32 / 2.0, HEIGHT as f32 / 2.0) };
        let scene = Scene { camera, meshes: &meshes, opacity: 0.8, strokes };
        let coding = Coding {
            kr: 0.2126,
            kb: 0.0722,
            full_range: false,
            depth: 8,
            log2_chroma_w: 1,
            log2_chroma_h: 1,
            cosited: true,
            white: 1.0,
        };
        let half = |data| PlaneMut { data, stride: WIDTH / 2 };
        let pixels = Pixels::Yuv {
            luma: PlaneMut { data: &mut luma, stride: WIDTH },
            chroma: Some([half(&mut u), half(&mut v)]),
            coding,
        };
        let mut canvas = Canvas::new(WIDTH, HEIGHT, pixels)?;
        let (start, cpu_start) = (Instant::now(), process_cpu_ms());
        renderer.draw(&mut canvas, &scene)?;
        best = best.min(start.elapsed().as_secs_f64() * 1e3);
        cpu = cpu.min(process_cpu_ms() - cpu_start);
    }
    let drawn = luma.iter().filter(|y| **y != 90).count() as f64 / luma.len() as f64;
    println!("{name}: {best:.2} ms, {cpu:.2} CPU-ms, covers {:.1} %; normals {of_normals:.2} ms", drawn * 100.0);
    Ok(())
}

/// User and system time of all threads.
fn process_cpu_ms() -> f64 {
    // Fields 14 and 15 count in hundredths of a second: too coarse. The scheduler's own sum is in nanoseconds, a thread each.
    let mut sum = 0.0;
    for task in std::fs::read_dir("/proc/self/task").into_iter().flatten().flatten() {
        let text = std::fs::read_to_string(task.path().join("schedstat")).unwrap_or_default();
        sum += text.split(' ').next().and_then(|ns| ns.parse::<f64>().ok()).unwrap_or(0.0) / 1e6;
    }
    sum
}

/// A standing figure of spheroids: head, trunk, two arms and legs of two parts each.
fn figure() -> Figure {
    let parts = [
        (Vec3::new(0.0, -0.72, 0.0), Vec3::new(0.09, 0.13, 0.1)),
        (Vec3::new(0.0, -0.3, 0.0), Vec3::new(0.18, 0.32, 0.12)),
        (Vec3::new(0.0, -0.05, 0.0), Vec3::new(0.17, 0.16, 0.12)),
        (Vec3::new(0.26, -0.35, 0.0), Vec3::new(0.06, 0.18, 0.06)),
        (Vec3::new(-0.26, -0.35, 0.0), Vec3::new(0.06, 0.18, 0.06)),
        (Vec3::new(0.3, -0.05, 0.0), Vec3::new(0.05, 0.17, 0.05)),
        (Vec3::new(-0.3, -0.05, 0.0), Vec3::new(0.05, 0.17, 0.05)),
        (Vec3::new(0.1, 0.22, 0.0), Vec3::new(0.085, 0.25, 0.09)),
        (Vec3::new(-0.1, 0.22, 0.0), Vec3::new(0.085, 0.25, 0.09)),
        (Vec3::new(0.1, 0.6, 0.0), Vec3::new(0.06, 0.24, 0.065)),
        (Vec3::new(-0.1, 0.6, 0.0), Vec3::new(0.06, 0.24, 0.065)),
    ];
    let (mut positions, mut triangles) = (Vec::new(), Vec::new());
    const RINGS: u32 = 35;
    const AROUND: u32 = 35;
    for (centre, radii) in parts {
        let first = positions.len() as u32;
        for ring in 0..=RINGS {
            let (down, up) = (std::f32::consts::PI * ring as f32 / RINGS as f32).sin_cos();
            for step in 0..AROUND {
                let (sin, cos) = (std::f32::consts::TAU * step as f32 / AROUND as f32).sin_cos();
                positions.push(centre + radii * Vec3::new(down * cos, -up, down * sin));
            }
        }
        for ring in 0..RINGS {
            for step in 0..AROUND {
                let at = |ring: u32, step: u32| first + ring * AROUND + step % AROUND;
                let [a, b, c, d] = [at(ring, step), at(ring, step + 1), at(ring + 1, step + 1), at(ring + 1, step)];
                triangles.extend([[a, b, c], [a, c, d]]);
            }
        }
    }
    (positions, triangles)
}
