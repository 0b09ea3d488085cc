//! Claims a submission's job, has it attempted, and says how that ended.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use darkroom_api::{ErrorClass, ErrorCode, JobError, Result};
use jiff::Timestamp;
use tokio::time::timeout;

use crate::event::{Completion, Event, JobFacts, Rejected};
use crate::job::link::Link;
use crate::job::manifest::{self, Manifest};
use crate::job::record::{Attempt, Claim, ClaimRequest, End, Outcome, Record, Won};
use crate::job::{JobId, RunId};
use crate::queue::lease::Lease;
use crate::store::Store;
use crate::telemetry::{Change, JobTelemetry, Step};
use crate::trigger::Submission;

use super::fetch::Early;
use super::identify::Identified;
use super::pulse::{Patient, Pulse};
use super::{Journey, Stop, Verdict, after};

/// How long URLs in events are good for.
const PRESIGN: Duration = Duration::from_secs(24 * 3600);
/// Outputs that get one.
const PRESIGNED: usize = 20;
/// Time to take away what dead attempts left.
const CLEAR_UP: Duration = Duration::from_secs(20);

/// A claimed attempt.
pub(super) struct Case<'a> {
    pub(super) submission: &'a Submission,
    pub(super) job: JobId,
    pub(super) record: Record,
    pub(super) run_id: RunId,
    pub(super) won: Won,
    pub(super) telemetry: JobTelemetry,
    pub(super) results: Store,
    /// Whether the record may have a checkpoint.
    pub(super) has_checkpoint: AtomicBool,
    /// Whether the job may have a manifest of this run.
    pub(super) may_be_committed: AtomicBool,
}

impl Journey {
    /// A submission from the look at its inputs to the verdict on its delivery.
    pub(super) async fn claim(
        &self,
        lease: &Lease,
        mut submission: Submission,
        link: Option<&Link>,
        stop: &Stop,
    ) -> Verdict {
        let run_id = RunId::new();
        let Identified { job, record, results, early } =
            match self.identify(lease, link, &mut submission, &run_id, stop).await {
                Ok(found) => found,
                Err(error) if error.code == ErrorCode::LeaseLost => return Verdict::Lost,
                Err(error) if error.code == ErrorCode::Interrupted => {
                    self.forget(lease, link).await;
                    return Verdict::uncounted(Duration::ZERO);
                }
                Err(error) => {
                    self.forget(lease, link).await;
                    let is_foreign = submission.inputs.iter().any(|input| input.object.is_web());
                    return self.refuse(lease, rejected(&submission, error), link, is_foreign).await;
                }
            };
        let now = Timestamp::now();
        let request = ClaimRequest {
            run_id: &run_id,
            worker: &self.rules.worker,
            submission: &submission,
            max_attempts: self.rules.max_attempts,
            now,
            live_until: after(now, self.rules.life),
        };
        let claim = match record.claim(&results, &request).await {
            Ok(claim) => claim,
            Err(error) => return self.refuse(lease, rejected(&submission, error), link, false).await,
        };
        let telemetry = |attempt| self.telemetry.job(JobFacts::of(&submission, &job, attempt));
        let first_told = matches!(claim, Claim::Cancelled { .. } | Claim::Exhausted { .. });
        // Jobs that ended before are told again, in case the first telling was lost.
        let (telemetry, change) = match claim {
            Claim::Won(won) => {
                let telemetry = telemetry(Some(won.attempt));
                let has_checkpoint = AtomicBool::new(won.checkpoint_bytes.is_some());
                let case = Case {
                    submission: &submission,
                    job: job.clone(),
                    record,
                    run_id,
                    won,
                    telemetry,
                    results,
                    has_checkpoint,
                    may_be_committed: AtomicBool::new(false),
                };
                let _held = self.in_hand.hold(&case.job);
                return self.won(lease, &case, early, stop).await;
            }
            Claim::Live { until } => {
                // Its worker renews that time: looking ever less often keeps the queue's own limit of hand-overs far.
                // And its clock may be wrong: no wait is longer than a life.
                let wait: Duration = until.duration_since(now).try_into().unwrap_or_default();
                let wait = wait.min(self.rules.life).max(self.pause(lease.receives()));
                return Verdict::uncounted(wait);
            }
            Claim::Completed(manifest) => {
                (telemetry(None), Change::Completed(completion(&results, &submission, manifest).await))
            }
            Claim::Ended(end) => (telemetry(Some(end.attempt)), ended_as(&end)),
            Claim::Cancelled { last } => (telemetry(Some(last)), Change::Cancelled),
            Claim::Exhausted { last, error } => (telemetry(Some(last)), Change::Failed(error)),
        };
        // Of these nobody has told yet: the last attempt ended without a word.
        if first_told {
            end_uploads(&record, &results, &submission).await;
        }
        let told = match first_told {
            true => telemetry.transition(&change).await,
            false => telemetry.repeat(&change).await,
        };
        match told {
            Ok(()) => settled_as(change, &job),
            Err(undelivered) => self.undelivered(lease, &undelivered),
        }
    }

