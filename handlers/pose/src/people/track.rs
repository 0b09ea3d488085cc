//! Tracks of what was seen frame by frame, associated as ByteTrack does: sure sightings first, then the others, then those who
//! come back. What is alike is where a filter foresaw them and how they stand.

use glam::Vec2;

use super::assign::assign;
use super::bounds::Bounds;
use super::candidates::bounds;
use super::kalman::Motion;
use super::model::Detail;
use super::similar::keypoint_similarity;
use crate::view::{Landmarks, SmplPose};

/// Frames that a track needs, where its shot has as many.
const MIN_HITS: usize = 3;
/// Tracks whose sightings are less sure in the mean are of nobody: of those looked at, people had 0.94 and more.
const MIN_TRACK_SCORE: f32 = 0.88;
/// Sightings less sure than this come second.
const SURE: f32 = 0.7;
/// Costs, 0 for who is the same in place and pose to 1 for strangers, up to which two go together.
const MOST_SURE: f32 = 0.8;
const MOST_UNSURE: f32 = 0.6;
/// What it counts that somebody was found where the track led the search.
const LED: f32 = 0.1;
/// How far somebody who comes back may be from where they were foreseen, in their own lengths: a part, and more of it a frame.
const NEAR: f32 = 0.6;
const NEAR_A_FRAME: f32 = 0.03;
const NEAR_MOST: f32 = 1.2;
/// How much longer or shorter they may be than in that many sightings before.
const ALIKE: f32 = 1.5;
const RECENT: usize = 15;

/// Somebody in a frame.
#[derive(Debug, Clone, PartialEq)]
pub struct Sighting {
    /// Index of the frame.
    pub frame: usize,
    /// The person's box; it may reach out of the picture.
    pub bounds: Bounds,
    /// The pose.
    pub landmarks: Landmarks,
    /// The pose in the terms of SMPL, where the model tells it.
    pub smpl: Option<SmplPose>,
    /// Whether nobody was seen, and this is between what was seen before and after.
    pub filled: bool,
}

impl Sighting {
    /// Takes what a closer look told: how sure we are that there is a person stays.
    pub(super) fn tell(&mut self, detail: Detail) {
        self.landmarks = Landmarks { score: self.landmarks.score, ..detail.landmarks };
        self.bounds = box_of(&self.landmarks);
        self.smpl = detail.smpl;
    }
}

/// The way of one person through a shot.
#[derive(Debug, Clone, PartialEq)]
pub struct Track {
    /// Stable name, from 1 on, in the order of appearance.
    pub id: u32,
    /// Index of the shot.
    pub shot: usize,
    /// In the order of frames; there may be gaps.
    pub sightings: Vec<Sighting>,
}

impl Track {
    /// How sure the model is that there is a person: the mean of all sightings, 0 to 1.
    #[allow(clippy::cast_precision_loss, reason = "frames of a video")]
    pub fn score(&self) -> f32 {
        let sum: f32 = self.sightings.iter().map(|sighting| sighting.landmarks.score).sum();
        sum / self.sightings.len().max(1) as f32
    }
}

/// Somebody seen in this frame, not yet known whom.
#[derive(Debug, Clone)]
pub struct Seen {
    /// The pose.
    pub landmarks: Landmarks,
    /// Index of the track that led the search there.
    pub led_by: Option<usize>,
}

/// A track that may go on.
struct Live {
    track: usize,
    motion: Motion,
    /// Frames since it was seen.
    lost: usize,
}

/// Makes tracks.
pub struct Tracker {
    tracks: Vec<Track>,
    live: Vec<Live>,
    max_lost: usize,
    poses: usize,
    shot: usize,
    /// First frame of each shot, and the end of the last.
    starts: Vec<usize>,
    end: usize,
}

impl Tracker {
    /// One of nothing yet; a track ends when it was not seen for more than `max_lost` frames.
    pub fn new(max_lost: usize) -> Tracker {
        Tracker { tracks: Vec::new(), live: Vec::new(), max_lost, poses: 0, shot: 0, starts: vec![0], end: 0 }
    }

