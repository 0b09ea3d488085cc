//! What an upload says about its object and a download repeats.

use std::collections::HashMap;

use s3s::{S3Result, s3_error};
use serde::{Deserialize, Serialize};

/// S3's limit on user metadata, in bytes of names and values.
const MAX_METADATA_BYTES: usize = 2 << 10;
/// Bound of all of it, in bytes of JSON.
const MAX_BYTES: usize = 16 << 10;

/// Kept with an object, as JSON in its row.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Headers {
    pub content_type: Option<String>,
    pub cache_control: Option<String>,
    pub content_disposition: Option<String>,
    pub content_encoding: Option<String>,
    pub content_language: Option<String>,
    pub metadata: HashMap<String, String>,
}

/// Takes the fields out of a request's input; several inputs have them.
macro_rules! headers_of {
    ($input:expr) => {
        $crate::store::embedded::headers::Headers {
            content_type: $input.content_type.take(),
            cache_control: $input.cache_control.take(),
            content_disposition: $input.content_disposition.take(),
            content_encoding: $input.content_encoding.take(),
            content_language: $input.content_language.take(),
            metadata: $input.metadata.take().unwrap_or_default().into_iter().collect(),
        }
    };
}
pub(super) use headers_of;

impl Headers {
    /// Checks the limits, and forgets what only the transfer needed.
    pub fn checked(mut self) -> S3Result<Self> {
        if let Some(encoding) = self.content_encoding.take() {
            let codings = encoding.split(',').map(str::trim);
            let kept: Vec<_> = codings.filter(|c| !c.is_empty() && !c.eq_ignore_ascii_case("aws-chunked")).collect();
            self.content_encoding = (!kept.is_empty()).then(|| kept.join(","));
        }
        let metadata_bytes: usize = self.metadata.iter().map(|(name, value)| name.len() + value.len()).sum();
        if metadata_bytes > MAX_METADATA_BYTES || self.to_json().len() > MAX_BYTES {
            return Err(s3_error!(MetadataTooLarge, "User metadata may have at most 2 KiB."));
        }
        Ok(self)
    }

    /// As it stands in the row.
    pub fn to_json(&self) -> String {
        serde_json::json!(self).to_string()
    }

    /// From the row.
    pub fn from_json(json: &str) -> Self {
        serde_json::from_str(json).unwrap_or_default()
    }

    /// The media type, S3's default when none was given.
    pub fn content_type(&self) -> String {
        self.content_type.clone().unwrap_or_else(|| "binary/octet-stream".into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn encoding(value: &str) -> Option<String> {
        Headers { content_encoding: Some(value.into()), ..Headers::default() }.checked().unwrap().content_encoding
    }

    #[test]
    fn the_transfer_encoding_is_not_kept() {
        assert_eq!(encoding("aws-chunked"), None);
        assert_eq!(encoding("gzip, aws-chunked"), Some("gzip".into()));
        assert_eq!(encoding("gzip"), Some("gzip".into()));
    }

    #[test]
    fn metadata_is_bounded() {
        let metadata = HashMap::from([("k".to_owned(), "v".repeat(MAX_METADATA_BYTES))]);
        assert!(Headers { metadata, ..Headers::default() }.checked().is_err());
    }
}
