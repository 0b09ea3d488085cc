//! Parameters of the handler.

use std::borrow::Cow;
use std::fmt;

use darkroom_api::{
    Auto, Bounded, Codec, ErrorCode, Holder, JobError, Quality, Result, Seconds, Speed, bounded, check_part,
};
use darkroom_models::Registry;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;

use crate::{Goal, TaskType};

bounded! {
    /// How many times longer each side becomes.
    Scale: u32, "a whole number", 2 ..= 4
}
bounded! {
    /// Constant quality on a codec's own scale.
    Crf: u8, "a whole number", 0 ..= 63
}
bounded! {
    /// Bits a second, in thousands.
    Kbps: u32, "a whole number", 16 ..= 1000000
}
bounded! {
    /// Size of a file in millions of bytes.
    Megabytes: f64, "a number", 0.01 ..= 1000000
}
bounded! {
    /// Models at work at once on one device.
    Sessions: u32, "a whole number", 1 ..= 32
}
bounded! {
    /// Memory in MiB.
    Mib: u32, "a whole number", 64 ..= 1048576
}

/// Parameters of the super-resolution handler.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Params {
    /// From which size to which: `SD2HD`, `SD24K`, `HD24K`, `4K28K`. Videos of other sizes are taken too; the result fills the
    /// task's size in one direction. At most one of `task_type`, `scale` and `size`; without any, each side doubles.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub task_type: Option<TaskType>,
    /// How many times longer each side becomes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scale: Option<Scale>,
    /// The box that the result fills, `WIDTHxHEIGHT`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub size: Option<Size>,
    /// `span` (quick and faithful), `animevideov3` (drawings), `general-x4` (denoises), `x4plus` (best looking, very slow), or
    /// the name of any model that the user registered under `models.custom`.
    pub model: String,
    /// How the result is encoded. `auto`: H.264; HEVC for more than 8 bits, VP9 for videos with alpha.
    pub codec: Codec,
    /// What holds it. `auto`: MP4, and WebM for VP9.
    pub container: Holder,
    /// Quality of the encoded video, 100 is best and largest. `crf` or `bitrate_kbps` take its place.
    pub quality: Quality,
    /// Constant quality on the codec's own scale, 0 is best: to 51 for H.264 and HEVC, to 63 for AV1 and VP9.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub crf: Option<Crf>,
    /// Mean bits a second of the video, in thousands.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bitrate_kbps: Option<Kbps>,
    /// Speed of the encoder, 10 is fastest; slower makes smaller files.
    pub speed: Speed,
    /// Most millions of bytes that the file of a video may have; it is never larger. Ignored for pictures.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub maximum_optimized_size_mb: Option<Megabytes>,
    /// Where to start in the video, in seconds.
    #[serde(alias = "start_sec", skip_serializing_if = "Option::is_none")]
    pub start_secs: Option<Seconds>,
    /// Where to end in the video, in seconds.
    #[serde(alias = "end_sec", skip_serializing_if = "Option::is_none")]
    pub end_secs: Option<Seconds>,
    /// Whether high dynamic range (PQ, HLG) is mapped to standard range. Without it, it is kept, in 10 bits.
    pub tone_map: bool,
    /// Models at work at once on the device. `auto`: one a core on a CPU; on a GPU what the replaced service gave each task.
    #[serde(alias = "num_workers")]
    pub sessions: Auto<Sessions>,
    /// Memory that the models may use, together. Frames that would need more go through in tiles. `auto`: 1024 on a CPU (where
    /// the result has more than 16 million pixels 512, or 64 for each session where that is more); on a GPU 1024 for each session.
    pub memory_mib: Auto<Mib>,
    /// Half precision where the device is faster with it (TensorRT).
    pub half_precision: bool,
}

/// What the result is to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Aim {
    /// A task of the replaced service.
    Task(TaskType),
    /// So many times each side.
    Scale(u32),
    /// A box to fill.
    Size(u32, u32),
}

impl fmt::Display for Aim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Aim::Task(task) => write!(f, "`task_type` = `{}`", task.name()),
            Aim::Scale(scale) => write!(f, "`scale` = {scale}"),
            Aim::Size(width, height) => write!(f, "`size` = `{width}x{height}`"),
        }
    }
}

/// A size in pixels, `WIDTHxHEIGHT`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(into = "String")]
pub struct Size {
    /// Pixels a row.
    pub width_px: u32,
    /// Rows.
    pub height_px: u32,
}

impl TryFrom<String> for Size {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let side = |text: &str| text.parse::<u32>().ok().filter(|side| (16..=16_384).contains(side));
        let sides = text.split_once('x').and_then(|(width, height)| Some((side(width)?, side(height)?)));
        let (width_px, height_px) = sides.ok_or_else(|| {
            format!("it is `{text}` but must be `WIDTHxHEIGHT`, from 16x16 to 16384x16384, such as `1920x1080`")
        })?;
        Ok(Size { width_px, height_px })
    }
}

