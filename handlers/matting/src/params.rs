//! Parameters of the handler.

use std::borrow::Cow;

use darkroom_api::{Auto, Bounded, Quality, Result, Seconds, Speed, check_part};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

use crate::ranges::{BatchSize, GpuCount, Ratio};

/// Longest side, in pixels, of the picture that the model looks for people in when the ratio is `auto`: what RVM was
/// trained on, and what its authors choose.
const AUTO_SIDE_PX: f64 = 512.0;
/// Pixels a call when the batch is `auto`: four frames of 1080p, one of 4K.
const AUTO_BATCH_PIXELS: u64 = 4 * 1920 * 1088;
/// More frames a call than this gain nothing.
const AUTO_BATCH_MAX: u64 = 8;

/// Parameters of the matting handler.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Params {
    /// `mobilenetv3` (small and fast), `resnet50` (larger; the user registers the file), or the name of any model with
    /// RVM's inputs and outputs that the user registered under `models.custom`.
    pub model: String,
    /// What comes out.
    pub format: Format,
    /// How much smaller than the frame the picture is in which the model looks for people; edges are then refined at full
    /// size. `auto`: the longest side becomes 512 pixels. Distant people need more, close-ups less.
    pub downsample_ratio: Auto<Ratio>,
    /// Quality of the encoded video, 100 is best and largest. ProRes has five steps of it; PNG has no loss and ignores it.
    pub quality: Quality,
    /// Speed of the encoder, 10 is fastest; slower makes smaller files.
    pub speed: Speed,
    /// Where to start in the video, in seconds.
    #[serde(alias = "start_sec")]
    pub start_secs: Option<Seconds>,
    /// Where to end in the video, in seconds.
    #[serde(alias = "end_sec")]
    pub end_secs: Option<Seconds>,
    /// Frames a call, for models that take several (`src` of five dimensions); the result is the same. Models that take one
    /// frame, as `mobilenetv3` does, get one. `auto`: by resolution.
    pub batch_size: Auto<BatchSize>,
    /// Background of `composite` where there is no input for it: `#rrggbb`.
    #[serde(alias = "background_color")]
    pub background_colour: Rgb,
    /// Whether high dynamic range (PQ, HLG) is mapped to standard range. Without it such input is refused where the output
    /// is 8-bit.
    pub tone_map: bool,
    /// Taken for compatibility and ignored: a job runs on one device, and a fleet runs one job per device.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub num_gpus: Option<GpuCount>,
}

/// What comes out.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Format {
    /// `matte.webm`: VP9 with an alpha plane, as browsers play it.
    #[default]
    WebmAlpha,
    /// `matte.mov`: ProRes 4444 with alpha, for editing.
    Prores4444,
    /// `frames/000001.png` and on: RGBA pictures, their times in `timestamps.json`.
    Png,
    /// `composite.mp4`: the people over a colour, a picture or a video.
    Composite,
    /// `alpha.mp4`: the matte in grey.
    Alpha,
}

/// A colour, `#rrggbb`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Rgb(pub [u8; 3]);

impl TryFrom<String> for Rgb {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let wrong = || format!("it is `{text}` but must be a colour such as `#00ff00`");
        let digits = text.strip_prefix('#').filter(|d| d.len() == 6 && d.bytes().all(|b| b.is_ascii_hexdigit()));
        let value = u32::from_str_radix(digits.ok_or_else(wrong)?, 16).map_err(|_| wrong())?;
        let [_, r, g, b] = value.to_be_bytes();
        Ok(Rgb([r, g, b]))
    }
}

impl From<Rgb> for String {
    fn from(Rgb([r, g, b]): Rgb) -> String {
        format!("#{r:02x}{g:02x}{b:02x}")
    }
}

impl JsonSchema for Rgb {
    fn inline_schema() -> bool {
        true
    }
    fn schema_name() -> Cow<'static, str> {
        "Rgb".into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "pattern": "^#[0-9a-fA-F]{6}$" })
    }
}

#[allow(clippy::expect_used, reason = "constants inside their ranges; a test parses them")]
impl Default for Params {
    fn default() -> Self {
        Params {
            model: "mobilenetv3".into(),
            format: Format::default(),
            downsample_ratio: Auto::Auto,
            quality: Quality::new(70.0).expect("in range"),
            speed: Speed::new(8.0).expect("in range"),
            start_secs: None,
            end_secs: None,
            batch_size: Auto::Auto,
            background_colour: Rgb([0, 255, 0]),
            tone_map: false,
            num_gpus: None,
        }
    }
}

impl Params {
    /// Name of the model in the registry.
    pub fn model_name(&self) -> &str {
        match self.model.as_str() {
            "mobilenetv3" => "matting/rvm-mobilenetv3",
            "resnet50" => "matting/rvm-resnet50",
            name => name,
        }
    }

