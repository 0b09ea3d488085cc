//! Who is where, frame after frame: when to look in the whole picture, where to look for those who are known, and back in time
//! for those who were found late.

use std::collections::VecDeque;

use darkroom_api::{CancelToken, Result};
use darkroom_media::Frame;
use glam::Vec2;

use super::bounds::Bounds;
use super::candidates::{MIN_BACK, MIN_SCORE, confirm, is_hidden_by, is_known, is_same, union};
use super::cut::CutDetector;
use super::detect::Detector;
use super::model::{BodyModel, Detail, Person, PoseModel};
use super::roi::Roi;
use super::track::{Seen, Sighting, Track, Tracker, box_of};
use super::{MAX_PEOPLE, fill_gaps};
use crate::view::Landmarks;

/// Frames that are kept to follow somebody backwards have at most this many bytes together.
const MAX_HELD_BYTES: u64 = 192 << 20;
/// Candidates that were no people are not looked at again for that many detections.
const REMEMBERED: u64 = 4;
/// A box that shares as much with one that was no person is none either.
const STILL_NOBODY: f32 = 0.7;
/// Looks of the [`BodyModel`] back in time that one frame may cost: it can take seconds a person, and progress is told between
/// frames.
const MAX_BODIES_BACK: usize = 60;
/// How far a person goes on around their landmarks, of the longer side of these: most above the ears.
const SKIN: f32 = 0.06;

/// When the detectors look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Schedule {
    /// Frames from one look to the next, while all who were known are still seen. The detectors cost as much as the landmarks
    /// of four or five people, and nobody is missed for it: who is found late is followed back as many frames.
    pub every: usize,
    /// Frames from one look to the next while somebody is lost.
    pub lost_every: usize,
    /// Frames for which somebody lost is looked for in that way.
    pub lost_for: usize,
    /// Longest gap after which somebody is still the same, in frames.
    pub max_lost: usize,
}

impl Schedule {
    /// For a video of that many frames a second: every half second (thirty frames at most), and ten times a second for half a
    /// second (five frames at least, thirty at most) after somebody was lost. Gaps are of a second: five frames at least, 240 at
    /// most.
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped")]
    pub fn for_fps(fps: f64) -> Schedule {
        let frames = |secs: f64| (fps * secs).round().clamp(1.0, 240.0) as usize;
        Schedule {
            every: frames(0.5).clamp(1, 30),
            lost_every: frames(0.1),
            lost_for: frames(0.5).clamp(5, 30),
            max_lost: frames(1.0).clamp(5, 240),
        }
    }
}

/// What it took.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Frames that were seen.
    pub frames: u64,
    /// Frames in which the detectors looked.
    pub detections: u64,
    /// Squares that the pose model looked at.
    pub looks: u64,
    /// Of those, backwards in time.
    pub looks_back: u64,
    /// Shots begun after the first.
    pub cuts: u64,
    /// Most people and candidates of a frame beyond those that are followed.
    pub uncounted: usize,
}

/// Finds the people of a video.
pub struct Finder<'a> {
    detectors: Vec<Box<dyn Detector + 'a>>,
    model: Box<dyn PoseModel + 'a>,
    body: Option<Box<dyn BodyModel + 'a>>,
    cancel: CancelToken,
    tracker: Tracker,
    cuts: CutDetector,
    schedule: Schedule,
    max_people: usize,
    /// Where to look for whom, by the index of their track.
    next: Vec<(usize, Roi)>,
    /// Where those who were lost were to be found, and for how many frames we go on looking there.
    missing: Vec<(usize, Roi, usize)>,
    /// The last frames, the newest last.
    held: VecDeque<Frame>,
    since_detection: usize,
    /// Candidates that were nobody, and the detection in which that was seen.
    nobody: Vec<(Bounds, u64)>,
    counts: Counts,
}

/// Somebody in this frame, and where to look in the next.
struct Present {
    seen: Seen,
    next: Roi,
}

impl<'a> Finder<'a> {
    /// A finder of one video, with the detectors of which everybody is taken that one of them finds.
    pub fn new(detectors: Vec<Box<dyn Detector + 'a>>, model: Box<dyn PoseModel + 'a>, schedule: Schedule) -> Self {
        Finder {
            detectors,
            model,
            body: None,
            cancel: CancelToken::default(),
            tracker: Tracker::new(schedule.max_lost),
            cuts: CutDetector::default(),
            schedule,
            max_people: MAX_PEOPLE,
            next: Vec::new(),
            missing: Vec::new(),
            held: VecDeque::new(),
            since_detection: usize::MAX,
            nobody: Vec::new(),
            counts: Counts::default(),
        }
    }

    /// Has everybody who is found looked at more closely.
    #[must_use]
    pub fn with_body(self, body: Box<dyn BodyModel + 'a>) -> Self {
        Finder { body: Some(body), ..self }
    }

