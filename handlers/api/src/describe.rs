//! What a handler says of itself, published as JSON.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::Inputs;

/// Kinds of media an input role takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum MediaKind {
    /// Moving pictures: at least one video stream that is not a cover picture.
    Video,
    /// One still picture.
    Image,
    /// Sound without pictures.
    Audio,
}

/// One named input of a handler.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct InputRole {
    /// Name in `inputs` of a job message and in `--input role=file`.
    pub name: String,
    /// Fewest files.
    pub min: u32,
    /// Most files.
    pub max: u32,
    /// What the files may be. Empty: anything, and nobody looks at them before the handler does.
    pub kinds: Vec<MediaKind>,
}

/// Upper (and for pictures lower) bounds on one input file. Checked at fetch and at probe.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// Most bytes of one input.
    pub max_bytes: u64,
    /// Most pixels of one frame.
    pub max_pixels: u64,
    /// Longest video.
    pub max_duration_secs: f64,
    /// Shortest side of a frame.
    pub min_side_px: u32,
}

impl Default for Limits {
    fn default() -> Self {
        // 65 GB VR videos are in daily use; 8192 x 8192 is above every delivery format in use.
        Limits { max_bytes: 128 << 30, max_pixels: 8192 * 8192, max_duration_secs: 12.0 * 3600.0, min_side_px: 16 }
    }
}

/// One stage of a handler's run, as progress names it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Stage {
    /// Name in progress messages.
    pub name: String,
    /// Longest time without progress before the executor counts as hung.
    pub stall_secs: f64,
}

/// A handler's description of itself.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Descriptor {
    /// Name in job messages and on the command line.
    pub name: String,
    /// Version of the handler's code.
    pub version: String,
    /// One sentence.
    pub summary: String,
    /// JSON Schema of the parameters.
    pub params_schema: serde_json::Value,
    /// Input roles; the first is the primary one (`input` in a job message).
    pub inputs: Vec<InputRole>,
    /// Limits on inputs.
    pub limits: Limits,
    /// Names of the models it may use.
    pub models: Vec<String>,
    /// Stages in order.
    pub stages: Vec<Stage>,
    /// Whether a run can continue from a checkpoint.
    pub resumable: bool,
}

impl Descriptor {
    /// The inputs that are looked at before a run: those of roles that take certain kinds.
    #[must_use]
    pub fn looked_at(&self, inputs: &Inputs) -> Inputs {
        let roles = self.inputs.iter().filter(|role| !role.kinds.is_empty());
        let files = roles.filter_map(|role| inputs.0.get(&role.name).map(|files| (role.name.clone(), files.clone())));
        Inputs(files.collect())
    }
}
