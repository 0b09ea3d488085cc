//! `poses.json`: who is where in each frame.

use std::borrow::Cow;
use std::io::{self, Write};

use glam::{Quat, Vec2, Vec3};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::motion::invalid;
use crate::body::Body;
use crate::view::{BodyPose, Camera, Landmarks};

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
    /// When it is shown, in seconds from the video's start.
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
        Person {
            track,
            box_px: rounded(box_px, [PIXEL; 4]),
            score: rounded([landmarks.score], [SHARE])[0],
            filled: false,
            keypoints_17: coco_of(landmarks).into_iter().map(point).collect(),
            landmarks_33: Some(seen.map(point).collect()),
            world_33: Some(landmarks.world.iter().map(|p| rounded(p.to_array(), [METRE; 3])).collect()),
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

/// JSON Schema of the file.
pub fn poses_schema() -> schemars::Schema {
    schemars::schema_for!(Poses)
}

/// Writes the file frame by frame.
pub struct PosesWriter<W: Write> {
    out: W,
    any: bool,
}

impl<W: Write> PosesWriter<W> {
    /// Writes all but the frames.
    ///
    /// # Errors
    /// Those of `out`.
    pub fn new(mut out: W, poses: &Poses) -> io::Result<PosesWriter<W>> {
        let poses = if poses.frames.is_empty() {
            Cow::Borrowed(poses)
        } else {
            Cow::Owned(Poses { frames: vec![], ..poses.clone() })
        };
        let text = serde_json::to_string(&poses)?;
        // The list of frames is the last field, and empty.
        out.write_all(text.strip_suffix("]}").unwrap_or(&text).as_bytes())?;
        Ok(PosesWriter { out, any: false })
    }

    /// Adds a frame, on a line of its own.
    ///
    /// # Errors
    /// Those of the destination; `InvalidData` for a frame with numbers that are not finite.
    pub fn frame(&mut self, frame: &FramePoses) -> io::Result<()> {
        let text = serde_json::to_string(frame)?;
        // That is how a number that is none is written; a frame has no other.
        if text.contains("null") {
            return Err(invalid("a pose that is not finite"));
        }
        let before = if self.any { ",\n" } else { "\n" };
        self.any = true;
        self.out.write_all(before.as_bytes())?;
        self.out.write_all(text.as_bytes())
    }

    /// Ends the file.
    ///
    /// # Errors
    /// Those of the destination.
    pub fn finish(mut self) -> io::Result<W> {
        self.out.write_all(b"\n]}\n")?;
        self.out.flush()?;
        Ok(self.out)
    }
}

#[cfg(test)]
mod tests {
    use super::super::motion::tests::moving;
    use super::*;

    fn poses() -> Poses {
        let (body, _, frames) = moving();
        let landmarks = Landmarks {
            image: std::array::from_fn(|i| Vec2::new(i as f32 * 10.123_456, 7.5)),
            visibility: [0.987_654; 33],
            world: std::array::from_fn(|i| Vec3::new(0.1, -0.2, i as f32 / 33.0)),
            score: 0.75,
        };
        let camera = Camera { focal_px: 1200.0, centre_px: Vec2::new(500.0, 400.0) };
        let frame = |frame: &super::super::PosedFrame| {
            let rig = Some(RigPose::new(&frame.pose, Some(3.217)));
            let people = vec![
                Person { rig, ..Person::new(1, [1.0; 4], &landmarks) },
                Person { landmarks_33: None, world_33: None, filled: true, ..Person::new(2, [2.0; 4], &landmarks) },
            ];
            FramePoses::new(frame.index, frame.time_secs, &camera, people)
        };
        Poses {
            schema: Schema::V1,
            video: VideoFacts { width_px: 1000, height_px: 800, fps: 25.0 },
            model: "blazepose-full".into(),
            bones: BoneFacts::of(&body),
            tracks: vec![TrackFacts { track: 1, scales: vec![1.5; 53] }, TrackFacts { track: 2, scales: vec![] }],
            frames: frames.iter().map(frame).collect(),
        }
    }

    #[test]
    fn a_file_written_frame_by_frame_is_read_back_whole() {
        let poses = poses();
        for count in [0, 1, poses.frames.len()] {
            let mut writer = PosesWriter::new(Vec::new(), &poses).unwrap();
            poses.frames[..count].iter().for_each(|frame| writer.frame(frame).unwrap());
            let bytes = writer.finish().unwrap();
            let back: Poses = serde_json::from_slice(&bytes).unwrap();
            assert_eq!(back, Poses { frames: poses.frames[..count].to_vec(), ..poses.clone() });
        }
        let (_, _, frames) = moving();
        let rig = poses.frames[5].people[0].rig.as_ref().unwrap().pose(vec![]);
        let worst = rig.rotations.iter().zip(&frames[5].pose.rotations).map(|(a, b)| a.angle_between(*b));
        // Of a quaternion a hundred-thousandth is some ten of an angle in single precision.
        assert!(worst.fold(0.0, f32::max) < 2e-3);
        assert_eq!(poses.frames[0].people[0].keypoints_17[5], [111.36, 7.5, 0.988]);
    }

    #[test]
    fn a_pose_that_is_no_number_is_refused() {
        let mut frame = poses().frames.remove(0);
        frame.people[0].box_px[2] = f32::NAN;
        let mut writer = PosesWriter::new(Vec::new(), &poses()).unwrap();
        assert_eq!(writer.frame(&frame).unwrap_err().kind(), io::ErrorKind::InvalidData);
    }

    #[test]
    fn the_published_schema_is_that_of_the_types() {
        let published = include_str!("../../poses.schema.json");
        let now = serde_json::to_string_pretty(&poses_schema()).unwrap();
        assert_eq!(published.trim_end(), now, "write this to handlers/pose/poses.schema.json:\n{now}");
    }
}
