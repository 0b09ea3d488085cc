//! Left taken for right: a network that takes somebody's front for their back, for some frames, names all points of the left
//! side as those of the right one.
//!
//! Nobody turns round from one frame to the next. Where all points jump to the places of their counterparts, names change,
//! not bodies: of the two namings that a run of frames then has, the one with fewer frames is put right.

use super::track::{Sighting, Track};
use crate::view::Landmarks;

/// Frames between two sightings that are still compared.
const MAX_STEP: usize = 3;
/// The points that tell sides apart, on the left: shoulder, elbow, wrist, hip, knee, ankle. Each one's counterpart follows it.
const LEFT: [usize; 6] = [11, 13, 15, 23, 25, 27];
/// How much nearer, in the mean and as a share of the person's longer side, points must be with names changed than without.
const MIN_GAIN: f32 = 0.05;
/// The most that is left of the distance once names are changed.
const MOST_LEFT: f32 = 0.5;

/// Gives the points of a track the names of the sides that most of its frames have.
pub fn keep_sides(track: &mut Track) {
    let mut rest = &mut track.sightings[..];
    while !rest.is_empty() {
        let step = rest.windows(2).position(|pair| pair[1].frame - pair[0].frame > MAX_STEP);
        let (run, others) = rest.split_at_mut(step.map_or(rest.len(), |at| at + 1));
        keep_in_run(run);
        rest = others;
    }
}

fn keep_in_run(run: &mut [Sighting]) {
    let mut changed = false;
    let mut sides = vec![false; run.len()];
    for (index, pair) in run.windows(2).enumerate() {
        changed ^= is_changed(&pair[0], &pair[1]);
        sides[index + 1] = changed;
    }
    let wrong = sides.iter().filter(|changed| **changed).count() * 2 <= run.len();
    for (sighting, changed) in run.iter_mut().zip(sides) {
        if changed == wrong {
            exchange(&mut sighting.landmarks);
        }
    }
}

/// Whether names change sides between two sightings.
#[allow(clippy::cast_precision_loss, reason = "twelve points")]
fn is_changed(before: &Sighting, after: &Sighting) -> bool {
    let (a, b) = (&before.landmarks.image, &after.landmarks.image);
    let distance = |exchanged: usize| -> f32 {
        let points = LEFT
            .into_iter()
            .flat_map(|left| [left, left + 1].map(|i| (i, if exchanged == 1 { 2 * left + 1 - i } else { i })));
        points.map(|(i, j)| a[i].distance(b[j])).sum::<f32>() / (2 * LEFT.len()) as f32
    };
    let (same, exchanged) = (distance(0), distance(1));
    same - exchanged > MIN_GAIN * before.bounds.size().max_element() && exchanged < MOST_LEFT * same
}

/// Changes the sides of all points that have one.
fn exchange(landmarks: &mut Landmarks) {
    // Eyes lie three and three, the rest in pairs: see BlazePose's topology.
    let pairs = [(1, 4), (2, 5), (3, 6), (7, 8), (9, 10)].into_iter().chain((11..33).step_by(2).map(|i| (i, i + 1)));
    for (left, right) in pairs {
        landmarks.image.swap(left, right);
        landmarks.visibility.swap(left, right);
        landmarks.world.swap(left, right);
    }
}

#[cfg(test)]
mod tests {
    use glam::{Vec2, Vec3};

    use super::super::track::box_of;
    use super::*;

    /// Somebody who walks to the right, an arm in the air.
    fn sighting(frame: usize) -> Sighting {
        let moved = Vec2::new(4.0 * frame as f32, 0.0);
        let at = |i: usize| {
            let side = if i % 2 == 1 { 60.0 } else { -60.0 };
            let raised = if i == 15 { -200.0 } else { 0.0 };
            Vec2::new(500.0 + side, 300.0 + 20.0 * (i / 2) as f32 + raised) + moved
        };
        let landmarks = Landmarks {
            image: std::array::from_fn(at),
            visibility: std::array::from_fn(|i| i as f32 / 33.0),
            world: std::array::from_fn(|i| Vec3::splat(i as f32)),
            score: 0.9,
        };
        Sighting { frame, bounds: box_of(&landmarks), landmarks, smpl: None, filled: false }
    }

    fn track(frames: impl Iterator<Item = usize>) -> Track {
        Track { id: 1, shot: 0, sightings: frames.map(sighting).collect() }
    }

    #[test]
    fn sides_that_change_for_some_frames_are_put_right() {
        let whole = || track((0..20).chain(40..60));
        let wanted = whole();
        // At the beginning, within, at an end, in several places, and after a gap.
        for wrong in [vec![0, 1, 2], vec![7], vec![17, 18, 19], vec![3, 4, 9, 10, 11], vec![45, 46], vec![12, 59]] {
            let mut found = whole();
            for sighting in found.sightings.iter_mut().filter(|sighting| wrong.contains(&sighting.frame)) {
                exchange(&mut sighting.landmarks);
            }
            assert_ne!(found, wanted, "{wrong:?}");
            keep_sides(&mut found);
            assert_eq!(found, wanted, "{wrong:?}");
        }
    }

    #[test]
    fn who_turns_round_is_left_as_they_are() {
        let mut turning = track(0..40);
        for sighting in &mut turning.sightings {
            // Half a turn about the upright axis, in forty frames.
            let seen = (sighting.frame as f32 / 39.0 * std::f32::consts::PI).cos();
            let middle = 500.0 + 4.0 * sighting.frame as f32;
            sighting.landmarks.image.iter_mut().for_each(|point| point.x = middle + (point.x - middle) * seen);
        }
        let before = turning.clone();
        keep_sides(&mut turning);
        assert_eq!(turning, before);
    }
}
