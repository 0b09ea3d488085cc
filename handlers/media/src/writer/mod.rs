//! The encode stage: frames to a file with the source's sound and subtitles, or to pictures.

mod encoder;
mod fit;
mod format;
mod limit;
mod mux;
mod options;
mod pictures;
mod scratch;
mod search;
mod settings;
mod track;
mod tracks;
mod transcode;

use std::path::Path;

use darkroom_api::{ErrorCode, JobError, Result};

pub use format::{Container, OutputFormat, Traits, VideoCodec};
pub use options::{Rate, WriteOptions};

use crate::{Frame, FramePool, Rational, Tracks, VideoInfo};

/// What goes on after the last frame was given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Closing {
    /// What the encoder held back comes out.
    Draining,
    /// The file was too large and is encoded again; which try it is, from 1.
    Fitting(u32),
}

/// Told of what goes on and how many frames have come out of the encoder; its error ends the work.
pub type Watch<'a> = dyn FnMut(Closing, u64) -> Result<()> + 'a;

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
    /// they differ. Sound and subtitles are taken from `tracks` as the video advances.
    ///
    /// # Errors
    /// Those of [`WriteOptions::check`] and [`WriteOptions::check_size`], `scratch-full`, `internal`.
    pub fn create(path: &Path, options: &WriteOptions, info: &VideoInfo, tracks: Option<Tracks>) -> Result<Writer> {
        crate::init()?;
        options.check()?;
        let pixels = options.pixel_format(info);
        let colour = options::output_colour(options, info);
        let pool = options.pool(info);
        let sink = match options.format.container {
            Container::Folder => Sink::Pictures(Box::new(pictures::Pictures::create(path, info, options)?)),
            Container::Picture => Sink::Still(pictures::Still::new(path, options)),
            container @ (Container::Mp4 | Container::Webm | Container::Matroska | Container::Mov) => {
                let other_bytes = match (&tracks, options.max_bytes) {
                    (Some(source), Some(_)) => tracks::bytes(source, container)?,
                    _ => 0,
                };
                options.check_size(info.counted_frames().unwrap_or(0), other_bytes)?;
                let (options, info) = (options.clone(), info.clone());
                let plan = mux::Plan { options, info, pixels, colour, crf: None };
                Sink::File(Box::new(mux::Mux::create(path, plan, tracks.as_ref())?))
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

    /// Drains the encoder, writes what is left of sound and subtitles, and closes the file. Where the file is larger than
    /// `max_bytes`, encodes it again; see [`Writer::finish_watched`].
    ///
    /// # Errors
    /// `scratch-full`; `params-invalid` where `max_bytes` cannot be held; `internal` when frames were lost on the way.
    pub fn finish(self) -> Result<WriteReport> {
        self.finish_watched(&mut |_, _| Ok(()))
    }

    /// The same, told of each frame that comes out: draining takes seconds for large pictures, and encoding a second time
    /// as long as the first, for each try. `watch` hears which of them it is, and the number of frames that are out, from
    /// the beginning again for each try; its error ends the work.
    ///
    /// # Errors
    /// As [`Writer::finish`], and those of `watch`.
    pub fn finish_watched(self, watch: &mut Watch<'_>) -> Result<WriteReport> {
        let report = match self.sink {
            Sink::File(mut mux) => {
                mux.end()?;
                while mux.step()? {
                    watch(Closing::Draining, mux.coded().frames)?;
                }
                let mut made = mux.finish()?;
                if let Some(max) = made.plan.options.max_bytes.filter(|max| made.bytes > *max) {
                    made = fit::fit(&made, max, watch)?;
                }
                WriteReport { frames: made.frames, bytes: made.bytes, files: Vec::new(), warnings: made.warnings }
            }
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
