//! Multipart uploads that were begun and neither completed nor aborted: their parts are paid for and nobody sees them.

use aws_sdk_s3::types::{EncodingType, MultipartUpload};
use darkroom_api::Result;
use jiff::Timestamp;

use super::error::Access;
use super::objects::{decoded, timestamp};
use super::{ObjectRef, Place, Store};

/// One of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unfinished {
    /// The key that it would have.
    pub key: String,
    /// Its name among the uploads of the key.
    pub upload_id: String,
    /// When it was begun, by the store's clock.
    pub begun: Option<Timestamp>,
}

/// Where a page of uploads ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Marker {
    key: Option<String>,
    upload_id: Option<String>,
}

impl Store {
    /// One page of the unfinished uploads of a place, and where it ended, if there is another one after it.
    ///
    /// # Errors
    /// Codes of [`super::error::classify`].
    pub async fn unfinished(&self, place: &Place, from: Option<Marker>) -> Result<(Vec<Unfinished>, Option<Marker>)> {
        let from = from.unwrap_or(Marker { key: None, upload_id: None });
        let page = self
            .attempt(Access::Read, place, || {
                let request = self.client.list_multipart_uploads().bucket(&place.bucket).prefix(&place.prefix);
                let request = request.set_key_marker(from.key.clone()).set_upload_id_marker(from.upload_id.clone());
                request.encoding_type(EncodingType::Url).set_request_payer(self.terms.payer()).send()
            })
            .await?;
        let is_encoded = page.encoding_type == Some(EncodingType::Url);
        let key = |key: String| if is_encoded { decoded(&key) } else { Some(key) };
        let upload = |upload: MultipartUpload| {
            let begun = upload.initiated.and_then(timestamp);
            Some(Unfinished { key: key(upload.key?)?, upload_id: upload.upload_id?, begun })
        };
        let next = Marker { key: page.next_key_marker.and_then(key), upload_id: page.next_upload_id_marker };
        let uploads = page.uploads.unwrap_or_default().into_iter().filter_map(upload).collect();
        // A store that says there is more and not where would be asked for the same page for ever.
        let has_more = page.is_truncated == Some(true) && next.key.is_some() && next != from;
        Ok((uploads, has_more.then_some(next)))
    }

    /// Gives an unfinished upload up; what is completed or gone meanwhile counts as given up.
    ///
    /// # Errors
    /// Codes of [`super::error::classify`].
    pub async fn give_up(&self, bucket: &str, upload: &Unfinished) -> Result<()> {
        let object = ObjectRef::new(self.name(), bucket, &upload.key);
        let call = || {
            let abort = self.client.abort_multipart_upload().bucket(bucket).key(&upload.key);
            abort.upload_id(&upload.upload_id).set_request_payer(self.terms.payer()).send()
        };
        match self.attempt(Access::Write, &object, call).await {
            Ok(_) => Ok(()),
            Err(failure) if failure.is_status(404) => Ok(()),
            Err(failure) => Err(failure.into()),
        }
    }
}
