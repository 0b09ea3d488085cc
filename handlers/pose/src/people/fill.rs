//! Gaps of tracks, filled with what is between.

use super::bounds::Bounds;
use super::track::{Sighting, Track};
use crate::view::Landmarks;

/// Fills the gaps of a track that are at most `longest` frames long, in straight lines.
pub fn fill_gaps(track: &mut Track, longest: usize) {
    let missing = |before: &Sighting, after: &Sighting| (after.frame - before.frame).saturating_sub(1);
    if !track.sightings.windows(2).any(|pair| (1..=longest).contains(&missing(&pair[0], &pair[1]))) {
        return;
    }
    let seen = std::mem::take(&mut track.sightings);
    for sighting in seen {
        if let Some(before) = track.sightings.last()
            && (1..=longest).contains(&missing(before, &sighting))
        {
            let before = before.clone();
            track.sightings.extend((before.frame + 1..sighting.frame).map(|frame| between(&before, &sighting, frame)));
        }
        track.sightings.push(sighting);
    }
}

#[allow(clippy::cast_precision_loss, reason = "at most a minute of frames")]
fn between(a: &Sighting, b: &Sighting, frame: usize) -> Sighting {
    let t = (frame - a.frame) as f32 / (b.frame - a.frame) as f32;
    let (x, y) = (&a.landmarks, &b.landmarks);
    let landmarks = Landmarks {
        image: std::array::from_fn(|i| x.image[i].lerp(y.image[i], t)),
        visibility: std::array::from_fn(|i| x.visibility[i].min(y.visibility[i])),
        world: std::array::from_fn(|i| x.world[i].lerp(y.world[i], t)),
        score: x.score.min(y.score),
    };
    let bounds = Bounds { min: a.bounds.min.lerp(b.bounds.min, t), max: a.bounds.max.lerp(b.bounds.max, t) };
    let smpl = a.smpl.as_ref().zip(b.smpl.as_ref()).map(|(a, b)| a.between(b, t));
    Sighting { frame, bounds, landmarks, smpl, filled: true }
}

#[cfg(test)]
mod tests {
    use glam::{Quat, Vec2, Vec3};

    use super::*;
    use crate::body::SMPL_JOINTS;
    use crate::view::SmplPose;

    #[test]
    fn short_gaps_are_filled_in_straight_lines_and_long_ones_stay() {
        let at = |frame: usize, x: f32| Sighting {
            frame,
            bounds: Bounds { min: Vec2::new(x, 0.0), max: Vec2::new(x + 1.0, 2.0) },
            landmarks: Landmarks {
                image: [Vec2::new(x, 5.0); 33],
                visibility: [0.5; 33],
                world: [Vec3::new(0.0, x, 0.0); 33],
                score: 0.9,
            },
            smpl: Some(SmplPose {
                rotations: [Quat::from_rotation_x(x / 10.0); SMPL_JOINTS],
                betas: [x; 10],
                origin_px: Vec2::new(x, 1.0),
                px_per_metre: 100.0 + x,
            }),
            filled: false,
        };
        let mut track = Track { id: 1, shot: 0, sightings: vec![at(3, 0.0), at(7, 8.0), at(20, 9.0)] };
        fill_gaps(&mut track, 10);
        let told: Vec<_> = track.sightings.iter().map(|s| (s.frame, s.landmarks.image[7].x, s.filled)).collect();
        let wanted =
            [(3, 0.0, false), (4, 2.0, true), (5, 4.0, true), (6, 6.0, true), (7, 8.0, false), (20, 9.0, false)];
        assert_eq!(told, wanted);
        let Sighting { bounds, smpl: Some(smpl), .. } = &track.sightings[2] else { panic!() };
        assert_eq!((bounds.min.x, smpl.betas[3], smpl.px_per_metre, smpl.origin_px.x), (4.0, 4.0, 104.0, 4.0));
        assert!(smpl.rotations[5].angle_between(Quat::from_rotation_x(0.4)) < 1e-3);
        // Of a gap with one end that tells nothing, nothing is told.
        let mut track = Track { id: 1, shot: 0, sightings: vec![at(3, 0.0), Sighting { smpl: None, ..at(5, 8.0) }] };
        fill_gaps(&mut track, 10);
        assert!(track.sightings[1].filled && track.sightings[1].smpl.is_none());
    }
}
