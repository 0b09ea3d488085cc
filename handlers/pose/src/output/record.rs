//! From what the handler knows to what `poses.json` says: rounded to what it can tell.

#[cfg(test)]
use glam::Vec3;
use glam::{Quat, Vec2};

use super::poses::{BoneFacts, FrameCamera, FramePoses, Person, RigPose};
use crate::body::Body;
use crate::view::{BodyPose, Camera, Landmarks};

/// Where COCO's points are among BlazePose's.
const COCO_OF_BLAZEPOSE: [usize; 17] = [0, 2, 5, 7, 8, 11, 12, 13, 14, 15, 16, 23, 24, 25, 26, 27, 28];

/// COCO's 17 points of BlazePose's, with their visibility.
pub fn coco_of(landmarks: &Landmarks) -> [(Vec2, f32); 17] {
    COCO_OF_BLAZEPOSE.map(|i| (landmarks.image[i], landmarks.visibility[i]))
}

/// Places after the point that say something: a hundredth of a pixel, a tenth of a millimetre, and of a rotation what
/// moves a hand by as much.
const PIXEL: f32 = 100.0;
const METRE: f32 = 1e4;
const TURN: f32 = 1e5;
const SHARE: f32 = 1e3;

fn rounded<const N: usize>(values: [f32; N], steps: [f32; N]) -> [f32; N] {
    std::array::from_fn(|i| (values[i] * steps[i]).round() / steps[i])
}

impl Person {
    /// A person from landmarks, rounded to what they tell.
    pub fn new(track: u32, box_px: [f32; 4], landmarks: &Landmarks) -> Person {
        let point = |(at, visibility): (Vec2, f32)| rounded([at.x, at.y, visibility], [PIXEL, PIXEL, SHARE]);
        let seen = landmarks.image.into_iter().zip(landmarks.visibility);
        // Models of COCO's points tell nothing in space.
        let has_space = landmarks.world.iter().all(|p| p.is_finite());
        let world = || landmarks.world.iter().map(|p| rounded(p.to_array(), [METRE; 3])).collect();
        Person {
            track,
            box_px: rounded(box_px, [PIXEL; 4]),
            score: rounded([landmarks.score], [SHARE])[0],
            filled: false,
            keypoints_17: coco_of(landmarks).into_iter().map(point).collect(),
            landmarks_33: has_space.then(|| seen.map(point).collect()),
            world_33: has_space.then(world),
            rig: None,
        }
    }
}

impl FramePoses {
    /// A frame; its time is rounded to microseconds.
    pub fn new(index: u64, time_secs: f64, camera: &Camera, people: Vec<Person>) -> FramePoses {
        FramePoses { index, time_secs: (time_secs * 1e6).round() / 1e6, camera: camera.into(), people }
    }
}

impl RigPose {
    /// A pose, rounded.
    pub fn new(pose: &BodyPose, reprojection_px: Option<f32>) -> RigPose {
        let turn = |q: &Quat| rounded(q.to_array(), [TURN; 4]);
        RigPose {
            translation: rounded(pose.translation.to_array(), [METRE; 3]),
            rotations: pose.rotations.iter().map(turn).collect(),
            reprojection_px: reprojection_px.map(|px| rounded([px], [PIXEL])[0]),
        }
    }

    /// The pose, with lengths from elsewhere.
    #[cfg(test)]
    pub fn pose(&self, scales: Vec<f32>) -> BodyPose {
        let rotations = self.rotations.iter().map(|q| Quat::from_array(*q).normalize()).collect();
        BodyPose { rotations, translation: Vec3::from_array(self.translation), scales }
    }
}

impl From<&Camera> for FrameCamera {
    fn from(camera: &Camera) -> FrameCamera {
        FrameCamera { focal_px: camera.focal_px, centre_px: camera.centre_px.to_array() }
    }
}

impl BoneFacts {
    /// Those of a body.
    pub fn of(body: &Body) -> Vec<BoneFacts> {
        let facts = |bone: &crate::body::Bone| BoneFacts {
            name: bone.name.clone(),
            parent: bone.parent,
            head: rounded(bone.head.to_array(), [METRE; 3]),
        };
        body.bones().iter().map(facts).collect()
    }
}
