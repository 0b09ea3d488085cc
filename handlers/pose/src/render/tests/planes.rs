//! Drawing into the planes of a frame.

use darkroom_media::PlaneMut;
use glam::{Vec2, Vec3};

use super::super::blend::{Carry, blend};
use super::super::canvas::{Canvas, Coding, Pixels};
use super::super::layer::Layer;
use super::super::mesh::{Mesh, Scene};
use super::super::tile::TILE;
use super::super::{Renderer, Stroke};
use super::{Dice, camera, sphere};

const BT709: Coding = Coding {
    kr: 0.2126,
    kb: 0.0722,
    full_range: false,
    depth: 8,
    log2_chroma_w: 1,
    log2_chroma_h: 1,
    cosited: true,
    white: 1.0,
};

/// Three planes with a margin at the end of each row.
struct Planes {
    size: [usize; 2],
    coding: Coding,
    data: [Vec<u8>; 3],
}

const MARGIN: usize = 6;

impl Planes {
    fn new(size: [usize; 2], coding: Coding, mut code: impl FnMut(usize, usize, usize) -> u16) -> Planes {
        let data = [0, 1, 2].map(|plane| {
            let (w, h) = dimensions(size, &coding, plane);
            let bytes = coding.sample_bytes();
            let mut data = vec![0xa5; (w * bytes + MARGIN) * h];
            for y in 0..h {
                for x in 0..w {
                    let at = y * (w * bytes + MARGIN) + x * bytes;
                    data[at..at + bytes].copy_from_slice(&code(plane, x, y).to_le_bytes()[..bytes]);
                }
            }
            data
        });
        Planes { size, coding, data }
    }

    fn canvas(&mut self) -> Canvas<'_> {
        let (size, coding) = (self.size, self.coding);
        let mut plane = 0;
        let [y, u, v] = self.data.each_mut().map(|data| {
            let stride = dimensions(size, &coding, plane).0 * coding.sample_bytes() + MARGIN;
            plane += 1;
            PlaneMut { data, stride }
        });
        Canvas::new(size[0], size[1], Pixels::Yuv { luma: y, chroma: Some([u, v]), coding }).unwrap()
    }

    fn code(&self, plane: usize, x: usize, y: usize) -> f64 {
        let (w, _) = dimensions(self.size, &self.coding, plane);
        let bytes = self.coding.sample_bytes();
        let at = y * (w * bytes + MARGIN) + x * bytes;
        let data = &self.data[plane];
        f64::from(if bytes == 1 { u16::from(data[at]) } else { u16::from_le_bytes([data[at], data[at + 1]]) })
    }

    fn margins_are_untouched(&self) -> bool {
        (0..3).all(|plane| {
            let row = dimensions(self.size, &self.coding, plane).0 * self.coding.sample_bytes();
            self.data[plane].chunks(row + MARGIN).all(|r| r[row..].iter().all(|b| *b == 0xa5))
        })
    }
}

fn dimensions(size: [usize; 2], coding: &Coding, plane: usize) -> (usize, usize) {
    if plane == 0 { (size[0], size[1]) } else { (coding.chroma_width(size[0]), coding.chroma_height(size[1])) }
}

/// Codes of a colour, from the standard's formulas.
fn codes(rgb: [f64; 3], coding: &Coding) -> [f64; 3] {
    let (kr, kb) = (f64::from(coding.kr), f64::from(coding.kb));
    let y = kr * rgb[0] + (1.0 - kr - kb) * rgb[1] + kb * rgb[2];
    let [cb, cr] = [(rgb[2] - y) / (2.0 - 2.0 * kb), (rgb[0] - y) / (2.0 - 2.0 * kr)];
    let unit = f64::from(1_u32 << (coding.depth - 8));
    let top = f64::from((1_u32 << coding.depth) - 1);
    let [l, o, c] = if coding.full_range { [top, 0.0, top] } else { [219.0 * unit, 16.0 * unit, 224.0 * unit] };
    [y * l + o, cb * c + 128.0 * unit, cr * c + 128.0 * unit]
}

