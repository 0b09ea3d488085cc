//! Video matting.

mod model;
mod params;
mod ranges;

pub use model::{Matte, Rvm};
pub use params::{Format, Params, Rgb};
pub use ranges::{Auto, BatchSize, Bounded, GpuCount, Quality, Ratio, Seconds, Speed};
