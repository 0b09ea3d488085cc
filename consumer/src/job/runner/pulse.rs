//! The sign of life of a claimed job: keeps `status.json` fresh, and sees when a user asks for cancellation.

use std::time::Duration;

use darkroom_api::{ErrorCode, Progress};
use jiff::Timestamp;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{Instant, MissedTickBehavior, interval};
use tokio_util::sync::{CancellationToken, DropGuard};

use super::Stop;
use crate::job::RunId;
use crate::job::record::{Record, State, Status};

/// Time between two looks for a request to cancel, and the shortest time between two writes of progress.
const LOOK_EVERY: Duration = Duration::from_secs(2);

#[derive(Debug, Clone, PartialEq)]
struct Now {
    state: State,
    stage: Option<String>,
    percent: Option<f32>,
}

/// Writes a job's status until dropped or ended.
pub(super) struct Pulse {
    now: watch::Sender<Now>,
    task: JoinHandle<()>,
    end: DropGuard,
}

/// What a pulse writes about, and how long each word is good for.
pub(super) struct Patient {
    pub(super) record: Record,
    pub(super) attempt: u32,
    pub(super) run_id: RunId,
    /// A worker that says nothing for this long is taken to be dead.
    pub(super) life: Duration,
}

impl Pulse {
    /// Starts with the state `fetching`; a request to cancel stops the job.
    pub(super) fn start(patient: Patient, stop: Stop) -> Self {
        let (now, seen) = watch::channel(Now { state: State::Fetching, stage: None, percent: None });
        let end = CancellationToken::new();
        let task = tokio::spawn(beat(patient, stop, seen, end.clone()));
        Pulse { now, task, end: end.drop_guard() }
    }

    /// Tells that the job has come to another state.
    pub(super) fn state(&self, state: State) {
        self.now.send_replace(Now { state, stage: None, percent: None });
    }

    /// Tells how far the run is.
    pub(super) fn progress(&self, progress: &Progress) {
        let stage = Some(progress.stage.clone());
        self.now.send_replace(Now { state: State::Running, stage, percent: progress.percent });
    }

    /// Writes no more; returns when the last write has ended.
    pub(super) async fn end(self) {
        drop(self.end);
        if self.task.await.is_err() {
            tracing::error!("the task that keeps a job's status panicked");
        }
    }
}

async fn beat(patient: Patient, stop: Stop, mut seen: watch::Receiver<Now>, end: CancellationToken) {
    // Short lives have a quick pulse: each word must be followed by another before it expires.
    let beat_every = (patient.life / 3).clamp(Duration::from_millis(100), LOOK_EVERY * 2);
    let mut look = interval(LOOK_EVERY.min(beat_every));
    look.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut written: Option<(Instant, State)> = None;
    loop {
        tokio::select! {
            biased;
            () = end.cancelled() => {
                let now = seen.borrow().clone();
                if written.is_none_or(|(_, state)| state != now.state) {
                    write(&patient, &now).await;
                }
                return;
            }
            changed = seen.changed() => if changed.is_err() { return },
            _ = look.tick() => look_for_cancel(&patient, &stop).await,
        }
        let now = seen.borrow_and_update().clone();
        let due = written.is_none_or(|(at, state)| state != now.state || at.elapsed() >= beat_every);
        if due && write(&patient, &now).await {
            written = Some((Instant::now(), now.state));
        }
    }
}

async fn look_for_cancel(patient: &Patient, stop: &Stop) {
    match patient.record.is_cancelled().await {
        Ok(true) => stop.because(ErrorCode::Cancelled),
        Ok(false) => {}
        Err(error) => tracing::debug!(%error, "could not look for a request to cancel"),
    }
}

async fn write(patient: &Patient, now: &Now) -> bool {
    let at = Timestamp::now();
    let status = Status {
        attempt: patient.attempt,
        run_id: patient.run_id.clone(),
        state: now.state,
        stage: now.stage.clone(),
        percent: now.percent,
        live_until: super::after(at, patient.life),
        updated_at: at,
    };
    // The status is for onlookers and for whoever comes after a crash; the job itself goes on without it.
    let outcome = patient.record.write_status(&status).await;
    if let Err(error) = &outcome {
        tracing::warn!(%error, job_id = %patient.record.job(), "the job's status could not be written");
    }
    outcome.is_ok()
}