    /// A new shot begins with this frame: nobody in it is known.
    pub fn cut(&mut self, frame: usize) {
        self.live.clear();
        self.shot += 1;
        self.starts.push(frame);
    }

    /// Gives each person of a frame a track, told by its index.
    pub fn step(&mut self, frame: usize, seen: &[Seen]) -> Vec<usize> {
        self.end = frame + 1;
        for live in &mut self.live {
            live.motion.predict(live.lost == 0);
            live.lost += 1;
        }
        self.live.retain(|live| live.lost <= self.max_lost + 1);
        let boxes: Vec<Bounds> = seen.iter().map(|seen| box_of(&seen.landmarks)).collect();
        let mut owner: Vec<Option<usize>> = vec![None; seen.len()];
        let sure = |index: usize| seen[index].landmarks.score >= SURE;
        self.round(&mut owner, MOST_SURE, |live, index| {
            sure(index).then(|| self.cost(live, &seen[index], &boxes[index]))
        });
        self.round(&mut owner, MOST_UNSURE, |live, index| Some(self.cost(live, &seen[index], &boxes[index])));
        self.round(&mut owner, 1.0, |live, index| self.returns(live, &boxes[index]));
        let tracks = seen.iter().zip(boxes).zip(owner).map(|((seen, bounds), owner)| {
            let live = owner.unwrap_or_else(|| self.begin(&bounds));
            let live = &mut self.live[live];
            live.motion.correct(&bounds);
            live.lost = 0;
            let sighting = Sighting { frame, bounds, landmarks: seen.landmarks.clone(), smpl: None, filled: false };
            let sightings = &mut self.tracks[live.track].sightings;
            // The gap before somebody who returns will be filled.
            self.poses += sightings.last().map_or(1, |before| frame - before.frame);
            sightings.push(sighting);
            live.track
        });
        tracks.collect()
    }

    /// Gives those who have no track one of those that have nobody, where that costs at most `most`.
    fn round(&self, owner: &mut [Option<usize>], most: f32, cost: impl Fn(&Live, usize) -> Option<f32>) {
        let rows: Vec<usize> = (0..owner.len()).filter(|index| owner[*index].is_none()).collect();
        let columns: Vec<usize> = (0..self.live.len()).filter(|live| !owner.contains(&Some(*live))).collect();
        let cost = |row: usize, column: usize| cost(&self.live[column], row).filter(|cost| cost.is_finite());
        let costs: Vec<f32> = rows
            .iter()
            .flat_map(|row| columns.iter().map(|column| cost(*row, *column).unwrap_or(2.0 * most + 1.0)))
            .collect();
        for (row, column) in assign(&costs, columns.len(), most) {
            owner[rows[row]] = Some(columns[column]);
        }
    }

    /// How little somebody is like a track, 0 to 1.
    fn cost(&self, live: &Live, seen: &Seen, bounds: &Bounds) -> f32 {
        let foreseen = live.motion.bounds();
        let pose = self.tracks[live.track].sightings.last().map_or(0.0, |last| {
            let shift = foreseen.centre() - last.bounds.centre();
            let shift = if live.lost > 1 { shift } else { shift.clamp_length_max(0.25 * last.bounds.size().y) };
            keypoint_similarity(&last.landmarks, &seen.landmarks, shift, bounds.area().max(last.bounds.area()))
        });
        let led = if seen.led_by == Some(live.track) { LED } else { 0.0 };
        1.0 - 0.5 * (foreseen.iou(bounds) + pose) - led
    }

    /// How far somebody is from where a lost track might come back, where they are alike in size.
    fn returns(&self, live: &Live, bounds: &Bounds) -> Option<f32> {
        if live.lost <= 1 {
            return None;
        }
        // Whoever turns over, lies down or gets up changes height and, for a moment, length.
        let recent = self.tracks[live.track].sightings.iter().rev().take(RECENT).map(|seen| length(&seen.bounds));
        let (least, most) = recent.fold((f32::MAX, 0.0_f32), |(least, most), now| (least.min(now), most.max(now)));
        let (foreseen, now) = (live.motion.bounds().centre(), length(bounds));
        #[allow(clippy::cast_precision_loss, reason = "at most a minute of frames")]
        let near = (NEAR + NEAR_A_FRAME * live.lost as f32).min(NEAR_MOST);
        let distance = foreseen.distance(bounds.centre()) / now.max(most) / near;
        (least < ALIKE * now && now < ALIKE * most).then_some(distance)
    }

