//! Which job a submission asks for.

use darkroom_api::{ErrorClass, Result};

use crate::job::link::{Became, Link, pin_as};
use crate::job::record::Record;
use crate::job::{JobId, RunId};
use crate::queue::lease::Lease;
use crate::store::Store;
use crate::trigger::Submission;

use super::fetch::Early;
use super::{Journey, Stop};

/// A job, before it is claimed.
pub(super) struct Identified {
    pub(super) job: JobId,
    pub(super) record: Record,
    pub(super) results: Store,
    pub(super) early: Option<Early>,
}

impl Journey {
    /// Where it stands, or is to stand, what the submission became; none where its message says that.
    pub(super) fn link(&self, submission: &Submission) -> Result<Option<Link>> {
        let state = &self.rules.state;
        Link::of(self.stores.get(&state.store)?, state, submission)
    }

    /// For a first delivery that goes back before it has looked at its inputs: the next one is to do so, and not to take
    /// over what the message became when it was sent before, if it was.
    pub(super) async fn forget(&self, lease: &Lease, link: Option<&Link>) {
        if let Some(link) = link.filter(|_| lease.receives() == 1)
            && let Err(error) = link.remove().await
        {
            tracing::warn!(%error, message_id = %lease.message_id(), "what the message became before is not forgotten");
        }
    }

    /// Which job it is, and where its record and results are. A message that comes again is the job that it was.
    ///
    /// # Errors
    /// Those of [`crate::store::Stores::pin`], of early fetches and of [`Link::read`]; what the submission was refused for
    /// before.
    pub(super) async fn identify(
        &self,
        lease: &Lease,
        link: Option<&Link>,
        submission: &mut Submission,
        run_id: &RunId,
        stop: &Stop,
    ) -> Result<Identified> {
        let before = match link.filter(|_| lease.receives() > 1) {
            Some(link) => stop.unless(link.read()).await?,
            None => None,
        };
        let (job, early) = match before {
            Some(Became::Refused { error }) => return Err(error),
            Some(Became::Job { job_id, inputs }) => {
                pin_as(submission, inputs);
                (job_id, None)
            }
            None => {
                self.pin(submission, stop).await?;
                let early = self.fetch_early(submission, run_id, stop).await?;
                if let Some(link) = link {
                    stop.unless(link.write(&Became::job(submission)?)).await?;
                }
                (JobId::of(submission)?, early)
            }
        };
        let state = self.stores.get(&self.rules.state.store)?.clone();
        let results = self.stores.get(&submission.destination.store)?.clone();
        Ok(Identified { record: Record::new(state, &self.rules.state, job.clone()), job, results, early })
    }

    /// Looks up the content and the size of inputs whose message does not tell them.
    async fn pin(&self, submission: &mut Submission, stop: &Stop) -> Result<()> {
        for input in &mut submission.inputs {
            input.object = stop.unless(self.stores.pin(&input.object)).await?;
            if input.object.size.is_none() {
                // Some senders name the content and not its size; room is promised before the fetch.
                let head = stop.unless(self.stores.get(&input.object.store)?.head(&input.object)).await;
                input.object.size = match head {
                    Ok(head) => head.map(|head| head.bytes),
                    // Which job it is is known all the same. It may have its result; else the fetch tells what is wrong.
                    Err(error) if error.class() == ErrorClass::Permanent => None,
                    Err(error) => return Err(error),
                };
            }
        }
        Ok(())
    }
}
