//! Left taken for right: a network that takes somebody's front for their back, for some frames, names all points of the left
//! side as those of the right one.
//!
//! Nobody turns round from one frame to the next. Of all ways to exchange the sides in some frames of a run, that one is
//! taken in which points move least, while each exchanged frame costs something: a network is wrong for moments only. It is
//! found as Viterbi finds the likeliest path through two states.

use super::track::{Sighting, Track};
use crate::view::Landmarks;

/// Frames between two sightings that are still compared.
const MAX_STEP: usize = 3;
/// The points that tell sides apart, on the left: shoulder, elbow, wrist, hip, knee, ankle. Each one's counterpart follows it.
const LEFT: [usize; 6] = [11, 13, 15, 23, 25, 27];
/// What an exchanged frame costs, as a share of the person's longer side: so much less must all points move, in the mean.
const COST: f32 = 0.01;

/// Gives the points of a track the names of the sides that they have before and after.
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
    // The least cost of a way that ends with the names as they are, or exchanged; and from which of the two it came.
    let mut costs = [0.0, run.first().map_or(0.0, price)];
    let mut came = Vec::with_capacity(run.len());
    for pair in run.windows(2) {
        let [same, exchanged] = moved(&pair[0], &pair[1]);
        let best = |as_before: usize| {
            let (stay, change) = (costs[as_before] + same, costs[1 - as_before] + exchanged);
            if stay <= change { (stay, as_before) } else { (change, 1 - as_before) }
        };
        let (ends, from): (Vec<f32>, Vec<usize>) = [best(0), best(1)].into_iter().unzip();
        costs = [ends[0], ends[1] + price(&pair[1])];
        came.push([from[0], from[1]]);
    }
    let mut state = usize::from(costs[1] < costs[0]);
    for (index, sighting) in run.iter_mut().enumerate().rev() {
        if state == 1 {
            exchange(&mut sighting.landmarks);
        }
        if let Some(from) = index.checked_sub(1).map(|before| came[before]) {
            state = from[state];
        }
    }
}

/// What it costs to exchange the sides of a sighting.
fn price(sighting: &Sighting) -> f32 {
    COST * sighting.bounds.size().max_element()
}

/// How far points move between two sightings, in the mean: with the names as they are, and with those of one exchanged.
#[allow(clippy::cast_precision_loss, reason = "twelve points")]
fn moved(before: &Sighting, after: &Sighting) -> [f32; 2] {
    let (a, b) = (&before.landmarks.image, &after.landmarks.image);
    let mut sums = [0.0; 2];
    for left in LEFT {
        let right = left + 1;
        sums[0] += a[left].distance(b[left]) + a[right].distance(b[right]);
        sums[1] += a[left].distance(b[right]) + a[right].distance(b[left]);
    }
    sums.map(|sum| sum / (2 * LEFT.len()) as f32)
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
    fn a_moment_between_the_two_does_not_exchange_what_follows() {
        let mut found = track(0..60);
        exchange(&mut found.sightings[35].landmarks);
        // On the way back all points lie half-way.
        let (before, after) = (found.sightings[35].landmarks.image, found.sightings[37].landmarks.image);
        found.sightings[36].landmarks.image = std::array::from_fn(|i| before[i].lerp(after[i], 0.5));
        let half_way = found.sightings[36].clone();
        let mut wanted = track(0..60);
        wanted.sightings[36] = half_way;
        keep_sides(&mut found);
        for (found, wanted) in found.sightings.iter().zip(&wanted.sightings).filter(|(found, _)| found.frame != 36) {
            assert_eq!(found, wanted);
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
