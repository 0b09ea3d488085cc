//! How well, how fast and how deep to write.

use darkroom_api::Result;
use ffmpeg_next::format::Pixel;

use super::format::refused;
use super::{OutputFormat, VideoCodec};
use crate::{ColourTags, FramePool, VideoInfo};

/// What decides on the size of a video.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rate {
    /// The same scale for all codecs: 0 (smallest file) to 100 (best picture). ProRes has five steps of it, PNG ignores it.
    Quality(u8),
    /// Constant quality on the codec's own scale ([`VideoCodec::crf_range`]); less is better.
    Crf(u8),
    /// This many bits a second on average.
    BitsPerSec(u64),
}

/// How to write.
#[derive(Debug, Clone, PartialEq)]
pub struct WriteOptions {
    /// Container and codec.
    pub format: OutputFormat,
    /// Size against quality.
    pub rate: Rate,
    /// 0 (slowest, smallest) to 10 (fastest).
    pub speed: u8,
    /// Threads of the encoder.
    pub threads: usize,
    /// Bits a component, one of [`VideoCodec::bit_depths`].
    pub bit_depth: u32,
    /// Most bytes of the file, sound and all. A file that fits is as it would be without; one that is over is encoded again
    /// when it is finished, from itself, so that it just fits. H.264, HEVC, AV1 and VP9 only.
    pub max_bytes: Option<u64>,
}

/// Bits a second that an encoder is asked for, at most.
const MAX_BITS_PER_SEC: u64 = 1_000_000_000;

impl WriteOptions {
    /// Good quality at a speed for batches: quality 70, speed 8, two threads, as few bits a component as the codec has.
    pub fn new(format: OutputFormat) -> WriteOptions {
        WriteOptions {
            format,
            rate: Rate::Quality(70),
            speed: 8,
            threads: 2,
            bit_depth: format.bit_depth_for(8),
            max_bytes: None,
        }
    }

    /// One PNG for a picture: with alpha where the source has it, 16 bits where it is deeper than 8.
    pub fn picture(info: &VideoInfo) -> WriteOptions {
        let format = OutputFormat { alpha: info.has_alpha, ..OutputFormat::PNG_PICTURE };
        WriteOptions { bit_depth: format.bit_depth_for(info.bit_depth), ..WriteOptions::new(format) }
    }

    /// Whether all this goes together; [`super::Writer::create`] asks it too.
    ///
    /// # Errors
    /// `params-invalid`, with what would go.
    pub fn check(&self) -> Result<()> {
        self.format.check()?;
        let (codec, depths) = (self.format.codec.name(), self.format.codec.bit_depths(self.format.alpha));
        if !depths.contains(&self.bit_depth) {
            let with = if self.format.alpha { " with alpha" } else { "" };
            let can = depths.iter().map(u32::to_string).collect::<Vec<_>>().join(" or ");
            let depth = self.bit_depth;
            return Err(refused(&format!("{codec}{with} has {can} bits a component, not {depth}.")));
        }
        if self.max_bytes.is_some() && self.format.codec.crf_range().is_none() {
            return Err(refused(&format!("{codec} cannot be held below a size: choose H.264, HEVC, AV1 or VP9.")));
        }
        match (self.rate, self.format.codec.crf_range()) {
            (Rate::Quality(_), _) => Ok(()),
            (Rate::Crf(_) | Rate::BitsPerSec(_), None) => {
                Err(refused(&format!("{codec} takes neither a CRF nor a bit rate: give a quality from 0 to 100.")))
            }
            (Rate::Crf(crf), Some((best, worst))) if !(best..=worst).contains(&crf) => {
                Err(refused(&format!("the CRF of {codec} goes from {best} (best) to {worst}, {crf} is outside.")))
            }
            (Rate::BitsPerSec(bits), _) if !(1..=MAX_BITS_PER_SEC).contains(&bits) => {
                Err(refused(&format!("a bit rate goes from 1 to {MAX_BITS_PER_SEC} bits a second, {bits} is outside.")))
            }
            _ => Ok(()),
        }
    }

    /// Frames of the kind that the encoder takes, with the tags that the result has.
    pub fn pool(&self, info: &VideoInfo) -> FramePool {
        FramePool::new(self.pixel_format(info), info.width_px, info.height_px, output_colour(self, info))
    }

    /// Layout of the frames that the encoder takes.
    pub fn pixel_format(&self, info: &VideoInfo) -> Pixel {
        let odd = info.width_px % 2 == 1 || info.height_px % 2 == 1;
        let deep = self.bit_depth > 8;
        match (self.format.codec, self.format.alpha) {
            // 4:2:0 in H.264 and HEVC counts pixels in pairs.
            (VideoCodec::H264 | VideoCodec::Hevc, _) if odd && deep => Pixel::YUV444P10LE,
            (VideoCodec::H264 | VideoCodec::Hevc, _) if odd => Pixel::YUV444P,
            (VideoCodec::Vp9, true) => Pixel::YUVA420P,
            (VideoCodec::H264 | VideoCodec::Hevc | VideoCodec::Av1 | VideoCodec::Vp9, _) if deep => Pixel::YUV420P10LE,
            (VideoCodec::H264 | VideoCodec::Hevc | VideoCodec::Av1 | VideoCodec::Vp9, _) => Pixel::YUV420P,
            (VideoCodec::ProRes4444, true) => Pixel::YUVA444P10LE,
            (VideoCodec::ProRes4444, false) => Pixel::YUV444P10LE,
            (VideoCodec::Png, true) if deep => Pixel::RGBA64BE,
            (VideoCodec::Png, true) => Pixel::RGBA,
            (VideoCodec::Png, false) if deep => Pixel::RGB48BE,
            (VideoCodec::Png, false) => Pixel::RGB24,
        }
    }
}

/// A quality from 0 to 100 on a codec's scale, where `best` and `worst` stand for 100 and 0.
pub(crate) fn scaled(quality: u8, best: i32, worst: i32) -> i32 {
    let quality = i32::from(quality.min(100));
    worst + ((best - worst) * quality + 50 * (best - worst).signum()) / 100
}

/// Tags of the output's frames: the source's, settled, chroma where our filter puts it.
pub(crate) fn output_colour(options: &WriteOptions, info: &VideoInfo) -> ColourTags {
    let mut colour = info.colour;
    colour.chroma = 1;
    match options.format.codec {
        VideoCodec::Png => colour.range = 2,
        // ProRes is limited range by definition.
        VideoCodec::ProRes4444 => colour.range = 1,
        VideoCodec::H264 | VideoCodec::Hevc | VideoCodec::Av1 | VideoCodec::Vp9 => {}
    }
    colour
}
