//! The job message: the contract with programs that ask for jobs.

use std::collections::BTreeMap;

use darkroom_api::{ErrorCode, JobError, Result};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// Longest `deadline_secs`: 30 days.
pub const MAX_DEADLINE_SECS: u64 = 30 * 24 * 3600;
/// Most inputs of one job, over all roles.
pub const MAX_INPUTS: usize = 1000;
/// Longest `reference` and `rerun`, in bytes.
pub const MAX_REFERENCE_BYTES: usize = 1024;

/// Version of the message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Schema {
    /// The only one so far.
    #[serde(rename = "darkroom.job.v1")]
    V1,
}

/// One URL or several.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum OneOrMany {
    /// One.
    One(String),
    /// Several, in order.
    Many(Vec<String>),
}

impl OneOrMany {
    /// The URLs in order.
    pub fn as_slice(&self) -> &[String] {
        match self {
            OneOrMany::One(url) => std::slice::from_ref(url),
            OneOrMany::Many(urls) => urls,
        }
    }
}

/// Asks for one job. Unknown fields are refused.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct JobMessage {
    /// `darkroom.job.v1`.
    pub schema: Schema,
    /// Name of a handler.
    pub handler: String,
    /// URL (`s3://bucket/key`, or https where the worker allows the host) of the handler's primary input. Give this or
    /// `inputs`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub input: Option<String>,
    /// URLs of all inputs by role.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub inputs: Option<BTreeMap<String, OneOrMany>>,
    /// Where results go: `s3://bucket/prefix/`.
    pub output: String,
    /// The handler's parameters.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub params: Map<String, Value>,
    /// The caller's own name for the job; comes back in every event.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1024))]
    pub reference: Option<String>,
    /// Time for all attempts together, from the first acceptance on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 2_592_000))]
    pub deadline_secs: Option<u64>,
    /// Any string: another one makes another job of the same inputs and parameters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1024))]
    pub rerun: Option<String>,
}

impl JobMessage {
    /// Checks what the types cannot.
    ///
    /// # Errors
    /// [`ErrorCode::MessageInvalid`], naming the field.
    pub fn check(&self) -> Result<()> {
        let count: usize = self.inputs.iter().flat_map(BTreeMap::values).map(|urls| urls.as_slice().len()).sum();
        let long = |text: &Option<String>| text.as_ref().is_some_and(|t| t.len() > MAX_REFERENCE_BYTES);
        let problem = match (&self.input, &self.inputs) {
            (Some(_), Some(_)) => {
                Some("`input` and `inputs` are both given: `input` is short for the first role".into())
            }
            (None, None) => Some("neither `input` nor `inputs` is given: name what to work on".into()),
            _ if count > MAX_INPUTS => Some(format!("`inputs` has {count} entries: at most {MAX_INPUTS} are allowed")),
            _ if long(&self.reference) => Some(format!("`reference` is longer than {MAX_REFERENCE_BYTES} bytes")),
            _ if long(&self.rerun) => Some(format!("`rerun` is longer than {MAX_REFERENCE_BYTES} bytes")),
            _ if self.deadline_secs.is_some_and(|secs| !(1..=MAX_DEADLINE_SECS).contains(&secs)) => {
                Some(format!("`deadline_secs` is out of its range 1 to {MAX_DEADLINE_SECS}"))
            }
            _ => None,
        };
        match problem {
            Some(problem) => {
                Err(JobError::new(ErrorCode::MessageInvalid, format!("The job message is not valid: {problem}.")))
            }
            None => Ok(()),
        }
    }

    /// Its JSON Schema.
    pub fn json_schema() -> Value {
        schemars::schema_for!(JobMessage).to_value()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn message(extra: Value) -> Result<(), String> {
        let mut value = json!({"schema": "darkroom.job.v1", "handler": "matting", "output": "s3://results/m/"});
        value.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
        let message: JobMessage = serde_json::from_value(value).map_err(|e| e.to_string())?;
        message.check().map_err(|e| e.to_string())
    }

    #[test]
    fn what_the_contract_names_is_taken_and_nothing_else() {
        message(json!({"input": "s3://u/a.mp4"})).unwrap();
        message(json!({"inputs": {"video": ["s3://u/a.mp4"], "background": "s3://u/b.png"}, "rerun": "2",
                       "params": {"format": "png"}, "reference": "r", "deadline_secs": 3600}))
        .unwrap();
        for (extra, says) in [
            (json!({}), "neither"),
            (json!({"input": "s3://u/a", "inputs": {"video": "s3://u/a"}}), "both"),
            (json!({"input": "s3://u/a", "speed": 1}), "unknown field `speed`"),
            (json!({"input": ["s3://u/a"]}), "invalid type"),
            (json!({"input": "s3://u/a", "deadline_secs": 0}), "range"),
            (json!({"input": "s3://u/a", "deadline_secs": -1}), "invalid value"),
            (json!({"input": "s3://u/a", "deadline_secs": MAX_DEADLINE_SECS + 1}), "range"),
            (json!({"input": "s3://u/a", "reference": "r".repeat(1025)}), "reference"),
            (json!({"inputs": {"video": vec!["s3://u/a"; 1001]}}), "1001"),
            (json!({"input": "s3://u/a", "schema": "darkroom.job.v2"}), "darkroom.job.v1"),
            (json!({"input": "s3://u/a", "params": [1]}), "invalid type"),
        ] {
            let said = message(extra.clone()).unwrap_err();
            assert!(said.contains(says), "{extra}: {said}");
        }
    }

    #[test]
    fn the_published_schema_refuses_unknown_fields() {
        let schema = JobMessage::json_schema();
        assert_eq!(schema["additionalProperties"], json!(false));
        assert_eq!(schema["required"], json!(["schema", "handler", "output"]));
    }
}
