//! What finds the pose of a person whose square is known.

use darkroom_api::Result;
use darkroom_media::Frame;

use super::roi::Roi;
use crate::view::Landmarks;

/// What a model saw in one square.
#[derive(Debug, Clone, PartialEq)]
pub struct Estimate {
    /// The person.
    pub landmarks: Landmarks,
    /// Where to look in the next frame, or again in this one to see better.
    pub next: Roi,
}

/// An adapter to a pose model.
pub trait PoseModel: Send {
    /// Looks at squares of one frame, in that order: one estimate for each.
    ///
    /// # Errors
    /// Those of the model and of frames that cannot be read.
    fn estimate(&mut self, frame: &Frame, regions: &[Roi]) -> Result<Vec<Estimate>>;
}
