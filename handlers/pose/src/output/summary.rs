//! `summary.json`: what was found, in numbers.

use std::io::{self, Write};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The whole file.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Summary {
    /// How many people.
    pub people: u32,
    /// Frames of the video.
    pub frames: u64,
    /// Frames with at least one person.
    pub frames_with_people: u64,
    /// Frames that came back as they were because a fit or the drawing failed.
    pub frames_fallback: u64,
    /// Each of the people, in the order of their tracks.
    pub tracks: Vec<TrackSummary>,
}

/// One person.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TrackSummary {
    /// As in `poses.json`.
    pub track: u32,
    /// First and last frame with a pose.
    pub first_frame: u64,
    /// See `first_frame`.
    pub last_frame: u64,
    /// Frames with a pose.
    pub frames: u64,
    /// Of those, frames in which nobody was found and the pose lies between others.
    pub frames_filled: u64,
    /// How much joints shake: mean of their second difference, in millimetres a frame squared, as found.
    pub jitter_raw_mm: Option<f64>,
    /// The same after smoothing. What is left is mostly motion.
    pub jitter_mm: Option<f64>,
    /// Mean distance in the picture from the body's points to those that were found, as a share of the person's size.
    pub reprojection_error: Option<f64>,
}

impl Summary {
    /// Share of the frames with at least one person, 0 to 1.
    pub fn coverage(&self) -> f64 {
        if self.frames == 0 { 0.0 } else { self.frames_with_people as f64 / self.frames as f64 }
    }

    /// Whether more frames failed than a result may have: half of them.
    pub fn mostly_failed(&self) -> bool {
        self.frames_fallback * 2 > self.frames
    }

    /// Writes the file. It holds `coverage`, too.
    ///
    /// # Errors
    /// Those of `out`.
    pub fn write(&self, mut out: impl Write) -> io::Result<()> {
        let mut value = serde_json::to_value(self)?;
        value["coverage"] = self.coverage().into();
        serde_json::to_writer_pretty(&mut out, &value)?;
        out.write_all(b"\n")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_says_how_much_of_the_clip_has_people() {
        let mut summary =
            Summary { people: 1, frames: 8, frames_with_people: 6, frames_fallback: 4, ..Summary::default() };
        summary.tracks.push(TrackSummary { track: 3, jitter_mm: Some(3.5), ..TrackSummary::default() });
        assert!(!summary.mostly_failed());
        let mut bytes = Vec::new();
        summary.write(&mut bytes).unwrap();
        let value: serde_json::Value = serde_json::from_slice(&bytes).unwrap();
        assert_eq!((&value["coverage"], &value["tracks"][0]["jitter_mm"]), (&0.75.into(), &3.5.into()));
        assert_eq!(Summary::default().coverage(), 0.0);
        summary.frames_fallback = 5;
        assert!(summary.mostly_failed());
    }
}