#[test]
fn a_covered_pixel_is_the_exact_mix_of_codes() {
    let mut dice = Dice::new(1);
    for (depth, full_range) in [(8, false), (8, true), (10, false), (12, true), (16, false)] {
        let coding = Coding { depth, full_range, log2_chroma_w: 0, log2_chroma_h: 0, ..BT709 };
        let top = ((1_u32 << depth) - 1) as f32;
        let mut planes = Planes::new([TILE, TILE], coding, |_, _, _| (dice.roll() * top) as u16);
        let before = Planes { data: planes.data.clone(), ..planes };
        let mut layer = Layer::new();
        let mut wants = vec![];
        for pixel in 0..TILE * TILE {
            let alpha = [0.0, 0.25, 0.75, 1.0, dice.roll()][pixel % 5];
            let rgb = [dice.roll(), dice.roll(), dice.roll()];
            layer.add(pixel, rgb.map(|c| c * alpha), alpha);
            wants.push((f64::from(alpha), codes(rgb.map(f64::from), &coding)));
        }
        blend(&mut planes.canvas(), 0, &mut layer, &mut Carry::new());
        for (pixel, (alpha, colour)) in wants.iter().enumerate() {
            for (plane, colour) in colour.iter().enumerate() {
                let (x, y) = (pixel % TILE, pixel / TILE);
                let want = before.code(plane, x, y) * (1.0 - alpha) + colour * alpha;
                let want = want.clamp(0.0, f64::from(top));
                // Rounded to the nearest, but for what single precision cannot tell from a half.
                let off = (planes.code(plane, x, y) - want).abs();
                assert!(off <= 0.5 + 1e-6 * f64::from(top), "{depth} {plane} {pixel}: {off}");
                assert!(*alpha != 0.0 || off == 0.0);
            }
        }
        assert!(planes.margins_are_untouched());
    }
}

/// Two bodies and a line over a picture of one colour: into planes, and into RGB that is then converted.
#[test]
fn planes_become_what_rgb_becomes_when_it_is_converted() {
    let size = [135, 99];
    let one = sphere(Vec3::new(-0.3, 0.1, 2.0), 0.5, 24);
    let two = sphere(Vec3::new(0.4, -0.1, 2.4), 0.7, 24);
    let colours = [Vec3::new(0.9, 0.3, 0.2), Vec3::new(0.2, 0.4, 0.9)];
    let parts: Vec<u8> = (0..one.0.len()).map(|vertex| u8::from(vertex % 600 < 300)).collect();
    let meshes = [
        Mesh { positions: &one.0, normals: &one.1, triangles: &one.2, colours: &colours, parts: &parts },
        Mesh { positions: &two.0, normals: &two.1, triangles: &two.2, colours: &colours[1..], parts: &[] },
    ];
    let strokes = [Stroke {
        from: Vec2::new(-9.0, 80.0),
        to: Vec2::new(128.0, 20.0),
        radius_px: 2.5,
        colour: Vec3::new(0.1, 0.9, 0.1),
        opacity: 0.7,
    }];
    let scene = Scene { camera: camera(size), meshes: &meshes, opacity: 0.8, strokes: &strokes };
    let ground = [60_u8, 140, 90];
    let mut bytes: Vec<u8> = ground.iter().copied().cycle().take(3 * size[0] * size[1]).collect();
    let plane = PlaneMut { data: &mut bytes, stride: 3 * size[0] };
    let mut canvas = Canvas::new(size[0], size[1], Pixels::Rgb { plane, channels: 3 }).unwrap();
    Renderer::default().draw(&mut canvas, &scene).unwrap();
    let touched = bytes.chunks(3).filter(|p| *p != ground).count();
    assert!(touched > 3000 && touched < size[0] * size[1], "{touched}");

    for (w, h, cosited) in [(1, 1, true), (1, 1, false), (1, 0, true), (0, 0, true)] {
        for depth in [8, 10] {
            let coding = Coding { log2_chroma_w: w, log2_chroma_h: h, cosited, depth, ..BT709 };
            let flat = codes(ground.map(|c| f64::from(c) / 255.0), &coding);
            let mut planes = Planes::new(size, coding, |plane, _, _| flat[plane].round() as u16);
            Renderer::default().draw(&mut planes.canvas(), &scene).unwrap();
            let worst = worst_difference(&planes, &bytes);
            let unit = f64::from(1 << (depth - 8));
            // Rounding: half a code of the ground's planes, half of the result's, half of RGB's in each of three.
            let limit = 0.5 + unit * 0.5 + 0.5 * if depth == 8 { 1.0 } else { 0.25 };
            assert!(worst.iter().all(|d| *d <= limit), "{w} {h} {cosited} {depth}: {worst:?} for {limit}");
            assert!(planes.margins_are_untouched());
        }
    }
}

