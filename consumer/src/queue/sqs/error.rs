//! What SQS refuses, in our words.

use std::error::Error as StdError;

use aws_sdk_sqs::config::http::HttpResponse;
use aws_sdk_sqs::error::{DisplayErrorContext, ProvideErrorMetadata, SdkError};

use crate::queue::Error;

/// Why a request failed.
#[derive(Debug)]
pub(super) enum Fault {
    /// The receipt handle is good for nothing any more.
    Stale,
    /// Anything else, with a sentence.
    Other(String),
}

impl Fault {
    /// Of a request that names no receipt.
    pub(super) fn new<E>(what: &str, error: &SdkError<E, HttpResponse>) -> Self
    where
        E: ProvideErrorMetadata + StdError + Send + Sync + 'static,
    {
        match code(error) {
            "" => Fault::Other(format!("{what}: {}", DisplayErrorContext(error))),
            code => Fault::Other(explain(what, code, error.message().unwrap_or_default())),
        }
    }

    /// Of a request that names one: there `InvalidParameterValue` means the receipt, or the 12 hours of its delivery.
    pub(super) fn of_receipt<E>(what: &str, error: &SdkError<E, HttpResponse>) -> Self
    where
        E: ProvideErrorMetadata + StdError + Send + Sync + 'static,
    {
        match code(error) {
            "ReceiptHandleIsInvalid" | "MessageNotInflight" | "InvalidIdFormat" | "InvalidParameterValue" => {
                Fault::Stale
            }
            _ => Fault::new(what, error),
        }
    }
}

/// `AWS.SimpleQueueService.MessageNotInflight` in one protocol is `MessageNotInflight` in the other.
fn code<E: ProvideErrorMetadata>(error: &SdkError<E, HttpResponse>) -> &str {
    error.code().and_then(|code| code.rsplit(['.', '#']).next()).unwrap_or_default()
}

/// A sentence with the remedy.
fn explain(what: &str, code: &str, message: &str) -> String {
    let kms = code.starts_with("Kms") || code.starts_with("AccessDenied") && message.to_lowercase().contains("kms");
    let remedy = match code {
        "NonExistentQueue" | "QueueDoesNotExist" => "create the queue, or correct its name and `aws.region`",
        "KmsDisabled" | "KmsInvalidState" => "enable the queue's KMS key",
        "KmsNotFound" => "the queue's KMS key is gone: set another one on the queue",
        "KmsThrottled" => "raise the queue's KmsDataKeyReusePeriodSeconds",
        _ if kms => {
            "allow this worker kms:Decrypt and kms:GenerateDataKey on the queue's KMS key, in the key's policy too"
        }
        "AccessDenied" | "AccessDeniedException" => {
            "allow this worker sqs:SendMessage, ReceiveMessage, DeleteMessage, ChangeMessageVisibility, GetQueueUrl and \
             GetQueueAttributes on the queue and its dead-letter queue"
        }
        "InvalidClientTokenId"
        | "SignatureDoesNotMatch"
        | "ExpiredToken"
        | "InvalidSecurity"
        | "UnrecognizedClientException" => "correct the credentials",
        "InvalidMessageContents" => "SQS takes only the characters of XML 1.0: remove control characters",
        _ => return format!("{what}: {code}: {message}"),
    };
    format!("{what}: {code}: {message}; {remedy}")
}

impl From<Fault> for Error {
    fn from(fault: Fault) -> Self {
        Error::unavailable(anyhow::Error::msg(match fault {
            Fault::Stale => "the receipt handle is stale".into(),
            Fault::Other(sentence) => sentence,
        }))
    }
}

/// Whether the request was done; false when its receipt is stale.
pub(super) fn unless_stale<T>(result: Result<T, Fault>) -> Result<bool, Error> {
    match result {
        Ok(_) => Ok(true),
        Err(Fault::Stale) => Ok(false),
        Err(other) => Err(other.into()),
    }
}
