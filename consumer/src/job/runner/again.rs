//! A message that comes again and whose inputs cannot be had any more, though its job was claimed before, and perhaps told
//! of: it has not failed for that. Its record has the inputs as they were then.

use std::cmp::Reverse;

use darkroom_api::Result;
use futures::{StreamExt, TryStreamExt, stream};

use crate::job::record::Attempt;
use crate::store::Listed;
use crate::trigger::Submission;

use super::Journey;

/// Objects of all records that are looked at.
const MAX_OBJECTS: usize = 50_000;
/// Attempts of these that are read, the latest ones.
const MAX_ATTEMPTS: usize = 1000;
/// Longest attempt, in bytes.
const MAX_BYTES: u64 = 1 << 20;
/// Attempts that are read at once.
const AT_ONCE: usize = 16;

impl Journey {
    /// What a submission asked for when it was claimed, its inputs pinned; none where no attempt that is found served it.
    /// A look at every record: for the rare case only. Of inputs from the web records do not know all.
    ///
    /// # Errors
    /// Codes of [`crate::store::error::classify`].
    pub(super) async fn claimed_before(&self, submission: &Submission) -> Result<Option<Submission>> {
        if submission.inputs.iter().any(|input| input.object.is_web()) {
            return Ok(None);
        }
        let state = &self.rules.state;
        let store = self.stores.get(&state.store)?;
        let (listed, _is_cut) = store.list_first(state, MAX_OBJECTS).await?;
        let mut attempts: Vec<Listed> = listed.into_iter().filter(|object| is_attempt(&object.key)).collect();
        attempts.sort_by_key(|object| Reverse(object.modified));
        attempts.truncate(MAX_ATTEMPTS);
        let read = |object: Listed| async move { store.get_bytes(&state.bucket, &object.key, MAX_BYTES).await };
        let mut read = stream::iter(attempts).map(read).buffered(AT_ONCE);
        while let Some(bytes) = read.try_next().await? {
            // What is damaged is another job's business.
            let attempt = bytes.and_then(|bytes| serde_json::from_slice::<Attempt>(&bytes).ok());
            if let Some(attempt) = attempt.filter(|a| a.submission.submission_id == submission.submission_id) {
                return Ok(Some(attempt.submission));
            }
        }
        Ok(None)
    }
}

fn is_attempt(key: &str) -> bool {
    key.rsplit('/').next().is_some_and(|name| name.starts_with("attempt-") && name.ends_with(".json"))
}
