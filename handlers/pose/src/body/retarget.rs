//! Rotations of SMPL's skeleton on the CC0 body. SMPL rests with its arms stretched out and its legs straight down, the CC0
//! body with lowered arms and bent elbows: limbs are first turned to where SMPL's are. Only the names of SMPL's joints and
//! that pose are used, nothing of its file.

use glam::{Quat, Vec3};

use super::asset::Body;
use crate::view::BodyPose;

/// How many joints SMPL has.
pub const SMPL_JOINTS: usize = 24;
/// Their names, in order.
#[rustfmt::skip]
pub const SMPL_NAMES: [&str; SMPL_JOINTS] = [
    "pelvis", "left_hip", "right_hip", "spine1", "left_knee", "right_knee", "spine2", "left_ankle", "right_ankle", "spine3",
    "left_foot", "right_foot", "neck", "left_collar", "right_collar", "head", "left_shoulder", "right_shoulder", "left_elbow",
    "right_elbow", "left_wrist", "right_wrist", "left_hand", "right_hand",
];
/// SMPL is y up and faces +z; at rest the CC0 body is y down and faces -z.
const HALF_TURN: Quat = Quat::from_xyzw(1.0, 0.0, 0.0, 0.0);
const PARENTS: [usize; SMPL_JOINTS] = [0, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 9, 9, 12, 13, 14, 16, 17, 18, 19, 20, 21];
/// Bones with the joint of SMPL that turns them; those with a side are the left ones, the right joint follows the left.
const MIDDLE: [(&str, usize); 6] =
    [("pelvis", 0), ("spine_01", 3), ("spine_02", 6), ("spine_03", 9), ("neck_01", 12), ("head", 15)];
const SIDES: [(&str, usize); 8] = [
    ("thigh", 1),
    ("calf", 4),
    ("foot", 7),
    ("ball", 10),
    ("clavicle", 13),
    ("upperarm", 16),
    ("lowerarm", 18),
    ("hand", 20),
];
/// Limbs that rest otherwise than SMPL's, and the bone that each points to.
const LIMBS: [(&str, &str); 5] =
    [("upperarm", "lowerarm"), ("lowerarm", "hand"), ("hand", "middle_01"), ("thigh", "calf"), ("calf", "foot")];

/// The pose of a body that is turned as SMPL is; `rotations` turn each joint against its parent, the first from SMPL's own
/// frame to the camera's (as HMR2 gives it: a person who stands upright before the camera is turned half about x).
/// `pelvis` is where the pelvis begins, in metres in the camera's frame.
pub fn retarget(body: &Body, rotations: &[Quat; SMPL_JOINTS], pelvis: Vec3) -> BodyPose {
    let mut globals = *rotations;
    for joint in 1..SMPL_JOINTS {
        globals[joint] = globals[PARENTS[joint]] * rotations[joint];
    }
    let mut pose = body.rest();
    let mut turned: Vec<Quat> = Vec::with_capacity(body.bones().len());
    for (index, bone) in body.bones().iter().enumerate() {
        let parent = bone.parent.map_or(Quat::IDENTITY, |parent| turned[parent]);
        let global = match joint_of(&bone.name) {
            Some(joint) => globals[joint] * HALF_TURN * to_t_pose(body, index),
            None => parent,
        };
        pose.rotations[index] = (parent.inverse() * global).normalize();
        turned.push(global);
    }
    if let Some(bone) = body.bone("pelvis") {
        // Nothing above the pelvis is turned.
        pose.translation = pelvis - (body.bones()[bone].head - body.bones()[0].head);
    }
    pose
}

fn joint_of(bone: &str) -> Option<usize> {
    let middle = MIDDLE.iter().find(|(name, _)| *name == bone).map(|(_, joint)| *joint);
    middle.or_else(|| {
        let (part, side) = (bone.strip_suffix("_l").map(|part| (part, 0)))
            .or_else(|| bone.strip_suffix("_r").map(|part| (part, 1)))?;
        SIDES.iter().find(|(name, _)| *name == part).map(|(_, joint)| joint + side)
    })
}

/// Turns a bone from the body's rest pose to SMPL's.
fn to_t_pose(body: &Body, bone: usize) -> Quat {
    let bones = body.bones();
    let name = &bones[bone].name;
    let limb = LIMBS.iter().find_map(|(limb, next)| Some(format!("{next}{}", name.strip_prefix(limb)?)));
    let Some(next) = limb.and_then(|next| body.bone(&next)) else { return Quat::IDENTITY };
    let Some(rests) = (bones[next].head - bones[bone].head).try_normalize() else { return Quat::IDENTITY };
    let leg = name.starts_with("thigh") || name.starts_with("calf");
    let should = match (leg, name.ends_with("_l")) {
        (true, _) => Vec3::Y,
        (false, true) => Vec3::X,
        (false, false) => Vec3::NEG_X,
    };
    Quat::from_rotation_arc(rests, should)
}

#[cfg(test)]
mod tests {
    use std::f32::consts::FRAC_PI_2;

    use super::super::sample::sample;
    use super::*;

    /// Which way a bone of the posed body points.
    fn way(body: &Body, pose: &BodyPose, from: &str, to: &str) -> Vec3 {
        let joints = body.joints(pose);
        (joints.heads[body.bone(to).unwrap()] - joints.heads[body.bone(from).unwrap()]).normalize()
    }

    #[test]
    fn smpl_at_rest_is_a_t_pose_upright_before_the_camera() {
        let (body, at) = (sample(), Vec3::new(0.1, 0.2, 3.0));
        let mut rotations = [Quat::IDENTITY; SMPL_JOINTS];
        rotations[0] = HALF_TURN;
        let pose = retarget(&body, &rotations, at);
        for (from, to, should) in [
            ("upperarm_l", "lowerarm_l", Vec3::X),
            ("lowerarm_r", "hand_r", Vec3::NEG_X),
            ("thigh_l", "calf_l", Vec3::Y),
            ("calf_r", "foot_r", Vec3::Y),
        ] {
            assert!(way(&body, &pose, from, to).dot(should) > 0.9999, "{from}");
        }
        assert!(way(&body, &pose, "pelvis", "head").y < -0.95, "the head is up");
        assert!(body.joints(&pose).heads[body.bone("pelvis").unwrap()].distance(at) < 1e-5);
    }

    #[test]
    fn joints_turn_the_bones_they_are_named_for() {
        let body = sample();
        let mut rotations = [Quat::IDENTITY; SMPL_JOINTS];
        // SMPL's left forearm points along +x; a quarter about its z lifts it, a quarter about x of the right knee turns
        // the shin from down to the back.
        rotations[18] = Quat::from_rotation_z(FRAC_PI_2);
        rotations[5] = Quat::from_rotation_x(FRAC_PI_2);
        rotations[0] = HALF_TURN * Quat::from_rotation_y(FRAC_PI_2);
        let pose = retarget(&body, &rotations, Vec3::Z);
        assert!(way(&body, &pose, "upperarm_l", "lowerarm_l").dot(Vec3::Z) > 0.9999, "turned about the vertical");
        assert!(way(&body, &pose, "lowerarm_l", "hand_l").dot(Vec3::NEG_Y) > 0.9999);
        assert!(way(&body, &pose, "calf_r", "foot_r").dot(Vec3::NEG_X) > 0.9999);
        assert!(way(&body, &pose, "calf_l", "foot_l").dot(Vec3::Y) > 0.9999);
    }
}
