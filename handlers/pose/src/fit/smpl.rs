//! Poses that a model tells in the terms of SMPL: nothing is left to find but where the body is.

use glam::{DVec3, Vec3};

use super::fitter::{Fitter, Lengths};
use super::observe;
use super::problem::LENGTHS;
use crate::body::{SMPL_JOINTS, retarget};
use crate::view::{BodyPose, Camera, Landmarks, SmplPose};

/// Where SMPL's pelvis is from its origin before a camera, in metres: of a mean person, to a centimetre.
pub const SMPL_PELVIS: Vec3 = Vec3::new(0.0, -0.22, 0.03);

/// A person through a clip in the terms of SMPL, smoothed as the body's poses are.
#[derive(Debug, Clone, PartialEq)]
pub struct SmplTrack {
    /// The pose in each picture, with SMPL's 24 joints as bones and SMPL's origin as place; none where none was told.
    pub poses: Vec<Option<BodyPose>>,
    /// SMPL's shape: the median of what was told.
    pub betas: [f32; 10],
}

impl Fitter {
    /// The pose of the body that is turned as SMPL is, in the place where the landmarks are seen; where these tell none, in
    /// the one that the model tells. None where that is no place in front of the camera. With it, as in
    /// [`super::Fit::error`], how far off it is; nothing where no landmark tells.
    pub(super) fn fit_smpl(
        &self,
        landmarks: &Landmarks,
        smpl: &SmplPose,
        camera: &Camera,
        lengths: &Lengths,
    ) -> Option<(BodyPose, Option<f64>)> {
        let mut pose = retarget(&self.body, &smpl.rotations, Vec3::ZERO);
        self.rig.stretch(&mut pose, &lengths.0);
        let points = self.points(&pose).map(|point| point.as_dvec3());
        let told = (smpl.translation(camera) + SMPL_PELVIS).as_dvec3();
        let problem = observe::problem(&self.rig, landmarks, camera, LENGTHS);
        let place = problem.as_ref().and_then(|problem| observe::place(problem, &points)).unwrap_or(told);
        pose.translation += place.as_vec3();
        let error = problem.map(|problem| problem.error(&points, place));
        let seen = points.iter().all(|point| (*point + place).z > 0.0);
        let finite = pose.rotations.iter().all(|q| q.is_finite()) && pose.translation.is_finite();
        (seen && finite && error.is_none_or(f64::is_finite)).then_some((pose, error))
    }
}

impl SmplTrack {
    /// As told; none where nothing is.
    pub(super) fn new(told: &[Option<SmplPose>], camera: &Camera) -> Option<SmplTrack> {
        let known: Vec<&SmplPose> = told.iter().flatten().collect();
        let median = |shape: usize| {
            let mut amounts: Vec<f32> = known.iter().map(|pose| pose.betas[shape]).collect();
            amounts.sort_by(f32::total_cmp);
            amounts[amounts.len() / 2]
        };
        let pose = |told: &Option<SmplPose>| {
            let told = told.as_ref()?;
            let pose = BodyPose {
                rotations: told.rotations.to_vec(),
                translation: told.translation(camera),
                scales: vec![1.0; SMPL_JOINTS],
            };
            (pose.translation.is_finite() && pose.rotations.iter().all(|q| q.is_finite())).then_some(pose)
        };
        (!known.is_empty())
            .then(|| SmplTrack { poses: told.iter().map(pose).collect(), betas: std::array::from_fn(median) })
    }
}

/// SMPL's pelvis from its origin, as smoothing wants it.
pub(super) fn to_pelvis() -> DVec3 {
    SMPL_PELVIS.as_dvec3()
}

#[cfg(test)]
mod tests {
    use std::f32::consts::PI;
    use std::sync::Arc;

    use glam::{Quat, Vec2};

    use super::super::TrackOptions;
    use super::*;
    use crate::body::sample::sample;

    const CAMERA: Camera = Camera { focal_px: 2304.0, centre_px: Vec2::new(960.0, 540.0) };

    /// Somebody who walks to the right before the camera, arms and knees bent.
    fn told(step: usize) -> SmplPose {
        let mut rotations = [Quat::IDENTITY; SMPL_JOINTS];
        rotations[0] = Quat::from_rotation_x(PI) * Quat::from_rotation_y(0.3);
        rotations[4] = Quat::from_rotation_x(0.2 + 0.02 * step as f32);
        rotations[16] = Quat::from_rotation_z(-1.0);
        rotations[18] = Quat::from_rotation_y(-0.5);
        let origin_px = Vec2::new(700.0 + 10.0 * step as f32, 500.0);
        SmplPose { rotations, betas: [step as f32; 10], origin_px, px_per_metre: 400.0 }
    }

    #[test]
    fn a_pose_told_is_kept_and_put_where_it_is_seen() {
        let fitter = Fitter::new(Arc::new(sample())).unwrap();
        let smpl: Vec<Option<SmplPose>> = (0..9).map(|step| (step != 4).then(|| told(step))).collect();
        let pelvis = |step: usize| Vec3::new(-0.4 + 0.05 * step as f32, 0.1, 4.0);
        let truth = |step: usize| retarget(fitter.body(), &told(step).rotations, pelvis(step));
        let mut seen: Vec<Option<Landmarks>> =
            (0..9).map(|step| (step != 4).then(|| fitter.landmarks(&truth(step), &CAMERA))).collect();
        // In the last picture nothing is seen, only told.
        if let Some(last) = &mut seen[8] {
            last.image = [Vec2::NAN; 33];
        }
        let options = TrackOptions { smooth_secs: 0.0, ..TrackOptions::default() };
        let fitted = fitter.fit_track(&seen, &smpl, &CAMERA, &options);
        assert_eq!((fitted.failed, fitted.glitches), (0, 0));
        // What is only told is not filled, but how far off it is nobody knows.
        assert!((0..9).all(|step| fitted.filled[step] == (step == 4)));
        assert!((0..9).all(|step| fitted.errors[step].is_none() == [4, 8].contains(&step)), "{:?}", fitted.errors);
        let pelvis_bone = fitter.body().bone("pelvis").unwrap();
        for step in 0..8 {
            let (found, truth) = (fitted.poses[step].as_ref().unwrap(), truth(step));
            let turned = found.rotations.iter().zip(&truth.rotations).map(|(a, b)| a.angle_between(*b));
            assert!(turned.fold(0.0, f32::max) < 2e-3, "{step}");
            let at = fitter.body().joints(found).heads[pelvis_bone];
            // As deep as lengths are known.
            assert!((at - pelvis(step)).truncate().length() < 0.03 && (at.z - pelvis(step).z).abs() < 0.3, "{at}");
        }
        let last = fitter.body().joints(fitted.poses[8].as_ref().unwrap()).heads[pelvis_bone];
        assert!(last.distance(told(8).translation(&CAMERA) + SMPL_PELVIS) < 1e-4, "{last}");

        let track = fitted.smpl.unwrap();
        assert_eq!((track.betas[0], track.poses.len()), (5.0, 9));
        let between = track.poses[4].as_ref().unwrap();
        assert!(between.rotations[4].angle_between(told(4).rotations[4]) < 1e-3);
        assert!(between.translation.distance(told(4).translation(&CAMERA)) < 1e-4);
    }
}
