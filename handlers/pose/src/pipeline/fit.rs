//! Between the passes: a body for each person, one set of lengths through the whole video.

use darkroom_api::{JobContext, Result};
use glam::Vec2;

use super::progress::tell;
use crate::FITTING;
use crate::fit::{FittedTrack, Fitter, TrackOptions};
use crate::output::TrackSummary;
use crate::people::{Bounds, Track};
use crate::view::{BodyPose, Camera, Landmarks};

/// One person through the video. All lists begin with the frame `first`, and have an entry a frame.
pub struct Person {
    /// Stable name, from 1 on.
    pub id: u32,
    /// The frame in which the person appears.
    pub first: usize,
    /// What the model saw; nothing in long gaps.
    pub seen: Vec<Option<Landmarks>>,
    /// Where; of no size in long gaps.
    pub boxes: Vec<Bounds>,
    /// Whether nobody was seen, and this lies between others.
    pub filled: Vec<bool>,
    /// The body.
    pub fitted: FittedTrack,
}

impl Person {
    /// Where a frame of the video stands in the lists.
    pub fn at(&self, frame: usize) -> Option<usize> {
        frame.checked_sub(self.first).filter(|at| *at < self.seen.len())
    }

    /// The body in a frame of the video.
    pub fn pose(&self, frame: usize) -> Option<&BodyPose> {
        self.fitted.poses.get(self.at(frame)?)?.as_ref()
    }

    /// What the model saw in a frame of the video.
    pub fn landmarks(&self, frame: usize) -> Option<&Landmarks> {
        self.seen.get(self.at(frame)?)?.as_ref()
    }

    /// Points of a frame as they are drawn: each the mean of those before and after by a Gaussian of that many frames, as far
    /// as both sides reach, so that nothing lags.
    pub fn steady_points(&self, frame: usize, sigma: f64) -> Option<[Vec2; 33]> {
        let at = self.at(frame)?;
        let mut sum = self.seen[at].as_ref()?.image;
        let mut weights = 1.0;
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "small and positive")]
        let reach = (3.0 * sigma).ceil().clamp(0.0, 1e4) as usize;
        for away in 1..=reach {
            let before = at.checked_sub(away).and_then(|before| self.seen[before].as_ref());
            let after = self.seen.get(at + away).and_then(Option::as_ref);
            let (Some(before), Some(after)) = (before, after) else { break };
            #[allow(clippy::cast_precision_loss, clippy::cast_possible_truncation, reason = "0 to 1")]
            let weight = (-0.5 * (away as f64 / sigma).powi(2)).exp() as f32;
            for ((sum, a), b) in sum.iter_mut().zip(before.image).zip(after.image) {
                *sum += (a + b) * weight;
            }
            weights += 2.0 * weight;
        }
        Some(sum.map(|point| point / weights))
    }

    /// In numbers.
    pub fn summary(&self) -> TrackSummary {
        // Of a model that tells nothing in space, who was seen counts.
        let flat = self.fitted.poses.iter().all(Option::is_none);
        let there = move |at: &usize| if flat { self.seen[*at].is_some() } else { self.fitted.poses[*at].is_some() };
        let posed = || (0..self.seen.len()).filter(there);
        let errors = || self.fitted.errors.iter().flatten();
        #[allow(clippy::cast_precision_loss, reason = "frames of a video")]
        let mean = (errors().count() > 0).then(|| errors().sum::<f64>() / errors().count() as f64);
        let frame = |at: Option<usize>| (self.first + at.unwrap_or(0)) as u64;
        TrackSummary {
            track: self.id,
            first_frame: frame(posed().next()),
            last_frame: frame(posed().next_back()),
            frames: posed().count() as u64,
            frames_filled: posed().filter(|at| self.filled[*at] || self.fitted.filled[*at]).count() as u64,
            jitter_raw_mm: self.fitted.jitter_mm.0,
            jitter_mm: self.fitted.jitter_mm.1,
            reprojection_error: mean,
        }
    }
}