    /// Checks one parameter against another.
    ///
    /// # Errors
    /// As [`check_part`].
    pub fn check(&self) -> Result<()> {
        check_part(self.start_secs, self.end_secs)
    }

    /// The ratio for frames of this size.
    pub fn ratio(&self, width_px: u32, height_px: u32) -> f64 {
        match self.downsample_ratio {
            Auto::Set(ratio) => ratio.get(),
            Auto::Auto => (AUTO_SIDE_PX / f64::from(width_px.max(height_px))).min(1.0),
        }
    }

    /// Frames a call for frames of this size, where the model takes several.
    pub fn batch(&self, width_px: u32, height_px: u32) -> usize {
        match self.batch_size {
            Auto::Set(size) => size.get() as usize,
            Auto::Auto => {
                let pixels = u64::from(width_px) * u64::from(height_px);
                usize::try_from((AUTO_BATCH_PIXELS / pixels.max(1)).clamp(1, AUTO_BATCH_MAX)).unwrap_or(1)
            }
        }
    }

    /// What the user should know of these parameters.
    pub fn warnings(&self) -> Vec<String> {
        let ignored =
            "`num_gpus` was ignored: a job runs on one device. Run one worker slot per device to use several.";
        self.num_gpus.iter().map(|_| ignored.to_owned()).collect()
    }
}

#[cfg(test)]
mod tests {
    use darkroom_api::{ErrorCode, parse_params};
    use serde_json::json;

    use super::*;

    fn parse(value: serde_json::Value) -> Result<Params> {
        parse_params(&value)
    }

    #[test]
    fn defaults_hold_and_survive_the_round_trip() {
        let defaults = parse(json!({})).unwrap();
        assert_eq!(defaults, Params::default());
        assert_eq!(parse(serde_json::to_value(&defaults).unwrap()).unwrap(), defaults);
        assert_eq!(defaults.model_name(), "matting/rvm-mobilenetv3");
    }

    #[test]
    fn names_of_the_replaced_service_are_taken() {
        let params = parse(json!({
            "model": "resnet50", "batch_size": 12, "downsample_ratio": 0.25, "num_gpus": 2, "start_sec": 1.5, "end_sec": 3
        }))
        .unwrap();
        assert_eq!(params.model_name(), "matting/rvm-resnet50");
        assert_eq!((params.batch(3840, 2160), params.ratio(3840, 2160)), (12, 0.25));
        assert_eq!((params.start_secs.unwrap().get(), params.end_secs.unwrap().get()), (1.5, 3.0));
        assert_eq!(params.warnings().len(), 1);
        assert!(Params::default().warnings().is_empty());
    }

    #[test]
    fn messages_name_the_field_and_its_range() {
        for (value, field, range) in [
            (json!({"downsample_ratio": 3}), "downsample_ratio", "from 0.1 to 1"),
            (json!({"downsample_ratio": "half"}), "downsample_ratio", "`auto` or a number from 0.1 to 1"),
            (json!({"batch_size": 0}), "batch_size", "a whole number from 1 to 32"),
            (json!({"batch_size": 1.5}), "batch_size", "a whole number from 1 to 32"),
            (json!({"quality": 101}), "quality", "from 0 to 100"),
            (json!({"speed": -1}), "speed", "from 0 to 10"),
            (json!({"start_secs": -0.5}), "start_secs", "from 0 to 43200"),
            (json!({"background_colour": "green"}), "background_colour", "#00ff00"),
            (json!({"format": "gif"}), "format", "webm-alpha"),
            (json!({"foramt": "png"}), "foramt", "unknown field"),
        ] {
            let error = parse(value).unwrap_err();
            assert_eq!(error.code, ErrorCode::ParamsInvalid);
            assert!(error.message.contains(field) && error.message.contains(range), "{}", error.message);
        }
        let error = parse(json!({"start_secs": 2, "end_secs": 2})).unwrap().check().unwrap_err();
        assert!(error.message.contains("end_secs"));
    }

    #[test]
    fn automatic_values_follow_the_size() {
        let auto = Params::default();
        assert_eq!(auto.ratio(1080, 1920), 512.0 / 1920.0);
        assert_eq!(auto.ratio(320, 240), 1.0);
        assert_eq!([auto.batch(640, 360), auto.batch(1920, 1080), auto.batch(3840, 2160)], [8, 4, 1]);
    }

    #[test]
    fn the_schema_states_ranges_and_defaults() {
        let schema = serde_json::to_value(schemars::schema_for!(Params)).unwrap();
        assert_eq!(schema["additionalProperties"], false);
        let fields = &schema["properties"];
        assert_eq!(fields["quality"]["maximum"], 100);
        assert_eq!(fields["downsample_ratio"]["oneOf"][1]["minimum"], 0.1);
        assert_eq!(fields["downsample_ratio"]["default"], "auto");
        assert!(fields["model"]["description"].as_str().unwrap().contains("resnet50"));
    }
}
