//! One person through a whole clip.

use glam::DVec3;
use rayon::iter::{IndexedParallelIterator, IntoParallelIterator, IntoParallelRefIterator, ParallelIterator};

use super::contact::keep_feet;
use super::fitter::{Fit, Fitter, Lengths};
use super::motion::{drop_glitches, fill_gaps, runs};
use super::rig::bone;
use super::smooth::smooth;
use super::smpl::{SmplTrack, to_pelvis};
use crate::view::{BodyPose, Camera, Landmarks, SmplPose};

/// Pictures that lengths are taken from: more make them no better.
const LENGTH_SAMPLES: usize = 48;
/// No person turns round and back in this time.
const GLITCH_SECS: f64 = 0.1;
/// No time counts as more pictures.
const MOST_PICTURES: f64 = 10_000.0;

/// How a track is fitted.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct TrackOptions {
    /// Pictures a second.
    pub rate_fps: f64,
    /// Width of the smoothing, the Gaussian's sigma; 0 for none.
    pub smooth_secs: f64,
    /// Longest gap that is filled.
    pub max_gap_secs: f64,
    /// Whether feet that stand are kept in their places; for cameras that do not move.
    pub keep_feet: bool,
}

impl Default for TrackOptions {
    /// A thirtieth of a second, which quiets BlazePose tenfold and follows a jump; gaps of a second; feet are let go.
    fn default() -> Self {
        TrackOptions { rate_fps: 30.0, smooth_secs: 1.0 / 30.0, max_gap_secs: 1.0, keep_feet: false }
    }
}

impl TrackOptions {
    /// Pictures in a time, for rates that a camera has.
    fn pictures(&self, secs: f64) -> f64 {
        let rate = if self.rate_fps.is_finite() { self.rate_fps.clamp(1.0, 1000.0) } else { 30.0 };
        (secs * rate).clamp(0.0, MOST_PICTURES)
    }

    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "from 0 to a few thousand")]
    fn whole_pictures(&self, secs: f64) -> usize {
        self.pictures(secs).round() as usize
    }
}

/// A person's poses.
#[derive(Debug, Clone, PartialEq)]
pub struct FittedTrack {
    /// The pose in each picture; none outside of the track, in long gaps, and where no pose was found.
    pub poses: Vec<Option<BodyPose>>,
    /// How far off each fit was before it was smoothed, as a share of the person's size; none where nothing was fitted, or
    /// nothing seen to fit it to.
    pub errors: Vec<Option<f64>>,
    /// Lengths of the limbs, the same in all pictures.
    pub lengths: Lengths,
    /// Pictures that have landmarks, but which told no pose, or one that smoothing made no numbers of.
    pub failed: usize,
    /// Pictures whose pose was for a moment turned away from all around it, and dropped.
    pub glitches: usize,
    /// In which pictures the pose is between others: of gaps, of what failed and of what was dropped.
    pub filled: Vec<bool>,
    /// Pictures in which a foot stands; 0 where feet are let go.
    pub standing: usize,
    /// [`Fitter::jitter_mm`] of the single fits, and of `poses`.
    pub jitter_mm: (Option<f64>, Option<f64>),
    /// The same in the terms of SMPL, where a model told it.
    pub smpl: Option<SmplTrack>,
}

impl Fitter {
    /// Fits a person through a clip, one entry a picture; on as many threads as rayon has. `smpl` is what a model told in the
    /// terms of SMPL, of pictures beyond its end nothing: such a pose is kept as it is, and only put in its place.
    pub fn fit_track(
        &self,
        landmarks: &[Option<Landmarks>],
        smpl: &[Option<SmplPose>],
        camera: &Camera,
        options: &TrackOptions,
    ) -> FittedTrack {
        let lengths = self.lengths(landmarks, camera);
        let fit = |(index, seen): (usize, &Option<Landmarks>)| match smpl.get(index) {
            Some(Some(smpl)) => self.fit_smpl(seen.as_ref()?, smpl, camera, &lengths),
            _ => self.fit(seen.as_ref()?, camera, Some(&lengths)).map(|fit| (fit.pose, Some(fit.error))),
        };
        let fits: Vec<Option<(BodyPose, Option<f64>)>> = landmarks.par_iter().enumerate().map(fit).collect();
        let mut failed = landmarks.iter().zip(&fits).filter(|(seen, fit)| seen.is_some() && fit.is_none()).count();
        let errors = fits.iter().map(|fit| fit.as_ref()?.1).collect();
        let mut poses: Vec<Option<BodyPose>> = fits.into_iter().map(|fit| Some(fit?.0)).collect();
        let before = self.jitter_mm(&poses);
        let (glitches, filled) = steady(&mut poses, self.rig.index[bone::PELVIS], self.rig.to_pelvis, options);
        let mut standing = 0;
        for run in runs(&poses).into_iter().filter(|_| options.keep_feet) {
            let mut part: Vec<BodyPose> = poses[run.clone()].iter().flatten().cloned().collect();
            standing += keep_feet(self, &mut part, options.pictures(1.0));
            for (pose, kept) in poses[run].iter_mut().zip(part) {
                *pose = Some(kept);
            }
        }
        failed += drop_broken(&mut poses);
        let mut smpl = SmplTrack::new(smpl, camera);
        if let Some(smpl) = &mut smpl {
            steady(&mut smpl.poses, 0, to_pelvis(), options);
            drop_broken(&mut smpl.poses);
        }
        let jitter_mm = (before, self.jitter_mm(&poses));
        FittedTrack { poses, errors, lengths, failed, glitches, filled, standing, jitter_mm, smpl }
    }