impl<'de> Deserialize<'de> for Size {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        // `size=1920` is a number before it comes here.
        let text = match Value::deserialize(deserializer)? {
            Value::String(text) => text,
            other => other.to_string().chars().take(40).collect(),
        };
        Size::try_from(text).map_err(D::Error::custom)
    }
}

impl From<Size> for String {
    fn from(Size { width_px, height_px }: Size) -> String {
        format!("{width_px}x{height_px}")
    }
}

impl JsonSchema for Size {
    fn inline_schema() -> bool {
        true
    }
    fn schema_name() -> Cow<'static, str> {
        "Size".into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "pattern": "^[0-9]{2,5}x[0-9]{2,5}$" })
    }
}

#[allow(clippy::expect_used, reason = "constants inside their ranges; a test parses them")]
impl Default for Params {
    fn default() -> Self {
        Params {
            task_type: None,
            scale: None,
            size: None,
            model: "span".into(),
            codec: Codec::Auto,
            container: Holder::Auto,
            quality: Quality::new(75.0).expect("in range"),
            crf: None,
            bitrate_kbps: None,
            speed: Speed::new(7.0).expect("in range"),
            maximum_optimized_size_mb: None,
            start_secs: None,
            end_secs: None,
            tone_map: false,
            sessions: Auto::Auto,
            memory_mib: Auto::Auto,
            half_precision: false,
        }
    }
}

/// Names of models that come in several scales, smallest first.
const FAMILIES: [(&str, &[(f64, &str)]); 4] = [
    ("span", &[(2.0, "vsr/span-x2"), (4.0, "vsr/span-x4")]),
    (
        "animevideov3",
        &[
            (2.0, "vsr/realesr-animevideov3-x2"),
            (3.0, "vsr/realesr-animevideov3-x3"),
            (4.0, "vsr/realesr-animevideov3-x4"),
        ],
    ),
    ("general-x4", &[(4.0, "vsr/realesr-general-x4")]),
    ("x4plus", &[(4.0, "vsr/realesrgan-x4plus")]),
];

/// Models of the registry that the short names stand for.
pub fn models() -> Vec<String> {
    FAMILIES.iter().flat_map(|(_, members)| members.iter()).map(|(_, name)| (*name).to_owned()).collect()
}

/// The scale of the model that the parameters name, as far as its name tells it; 2 for a user's own.
pub fn family_scale(params: &Params, goal: &Goal) -> usize {
    let name = params.model_name(goal.wanted_scale());
    let members = FAMILIES.iter().flat_map(|(_, members)| members.iter());
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "2, 3 or 4")]
    members.clone().find(|(_, member)| *member == name).map_or(2, |(scale, _)| *scale as usize)
}

impl Params {
    /// What the result is to be.
    ///
    /// # Errors
    /// [`ErrorCode::ParamsInvalid`] where several are named.
    pub fn aim(&self) -> Result<Aim> {
        match (self.task_type, self.scale, self.size) {
            (Some(task), None, None) => Ok(Aim::Task(task)),
            (None, Some(scale), None) => Ok(Aim::Scale(scale.get())),
            (None, None, Some(size)) => Ok(Aim::Size(size.width_px, size.height_px)),
            (None, None, None) => Ok(Aim::Scale(2)),
            _ => Err(invalid("Parameters `task_type`, `scale` and `size` say the same: set one of them.")),
        }
    }

    /// Name of the model in the registry; of those that come in several scales the smallest that does all in one pass, else
    /// the largest.
    pub fn model_name(&self, wanted_scale: f64) -> &str {
        let family = FAMILIES.iter().find(|(name, _)| *name == self.model).map_or(&[][..], |(_, members)| members);
        let enough = family.iter().find(|(scale, _)| *scale >= wanted_scale);
        enough.or(family.last()).map_or(self.model.as_str(), |(_, name)| name)
    }

    /// Says that nobody knows the model, where that is so: what may stand there, and how to add to it.
    ///
    /// # Errors
    /// [`ErrorCode::ModelMissing`].
    pub fn check_model(&self, registry: &Registry) -> Result<()> {
        if FAMILIES.iter().any(|(name, _)| *name == self.model) || registry.knows(&self.model) {
            return Ok(());
        }
        let families = FAMILIES.iter().map(|(name, _)| *name);
        let own = registry.custom().keys().map(String::as_str).filter(|name| registry.entry(name).is_none());
        let names: Vec<String> = families.chain(own).map(|name| format!("`{name}`")).collect();
        let why = format!(
            "There is no model `{}`: `model` may be {}. To use a file of your own, register it in the configuration (for \
             `darkroom run` the file that `--config` names): `[models.custom]` and `\"my/own\" = \"/path/to/file.onnx\"`, then \
             `model` = `my/own`.",
            self.model,
            names.join(", "),
        );
        Err(JobError::new(ErrorCode::ModelMissing, why))
    }

