//! The video encoders and their settings.

use darkroom_api::{ErrorCode, JobError, Result};
use ffmpeg_next as ff;
use ffmpeg_next::format::Pixel;

use super::{OutputFormat, WriteOptions};
use crate::error::{internal, is_again};
use crate::{ColourTags, Frame, VideoInfo, ffi};

/// An encoder of one video stream.
pub(crate) struct VideoEncoder {
    encoder: ff::encoder::video::Encoder,
    pub(crate) codec: ff::Codec,
    pub(crate) format: OutputFormat,
}

impl VideoEncoder {
    pub(crate) fn open(
        options: &WriteOptions,
        info: &VideoInfo,
        pixels: Pixel,
        colour: ColourTags,
        global_header: bool,
    ) -> Result<VideoEncoder> {
        let name = encoder_name(options.format);
        let codec = ff::encoder::find_by_name(name).ok_or_else(|| {
            JobError::new(
                ErrorCode::RuntimeMissing,
                format!(
                    "This FFmpeg has no encoder `{name}`: install Debian's own FFmpeg packages with `infra/setup`."
                ),
            )
        })?;
        let fault = |e| internal("The video encoder did not open", e);
        let mut encoder = ff::codec::Context::new_with_codec(codec).encoder().video().map_err(fault)?;
        encoder.set_width(info.width_px);
        encoder.set_height(info.height_px);
        encoder.set_format(pixels);
        encoder.set_time_base(info.time_base);
        encoder.set_frame_rate(Some(info.frame_rate));
        encoder.set_aspect_ratio(info.sample_aspect);
        ffi::set_codec_colour(&mut encoder, colour.into());
        if global_header {
            encoder.set_flags(ff::codec::Flags::GLOBAL_HEADER);
        }
        encoder.set_threading(ff::threading::Config {
            kind: ff::threading::Type::Frame,
            count: options.threads.clamp(1, 64),
            ..Default::default()
        });
        let encoder = encoder.open_with(settings(options, info)).map_err(fault)?;
        Ok(VideoEncoder { encoder, codec, format: options.format })
    }

    pub(crate) fn context(&self) -> &ff::encoder::video::Encoder {
        &self.encoder
    }

    /// Gives it a frame; take packets afterwards.
    pub(crate) fn send(&mut self, frame: &mut Frame) -> Result<()> {
        // A decoded frame's type would be forced on the encoder.
        frame.inner_mut().set_kind(ff::picture::Type::None);
        self.encoder.send_frame(frame.inner()).map_err(|e| internal("The video encoder refused a frame", e))
    }

    /// Says that there are no more frames; take packets afterwards.
    pub(crate) fn end(&mut self) -> Result<()> {
        self.encoder.send_eof().map_err(|e| internal("The video encoder could not be drained", e))
    }

    /// The next packet, `None` when it wants more frames or is drained.
    pub(crate) fn packet(&mut self) -> Result<Option<ff::Packet>> {
        let mut packet = ff::Packet::empty();
        match self.encoder.receive_packet(&mut packet) {
            Ok(()) => Ok(Some(packet)),
            Err(ff::Error::Eof) => Ok(None),
            Err(e) if is_again(&e) => Ok(None),
            Err(e) => Err(internal("The video encoder failed", e)),
        }
    }
}

fn encoder_name(format: OutputFormat) -> &'static str {
    match format {
        OutputFormat::WebmAlpha => "libvpx-vp9",
        OutputFormat::Mp4H264 => "libx264",
        OutputFormat::Mp4Hevc => "libx265",
        OutputFormat::ProRes4444 => "prores_ks",
        OutputFormat::PngSequence => "png",
    }
}

const X26X_PRESETS: [&str; 11] =
    ["veryslow", "slower", "slow", "slow", "medium", "medium", "fast", "faster", "veryfast", "superfast", "ultrafast"];

fn settings(options: &WriteOptions, info: &VideoInfo) -> ff::Dictionary<'static> {
    let mut settings = ff::Dictionary::new();
    let threads = options.threads.clamp(1, 64).to_string();
    let speed = usize::from(options.speed.min(10));
    match options.format {
        OutputFormat::WebmAlpha => {
            // Constant quality; 15 is hard to tell from the source, 50 is coarse.
            settings.set("crf", &options.scaled(15, 50).to_string());
            settings.set("b", "0");
            settings.set("deadline", if speed >= 5 { "realtime" } else { "good" });
            settings.set("cpu-used", &speed.min(8).to_string());
            // The alpha plane is an encoder of its own: hidden frames of the two would not pair up.
            settings.set("auto-alt-ref", "0");
            // Without hidden frames a lookahead gains little, and costs 60 MB a frame at 4K (two encoders).
            settings.set("lag-in-frames", "0");
            settings.set("row-mt", "1");
            settings.set("tile-columns", if info.width_px >= 1024 { "2" } else { "0" });
        }
        OutputFormat::Mp4H264 => {
            settings.set("crf", &options.scaled(14, 38).to_string());
            settings.set("preset", X26X_PRESETS[speed]);
        }
        OutputFormat::Mp4Hevc => {
            settings.set("crf", &options.scaled(16, 40).to_string());
            settings.set("preset", X26X_PRESETS[speed]);
            settings.set("x265-params", &format!("log-level=none:pools={threads}"));
        }
        OutputFormat::ProRes4444 => {
            settings.set("profile", "4444");
            settings.set("alpha_bits", "16");
            settings.set("vendor", "apl0");
            // A fixed quantiser: searching one for each slice costs five times the time.
            settings.set("flags", "+qscale");
            settings.set("global_quality", &(options.scaled(1, 5) * ff::ffi::FF_QP2LAMBDA).to_string());
        }
        OutputFormat::PngSequence => {}
    }
    settings
}
