//! Uploads that nobody told of: notifications get lost, or were not configured when the upload came.
//!
//! Where routes listen, objects are listed. Of each that a route takes, the notification is written as the store would have,
//! and read as every message is: so it names the same job, and that has a manifest, or a record that says what became of
//! it, or neither. Only then the notification is sent. Whoever does that twice, or beside the store, makes no second
//! result: it is one job.
//!
//! Only what an object holds now is looked at, not its earlier versions. A route whose parameters or output were changed
//! makes new jobs of all that it takes.

use std::sync::Arc;
use std::time::Duration;

use darkroom_api::{ErrorCode, JobError};
use futures::{StreamExt, stream};
use jiff::{SignedDuration, Timestamp};
use serde::Serialize;

use super::record::{Outcome, Record};
use super::{History, JobId, manifest};
use crate::queue::{self, MessageId, Queue, SendOptions};
use crate::store::{Listed, ObjectRef, Place, Stores};
use crate::trigger::{self, Routes, Submission, Trigger};

/// Younger objects are left alone: their notifications may be on their way.
pub const MIN_AGE: Duration = Duration::from_secs(15 * 60);
/// No pause between two attempts is longer: the limit of `worker.backoff_max_secs`.
const LONGEST_PAUSE: SignedDuration = SignedDuration::from_hours(12);
/// Objects that are looked at together.
const AT_ONCE: usize = 16;

/// Looks for uploads that nobody told of, and tells.
#[derive(Debug, Clone)]
pub struct Reconciler {
    /// The queue that jobs wait in.
    pub queue: Arc<dyn Queue>,
    /// All stores.
    pub stores: Stores,
    /// What becomes a job.
    pub routes: Routes,
    /// Where records are.
    pub state: Place,
    /// Younger objects are left alone.
    pub min_age: Duration,
}

/// What there is of one object.
#[derive(Debug, Clone, PartialEq)]
pub enum Finding {
    /// No route takes it, or it has gone meanwhile.
    NotTaken,
    /// Its notification may be on its way.
    Young,
    /// Its job has completed, whether the result is still there or not.
    Completed,
    /// Its job failed or was cancelled: `jobs redrive` runs it again.
    GivenUp,
    /// Its job is being worked on, or its message comes again for the next attempt.
    GoingOn,
    /// Nobody knew of it; now there is a message.
    Submitted {
        /// The job that it asks for.
        job: JobId,
        /// Name of the message.
        message_id: MessageId,
    },
    /// Its record cannot be read.
    Unclear(JobError),
}

/// How many objects were found in which way.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Report {
    /// [`Finding::Submitted`].
    pub submitted: u64,
    /// [`Finding::Completed`].
    pub completed: u64,
    /// [`Finding::GivenUp`].
    pub given_up: u64,
    /// [`Finding::GoingOn`].
    pub going_on: u64,
    /// [`Finding::Young`].
    pub young: u64,
    /// [`Finding::NotTaken`].
    pub not_taken: u64,
    /// [`Finding::Unclear`].
    pub unclear: u64,
}