    /// A won claim: the attempt, its end in the record, the event, the verdict.
    async fn won(&self, lease: &Lease, case: &Case<'_>, early: Option<Early>, stop: &Stop) -> Verdict {
        Step::Claimed.reached(&case.job);
        let patient = Patient {
            record: case.record.clone(),
            attempt: case.won.attempt,
            run_id: case.run_id.clone(),
            life: self.rules.life,
        };
        let pulse = Pulse::start(patient, stop.clone());
        case.aside(&pulse, Change::Accepted).await;
        let deadline = self.deadline(case);
        let late = async {
            tokio::time::sleep(deadline).await;
            stop.because(ErrorCode::DeadlineExceeded);
            std::future::pending::<Result<Box<Manifest>>>().await
        };
        let outcome = tokio::select! {
            biased;
            outcome = Box::pin(self.attempt(case, early, &pulse, stop)) => outcome,
            never = late => never,
        };
        let (outcome, change) = match outcome {
            Ok(manifest) => {
                let completion = completion(&case.results, case.submission, manifest).await;
                ((Outcome::Completed, None), Change::Completed(completion))
            }
            Err(error) => match self.committed_after_all(case, &error).await {
                Ok(Some(completion)) => ((Outcome::Completed, None), Change::Completed(completion)),
                Ok(None) => self.judge_error(case, error),
                // Perhaps the job has its result: no time for a last word.
                Err(_) => ((Outcome::Interrupted, Some(error)), Change::Interrupted),
            },
        };
        case.note_end(outcome, &change).await;
        Step::Recorded.reached(&case.job);
        if is_final(&change) {
            case.clear_up().await;
        }
        let told = case.change(&pulse, change.clone()).await;
        pulse.end().await;
        match told {
            Ok(()) => {
                Step::Published.reached(&case.job);
                settled_as(change, &case.job)
            }
            Err(undelivered) => self.undelivered(lease, &undelivered),
        }
    }

    /// What is left of the job's budget.
    fn deadline(&self, case: &Case<'_>) -> Duration {
        let budget = case.submission.deadline_secs.map_or(self.rules.deadline, Duration::from_secs);
        let spent = Timestamp::now().duration_since(case.won.budget_from).try_into().unwrap_or_default();
        budget.saturating_sub(spent)
    }

    /// A manifest whose write seemed to fail and happened: the job has its result.
    ///
    /// # Errors
    /// Where that cannot be known now.
    async fn committed_after_all(&self, case: &Case<'_>, error: &JobError) -> Result<Option<Completion>> {
        if error.code != ErrorCode::StoreUnavailable || !case.may_be_committed.load(Ordering::Relaxed) {
            return Ok(None);
        }
        match manifest::read(&case.results, &case.submission.destination, &case.job).await? {
            Some(manifest) => Ok(Some(completion(&case.results, case.submission, Box::new(manifest)).await)),
            None => Ok(None),
        }
    }

