//! What finds the pose of a person whose square is known.

use darkroom_api::Result;
use darkroom_media::Frame;

use super::bounds::Bounds;
use super::roi::Roi;
use crate::view::{Landmarks, SmplPose};

/// What a model saw in one square.
#[derive(Debug, Clone, PartialEq)]
pub struct Estimate {
    /// The person.
    pub landmarks: Landmarks,
    /// Where to look in the next frame, or again in this one to see better.
    pub next: Roi,
}

/// An adapter to a pose model: who is there, and where in the next frame.
pub trait PoseModel: Send {
    /// Looks at squares of one frame, in that order: one estimate for each.
    ///
    /// # Errors
    /// Those of the model and of frames that cannot be read.
    fn estimate(&mut self, frame: &Frame, regions: &[Roi]) -> Result<Vec<Estimate>>;
}

/// Somebody whom a [`PoseModel`] found, for a [`BodyModel`] to look at more closely.
#[derive(Debug, Clone, PartialEq)]
pub struct Person {
    /// The box as a detector would draw it, as far as it is in the picture.
    pub bounds: Bounds,
    /// What was found.
    pub landmarks: Landmarks,
}

/// What a [`BodyModel`] tells of a person. Such models do not say whether there is a person at all: that, and who it is, is
/// asked of the [`PoseModel`].
#[derive(Debug, Clone, PartialEq)]
pub struct Detail {
    /// In place of what was found; it has the first one's score.
    pub landmarks: Landmarks,
    /// In the terms of SMPL, of models that tell it.
    pub smpl: Option<SmplPose>,
}

/// An adapter to a model of the whole body, which looks once at each person of each frame.
pub trait BodyModel: Send {
    /// Looks at people of one frame, in that order: one detail for each.
    ///
    /// # Errors
    /// Those of the model and of frames that cannot be read.
    fn look(&mut self, frame: &Frame, people: &[Person]) -> Result<Vec<Detail>>;
}
