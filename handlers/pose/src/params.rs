//! Parameters of the handler.

use std::collections::BTreeSet;

use darkroom_api::{Bounded, Codec, ErrorCode, Holder, JobError, Quality, Result, Seconds, Speed, bounded, check_part};
use darkroom_models::Registry;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::render::Mode;

bounded! {
    /// How much of the picture a drawing covers.
    Opacity: f64, "a number", 0 ..= 1
}
bounded! {
    /// Width of the smoothing in seconds.
    Width: f64, "a number", 0 ..= 2
}
bounded! {
    /// People at once.
    People: u32, "a whole number", 1 ..= 40
}
bounded! {
    /// Focal length in pixels.
    Focal: f64, "a number", 16 ..= 1000000
}
bounded! {
    /// An angle in degrees.
    Degrees: f64, "a number", 5 ..= 160
}
bounded! {
    /// The replaced service's processes, and frames a call.
    Count: u32, "a whole number", 1 ..= 1024
}

/// Parameters of the pose handler.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Params {
    /// What finds the poses: `blazepose` (that is `blazepose-full`), `blazepose-lite` (quicker), `blazepose-heavy` (surer).
    pub model: String,
    /// What is drawn over the video: `mesh` (the body), `skeleton`, `both`, `side-by-side` (the original at the left, the body
    /// over it at the right), `none` (no video is written, the quickest).
    pub render: Mode,
    /// How much of what lies under it the drawing hides, 0 to 1.
    pub opacity: Opacity,
    /// Files beside `poses.json` and `summary.json`.
    pub outputs: BTreeSet<Extra>,
    /// How the video is encoded. `auto`: H.264; HEVC for more than 8 bits.
    pub codec: Codec,
    /// What holds it. `auto`: MP4, and WebM for VP9.
    pub container: Holder,
    /// Quality of the encoded video, 100 is best and largest.
    pub quality: Quality,
    /// Speed of the encoder, 10 is fastest; slower makes smaller files.
    pub speed: Speed,
    /// Where to start in the video, in seconds.
    #[serde(alias = "start_sec", skip_serializing_if = "Option::is_none")]
    pub start_secs: Option<Seconds>,
    /// Where to end in the video, in seconds.
    #[serde(alias = "end_sec", skip_serializing_if = "Option::is_none")]
    pub end_secs: Option<Seconds>,
    /// How much the motion is smoothed: the sigma of a Gaussian over time, which lags nowhere. 0 leaves each frame as it was
    /// found.
    pub smooth_secs: Width,
    /// Whether feet that stand are kept in their places: for a camera that does not move.
    #[serde(alias = "foot_contact")]
    pub keep_feet: bool,
    /// Most people that are followed at once; the surest are. Others are counted.
    pub max_people: People,
    /// Focal length of the camera in pixels of the video, where it is known: distances are right only with it. Without, the
    /// diagonal of the picture. At most one of `focal_px` and `fov_degrees`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub focal_px: Option<Focal>,
    /// The same as the angle that the camera sees from the left edge to the right one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fov_degrees: Option<Degrees>,
    /// Whether high dynamic range (PQ, HLG) is mapped to standard range. Without it, it is kept, in 10 bits.
    pub tone_map: bool,
    /// Taken for compatibility and ignored: a job uses all threads of its worker.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub num_workers: Option<Count>,
    /// Taken for compatibility and ignored: all people of a frame go through the model together.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub batch_size: Option<Count>,
}

/// A file beside the ones that are always there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Extra {
    /// `poses.npz`: everybody's motion as arrays, named as in AMASS.
    Npz,
    /// `tracks/<n>.glb`: a person as an animated body, for Blender and all else that reads glTF.
    Glb,
    /// `tracks/<n>.bvh`: the same as a skeleton, for animation programs.
    Bvh,
}

#[allow(clippy::expect_used, reason = "constants inside their ranges; a test parses them")]
impl Default for Params {
    fn default() -> Self {
        Params {
            model: "blazepose".into(),
            render: Mode::Mesh,
            opacity: Opacity::new(1.0).expect("in range"),
            outputs: [Extra::Npz, Extra::Glb, Extra::Bvh].into(),
            codec: Codec::Auto,
            container: Holder::Auto,
            quality: Quality::new(75.0).expect("in range"),
            speed: Speed::new(8.0).expect("in range"),
            start_secs: None,
            end_secs: None,
            smooth_secs: Width::new(0.033).expect("in range"),
            keep_feet: false,
            max_people: People::new(40.0).expect("in range"),
            focal_px: None,
            fov_degrees: None,
            tone_map: false,
            num_workers: None,
            batch_size: None,
        }
    }
}

/// What short names of models stand for in the registry.
const NAMES: [(&str, &str); 4] = [
    ("blazepose", "pose/blazepose-full"),
    ("blazepose-lite", "pose/blazepose-lite"),
    ("blazepose-full", "pose/blazepose-full"),
    ("blazepose-heavy", "pose/blazepose-heavy"),
];
/// The detectors, of which everybody is taken that one of them finds.
pub const DETECTORS: [&str; 2] = ["pose/blazepose-detector", "pose/person-detector"];
/// The body that is fitted and drawn.
pub const BODY: &str = "pose/body";