/// Of the three planes, from those that a picture in RGB converts to.
fn worst_difference(planes: &Planes, rgb: &[u8]) -> [f64; 3] {
    let ([w, h], coding) = (planes.size, &planes.coding);
    let at = |x: isize, y: usize| {
        let pixel = (y.min(h - 1) * w + x.clamp(0, w as isize - 1) as usize) * 3;
        codes([0, 1, 2].map(|c| f64::from(rgb[pixel + c]) / 255.0), coding)
    };
    let mut worst = [0.0_f64; 3];
    for (plane, worst) in worst.iter_mut().enumerate() {
        let (columns, rows) = dimensions(planes.size, coding, plane);
        let (sx, sy) = if plane == 0 { (0, 0) } else { (coding.log2_chroma_w, coding.log2_chroma_h) };
        let taps: &[(isize, f64)] = match (sx, coding.cosited) {
            (0, _) => &[(0, 1.0)],
            (_, true) => &[(-1, 0.25), (0, 0.5), (1, 0.25)],
            (_, false) => &[(0, 0.5), (1, 0.5)],
        };
        for y in 0..rows {
            for x in 0..columns {
                let mut want = 0.0;
                for (dx, weight) in taps {
                    for line in 0..1 << sy {
                        let x = ((x << sx) as isize) + dx;
                        want += at(x, (y << sy) + line)[plane] * weight / f64::from(1 << sy);
                    }
                }
                *worst = worst.max((planes.code(plane, x, y) - want).abs());
            }
        }
    }
    worst
}

#[test]
fn hostile_vertices_and_odd_pictures_write_nothing_outside() {
    let mut dice = Dice::new(5);
    let wild = [0.0, 1e30, -1e30, f32::NAN, f32::INFINITY, f32::NEG_INFINITY, 1e-30, 9e5, f32::MAX, -0.05];
    for size in [[1, 1], [2, 1], [33, 31], [64, 5], [5, 70]] {
        let any = |dice: &mut Dice| {
            if dice.roll() < 0.5 { dice.between(-1.0, 2.0) } else { wild[(dice.roll() * 10.0) as usize % 10] }
        };
        let positions: Vec<Vec3> =
            (0..600).map(|_| Vec3::new(any(&mut dice), any(&mut dice), any(&mut dice))).collect();
        // Some name vertices that are not there.
        let triangles: Vec<[u32; 3]> = (0..900).map(|_| [0; 3].map(|_: u32| (dice.roll() * 620.0) as u32)).collect();
        let meshes = [Mesh {
            positions: &positions,
            normals: &positions,
            triangles: &triangles,
            colours: &[Vec3::NAN],
            parts: &[],
        }];
        let strokes: Vec<Stroke> = (0..60)
            .map(|_| Stroke {
                from: Vec2::new(any(&mut dice), any(&mut dice)) * 40.0,
                to: Vec2::new(any(&mut dice), any(&mut dice)) * 40.0,
                radius_px: any(&mut dice) * 9.0,
                colour: Vec3::splat(any(&mut dice)),
                opacity: any(&mut dice),
            })
            .collect();
        let scene = Scene { camera: camera(size), meshes: &meshes, opacity: 0.9, strokes: &strokes };
        for depth in [8, 10] {
            let mut planes = Planes::new(size, Coding { depth, ..BT709 }, |_, _, _| 100);
            Renderer::default().draw(&mut planes.canvas(), &scene).unwrap();
            assert!(planes.margins_are_untouched(), "{size:?}");
        }
    }
}

