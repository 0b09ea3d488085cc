//! What is asked for, the same whether a store or a person asks.

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::store::{ObjectRef, Place};

/// Who asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Origin {
    /// A store's notification. If its object has changed or gone since, a later event tells so, and this one is void.
    Upload,
    /// The reconciler, for an upload that nobody told of. Void in the same way, and no reason to start a failed job over.
    Reconciler,
    /// A job message.
    Message,
}

impl Origin {
    /// Whether it is an upload that asks, not a person or a program.
    pub fn is_upload(self) -> bool {
        matches!(self, Origin::Upload | Origin::Reconciler)
    }
}

/// One input in its role.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct InputRef {
    /// Role in the handler's descriptor.
    pub role: String,
    /// The object.
    pub object: ObjectRef,
}

impl InputRef {
    /// As [`ObjectRef::without_query`].
    #[must_use]
    pub fn without_query(&self) -> Self {
        InputRef { role: self.role.clone(), object: self.object.without_query() }
    }
}

/// What is asked for: allowed by the rules, not yet claimed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Submission {
    /// Names this asking; several submissions may be the same job.
    pub submission_id: String,
    /// Who asks.
    pub origin: Origin,
    /// Handler's name.
    pub handler: String,
    /// Parameters as written, in the message or the route.
    pub params: Map<String, Value>,
    /// Inputs in the order of the handler's roles, then as written. May lack an ETag: see
    /// [`crate::store::Stores::pin`].
    pub inputs: Vec<InputRef>,
    /// Where results go.
    pub destination: Place,
    /// The caller's own name for the job.
    pub reference: Option<String>,
    /// Budget over all attempts.
    pub deadline_secs: Option<u64>,
    /// Another value makes another job.
    pub rerun: Option<String>,
    /// When it was asked for.
    pub submitted_at: Timestamp,
}

impl Submission {
    /// The same as others may read it: see [`ObjectRef::without_query`].
    #[must_use]
    pub fn without_queries(&self) -> Self {
        Submission { inputs: self.inputs.iter().map(InputRef::without_query).collect(), ..self.clone() }
    }
}
