//! From rotations of bones to where they are.

use glam::{Mat3, Mat4, Quat, Vec3};

use super::asset::Body;
use crate::view::BodyPose;

/// Bones of a posed body in the camera's frame, in the body's order.
#[derive(Debug, Clone, PartialEq)]
pub struct Joints {
    /// Where each bone begins, in metres.
    pub heads: Vec<Vec3>,
    /// How each is turned from its rest pose.
    pub rotations: Vec<Quat>,
}

impl Body {
    /// The pose at rest, as seen by a camera at the body's origin.
    pub fn rest(&self) -> BodyPose {
        BodyPose {
            rotations: vec![Quat::IDENTITY; self.bones.len()],
            translation: self.bones[0].head,
            scales: vec![1.0; self.bones.len()],
        }
    }

    /// Forward kinematics: a bone turns with its parent, and begins at its scale's multiple of its rest distance from it.
    /// What the pose lacks counts as the rest pose.
    pub fn joints(&self, pose: &BodyPose) -> Joints {
        let count = self.bones.len();
        let mut joints = Joints { heads: Vec::with_capacity(count), rotations: Vec::with_capacity(count) };
        for (index, bone) in self.bones.iter().enumerate() {
            let local = pose.rotations.get(index).copied().unwrap_or_default();
            let (head, rotation) = match bone.parent {
                None => (pose.translation, local),
                Some(parent) => {
                    let way = (bone.head - self.bones[parent].head) * scale(pose, index);
                    let turned = joints.rotations[parent];
                    (joints.heads[parent] + turned * way, turned * local)
                }
            };
            joints.heads.push(head);
            // Products of many unit quaternions drift from unit length.
            joints.rotations.push(rotation.normalize());
        }
        joints
    }

    /// What carries a point at rest with each bone: turned, and stretched along the bone where the next one is moved away.
    pub(super) fn transforms(&self, pose: &BodyPose) -> Vec<Mat4> {
        let joints = self.joints(pose);
        let carry = |(index, bone): (usize, &super::Bone)| {
            let turn = Mat3::from_quat(joints.rotations[index]);
            let linear = match self.stretch[index] {
                Some(child) => turn * along(self.bones[child].head - bone.head, scale(pose, child)),
                None => turn,
            };
            Mat4::from_mat3_translation(linear, joints.heads[index] - linear * bone.head)
        };
        self.bones.iter().enumerate().map(carry).collect()
    }
}

fn scale(pose: &BodyPose, bone: usize) -> f32 {
    pose.scales.get(bone).copied().unwrap_or(1.0)
}

/// Stretches along a direction, and leaves what is square to it.
fn along(direction: Vec3, factor: f32) -> Mat3 {
    let d = direction.normalize_or_zero() * (factor - 1.0);
    let n = direction.normalize_or_zero();
    Mat3::IDENTITY + Mat3::from_cols(d * n.x, d * n.y, d * n.z)
}
