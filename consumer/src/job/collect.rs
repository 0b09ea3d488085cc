//! What runs leave behind: outputs that no manifest names, of runs that died before their manifest or lost to another
//! one, and uploads that were begun and never completed.
//!
//! No manifest can come to name such outputs once their run is over. It is over when nothing of it was written for a safe
//! age, and the record tells of no worker that lived since then: a live one says so every few seconds, and a run whose
//! worker lost the job never commits. What lies elsewhere, or is not named as runs name their outputs, is not looked at.

use std::collections::BTreeMap;
use std::time::Duration;

use darkroom_api::{ErrorCode, JobError, Result};
use jiff::{SignedDuration, Timestamp};
use serde::Serialize;

use super::record::Record;
use super::{JobId, RunId, manifest};
use crate::store::{Listed, Place, Stores, Unfinished};

/// Younger outputs are left alone, if nothing else is asked for: no process that was stopped and no request that is
/// under way for so long will go on.
pub const MIN_AGE: Duration = Duration::from_secs(24 * 3600);
/// Runs of one job that are looked at together; the others another time.
const MAX_RUNS: usize = 10_000;

/// Looks for what runs left behind, and deletes it.
#[derive(Debug, Clone)]
pub struct Collector {
    /// All stores.
    pub stores: Stores,
    /// Where records are.
    pub state: Place,
    /// Younger outputs are left alone, and runs whose worker lived since then.
    pub min_age: Duration,
    /// Whether it only tells what it would delete.
    pub is_dry: bool,
}

/// Something that was left behind.
#[derive(Debug, Clone, PartialEq)]
pub enum Leftover {
    /// Outputs of a run.
    Run {
        /// Where they are.
        place: Place,
        /// How many.
        objects: u64,
        /// Their sizes together.
        bytes: u64,
    },
    /// An upload that was never completed.
    Upload {
        /// Where it would be.
        place: Place,
    },
    /// It cannot be told: the record or the manifest of its job cannot be read.
    Unclear {
        /// Where.
        place: Place,
        /// Why.
        error: JobError,
    },
}

/// How much was found.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Swept {
    /// Objects that were looked at.
    pub looked_at: u64,
    /// Runs whose outputs no manifest names: deleted, unless it was a dry run.
    pub runs: u64,
    /// Their objects.
    pub objects: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Unfinished uploads, in the same way.
    pub uploads: u64,
    /// Runs and uploads that may be going on.
    pub going_on: u64,
    /// Jobs of which it cannot be told.
    pub unclear: u64,
}

/// One job's outputs, gathered from the listing, where they stand together.
struct Gathered {
    destination: Place,
    job: JobId,
    runs: BTreeMap<String, Run>,
}

struct Run {
    id: RunId,
    objects: u64,
    bytes: u64,
    newest: Option<Timestamp>,
}

/// Hears of each leftover, and every now and then of how much there is so far; may end the look.
pub type Teller<'a, E> = dyn FnMut(&Swept, Option<&Leftover>) -> Result<(), E> + 'a;

/// What has been found, and who hears of it.
struct Tale<'a, E> {
    swept: Swept,
    tell: &'a mut Teller<'a, E>,
}

impl<E> Tale<'_, E> {
    fn found(&mut self, leftover: Leftover) -> Result<(), E> {
        match &leftover {
            Leftover::Run { objects, bytes, .. } => {
                self.swept.runs += 1;
                self.swept.objects += objects;
                self.swept.bytes += bytes;
            }
            Leftover::Upload { .. } => self.swept.uploads += 1,
            Leftover::Unclear { .. } => self.swept.unclear += 1,
        }
        (self.tell)(&self.swept, Some(&leftover))
    }
}

impl Collector {
    /// Looks at all outputs in these places, and at the unfinished uploads there and of records. Each leftover is handed
    /// to `tell` once it is deleted, and every page without one.
    ///
    /// # Errors
    /// Codes of [`crate::store::error::classify`], or what `tell` says. What was deleted by then stays so.
    pub async fn places<E: From<JobError>>(&self, places: &[Place], tell: &mut Teller<'_, E>) -> Result<Swept, E> {
        let mut tale = Tale { swept: Swept::default(), tell };
        for place in places {
            self.outputs(place, &mut tale).await?;
            self.uploads(place, &mut tale).await?;
        }
        self.uploads(&self.state, &mut tale).await?;
        Ok(tale.swept)
    }

    async fn outputs<E: From<JobError>>(&self, place: &Place, tale: &mut Tale<'_, E>) -> Result<(), E> {
        let store = self.stores.get(&place.store)?;
        let (mut gathered, mut token): (Option<Gathered>, _) = (None, None);
        loop {
            let (page, next) = store.list_page(place, token).await?;
            for listed in page {
                tale.swept.looked_at += 1;
                let Some((destination, job, run)) = manifest::owner(place, &listed.key) else { continue };
                let is_same = |all: &Gathered| all.job == job && all.destination == destination;
                if let Some(done) = gathered.take_if(|all| !is_same(all)) {
                    self.settle(&done, tale).await?;
                }
                let all = gathered.get_or_insert_with(|| Gathered { destination, job, runs: BTreeMap::new() });
                all.add(run, &listed);
            }
            (tale.tell)(&tale.swept, None)?;
            token = next;
            if token.is_none() {
                break;
            }
        }
        match gathered {
            Some(last) => self.settle(&last, tale).await,
            None => Ok(()),
        }
    }

