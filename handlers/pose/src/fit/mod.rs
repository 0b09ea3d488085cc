//! Finds the pose of a body from landmarks.
//!
//! [`Fitter::fit`] fits one picture: a first pose by geometry (module [`analytic`]), then the method of Levenberg and Marquardt
//! on 68 parameters (modules [`problem`] and [`solve`]). [`Fitter::fit_track`] fits a person through a whole clip: one set of
//! lengths, short gaps filled, smoothed without delay, feet that stand kept in their place.
//!
//! Landmarks come from a network and may be anything: a picture that tells no pose gives none, and no number that is not one
//! comes out.

mod analytic;
mod contact;
mod fitter;
mod geometry;
mod leg;
mod motion;
mod normal;
mod observe;
mod problem;
mod rig;
mod slopes;
mod smooth;
mod smpl;
mod solve;
#[cfg(test)]
mod tests;
mod track;

pub use fitter::{Fit, Fitter, Lengths};
pub use motion::fill_gaps;
pub use smooth::smooth;
pub use smpl::{SMPL_PELVIS, SmplTrack};
pub use track::{FittedTrack, TrackOptions};
