//! FFmpeg in and out: probe, decode, encode, colour, audio pass-through and the staged pipeline.
//!
//! [`probe::probe`] says what a file is, or why it cannot be used. [`Reader`] decodes it into upright [`Frame`]s,
//! [`colour`] turns frames into planar float RGB and back, [`Writer`] encodes and muxes, and [`pipeline::run`] joins
//! the three on threads of their own. Files are hostile: FFmpeg never sees a path of an input, only bytes that we read
//! for it, and only containers on a list are opened (`source`).

pub mod alone;
pub mod colour;
pub mod compare;
mod deinterlace;
mod error;
mod ffi;
mod frame;
mod info;
mod orientation;
pub mod pipeline;
pub mod probe;
mod reader;
mod source;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
mod writer;

pub use ffmpeg_next::Rational;
pub use ffmpeg_next::format::Pixel;
pub use frame::{Frame, FramePool, Plane, PlaneMut};
pub use info::{ColourTags, VideoInfo};
pub use orientation::Orientation;
pub use reader::{ReadOptions, Reader, Tracks};
pub use writer::{
    Closing, Container, OutputFormat, Rate, Traits, VideoCodec, Watch, WriteOptions, WriteReport, Writer,
};

/// Makes FFmpeg ready, once. Its own messages go to standard error only when fatal: what users need is in our errors.
fn init() -> darkroom_api::Result<()> {
    static READY: std::sync::OnceLock<Result<(), ffmpeg_next::Error>> = std::sync::OnceLock::new();
    let ready = READY.get_or_init(|| {
        ffmpeg_next::init()?;
        ffmpeg_next::log::set_level(ffmpeg_next::log::Level::Fatal);
        Ok(())
    });
    ready.map_err(|e| error::internal("FFmpeg did not start", e))
}
