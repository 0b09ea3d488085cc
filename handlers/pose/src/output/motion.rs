//! What the animations are made of.

use std::io;

use glam::{Quat, Vec3};

use crate::body::{Body, Bone, Influences, Region};
use crate::view::BodyPose;

/// A body with one person's lengths, at rest.
#[derive(Debug, Clone, PartialEq)]
pub struct Shaped {
    pub(super) bones: Vec<Bone>,
    pub(super) vertices: Vec<Vec3>,
    pub(super) normals: Vec<Vec3>,
    pub(super) triangles: Vec<[u32; 3]>,
    pub(super) regions: Vec<Region>,
    pub(super) influences: Vec<Influences>,
}

impl Shaped {
    /// A body whose bones have the lengths that `scales` (as in [`BodyPose`]) give them. Poses then need rotations only: it
    /// is what other programs' skeletons can do. Near joints its skin differs from [`Body::skin`]'s by the little that
    /// stretching before blending does.
    pub fn new(body: &Body, scales: &[f32]) -> Shaped {
        let rest = BodyPose { scales: scales.to_vec(), ..body.rest() };
        let joints = body.joints(&rest);
        let bones = body.bones().iter().zip(&joints.heads).map(|(bone, head)| Bone {
            head: *head,
            tail: *head + (bone.tail - bone.head),
            ..bone.clone()
        });
        let (mut vertices, mut normals) = (Vec::new(), Vec::new());
        body.skin(&rest, &mut vertices);
        crate::body::normals(&vertices, body.triangles(), &mut normals);
        Shaped {
            bones: bones.collect(),
            vertices,
            normals,
            triangles: body.triangles().to_vec(),
            regions: body.regions().to_vec(),
            influences: body.influences().to_vec(),
        }
    }

    /// Its bones, each after its parent.
    pub fn bones(&self) -> &[Bone] {
        &self.bones
    }

    /// Where a bone begins, seen from where its parent begins; from the origin for the first.
    pub(super) fn offset(&self, bone: usize) -> Vec3 {
        let parent = self.bones[bone].parent.map_or(Vec3::ZERO, |parent| self.bones[parent].head);
        self.bones[bone].head - parent
    }
}

/// A pose and when it is taken.
#[derive(Debug, Clone, PartialEq)]
pub struct PosedFrame {
    /// Frame of the video, from 0.
    pub index: u64,
    /// When it is shown, in seconds from the first frame of the part that was worked on.
    pub time_secs: f64,
    /// The pose; its scales are not used, as they are in the shape.
    pub pose: BodyPose,
}

/// One person's way through the video.
#[derive(Debug, Clone, Copy)]
pub struct Motion<'a> {
    /// One pose or more, in the order of their times.
    pub frames: &'a [PosedFrame],
    /// Frames a second.
    pub fps: f64,
}

impl Motion<'_> {
    /// Checks that it can be written for a body of that many bones.
    pub(super) fn check(&self, bones: usize) -> io::Result<()> {
        let sound = |frame: &PosedFrame| {
            let pose = &frame.pose;
            let finite = pose.translation.is_finite() && pose.rotations.iter().all(|r| r.is_finite());
            finite && pose.rotations.len() == bones && frame.time_secs >= 0.0 && frame.time_secs.is_finite()
        };
        let ordered = self.frames.is_sorted_by(|a, b| a.time_secs < b.time_secs);
        let timed = self.fps > 0.0 && self.fps.is_finite();
        if self.frames.is_empty() || !ordered || !timed || !self.frames.iter().all(sound) {
            return Err(invalid("a motion without frames, out of order, or of another body"));
        }
        Ok(())
    }
}

pub(super) fn invalid(why: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, why)
}

/// Half a turn about x: from y down and z away to y up and z towards the viewer.
pub(super) fn turned(v: Vec3) -> Vec3 {
    Vec3::new(v.x, -v.y, -v.z)
}

