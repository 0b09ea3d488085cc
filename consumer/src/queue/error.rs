//! What can go wrong between us and a broker.

use darkroom_api::{ErrorCode, JobError};

/// `Result` with an [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why a verb failed. A stale receipt is no error: the verbs answer `Lost`.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The message is longer than the queue takes.
    #[error("the message has {bytes} bytes, the queue takes at most {max_bytes}")]
    TooLarge {
        /// Length of the message in bytes.
        bytes: usize,
        /// The limit in bytes.
        max_bytes: usize,
    },
    /// The queue has no room for another message.
    #[error("the queue is full: {0}")]
    Full(String),
    /// The broker does not answer, or answers that it cannot now. Worth a retry.
    #[error("the queue is not available: {0}")]
    Unavailable(#[source] anyhow::Error),
}

impl Error {
    /// An [`Error::Unavailable`] from what a client library reported.
    pub fn unavailable(source: impl Into<anyhow::Error>) -> Self {
        Error::Unavailable(source.into())
    }
}

impl From<Error> for JobError {
    fn from(error: Error) -> Self {
        let (code, remedy) = match &error {
            Error::TooLarge { .. } => (ErrorCode::MessageTooLarge, "put long parameters into an input object"),
            Error::Full(_) => (ErrorCode::StoreUnavailable, "start a worker, redrive dead letters, or make room"),
            Error::Unavailable(_) => (ErrorCode::StoreUnavailable, "check that the broker runs and can be reached"),
        };
        JobError::new(code, format!("{error}; {remedy}"))
    }
}
