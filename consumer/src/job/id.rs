//! Who a job is: the same inputs, handler, parameters and destination are the same job, wherever and whenever asked for.

use std::fmt;
use std::str::FromStr;

use darkroom_api::{ErrorCode, JobError, Result};
use data_encoding::BASE32_NOPAD;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

use crate::store::{ObjectRef, Place};
use crate::trigger::Submission;

/// Characters of a job id: 256 bits in base 32.
const LENGTH: usize = 52;

/// Lower-case base 32 without padding of the SHA-256 over the canonical JSON (RFC 8785) of what makes the job.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "String", into = "String")]
pub struct JobId(String);

/// One run of one attempt: its outputs lie under this name, so that no two runs can touch each other's.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct RunId(String);

/// What is hashed. Changing anything here makes new jobs of old submissions: then raise `v`.
#[derive(Serialize)]
struct Identity<'a> {
    v: u32,
    inputs: Vec<IdentityInput<'a>>,
    destination: &'a Place,
    handler: &'a str,
    params: &'a Map<String, Value>,
    rerun: Option<&'a str>,
}

#[derive(Serialize)]
struct IdentityInput<'a> {
    role: &'a str,
    store: &'a str,
    bucket: &'a str,
    key: &'a str,
    #[serde(flatten)]
    content: Content<'a>,
}

#[derive(Serialize)]
#[serde(rename_all = "lowercase")]
enum Content<'a> {
    Version(&'a str),
    Etag(&'a str),
}

impl JobId {
    /// The job that a submission asks for.
    ///
    /// # Errors
    /// [`ErrorCode::Internal`] when an input has neither version nor ETag: pin it first
    /// ([`crate::store::Stores::pin`]).
    pub fn of(submission: &Submission) -> Result<Self> {
        let inputs =
            submission.inputs.iter().map(|input| identity(&input.role, &input.object)).collect::<Result<_>>()?;
        let identity = Identity {
            v: 1,
            inputs,
            destination: &submission.destination,
            handler: &submission.handler,
            params: &submission.params,
            rerun: submission.rerun.as_deref(),
        };
        let canonical = serde_json_canonicalizer::to_vec(&identity)
            .map_err(|e| JobError::new(ErrorCode::Internal, format!("The job has no canonical form: {e}.")))?;
        Ok(JobId(BASE32_NOPAD.encode(&Sha256::digest(&canonical)).to_ascii_lowercase()))
    }

    /// As a string.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

fn identity<'a>(role: &'a str, object: &'a ObjectRef) -> Result<IdentityInput<'a>> {
    let content = match (&object.version, &object.etag) {
        (Some(version), _) => Content::Version(version),
        (None, Some(etag)) => Content::Etag(etag),
        (None, None) => {
            let message = format!("{object} has neither version nor ETag: it must be looked up first.");
            return Err(JobError::new(ErrorCode::Internal, message));
        }
    };
    Ok(IdentityInput { role, store: &object.store, bucket: &object.bucket, key: &object.key, content })
}

impl fmt::Display for JobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for JobId {
    type Err = JobError;

    /// Job ids go into keys and paths: nothing but 52 base 32 characters is one.
    fn from_str(text: &str) -> Result<Self> {
        let good = text.len() == LENGTH && text.bytes().all(|c| matches!(c, b'a'..=b'z' | b'2'..=b'7'));
        if good {
            return Ok(JobId(text.to_owned()));
        }
        let shown = crate::store::shorten(text);
        Err(JobError::new(
            ErrorCode::MessageInvalid,
            format!("`{shown}` is no job id: copy it from `darkroom jobs list`."),
        ))
    }
}

impl TryFrom<String> for JobId {
    type Error = JobError;

    fn try_from(text: String) -> Result<Self> {
        text.parse()
    }
}

impl From<JobId> for String {
    fn from(id: JobId) -> Self {
        id.0
    }
}

impl RunId {
    /// A new one; later ones sort after earlier ones.
    #[must_use]
    #[allow(clippy::new_without_default, reason = "every call gives another value")]
    pub fn new() -> Self {
        RunId(uuid::Uuid::now_v7().simple().to_string())
    }

    /// As a string.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for RunId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
