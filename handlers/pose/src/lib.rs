//! Pose and body mesh of the people in a video.

pub mod body;
pub mod fit;
pub mod output;
pub mod people;
pub mod render;
pub mod view;
