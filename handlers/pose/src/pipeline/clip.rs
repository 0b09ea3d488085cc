//! The video of a run, which is read twice.

use std::path::Path;

use darkroom_api::{JobContext, OutputFile, Result, Seconds, StageReport};
use darkroom_media::{ReadOptions, Reader, Traits, VideoInfo, Writer};

use super::draw::{self, Cast, Drawer};
use super::fallback::Unfitted;
use super::progress::share;
use super::{DRAWN, FITTED, nobody, renamed};
use crate::Params;
use crate::look::Look;
use crate::render::Mode;

/// A video, and how it is read and written.
pub struct Clip<'a> {
    /// Its file.
    pub path: &'a Path,
    /// The run's surroundings.
    pub ctx: &'a JobContext,
    /// Its parameters.
    pub params: &'a Params,
    /// Threads of the whole run.
    pub threads: usize,
}

impl Clip<'_> {
    /// Opens it; both passes alike, so that they see the same frames of a damaged file.
    ///
    /// # Errors
    /// As [`Reader::open`].
    pub fn open(&self) -> Result<Reader> {
        Reader::open(self.path, &self.read_options())
    }

    /// Which part of it to read.
    pub fn read_options(&self) -> ReadOptions {
        ReadOptions {
            start_secs: self.params.start_secs.map(Seconds::get),
            end_secs: self.params.end_secs.map(Seconds::get),
            threads: self.threads.div_ceil(2),
            cancel: self.ctx.cancel.clone(),
            ..ReadOptions::default()
        }
    }

    /// What the result is written as.
    ///
    /// # Errors
    /// As [`Look::of`].
    pub fn look(&self, info: &VideoInfo) -> Result<Look> {
        Look::of(self.params, Traits::from(info), self.threads)
    }

    /// The second pass, where there is something to be drawn. `corrupt_packets` is how many the first one met.
    ///
    /// # Errors
    /// Those of reading and writing; [`darkroom_api::ErrorCode::ModelInvalid`] and [`darkroom_api::ErrorCode::Internal`] where
    /// more than half of the frames with people could not be fitted or drawn.
    pub fn draw_if_wanted(&self, cast: &Cast<'_>, unfitted: &Unfitted, corrupt_packets: u64) -> Result<Drawn> {
        let drawn = match self.params.render {
            // Without bodies nothing can fail to be one.
            Mode::None if !self.params.choice()?.has_space() => Drawn::default(),
            Mode::None => Drawn { fallback: unfitted.refuse_most()?, ..Drawn::default() },
            _ if cast.people.is_empty() && self.params.is_whole() => {
                Drawn::of_nobody(nobody::give_back(self.ctx, self.path)?, corrupt_packets)
            }
            // Landmarks need no body.
            Mode::Skeleton => self.draw(cast)?,
            Mode::Mesh | Mode::Both | Mode::SideBySide => {
                unfitted.refuse_most()?;
                self.draw(cast)?
            }
        };
        unfitted.refuse_undrawn(drawn.fallback)?;
        Ok(drawn)
    }

    /// Decodes again, draws, encodes.
    fn draw(&self, cast: &Cast<'_>) -> Result<Drawn> {
        let reader = self.open()?;
        let info = reader.info().clone();
        let look = self.look(&info)?;
        let (name, out_info) = (look.name(), look.describe(&info, self.params));
        let writer = Writer::create(&self.ctx.output_dir.join(&name), &look.options, &out_info, reader.tracks())?;
        let mut drawer = Drawer::new(cast, self.params, &look, &info);
        let report = draw::run(reader, writer, &share(self.ctx, FITTED, DRAWN), &mut drawer)?;
        let names = ["decode, drawing", "draw", "encode"];
        let stages = (0..).zip(names).map(|(index, name)| renamed(&report.stages, index, name)).collect();
        let mut warnings = look.warnings.clone();
        warnings.extend(report.write.warnings);
        warnings.extend(drawer.differs());
        let media_type = look.options.format.media_type().to_owned();
        Ok(Drawn {
            file: Some(OutputFile { name, media_type }),
            bytes: report.write.bytes,
            fallback: drawer.fallback,
            stages,
            warnings: Some(warnings),
        })
    }
}

/// What came of the second pass.
#[derive(Default)]
pub struct Drawn {
    /// The drawn video, or the input itself.
    pub file: Option<OutputFile>,
    /// Bytes of what was encoded.
    pub bytes: u64,
    /// Frames that kept their pixels though somebody is in them, or may be.
    pub fallback: u64,
    /// Where its time went.
    pub stages: Vec<StageReport>,
    /// Those of the video as it was written.
    pub warnings: Option<Vec<String>>,
}

impl Drawn {
    /// The input itself: nothing was made of its fields or its alpha, but what is damaged was not searched.
    fn of_nobody(file: OutputFile, corrupt_packets: u64) -> Drawn {
        let damage = (corrupt_packets > 0).then(|| {
            format!("{corrupt_packets} packets of the video are damaged: what could be decoded was searched.")
        });
        Drawn { file: Some(file), warnings: Some(damage.into_iter().collect()), ..Drawn::default() }
    }
}