    /// How an attempt that failed counts, and what follows from the class of its error.
    fn judge_error(&self, case: &Case<'_>, error: JobError) -> ((Outcome, Option<JobError>), Change) {
        let last = case.won.counted >= self.rules.max_attempts;
        // An upload's event is void once the object is another: a later event tells of that one.
        let superseded = case.submission.origin.is_upload() && error.code == ErrorCode::InputChanged;
        let (outcome, change) = match error.class() {
            ErrorClass::LeaseLost => (Outcome::Interrupted, Change::LeaseLost),
            ErrorClass::Interrupted => (Outcome::Interrupted, Change::Interrupted),
            ErrorClass::Cancelled => (Outcome::Cancelled, Change::Cancelled),
            // Not an end: should the same content come back, its job runs.
            ErrorClass::Permanent if superseded => (Outcome::Interrupted, Change::Superseded),
            ErrorClass::Transient | ErrorClass::ExecutorLost if !last => {
                let after = self.pause(case.won.counted);
                (Outcome::Failed, Change::Retrying { error: error.clone(), after })
            }
            ErrorClass::Transient | ErrorClass::ExecutorLost => {
                (Outcome::Failed, Change::Failed(given_up(error.clone(), case.won.counted)))
            }
            ErrorClass::Permanent => (Outcome::Failed, Change::Failed(error.clone())),
        };
        let error = match &change {
            Change::Failed(told) => told.clone(),
            _ => error,
        };
        ((outcome, Some(error)), change)
    }
}

impl Case<'_> {
    /// Tells a change, to onlookers in the record and to the world.
    async fn change(&self, pulse: &Pulse, change: Change) -> Result<()> {
        if let Some(state) = change.state() {
            pulse.state(state);
        }
        self.telemetry.transition(&change).await
    }

    /// The same for changes that are not terminal: no sink holds such news up.
    pub(super) async fn aside(&self, pulse: &Pulse, change: Change) {
        if let Err(error) = self.change(pulse, change).await {
            tracing::debug!(%error, "news not told");
        }
    }

    /// Tells how far the run is.
    pub(super) async fn aside_progress(&self, progress: darkroom_api::Progress) {
        if let Err(error) = self.telemetry.transition(&Change::Progress(progress)).await {
            tracing::debug!(%error, "news not told");
        }
    }

    /// Takes away what the attempts of a job that has ended left: unfinished uploads, and the checkpoint. Where a later
    /// attempt has begun, ours was taken for dead, and all of that is the other's business.
    async fn clear_up(&self) {
        let has_checkpoint = self.has_checkpoint.load(Ordering::Relaxed);
        if self.won.attempt == 1 && !has_checkpoint {
            return;
        }
        if end_uploads(&self.record, &self.results, self.submission).await == Some(self.won.attempt) && has_checkpoint {
            self.record.forget_checkpoint().await;
        }
    }

    /// Writes how the attempt ended. Where that fails, the next claim finds an attempt without an end, which is the
    /// truth as far as the record knows.
    async fn note_end(&self, (outcome, error): (Outcome, Option<JobError>), change: &Change) {
        let end = End {
            attempt: self.won.attempt,
            run_id: self.run_id.clone(),
            outcome,
            error,
            is_final: is_final(change),
            ended_at: Timestamp::now(),
        };
        if let Err(error) = self.record.write_end(&end).await {
            tracing::warn!(job_id = %self.job, %error, "the end of an attempt could not be recorded");
        }
    }
}

/// Ends the uploads that attempts on record left unfinished, once their job has ended; the number of the last attempt.
/// Only their own: whoever claims one meanwhile goes on.
async fn end_uploads(record: &Record, results: &Store, submission: &Submission) -> Option<u32> {
    let ending = async {
        let history = record.history().await?;
        for attempt in &history.attempts {
            if history.was_ended(attempt.number) || attempt.number < history.last_attempt() {
                let place = manifest::run_place(&submission.destination, record.job(), &attempt.run_id);
                let uploads = results.give_up_all(&place).await?;
                if uploads > 0 {
                    tracing::info!(job_id = %record.job(), uploads, "unfinished uploads of an attempt ended");
                }
            }
        }
        Ok::<_, JobError>(history.last_attempt())
    };
    match timeout(CLEAR_UP, ending).await {
        Ok(Ok(last)) => Some(last),
        Ok(Err(error)) => {
            tracing::warn!(job_id = %record.job(), %error, "unfinished uploads may be left; the bucket's lifecycle ends them");
            None
        }
        Err(_) => {
            tracing::warn!(job_id = %record.job(), "unfinished uploads may be left: the store is slow");
            None
        }
    }
}

