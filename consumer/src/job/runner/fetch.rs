//! Brings inputs to the scratch disk and has them looked at.

use std::collections::BTreeMap;
use std::path::PathBuf;

use darkroom_api::{Descriptor, ErrorCode, Inputs, JobError, Limits, Result};

use crate::job::executor::JobScratch;
use crate::job::room::Reservation;
use crate::store::ObjectRef;
use crate::telemetry::Step;

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

impl Journey {
    /// Checks the parameters, fetches, probes and plans: all that can refuse a job before it takes a device slot.
    pub(super) async fn fetch(&self, case: &Case<'_>, handler: &Descriptor, stop: &Stop) -> Result<Fetched> {
        let submission = case.submission;
        let params = serde_json::Value::Object(submission.params.clone());
        stop.unless(self.pool.check(&submission.handler, &params)).await?;

        Step::Checked.reached(&case.job);
        let limits = stricter(&self.rules.limits, &handler.limits);
        let bytes = promised(submission.inputs.iter().map(|input| &input.object), &limits)?;
        let checkpoint = case.won.checkpoint_bytes.filter(|_| handler.resumable);
        let needed = bytes.saturating_add(checkpoint.unwrap_or(0));
        let mut room = stop.unless(self.room.reserve_when_free(needed)).await?;
        let scratch = self.pool.job_scratch(case.run_id.as_str())?;
        let mut files: BTreeMap<String, Vec<_>> = BTreeMap::new();
        for (index, input) in submission.inputs.iter().enumerate() {
            // A key is never a path: files are named by their place in the list.
            let file = scratch.input_dir().join(format!("{}-{index}", input.role));
            let store = self.stores.get(&input.object.store)?;
            let ignore = |_| {};
            // Not more than was promised, whatever the sender said.
            let most = input.object.size.unwrap_or(limits.max_bytes).min(limits.max_bytes);
            stop.unless(store.get_to_file(&input.object, &file, most, &ignore)).await?;
            files.entry(input.role.clone()).or_default().push(file);
        }

        Step::Fetched.reached(&case.job);
        let inputs = Inputs(files);
        let plan = stop.unless(self.pool.admit(handler, &params, &inputs, &limits)).await?;
        room.grow(plan.scratch_bytes)?;
        let resume = match checkpoint {
            Some(bytes) => checkpoint::bring(case, &scratch, bytes, stop).await?,
            None => None,
        };
        Step::Planned.reached(&case.job);
        Ok(Fetched { scratch, inputs, resume, room, bytes })
    }
}

/// Bytes that the inputs will take, as far as it is known; refuses single ones that are empty or too large.
fn promised<'a>(objects: impl Iterator<Item = &'a ObjectRef>, limits: &Limits) -> Result<u64> {
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
