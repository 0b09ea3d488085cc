//! PNG pictures: a folder of them with `timestamps.json`, or one alone.

use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use darkroom_api::Result;
use ffmpeg_next::format::Pixel;

use super::{WriteOptions, WriteReport};
use crate::error::{internal, writing_io};
use crate::{Frame, Rational, VideoInfo};

/// Pictures `frames/000001.png` and on, and their times.
pub(crate) struct Pictures {
    folder: PathBuf,
    /// Written as the frames come: memory stays constant.
    times: BufWriter<File>,
    time_base: Rational,
    png: Png,
    files: Vec<String>,
    bytes: u64,
}

const TIMES: &str = "timestamps.json";

impl Pictures {
    pub(crate) fn create(folder: &Path, info: &VideoInfo, options: &WriteOptions) -> Result<Pictures> {
        fs::create_dir_all(folder.join("frames")).map_err(|e| writing_io("The folder could not be created", &e))?;
        let file = File::create(folder.join(TIMES)).map_err(|e| writing_io("A file could not be created", &e))?;
        let mut times = BufWriter::new(file);
        let (num, den) = (info.time_base.numerator(), info.time_base.denominator());
        // A PNG has no tags of ours: who shows pictures of HDR must know what their codes mean.
        let colour = info.colour.names();
        let tags = format!("\"primaries\":\"{}\",\"transfer\":\"{}\"", colour.primaries, colour.transfer);
        write!(times, "{{\"time_base\":\"{num}/{den}\",\"fps\":{},{tags},\"frames\":[", info.fps())
            .map_err(|e| writing_io("The times could not be written", &e))?;
        Ok(Pictures {
            folder: folder.to_owned(),
            times,
            time_base: info.time_base,
            png: Png::new(options),
            files: Vec::new(),
            bytes: 0,
        })
    }

    pub(crate) fn write(&mut self, frame: &Frame) -> Result<()> {
        let number = self.files.len() + 1;
        let name = format!("frames/{number:06}.png");
        let path = self.folder.join(&name);
        self.bytes += self.png.write(frame, &path)?;
        let comma = if number == 1 { "" } else { "," };
        #[allow(clippy::cast_precision_loss, reason = "seconds fit a float")]
        let secs = frame.pts() as f64 * f64::from(self.time_base);
        write!(self.times, "{comma}\n{{\"file\":\"{name}\",\"pts\":{},\"pts_secs\":{secs:.9}}}", frame.pts())
            .map_err(|e| writing_io("The times could not be written", &e))?;
        self.files.push(name);
        Ok(())
    }

    pub(crate) fn finish(mut self) -> Result<WriteReport> {
        let ended = self.times.write_all(b"\n]}\n").and_then(|()| self.times.flush());
        ended.map_err(|e| writing_io("The times could not be written", &e))?;
        let meta = fs::metadata(self.folder.join(TIMES)).map_err(|e| writing_io("The times are gone", &e))?;
        let frames = self.files.len() as u64;
        let mut files = self.files;
        files.push(TIMES.to_owned());
        Ok(WriteReport { frames, bytes: self.bytes + meta.len(), files, warnings: Vec::new() })
    }
}

/// One picture: the first frame.
pub(crate) struct Still {
    path: PathBuf,
    png: Png,
    frames: u64,
    bytes: u64,
}

impl Still {
    pub(crate) fn new(path: &Path, options: &WriteOptions) -> Still {
        Still { path: path.to_owned(), png: Png::new(options), frames: 0, bytes: 0 }
    }

    pub(crate) fn write(&mut self, frame: &Frame) -> Result<()> {
        if self.frames == 0 {
            self.bytes = self.png.write(frame, &self.path)?;
        }
        self.frames += 1;
        Ok(())
    }

    pub(crate) fn finish(self) -> WriteReport {
        let more = self.frames > 1;
        let warning = || format!("Only the first of {} frames was kept: the output is one picture.", self.frames);
        let warnings = more.then(warning).into_iter().collect();
        WriteReport { frames: self.frames, bytes: self.bytes, files: Vec::new(), warnings }
    }
}

/// Codes pictures.
struct Png {
    compression: png::Compression,
    /// One picture's rows without gaps.
    packed: Vec<u8>,
}

impl Png {
    fn new(options: &WriteOptions) -> Png {
        let compression = match options.speed {
            0..=2 => png::Compression::High,
            3..=5 => png::Compression::Balanced,
            6..=8 => png::Compression::Fast,
            _ => png::Compression::Fastest,
        };
        Png { compression, packed: Vec::new() }
    }

    /// Writes a file and says how many bytes it has.
    fn write(&mut self, frame: &Frame, path: &Path) -> Result<u64> {
        let (colour, depth, pixel_bytes) = match frame.format() {
            Pixel::RGB24 => (png::ColorType::Rgb, png::BitDepth::Eight, 3),
            Pixel::RGBA => (png::ColorType::Rgba, png::BitDepth::Eight, 4),
            Pixel::RGB48BE => (png::ColorType::Rgb, png::BitDepth::Sixteen, 6),
            Pixel::RGBA64BE => (png::ColorType::Rgba, png::BitDepth::Sixteen, 8),
            other => return Err(internal("A picture has the wrong format", format!("{other:?}"))),
        };
        let plane = frame.plane(0).ok_or_else(|| internal("A picture has no pixels", path.display()))?;
        self.packed.clear();
        for row in plane.data.chunks(plane.stride) {
            self.packed.extend_from_slice(&row[..frame.width() as usize * pixel_bytes]);
        }
        let file = File::create(path).map_err(|e| writing_io("A picture could not be created", &e))?;
        let mut encoder = png::Encoder::new(BufWriter::new(file), frame.width(), frame.height());
        encoder.set_color(colour);
        encoder.set_depth(depth);
        encoder.set_compression(self.compression);
        let written = encoder.write_header().and_then(|mut w| {
            w.write_image_data(&self.packed)?;
            w.finish()
        });
        written.map_err(|e| match e {
            png::EncodingError::IoError(e) => writing_io("A picture could not be written", &e),
            e => internal("A picture could not be written", e),
        })?;
        Ok(fs::metadata(path).map_err(|e| writing_io("A picture is gone", &e))?.len())
    }
}