    /// Deletes the runs of one job that are over and did not make its result.
    async fn settle<E: From<JobError>>(&self, all: &Gathered, tale: &mut Tale<'_, E>) -> Result<(), E> {
        let old = |run: &&Run| run.newest.is_some_and(|time| self.is_old(time));
        let (old, young): (Vec<_>, Vec<_>) = all.runs.values().partition(old);
        tale.swept.going_on += young.len() as u64;
        if old.is_empty() {
            return Ok(());
        }
        let store = self.stores.get(&all.destination.store)?;
        // The record first: a manifest that comes after this look is of a worker that is seen here.
        let looked = async {
            let is_live = self.is_live(&all.job).await?;
            Ok::<_, JobError>((is_live, manifest::winner(store, &all.destination, &all.job).await?))
        };
        let (is_live, winner) = match looked.await {
            Ok(found) => found,
            Err(error) => return self.unclear(&all.destination, &all.job, error, tale),
        };
        for run in old.into_iter().filter(|run| winner.as_ref() != Some(&run.id)) {
            if is_live {
                tale.swept.going_on += 1;
                continue;
            }
            if !self.is_dry {
                manifest::delete_run(store, &all.destination, &all.job, &run.id).await?;
            }
            let place = manifest::run_place(&all.destination, &all.job, &run.id);
            tale.found(Leftover::Run { place, objects: run.objects, bytes: run.bytes })?;
        }
        Ok(())
    }

    async fn uploads<E: From<JobError>>(&self, place: &Place, tale: &mut Tale<'_, E>) -> Result<(), E> {
        let store = self.stores.get(&place.store)?;
        let mut from = None;
        loop {
            let (page, next) = store.unfinished(place, from).await?;
            for upload in page {
                if let Some(job) = self.job_of(place, &upload) {
                    self.settle_upload(place, &job, &upload, tale).await?;
                }
            }
            from = next;
            if from.is_none() {
                return Ok(());
            }
        }
    }

    async fn settle_upload<E: From<JobError>>(
        &self,
        place: &Place,
        job: &JobId,
        upload: &Unfinished,
        tale: &mut Tale<'_, E>,
    ) -> Result<(), E> {
        let is_over = match upload.begun.is_some_and(|time| self.is_old(time)) {
            true => match self.is_live(job).await {
                Ok(is_live) => !is_live,
                Err(error) => return self.unclear(place, job, error, tale),
            },
            false => false,
        };
        if !is_over {
            tale.swept.going_on += 1;
            return Ok(());
        }
        if !self.is_dry {
            self.stores.get(&place.store)?.give_up(&place.bucket, upload).await?;
        }
        tale.found(Leftover::Upload { place: Place { prefix: upload.key.clone(), ..place.clone() } })
    }

    /// Whose upload it is: a run's output, or a checkpoint in a record.
    fn job_of(&self, place: &Place, upload: &Unfinished) -> Option<JobId> {
        if *place == self.state {
            return upload.key.strip_prefix(&place.prefix)?.split_once('/')?.0.parse().ok();
        }
        manifest::owner(place, &upload.key).map(|(_, job, _)| job)
    }

    /// One damaged record or manifest is one job's own; a store that does not answer is the end.
    fn unclear<E: From<JobError>>(
        &self,
        place: &Place,
        job: &JobId,
        error: JobError,
        tale: &mut Tale<'_, E>,
    ) -> Result<(), E> {
        if error.code != ErrorCode::Internal {
            return Err(error.into());
        }
        let place = Place { prefix: place.key(&format!("{job}/")), ..place.clone() };
        tale.found(Leftover::Unclear { place, error })
    }

    /// Whether a worker is at the job, or was within the safe age and did not say how that ended.
    async fn is_live(&self, job: &JobId) -> Result<bool> {
        let record = Record::new(self.stores.get(&self.state.store)?.clone(), &self.state, job.clone());
        Ok(record.history().await?.live_until().is_some_and(|until| !self.is_old(until)))
    }

    fn is_old(&self, time: Timestamp) -> bool {
        let age = Timestamp::now().duration_since(time);
        age >= SignedDuration::try_from(self.min_age).unwrap_or(SignedDuration::MAX)
    }
}

impl Gathered {
    fn add(&mut self, id: RunId, listed: &Listed) {
        if self.runs.len() >= MAX_RUNS && !self.runs.contains_key(id.as_str()) {
            return;
        }
        let new = || Run { id: id.clone(), objects: 0, bytes: 0, newest: listed.modified };
        let run = self.runs.entry(id.to_string()).or_insert_with(new);
        run.objects += 1;
        run.bytes += listed.bytes;
        // One without a time makes the whole run one of unknown age, which stays.
        run.newest = run.newest.zip(listed.modified).map(|(one, other)| one.max(other));
    }
}

#[cfg(test)]
mod tests;