/// The same of a rotation.
pub(super) fn turned_rotation(q: Quat) -> Quat {
    Quat::from_xyzw(q.x, -q.y, -q.z, q.w).normalize()
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::body::sample::sample;

    /// A body that is not of the usual lengths, and a clip in which all of it moves but one finger.
    pub fn moving() -> (Body, Shaped, Vec<PosedFrame>) {
        let body = sample();
        let scales: Vec<f32> = (0..body.bones().len()).map(|i| 1.0 + 0.15 * (i as f32 * 1.7).sin()).collect();
        let frames = (0..25_u16).map(|t| {
            let time = f32::from(t) / 25.0;
            let mut pose = body.rest();
            for (i, rotation) in pose.rotations.iter_mut().enumerate() {
                let x = i as f32 + time * 3.0;
                *rotation = Quat::from_scaled_axis(Vec3::new((x * 1.3).sin(), (x * 0.7).cos(), (x * 2.1).sin()) * 1.2);
            }
            let still = body.bone("ring_02_l").unwrap();
            pose.rotations[still] = Quat::from_rotation_x(0.3);
            // The other sign is the same rotation; blending must not go the long way round.
            if t % 2 == 1 {
                pose.rotations[1] = -pose.rotations[1];
            }
            pose.translation = Vec3::new(time, -0.2 * time, 3.0 + time);
            PosedFrame { index: u64::from(t) + 4, time_secs: f64::from(time) + 0.16, pose }
        });
        let frames = frames.collect();
        (body.clone(), Shaped::new(&body, &scales), frames)
    }

    /// Joints and vertices by the book, in the camera's frame.
    pub fn posed(shape: &Shaped, pose: &BodyPose) -> (Vec<Vec3>, Vec<Vec3>) {
        let mut heads: Vec<glam::DVec3> = vec![];
        let mut turns: Vec<glam::DQuat> = vec![];
        for (i, bone) in shape.bones.iter().enumerate() {
            let local = pose.rotations[i].as_dquat().normalize();
            let (head, turn) = match bone.parent {
                None => (pose.translation.as_dvec3(), local),
                Some(p) => (heads[p] + turns[p] * shape.offset(i).as_dvec3(), turns[p] * local),
            };
            heads.push(head);
            turns.push(turn);
        }
        let vertex = |(rest, by): (&Vec3, &Influences)| {
            let parts = by.bones.iter().zip(by.weights).map(|(bone, weight)| {
                let bone = usize::from(*bone);
                let off = (*rest - shape.bones[bone].head).as_dvec3();
                (heads[bone] + turns[bone] * off) * f64::from(weight)
            });
            parts.sum::<glam::DVec3>().as_vec3()
        };
        let vertices = shape.vertices.iter().zip(&shape.influences).map(vertex).collect();
        (heads.iter().map(|h| h.as_vec3()).collect(), vertices)
    }

    #[test]
    fn a_shaped_body_has_the_joints_of_the_scaled_pose_and_nearly_its_skin() {
        let (body, _, frames) = moving();
        let scales: Vec<f32> = (0..body.bones().len()).map(|i| 1.0 + 0.05 * (i as f32).sin()).collect();
        let shape = Shaped::new(&body, &scales);
        let pose = BodyPose { scales, ..frames[3].pose.clone() };
        let (joints, vertices) = posed(&shape, &pose);
        let off = |a: &[Vec3], b: &[Vec3]| a.iter().zip(b).map(|(a, b)| a.distance(*b)).fold(0.0, f32::max);
        assert!(off(&joints, &body.joints(&pose).heads) < 1e-5);
        let mut skinned = Vec::new();
        body.skin(&pose, &mut skinned);
        // Rotations of more than a right angle, half the weight each: more than a body does.
        assert!(off(&vertices, &skinned) < 0.02, "{}", off(&vertices, &skinned));

        let plain = Shaped::new(&body, &vec![1.0; body.bones().len()]);
        let pose = BodyPose { scales: vec![1.0; body.bones().len()], ..pose };
        body.skin(&pose, &mut skinned);
        assert!(off(&posed(&plain, &pose).1, &skinned) < 1e-5);
    }
}
