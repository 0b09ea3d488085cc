//! What a run leaves behind.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// One output file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct OutputFile {
    /// Path relative to the output directory, `/` between parts, e.g. `frames/000001.png`.
    pub name: String,
    /// Media type, e.g. `video/webm`.
    pub media_type: String,
}

/// A model that was used: part of the manifest, so that a result can be reproduced.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ModelUse {
    /// Name in the registry.
    pub name: String,
    /// Content of the file.
    pub sha256: String,
}

/// Where a stage's time went. `busy + waiting_input + waiting_output` is about the stage's wall time.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct StageReport {
    /// Stage name (decode, process, develop, encode).
    pub name: String,
    /// Frames that went through.
    pub frames: u64,
    /// Time at work.
    pub busy_secs: f64,
    /// Time without input.
    pub waiting_input_secs: f64,
    /// Time without room for output.
    pub waiting_output_secs: f64,
    /// CPU time of the stage's own thread (helper threads of codecs and models excluded).
    pub cpu_secs: f64,
}

/// What a run leaves behind.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Outputs {
    /// Files, the main one first.
    pub files: Vec<OutputFile>,
    /// Parameters as used, defaults filled in.
    pub params: serde_json::Value,
    /// Models used.
    pub models: Vec<ModelUse>,
    /// The handler's numbers: frames, fps, and its own.
    pub metrics: serde_json::Map<String, serde_json::Value>,
    /// Time per stage.
    pub stages: Vec<StageReport>,
    /// What the user should know although it worked (frames dropped, audio transcoded, ...).
    pub warnings: Vec<String>,
}