    /// Lengths that suit a person in pictures spread over the clip; the body's own where there is no fit.
    fn lengths(&self, landmarks: &[Option<Landmarks>], camera: &Camera) -> Lengths {
        let seen: Vec<&Landmarks> = landmarks.iter().flatten().collect();
        let samples = seen.len().min(LENGTH_SAMPLES);
        let sample = |i: usize| self.fit(seen[i * seen.len() / samples], camera, None);
        let fits: Vec<Fit> = (0..samples).into_par_iter().filter_map(sample).collect();
        Lengths::median(&fits).unwrap_or(Lengths::REST)
    }
}

/// Drops what is no motion of a person, fills gaps and smooths; tells how many pictures were dropped, and which filled. `pelvis`
/// is the bone's index, `middle` the body's middle as seen from the translation.
fn steady(poses: &mut [Option<BodyPose>], pelvis: usize, middle: DVec3, options: &TrackOptions) -> (usize, Vec<bool>) {
    // Between pictures that are farther apart than this, somebody may well turn round and back.
    let close = options.pictures(GLITCH_SECS) >= 1.0;
    let glitches = drop_glitches(poses, pelvis, if close { options.whole_pictures(GLITCH_SECS) } else { 0 });
    let known: Vec<bool> = poses.iter().map(Option::is_some).collect();
    fill_gaps(poses, options.whole_pictures(options.max_gap_secs));
    let filled = poses.iter().zip(known).map(|(pose, known)| pose.is_some() && !known).collect();
    for run in runs(poses) {
        let mut part: Vec<BodyPose> = poses[run.clone()].iter().flatten().cloned().collect();
        smooth(&mut part, options.pictures(options.smooth_secs), middle);
        for (pose, smoothed) in poses[run].iter_mut().zip(part) {
            *pose = Some(smoothed);
        }
    }
    (glitches, filled)
}

/// Drops poses with numbers that are none, which no file can hold; tells how many there were.
fn drop_broken(poses: &mut [Option<BodyPose>]) -> usize {
    let mut dropped = 0;
    for pose in poses {
        let sound = |pose: &BodyPose| pose.translation.is_finite() && pose.rotations.iter().all(|q| q.is_finite());
        if pose.as_ref().is_some_and(|pose| !sound(pose)) {
            *pose = None;
            dropped += 1;
        }
    }
    dropped
}

#[cfg(test)]
mod tests {
    use glam::{Quat, Vec3};

    use super::*;

    fn facing(angle: f32) -> Option<BodyPose> {
        Some(BodyPose { rotations: vec![Quat::from_rotation_y(angle)], translation: Vec3::Z, scales: vec![1.0] })
    }

    #[test]
    fn a_turn_between_pictures_far_apart_is_none_of_a_glitch() {
        for (rate_fps, glitches) in [(30.0, 1), (10.0, 1), (9.0, 0), (5.0, 0)] {
            let options = TrackOptions { rate_fps, smooth_secs: 0.0, ..TrackOptions::default() };
            let mut poses = vec![facing(0.0), facing(3.0), facing(0.1)];
            let filled = vec![false, glitches > 0, false];
            assert_eq!(steady(&mut poses, 0, DVec3::ZERO, &options), (glitches, filled), "{rate_fps}");
        }
    }

    #[test]
    fn a_pose_that_is_no_number_is_dropped_alone() {
        let mut poses = vec![facing(0.0), facing(f32::NAN), None, facing(0.1)];
        if let Some(pose) = &mut poses[3] {
            pose.translation.x = f32::INFINITY;
        }
        assert_eq!(drop_broken(&mut poses), 2);
        assert_eq!(poses, [facing(0.0), None, None, None]);
    }
}
