//! A leg that reaches for a place.

use glam::{DMat3, DQuat, DVec3};

use super::fitter::{Fitter, matrix};
use super::geometry::{swing, unit};
use super::rig::bone;
use crate::view::BodyPose;

/// A leg is not stretched quite straight: its plane would be lost.
const REACH: f64 = 0.999;
/// Shorter than this, in metres, a bone has no direction to turn.
const LEAST: f64 = 1e-3;

/// Moves an ankle by `offset` metres with hip and knee, in the plane that the knee has; the foot keeps its attitude. A leg
/// that has no extent, or no plane, is left as it is.
pub fn move_ankle(fitter: &Fitter, pose: &mut BodyPose, side: usize, offset: DVec3) {
    let index = |bone: usize| fitter.rig.index[bone + side];
    let (thigh, calf, foot) = (index(bone::THIGH), index(bone::CALF), index(bone::FOOT));
    let joints = fitter.body.joints(pose);
    let head = |bone: usize| joints.heads[bone].as_dvec3();
    let turn = |bone: usize| matrix(joints.rotations[bone]);
    let (hip, knee, ankle) = (head(thigh), head(calf), head(foot));
    let Some((upper, lower)) = reach(hip, knee, ankle, ankle + offset) else { return };
    let parent = turn(fitter.rig.index[bone::PELVIS]);
    let (new_thigh, new_calf) = (upper * turn(thigh), lower * turn(calf));
    for (bone, above, now) in [(thigh, parent, new_thigh), (calf, new_thigh, new_calf), (foot, new_calf, turn(foot))] {
        pose.rotations[bone] = DQuat::from_mat3(&(above.transpose() * now)).normalize().as_quat();
    }
}

/// How thigh and shin must turn so that the ankle comes to a place, or as near as they reach.
fn reach(hip: DVec3, knee: DVec3, ankle: DVec3, goal: DVec3) -> Option<(DMat3, DMat3)> {
    let (thigh, shin) = (knee - hip, ankle - knee);
    let (a, b) = (thigh.length(), shin.length());
    let to_goal = unit(goal - hip)?;
    let (nearest, farthest) = ((a - b).abs() * 1.001 + 1e-4, (a + b) * REACH);
    if !(a > LEAST && b > LEAST && nearest < farthest) {
        return None;
    }
    let far = (goal - hip).length().clamp(nearest, farthest);
    let to_ankle = unit(ankle - hip)?;
    let forward = unit(thigh - to_ankle * thigh.dot(to_ankle))?;
    // The law of cosines puts the knee into the triangle of both lengths and the way.
    let along = (a * a - b * b + far * far) / (2.0 * far);
    let aside = (a * a - along * along).max(0.0).sqrt();
    let carry = swing(to_ankle, to_goal);
    let new_knee = hip + to_goal * along + carry * forward * aside;
    let new_ankle = hip + to_goal * far;
    // First the whole leg is carried to the goal, then both bones turn in its plane: their twist stays.
    let turn = |from: DVec3, to: DVec3| Some(swing(unit(carry * from)?, unit(to)?) * carry);
    Some((turn(thigh, new_knee - hip)?, turn(shin, new_ankle - new_knee)?))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use glam::Quat;

    use super::*;
    use crate::body::sample::sample;

    #[test]
    fn an_ankle_goes_where_it_is_sent_and_the_foot_keeps_its_attitude() {
        let fitter = Fitter::new(Arc::new(sample())).unwrap();
        let mut pose = fitter.body.rest();
        pose.rotations[fitter.rig.index[bone::CALF]] = Quat::from_rotation_x(0.6);
        let foot = fitter.rig.index[bone::FOOT];
        let before = fitter.body.joints(&pose);
        let offset = DVec3::new(0.05, -0.08, 0.04);
        let mut moved = pose.clone();
        move_ankle(&fitter, &mut moved, 0, offset);
        let after = fitter.body.joints(&moved);
        assert!(after.heads[foot].distance(before.heads[foot] + offset.as_vec3()) < 1e-4);
        assert!(after.rotations[foot].angle_between(before.rotations[foot]) < 2e-3);
        let other = fitter.rig.index[bone::FOOT + 1];
        assert_eq!(after.heads[other], before.heads[other]);
        // Out of reach: as far as it goes, no number that is none.
        move_ankle(&fitter, &mut pose, 0, DVec3::new(0.0, 9.0, 0.0));
        assert!(pose.rotations.iter().all(|q| q.is_finite()));
    }

    #[test]
    fn a_leg_without_a_shin_or_a_thigh_stays_as_it_is() {
        let goal = DVec3::new(0.1, 0.5, 0.3);
        for (knee, ankle) in [(0.5, 0.5), (0.5, 0.5001), (0.0, 0.5), (1e-5, 2e-5), (1.0, 1.0011), (f64::NAN, 0.5)] {
            let [knee, ankle] = [DVec3::new(1e-6, knee, 0.0), DVec3::new(0.0, ankle, 0.0)];
            assert_eq!(reach(DVec3::ZERO, knee, ankle, goal), None, "{knee} {ankle}");
        }
        assert!(reach(DVec3::ZERO, DVec3::new(0.0, 0.4, 0.1), DVec3::new(0.0, 0.8, 0.0), goal).is_some());
    }
}