/// Whether no other attempt follows, short of a redrive.
fn is_final(change: &Change) -> bool {
    matches!(change, Change::Completed(_) | Change::Failed(_) | Change::Cancelled)
}

/// An error that may pass, met in the last attempt.
fn given_up(mut error: JobError, attempts: u32) -> JobError {
    let times = if attempts == 1 { "1 attempt".into() } else { format!("{attempts} attempts") };
    error.message = format!("{} Given up after {times}: redrive the job once that is mended.", error.message);
    error
}

/// What a change that ends our part of a job means for its delivery.
fn settled_as(change: Change, job: &JobId) -> Verdict {
    match change {
        Change::Failed(error) => Verdict::DeadLetter { reason: error, jobs: vec![job.clone()] },
        Change::Retrying { after, .. } => Verdict::Release { after, counted: true },
        Change::Interrupted => Verdict::uncounted(Duration::ZERO),
        Change::LeaseLost => Verdict::Lost,
        _ => Verdict::Ack,
    }
}

/// The terminal event of a job that ended, told again from its record; `None` where a completed job's manifest is gone.
///
/// # Errors
/// Codes of [`crate::store::error::classify`].
pub(crate) async fn told_again(results: &Store, job: &JobId, attempt: &Attempt, end: &End) -> Result<Option<Event>> {
    let submission = &attempt.submission;
    let (attempt, change) = match end.outcome {
        Outcome::Completed => match manifest::read(results, &submission.destination, job).await? {
            Some(manifest) => (None, Change::Completed(completion(results, submission, Box::new(manifest)).await)),
            None => return Ok(None),
        },
        _ => (Some(end.attempt), ended_as(end)),
    };
    Ok(change.event(&JobFacts::of(submission, job, attempt), end.ended_at))
}

/// What the final end of a job without a result tells, each time that it is told.
fn ended_as(end: &End) -> Change {
    match end.outcome {
        Outcome::Cancelled => Change::Cancelled,
        _ => Change::Failed(end.error.clone().unwrap_or_else(unexplained)),
    }
}

/// A result with URLs that let the receivers of its event read it.
async fn completion(results: &Store, submission: &Submission, manifest: Box<Manifest>) -> Completion {
    let mut urls = Vec::new();
    for output in manifest.outputs.iter().take(PRESIGNED) {
        match results.presign_get(&output.bucket, &output.key, PRESIGN).await {
            Ok(url) => urls.push(url),
            // The event names the object all the same.
            Err(error) => {
                tracing::debug!(%error, "no URL in the event");
                break;
            }
        }
    }
    Completion { manifest, destination: submission.destination.clone(), urls }
}

pub(super) fn rejected(submission: &Submission, error: JobError) -> Rejected {
    Rejected {
        submission_id: submission.submission_id.clone(),
        handler: Some(submission.handler.clone()),
        subject: submission.inputs.first().map(|input| input.object.to_string()),
        reference: submission.reference.clone(),
        error,
    }
}

fn unexplained() -> JobError {
    JobError::new(ErrorCode::Internal, "The job failed before and its record does not say why: redrive it.")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_recorded_end_tells_what_was_told_first() {
        let told = |outcome, code: Option<ErrorCode>| {
            let error = code.map(|code| JobError::new(code, "said"));
            let (run_id, ended_at) = (RunId::new(), Timestamp::UNIX_EPOCH);
            ended_as(&End { attempt: 2, run_id, outcome, error, is_final: true, ended_at })
        };
        assert!(matches!(told(Outcome::Cancelled, Some(ErrorCode::Cancelled)), Change::Cancelled));
        let Change::Failed(error) = told(Outcome::Failed, Some(ErrorCode::InputCorrupt)) else { panic!("it failed") };
        assert_eq!((error.code, error.message.as_str()), (ErrorCode::InputCorrupt, "said"));
        let Change::Failed(error) = told(Outcome::Failed, None) else { panic!("it failed") };
        assert_eq!(error.code, ErrorCode::Internal);
    }
}
