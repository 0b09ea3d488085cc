//! Multipart uploads that nobody will finish, because their process died.

use darkroom_api::Result;

use super::error::Access;
use super::{Place, Store};

/// Listings of one clearance. Each has up to a thousand uploads, where there is one as a rule.
const MAX_LISTINGS: usize = 10;

impl Store {
    /// Ends all unfinished multipart uploads to a place, and says how many there were. For places whose writers are done
    /// or have lost: an upload that goes on fails with its next part.
    ///
    /// # Errors
    /// Codes of [`super::error::classify`]; some may have been ended by then.
    pub async fn abort_uploads(&self, place: &Place) -> Result<usize> {
        let mut ended = 0;
        for _ in 0..MAX_LISTINGS {
            let list = || self.client.list_multipart_uploads().bucket(&place.bucket).prefix(&place.prefix).send();
            let page = self.attempt(Access::Read, place, list).await?;
            let uploads = page.uploads.unwrap_or_default();
            let named = uploads.iter().filter_map(|upload| upload.key.as_deref().zip(upload.upload_id.as_deref()));
            for (key, id) in named {
                let abort = || self.client.abort_multipart_upload().bucket(&place.bucket).key(key).upload_id(id).send();
                match self.attempt(Access::Write, place, abort).await {
                    Ok(_) => ended += 1,
                    // Its own process was faster.
                    Err(failure) if failure.is_status(404) => {}
                    Err(failure) => return Err(failure.into()),
                }
            }
            if page.is_truncated != Some(true) {
                break;
            }
        }
        Ok(ended)
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
        assert_eq!(store.abort_uploads(&place).await.unwrap(), 2);
        assert_eq!(store.abort_uploads(&place).await.unwrap(), 0);
        let left = store.client.list_multipart_uploads().bucket("results").send().await.unwrap();
        assert_eq!(left.uploads().iter().filter_map(|upload| upload.key()).collect::<Vec<_>>(), ["other/run/0.mp4"]);
    }
}
