//! Writes `poses.json` frame by frame.

use std::borrow::Cow;
use std::io::{self, Write};

use super::motion::invalid;
use super::poses::{FramePoses, Poses};

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
    use glam::{Vec2, Vec3};

    use super::super::motion::tests::moving;
    use super::super::poses::{BoneFacts, Person, RigPose, Schema, TrackFacts, VideoFacts, poses_schema};
    use super::*;
    use crate::view::{Camera, Landmarks};

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
