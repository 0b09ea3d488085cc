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
#[serde(try_from = "String", into = "String")]
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

impl TryFrom<String> for RunId {
    type Error = String;

    /// Run ids go into keys: nothing but 32 hexadecimal digits is one.
    fn try_from(text: String) -> Result<Self, String> {
        let good = text.len() == 32 && text.bytes().all(|c| matches!(c, b'0'..=b'9' | b'a'..=b'f'));
        if good { Ok(RunId(text)) } else { Err("that is no run id".into()) }
    }
}

impl From<RunId> for String {
    fn from(id: RunId) -> Self {
        id.0
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;
    use crate::trigger::{InputRef, Origin};

    fn submission(params: Value) -> Submission {
        let object =
            |key: &str, etag: &str| ObjectRef { etag: Some(etag.into()), ..ObjectRef::new("main", "uploads", key) };
        Submission {
            submission_id: "s-1".into(),
            origin: Origin::Message,
            handler: "matting".into(),
            params: params.as_object().unwrap().clone(),
            inputs: vec![
                InputRef { role: "video".into(), object: object("in/a.mp4", "e1") },
                InputRef { role: "background".into(), object: object("in/b.png", "e2") },
            ],
            destination: Place { store: "main".into(), bucket: "results".into(), prefix: "matting/".into() },
            reference: Some("r".into()),
            deadline_secs: Some(60),
            rerun: None,
            submitted_at: jiff::Timestamp::UNIX_EPOCH,
        }
    }

    fn id(submission: &Submission) -> JobId {
        JobId::of(submission).unwrap()
    }

    /// Deployed records hang on this value: if it changes, old jobs run again.
    #[test]
    fn the_id_of_a_known_job_never_changes() {
        let known = submission(json!({"format": "webm-alpha", "quality": 0.5, "ratio": 1.0}));
        assert_eq!(id(&known).as_str(), "h6zlmgldq36lnk5bdcfx2ws73zmuxnnp4imex5fugwqbbhgq7i6a");
        let canonical = concat!(
            r#"{"destination":{"bucket":"results","prefix":"matting/","store":"main"},"handler":"matting","inputs":["#,
            r#"{"bucket":"uploads","etag":"e1","key":"in/a.mp4","role":"video","store":"main"},"#,
            r#"{"bucket":"uploads","etag":"e2","key":"in/b.png","role":"background","store":"main"}],"#,
            r#""params":{"format":"webm-alpha","quality":0.5,"ratio":1},"rerun":null,"v":1}"#
        );
        let digest = BASE32_NOPAD.encode(&Sha256::digest(canonical)).to_ascii_lowercase();
        assert_eq!(id(&known).as_str(), digest);
    }

    #[test]
    fn what_makes_a_job_changes_the_id_and_nothing_else_does() {
        let base = submission(json!({"format": "png"}));
        let changed = |change: fn(&mut Submission)| {
            let mut other = base.clone();
            change(&mut other);
            id(&other) != id(&base)
        };
        assert!(changed(|s| s.inputs.reverse()));
        assert!(changed(|s| s.inputs[0].object.etag = Some("e3".into())));
        assert!(changed(|s| s.inputs[0].object.version = Some("e1".into())));
        assert!(changed(|s| s.inputs[0].role = "image".into()));
        assert!(changed(|s| s.inputs[0].object.store = "other".into()));
        assert!(changed(|s| s.destination.prefix = "other/".into()));
        assert!(changed(|s| s.handler = "vsr".into()));
        assert!(changed(|s| s.rerun = Some(String::new())));
        assert!(changed(|s| drop(s.params.insert("speed".into(), json!(1)))));
        assert!(!changed(|s| s.reference = None));
        assert!(!changed(|s| s.submission_id = "s-2".into()));
        assert!(!changed(|s| s.deadline_secs = None));
        assert!(!changed(|s| s.origin = Origin::Upload));
        assert!(!changed(|s| s.inputs[0].object.size = Some(7)));
    }

    #[test]
    fn an_input_that_could_be_anything_has_no_id() {
        let mut loose = submission(json!({}));
        loose.inputs[1].object.etag = None;
        assert_eq!(JobId::of(&loose).unwrap_err().code, ErrorCode::Internal);
    }

    #[test]
    fn ids_are_read_back_and_nothing_else_is() {
        let known = id(&submission(json!({})));
        assert_eq!(known.as_str().parse::<JobId>().unwrap(), known);
        for bad in ["", "../../x", &known.as_str()[1..], &known.as_str().to_uppercase()] {
            assert!(bad.parse::<JobId>().is_err(), "{bad}");
        }
        let run = RunId::new();
        let json = serde_json::to_string(&run).unwrap();
        assert_eq!(serde_json::from_str::<RunId>(&json).unwrap(), run);
        assert!(serde_json::from_str::<RunId>(r#""..""#).is_err());
    }

    proptest! {
        #[test]
        fn the_order_of_names_is_irrelevant(mut entries in proptest::collection::hash_map("\\PC{1,8}", any::<i32>(), 1..8)) {
            let object = |entries: &[(String, i32)]| {
                let inner: Vec<String> = entries.iter().map(|(k, v)| format!("{}:{v}", json!(k))).collect();
                let text = format!("{{{0},\"nested params\":{{{0}}}}}", inner.join(","));
                serde_json::from_str::<Value>(&text).unwrap()
            };
            let mut list: Vec<_> = entries.drain().collect();
            let forward = id(&submission(object(&list)));
            list.reverse();
            prop_assert_eq!(id(&submission(object(&list))), forward);
        }
    }
}
