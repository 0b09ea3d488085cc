//! Measuring a handler, and parts of its run alone: what overlapping stages are compared with.

use std::fmt;
use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{ErrorCode, JobError, Result, StageReport};

/// A part of a run that can be done alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// From the file to frames.
    Decode,
    /// The model, on frames that lie ready as it takes them.
    Model,
    /// What is made of all that the model found, before anything is drawn.
    Fit,
    /// Drawing onto frames that lie ready.
    Draw,
    /// From developed frames to the file.
    Encode,
}

impl Part {
    /// All, in the order of a run.
    pub const ALL: [Part; 5] = [Part::Decode, Part::Model, Part::Fit, Part::Draw, Part::Encode];

    /// As the command line has it.
    pub fn name(self) -> &'static str {
        match self {
            Part::Decode => "decode",
            Part::Model => "model",
            Part::Fit => "fit",
            Part::Draw => "draw",
            Part::Encode => "encode",
        }
    }
}

impl Part {
    /// The error of a handler that has no such part.
    pub fn missing(self, handler: &str) -> JobError {
        JobError::new(ErrorCode::HandlerUnknown, format!("`{handler}` has no part `{self}` to be measured alone."))
    }
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Part {
    type Err = String;

    fn from_str(text: &str) -> Result<Part, String> {
        let found = Part::ALL.into_iter().find(|part| part.name() == text);
        found.ok_or_else(|| format!("`{text}` is no part: it is decode, model, fit, draw or encode"))
    }
}

/// A part, ready to start: models are loaded and the material is made.
pub struct Alone<'a> {
    /// What is measured; returns the number of frames.
    pub work: Box<dyn FnOnce() -> Result<u64> + 'a>,
    /// Bytes of material that lies ready where a run would have a frame at a time: not part of the peak.
    pub held_bytes: u64,
}

impl<'a> Alone<'a> {
    /// A part whose material takes no room to speak of.
    pub fn new(work: impl FnOnce() -> Result<u64> + 'a) -> Alone<'a> {
        Alone { work: Box::new(work), held_bytes: 0 }
    }
}

/// What work cost, without starting the process and loading the model.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Measured {
    /// Frames.
    pub frames: u64,
    /// Seconds from start to end.
    pub wall_secs: f64,
    /// Seconds of CPU time of the whole process.
    pub cpu_secs: f64,
    /// Most resident memory in MiB.
    pub peak_rss_mib: f64,
    /// Where time went, by stage; empty for a part.
    #[serde(default)]
    pub stages: Vec<StageReport>,
}

impl Measured {
    /// Frames a second.
    pub fn fps(&self) -> f64 {
        #[allow(clippy::cast_precision_loss, reason = "a rate for people")]
        let frames = self.frames as f64;
        frames / self.wall_secs.max(1e-9)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_read_as_they_are_written() {
        for part in Part::ALL {
            assert_eq!(part.to_string().parse(), Ok(part));
        }
        assert!("end-to-end".parse::<Part>().unwrap_err().contains("decode, model, fit, draw or encode"));
    }
}
