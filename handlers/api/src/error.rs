//! The closed set of error codes, and what each means for the delivery that met it.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// `Result` with a [`JobError`].
pub type Result<T, E = JobError> = std::result::Result<T, E>;

/// What happens to the delivery (README, "The journey of a message").
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum ErrorClass {
    /// Worth another try: released with backoff, dead-lettered at `max_attempts`.
    Transient,
    /// The same input would fail again: failed event, dead-lettered at once.
    Permanent,
    /// A user asked for it: cancelled event, ack.
    Cancelled,
    /// Shutdown or spot notice: released now, not counted as an attempt.
    Interrupted,
    /// Somebody else holds the delivery: stop, drop the run, settle nothing.
    LeaseLost,
    /// The executor crashed, hung or leaked: it is replaced, the delivery released as [`ErrorClass::Transient`].
    ExecutorLost,
}

macro_rules! codes {
    ($($(#[$doc:meta])* $variant:ident = $text:literal => $class:ident,)+) => {
        /// Why a job did not complete. Closed: clients may match on it; new codes come with a new minor version.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
        pub enum ErrorCode {
            $($(#[$doc])* #[serde(rename = $text)] $variant,)+
        }

        impl ErrorCode {
            /// Every code there is.
            pub const ALL: &'static [ErrorCode] = &[$(ErrorCode::$variant),+];

            /// The code as it stands in events and manifests, e.g. `input-truncated`.
            pub const fn as_str(self) -> &'static str {
                match self { $(ErrorCode::$variant => $text),+ }
            }

            /// What happens to the delivery.
            pub const fn class(self) -> ErrorClass {
                match self { $(ErrorCode::$variant => ErrorClass::$class),+ }
            }
        }
    };
}

codes! {
    /// The message is not JSON, not a known shape, or has unknown fields.
    MessageInvalid = "message-invalid" => Permanent,
    /// The message is longer than the limit.
    MessageTooLarge = "message-too-large" => Permanent,
    /// No handler has that name.
    HandlerUnknown = "handler-unknown" => Permanent,
    /// A parameter is unknown, of the wrong type or out of its range.
    ParamsInvalid = "params-invalid" => Permanent,
    /// An input role is missing, unknown, or has too many inputs.
    InputsInvalid = "inputs-invalid" => Permanent,
    /// The input lies outside the allowed sources.
    SourceForbidden = "source-forbidden" => Permanent,
    /// The output lies outside the allowed destinations, or where a route listens.
    DestinationForbidden = "destination-forbidden" => Permanent,
    /// The bucket for the output does not exist.
    DestinationMissing = "destination-missing" => Permanent,
    /// The store refuses our credentials for this object.
    AccessDenied = "access-denied" => Permanent,

    /// The input does not exist (any more).
    InputNotFound = "input-not-found" => Permanent,
    /// The object changed since the message was written.
    InputChanged = "input-changed" => Permanent,
    /// The input has no bytes.
    InputEmpty = "input-empty" => Permanent,
    /// The input is larger, longer or has more pixels than the limits allow.
    InputTooLarge = "input-too-large" => Permanent,
    /// The picture is smaller than the handler can work on.
    InputTooSmall = "input-too-small" => Permanent,
    /// The file ends before its content does, and nothing can be decoded.
    InputTruncated = "input-truncated" => Permanent,
    /// The file is damaged and cannot be decoded.
    InputCorrupt = "input-corrupt" => Permanent,
    /// The file is no media file.
    InputNotMedia = "input-not-media" => Permanent,
    /// The file has no video stream (audio only, for example).
    InputNoVideo = "input-no-video" => Permanent,
    /// A picture was given where a video is needed, or the other way round.
    InputWrongKind = "input-wrong-kind" => Permanent,
    /// Codec, pixel format or colour that this build cannot handle.
    InputUnsupported = "input-unsupported" => Permanent,
    /// High dynamic range where the output cannot hold it and no tone mapping was asked for.
    InputHdr = "input-hdr" => Permanent,

    /// A model is not in the cache.
    ModelMissing = "model-missing" => Permanent,
    /// A model file is damaged, or its inputs and outputs have an unknown shape.
    ModelInvalid = "model-invalid" => Permanent,
    /// A library the handler needs is not installed.
    RuntimeMissing = "runtime-missing" => Permanent,
    /// The job's `deadline_secs` is used up.
    DeadlineExceeded = "deadline-exceeded" => Permanent,
    /// One run took longer than `run_limit_secs`.
    RunLimitExceeded = "run-limit-exceeded" => Permanent,

    /// The object store, or a host, does not answer or answers 5xx.
    StoreUnavailable = "store-unavailable" => Transient,
    /// Not enough room on the scratch disk.
    ScratchFull = "scratch-full" => Transient,
    /// The device is busy or does not answer.
    DeviceBusy = "device-busy" => Transient,
    /// Not enough memory, even with the smallest batch.
    OutOfMemory = "out-of-memory" => Transient,
    /// An event sink that is required did not confirm.
    EventUndelivered = "event-undelivered" => Transient,
    /// A fault of ours: a bug, or a state that should not be.
    Internal = "internal" => Transient,

    /// The executor ended without a word (segfault, abort, killed).
    ExecutorCrashed = "executor-crashed" => ExecutorLost,
    /// The pipeline made no progress for its stage's `stall_secs`.
    ExecutorHung = "executor-hung" => ExecutorLost,
    /// The executor went over its memory limit.
    ExecutorOutOfMemory = "executor-out-of-memory" => ExecutorLost,
    /// The executor said something that the protocol does not allow.
    ExecutorProtocol = "executor-protocol" => ExecutorLost,

    /// Cancelled by a user.
    Cancelled = "cancelled" => Cancelled,
    /// The worker shuts down.
    Interrupted = "interrupted" => Interrupted,
    /// The lease on the delivery is lost.
    LeaseLost = "lease-lost" => LeaseLost,
}

impl std::fmt::Display for ErrorCode {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Why a job did not complete: a code for machines, a sentence for people that names the remedy, and detail for both.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema, thiserror::Error)]
#[error("{code}: {message}")]
pub struct JobError {
    /// Closed code.
    pub code: ErrorCode,
    /// What happened and what to do about it; no secrets, no paths of the worker.
    pub message: String,
    /// Numbers and names behind the message.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<serde_json::Value>,
}

impl JobError {
    /// An error without detail.
    pub fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        JobError { code, message: message.into(), detail: None }
    }

    /// The same with detail.
    #[must_use]
    pub fn with_detail(mut self, detail: serde_json::Value) -> Self {
        self.detail = Some(detail);
        self
    }

    /// What happens to the delivery.
    pub fn class(&self) -> ErrorClass {
        self.code.class()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_kebab_case_unique_and_serialise_as_their_text() {
        let mut seen = std::collections::HashSet::new();
        for code in ErrorCode::ALL {
            assert!(code.as_str().chars().all(|c| c.is_ascii_lowercase() || c == '-'), "{code}");
            assert!(seen.insert(code.as_str()), "{code} twice");
            assert_eq!(serde_json::to_value(code).unwrap(), serde_json::json!(code.as_str()));
        }
    }
}