    /// The same that also stops in the midst of a frame: a slow model may look at one for minutes.
    #[must_use]
    pub fn with_cancel(self, cancel: CancelToken) -> Self {
        Finder { cancel, ..self }
    }

    /// The same that follows at most so many people at once: those found first, of those found together the surest; never more
    /// than [`MAX_PEOPLE`].
    #[must_use]
    pub fn with_most(self, people: usize) -> Self {
        Finder { max_people: people.min(MAX_PEOPLE), ..self }
    }

    /// Looks at the next frame; tells how many people are in it.
    ///
    /// # Errors
    /// Those of the models, and of frames that cannot be read; [`darkroom_api::ErrorCode::Cancelled`].
    pub fn push(&mut self, frame: &Frame) -> Result<usize> {
        let index = usize::try_from(self.counts.frames).unwrap_or(usize::MAX);
        if self.cuts.is_cut(frame)? {
            self.begin_shot(index);
        }
        let mut present = self.follow(frame)?;
        let apart = if self.missing.is_empty() { self.schedule.every } else { self.schedule.lost_every };
        let due = self.since_detection >= apart;
        let mut beyond = if due { self.detect(frame, &mut present)? } else { 0 };
        present.sort_by(|a, b| b.seen.landmarks.score.total_cmp(&a.seen.landmarks.score));
        beyond += present.len().saturating_sub(self.max_people);
        self.counts.uncounted = self.counts.uncounted.max(beyond);
        present.truncate(self.max_people);
        let (seen, next): (Vec<Seen>, Vec<Roi>) = present.into_iter().map(|one| (one.seen, one.next)).unzip();
        let tracks = self.tracker.step(index, &seen);
        for (track, seen) in tracks.iter().zip(&seen) {
            if let Some(detail) = self.look_closely(frame, &seen.landmarks)? {
                self.tracker.detail(*track, detail);
            }
        }
        let mut bodies_back = 0;
        for (track, next) in tracks.iter().zip(&next) {
            self.follow_back(*track, index, *next, &mut bodies_back)?;
        }
        self.missing.retain(|(track, ..)| !tracks.contains(track));
        self.next = tracks.into_iter().zip(next).collect();
        if due {
            self.since_detection = 0;
        }
        self.hold(frame)?;
        self.since_detection = self.since_detection.saturating_add(1);
        self.counts.frames += 1;
        Ok(seen.len())
    }

    /// Poses of all tracks so far, with those that will fill their gaps.
    pub fn poses(&self) -> usize {
        self.tracker.poses()
    }

    /// The tracks of all that was seen, their gaps filled, and what it took.
    pub fn finish(self) -> (Vec<Track>, Counts) {
        let mut tracks = self.tracker.finish();
        for track in &mut tracks {
            fill_gaps(track, self.schedule.max_lost);
        }
        (tracks, self.counts)
    }

    fn begin_shot(&mut self, index: usize) {
        self.tracker.cut(index);
        self.counts.cuts += 1;
        self.next.clear();
        self.missing.clear();
        self.held.clear();
        self.nobody.clear();
        self.since_detection = usize::MAX;
    }

    /// Looks for those who are known, and for those who were; tells who is there.
    fn follow(&mut self, frame: &Frame) -> Result<Vec<Present>> {
        let size = size_of(frame);
        let missing: Vec<(usize, Roi, usize)> = std::mem::take(&mut self.missing);
        let next =
            std::mem::take(&mut self.next).into_iter().map(|(track, roi)| (track, roi, self.schedule.lost_for + 1));
        let (mut known, mut regions) = (Vec::new(), Vec::new());
        for (track, roi, left) in next.chain(missing) {
            // Somebody lost goes on as before; whoever was seen a frame ago is where the model looked.
            let was_lost = left <= self.schedule.lost_for;
            let moved = if was_lost { self.tracker.moved(track) } else { Some(Vec2::ZERO) };
            let Some(moved) = moved else { continue };
            let region = Roi { centre: roi.centre + moved, ..roi };
            // Somebody lost whose middle has left the picture is gone.
            let gone = was_lost && region.centre.clamp(Vec2::ZERO, size) != region.centre;
            if region.is_usable(size) && !gone {
                known.push((track, roi, left));
                regions.push(region);
            }
        }
        self.counts.looks += regions.len() as u64;
        let mut present: Vec<Present> = Vec::with_capacity(known.len());
        for ((track, roi, left), estimate) in known.into_iter().zip(self.model.estimate(frame, &regions)?) {
            let seen = Seen { landmarks: estimate.landmarks, led_by: Some(track) };
            let was_lost = left <= self.schedule.lost_for;
            let least = if was_lost { MIN_BACK } else { MIN_SCORE };
            let there = seen.landmarks.score >= least && box_of(&seen.landmarks).clipped(size).area() > 0.0;
            let taken = || present.iter().any(|one| is_same(&one.seen.landmarks, &seen.landmarks));
            if there && !(was_lost && taken()) && add(&mut present, Present { seen, next: estimate.next }) {
                continue;
            }
            // What was never surely somebody is not searched for.
            if left > 1 && self.tracker.is_sure(track) {
                self.missing.push((track, roi, left - 1));
            }
        }
        Ok(present)
    }

