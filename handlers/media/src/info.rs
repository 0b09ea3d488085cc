//! What a video is: size, times, colour.

use darkroom_api::Colour;
use ffmpeg_next::Rational;
use ffmpeg_next::ffi::AV_PIX_FMT_FLAG_RGB;
use ffmpeg_next::format::Pixel;

use crate::Orientation;
use crate::ffi::{self, RawColour};

const MATRICES: [&str; 15] = [
    "gbr",
    "bt709",
    "unknown",
    "reserved",
    "fcc",
    "bt470bg",
    "smpte170m",
    "smpte240m",
    "ycgco",
    "bt2020nc",
    "bt2020c",
    "smpte2085",
    "chroma-derived-nc",
    "chroma-derived-c",
    "ictcp",
];
const RANGES: [&str; 3] = ["unknown", "tv", "pc"];
const PRIMARIES: [&str; 13] = [
    "reserved",
    "bt709",
    "unknown",
    "reserved",
    "bt470m",
    "bt470bg",
    "smpte170m",
    "smpte240m",
    "film",
    "bt2020",
    "smpte428",
    "smpte431",
    "smpte432",
];
const TRANSFERS: [&str; 19] = [
    "reserved",
    "bt709",
    "unknown",
    "reserved",
    "bt470m",
    "bt470bg",
    "smpte170m",
    "smpte240m",
    "linear",
    "log100",
    "log316",
    "iec61966-2-4",
    "bt1361e",
    "iec61966-2-1",
    "bt2020-10",
    "bt2020-12",
    "smpte2084",
    "smpte428",
    "arib-std-b67",
];
const UNSPECIFIED: i32 = 2;

/// Colour tags as numbers of ITU-T H.273, which are FFmpeg's too. Values that H.273 does not have become "unknown".
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ColourTags {
    pub(crate) matrix: i32,
    pub(crate) range: i32,
    pub(crate) primaries: i32,
    pub(crate) transfer: i32,
    pub(crate) chroma: i32,
}

impl Default for ColourTags {
    fn default() -> Self {
        ColourTags { matrix: UNSPECIFIED, range: 0, primaries: UNSPECIFIED, transfer: UNSPECIFIED, chroma: 0 }
    }
}

impl From<RawColour> for ColourTags {
    fn from(raw: RawColour) -> Self {
        let known = |value: i32, names: &[&str]| usize::try_from(value).is_ok_and(|v| v < names.len());
        ColourTags {
            matrix: if known(raw.matrix, &MATRICES) { raw.matrix } else { UNSPECIFIED },
            range: if known(raw.range, &RANGES) { raw.range } else { 0 },
            primaries: if known(raw.primaries, &PRIMARIES) { raw.primaries } else { UNSPECIFIED },
            transfer: if known(raw.transfer, &TRANSFERS) { raw.transfer } else { UNSPECIFIED },
            chroma: if (0..=6).contains(&raw.chroma) { raw.chroma } else { 0 },
        }
    }
}

impl From<ColourTags> for RawColour {
    fn from(tags: ColourTags) -> Self {
        let ColourTags { matrix, range, primaries, transfer, chroma } = tags;
        RawColour { matrix, range, primaries, transfer, chroma }
    }
}

impl ColourTags {
    /// BT.709 in limited range, all tags set.
    pub const BT709: ColourTags = ColourTags { matrix: 1, range: 1, primaries: 1, transfer: 1, chroma: 1 };

    /// Whether the transfer is PQ or HLG.
    pub fn is_hdr(self) -> bool {
        self.transfer == 16 || self.transfer == 18
    }

    /// Whether samples use their whole range (`pc`).
    pub fn is_full_range(self) -> bool {
        self.range == 2
    }

    /// The tags with matrix and range settled where the file is silent, so that the way to RGB and the way back are
    /// one: BT.709 from 720 lines, else BT.601 (`smpte170m`); limited range, but full for JPEG formats and RGB. The
    /// matrix of an RGB source is the one that a YUV copy of it gets.
    #[must_use]
    pub fn resolved(self, format: Pixel, height_px: u32) -> ColourTags {
        let is_rgb = is_rgb(format);
        let jpeg = is_jpeg(format);
        let mut tags = self;
        if tags.matrix == UNSPECIFIED || tags.matrix == 3 || tags.matrix == 0 {
            tags.matrix = if height_px >= 720 { 1 } else { 6 };
        }
        if tags.range == 0 || jpeg {
            tags.range = if jpeg || is_rgb { 2 } else { 1 };
        }
        if tags.chroma == 0 {
            tags.chroma = if jpeg { 2 } else { 1 };
        }
        tags
    }

