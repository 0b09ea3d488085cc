//! Feet that stand stay where they stand.
//!
//! A foot that hardly moves for a while stands. The place it stood at is the median of its places; the whole body is moved so that
//! standing feet come there, and where both stand and disagree, each leg reaches for the rest. The camera is taken to stand too.

use glam::DVec3;

use super::fitter::Fitter;
use super::leg::move_ankle;
use super::rig::bone;
use crate::view::BodyPose;

/// A foot that is slower stands, in metres a second.
const SLOW: f64 = 0.25;
/// The way to the camera is known worse than what is seen across it, and counts less.
const DEPTH: f64 = 0.3;
/// Shorter than this, in seconds, a foot only turns round.
const LEAST_SECONDS: f64 = 0.12;
/// A correction fades in and out for this long, in seconds.
const FADE_SECONDS: f64 = 0.1;

/// A correction of one foot in one picture.
#[derive(Debug, Clone, Copy, Default)]
struct Pull {
    offset: DVec3,
    /// 1 while it stands, less before and after.
    share: f64,
}

/// Keeps standing feet in their places through pictures that follow each other; returns how many pictures have one that stands.
pub fn keep_feet(fitter: &Fitter, poses: &mut [BodyPose], pictures_a_second: f64) -> usize {
    let feet = [0, 1].map(|side| {
        let ankle = fitter.rig.index[bone::FOOT + side];
        let places: Vec<DVec3> = poses.iter().map(|pose| ball(fitter, pose, ankle)).collect();
        pulls(&places, pictures_a_second)
    });
    let mut standing = 0;
    for (index, pose) in poses.iter_mut().enumerate() {
        let pulls = feet.each_ref().map(|foot| foot[index]);
        standing += usize::from(pulls.iter().any(|pull| pull.share >= 1.0));
        let shares: f64 = pulls.iter().map(|pull| pull.share).sum();
        let whole = pulls.iter().map(|pull| pull.offset * pull.share).sum::<DVec3>() / shares.max(1.0);
        pose.translation += whole.as_vec3();
        for (side, pull) in pulls.iter().enumerate() {
            let rest = pull.offset * pull.share - whole * pull.share;
            if rest.length() > 1e-5 {
                move_ankle(fitter, pose, side, rest);
            }
        }
    }
    standing
}

/// The place of the foot's ball, which stands even while the heel is lifted; the ankle's where the body has none.
fn ball(fitter: &Fitter, pose: &BodyPose, ankle: usize) -> DVec3 {
    let joints = fitter.body.joints(pose);
    let tip = fitter.body.bones().iter().position(|bone| bone.parent == Some(ankle)).unwrap_or(ankle);
    joints.heads[tip].as_dvec3()
}

/// What brings a foot to the places it stood at.
#[allow(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "pictures of a second are few"
)]
fn pulls(places: &[DVec3], rate: f64) -> Vec<Pull> {
    let least = ((LEAST_SECONDS * rate).ceil() as usize).max(3);
    let fade = ((FADE_SECONDS * rate).ceil() as usize).max(1);
    let mut pulls = vec![Pull::default(); places.len()];
    let mut start = 0;
    while start < places.len() {
        let end = (start..places.len()).find(|i| speed(places, *i) * rate > SLOW).unwrap_or(places.len());
        if end - start >= least {
            let stood = median(&places[start..end]);
            for (pull, place) in pulls[start..end].iter_mut().zip(&places[start..end]) {
                *pull = Pull { offset: stood - *place, share: 1.0 };
            }
            let (before, after) = (pulls[start].offset, pulls[end - 1].offset);
            for step in 1..=fade {
                let share = 1.0 - step as f64 / (fade + 1) as f64;
                let mut set = |index: Option<usize>, offset| {
                    // Where two fade into each other the stronger one counts.
                    if let Some(pull) = index.and_then(|i| pulls.get_mut(i))
                        && share > pull.share
                    {
                        *pull = Pull { offset, share };
                    }
                };
                set(start.checked_sub(step), before);
                set(Some(end - 1 + step), after);
            }
        }
        start = end + 1;
    }
    pulls
}

/// Metres a picture, over both neighbours.
fn speed(places: &[DVec3], index: usize) -> f64 {
    let (before, after) = (index.saturating_sub(1), (index + 1).min(places.len() - 1));
    let way = (places[after] - places[before]) * DVec3::new(1.0, 1.0, DEPTH);
    #[allow(clippy::cast_precision_loss, reason = "0, 1 or 2")]
    let pictures = (after - before).max(1) as f64;
    way.length() / pictures
}

fn median(places: &[DVec3]) -> DVec3 {
    let axis = |axis: usize| {
        let mut values: Vec<f64> = places.iter().map(|place| place[axis]).collect();
        values.sort_by(f64::total_cmp);
        values[values.len() / 2]
    };
    DVec3::new(axis(0), axis(1), axis(2))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use glam::{Quat, Vec3};

    use super::*;
    use crate::body::sample::sample;

    #[test]
    fn standing_feet_stay_and_walking_ones_go() {
        let fitter = Fitter::new(Arc::new(sample())).unwrap();
        let rest = fitter.body.rest();
        // Stands for a second while the whole trembles and sinks a little, then goes away at 2 m/s.
        let at = |i: usize| {
            let mut pose = rest.clone();
            let tremble = Vec3::new((i as f32 * 2.1).sin(), (i as f32 * 1.3).cos(), (i as f32 * 1.7).sin()) * 0.002;
            let gone = i.saturating_sub(30) as f32 * 2.0 / 30.0;
            pose.translation += Vec3::new(gone, 0.0, 3.0) + tremble;
            for side in 0..2 {
                pose.rotations[fitter.rig.index[bone::CALF + side]] =
                    Quat::from_rotation_x(0.4 + 0.002 * (i % 5) as f32);
            }
            pose
        };
        let before: Vec<BodyPose> = (0..60).map(at).collect();
        let mut after = before.clone();
        let standing = keep_feet(&fitter, &mut after, 30.0);
        assert!((28..=31).contains(&standing), "{standing}");
        for side in 0..2 {
            let ankle = fitter.rig.index[bone::FOOT + side];
            let spread = |poses: &[BodyPose]| {
                let places: Vec<DVec3> = poses.iter().map(|pose| ball(&fitter, pose, ankle)).collect();
                places.iter().map(|place| place.distance(places[0])).fold(0.0, f64::max)
            };
            assert!(spread(&before[2..28]) > 3e-3 && spread(&after[2..28]) < 2e-4, "{}", spread(&after[2..28]));
        }
        assert_eq!(before[50], after[50], "what moves is left alone");
    }
}
