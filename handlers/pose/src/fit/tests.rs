//! Fits of poses whose truth is known.

use std::sync::Arc;

use glam::{Vec2, Vec3};

use super::rig::{BONES, Rig, SCALES};
use super::*;
use crate::body::sample::sample;
use crate::plausible::{self, Chance};
use crate::view::{BodyPose, Camera, Landmarks};

mod bad_input;
mod derivatives;

const CAMERA: Camera = Camera { focal_px: 2304.0, centre_px: Vec2::new(960.0, 540.0) };

fn fitter() -> Fitter {
    Fitter::new(Arc::new(sample())).unwrap()
}

/// A plausible pose three to six metres away, of a person whose limbs differ from the body's by up to 8 %.
fn truth(fitter: &Fitter, chance: &mut Chance) -> BodyPose {
    let body = fitter.body();
    let head = |name: &str| body.bones()[body.bone(name).unwrap()].head;
    let elbow = |lower: &str| {
        let side = &lower["lowerarm".len()..];
        let (upper, at, hand) = (head(&format!("upperarm{side}")), head(lower), head(&format!("hand{side}")));
        (at - upper).cross(hand - at).normalize()
    };
    let mut pose = body.rest();
    for (name, turn) in plausible::pose(chance, elbow) {
        pose.rotations[body.bone(&name).unwrap()] = turn;
    }
    let lengths: [f32; SCALES] = std::array::from_fn(|_| chance.between(0.92, 1.08));
    for bone in 0..BONES {
        if let Some(scale) = Rig::scale(bone) {
            pose.scales[fitter.rig.index[bone]] = lengths[scale];
        }
    }
    pose.translation = Vec3::new(chance.between(-0.5, 0.5), chance.between(-0.3, 0.3), chance.between(3.0, 6.0));
    pose
}

/// What a network would see, with noise in pixels and in metres.
fn seen(fitter: &Fitter, pose: &BodyPose, chance: &mut Chance, pixels: f32, metres: f32) -> Landmarks {
    let mut seen = fitter.landmarks(pose, &CAMERA);
    seen.image.iter_mut().for_each(|p| *p += chance.normal3().truncate() * pixels);
    seen.world.iter_mut().for_each(|p| *p += chance.normal3() * metres);
    seen
}

/// Mean distance of the joints that a fit moves, in millimetres, pelvis on pelvis.
fn mpjpe(fitter: &Fitter, a: &BodyPose, b: &BodyPose) -> f64 {
    let heads = |pose: &BodyPose| {
        let heads = fitter.body().joints(pose).heads;
        fitter.rig.index.map(|bone| heads[bone] - heads[fitter.rig.index[0]])
    };
    let sum: f32 = heads(a).iter().zip(heads(b)).map(|(a, b)| a.distance(b)).sum();
    f64::from(sum) * 1000.0 / BONES as f64
}

/// Fits of many known poses: mean error in millimetres, and mean error in the picture as a share of the size.
fn recover(pixels: f32, metres: f32) -> (f64, f64) {
    let (fitter, mut chance) = (fitter(), Chance(7));
    let (mut off, mut picture) = (0.0, 0.0);
    for _ in 0..100 {
        let truth = truth(&fitter, &mut chance);
        let fit = fitter.fit(&seen(&fitter, &truth, &mut chance, pixels, metres), &CAMERA, None).unwrap();
        off += mpjpe(&fitter, &truth, &fit.pose) / 100.0;
        picture += fit.error / 100.0;
    }
    (off, picture)
}

#[test]
fn known_poses_are_recovered() {
    for (pixels, metres, most_mm, most_picture) in [(0.0, 0.0, 25.0, 0.004), (3.0, 0.02, 40.0, 0.008)] {
        let (off, picture) = recover(pixels, metres);
        assert!(off < most_mm && picture < most_picture, "{pixels} px, {metres} m: {off:.1} mm, {picture:.4}");
    }
}

#[test]
fn a_track_is_steadier_and_nearer_to_the_truth_than_its_pictures() {
    let (fitter, mut chance) = (fitter(), Chance(5));
    let (from, to) = (truth(&fitter, &mut chance), truth(&fitter, &mut chance));
    // Slowly from one pose to the other and back, with one person's lengths.
    let truths: Vec<BodyPose> = (0..90)
        .map(|i| {
            let share = 0.5 - 0.5 * (i as f32 / 90.0 * std::f32::consts::TAU).cos();
            let turn = |(a, b): (&glam::Quat, &glam::Quat)| a.slerp(*b, share);
            BodyPose {
                rotations: from.rotations.iter().zip(&to.rotations).map(turn).collect(),
                translation: from.translation.lerp(to.translation, share),
                scales: from.scales.clone(),
            }
        })
        .collect();
    let mut landmarks: Vec<Option<Landmarks>> =
        truths.iter().map(|pose| Some(seen(&fitter, pose, &mut chance, 3.0, 0.02))).collect();
    landmarks[40..45].fill(None);
    if let Some(broken) = &mut landmarks[60] {
        broken.world[11] = Vec3::NAN;
    }
    let options = TrackOptions { rate_fps: 60.0, ..TrackOptions::default() };
    let raw = fitter.fit_track(&landmarks, &[], &CAMERA, &TrackOptions { smooth_secs: 0.0, ..options });
    let smooth = fitter.fit_track(&landmarks, &[], &CAMERA, &options);
    let filled: Vec<usize> = (0..90).filter(|i| smooth.filled[*i]).collect();
    assert_eq!((smooth.failed, &filled[..]), (1, &[40, 41, 42, 43, 44, 60][..]));
    assert!(smooth.poses.iter().all(Option::is_some));
    let off = |track: &FittedTrack| {
        let off = |(a, b): (&Option<BodyPose>, &BodyPose)| mpjpe(&fitter, a.as_ref().unwrap(), b);
        track.poses.iter().zip(&truths).map(off).sum::<f64>() / truths.len() as f64
    };
    assert!(off(&smooth) < off(&raw), "{:.1} mm, raw {:.1} mm", off(&smooth), off(&raw));
    let (before, after) = (smooth.jitter_mm.0.unwrap(), smooth.jitter_mm.1.unwrap());
    assert!(after < 0.25 * before, "{before:.2} to {after:.2} mm");
    assert_eq!(raw.jitter_mm.0, smooth.jitter_mm.0, "the first is of the fits");
    let scales: Vec<&Vec<f32>> = smooth.poses.iter().map(|pose| &pose.as_ref().unwrap().scales).collect();
    let same = |other: &&Vec<f32>| other.iter().zip(scales[0]).all(|(a, b)| (a - b).abs() < 1e-6);
    assert!(scales.iter().all(same), "one person, one body");
}
