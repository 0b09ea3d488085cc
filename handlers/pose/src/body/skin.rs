//! Linear blend skinning.

use glam::{Vec3, Vec3A};

use super::asset::{Body, Influences};
use crate::view::BodyPose;

impl Body {
    /// Where the vertices are in a pose, in the camera's frame; `vertices` is overwritten and keeps its memory.
    ///
    /// One thread: pictures and people are what a job spreads over threads.
    pub fn skin(&self, pose: &BodyPose, vertices: &mut Vec<Vec3>) {
        let carry = self.transforms(pose);
        let blend = |(rest, by): (&Vec3, &Influences)| {
            let [a, b, c, d] = by.bones.map(|bone| &carry[usize::from(bone)]);
            let [wa, wb, wc, wd] = by.weights;
            let blended = *a * wa + *b * wb + *c * wc + *d * wd;
            Vec3::from(blended.transform_point3a(Vec3A::from(*rest)))
        };
        vertices.clear();
        vertices.extend(self.vertices.iter().zip(&self.skin).map(blend));
    }
}

#[cfg(test)]
mod tests {
    use glam::{DMat3, DVec3, Quat};

    use super::super::sample::sample;
    use super::*;

    /// The same by the book, in double precision, bone by bone along each chain.
    fn reference(body: &Body, pose: &BodyPose, vertex: usize) -> DVec3 {
        let bones = body.bones();
        let chain = |mut bone: usize| {
            let mut chain = vec![bone];
            while let Some(parent) = bones[bone].parent {
                chain.insert(0, parent);
                bone = parent;
            }
            chain
        };
        let mut sum = DVec3::ZERO;
        let by = body.influences()[vertex];
        for (bone, weight) in by.bones.iter().zip(by.weights) {
            let (mut turn, mut head) = (DMat3::IDENTITY, DVec3::ZERO);
            for link in chain(usize::from(*bone)) {
                head = match bones[link].parent {
                    None => pose.translation.as_dvec3(),
                    Some(parent) => {
                        let way = (bones[link].head - bones[parent].head).as_dvec3();
                        head + turn * way * f64::from(pose.scales[link])
                    }
                };
                turn *= DMat3::from_quat(pose.rotations[link].as_dquat());
            }
            let rest = bones[usize::from(*bone)].head.as_dvec3();
            let mut offset = body.vertices()[vertex].as_dvec3() - rest;
            let next = bones.iter().position(|c| {
                c.parent == Some(usize::from(*bone)) && c.head.distance(bones[usize::from(*bone)].tail) < 1e-4
            });
            if let Some(next) = next {
                let axis = (bones[next].head.as_dvec3() - rest).normalize();
                offset += axis * axis.dot(offset) * (f64::from(pose.scales[next]) - 1.0);
            }
            sum += f64::from(weight) * (head + turn * offset);
        }
        sum
    }

    #[test]
    fn vertices_go_where_double_precision_says() {
        let body = sample();
        let mut pose = body.rest();
        for (index, rotation) in pose.rotations.iter_mut().enumerate() {
            let x = index as f32;
            *rotation = Quat::from_scaled_axis(Vec3::new((x * 1.3).sin(), (x * 0.7).cos(), (x * 2.1).sin()) * 0.8);
        }
        for (index, scale) in pose.scales.iter_mut().enumerate() {
            *scale = 1.0 + 0.2 * (index as f32).sin();
        }
        pose.translation = Vec3::new(0.3, -0.2, 4.0);
        let mut skinned = Vec::new();
        body.skin(&pose, &mut skinned);
        assert_eq!(skinned.len(), body.vertices().len());
        for (vertex, found) in skinned.iter().enumerate() {
            let off = found.as_dvec3().distance(reference(&body, &pose, vertex));
            assert!(off < 5e-6, "vertex {vertex} is {off} m off");
        }
    }

    #[test]
    fn the_rest_pose_is_the_rest_shape() {
        let body = sample();
        let mut skinned = Vec::new();
        body.skin(&body.rest(), &mut skinned);
        assert!(skinned.iter().zip(body.vertices()).all(|(a, b)| a.distance(*b) < 1e-6));
    }
}
