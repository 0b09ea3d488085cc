//! `summary.json`: what was found, in numbers.

use std::io::{self, Write};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The whole file. Means over people are weighted by their frames, and absent where nobody has the number.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Summary {
    /// How many people.
    pub people: usize,
    /// Frames of the video.
    pub frames: u64,
    /// Share of them with at least one person, 0 to 1.
    pub coverage: f64,
    /// Frames that came back as they were because a fit or the drawing failed.
    pub frames_fallback: u64,
    /// Mean of the people's, see [`TrackSummary::jitter_raw_mm`].
    pub jitter_raw_mm: Option<f64>,
    /// Mean of the people's.
    pub jitter_mm: Option<f64>,
    /// Mean of the people's.
    pub reprojection_error: Option<f64>,
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
    /// Sums up a job.
    pub fn new(frames: u64, frames_with_people: u64, frames_fallback: u64, tracks: Vec<TrackSummary>) -> Summary {
        let mean = |number: fn(&TrackSummary) -> Option<f64>| {
            let known = || tracks.iter().filter_map(|t| Some((number(t)?, t.frames as f64)));
            let weight: f64 = known().map(|(_, frames)| frames).sum();
            (weight > 0.0).then(|| known().map(|(number, frames)| number * frames).sum::<f64>() / weight)
        };
        Summary {
            people: tracks.len(),
            frames,
            coverage: if frames == 0 { 0.0 } else { frames_with_people as f64 / frames as f64 },
            frames_fallback,
            jitter_raw_mm: mean(|t| t.jitter_raw_mm),
            jitter_mm: mean(|t| t.jitter_mm),
            reprojection_error: mean(|t| t.reprojection_error),
            tracks,
        }
    }

    /// Writes the file.
    ///
    /// # Errors
    /// Those of `out`.
    pub fn write(&self, mut out: impl Write) -> io::Result<()> {
        serde_json::to_writer_pretty(&mut out, self)?;
        out.write_all(b"\n")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_sums_people_up_by_their_frames_and_is_read_back() {
        let track = |track, frames, jitter_mm| TrackSummary { track, frames, jitter_mm, ..TrackSummary::default() };
        let tracks = vec![track(1, 30, Some(2.0)), track(4, 10, Some(6.0)), track(5, 1, None)];
        let summary = Summary::new(8, 6, 4, tracks);
        assert_eq!((summary.people, summary.coverage, summary.jitter_mm), (3, 0.75, Some(3.0)));
        assert_eq!(summary.reprojection_error, None);
        let mut bytes = Vec::new();
        summary.write(&mut bytes).unwrap();
        assert_eq!(serde_json::from_slice::<Summary>(&bytes).unwrap(), summary);
        assert_eq!(Summary::new(0, 0, 0, vec![]).coverage, 0.0);
    }
}
