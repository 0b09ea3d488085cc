//! `poses.json`: who is where in each frame.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Which form the file has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
pub enum Schema {
    /// The one there is.
    #[default]
    #[serde(rename = "darkroom.poses.v1")]
    V1,
}

/// The whole file. Pixels have their origin at the upper left corner of the picture; space is in metres in the camera's
/// frame: x right, y down, z away from the camera.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Poses {
    /// The form of this file.
    pub schema: Schema,
    /// The video.
    pub video: VideoFacts,
    /// The model that found the poses.
    pub model: String,
    /// The bones that rotations are of, in their order; each after its parent.
    pub bones: Vec<BoneFacts>,
    /// The people.
    pub tracks: Vec<TrackFacts>,
    /// Every frame of the video. Last, so that it can be read and written piece by piece.
    pub frames: Vec<FramePoses>,
}

/// What is known of the video.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct VideoFacts {
    /// Width of its pictures, upright.
    pub width_px: u32,
    /// Their height.
    pub height_px: u32,
    /// Frames a second, on average.
    pub fps: f64,
}

/// One bone at rest.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct BoneFacts {
    /// Its name.
    pub name: String,
    /// Index of the bone it is fixed to; none for the first.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub parent: Option<usize>,
    /// Where it begins, in metres.
    pub head: [f32; 3],
}

/// One person through the whole video.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TrackFacts {
    /// Named by the people of the frames.
    pub track: u32,
    /// How far each bone begins from its parent's beginning, as a multiple of the distance at rest. Empty without a body.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub scales: Vec<f32>,
}

/// One frame.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct FramePoses {
    /// From 0.
    pub index: u64,
    /// When it is shown, in seconds from the first frame of the part that was worked on.
    pub time_secs: f64,
    /// The camera that the bodies are seen by.
    pub camera: FrameCamera,
    /// Who is seen.
    pub people: Vec<Person>,
}

/// A pinhole camera at the origin that looks along +z.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct FrameCamera {
    /// Focal length, the same along both axes.
    pub focal_px: f32,
    /// Where the optical axis meets the picture.
    pub centre_px: [f32; 2],
}

/// One person in one frame.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Person {
    /// The same through the video.
    pub track: u32,
    /// Left, top, width, height.
    pub box_px: [f32; 4],
    /// How sure the model is, 0 to 1.
    pub score: f32,
    /// Whether nobody was found here and the pose lies between those before and after.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub filled: bool,
    /// COCO's 17 points: x and y in pixels, how likely it is visible (0 to 1).
    #[schemars(length(equal = 17))]
    pub keypoints_17: Vec<[f32; 3]>,
    /// BlazePose's 33 points, of models that find them: x and y in pixels, how likely it is visible (0 to 1).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(equal = 33))]
    pub landmarks_33: Option<Vec<[f32; 3]>>,
    /// The same in metres about the middle of the hips.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(equal = 33))]
    pub world_33: Option<Vec<[f32; 3]>>,
    /// The body, where one was fitted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rig: Option<RigPose>,
}

/// The pose of a body.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RigPose {
    /// Where the first bone begins, in metres.
    pub translation: [f32; 3],
    /// A quaternion (x, y, z, w) for each bone: how it is turned against its parent from the rest pose.
    pub rotations: Vec<[f32; 4]>,
    /// Mean distance in the picture from the body's points to those that were found, in pixels.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reprojection_px: Option<f32>,
}

/// JSON Schema of the file.
pub fn poses_schema() -> schemars::Schema {
    schemars::schema_for!(Poses)
}
