//! One table from what a store answers to the closed codes of [`JobError`].

use std::error::Error;
use std::fmt::Display;

use aws_credential_types::provider::error::CredentialsError;
use aws_sdk_s3::config::http::HttpResponse;
use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};
use darkroom_api::{ErrorCode, JobError};

/// What the request was for: the same answer means different things to a reader and to a writer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// HEAD, GET, LIST.
    Read,
    /// PUT, multipart, DELETE.
    Write,
}

impl Access {
    fn verb(self) -> &'static str {
        match self {
            Access::Read => "read",
            Access::Write => "write",
        }
    }

    /// What a worker's key must be allowed for it. Without leave to list, a store hides whether an object is there.
    fn permissions(self) -> &'static str {
        match self {
            Access::Read => "`s3:GetObject` (`s3:GetObjectVersion` too where it keeps versions) and `s3:ListBucket`",
            Access::Write => "`s3:PutObject`, `s3:DeleteObject` and `s3:AbortMultipartUpload`",
        }
    }
}

/// How far the request came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reach {
    /// No answer: connection, name, TLS, time-out, or an answer that is not S3's.
    NoAnswer,
    /// Not sent: we have no credentials.
    NoCredentials,
    /// Not sent: the SDK cannot build it.
    NotBuilt,
    /// An answer with this status.
    Status(u16),
}

/// A failed request, with what callers decide by.
#[derive(Debug)]
pub struct Failure {
    /// How far it came.
    pub reach: Reach,
    /// The store's own code, e.g. `NoSuchKey`.
    pub store_code: Option<String>,
    /// What the user sees.
    pub error: JobError,
}

impl From<Failure> for JobError {
    fn from(failure: Failure) -> Self {
        failure.error
    }
}

impl Failure {
    /// Whether the store answered with this status.
    pub fn is_status(&self, status: u16) -> bool {
        self.reach == Reach::Status(status)
    }

    /// Whether another try may succeed.
    pub fn is_transient(&self) -> bool {
        self.error.code == ErrorCode::StoreUnavailable
    }

    /// From the SDK's error about `what` (an object or a place) in the store of this name.
    pub fn new<E>(store: &str, access: Access, what: &dyn Display, error: &SdkError<E, HttpResponse>) -> Self
    where
        E: ProvideErrorMetadata + Error + 'static,
    {
        let reach = reach(error);
        let service = error.as_service_error().map(ProvideErrorMetadata::meta);
        let store_code = service.and_then(|meta| meta.code()).map(str::to_owned);
        let code = classify(access, reach, store_code.as_deref());
        let said = match (&store_code, reach) {
            (Some(code), _) => code.clone(),
            (None, Reach::Status(status)) => format!("HTTP {status}"),
            (None, _) => innermost(error),
        };
        let message = match code {
            ErrorCode::AccessDenied => {
                let remedy = remedy(access, reach, store_code.as_deref());
                format!("The store `{store}` does not let the worker {} {what} ({said}): {remedy}.", access.verb())
            }
            _ => sentence(code, what, &said),
        };
        let error = JobError::new(code, message);
        Failure { reach, store_code, error }
    }
}

fn reach<E: Error + 'static>(error: &SdkError<E, HttpResponse>) -> Reach {
    match error {
        SdkError::ServiceError(e) => Reach::Status(e.raw().status().as_u16()),
        // An answer that cannot be understood, such as a proxy's page: its status still tells more than nothing.
        SdkError::ResponseError(e) if !e.raw().status().is_success() => Reach::Status(e.raw().status().as_u16()),
        SdkError::ConstructionFailure(_) if !lacks_credentials(error) => Reach::NotBuilt,
        _ if lacks_credentials(error) => Reach::NoCredentials,
        _ => Reach::NoAnswer,
    }
}

pub(super) fn chain<'a>(error: &'a (dyn Error + 'static)) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    let mut next = Some(error);
    std::iter::from_fn(move || {
        let this = next?;
        next = this.source();
        Some(this)
    })
}