#[test]
fn what_nothing_covers_keeps_its_bits_and_the_left_half_too() {
    let size = [200, 120];
    let (positions, normals, triangles) = sphere(Vec3::new(-0.4, 0.0, 2.0), 0.3, 16);
    let meshes =
        [Mesh { positions: &positions, normals: &normals, triangles: &triangles, colours: &[Vec3::ONE], parts: &[] }];
    let mut dice = Dice::new(8);
    let mut planes = Planes::new(size, BT709, |_, _, _| (dice.roll() * 255.0) as u16);
    let before = Planes { data: planes.data.clone(), ..planes };
    let scene = Scene { camera: camera([100, 120]), meshes: &meshes, opacity: 1.0, strokes: &[] };
    let mut right = planes.canvas().from_column(100).unwrap();
    Renderer::default().draw(&mut right, &scene).unwrap();
    let mut changed = 0;
    for y in 0..120 {
        for x in 0..200 {
            // The sphere's outline in the right half, and one pixel around it.
            let (dx, dy) = (x as f64 + 0.5 - (150.0 - 18.0), y as f64 + 0.5 - 60.0);
            let differs = planes.code(0, x, y) != before.code(0, x, y);
            assert!(!differs || dx.hypot(dy) < 15.5, "{x} {y}");
            changed += u32::from(differs);
        }
    }
    assert!(changed > 400, "{changed}");
    assert!(planes.canvas().from_column(101).is_err() && planes.canvas().from_column(200).is_err());
}

#[test]
fn planes_that_are_too_short_and_scenes_beyond_measure_are_refused() {
    for (width, height, fits) in [(1, 3, true), (1, 4, false), (2, 2, false)] {
        let plane = PlaneMut { data: &mut [0; 9], stride: 3 };
        assert_eq!(Canvas::new(width, height, Pixels::Rgb { plane, channels: 3 }).is_ok(), fits);
    }

    // A distorted body: each of its triangles covers all of a large picture.
    let size = [4096, 4096];
    let positions = [Vec3::new(-9.0, -9.0, 1.0), Vec3::new(-9.0, 30.0, 1.0), Vec3::new(30.0, -9.0, 1.0)];
    let meshes = [Mesh {
        positions: &positions,
        normals: &positions,
        triangles: &vec![[0, 1, 2]; 2000],
        colours: &[Vec3::ONE],
        parts: &[],
    }];
    let mut bytes = vec![7; 3 * size[0] * size[1]];
    let pixels = Pixels::Rgb { plane: PlaneMut { data: &mut bytes, stride: 3 * size[0] }, channels: 3 };
    let scene = Scene { camera: camera(size), meshes: &meshes, opacity: 1.0, strokes: &[] };
    assert!(Renderer::default().draw(&mut Canvas::new(size[0], size[1], pixels).unwrap(), &scene).is_err());
    assert!(bytes.iter().all(|b| *b == 7));
}

#[test]
fn a_disc_covers_its_area_and_a_line_is_as_wide_as_said() {
    let disc = |from, to, radius_px| Stroke { from, to, radius_px, colour: Vec3::ONE, opacity: 1.0 };
    for (stroke, area) in [
        (disc(Vec2::new(40.3, 40.7), Vec2::new(40.3, 40.7), 9.0), std::f32::consts::PI * 81.0),
        (disc(Vec2::new(10.0, 12.0), Vec2::new(70.0, 57.0), 2.0), 75.0 * 4.0 + std::f32::consts::PI * 4.0),
    ] {
        let size = [80, 80];
        let mut bytes = vec![0; 3 * 80 * 80];
        let pixels = Pixels::Rgb { plane: PlaneMut { data: &mut bytes, stride: 240 }, channels: 3 };
        let strokes = [stroke];
        let scene = Scene { camera: camera(size), meshes: &[], opacity: 1.0, strokes: &strokes };
        Renderer::default().draw(&mut Canvas::new(80, 80, pixels).unwrap(), &scene).unwrap();
        let sum: f32 = bytes.iter().step_by(3).map(|b| f32::from(*b) / 255.0).sum();
        assert!((sum / area - 1.0).abs() < 0.01, "{sum} for {area}");
    }
}
