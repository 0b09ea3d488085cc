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

    /// Gives up all unfinished uploads of a place, and says how many there were. For places whose writers are done or have
    /// lost: an upload that goes on fails with its next part.
    ///
    /// # Errors
    /// Codes of [`super::error::classify`]; some may have been given up by then.
    pub async fn give_up_all(&self, place: &Place) -> Result<usize> {
        let (mut given_up, mut from) = (0, None);
        loop {
            let (uploads, next) = self.unfinished(place, from).await?;
            for upload in &uploads {
                self.give_up(&place.bucket, upload).await?;
            }
            given_up += uploads.len();
            from = next;
            if from.is_none() {
                return Ok(given_up);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::testing::TestStore;

    #[tokio::test]
    async fn uploads_to_the_place_end_and_others_go_on() {
        let running = TestStore::start(&["results"]).await;
        let store = &running.store;
        for key in ["job/run-1/0.mp4", "job/run-2/0.mp4", "other/run/0.mp4"] {
            store.client.create_multipart_upload().bucket("results").key(key).send().await.unwrap();
        }
        let place = Place { store: "main".into(), bucket: "results".into(), prefix: "job/".into() };
        assert_eq!(store.give_up_all(&place).await.unwrap(), 2);
        assert_eq!(store.give_up_all(&place).await.unwrap(), 0);
        let left = store.client.list_multipart_uploads().bucket("results").send().await.unwrap();
        assert_eq!(left.uploads().iter().filter_map(|upload| upload.key()).collect::<Vec<_>>(), ["other/run/0.mp4"]);
    }
}
