//! The encode stage: frames to a file with the source's sound, or to pictures.

mod audio;
mod encoder;
mod format;
mod mux;
mod options;
mod pictures;
mod settings;
mod transcode;

use std::path::Path;

use darkroom_api::{ErrorCode, JobError, Result};

pub use format::{Container, OutputFormat, VideoCodec};
pub use options::{Rate, WriteOptions};

use crate::{Frame, FramePool, Rational, Tracks, VideoInfo};

/// What was written.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct WriteReport {
    /// Frames in the file.
    pub frames: u64,
    /// Bytes of all files.
    pub bytes: u64,
    /// Files, relative to the path given to [`Writer::create`] for pictures; empty for one file.
    pub files: Vec<String>,
    /// What the user should know although it worked (sound transcoded, a second sound track left out, ...).
    pub warnings: Vec<String>,
}

/// Encodes frames of one size. Dropped without [`Writer::finish`], it leaves a broken file behind.
pub struct Writer {
    sink: Sink,
    pool: FramePool,
    last_pts: Option<i64>,
    frames: u64,
}

enum Sink {
    File(Box<mux::Mux>),
    Pictures(Box<pictures::Pictures>),
    Still(pictures::Still),
}

impl Writer {
    /// Creates the output: `path` is a file, or for [`Container::Folder`] a folder that need not exist.
    ///
    /// `info` describes the frames to come: width, height, time base, colour; change a copy of the reader's where
    /// they differ. Sound is taken from `tracks` as the video advances.
    ///
    /// # Errors
    /// Those of [`WriteOptions::check`], `scratch-full`, `internal`.
    pub fn create(path: &Path, options: &WriteOptions, info: &VideoInfo, tracks: Option<Tracks>) -> Result<Writer> {
        crate::init()?;
        options.check()?;
        let format = options.pixel_format(info);
        let colour = options::output_colour(options, info);
        let pool = FramePool::new(format, info.width_px, info.height_px, colour);
        let sink = match options.format.container {
            Container::Folder => Sink::Pictures(Box::new(pictures::Pictures::create(path, info, options)?)),
            Container::Picture => Sink::Still(pictures::Still::new(path, options)),
            Container::Mp4 | Container::Webm | Container::Matroska | Container::Mov => {
                Sink::File(Box::new(mux::Mux::create(path, options, info, format, colour, tracks)?))
            }
        };
        Ok(Writer { sink, pool, last_pts: None, frames: 0 })
    }

    /// Frames to fill and to give to [`Writer::write`]; given back they are used again.
    pub fn pool(&self) -> &FramePool {
        &self.pool
    }

    /// Encodes a frame. It is only read; give it back to [`Writer::pool`] afterwards.
    ///
    /// # Errors
    /// `scratch-full`; `internal` for a frame of another kind than the pool's, or not later than the one before.
    pub fn write(&mut self, frame: &mut Frame) -> Result<()> {
        if self.last_pts.is_some_and(|last| frame.pts() <= last) {
            let message = format!(
                "Frame times do not rise: {} after {:?}. This is a fault: report it.",
                frame.pts(),
                self.last_pts
            );
            return Err(JobError::new(ErrorCode::Internal, message));
        }
        self.last_pts = Some(frame.pts());
        match &mut self.sink {
            Sink::File(mux) => mux.write(frame)?,
            Sink::Pictures(pictures) => pictures.write(frame)?,
            Sink::Still(still) => still.write(frame)?,
        }
        self.frames += 1;
        Ok(())
    }

    /// Drains the encoder, writes what is left of the sound, and closes the file.
    ///
    /// # Errors
    /// `scratch-full`; `internal` when frames were lost on the way.
    pub fn finish(self) -> Result<WriteReport> {
        let report = match self.sink {
            Sink::File(mux) => mux.finish()?,
            Sink::Pictures(pictures) => pictures.finish()?,
            Sink::Still(still) => still.finish(),
        };
        if report.frames != self.frames {
            let message = format!(
                "{} frames went into the encoder and {} came out. This is a fault: report it with the worker's log.",
                self.frames, report.frames
            );
            return Err(JobError::new(ErrorCode::Internal, message));
        }
        Ok(report)
    }
}

/// A moment in ticks of a time base.
#[allow(clippy::cast_possible_truncation, reason = "a float cast saturates")]
fn ticks(secs: f64, base: Rational) -> i64 {
    (secs / f64::from(base)).round() as i64
}

#[cfg(test)]
mod tests;
