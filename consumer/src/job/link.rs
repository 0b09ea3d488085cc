//! What a submission became, where its message does not say that each time: `<state>/submissions/<digest>.json`.
//!
//! A message may name an input without its content: a key, a URL. Its first delivery looks up what is there, and writes that
//! down here before it claims the job or tells anybody of it. Whoever gets the message again goes on from that: with the
//! same job, though the object was overwritten or has gone and the URL has expired, and with the same refusal, though the
//! input is there by now. A message that comes for the first time, or from the dead letters, is looked at anew.
//! Most messages are notifications and name the content themselves: they need no link.

use bytes::Bytes;
use darkroom_api::{ErrorCode, JobError, Result};
use data_encoding::BASE32_NOPAD;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::JobId;
use crate::store::{ObjectRef, Place, Store};
use crate::trigger::{InputRef, Submission};

/// Longest link, in bytes.
const MAX_BYTES: u64 = 1 << 20;

/// Where it is written what one submission became.
#[derive(Debug, Clone)]
pub struct Link {
    store: Store,
    bucket: String,
    key: String,
}

/// What a submission became.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Became {
    /// A job, perhaps not claimed yet.
    Job {
        /// The job.
        job_id: JobId,
        /// Its inputs, pinned. URLs have lost their queries.
        inputs: Vec<InputRef>,
    },
    /// None, and its sender was told why, or is about to be.
    Refused {
        /// Why.
        error: JobError,
    },
}

impl Link {
    /// The link of a submission as its message asks for it, not looked up yet; `None` where the message names all content.
    ///
    /// # Errors
    /// [`ErrorCode::Internal`] for what cannot be written as JSON.
    pub fn of(store: &Store, state: &Place, submission: &Submission) -> Result<Option<Self>> {
        if submission.inputs.iter().all(|input| input.object.is_pinned()) {
            return Ok(None);
        }
        let Submission { submission_id, handler, params, inputs, destination, rerun, .. } = submission;
        // Senders may name messages as they like, two of them alike: what is asked for belongs to the name.
        let asked = serde_json::to_vec(&(submission_id, handler, params, inputs, destination, rerun)).map_err(odd)?;
        let digest = BASE32_NOPAD.encode(&Sha256::digest(&asked)).to_ascii_lowercase();
        let key = state.key(&format!("submissions/{digest}.json"));
        Ok(Some(Link { store: store.clone(), bucket: state.bucket.clone(), key }))
    }

    /// What an earlier delivery found; `None` where none got that far.
    ///
    /// # Errors
    /// Codes of [`crate::store::error::classify`], [`ErrorCode::Internal`] for a link that is damaged.
    pub async fn read(&self) -> Result<Option<Became>> {
        let Some(bytes) = self.store.get_bytes(&self.bucket, &self.key, MAX_BYTES).await? else { return Ok(None) };
        serde_json::from_slice(&bytes).map(Some).map_err(|e| {
            let message = format!("s3://{}/{} is damaged ({e}): delete it to go on.", self.bucket, self.key);
            JobError::new(ErrorCode::Internal, message)
        })
    }

    /// Writes it down, over what an earlier asking became.
    ///
    /// # Errors
    /// Codes of [`crate::store::error::classify`].
    pub async fn write(&self, became: &Became) -> Result<()> {
        let json = serde_json::to_vec(became).map(Bytes::from).map_err(odd)?;
        self.store.put_bytes(&self.bucket, &self.key, json, "application/json").await
    }

    /// Forgets what an earlier asking became.
    ///
    /// # Errors
    /// Codes of [`crate::store::error::classify`].
    pub async fn remove(&self) -> Result<()> {
        self.store.delete(&self.bucket, &self.key).await
    }
}

impl Became {
    /// The job that a submission with pinned inputs asks for.
    ///
    /// # Errors
    /// As [`JobId::of`].
    pub fn job(submission: &Submission) -> Result<Self> {
        let inputs = submission.inputs.iter().map(InputRef::without_query).collect();
        Ok(Became::Job { job_id: JobId::of(submission)?, inputs })
    }
}

/// Pins a submission's inputs as they were pinned `then`, when the same was asked.
pub fn pin_as(submission: &mut Submission, then: Vec<InputRef>) {
    for (input, then) in submission.inputs.iter_mut().zip(then) {
        // Only the message has a URL's query.
        input.object = ObjectRef { key: std::mem::take(&mut input.object.key), ..then.object };
    }
}

fn odd(error: serde_json::Error) -> JobError {
    JobError::new(ErrorCode::Internal, format!("What the submission became cannot be written: {error}."))
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use serde_json::Map;

    use super::*;
    use crate::store::testing::TestStore;
    use crate::trigger::Origin;

    fn submission(object: ObjectRef) -> Submission {
        let place = |bucket: &str| Place { store: "main".into(), bucket: bucket.into(), prefix: "m/".into() };
        Submission {
            submission_id: "1".into(),
            origin: Origin::Message,
            handler: "matting".into(),
            params: Map::new(),
            inputs: vec![InputRef { role: "video".into(), object }],
            destination: place("results"),
            reference: None,
            deadline_secs: None,
            rerun: None,
            submitted_at: Timestamp::now(),
        }
    }

    #[tokio::test]
    async fn a_submission_is_what_it_became_first_and_nothing_of_a_url_but_its_path_is_kept() {
        let (running, state) =
            (TestStore::start(&["state"]).await, Place::for_writing("main", "s3://state/x").unwrap());
        let asked = submission(ObjectRef::new("https", "media.example.com", "/a.mp4?sig=s3cret"));
        let of = |submission: &Submission| Link::of(&running.store, &state, submission).unwrap();
        let link = of(&asked).unwrap();
        assert_eq!(link.read().await, Ok(None));

        let mut pinned = asked.clone();
        pinned.inputs[0].object =
            ObjectRef { etag: Some("e1".into()), size: Some(7), ..pinned.inputs[0].object.clone() };
        link.write(&Became::job(&pinned).unwrap()).await.unwrap();
        let mut again = Submission { submitted_at: Timestamp::UNIX_EPOCH, ..asked.clone() };
        let Some(Became::Job { job_id, inputs }) = of(&again).unwrap().read().await.unwrap() else { panic!("linked") };
        assert_eq!(inputs[0].object.url(), "https://media.example.com/a.mp4");
        pin_as(&mut again, inputs);
        assert_eq!((again.inputs, job_id), (pinned.inputs.clone(), JobId::of(&pinned).unwrap()));

        // Another's message of the same name, and one that says which content it means.
        let other = of(&Submission { handler: "vsr".into(), ..asked.clone() }).unwrap();
        assert_eq!(other.read().await, Ok(None));
        assert!(of(&pinned).is_none());

        let error = JobError::new(ErrorCode::InputNotFound, "said");
        link.write(&Became::Refused { error: error.clone() }).await.unwrap();
        assert_eq!(link.read().await, Ok(Some(Became::Refused { error })));
        link.remove().await.unwrap();
        assert_eq!(link.read().await, Ok(None));
    }
}