/// Fits everybody, on all threads.
///
/// # Errors
/// [`darkroom_api::ErrorCode::Cancelled`].
pub fn fit(
    ctx: &JobContext,
    fitter: &Fitter,
    camera: &Camera,
    options: &TrackOptions,
    tracks: Vec<Track>,
) -> Result<Vec<Person>> {
    let total: usize = tracks.iter().map(|track| track.sightings.len()).sum();
    let (mut done, mut people) = (0, Vec::with_capacity(tracks.len()));
    for track in tracks {
        ctx.check_cancelled()?;
        tell(ctx, FITTING, done, total);
        done += track.sightings.len();
        people.push(person(fitter, camera, options, track));
    }
    tell(ctx, FITTING, done, total);
    Ok(people)
}

fn person(fitter: &Fitter, camera: &Camera, options: &TrackOptions, track: Track) -> Person {
    let first = track.sightings.first().map_or(0, |sighting| sighting.frame);
    let frames = track.sightings.last().map_or(0, |sighting| sighting.frame + 1 - first);
    let (mut seen, mut filled) = (vec![None; frames], vec![false; frames]);
    let mut boxes = vec![Bounds { min: Vec2::ZERO, max: Vec2::ZERO }; frames];
    let mut smpl = Vec::new();
    for sighting in track.sightings {
        let at = sighting.frame - first;
        if let Some(told) = sighting.smpl {
            smpl.resize(at, None);
            smpl.push(Some(told));
        }
        (seen[at], boxes[at], filled[at]) = (Some(sighting.landmarks), sighting.bounds, sighting.filled);
    }
    let fitted = fitter.fit_track(&seen, &smpl, camera, options);
    Person { id: track.id, first, seen, boxes, filled, fitted }
}

#[cfg(test)]
pub(super) mod tests {
    use glam::Vec3;

    use super::*;
    use crate::fit::Lengths;

    /// Landmarks that all lie in one place.
    pub fn seen(x: f32) -> Landmarks {
        Landmarks { image: [Vec2::new(x, 10.0); 33], visibility: [1.0; 33], world: [Vec3::ZERO; 33], score: 1.0 }
    }

    /// The first person, of whom that was seen and fitted from a frame on.
    pub fn person(first: usize, seen: Vec<Option<Landmarks>>, poses: Vec<Option<BodyPose>>) -> Person {
        let frames = seen.len();
        let fitted = FittedTrack {
            poses,
            errors: vec![None; frames],
            lengths: Lengths::REST,
            failed: 0,
            glitches: 0,
            filled: vec![false; frames],
            standing: 0,
            jitter_mm: (None, None),
            smpl: None,
        };
        let boxes = vec![Bounds { min: Vec2::ZERO, max: Vec2::ONE }; frames];
        Person { id: 1, first, seen, boxes, filled: vec![false; frames], fitted }
    }

    #[test]
    fn drawn_points_are_steady_and_lag_nowhere() {
        // A walk at constant speed, shaken, with a gap.
        let shake = |i: usize| if i.is_multiple_of(2) { 1.0 } else { -1.0 };
        let walk: Vec<_> = (0..20).map(|i| (i != 15).then(|| seen(5.0 * i as f32 + shake(i)))).collect();
        let person = person(100, walk, vec![None; 20]);
        let off = |frame: usize, sigma| {
            let x = person.steady_points(frame, sigma).map(|points| points[7].x)?;
            Some((x - 5.0 * (frame - 100) as f32).abs())
        };
        assert!(off(108, 1.5).unwrap() < 0.1, "{:?}", off(108, 1.5));
        assert_eq!((off(108, 0.0), off(100, 1.5), off(116, 1.5)), (Some(1.0), Some(1.0), Some(1.0)), "the ends stay");
        assert_eq!((off(115, 1.5), person.steady_points(99, 1.5), person.steady_points(120, 1.5)), (None, None, None));
    }
}