    /// Begins a track; tells where it stands among the live ones.
    fn begin(&mut self, bounds: &Bounds) -> usize {
        self.tracks.push(Track { id: 0, shot: self.shot, sightings: Vec::new() });
        self.live.push(Live { track: self.tracks.len() - 1, motion: Motion::new(bounds), lost: 0 });
        self.live.len() - 1
    }

    /// Whether a track was seen in this frame for the first time, or for the first time after a gap: then the frame before
    /// that gap, or the first of its shot.
    pub fn returned(&self, track: usize, frame: usize) -> Option<usize> {
        let mut sightings = self.tracks[track].sightings.iter().rev();
        sightings.next().filter(|last| last.frame == frame)?;
        let first = sightings.next().map_or(self.starts[self.shot], |before| before.frame + 1);
        (first < frame).then_some(first)
    }

    /// Whether a track was seen often and surely enough to be somebody.
    pub fn is_sure(&self, track: usize) -> bool {
        let track = &self.tracks[track];
        track.sightings.len() >= MIN_HITS && track.score() >= MIN_TRACK_SCORE
    }

    /// How far a track that may go on is thought to have moved since it was seen.
    pub fn moved(&self, track: usize) -> Option<Vec2> {
        let live = self.live.iter().find(|live| live.track == track)?;
        let last = self.tracks[track].sightings.last()?;
        Some(live.motion.bounds().centre() - last.bounds.centre())
    }

    /// Everybody of a frame.
    pub fn in_frame(&self, frame: usize) -> impl Iterator<Item = &Landmarks> {
        self.tracks.iter().filter_map(move |track| {
            let sightings = track.sightings.iter().rev().skip_while(move |sighting| sighting.frame > frame);
            sightings.take(1).find(|sighting| sighting.frame == frame).map(|sighting| &sighting.landmarks)
        })
    }

    /// Tells more of a track in the frame that it was last seen in.
    pub fn detail(&mut self, track: usize, detail: Detail) {
        if let Some(last) = self.tracks[track].sightings.last_mut() {
            last.tell(detail);
        }
    }

    /// Poses of all tracks so far, with those that will fill their gaps; tracks that will be dropped count too.
    pub fn poses(&self) -> usize {
        self.poses
    }

    /// Adds what was found by following a track backwards.
    pub fn add_before(&mut self, track: usize, mut found: Vec<Sighting>) {
        found.reverse();
        let sightings = &mut self.tracks[track].sightings;
        // What lies in a gap was counted with it.
        if sightings.len() == 1 {
            self.poses += found.len();
        }
        let at = sightings.len().saturating_sub(1);
        sightings.splice(at..at, found);
    }

    /// The tracks that were seen often and surely enough, named in the order of their appearance.
    pub fn finish(mut self) -> Vec<Track> {
        self.starts.push(self.end);
        let starts = self.starts;
        let long = |track: &Track| {
            let length = starts[track.shot + 1].saturating_sub(starts[track.shot]);
            track.sightings.len() >= MIN_HITS.min(length) && track.score() >= MIN_TRACK_SCORE
        };
        let mut tracks: Vec<Track> = self.tracks.into_iter().filter(long).collect();
        tracks.sort_by_key(|track| track.sightings.first().map(|sighting| sighting.frame));
        for (id, track) in (1..).zip(&mut tracks) {
            track.id = id;
        }
        tracks
    }
}

/// A pose has points, so it has a box.
pub fn box_of(landmarks: &Landmarks) -> Bounds {
    bounds(landmarks).unwrap_or(Bounds { min: Vec2::ZERO, max: Vec2::ZERO })
}

/// The longer side.
fn length(bounds: &Bounds) -> f32 {
    bounds.size().max_element().max(1.0)
}

#[cfg(test)]
mod tests;
