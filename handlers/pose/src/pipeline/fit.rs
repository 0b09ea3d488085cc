//! Between the passes: a body for each person, one set of lengths through the whole video.

use darkroom_api::{JobContext, Result};

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

    /// In numbers.
    pub fn summary(&self) -> TrackSummary {
        let posed = || (0..self.fitted.poses.len()).filter(|at| self.fitted.poses[*at].is_some());
        let errors = || self.fitted.errors.iter().flatten();
        #[allow(clippy::cast_precision_loss, reason = "frames of a video")]
        let mean = (errors().count() > 0).then(|| errors().sum::<f64>() / errors().count() as f64);
        let frame = |at: Option<usize>| (self.first + at.unwrap_or(0)) as u64;
        TrackSummary {
            track: self.id,
            first_frame: frame(posed().next()),
            last_frame: frame(posed().next_back()),
            frames: posed().count() as u64,
            frames_filled: posed().filter(|at| self.filled[*at] || self.fitted.errors[*at].is_none()).count() as u64,
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
    let mut boxes = vec![Bounds { min: glam::Vec2::ZERO, max: glam::Vec2::ZERO }; frames];
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
