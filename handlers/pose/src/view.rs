//! What the rooms of this crate hand to one another.
//!
//! Everything in space is in metres in the camera's frame: x right, y down, z forward. Pixels have their origin at the
//! upper left corner of the picture; the centre of the first pixel is (0.5, 0.5).

use glam::{Quat, Vec2, Vec3};

use crate::body::SMPL_JOINTS;

/// A pinhole camera at the origin that looks along +z.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Camera {
    /// Focal length in pixels, the same along both axes.
    pub focal_px: f32,
    /// Where the optical axis meets the picture, in pixels.
    pub centre_px: Vec2,
}

impl Camera {
    /// Where a point in front of the camera is seen, in pixels.
    pub fn project(&self, point: Vec3) -> Vec2 {
        point.truncate() / point.z * self.focal_px + self.centre_px
    }
}

/// Landmarks of one person in one picture, in the order of BlazePose.
#[derive(Debug, Clone, PartialEq)]
pub struct Landmarks {
    /// In pixels of the picture.
    pub image: [Vec2; 33],
    /// How likely each is visible, 0 to 1.
    pub visibility: [f32; 33],
    /// In metres about the middle of the hips, axes as the camera's.
    pub world: [Vec3; 33],
    /// How sure the model is that there is a person, 0 to 1.
    pub score: f32,
}

/// A pose of a body with named bones.
#[derive(Debug, Clone, PartialEq)]
pub struct BodyPose {
    /// Rotation of each bone against its parent, relative to the rest pose, in the body's order.
    pub rotations: Vec<Quat>,
    /// Where the root bone's head is.
    pub translation: Vec3,
    /// How far each bone's head is from its parent's head, as a multiple of the rest pose's distance.
    pub scales: Vec<f32>,
}

/// One person in one picture in the terms of SMPL, as models of its family tell it.
#[derive(Debug, Clone, PartialEq)]
pub struct SmplPose {
    /// Turn of each joint against its parent, the first from SMPL's own frame to the camera's.
    pub rotations: [Quat; SMPL_JOINTS],
    /// Amounts of SMPL's shapes.
    pub betas: [f32; 10],
    /// Where SMPL's origin is seen, in pixels of the picture.
    pub origin_px: Vec2,
    /// How many pixels a metre has there.
    pub px_per_metre: f32,
}

impl SmplPose {
    /// Where SMPL's origin is before a camera, in metres: where it is seen as it is, as far away as its size tells.
    pub fn translation(&self, camera: &Camera) -> Vec3 {
        let across = (self.origin_px - camera.centre_px) / self.px_per_metre;
        across.extend(camera.focal_px / self.px_per_metre)
    }

    /// What is between two poses, from this one at 0 to the other at 1.
    #[must_use]
    pub fn between(&self, other: &SmplPose, share: f32) -> SmplPose {
        let mix = |a: f32, b: f32| a + (b - a) * share;
        SmplPose {
            rotations: std::array::from_fn(|i| self.rotations[i].slerp(other.rotations[i], share)),
            betas: std::array::from_fn(|i| mix(self.betas[i], other.betas[i])),
            origin_px: self.origin_px.lerp(other.origin_px, share),
            px_per_metre: mix(self.px_per_metre, other.px_per_metre),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 4D-Humans' `cam_crop_to_full`, for its own camera.
    #[test]
    fn smpl_stands_where_4d_humans_puts_it() {
        let (s, t) = (0.9_f32, Vec2::new(0.05, -0.1));
        let (box_px, centre, size) = (612.0_f32, Vec2::new(1300.0, 420.0), Vec2::new(1920.0, 1080.0));
        let focal_px = 5000.0 / 256.0 * size.max_element();
        let b = box_px * s;
        let published = (2.0 * (centre - size / 2.0) / b + t).extend(2.0 * focal_px / b);

        let px_per_metre = b / 2.0;
        let pose = SmplPose {
            rotations: [Quat::IDENTITY; SMPL_JOINTS],
            betas: [0.0; 10],
            origin_px: centre + t * px_per_metre,
            px_per_metre,
        };
        let camera = Camera { focal_px, centre_px: size / 2.0 };
        let found = pose.translation(&camera);
        assert!((found - published).abs().max_element() < 1e-3, "{found} {published}");
        assert!(camera.project(found).distance(pose.origin_px) < 1e-2, "seen where it is told to be");
    }
}
