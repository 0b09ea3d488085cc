//! What can be written: codecs, containers, and which of them go together.

use darkroom_api::{Codec, ErrorCode, Holder, JobError, MediaKind, Result, VideoProbe};

use crate::VideoInfo;
use crate::colour::Hdr;

/// How pictures are coded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum VideoCodec {
    /// H.264 by x264, 8 or 10 bits.
    H264,
    /// HEVC by x265, 8 or 10 bits (Main, Main 10).
    Hevc,
    /// AV1 by SVT-AV1, 8 or 10 bits; by libaom for sizes that SVT-AV1 cannot hold (odd, or below 64 pixels).
    Av1,
    /// VP9 by libvpx: 8 or 10 bits, and alpha at 8.
    Vp9,
    /// ProRes 4444: 10 bits of colour, 16 of alpha.
    ProRes4444,
    /// PNG, 8 or 16 bits.
    Png,
}

impl VideoCodec {
    /// Name for people.
    pub fn name(self) -> &'static str {
        match self {
            VideoCodec::H264 => "H.264",
            VideoCodec::Hevc => "HEVC",
            VideoCodec::Av1 => "AV1",
            VideoCodec::Vp9 => "VP9",
            VideoCodec::ProRes4444 => "ProRes 4444",
            VideoCodec::Png => "PNG",
        }
    }

    /// Bits a component that it can have, the fewest first.
    pub fn bit_depths(self, alpha: bool) -> &'static [u32] {
        match self {
            // libvpx takes an alpha plane with 8 bits only.
            VideoCodec::Vp9 if alpha => &[8],
            VideoCodec::H264 | VideoCodec::Hevc | VideoCodec::Av1 | VideoCodec::Vp9 => &[8, 10],
            VideoCodec::ProRes4444 => &[10],
            VideoCodec::Png => &[8, 16],
        }
    }

    /// Finest and coarsest step of its own quality scale; `None` where it has none.
    pub fn crf_range(self) -> Option<(u8, u8)> {
        match self {
            VideoCodec::H264 | VideoCodec::Hevc => Some((0, 51)),
            // 0 means "not set" to SVT-AV1.
            VideoCodec::Av1 => Some((1, 63)),
            VideoCodec::Vp9 => Some((0, 63)),
            VideoCodec::ProRes4444 | VideoCodec::Png => None,
        }
    }

    fn containers(self) -> &'static [Container] {
        use Container::{Folder, Matroska, Mov, Mp4, Picture, Webm};
        match self {
            VideoCodec::H264 | VideoCodec::Hevc => &[Mp4, Mov, Matroska],
            VideoCodec::Av1 => &[Mp4, Webm, Matroska],
            VideoCodec::Vp9 => &[Webm, Matroska],
            VideoCodec::ProRes4444 => &[Mov, Matroska],
            VideoCodec::Png => &[Folder, Picture],
        }
    }
}

/// What holds the coded pictures.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Container {
    /// MP4, its index in front.
    Mp4,
    /// WebM: times are rounded to 1 ms.
    Webm,
    /// Matroska: takes nearly any sound and subtitles; times are rounded to 1 ms.
    Matroska,
    /// QuickTime.
    Mov,
    /// A folder of numbered pictures with `timestamps.json`.
    Folder,
    /// One file with the first frame.
    Picture,
}

impl Container {
    /// Name for people.
    pub fn name(self) -> &'static str {
        match self {
            Container::Mp4 => "MP4",
            Container::Webm => "WebM",
            Container::Matroska => "Matroska",
            Container::Mov => "MOV",
            Container::Folder => "a folder of pictures",
            Container::Picture => "a picture",
        }
    }

    /// Whether it is of the Matroska family, which counts milliseconds from zero on.
    pub(crate) fn is_matroska(self) -> bool {
        matches!(self, Container::Webm | Container::Matroska)
    }

    /// Whether it is of the MP4 family.
    pub(crate) fn is_mp4(self) -> bool {
        matches!(self, Container::Mp4 | Container::Mov)
    }

    /// FFmpeg's muxer; pictures are written without one.
    pub(crate) fn muxer(self) -> &'static str {
        match self {
            Container::Mp4 => "mp4",
            Container::Webm => "webm",
            Container::Matroska => "matroska",
            Container::Mov | Container::Folder | Container::Picture => "mov",
        }
    }
}