/// Why the look ends early.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A store does not answer.
    #[error(transparent)]
    Job(#[from] JobError),
    /// The queue does not answer.
    #[error(transparent)]
    Queue(#[from] queue::Error),
}

impl Reconciler {
    /// Looks at everything in these places, and hands each object with its finding to `tell`, which may end it.
    ///
    /// # Errors
    /// [`Error`], or what `tell` says. What was submitted by then stays so.
    pub async fn places<E: From<Error>>(
        &self,
        places: &[Place],
        mut tell: impl FnMut(&ObjectRef, &Finding) -> Result<(), E>,
    ) -> Result<Report, E> {
        let mut report = Report::default();
        for place in places {
            let store = self.stores.get(&place.store).map_err(Error::from)?;
            let mut token = None;
            loop {
                let (page, next) = store.list_page(place, token).await.map_err(Error::from)?;
                let mut found = stream::iter(page).map(|listed| self.look(place, listed)).buffer_unordered(AT_ONCE);
                while let Some(found) = found.next().await {
                    let (object, finding) = found?;
                    report.count(&finding);
                    tell(&object, &finding)?;
                }
                token = next;
                if token.is_none() {
                    break;
                }
            }
        }
        Ok(report)
    }

    /// Looks wherever routes listen, each time that `every` has passed; for ever. `queues` are all that uploads may wait in.
    pub async fn watch(self, queues: Vec<Arc<dyn Queue>>, every: Duration) {
        // Workers that were started together do not all look at once.
        tokio::time::sleep(every.mul_f64(rand::random())).await;
        let places = self.routes.listened(None, "");
        loop {
            match self.pass(&queues, &places).await {
                Ok(Some(report)) => tracing::info!(?report, "uploads reconciled with jobs"),
                Ok(None) => tracing::debug!("uploads are not reconciled while messages wait"),
                Err(error) => tracing::warn!(%error, "uploads are not reconciled, trying again later"),
            }
            tokio::time::sleep(every).await;
        }
    }

    /// One look of a worker; `None` while messages wait: an upload without a record may only wait for its turn, and where
    /// the queue cannot tell that two messages are the same, each look would add another.
    async fn pass(&self, queues: &[Arc<dyn Queue>], places: &[Place]) -> Result<Option<Report>, Error> {
        for queue in queues {
            if queue.depth().await?.visible > 0 {
                return Ok(None);
            }
        }
        let tell = |object: &ObjectRef, finding: &Finding| {
            match finding {
                Finding::Submitted { job, .. } => {
                    tracing::info!(%object, job_id = %job, "an upload that no notification told of is submitted");
                }
                Finding::Unclear(error) => tracing::warn!(%object, %error, "an upload cannot be reconciled"),
                _ => {}
            }
            Ok::<_, Error>(())
        };
        self.places(places, tell).await.map(Some)
    }

    async fn look(&self, place: &Place, listed: Listed) -> Result<(ObjectRef, Finding), Error> {
        let object = ObjectRef::new(&place.store, &place.bucket, &listed.key);
        if !self.routes.takes(&place.store, &place.bucket, &listed.key) {
            return Ok((object, Finding::NotTaken));
        }
        let age = listed.modified.map(|modified| Timestamp::now().duration_since(modified));
        if age.is_some_and(|age| age.max(SignedDuration::ZERO) < signed(self.min_age)) {
            return Ok((object, Finding::Young));
        }
        match self.find(&object).await {
            // One damaged record is one object's own; a store that does not answer is the end.
            Err(Error::Job(error)) if error.code == ErrorCode::Internal => Ok((object, Finding::Unclear(error))),
            found => found.map(|finding| (object, finding)),
        }
    }

    async fn find(&self, object: &ObjectRef) -> Result<Finding, Error> {
        let Some(head) = self.stores.get(&object.store)?.head(object).await? else { return Ok(Finding::NotTaken) };
        let body = trigger::unheard(&object.bucket, &object.key, &head).to_string();
        let Some(submission) = self.submission(&body) else { return Ok(Finding::NotTaken) };
        let job = JobId::of(&submission)?;
        let results = self.stores.get(&submission.destination.store)?;
        if manifest::exists(results, &submission.destination, &job).await? {
            return Ok(Finding::Completed);
        }
        let record = Record::new(self.stores.get(&self.state.store)?.clone(), &self.state, job.clone());
        if let Some(known) = known(&record.history().await?, Timestamp::now(), self.min_age) {
            return Ok(known);
        }
        let options = SendOptions { dedup_id: Some(format!("reconcile-{job}")), ..SendOptions::default() };
        let message_id = self.queue.send(&body, options).await?;
        Ok(Finding::Submitted { job, message_id })
    }

    /// What a worker will make of the message; `None` where it will ignore or refuse it.
    fn submission(&self, body: &str) -> Option<Submission> {
        match trigger::parse(body.as_bytes()).ok()?.pop()? {
            Trigger::Upload(upload) => self.routes.route(&upload),
            Trigger::Job(_) | Trigger::Ignored(_) => None,
        }
    }
}

/// What a record says of a job without a manifest; `None` where nothing is known, or nothing more will come.
fn known(history: &History, now: Timestamp, patience: Duration) -> Option<Finding> {
    match history.ended().map(|end| end.outcome) {
        // Somebody took the result away, a lifecycle rule perhaps: that is no reason to make it again and again.
        Some(Outcome::Completed) => return Some(Finding::Completed),
        Some(_) => return Some(Finding::GivenUp),
        None if history.is_cancelled => return Some(Finding::GivenUp),
        // It was replaced when its turn came, and now the same content is back.
        None if history.last_attempt() == 0 || history.is_superseded() => return None,
        None => {}
    }
    // A worker that died leaves its message to the next one, and one that failed to the next attempt, unless the queue
    // has lost it.
    let retried = history.last_end().and_then(|end| end.ended_at.checked_add(LONGEST_PAUSE).ok());
    let expected = history.live_until().or(retried);
    let silent = expected.is_some_and(|time| now.duration_since(time) > signed(patience));
    (!silent).then_some(Finding::GoingOn)
}

fn signed(time: Duration) -> SignedDuration {
    SignedDuration::try_from(time).unwrap_or(SignedDuration::MAX)
}

impl Report {
    fn count(&mut self, finding: &Finding) {
        let count = match finding {
            Finding::NotTaken => &mut self.not_taken,
            Finding::Young => &mut self.young,
            Finding::Completed => &mut self.completed,
            Finding::GivenUp => &mut self.given_up,
            Finding::GoingOn => &mut self.going_on,
            Finding::Submitted { .. } => &mut self.submitted,
            Finding::Unclear(_) => &mut self.unclear,
        };
        *count += 1;
    }
}

#[cfg(test)]
mod tests;
