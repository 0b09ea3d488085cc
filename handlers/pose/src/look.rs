//! What the drawn video is written as: decided from the parameters and from what the input is.

use darkroom_api::Result;
use darkroom_media::colour::Hdr;
use darkroom_media::{FramePool, OutputFormat, Rate, Traits, VideoCodec, VideoInfo, WriteOptions};

use crate::Params;

/// How the drawn video looks to its readers.
#[derive(Debug, Clone)]
pub struct Look {
    /// What is done with high dynamic range.
    pub hdr: Hdr,
    /// Codec, container, depth, rate.
    pub options: WriteOptions,
    /// What the user should know.
    pub warnings: Vec<String>,
}

impl Look {
    /// Decides.
    ///
    /// # Errors
    /// [`darkroom_api::ErrorCode::InputHdr`] where the codec cannot hold it, [`darkroom_api::ErrorCode::ParamsInvalid`] for
    /// what does not go together.
    pub fn of(params: &Params, source: Traits, threads: usize) -> Result<Look> {
        let deep = source.bit_depth > 8 && !(source.hdr && params.tone_map);
        let format = if source.still {
            OutputFormat { alpha: source.alpha, ..OutputFormat::PNG_PICTURE }
        } else {
            OutputFormat::chosen(params.codec, params.container, false, deep)
        };
        let bit_depth = if deep && !source.still { 10 } else { 8 };
        let hdr = format.hdr(source, params.tone_map, bit_depth)?;
        let rate = Rate::Quality(params.quality.get());
        let options = WriteOptions { format, rate, speed: params.speed.get(), threads, bit_depth, max_bytes: None };
        options.check()?;
        Ok(Look { hdr, options, warnings: warnings(source, format, deep) })
    }

    /// Name of the file.
    pub fn name(&self) -> String {
        format!("overlay.{}", self.options.format.extension())
    }

    /// Frames of the result, as its writer has them.
    pub fn pool(&self, info: &VideoInfo, params: &Params) -> FramePool {
        let info = self.describe(info, params);
        self.options.pool(&info)
    }

    /// The input's description as the result has it.
    pub fn describe(&self, info: &VideoInfo, params: &Params) -> VideoInfo {
        let mut info = if self.hdr == Hdr::ToneMap { info.clone().tone_mapped() } else { info.clone() };
        info.width_px = params.render.output_width_px(info.width_px);
        info
    }
}

fn warnings(source: Traits, format: OutputFormat, deep: bool) -> Vec<String> {
    let mut warnings = Vec::new();
    if source.alpha && !format.alpha {
        warnings.push("The video's alpha was left out: the drawing is over what lies under it.".to_owned());
    }
    if deep && source.still {
        warnings.push("The picture has more than 8 bits a colour: the drawn one has 8, dithered.".to_owned());
    }
    if deep && format.codec == VideoCodec::H264 {
        let why = "The video has 10 bits, which few browsers and devices play in H.264: `codec` = `hevc` or `av1` is for that.";
        warnings.push(why.to_owned());
    }
    warnings
}

#[cfg(test)]
mod tests {
    use darkroom_api::{ErrorCode, parse_params};
    use darkroom_media::Container;
    use serde_json::json;

    use super::*;

    const PLAIN: Traits = Traits { still: false, hdr: false, alpha: false, bit_depth: 8 };

    fn look(params: serde_json::Value, source: Traits) -> Result<Look> {
        Look::of(&parse_params(&params).unwrap(), source, 2)
    }

    #[test]
    fn depth_alpha_and_range_are_kept_where_that_can_be_and_else_it_is_said() {
        let plain = look(json!({}), PLAIN).unwrap();
        assert_eq!((plain.name().as_str(), plain.options.bit_depth, plain.warnings.len()), ("overlay.mp4", 8, 0));
        let deep = look(json!({}), Traits { bit_depth: 10, ..PLAIN }).unwrap();
        assert_eq!((deep.options.format.codec, deep.options.bit_depth), (VideoCodec::Hevc, 10));
        let alpha = look(json!({}), Traits { alpha: true, ..PLAIN }).unwrap();
        assert_eq!((alpha.options.format.codec, alpha.warnings.len()), (VideoCodec::H264, 1));
        let still = look(json!({}), Traits { still: true, alpha: true, bit_depth: 16, ..PLAIN }).unwrap();
        assert_eq!((still.options.format.container, still.options.format.alpha), (Container::Picture, true));
        assert_eq!((still.options.bit_depth, still.warnings.len()), (8, 1));
        let hdr = Traits { hdr: true, bit_depth: 10, ..PLAIN };
        assert_eq!(look(json!({}), hdr).unwrap().hdr, Hdr::Keep);
        assert_eq!(look(json!({ "tone_map": true }), hdr).unwrap().options.bit_depth, 8);
        assert_eq!(look(json!({ "codec": "h264" }), hdr).unwrap_err().code, ErrorCode::InputHdr);
        assert_eq!(
            look(json!({ "codec": "h264", "container": "webm" }), PLAIN).unwrap_err().code,
            ErrorCode::ParamsInvalid
        );
    }
}
