//! One person through a whole clip.

use rayon::iter::{IntoParallelIterator, IntoParallelRefIterator, ParallelIterator};

use super::contact::keep_feet;
use super::fitter::{Fit, Fitter, Lengths};
use super::motion::{fill_gaps, jitter_mm, runs};
use super::smooth::smooth;
use crate::view::{BodyPose, Camera, Landmarks};

/// Pictures that lengths are taken from: more make them no better.
const LENGTH_SAMPLES: usize = 48;

/// How a track is fitted.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct TrackOptions {
    /// Width of the smoothing in pictures; 0 for none.
    pub sigma: f64,
    /// Longest gap that is filled, in pictures.
    pub max_gap: usize,
    /// Whether feet that stand are kept in their places; for cameras that do not move.
    pub keep_feet: bool,
    /// Pictures a second.
    pub rate: f64,
}

impl Default for TrackOptions {
    /// Two pictures, which for people at 60 a second quiets a tenfold jitter; gaps of a second at 30; feet are let go.
    fn default() -> Self {
        TrackOptions { sigma: 2.0, max_gap: 30, keep_feet: false, rate: 30.0 }
    }
}

/// A person's poses.
#[derive(Debug, Clone, PartialEq)]
pub struct FittedTrack {
    /// The pose in each picture; none outside of the track, in long gaps, and where no pose was found.
    pub poses: Vec<Option<BodyPose>>,
    /// How far off each fit was before it was smoothed, as a share of the person's size; none where nothing was fitted.
    pub errors: Vec<Option<f64>>,
    /// Lengths of the limbs, the same in all pictures.
    pub lengths: Lengths,
    /// Pictures that have landmarks, but which told no pose.
    pub failed: usize,
    /// Pictures whose pose is between others.
    pub filled: usize,
    /// Pictures in which a foot stands; 0 where feet are let go.
    pub standing: usize,
    /// [`jitter_mm`] before and after smoothing, over the pictures of `poses`.
    pub jitter_mm: (Option<f64>, Option<f64>),
}

impl Fitter {
    /// Fits a person through a clip, one entry a picture; on as many threads as rayon has.
    pub fn fit_track(&self, landmarks: &[Option<Landmarks>], camera: &Camera, options: &TrackOptions) -> FittedTrack {
        let lengths = self.lengths(landmarks, camera);
        let fit = |seen: &Option<Landmarks>| self.fit(seen.as_ref()?, camera, Some(&lengths));
        let fits: Vec<Option<Fit>> = landmarks.par_iter().map(fit).collect();
        let failed = landmarks.iter().zip(&fits).filter(|(seen, fit)| seen.is_some() && fit.is_none()).count();
        let errors = fits.iter().map(|fit| Some(fit.as_ref()?.error)).collect();
        let mut poses: Vec<Option<BodyPose>> = fits.into_iter().map(|fit| Some(fit?.pose)).collect();
        let filled = fill_gaps(&mut poses, options.max_gap);
        let before = jitter_mm(&self.body, &poses);
        let mut standing = 0;
        for run in runs(&poses) {
            let mut part: Vec<BodyPose> = poses[run.clone()].iter().flatten().cloned().collect();
            smooth(&mut part, options.sigma);
            if options.keep_feet {
                standing += keep_feet(self, &mut part, options.rate);
            }
            for (pose, smoothed) in poses[run].iter_mut().zip(part) {
                *pose = Some(smoothed);
            }
        }
        let jitter_mm = (before, jitter_mm(&self.body, &poses));
        FittedTrack { poses, errors, lengths, failed, filled, standing, jitter_mm }
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