/// What of an input decides on how its result is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Traits {
    /// A still picture.
    pub still: bool,
    /// PQ or HLG.
    pub hdr: bool,
    /// There is an alpha plane.
    pub alpha: bool,
    /// Bits a component.
    pub bit_depth: u32,
}

impl Traits {
    /// Those that a look at a file found.
    pub fn probed(kind: MediaKind, video: &VideoProbe) -> Traits {
        Traits {
            still: kind == MediaKind::Image,
            hdr: video.is_hdr,
            alpha: video.has_alpha,
            bit_depth: video.bit_depth,
        }
    }
}

impl From<&VideoInfo> for Traits {
    fn from(info: &VideoInfo) -> Traits {
        Traits { still: info.is_still, hdr: info.colour.is_hdr(), alpha: info.has_alpha, bit_depth: info.bit_depth }
    }
}

/// Codec, container, and whether there is an alpha plane.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OutputFormat {
    /// How pictures are coded.
    pub codec: VideoCodec,
    /// What holds them.
    pub container: Container,
    /// Whether frames have an alpha plane (VP9, ProRes 4444, PNG).
    pub alpha: bool,
}

impl OutputFormat {
    /// VP9 with alpha in WebM.
    pub const WEBM_ALPHA: OutputFormat = OutputFormat::new(VideoCodec::Vp9, Container::Webm).with_alpha();
    /// VP9 in WebM.
    pub const WEBM_VP9: OutputFormat = OutputFormat::new(VideoCodec::Vp9, Container::Webm);
    /// AV1 in WebM.
    pub const WEBM_AV1: OutputFormat = OutputFormat::new(VideoCodec::Av1, Container::Webm);
    /// H.264 in MP4. Odd sizes are kept by writing 4:4:4, which browsers do not play.
    pub const MP4_H264: OutputFormat = OutputFormat::new(VideoCodec::H264, Container::Mp4);
    /// HEVC in MP4. Odd sizes as with H.264.
    pub const MP4_HEVC: OutputFormat = OutputFormat::new(VideoCodec::Hevc, Container::Mp4);
    /// AV1 in MP4.
    pub const MP4_AV1: OutputFormat = OutputFormat::new(VideoCodec::Av1, Container::Mp4);
    /// ProRes 4444 with alpha in MOV.
    pub const MOV_PRORES4444: OutputFormat = OutputFormat::new(VideoCodec::ProRes4444, Container::Mov).with_alpha();
    /// PNG pictures with alpha in a folder.
    pub const PNG_FOLDER: OutputFormat = OutputFormat::new(VideoCodec::Png, Container::Folder).with_alpha();
    /// One PNG.
    pub const PNG_PICTURE: OutputFormat = OutputFormat::new(VideoCodec::Png, Container::Picture);

    /// A format without alpha. Whether the two go together, [`OutputFormat::check`] says.
    pub const fn new(codec: VideoCodec, container: Container) -> OutputFormat {
        OutputFormat { codec, container, alpha: false }
    }

    /// The same with an alpha plane.
    #[must_use]
    pub const fn with_alpha(self) -> OutputFormat {
        OutputFormat { alpha: true, ..self }
    }

