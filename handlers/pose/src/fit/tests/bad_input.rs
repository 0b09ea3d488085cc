//! Landmarks that tell little or nothing.

use std::sync::Arc;

use glam::{Vec2, Vec3};

use super::super::{Fitter, Lengths, TrackOptions};
use super::plausible::Chance;
use super::{CAMERA, fitter, seen, truth};
use crate::view::{Camera, Landmarks};

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
fn a_track_without_people_or_of_one_picture_is_no_panic() {
    let (fitter, mut chance) = (fitter(), Chance(17));
    let options = TrackOptions { keep_feet: true, ..TrackOptions::default() };
    assert!(fitter.fit_track(&[], &[], &CAMERA, &options).poses.is_empty());
    let nobody = fitter.fit_track(&[None, None], &[], &CAMERA, &options);
    assert_eq!((nobody.poses, nobody.jitter_mm, nobody.lengths), (vec![None, None], (None, None), Lengths::REST));
    let truth = truth(&fitter, &mut chance);
    let one = fitter.fit_track(&[Some(fitter.landmarks(&truth, &CAMERA))], &[], &CAMERA, &options);
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
