//! From a message's bytes to submissions: [`parse`] detects the sender's shape and decodes keys as that sender encodes
//! them, [`Routes`] turn uploads and job messages into [`Submission`]s and refuse what the configuration does not allow.
//!
//! | sender | how it is known | keys |
//! |---|---|---|
//! | AWS S3 | `Records[].eventSource` = `aws:s3` | form-urlencoded: `+` is a space |
//! | MinIO | `minio:s3` | the same, with `/` encoded too |
//! | Ceph RGW | `ceph:s3` | raw: decoding would corrupt `+` and `%` |
//! | [`crate::job::reconcile`] | `darkroom:reconcile` | raw |
//! | EventBridge | `detail-type` and `detail` | raw |
//! | SNS | `Type` and `Message`, a string that holds one of the above | as the inner message |
//! | job message | `schema` = `darkroom.job.v1` | URLs, raw |

mod accept;
mod json;
mod notification;
mod parse;
mod route;
#[cfg(test)]
mod route_tests;
mod rules;
mod submission;
#[cfg(test)]
mod tests;

pub use notification::unheard;
pub use parse::{MAX_MESSAGE_BYTES, parse, parse_within};
pub use route::Routes;
pub use rules::{DestinationConfig, RouteConfig, RouteRules, SourceConfig, taken_by};
pub use submission::{InputRef, Origin, Submission};

use jiff::Timestamp;

use crate::job::JobMessage;

/// One thing a message asks for.
#[derive(Debug, Clone, PartialEq)]
pub enum Trigger {
    /// An object was created.
    Upload(Upload),
    /// Somebody asks for a job.
    Job(Box<JobMessage>),
    /// Not for us: to be acknowledged and forgotten.
    Ignored(Ignored),
}

/// An object was created, says a store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Upload {
    /// Who tells: the store, or the reconciler in its place.
    pub origin: Origin,
    /// What the sender calls it, e.g. `ObjectCreated:Put`.
    pub event_name: String,
    /// Bucket.
    pub bucket: String,
    /// Key, decoded.
    pub key: String,
    /// Entity tag without quotes.
    pub etag: Option<String>,
    /// Version id, in versioned buckets.
    pub version: Option<String>,
    /// Size in bytes.
    pub size: Option<u64>,
    /// Orders the events of one key.
    pub sequencer: Option<String>,
    /// The store's request id and the sequencer: the same for every delivery of this event.
    pub submission_id: String,
    /// When the store saw it.
    pub event_time: Option<Timestamp>,
}

impl Upload {
    /// Whether this event is of the same key and later than the other, as far as sequencers tell.
    ///
    /// They are hexadecimal strings of changing length: S3 says to pad the shorter one with zeros on the right and to
    /// compare as text.
    pub fn supersedes(&self, other: &Upload) -> bool {
        let (Some(mine), Some(theirs)) = (&self.sequencer, &other.sequencer) else { return false };
        let length = mine.len().max(theirs.len());
        let padded = |text: &str| format!("{:0<length$}", text.to_ascii_uppercase());
        (&self.bucket, &self.key) == (&other.bucket, &other.key) && padded(mine) > padded(theirs)
    }
}

/// Something in a message that is not for us.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ignored {
    /// Why.
    pub reason: IgnoredReason,
    /// The object it was about, or the kind of message.
    pub about: String,
}

/// Why something in a message is not for us.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum IgnoredReason {
    /// `s3:TestEvent`, sent when notifications are configured.
    TestEvent,
    /// An object was deleted.
    Deleted,
    /// Some other event: tags, restore, replication, access lists.
    NotCreated,
    /// The key ends in `/`: a console's idea of a folder.
    Folder,
    /// A later record of the same message is about the same key.
    Superseded,
    /// SNS asks to confirm or tells the end of a subscription; an operator has to.
    Subscription,
    /// A notification without records.
    Empty,
    /// An event of ours, sent to where messages come from: taken for a message, it would fail, and make another event.
    OwnEvent,
}
