//! What can be written, and how well.

use ffmpeg_next::format::Pixel;

use crate::{ColourTags, VideoInfo};

/// Container and codec of an output.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OutputFormat {
    /// VP9 with an alpha plane in WebM. 8 bits.
    WebmAlpha,
    /// H.264 in MP4, without alpha. Odd sizes are kept by writing 4:4:4, which browsers do not play.
    Mp4H264,
    /// HEVC in MP4, without alpha. Odd sizes as with H.264.
    Mp4Hevc,
    /// ProRes 4444 in MOV with alpha: 10 bits of colour, 16 of alpha.
    ProRes4444,
    /// PNG pictures with alpha in a folder, with `timestamps.json`: 16 bits for deeper sources, else 8.
    PngSequence,
}

impl OutputFormat {
    /// Ending of the file's name; that of the pictures in a folder.
    pub fn extension(self) -> &'static str {
        match self {
            OutputFormat::WebmAlpha => "webm",
            OutputFormat::Mp4H264 | OutputFormat::Mp4Hevc => "mp4",
            OutputFormat::ProRes4444 => "mov",
            OutputFormat::PngSequence => "png",
        }
    }

    /// Media type of the file; that of the pictures in a folder.
    pub fn media_type(self) -> &'static str {
        match self {
            OutputFormat::WebmAlpha => "video/webm",
            OutputFormat::Mp4H264 | OutputFormat::Mp4Hevc => "video/mp4",
            OutputFormat::ProRes4444 => "video/quicktime",
            OutputFormat::PngSequence => "image/png",
        }
    }

    /// Whether it has an alpha plane.
    pub fn has_alpha(self) -> bool {
        !matches!(self, OutputFormat::Mp4H264 | OutputFormat::Mp4Hevc)
    }

    /// Bits a component for a source of this depth; below the source's, dither.
    pub fn bit_depth(self, source_depth: u32) -> u32 {
        match self {
            OutputFormat::WebmAlpha | OutputFormat::Mp4H264 | OutputFormat::Mp4Hevc => 8,
            OutputFormat::ProRes4444 => 10,
            OutputFormat::PngSequence if source_depth > 8 => 16,
            OutputFormat::PngSequence => 8,
        }
    }

    /// Layout of the frames that its encoder takes.
    pub fn pixel_format(self, info: &VideoInfo) -> Pixel {
        let odd = info.width_px % 2 == 1 || info.height_px % 2 == 1;
        match self {
            OutputFormat::WebmAlpha => Pixel::YUVA420P,
            // 4:2:0 in H.264 and HEVC counts pixels in pairs.
            OutputFormat::Mp4H264 | OutputFormat::Mp4Hevc if odd => Pixel::YUV444P,
            OutputFormat::Mp4H264 | OutputFormat::Mp4Hevc => Pixel::YUV420P,
            OutputFormat::ProRes4444 => Pixel::YUVA444P10LE,
            OutputFormat::PngSequence if info.bit_depth > 8 => Pixel::RGBA64BE,
            OutputFormat::PngSequence => Pixel::RGBA,
        }
    }
}

/// How to write.
#[derive(Debug, Clone, PartialEq)]
pub struct WriteOptions {
    /// Container and codec.
    pub format: OutputFormat,
    /// 0 (smallest file) to 100 (best picture). ProRes has five steps of it, PNG ignores it.
    pub quality: u8,
    /// 0 (slowest, smallest) to 10 (fastest).
    pub speed: u8,
    /// Threads of the encoder.
    pub threads: usize,
}

impl WriteOptions {
    /// Good quality at a speed for batches: quality 70, speed 8, two threads.
    pub fn new(format: OutputFormat) -> WriteOptions {
        WriteOptions { format, quality: 70, speed: 8, threads: 2 }
    }

    /// The quality on a codec's scale, where `best` and `worst` stand for 100 and 0.
    pub(crate) fn scaled(&self, best: i32, worst: i32) -> i32 {
        let quality = i32::from(self.quality.min(100));
        worst + ((best - worst) * quality + 50 * (best - worst).signum()) / 100
    }
}

/// Tags of the output's frames: the source's, settled, chroma where our filter puts it.
pub(crate) fn output_colour(format: Pixel, info: &VideoInfo) -> ColourTags {
    let mut colour = info.colour;
    colour.chroma = 1;
    if crate::info::is_rgb(format) {
        colour.range = 2;
    }
    // ProRes is limited range by definition.
    if format == Pixel::YUVA444P10LE {
        colour.range = 1;
    }
    colour
}
