//! Brings inputs to the scratch disk and has them looked at.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::Duration;

use darkroom_api::{Descriptor, ErrorCode, Inputs, JobError, Limits, Result};

use crate::job::RunId;
use crate::job::executor::JobScratch;
use crate::job::room::Reservation;
use crate::store::{ObjectRef, Store};
use crate::telemetry::Step;
use crate::trigger::Submission;

use super::claim::Case;
use super::{Journey, Stop, checkpoint};

/// Inputs on the scratch disk, found good.
pub(super) struct Fetched {
    pub(super) scratch: JobScratch,
    pub(super) inputs: Inputs,
    /// Checkpoint of an earlier attempt.
    pub(super) resume: Option<PathBuf>,
    /// Held until the run's directory is gone.
    pub(super) room: Reservation,
    pub(super) bytes: u64,
}

/// Inputs that were fetched before the claim, since only their content tells which job it is.
pub(super) struct Early {
    scratch: JobScratch,
    room: Reservation,
    /// Their places in the submission's list.
    files: BTreeSet<usize>,
    bytes: u64,
}

impl Journey {
    /// Fetches the inputs that are not pinned, and pins them; none if all are.
    pub(super) async fn fetch_early(
        &self,
        submission: &mut Submission,
        run_id: &RunId,
        stop: &Stop,
    ) -> Result<Option<Early>> {
        let limits = self.handlers.get(&submission.handler).map_or(&self.rules.limits, |handler| &handler.limits);
        let limits = stricter(&self.rules.limits, limits);
        let is_loose = |object: &ObjectRef| object.is_web() && !object.is_pinned();
        let loose = || submission.inputs.iter().map(|input| &input.object).filter(|object| is_loose(object));
        if loose().next().is_none() {
            return Ok(None);
        }
        let bytes = promised(loose(), &limits)?;
        let budget = submission.deadline_secs.map_or(self.rules.deadline, Duration::from_secs);
        let room = stop.unless(self.room.reserve_when_free(bytes)).await?;
        let scratch = self.pool.job_scratch(run_id.as_str())?;
        let mut early = Early { scratch, room, files: BTreeSet::new(), bytes };
        let all = async {
            for (index, input) in submission.inputs.iter_mut().enumerate().filter(|(_, input)| is_loose(&input.object))
            {
                let (file, most) = (place(&early.scratch, &input.role, index), input.object.size.unwrap_or(0));
                input.object = self.stores.web()?.get_and_pin(&input.object, &file, most).await?;
                early.files.insert(index);
            }
            Ok(())
        };
        let late = |_| JobError::new(ErrorCode::DeadlineExceeded, "The inputs did not come within the job's time.");
        stop.unless(async { tokio::time::timeout(budget, all).await.map_err(late)? }).await?;
        Ok(Some(early))
    }

    /// Checks the parameters, fetches, probes and plans: all that can refuse a job before it takes a device slot.
    pub(super) async fn fetch(
        &self,
        case: &Case<'_>,
        early: Option<Early>,
        handler: &Descriptor,
        stop: &Stop,
    ) -> Result<Fetched> {
        let submission = case.submission;
        let params = serde_json::Value::Object(submission.params.clone());
        stop.unless(self.pool.check(&submission.handler, &params)).await?;

        Step::Checked.reached(&case.job);
        let limits = stricter(&self.rules.limits, &handler.limits);
        let mut bytes = promised(submission.inputs.iter().map(|input| &input.object), &limits)?;
        let checkpoint = case.won.checkpoint_bytes.filter(|_| handler.resumable);
        let needed = bytes.saturating_add(checkpoint.unwrap_or(0));
        let (scratch, mut room, there) = match early {
            Some(Early { scratch, mut room, files, bytes }) => {
                stop.unless(room.grow_when_free(needed.saturating_sub(bytes))).await?;
                (scratch, room, files)
            }
            None => {
                let room = stop.unless(self.room.reserve_when_free(needed)).await?;
                (self.pool.job_scratch(case.run_id.as_str())?, room, BTreeSet::new())
            }
        };
        let mut files: BTreeMap<String, Vec<_>> = BTreeMap::new();
        for (index, input) in submission.inputs.iter().enumerate() {
            let file = place(&scratch, &input.role, index);
            if there.contains(&index) {
                // Fetched before the claim.
            } else if input.object.is_web() {
                let most = input.object.size.unwrap_or(limits.max_bytes).min(limits.max_bytes);
                stop.unless(self.stores.web()?.get_to_file(&input.object, &file, most, &|_| {})).await?;
            } else {
                let store = self.stores.get(&input.object.store)?;
                bytes += stop.unless(bring(store, &input.object, &file, &limits, &mut room)).await?;
            }
            files.entry(input.role.clone()).or_default().push(file);
        }

        Step::Fetched.reached(&case.job);
        let inputs = Inputs(files);
        let plan = stop.unless(self.pool.plan(&handler.name, &params, &handler.looked_at(&inputs), &limits)).await?;
        stop.unless(room.grow_when_free(plan.scratch_bytes)).await?;
        let resume = match checkpoint {
            Some(bytes) => checkpoint::bring(case, &scratch, bytes, stop).await?,
            None => None,
        };
        Step::Planned.reached(&case.job);
        Ok(Fetched { scratch, inputs, resume, room, bytes })
    }
}