    /// The format for a video by a user's choice. What is left open follows from what the video needs: VP9 for alpha, HEVC
    /// for `deep` ones of more than 8 bits, else H.264; WebM for VP9, else MP4. Alpha is kept where the codec holds it.
    pub fn chosen(codec: Codec, holder: Holder, alpha: bool, deep: bool) -> OutputFormat {
        let codec = match codec {
            Codec::Auto if holder == Holder::Webm || (alpha && holder != Holder::Mp4) => VideoCodec::Vp9,
            Codec::Auto if deep => VideoCodec::Hevc,
            Codec::Auto | Codec::H264 => VideoCodec::H264,
            Codec::Hevc => VideoCodec::Hevc,
            Codec::Av1 => VideoCodec::Av1,
            Codec::Vp9 => VideoCodec::Vp9,
        };
        let container = match holder {
            Holder::Auto if codec == VideoCodec::Vp9 => Container::Webm,
            Holder::Auto | Holder::Mp4 => Container::Mp4,
            Holder::Webm => Container::Webm,
            Holder::Mkv => Container::Matroska,
        };
        OutputFormat { codec, container, alpha: alpha && codec == VideoCodec::Vp9 }
    }

    /// What is done with a source's range of brightness where the result has so many bits a component.
    ///
    /// # Errors
    /// `input-hdr` where the format would not show it as such, and nobody asked to map it.
    pub fn hdr(self, source: Traits, tone_map: bool, bit_depth: u32) -> Result<Hdr> {
        if !source.hdr {
            return Ok(Hdr::Refuse);
        }
        if tone_map {
            return Ok(Hdr::ToneMap);
        }
        if source.still {
            let why = "The picture is HDR (PQ or HLG), which a PNG would not show as such: set `tone_map`.";
            return Err(JobError::new(ErrorCode::InputHdr, why));
        }
        // Players take HDR in H.264 for standard range.
        if bit_depth < 10 || self.codec == VideoCodec::H264 {
            let why = format!(
                "The video is HDR (PQ or HLG), which {} with {bit_depth} bits would not show as such: choose `codec` = `hevc` \
                 or `av1` (neither holds alpha), or set `tone_map`.",
                self.codec.name()
            );
            return Err(JobError::new(ErrorCode::InputHdr, why));
        }
        Ok(Hdr::Keep)
    }

    /// Ending of the file's name; that of the pictures in a folder.
    pub fn extension(self) -> &'static str {
        match self.container {
            Container::Mp4 => "mp4",
            Container::Webm => "webm",
            Container::Matroska => "mkv",
            Container::Mov => "mov",
            Container::Folder | Container::Picture => "png",
        }
    }

    /// Media type of the file; that of the pictures in a folder.
    pub fn media_type(self) -> &'static str {
        match self.container {
            Container::Mp4 => "video/mp4",
            Container::Webm => "video/webm",
            Container::Matroska => "video/x-matroska",
            Container::Mov => "video/quicktime",
            Container::Folder | Container::Picture => "image/png",
        }
    }

    /// Bits a component that hold a source of this depth, or the most that there are.
    pub fn bit_depth_for(self, source_depth: u32) -> u32 {
        let depths = self.codec.bit_depths(self.alpha);
        depths.iter().find(|d| **d >= source_depth).or(depths.last()).copied().unwrap_or(8)
    }

    /// Whether codec, container and alpha go together.
    ///
    /// # Errors
    /// `params-invalid`, with what would go.
    pub fn check(self) -> Result<()> {
        let OutputFormat { codec, container, alpha } = self;
        if !codec.containers().contains(&container) {
            let takes: Vec<&str> = codec.containers().iter().map(|c| c.name()).collect();
            let (codec, container, takes) = (codec.name(), container.name(), takes.join(" or "));
            return Err(refused(&format!(
                "{codec} cannot be written to {container}: choose {takes}, or another codec."
            )));
        }
        if alpha && !matches!(codec, VideoCodec::Vp9 | VideoCodec::ProRes4444 | VideoCodec::Png) {
            let codec = codec.name();
            return Err(refused(&format!(
                "{codec} has no alpha plane: choose VP9, ProRes 4444 or PNG, or drop the alpha."
            )));
        }
        Ok(())
    }
}

/// An output that cannot be had.
pub(crate) fn refused(why: &str) -> JobError {
    JobError::new(ErrorCode::ParamsInvalid, format!("The output is not possible: {why}"))
}
