//! Parameters of the handler.

use std::collections::BTreeSet;

use darkroom_api::{Bounded, Codec, ErrorCode, Holder, JobError, Quality, Result, Seconds, Speed, bounded, check_part};
use darkroom_models::Registry;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::people::{AUTO, CHOICES, Choice};
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
    /// What finds the poses: `blazepose` (that is `blazepose-full`), `blazepose-lite` (quicker), `blazepose-heavy` (surer);
    /// `movenet-lightning` (or `movenet`) and `movenet-thunder`, of which there are points in the picture and no bodies; `hmr2`
    /// and `instanthmr`, whose files are the user's to register.
    pub model: String,
    /// What finds people in the picture: `auto` (all whom one of our two detectors finds), or the name of one in the registry,
    /// as of a YOLOX, RTMDet or Detectron2 file that is registered under `models.custom`.
    pub detector: String,
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
    /// Most people that are followed at once: those found first stay. Candidates beyond are counted.
    pub max_people: People,
    /// Focal length of the camera in pixels of the video, where it is known: distances are right only with it. Without, the
    /// diagonal of the picture (with `hmr2`, 19.5 times its longer side, as 4D-Humans has it). At most one of `focal_px` and `fov_degrees`.
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
            detector: AUTO.into(),
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

/// The body that is fitted and drawn.
pub const BODY: &str = "pose/body";
/// SMPL, which the user may have: its mesh is then drawn for the people of whom a model tells its rotations.
pub const SMPL: &str = "pose/smpl";

/// All models of the registry that a run may use.
pub fn models() -> Vec<String> {
    let names = CHOICES.iter().flat_map(|choice| choice.needs(AUTO)).chain([BODY, SMPL]);
    let names: BTreeSet<&str> = names.collect();
    names.into_iter().map(str::to_owned).collect()
}

impl Params {
    /// The pose model.
    ///
    /// # Errors
    /// [`ErrorCode::ModelMissing`] with those that there are.
    pub fn choice(&self) -> Result<Choice> {
        Choice::named(&self.model)
    }

    /// Whether all models are there.
    ///
    /// # Errors
    /// [`ErrorCode::ModelMissing`] with the command that fetches it.
    pub fn resolve(&self, registry: &Registry) -> Result<()> {
        let names = self.choice()?.needs(&self.detector).into_iter().chain([BODY]).chain(self.smpl(registry));
        names.into_iter().try_for_each(|name| registry.resolve(name).map(drop))
    }

    /// What the registry calls SMPL, where it is registered and something is drawn as it.
    pub fn smpl(&self, registry: &Registry) -> Option<&'static str> {
        let told = self.render.draws_mesh() && self.choice().is_ok_and(Choice::tells_smpl);
        (told && registry.custom().contains_key(SMPL)).then_some(SMPL)
    }

    /// These parameters for a model that knows nothing of space: the skeleton is drawn where the body was asked for.
    #[must_use]
    pub fn as_far_as_known(mut self) -> Params {
        let flat = self.choice().is_ok_and(|choice| !choice.has_space());
        if flat && matches!(self.render, Mode::Mesh | Mode::Both) {
            self.render = Mode::Skeleton;
        }
        self
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
        if self.render == Mode::SideBySide && self.choice().is_ok_and(|choice| !choice.has_space()) {
            let why = format!(
                "The model `{}` tells points in the picture and no bodies, which `render` = `side-by-side` draws: choose \
                 `skeleton`, or another model.",
                self.model
            );
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
            // What the model's authors take for a camera of which nothing is known: mostly CLIFF's diagonal.
            (None, None) => self.choice().map_or(width.hypot(height), |choice| choice.focal_px(width_px, height_px)),
        }
    }

    /// What the user should know of these parameters.
    pub fn warnings(&self) -> Vec<String> {
        let ignored = [("num_workers", self.num_workers), ("batch_size", self.batch_size)];
        let set = ignored.iter().filter(|(_, value)| value.is_some());
        let ignored = set.map(|(name, _)| format!("`{name}` was ignored: a job uses all threads of its worker."));
        let flat = self.choice().is_ok_and(|choice| !choice.has_space()).then(|| {
            format!(
                "The model `{}` tells 17 points in the picture and nothing in space: there are no bodies, no `poses.npz` and no \
                 `tracks/`; what is drawn is the skeleton.",
                self.model
            )
        });
        ignored.chain(flat).collect()
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
        assert_eq!(defaults.choice().unwrap().entry, "pose/blazepose-full");
        assert_eq!(models().len(), 11);
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
        let error = parse(json!({ "model": "hmr9" })).unwrap().choice().unwrap_err();
        assert!(error.code == ErrorCode::ModelMissing && error.message.contains("`blazepose-heavy`"), "{error}");
    }

    #[test]
    fn a_model_of_flat_points_draws_skeletons_and_says_what_is_not_there() {
        let flat = |render: &str| parse(json!({ "model": "movenet", "render": render })).unwrap();
        assert_eq!(flat("mesh").as_far_as_known().render, Mode::Skeleton);
        assert_eq!(flat("none").as_far_as_known().render, Mode::None);
        assert!(flat("both").warnings()[0].contains("no `poses.npz`"));
        assert_eq!(flat("side-by-side").check().unwrap_err().code, ErrorCode::ParamsInvalid);
        assert_eq!(parse(json!({})).unwrap().as_far_as_known(), Params::default());
    }

    #[test]
    fn a_camera_of_which_nothing_is_known_sees_a_picture_under_the_usual_angle() {
        let focal = |value| parse(value).unwrap().focal_px(1920, 1080);
        assert!((focal(json!({})) - 2202.9).abs() < 0.1);
        assert!((focal(json!({ "fov_degrees": 90 })) - 960.0).abs() < 0.01);
        assert_eq!(focal(json!({ "focal_px": 1500 })), 1500.0);
        assert_eq!(focal(json!({ "model": "hmr2" })), 37500.0);
    }
}