/// Where an input goes. A key is never a path: files are named by their place in the list.
fn place(scratch: &JobScratch, role: &str, index: usize) -> PathBuf {
    scratch.input(&format!("{role}-{index}"))
}

/// Fetches an input: not more than was promised, unless the very content that was named is larger than its sender said.
/// Then room is made for the rest, whose bytes are returned; where other jobs hold it, once they give it back.
async fn bring(store: &Store, object: &ObjectRef, to: &Path, limits: &Limits, room: &mut Reservation) -> Result<u64> {
    let most = object.size.unwrap_or(limits.max_bytes).min(limits.max_bytes);
    match store.get_to_file(object, to, most, &|_| {}).await {
        Err(error) if error.code == ErrorCode::InputTooLarge => {
            let head = store.head(object).await?.filter(|head| head.etag == object.etag);
            let Some(real) = head.filter(|head| head.bytes <= limits.max_bytes) else { return Err(error) };
            let more = real.bytes.saturating_sub(most);
            room.grow_when_free(more).await?;
            let failed = |e| JobError::new(ErrorCode::ScratchFull, format!("{} stays: {e}.", to.display()));
            tokio::fs::remove_file(to).await.map_err(failed)?;
            store.get_to_file(object, to, real.bytes, &|_| {}).await.map(|_| more)
        }
        fetched => fetched.map(|_| 0),
    }
}

/// Bytes that the inputs will take, as far as it is known; refuses single ones that are empty or too large.
pub(crate) fn promised<'a>(objects: impl Iterator<Item = &'a ObjectRef>, limits: &Limits) -> Result<u64> {
    let mut sum = 0u64;
    for object in objects {
        match object.size {
            Some(0) => {
                let why = format!("{object} is empty: upload it again.");
                return Err(JobError::new(ErrorCode::InputEmpty, why));
            }
            Some(size) if size > limits.max_bytes => {
                let why = format!(
                    "{object} has {size} bytes, {} are allowed: cut it, or raise `limits.max_bytes`.",
                    limits.max_bytes
                );
                return Err(JobError::new(ErrorCode::InputTooLarge, why));
            }
            size => sum = sum.saturating_add(size.unwrap_or(0)),
        }
    }
    Ok(sum)
}

/// The handler's limits and the worker's, whichever allow less.
pub(crate) fn stricter(a: &Limits, b: &Limits) -> Limits {
    Limits {
        max_bytes: a.max_bytes.min(b.max_bytes),
        max_pixels: a.max_pixels.min(b.max_pixels),
        max_duration_secs: a.max_duration_secs.min(b.max_duration_secs),
        min_side_px: a.min_side_px.max(b.min_side_px),
    }
}

#[cfg(test)]
mod tests {
    use tempfile::TempDir;

    use super::*;
    use crate::job::room::Room;
    use crate::store::testing::TestStore;

    #[tokio::test]
    async fn a_size_that_was_told_wrong_is_taken_from_the_object() {
        let (running, folder) = (TestStore::start(&["uploads"]).await, TempDir::new().unwrap());
        let (store, to) = (&running.store, folder.path().join("video-0"));
        store.put_bytes("uploads", "a.mp4", "0123456789".into(), "video/mp4").await.unwrap();
        let object = ObjectRef::new("main", "uploads", "a.mp4");
        let etag = store.head(&object).await.unwrap().unwrap().etag;
        let object = ObjectRef { etag, size: Some(1), ..object };
        let mut room = Room::new(folder.path().to_owned(), 12).reserve(1).unwrap();
        let limits = Limits { max_bytes: 10, ..Limits::default() };
        assert_eq!(bring(store, &object, &to, &limits, &mut room).await, Ok(9));
        assert_eq!(std::fs::read(&to).unwrap(), b"0123456789");
        // Room was made: ten bytes are promised, three more are too many.
        assert!(room.grow(2).is_ok() && room.grow(1).is_err());

        // Where a neighbour holds that room, the fetch waits for it.
        drop(room);
        let room = Room::new(folder.path().to_owned(), 12);
        let (mut reserved, neighbour) = (room.reserve(1).unwrap(), room.reserve(3).unwrap());
        std::fs::remove_file(&to).unwrap();
        let mut fetch = Box::pin(bring(store, &object, &to, &limits, &mut reserved));
        let waits = async {
            while room.waiting() == 0 {
                tokio::task::yield_now().await;
            }
        };
        tokio::select! {
            done = &mut fetch => panic!("it did not wait: {done:?}"),
            () = waits => drop(neighbour),
        }
        assert_eq!(fetch.await, Ok(9));

        let mut room = reserved;
        let limits = Limits { max_bytes: 9, ..limits };
        std::fs::remove_file(&to).unwrap();
        let refused = bring(store, &object, &to, &limits, &mut room).await.unwrap_err();
        assert_eq!(refused.code, ErrorCode::InputTooLarge);
    }
}
