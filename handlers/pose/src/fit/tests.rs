//! Fits of poses whose truth is known.

use std::sync::Arc;

use glam::{DMat3, DQuat, DVec2, DVec3, Vec2, Vec3};

use super::normal::CostOnly;
use super::problem::{PARAMETERS, Problem, Rows, State};
use super::rig::{ACTIVE, BONES, POINTS, Rig, SCALES};
use super::*;
use crate::body::sample::sample;
use crate::view::{BodyPose, Camera, Landmarks};

#[path = "../../examples/plausible/mod.rs"]
mod plausible;
use plausible::Chance;

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

/// Keeps rows whole.
#[derive(Default)]
struct Dense {
    residuals: Vec<f64>,
    weights: Vec<f64>,
    derivatives: Vec<[f64; PARAMETERS]>,
}

impl Rows for Dense {
    const DERIVATIVES: bool = true;

    fn row(&mut self, residual: f64, weight: f64, columns: &[usize], derivatives: &[f64; PARAMETERS]) {
        self.residuals.push(residual);
        self.weights.push(weight);
        let mut row = [0.0; PARAMETERS];
        columns.iter().for_each(|c| row[*c] = derivatives[*c]);
        self.derivatives.push(row);
    }
}

#[test]
fn derivatives_are_those_of_finite_differences() {
    let (fitter, mut chance) = (fitter(), Chance(3));
    let mut vector = |size: f32| (chance.normal3() * size).as_dvec3();
    let problem = Problem {
        rig: &fitter.rig,
        focal: 1200.0,
        centre: DVec2::new(640.0, 360.0),
        size: 400.0,
        seen: (0..POINTS)
            .map(|i| (i, vector(300.0).truncate() + DVec2::new(640.0, 360.0), 0.1 + 0.03 * i as f64))
            .collect(),
        ways: (1..POINTS).map(|i| (i - 1, i, vector(1.0).normalize())).collect(),
        free: PARAMETERS,
    };
    let state = State {
        locals: std::array::from_fn(|_| DMat3::from_quat(DQuat::from_scaled_axis(vector(0.5)))),
        moved: [(); ACTIVE].map(|()| vector(0.3)),
        place: DVec3::new(0.2, -0.1, 4.0),
        lengths: std::array::from_fn(|i| 0.05 * i as f64 - 0.2),
    };
    let mut rows = Dense::default();
    let cost = problem.rows(&state, &mut rows);
    assert!((cost - problem.rows(&state, &mut CostOnly)).abs() < 1e-9 * cost);
    let step = 1e-5;
    let mut gradient = [0.0; PARAMETERS];
    for column in 0..PARAMETERS {
        let at = |by: f64| {
            let mut change = [0.0; PARAMETERS];
            change[column] = by;
            let mut rows = Dense::default();
            let cost = problem.rows(&state.stepped(problem.rig, &change), &mut rows);
            (rows.residuals, cost)
        };
        let ((ahead, cost_ahead), (behind, cost_behind)) = (at(step), at(-step));
        let largest = rows.derivatives.iter().map(|row| row[column].abs()).fold(0.0, f64::max);
        assert!(largest > 0.0, "parameter {column} moves something");
        for (row, found) in rows.derivatives.iter().enumerate() {
            let expected = (ahead[row] - behind[row]) / (2.0 * step);
            let off = (found[column] - expected).abs() / largest;
            assert!(off < 1e-6, "row {row}, parameter {column}: {} not {expected}", found[column]);
            gradient[column] += 2.0 * rows.weights[row] * rows.residuals[row] * found[column];
        }
        // The weights are those of the robust cost: its slope is the weighted rows'.
        let expected = (cost_ahead - cost_behind) / (2.0 * step);
        assert!((gradient[column] - expected).abs() < 1e-5 * expected.abs().max(1.0), "the cost by parameter {column}");
    }
}

