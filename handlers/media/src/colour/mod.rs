//! Pixels to planar float RGB for models, and back.
//!
//! [`ToRgb`] honours matrix, range and chroma position of a frame; formats that are not plain rows of 8 to 16 bit
//! samples go through swscale first. [`FromRgb`] is its inverse for the formats that a [`crate::Writer`] takes.
//! [`Sampler`] takes turned and scaled crops for models that look at parts. [`Light`] is for what must be done in linear light.
//! Times are about 3 ms of one core for 1920x1080 either way, most of it memory traffic.

mod bilinear;
mod from_rgb;
mod light;
mod matrix;
mod planes;
mod sample;
mod samples;
mod simd;
mod to_rgb;
mod tone;

pub(crate) use matrix::Matrix;
pub(crate) use planes::{Component, Layout};

pub use from_rgb::FromRgb;
pub use light::Light;
pub use sample::{Affine, Sampler};
pub use to_rgb::{Hdr, RgbRows, ToRgb, alpha_of};

#[cfg(test)]
mod tests;
