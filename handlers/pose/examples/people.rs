//! Who is found in a video, how long it takes, and pictures to look at.
//!
//! usage: people FILE [DIRECTORY [EACH]]   draws each EACH-th frame into the directory
//! BLAZEPOSE=lite|full|heavy chooses the model, FRAMES=N ends after N frames. The models are those of the registry.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a tool for developers")]

use std::io::BufWriter;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use darkroom_inference::{Precision, Runtime, RuntimeOptions};
use darkroom_media::colour::{Hdr, ToRgb};
use darkroom_media::{Frame, ReadOptions, Reader};
use darkroom_models::RegistryConfig;
use darkroom_pose::people::{
    BlazePose, BlazePoseDetector, Candidate, Detector, Estimate, Finder, NanoDet, PoseModel, Roi, Schedule, Sighting,
    Track,
};
use glam::Vec2;
use rustix::time::{ClockId, clock_gettime};

/// CPU time of this process.
fn cpu() -> Duration {
    let now = clock_gettime(ClockId::ProcessCPUTime);
    Duration::new(now.tv_sec.unsigned_abs(), u32::try_from(now.tv_nsec).unwrap())
}

/// Tells what each call of what it wraps costs.
struct Timed<T>(T, &'static str, Duration, u32);

impl<T> Timed<T> {
    fn new(inner: T, name: &'static str) -> Timed<T> {
        Timed(inner, name, Duration::ZERO, 0)
    }
}

impl<T> Drop for Timed<T> {
    fn drop(&mut self) {
        println!("{}: {} calls, {:.2} ms of CPU time each", self.1, self.3, ms(self.2) / f64::from(self.3.max(1)));
    }
}

impl<T: Detector> Detector for Timed<T> {
    fn detect(&mut self, frame: &Frame) -> darkroom_api::Result<Vec<Candidate>> {
        let started = cpu();
        let found = self.0.detect(frame);
        (self.2, self.3) = (self.2 + (cpu() - started), self.3 + 1);
        if std::env::var_os("TELL").is_some() {
            for c in found.iter().flatten() {
                println!("  {} {:.2} {:.0} {:.0}", self.1, c.score, c.bounds.min, c.bounds.max);
            }
        }
        found
    }
}

impl<T: PoseModel> PoseModel for Timed<T> {
    fn estimate(&mut self, frame: &Frame, regions: &[Roi]) -> darkroom_api::Result<Vec<Estimate>> {
        let started = cpu();
        let found = self.0.estimate(frame, regions);
        (self.2, self.3) = (self.2 + (cpu() - started), self.3 + u32::try_from(regions.len()).unwrap());
        if std::env::var_os("TELL").is_some() {
            for (r, e) in regions.iter().zip(found.iter().flatten()) {
                println!("  pose {:.3} at {:.0} side {:.0} angle {:.2}", e.landmarks.score, r.centre, r.side, r.angle);
            }
        }
        found
    }
}

fn ms(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let runtime = Runtime::new(RuntimeOptions {
        intra_threads: std::num::NonZero::new(1),
        ..RuntimeOptions::new(Arc::new(RegistryConfig::default().open().unwrap()))
    });
    let session = |name: &str| runtime.session(name, Precision::Full).unwrap();
    let kind = std::env::var("BLAZEPOSE").unwrap_or_else(|_| "full".into());
    let detector =
        Timed::new(BlazePoseDetector::new(session("pose/blazepose-detector")).unwrap(), "BlazePose detector");
    let nanodet = Timed::new(NanoDet::new(session("pose/person-detector")).unwrap(), "NanoDet");
    let model = Timed::new(BlazePose::new(session(&format!("pose/blazepose-{kind}"))).unwrap(), "landmarks");
    let options = ReadOptions { threads: 1, ..ReadOptions::default() };
    let most: usize = std::env::var("FRAMES").map_or(usize::MAX, |text| text.parse().unwrap());

    let mut reader = Reader::open(Path::new(&args[0]), &options).unwrap();
    let fps = reader.info().fps();
    let mut finder = Finder::new(vec![Box::new(detector), Box::new(nanodet)], Box::new(model), Schedule::for_fps(fps));
    let (started, mut finding, mut count) = (cpu(), Duration::ZERO, 0);
    while let Some(frame) = reader.next().unwrap().filter(|_| count < most) {
        let before = cpu();
        finder.push(&frame).unwrap();
        (finding, count) = (finding + (cpu() - before), count + 1);
    }
    let total = cpu() - started;
    let (tracks, counts) = finder.finish();
    let frames = f64::from(u32::try_from(count.max(1)).unwrap());
    println!("{}: {count} frames at {fps:.2} fps, {counts:?}", args[0]);
    println!(
        "CPU a frame: {:.2} ms decoding, {:.2} ms finding; {:.1} frames a CPU second",
        ms(total - finding) / frames,
        ms(finding) / frames,
        1000.0 * frames / ms(total)
    );
    for track in &tracks {
        let (first, last) = (&track.sightings[0], &track.sightings[track.sightings.len() - 1]);
        let filled = track.sightings.iter().filter(|sighting| sighting.filled).count();
        let score: f32 = track.sightings.iter().map(|s| s.landmarks.score).sum::<f32>() / track.sightings.len() as f32;
        println!(
            "track {} shot {}: frames {}..={} ({} of them, {filled} filled), score {score:.2}, {:.0} to {:.0}",
            track.id,
            track.shot,
            first.frame,
            last.frame,
            track.sightings.len(),
            first.bounds.centre(),
            last.bounds.centre(),
        );
    }
    let jitter: Vec<f32> = tracks.iter().map(jitter).collect();
    println!("jitter, thousandths of the person's height a frame and frame: {jitter:.2?}");
    if std::env::var_os("LANDMARKS").is_some() {
        for sighting in tracks.iter().flat_map(|track| &track.sightings) {
            let l = &sighting.landmarks;
            let image: Vec<_> = l.image.iter().map(|p| [p.x, p.y]).collect();
            let world: Vec<_> = l.world.iter().map(|p| [p.x, p.y, p.z]).collect();
            println!(
                "LANDMARKS {}",
                serde_json::json!({"score": l.score, "image": image, "world": world, "visibility": l.visibility.to_vec()})
            );
        }
    }
    if let Some(directory) = args.get(1) {
        let each = args.get(2).map_or(10, |text| text.parse().unwrap());
        draw_all(&args[0], directory, each, most, &tracks);
    }
}

/// Mean second difference of the points that are well seen, in thousandths of the person's height.
fn jitter(track: &Track) -> f32 {
    let (mut sum, mut count) = (0.0, 0.0_f32);
    for three in track.sightings.windows(3) {
        for index in 0..33 {
            if three.iter().all(|s| s.landmarks.visibility[index] > 0.8) {
                let [a, b, c] = [0, 1, 2].map(|i| three[i].landmarks.image[index]);
                sum += (a - 2.0 * b + c).length() / three[1].bounds.size().y;
                count += 1.0;
            }
        }
    }
    1000.0 * sum / count.max(1.0)
}

const BONES: [(usize, usize); 20] = [
    (11, 12),
    (11, 13),
    (13, 15),
    (12, 14),
    (14, 16),
    (11, 23),
    (12, 24),
    (23, 24),
    (23, 25),
    (25, 27),
    (24, 26),
    (26, 28),
    (27, 29),
    (29, 31),
    (28, 30),
    (30, 32),
    (0, 2),
    (0, 5),
    (2, 7),
    (5, 8),
];
const COLOURS: [[u8; 3]; 8] = [
    [255, 60, 60],
    [60, 220, 60],
    [80, 120, 255],
    [255, 200, 0],
    [255, 0, 255],
    [0, 230, 230],
    [255, 140, 0],
    [160, 60, 255],
];

fn draw_all(file: &str, directory: &str, each: usize, most: usize, tracks: &[Track]) {
    std::fs::create_dir_all(directory).unwrap();
    let mut reader = Reader::open(Path::new(file), &ReadOptions::default()).unwrap();
    let mut to_rgb = ToRgb::new(Hdr::ToneMap);
    let mut index = 0;
    while let Some(frame) = reader.next().unwrap().filter(|_| index < most) {
        if index % each == 0 {
            let mut picture = Picture::of(&frame, &mut to_rgb);
            for track in tracks {
                let sighting = track.sightings.iter().find(|sighting| sighting.frame == index);
                sighting.into_iter().for_each(|sighting| picture.person(track.id, sighting));
            }
            picture.save(&format!("{directory}/{index:05}.png"));
        }
        index += 1;
    }
}

struct Picture {
    width: usize,
    pixels: Vec<u8>,
}

impl Picture {
    fn of(frame: &Frame, to_rgb: &mut ToRgb) -> Picture {
        let (width, height) = (frame.width() as usize, frame.height() as usize);
        let mut planes = vec![0.0; 3 * width * height];
        to_rgb.convert(frame, &mut planes).unwrap();
        let at = |i: usize, c: usize| (planes[c * width * height + i] * 255.0).round() as u8;
        let pixels = (0..width * height).flat_map(|i| [at(i, 0), at(i, 1), at(i, 2)]).collect();
        Picture { width, pixels }
    }

    fn dot(&mut self, at: Vec2, radius: i32, colour: [u8; 3]) {
        let (width, height) = (self.width as i32, (self.pixels.len() / 3 / self.width) as i32);
        for (dx, dy) in (-radius..=radius).flat_map(|dy| (-radius..=radius).map(move |dx| (dx, dy))) {
            let (x, y) = (at.x as i32 + dx, at.y as i32 + dy);
            if (0..width).contains(&x) && (0..height).contains(&y) {
                let start = 3 * (y * width + x) as usize;
                self.pixels[start..start + 3].copy_from_slice(&colour);
            }
        }
    }

    fn line(&mut self, a: Vec2, b: Vec2, radius: i32, colour: [u8; 3]) {
        let steps = (a - b).length().clamp(1.0, 4000.0) as i32;
        (0..=steps).for_each(|i| self.dot(a.lerp(b, i as f32 / steps as f32), radius, colour));
    }

    /// Its box, as many dots above it as its number, its bones: grey where they are not visible.
    fn person(&mut self, id: u32, sighting: &Sighting) {
        let colour = COLOURS[id as usize % COLOURS.len()];
        let (min, max) = (sighting.bounds.min, sighting.bounds.max);
        let corners = [min, Vec2::new(max.x, min.y), max, Vec2::new(min.x, max.y)];
        (0..4).for_each(|i| self.line(corners[i], corners[(i + 1) % 4], 0, colour));
        (0..id.min(20)).for_each(|i| self.dot(min + Vec2::new(8.0 + 14.0 * i as f32, -10.0), 4, colour));
        let l = &sighting.landmarks;
        for (a, b) in BONES {
            let visible = l.visibility[a].min(l.visibility[b]) > 0.5;
            self.line(l.image[a], l.image[b], 1, if visible { colour } else { [120; 3] });
        }
        l.image.iter().for_each(|point| self.dot(*point, 2, [255; 3]));
    }

    fn save(&self, path: &str) {
        let file = BufWriter::new(std::fs::File::create(path).unwrap());
        let height = self.pixels.len() / 3 / self.width;
        let mut encoder = png::Encoder::new(file, self.width as u32, height as u32);
        encoder.set_color(png::ColorType::Rgb);
        encoder.write_header().unwrap().write_image_data(&self.pixels).unwrap();
    }
}