fn lacks_credentials(error: &(dyn Error + 'static)) -> bool {
    chain(error).any(|e| e.is::<CredentialsError>())
}

pub(super) fn innermost(error: &(dyn Error + 'static)) -> String {
    chain(error).last().map(ToString::to_string).unwrap_or_default()
}

/// The table.
pub fn classify(access: Access, reach: Reach, store_code: Option<&str>) -> ErrorCode {
    use Access::{Read, Write};
    use ErrorCode as Code;
    let status = match reach {
        Reach::NoAnswer => return Code::StoreUnavailable,
        Reach::NoCredentials => return Code::AccessDenied,
        Reach::NotBuilt => return Code::Internal,
        Reach::Status(status) => status,
    };
    match (access, status, store_code) {
        // Temporary credentials are renewed, clocks are set, and slow uploads repeated.
        (_, _, Some("ExpiredToken" | "RequestTimeTooSkewed" | "RequestTimeout" | "SlowDown")) => Code::StoreUnavailable,
        (_, _, Some("InvalidAccessKeyId" | "SignatureDoesNotMatch" | "InvalidToken")) => Code::AccessDenied,
        // What arrived is not what was sent: the network's doing, or the store's.
        (
            Write,
            400,
            Some("BadDigest" | "XAmzContentSHA256Mismatch" | "XAmzContentChecksumMismatch" | "IncompleteBody"),
        ) => Code::StoreUnavailable,
        // An archived object answers 403 as well, but no permission will help.
        (Read, _, Some("InvalidObjectState")) => Code::InputNotFound,
        (_, 401 | 403, _) => Code::AccessDenied,
        (Read, 404 | 410, _) => Code::InputNotFound,
        (Write, 404 | 410, Some("NoSuchUpload")) => Code::StoreUnavailable,
        (Write, 404 | 410, _) => Code::DestinationMissing,
        (Read, 412, _) => Code::InputChanged,
        (_, 501, _) => Code::Internal,
        (_, 408 | 409 | 429 | 500.., _) => Code::StoreUnavailable,
        _ => Code::Internal,
    }
}

/// What to do about a refusal: which key is wrong, or what it may not do. HEAD has no body that would tell.
fn remedy(access: Access, reach: Reach, store_code: Option<&str>) -> String {
    let chain = "a store without keys of its own takes the AWS credentials of the worker's environment";
    let permissions = access.permissions();
    match (reach, store_code) {
        (Reach::NoCredentials, _) => "there are no keys; set `access_key` and `secret_key` of the store, or give the \
             worker's environment AWS credentials"
            .into(),
        (_, Some("InvalidAccessKeyId")) => {
            format!("it does not know the access key; correct `access_key` of the store ({chain})")
        }
        (_, Some("SignatureDoesNotMatch")) => {
            format!("the secret key does not belong to the access key; correct `secret_key` of the store ({chain})")
        }
        (_, Some("AccessDenied")) => format!(
            "its key lacks a permission; allow it {permissions} on the bucket, and the use of the bucket's encryption \
             key if it has one"
        ),
        _ => format!(
            "check `access_key` and `secret_key` of the store ({chain}), and that they are allowed {permissions} on the \
             bucket"
        ),
    }
}

fn sentence(code: ErrorCode, what: &dyn Display, said: &str) -> String {
    match code {
        ErrorCode::InputNotFound => {
            format!(
                "{what} is not there ({said}): it was deleted, archived or never uploaded; upload it and submit again."
            )
        }
        ErrorCode::InputChanged => format!("{what} changed after the job was submitted: submit it again."),
        ErrorCode::DestinationMissing => format!("The bucket of {what} does not exist ({said}): create it."),
        ErrorCode::StoreUnavailable => {
            format!("The store does not answer for {what} ({said}): check its endpoint and the network.")
        }
        _ => format!("The store does not accept the request for {what} ({said}): check the store's configuration."),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_answer_has_its_code() {
        use Access::{Read, Write};
        use ErrorCode as Code;
        let table = [
            (Read, Reach::NoAnswer, None, Code::StoreUnavailable),
            (Write, Reach::NoAnswer, None, Code::StoreUnavailable),
            (Read, Reach::NoCredentials, None, Code::AccessDenied),
            (Read, Reach::NotBuilt, None, Code::Internal),
            (Read, Reach::Status(404), None, Code::InputNotFound),
            (Read, Reach::Status(404), Some("NoSuchKey"), Code::InputNotFound),
            (Read, Reach::Status(404), Some("NoSuchVersion"), Code::InputNotFound),
            (Read, Reach::Status(404), Some("NoSuchBucket"), Code::InputNotFound),
            (Read, Reach::Status(410), None, Code::InputNotFound),
            (Read, Reach::Status(403), Some("InvalidObjectState"), Code::InputNotFound),
            (Read, Reach::Status(403), Some("AccessDenied"), Code::AccessDenied),
            (Write, Reach::Status(403), Some("AccessDenied"), Code::AccessDenied),
            (Read, Reach::Status(401), None, Code::AccessDenied),
            (Read, Reach::Status(403), Some("SignatureDoesNotMatch"), Code::AccessDenied),
            (Read, Reach::Status(403), Some("RequestTimeTooSkewed"), Code::StoreUnavailable),
            (Read, Reach::Status(400), Some("ExpiredToken"), Code::StoreUnavailable),
            (Write, Reach::Status(400), Some("RequestTimeout"), Code::StoreUnavailable),
            (Write, Reach::Status(400), Some("BadDigest"), Code::StoreUnavailable),
            (Write, Reach::Status(404), Some("NoSuchBucket"), Code::DestinationMissing),
            (Write, Reach::Status(404), Some("NoSuchUpload"), Code::StoreUnavailable),
            (Read, Reach::Status(412), Some("PreconditionFailed"), Code::InputChanged),
            (Write, Reach::Status(409), Some("ConditionalRequestConflict"), Code::StoreUnavailable),
            (Read, Reach::Status(408), None, Code::StoreUnavailable),
            (Read, Reach::Status(429), None, Code::StoreUnavailable),
            (Read, Reach::Status(500), Some("InternalError"), Code::StoreUnavailable),
            (Read, Reach::Status(502), None, Code::StoreUnavailable),
            (Write, Reach::Status(503), Some("SlowDown"), Code::StoreUnavailable),
            (Write, Reach::Status(504), None, Code::StoreUnavailable),
            (Write, Reach::Status(507), Some("StorageFull"), Code::StoreUnavailable),
            (Write, Reach::Status(501), Some("NotImplemented"), Code::Internal),
            (Read, Reach::Status(301), Some("PermanentRedirect"), Code::Internal),
            (Write, Reach::Status(400), Some("InvalidRequest"), Code::Internal),
            (Write, Reach::Status(400), Some("KeyTooLongError"), Code::Internal),
        ];
        for (access, reach, code, expected) in table {
            assert_eq!(classify(access, reach, code), expected, "{access:?} {reach:?} {code:?}");
        }
    }
}