/// All models of the registry that a run may use.
pub fn models() -> Vec<String> {
    let names: BTreeSet<&str> = NAMES.iter().map(|(_, name)| *name).collect();
    DETECTORS.into_iter().chain([BODY]).chain(names).map(str::to_owned).collect()
}

impl Params {
    /// Name of the pose model in the registry.
    ///
    /// # Errors
    /// [`ErrorCode::ModelMissing`] with those that there are.
    pub fn model_name(&self) -> Result<&'static str> {
        NAMES
            .iter()
            .find(|(short, name)| [*short, *name].contains(&self.model.as_str()))
            .map(|(_, name)| *name)
            .ok_or_else(|| {
                let names: Vec<String> = NAMES.iter().map(|(short, _)| format!("`{short}`")).collect();
                let why = format!("There is no pose model `{}`: `model` may be {}.", self.model, names.join(", "));
                JobError::new(ErrorCode::ModelMissing, why)
            })
    }

    /// Whether all models are there.
    ///
    /// # Errors
    /// [`ErrorCode::ModelMissing`] with the command that fetches it.
    pub fn resolve(&self, registry: &Registry) -> Result<()> {
        let names = DETECTORS.into_iter().chain([BODY, self.model_name()?]);
        names.into_iter().try_for_each(|name| registry.resolve(name).map(drop))
    }

    /// Checks one parameter against another.
    ///
    /// # Errors
    /// [`ErrorCode::ParamsInvalid`].
    pub fn check(&self) -> Result<()> {
        if self.focal_px.is_some() && self.fov_degrees.is_some() {
            let why = "Parameters `focal_px` and `fov_degrees` say the same: set one of them.";
            return Err(JobError::new(ErrorCode::ParamsInvalid, why));
        }
        check_part(self.start_secs, self.end_secs)
    }

    /// Whether the whole video is wanted.
    pub fn is_whole(&self) -> bool {
        self.start_secs.is_none() && self.end_secs.is_none()
    }

    /// The camera's focal length for pictures of that size, in pixels.
    pub fn focal_px(&self, width_px: u32, height_px: u32) -> f64 {
        let (width, height) = (f64::from(width_px), f64::from(height_px));
        match (self.focal_px, self.fov_degrees) {
            (Some(focal), _) => focal.get(),
            (None, Some(angle)) => width / 2.0 / (angle.get().to_radians() / 2.0).tan(),
            // What CLIFF and its followers take for a camera of which nothing is known.
            (None, None) => width.hypot(height),
        }
    }

    /// What the user should know of these parameters.
    pub fn warnings(&self) -> Vec<String> {
        let ignored = [("num_workers", self.num_workers), ("batch_size", self.batch_size)];
        let set = ignored.iter().filter(|(_, value)| value.is_some());
        set.map(|(name, _)| format!("`{name}` was ignored: a job uses all threads of its worker.")).collect()
    }
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
        defaults.check().unwrap();
        assert!(defaults.warnings().is_empty());
        assert_eq!(defaults.model_name().unwrap(), "pose/blazepose-full");
        assert_eq!(models().len(), 6);
    }

    #[test]
    fn names_of_the_replaced_service_are_taken() {
        let params = parse(json!({ "num_workers": 4, "batch_size": 8, "start_sec": 1, "end_sec": 2.5 })).unwrap();
        assert_eq!((params.start_secs.unwrap().get(), params.end_secs.unwrap().get()), (1.0, 2.5));
        assert_eq!(params.warnings().len(), 2);
    }

    #[test]
    fn messages_name_the_field_and_what_may_be() {
        for (value, field, range) in [
            (json!({ "render": "wire" }), "render", "side-by-side"),
            (json!({ "opacity": 2 }), "opacity", "from 0 to 1"),
            (json!({ "max_people": 41 }), "max_people", "a whole number from 1 to 40"),
            (json!({ "outputs": ["fbx"] }), "outputs", "glb"),
            (json!({ "codec": "divx" }), "codec", "h264"),
            (json!({ "video": "a.mp4" }), "video", "unknown field"),
        ] {
            let error = parse(value).unwrap_err();
            assert_eq!(error.code, ErrorCode::ParamsInvalid);
            assert!(error.message.contains(field) && error.message.contains(range), "{}", error.message);
        }
        for value in [json!({ "focal_px": 900, "fov_degrees": 60 }), json!({ "start_secs": 2, "end_secs": 2 })] {
            assert_eq!(parse(value).unwrap().check().unwrap_err().code, ErrorCode::ParamsInvalid);
        }
        let error = parse(json!({ "model": "hmr9" })).unwrap().model_name().unwrap_err();
        assert!(error.code == ErrorCode::ModelMissing && error.message.contains("`blazepose-heavy`"), "{error}");
    }

    #[test]
    fn a_camera_of_which_nothing_is_known_sees_a_picture_under_the_usual_angle() {
        let focal = |value| parse(value).unwrap().focal_px(1920, 1080);
        assert!((focal(json!({})) - 2202.9).abs() < 0.1);
        assert!((focal(json!({ "fov_degrees": 90 })) - 960.0).abs() < 0.01);
        assert_eq!(focal(json!({ "focal_px": 1500 })), 1500.0);
    }
}
