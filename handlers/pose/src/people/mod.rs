//! Who is where in each frame: detection, landmarks, tracks.
//!
//! Two detectors look for people where that is due ([`Finder`] decides when), each person's square goes through a
//! [`PoseModel`], which also tells where to look in the next frame, a [`BodyModel`] may look at them more closely, and [`Tracker`] makes tracks of what was seen. A job is a
//! whole file, so a track is followed backwards too, from the frame where it was found to those where nobody looked, and its
//! gaps are filled.

mod assign;
mod blazepose;
mod bounds;
mod candidates;
mod catalogue;
mod cut;
mod detect;
mod fill;
mod filter;
mod finder;
mod hmr2;
mod instanthmr;
mod kalman;
mod model;
mod movenet;
mod nanodet;
mod own;
#[cfg(test)]
mod parity;
mod roi;
mod similar;
#[cfg(test)]
pub(crate) mod testing;
mod track;
mod user;

pub use blazepose::{BlazePose, BlazePoseDetector};
pub use bounds::Bounds;
pub use catalogue::{AUTO, CHOICES, Choice};
pub use detect::{Candidate, Detector};
pub use fill::fill_gaps;
pub use finder::{Counts, Finder, Schedule};
pub use model::{BodyModel, Detail, Estimate, Person, PoseModel};
pub use nanodet::NanoDet;
pub use roi::Roi;
pub use track::{Sighting, Track, Tracker};

/// Most people that are followed at once; others are counted.
pub const MAX_PEOPLE: usize = 40;
