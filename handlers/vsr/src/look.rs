//! What the result is written as: decided from the parameters and from what the video is.

use darkroom_api::Result;
use darkroom_media::colour::Hdr;
use darkroom_media::{Container, OutputFormat, Rate, Traits, VideoCodec, VideoInfo, WriteOptions};

use crate::{Codec, Goal, Holder, Params};

/// How the result looks to its readers.
#[derive(Debug, Clone)]
pub struct Look {
    /// What is done with high dynamic range.
    pub hdr: Hdr,
    /// Codec, container, depth, rate.
    pub options: WriteOptions,
    /// Name of the file.
    pub name: String,
    /// What the user should know.
    pub warnings: Vec<String>,
}

impl Look {
    /// Decides.
    ///
    /// # Errors
    /// [`darkroom_api::ErrorCode::InputHdr`] where the codec cannot hold it, [`darkroom_api::ErrorCode::ParamsInvalid`] for what does not go together.
    pub fn of(params: &Params, source: Traits, threads: usize) -> Result<Look> {
        let tone_mapped = source.hdr && params.tone_map;
        let deep = source.bit_depth > 8 && !tone_mapped;
        let (format, bit_depth) = if source.still {
            let format = OutputFormat { codec: VideoCodec::Png, container: Container::Picture, alpha: source.alpha };
            (format, if deep { 16 } else { 8 })
        } else {
            let format = OutputFormat::chosen(params.codec, params.container, source.alpha, deep);
            let alpha = format.alpha;
            // libvpx holds an alpha plane beside 8 bits only.
            (format, if deep && !alpha { 10 } else { 8 })
        };
        let hdr = format.hdr(source, params.tone_map, bit_depth)?;
        let rate = match (params.crf, params.bitrate_kbps) {
            (Some(crf), _) => Rate::Crf(crf.get()),
            (None, Some(kbps)) => Rate::BitsPerSec(u64::from(kbps.get()) * 1000),
            (None, None) => Rate::Quality(params.quality.get()),
        };
        let rate = if source.still { Rate::Quality(params.quality.get()) } else { rate };
        let max_bytes = params.max_bytes().filter(|_| !source.still);
        let options = WriteOptions { format, rate, speed: params.speed.get(), threads, bit_depth, max_bytes };
        options.check()?;
        let extension = format.extension();
        Ok(Look {
            hdr,
            options,
            name: format!("upscaled.{extension}"),
            warnings: warnings(params, source, format, deep),
        })
    }

    /// The input's description as the result has it.
    pub fn describe(&self, info: &VideoInfo, goal: &Goal) -> VideoInfo {
        let mut info = if self.hdr == Hdr::ToneMap { info.clone().tone_mapped() } else { info.clone() };
        (info.width_px, info.height_px) = (goal.width_px, goal.height_px);
        info
    }

    /// Media type of the file.
    pub fn media_type(&self) -> &'static str {
        self.options.format.media_type()
    }
}

fn warnings(params: &Params, source: Traits, format: OutputFormat, deep: bool) -> Vec<String> {
    let mut warnings = Vec::new();
    if source.alpha && !format.alpha {
        warnings.push(format!("{} holds no alpha: it was left out. `codec` = `vp9` keeps it.", format.codec.name()));
    }
    if deep && format.codec == VideoCodec::H264 {
        let why = "The video has 10 bits, which few browsers and devices play in H.264: `codec` = `hevc` or `av1` is for that.";
        warnings.push(why.to_owned());
    }
    if deep && format.alpha && !source.still {
        warnings.push("VP9 with alpha has 8 bits: the video's deeper colours were dithered.".to_owned());
    }
    let of_videos = params.codec != Codec::Auto || params.container != Holder::Auto || params.max_bytes().is_some();
    if source.still && (of_videos || params.crf.is_some() || params.bitrate_kbps.is_some()) {
        let why =
            "The input is a picture: the result is a PNG without loss, and what bounds or encodes videos was ignored.";
        warnings.push(why.to_owned());
    }
    warnings
}

#[cfg(test)]
mod tests {
    use darkroom_api::{ErrorCode, parse_params};
    use serde_json::json;

    use super::*;

    const PLAIN: Traits = Traits { still: false, hdr: false, alpha: false, bit_depth: 8 };

    fn look(params: serde_json::Value, source: Traits) -> Result<Look> {
        Look::of(&parse_params(&params).unwrap(), source, 2)
    }

    fn what(params: serde_json::Value, source: Traits) -> (VideoCodec, Container, u32, bool) {
        let options = look(params, source).unwrap().options;
        (options.format.codec, options.format.container, options.bit_depth, options.format.alpha)
    }

    #[test]
    fn automatic_is_what_the_video_needs() {
        let deep = Traits { bit_depth: 10, ..PLAIN };
        let alpha = Traits { alpha: true, ..PLAIN };
        let still = Traits { still: true, alpha: true, bit_depth: 16, ..PLAIN };
        assert_eq!(what(json!({}), PLAIN), (VideoCodec::H264, Container::Mp4, 8, false));
        assert_eq!(what(json!({}), deep), (VideoCodec::Hevc, Container::Mp4, 10, false));
        assert_eq!(what(json!({}), alpha), (VideoCodec::Vp9, Container::Webm, 8, true));
        assert_eq!(what(json!({ "codec": "av1" }), still), (VideoCodec::Png, Container::Picture, 16, true));
        assert_eq!(what(json!({ "codec": "h264", "container": "mkv" }), deep).1, Container::Matroska);
        assert_eq!(look(json!({ "codec": "h264" }), alpha).unwrap().warnings.len(), 1);
        assert_eq!(look(json!({}), PLAIN).unwrap().name, "upscaled.mp4");
        let told = |codec: &str| look(json!({ "codec": codec }), deep).unwrap().warnings.len();
        assert_eq!((told("h264"), told("hevc"), told("auto")), (1, 0, 0));
        assert_eq!(what(json!({ "container": "webm" }), PLAIN), (VideoCodec::Vp9, Container::Webm, 8, false));
        assert_eq!(what(json!({ "container": "mp4" }), alpha), (VideoCodec::H264, Container::Mp4, 8, false));
        let hdr_still = Traits { still: true, hdr: true, bit_depth: 10, ..PLAIN };
        assert_eq!(look(json!({}), hdr_still).unwrap_err().code, ErrorCode::InputHdr);
    }

    #[test]
    fn hdr_is_kept_mapped_or_refused() {
        let hdr = Traits { hdr: true, bit_depth: 10, ..PLAIN };
        assert_eq!(look(json!({}), hdr).unwrap().hdr, Hdr::Keep);
        let mapped = look(json!({ "tone_map": true }), hdr).unwrap();
        assert_eq!(
            (mapped.hdr, mapped.options.format.codec, mapped.options.bit_depth),
            (Hdr::ToneMap, VideoCodec::H264, 8)
        );
        assert_eq!(look(json!({ "codec": "h264" }), hdr).unwrap_err().code, ErrorCode::InputHdr);
        assert_eq!(look(json!({}), Traits { alpha: true, ..hdr }).unwrap_err().code, ErrorCode::InputHdr);
    }

    #[test]
    fn what_does_not_go_together_is_refused() {
        for params in [json!({ "codec": "h264", "container": "webm" }), json!({ "codec": "h264", "crf": 60 })] {
            assert_eq!(look(params, PLAIN).unwrap_err().code, ErrorCode::ParamsInvalid);
        }
    }
}
