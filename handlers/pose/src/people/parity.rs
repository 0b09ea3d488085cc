//! Our decoding against a reference in Python (OpenCV and ONNX Runtime, MediaPipe's constants) on the first frame of a clip:
//! `testdata/blazepose_reference.json` is what it told.

use std::process::Command;

use darkroom_media::{Frame, ReadOptions, Reader};
use glam::Vec2;
use serde::Deserialize;

use super::testing::{detector, landmarks, media};
use super::{Detector, PoseModel, Roi};

#[derive(Deserialize)]
struct Reference {
    score: f32,
    /// Centre, side, angle.
    roi: [f32; 4],
    flag: f32,
    image: Vec<[f32; 2]>,
    world: Vec<[f32; 3]>,
    visibility: Vec<f32>,
    next: [f32; 4],
}

fn roi(values: [f32; 4]) -> Roi {
    Roi { centre: Vec2::new(values[0], values[1]), side: values[2], angle: values[3] }
}

/// The picture that the reference saw, through RGB; small, so that no means are taken of its pixels, as OpenCV takes none.
fn picture() -> Frame {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("first.png");
    let args = ["-v", "error", "-frames:v", "1", "-vf", "scale=360:640:flags=neighbor"];
    let clip = media("pose2sim_SinglePerson_cam01.mp4");
    assert!(Command::new("ffmpeg").arg("-i").arg(clip).args(args).arg(&path).status().unwrap().success());
    Reader::open(&path, &ReadOptions::default()).unwrap().next().unwrap().unwrap()
}

fn near(found: Roi, wanted: Roi, limit_px: f32) {
    let distance = (found.centre - wanted.centre).length().max((found.side - wanted.side).abs());
    assert!(distance < limit_px && (found.angle - wanted.angle).abs() < 0.01, "{found:?} {wanted:?}");
}

#[test]
fn we_see_what_the_reference_sees() {
    let reference = include_str!("../../testdata/blazepose_reference.json");
    let reference: Reference = serde_json::from_str(reference).unwrap();
    let frame = picture();
    let found = detector().detect(&frame).unwrap();
    assert_eq!(found.len(), 1);
    assert!((found[0].score - reference.score).abs() < 0.02, "{}", found[0].score);
    // It makes the picture 2.9 times smaller, and OpenCV shares pixels out where we do not.
    near(found[0].regions[0], roi(reference.roi), 5.0);

    // It counts pixels of picture and crop by their corners where we count by their middles: the same crop is ours, moved by
    // half a pixel of either.
    let theirs = roi(reference.roi);
    let moved = Vec2::splat(0.5) - theirs.turn() * Vec2::splat(0.5 * theirs.side / 256.0);
    let ours = Roi { centre: theirs.centre + moved, ..theirs };
    let seen = landmarks().estimate(&frame, &[ours]).unwrap().remove(0);
    assert!((seen.landmarks.score - reference.flag).abs() < 1e-3);
    let pixels = seen.landmarks.image.iter().zip(&reference.image).map(|(a, b)| (*a - moved - Vec2::from(*b)).length());
    let metres = seen.landmarks.world.iter().zip(&reference.world).map(|(a, b)| (*a - glam::Vec3::from(*b)).length());
    let visible = seen.landmarks.visibility.iter().zip(&reference.visibility).map(|(a, b)| (a - b).abs());
    let worst = |values: &mut dyn Iterator<Item = f32>| values.fold(0.0, f32::max);
    let worst = [worst(&mut { pixels }), worst(&mut { metres }), worst(&mut { visible })];
    println!("worst: {} px, {} m, {} visibility", worst[0], worst[1], worst[2]);
    // A pixel of the crop is 1.4 of the picture; OpenCV interpolates in steps of 1/32.
    assert!(worst[0] < 1.0 && worst[1] < 0.008 && worst[2] < 0.01, "{worst:?}");
    near(Roi { centre: seen.next.centre - moved, ..seen.next }, roi(reference.next), 1.5);
}