#[test]
fn landmarks_that_tell_nothing_give_no_pose_and_no_panic() {
    let (fitter, mut chance) = (fitter(), Chance(11));
    let truth = truth(&fitter, &mut chance);
    let whole = seen(&fitter, &truth, &mut chance, 1.0, 0.01);
    let none = |change: &dyn Fn(&mut Landmarks)| {
        let mut landmarks = whole.clone();
        change(&mut landmarks);
        fitter.fit(&landmarks, &CAMERA, None)
    };
    assert_eq!(none(&|l| l.image = [Vec2::new(500.0, 500.0); 33]), None, "one point in the picture");
    assert_eq!(none(&|l| l.world = [Vec3::ZERO; 33]), None, "one point in space");
    assert_eq!(none(&|l| l.image = [Vec2::NAN; 33]), None);
    assert_eq!(none(&|l| l.world[23] = Vec3::NAN), None, "no hip");
    assert_eq!(none(&|l| l.world[12] = Vec3::splat(f32::INFINITY)), None, "no shoulder");
    for focal_px in [0.0, f32::NAN, f32::INFINITY, -5.0] {
        if let Some(fit) = fitter.fit(&whole, &Camera { focal_px, ..CAMERA }, None) {
            assert!(fit.pose.translation.is_finite());
        }
    }
}

#[test]
fn what_is_not_seen_stays_plausible_and_finite() {
    let (fitter, mut chance) = (fitter(), Chance(13));
    for round in 0..40 {
        let truth = truth(&fitter, &mut chance);
        let mut landmarks = seen(&fitter, &truth, &mut chance, 2.0, 0.02);
        for landmark in 0..33 {
            // Some limbs nowhere, some unseen, some anywhere.
            match (round + landmark) % 5 {
                0 if ![11, 12, 23, 24].contains(&landmark) => landmarks.world[landmark] = Vec3::NAN,
                1 => landmarks.image[landmark] = Vec2::NAN,
                2 => landmarks.visibility[landmark] = [0.0, f32::NAN, -3.0][round % 3],
                3 => landmarks.image[landmark] += Vec2::splat(chance.between(-900.0, 900.0)),
                _ => {}
            }
        }
        let fit = fitter.fit(&landmarks, &CAMERA, None).unwrap();
        assert!(fit.pose.rotations.iter().all(|q| (q.length() - 1.0).abs() < 1e-4));
        assert!(fit.pose.translation.is_finite() && fit.pose.scales.iter().all(|s| (0.2..5.0).contains(s)));
    }
    // Both legs unknown: they hang from the pelvis as at rest.
    let mut landmarks = fitter.landmarks(&truth(&fitter, &mut chance), &CAMERA);
    for landmark in 25..33 {
        landmarks.world[landmark] = Vec3::NAN;
        landmarks.image[landmark] = Vec2::NAN;
    }
    let fit = fitter.fit(&landmarks, &CAMERA, None).unwrap();
    let thigh = fit.pose.rotations[fitter.body().bone("thigh_l").unwrap()];
    assert!(thigh.to_axis_angle().1 < 0.05);
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
    let raw = fitter.fit_track(&landmarks, &CAMERA, &TrackOptions { smooth_secs: 0.0, ..options });
    let smooth = fitter.fit_track(&landmarks, &CAMERA, &options);
    assert_eq!((smooth.failed, smooth.filled), (1, 6));
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

#[test]
fn a_track_without_people_or_of_one_picture_is_no_panic() {
    let (fitter, mut chance) = (fitter(), Chance(17));
    let options = TrackOptions { keep_feet: true, ..TrackOptions::default() };
    assert!(fitter.fit_track(&[], &CAMERA, &options).poses.is_empty());
    let nobody = fitter.fit_track(&[None, None], &CAMERA, &options);
    assert_eq!((nobody.poses, nobody.jitter_mm, nobody.lengths), (vec![None, None], (None, None), Lengths::REST));
    let truth = truth(&fitter, &mut chance);
    let one = fitter.fit_track(&[Some(fitter.landmarks(&truth, &CAMERA))], &CAMERA, &options);
    assert!(one.poses[0].is_some());
}

#[test]
fn a_body_with_other_bones_is_refused() {
    let other = crate::body::Body::parse(b"").err().map(|e| e.code);
    assert_eq!(other, Some(darkroom_api::ErrorCode::ModelInvalid));
    let body = crate::body::sample::without("head");
    let error = Fitter::new(Arc::new(body)).unwrap_err();
    assert!(error.message.contains("no bone `head`"), "{}", error.message);
}