    /// Luma's weights of red and blue, for tags that are settled ([`ColourTags::resolved`]).
    ///
    /// # Errors
    /// `input-unsupported` for a matrix that is not linear in RGB.
    pub fn luma_weights(self) -> darkroom_api::Result<(f32, f32)> {
        crate::colour::Matrix::of(self).map(|matrix| (matrix.kr, matrix.kb))
    }

    /// In FFmpeg's names.
    pub fn names(self) -> Colour {
        let name = |value: i32, names: &[&'static str]| {
            usize::try_from(value).ok().and_then(|v| names.get(v)).copied().unwrap_or("unknown").to_owned()
        };
        Colour {
            matrix: name(self.matrix, &MATRICES),
            range: name(self.range, &RANGES),
            primaries: name(self.primaries, &PRIMARIES),
            transfer: name(self.transfer, &TRANSFERS),
        }
    }
}

/// Whether a format's components are red, green and blue.
pub(crate) fn is_rgb(format: Pixel) -> bool {
    ffi::format_flags(format) & AV_PIX_FMT_FLAG_RGB as u64 != 0
}

/// The deprecated formats that mean "full range".
fn is_jpeg(format: Pixel) -> bool {
    matches!(format, Pixel::YUVJ420P | Pixel::YUVJ422P | Pixel::YUVJ444P | Pixel::YUVJ440P | Pixel::YUVJ411P)
}

/// What the frames of a reader are, and what a writer is told of them.
#[derive(Debug, Clone)]
pub struct VideoInfo {
    /// Width of the upright picture in pixels.
    pub width_px: u32,
    /// Height of the upright picture in pixels.
    pub height_px: u32,
    /// Unit of the frames' times, in seconds.
    pub time_base: Rational,
    /// Average frames per second; 25 where the file does not tell.
    pub frame_rate: Rational,
    /// Time of the first frame.
    pub start_pts: i64,
    /// Layout of the decoded pixels.
    pub pixel_format: Pixel,
    /// Bits a component.
    pub bit_depth: u32,
    /// Whether the file has an alpha plane, decoded or not.
    pub has_alpha: bool,
    /// Colour tags, matrix and range settled ([`ColourTags::resolved`]).
    pub colour: ColourTags,
    /// Colour tags as the file has them.
    pub colour_in_file: ColourTags,
    /// Shape of a pixel, width over height; 0 where unknown.
    pub sample_aspect: Rational,
    /// What was done to make the picture upright.
    pub orientation: Orientation,
    /// Whether the file is a picture, not a video.
    pub is_still: bool,
    /// Frames in the range, from the container or estimated.
    pub frames: Option<u64>,
    /// Whether that is the container's own count, of the whole file, and no estimate.
    pub frames_counted: bool,
}

impl VideoInfo {
    /// Average frames per second.
    pub fn fps(&self) -> f64 {
        f64::from(self.frame_rate)
    }

    /// Frames, where the container has counted them.
    pub fn counted_frames(&self) -> Option<u64> {
        self.frames.filter(|_| self.frames_counted)
    }

    /// The same for frames that [`crate::colour::Hdr::ToneMap`] made: BT.709 in limited range.
    #[must_use]
    pub fn tone_mapped(mut self) -> VideoInfo {
        self.colour = ColourTags::BT709;
        self
    }

    /// Ticks of the time base from one frame to the next, at least 1.
    pub(crate) fn frame_ticks(&self) -> i64 {
        let ticks = 1.0 / (f64::from(self.frame_rate) * f64::from(self.time_base));
        #[allow(clippy::cast_possible_truncation, reason = "a float cast saturates")]
        if ticks.is_finite() { (ticks.round() as i64).max(1) } else { 1 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn silent_files_get_the_matrix_of_their_size() {
        let silent = ColourTags::default();
        assert_eq!(silent.resolved(Pixel::YUV420P, 720).names().matrix, "bt709");
        assert_eq!(silent.resolved(Pixel::YUV420P, 576).names().matrix, "smpte170m");
        assert_eq!(silent.resolved(Pixel::YUV420P, 576).names().range, "tv");
        assert_eq!(silent.resolved(Pixel::YUVJ420P, 576).names().range, "pc");
        assert_eq!(silent.names().matrix, "unknown");
        assert_eq!(ColourTags::BT709.resolved(Pixel::YUV420P, 100).names().matrix, "bt709");
    }

    #[test]
    fn numbers_that_no_standard_has_are_unknown() {
        let hostile = RawColour { matrix: 4711, range: -1, primaries: 99, transfer: 77, chroma: 70 };
        assert_eq!(ColourTags::from(hostile), ColourTags::default());
    }
}