    /// What the body's model tells of somebody, where there is one.
    fn look_closely(&mut self, frame: &Frame, landmarks: &Landmarks) -> Result<Option<Detail>> {
        self.cancel.check()?;
        let Some(body) = &mut self.body else { return Ok(None) };
        Ok(body.look(frame, &[person(frame, landmarks)])?.pop())
    }

    /// Looks for those who are not known; tells how many candidates there is no room for.
    fn detect(&mut self, frame: &Frame, present: &mut Vec<Present>) -> Result<usize> {
        self.counts.detections += 1;
        let now = self.counts.detections;
        self.nobody.retain(|(_, when)| now - when < REMEMBERED);
        let (mut candidates, mut beyond) = (Vec::new(), 0);
        for detector in &mut self.detectors {
            candidates.extend(detector.detect(frame)?);
        }
        for candidate in union(candidates) {
            let known = present.iter().any(|one| is_known(&candidate, &one.seen.landmarks));
            if known || self.nobody.iter().any(|(bounds, _)| bounds.iou(&candidate.bounds) > STILL_NOBODY) {
                continue;
            }
            if present.len() >= self.max_people {
                beyond += 1;
                continue;
            }
            // Somebody who is known already stays who they are.
            let known = |found: &Landmarks| {
                let mut known = present.iter().map(|one| &one.seen.landmarks);
                known.any(|known| is_same(known, found) || is_hidden_by(found, known))
            };
            match confirm(&mut *self.model, frame, &candidate, &known, &mut self.counts.looks)? {
                Some(found) => {
                    let seen = Seen { landmarks: found.landmarks, led_by: None };
                    present.push(Present { seen, next: found.next });
                }
                None => self.nobody.push((candidate.bounds, now)),
            }
        }
        Ok(beyond)
    }

    /// Follows somebody who was just found back in time, through frames in which the detectors may not have looked; counts what
    /// that cost the body's model.
    fn follow_back(&mut self, track: usize, index: usize, mut region: Roi, bodies: &mut usize) -> Result<()> {
        let Some(first) = self.tracker.returned(track, index) else { return Ok(()) };
        let mut found: Vec<Sighting> = Vec::new();
        let held = std::mem::take(&mut self.held);
        for (back, frame) in (1..).zip(held.iter().rev()) {
            let Some(at) = index.checked_sub(back).filter(|at| *at >= first) else { break };
            if !region.is_usable(size_of(frame)) || *bodies >= MAX_BODIES_BACK {
                break;
            }
            self.counts.looks += 1;
            self.counts.looks_back += 1;
            let Some(estimate) = self.model.estimate(frame, &[region])?.pop() else { break };
            let landmarks = estimate.landmarks;
            region = estimate.next;
            if landmarks.score < MIN_SCORE || self.tracker.in_frame(at).any(|other| is_same(other, &landmarks)) {
                break;
            }
            let detail = self.look_closely(frame, &landmarks)?;
            let mut one = Sighting { frame: at, bounds: box_of(&landmarks), landmarks, smpl: None, filled: false };
            if let Some(detail) = detail {
                *bodies += 1;
                one.tell(detail);
            }
            found.push(one);
        }
        self.held = held;
        self.tracker.add_before(track, found);
        Ok(())
    }

    fn hold(&mut self, frame: &Frame) -> Result<()> {
        let most = usize::try_from(MAX_HELD_BYTES / frame.bytes().max(1)).unwrap_or(usize::MAX);
        while self.held.len() >= most.clamp(1, self.schedule.every) {
            self.held.pop_front();
        }
        self.held.push_back(frame.share()?);
        Ok(())
    }
}

/// Adds somebody who is not there yet, and tells whether that is so; of two poses of one person the surer one stays, of as
/// sure ones the older.
fn add(present: &mut Vec<Present>, one: Present) -> bool {
    match present.iter_mut().find(|other| is_same(&other.seen.landmarks, &one.seen.landmarks)) {
        Some(other) => {
            if other.seen.landmarks.score + 0.05 < one.seen.landmarks.score {
                *other = one;
            }
            false
        }
        None => {
            present.push(one);
            true
        }
    }
}

/// Somebody, for a closer look.
fn person(frame: &Frame, landmarks: &Landmarks) -> Person {
    let bounds = box_of(landmarks);
    let skin = Vec2::splat(SKIN * bounds.size().max_element());
    let bounds = Bounds { min: bounds.min - skin, max: bounds.max + skin }.clipped(size_of(frame));
    Person { bounds, landmarks: landmarks.clone() }
}

#[allow(clippy::cast_precision_loss, reason = "sides of pictures")]
fn size_of(frame: &Frame) -> Vec2 {
    Vec2::new(frame.width() as f32, frame.height() as f32)
}

#[cfg(test)]
mod tests;