    /// Most bytes of the file.
    pub fn max_bytes(&self) -> Option<u64> {
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "within the range of the type")]
        self.maximum_optimized_size_mb.map(|megabytes| (megabytes.get() * 1e6) as u64)
    }

    /// The scale that a model most likely has to do, where no video is known yet.
    pub fn likely_scale(&self) -> f64 {
        // Without a better guess each side doubles.
        self.likely_goal().map_or(1.6, |goal| goal.wanted_scale())
    }

    /// What most likely becomes of a video, where none is known yet.
    ///
    /// # Errors
    /// As [`Params::aim`].
    fn likely_goal(&self) -> Result<Goal> {
        let (width, height) = match self.aim()? {
            Aim::Task(task) => task.expects(),
            Aim::Scale(_) => (640, 360),
            // Most likely each side doubles.
            Aim::Size(width, height) => (width / 2, height / 2),
        };
        Goal::of(self, width, height)
    }

    /// Checks one parameter against another.
    ///
    /// # Errors
    /// [`ErrorCode::ParamsInvalid`].
    pub fn check(&self) -> Result<()> {
        self.aim()?;
        if self.crf.is_some() && self.bitrate_kbps.is_some() {
            return Err(invalid("Parameters `crf` and `bitrate_kbps` say the same: set one of them."));
        }
        check_part(self.start_secs, self.end_secs)
    }
}

fn invalid(why: &str) -> JobError {
    JobError::new(ErrorCode::ParamsInvalid, why)
}

#[cfg(test)]
mod tests {
    use darkroom_api::parse_params;
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
        assert_eq!(defaults.aim(), Ok(Aim::Scale(2)));
        defaults.check().unwrap();
    }

    #[test]
    fn names_of_the_replaced_service_are_taken() {
        let params = parse(json!({ "task_type": "4K28K", "maximum_optimized_size_mb": 100 })).unwrap();
        assert_eq!(params.aim(), Ok(Aim::Task(TaskType::FourK28K)));
        assert_eq!(params.maximum_optimized_size_mb.unwrap().get(), 100.0);
        for task in TaskType::ALL {
            assert_eq!(parse(json!({ "task_type": task.name() })).unwrap().task_type, Some(task));
        }
    }

    #[test]
    fn a_family_gives_the_scale_that_is_wanted() {
        let name = |model: &str, wanted| parse(json!({ "model": model })).unwrap().model_name(wanted).to_owned();
        assert_eq!(name("span", 1.8), "vsr/span-x2");
        assert_eq!(name("span", 2.4), "vsr/span-x4");
        assert_eq!(name("span", 9.0), "vsr/span-x4");
        assert_eq!(name("animevideov3", 2.4), "vsr/realesr-animevideov3-x3");
        assert_eq!(name("general-x4", 1.8), "vsr/realesr-general-x4");
        assert_eq!(name("my/own", 1.8), "my/own");
    }

    #[test]
    fn messages_name_the_field_and_what_may_be() {
        for (value, field, range) in [
            (json!({ "task_type": "SD2SD" }), "task_type", "SD2HD"),
            (json!({ "scale": 5 }), "scale", "from 2 to 4"),
            (json!({ "size": "1920" }), "size", "1920x1080"),
            (json!({ "size": 1920 }), "size", "it is `1920` but must be `WIDTHxHEIGHT`"),
            (json!({ "size": "0x7" }), "size", "from 16x16"),
            (json!({ "codec": "divx" }), "codec", "h264"),
            (json!({ "crf": 64 }), "crf", "from 0 to 63"),
            (json!({ "sessions": 0 }), "sessions", "a whole number from 1 to 32"),
            (json!({ "maximum_optimized_size_mb": 0 }), "maximum_optimized_size_mb", "from 0.01"),
            (json!({ "payload_url": "https://x" }), "payload_url", "unknown field"),
        ] {
            let error = parse(value).unwrap_err();
            assert_eq!(error.code, ErrorCode::ParamsInvalid);
            assert!(error.message.contains(field) && error.message.contains(range), "{}", error.message);
        }
        for value in [
            json!({ "scale": 2, "size": "64x64" }),
            json!({ "crf": 20, "bitrate_kbps": 2000 }),
            json!({ "start_secs": 2, "end_secs": 2 }),
        ] {
            assert_eq!(parse(value).unwrap().check().unwrap_err().code, ErrorCode::ParamsInvalid);
        }
    }
}
