//! What the rooms of this crate hand to one another.
//!
//! Everything in space is in metres in the camera's frame: x right, y down, z forward. Pixels have their origin at the
//! upper left corner of the picture; the centre of the first pixel is (0.5, 0.5).

use glam::{Quat, Vec2, Vec3};

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
