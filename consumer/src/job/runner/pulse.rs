//! The sign of life of a claimed job: keeps `status.json` fresh, and sees when a user asks for cancellation.

use std::time::Duration;

use darkroom_api::{ErrorCode, Progress};
use jiff::Timestamp;
use tokio::sync::watch;
use tokio::time::{Instant, MissedTickBehavior, interval_at, sleep_until};
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use super::Stop;
use crate::job::RunId;
use crate::job::record::{Record, State, Status};

/// Time between two looks for a request to cancel, and the shortest time between two writes of progress.
const LOOK_EVERY: Duration = Duration::from_secs(2);
/// A state is written once it has lasted this long: short jobs pass through theirs, and the record costs them nothing.
const SETTLE: Duration = Duration::from_millis(200);

#[derive(Debug, Clone, PartialEq)]
struct Now {
    state: State,
    stage: Option<String>,
    percent: Option<f32>,
}

/// Writes a job's status until ended; dropped, it falls silent at once.
pub(super) struct Pulse {
    now: watch::Sender<Now>,
    /// Given up where the pulse is dropped: whoever lost the lease writes nothing more.
    task: AbortOnDropHandle<()>,
    end: CancellationToken,
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
        let task = AbortOnDropHandle::new(tokio::spawn(beat(patient, stop, seen, end.clone())));
        Pulse { now, task, end }
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
        self.end.cancel();
        if self.task.await.is_err() {
            tracing::error!("the task that keeps a job's status panicked");
        }
    }
}

async fn beat(patient: Patient, stop: Stop, mut seen: watch::Receiver<Now>, end: CancellationToken) {
    // Short lives have a quick pulse: each word must be followed by another before it expires.
    let beat_every = (patient.life / 3).clamp(Duration::from_millis(100), LOOK_EVERY * 2);
    // The claim has just looked.
    let look_every = LOOK_EVERY.min(beat_every);
    let mut look = interval_at(Instant::now() + look_every, look_every);
    look.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let settle = SETTLE.min(beat_every / 2);
    let mut written: Option<(Instant, State)> = None;
    // The state that was seen last, and when it is due to be written if it is not.
    let mut last = (seen.borrow().state, Instant::now() + settle);
    loop {
        let is_new = written.is_none_or(|(_, state)| state != last.0);
        tokio::select! {
            biased;
            () = end.cancelled() => {
                // The end is recorded elsewhere: this only takes back what onlookers were told.
                let now = seen.borrow().clone();
                if written.is_some_and(|(_, state)| state != now.state) {
                    write(&patient, &now).await;
                }
                return;
            }
            changed = seen.changed() => if changed.is_err() { return },
            () = sleep_until(last.1), if is_new => {}
            _ = look.tick() => look_for_cancel(&patient, &stop).await,
        }
        let now = seen.borrow_and_update().clone();
        if now.state != last.0 {
            last = (now.state, Instant::now() + settle);
        }
        let due = match written {
            Some((at, state)) if state == now.state => at.elapsed() >= beat_every,
            _ => Instant::now() >= last.1,
        };
        if due {
            if write(&patient, &now).await {
                written = Some((Instant::now(), now.state));
            } else {
                last.1 = Instant::now() + look_every;
            }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::job::JobId;
    use crate::store::Place;
    use crate::store::testing::TestStore;

    #[tokio::test]
    async fn a_state_is_written_once_it_lasts_and_short_jobs_leave_none() {
        let running = TestStore::start(&["state"]).await;
        let state = Place { store: "main".into(), bucket: "state".into(), prefix: String::new() };
        let record = Record::new(running.store.clone(), &state, "a".repeat(52).parse::<JobId>().unwrap());
        let patient = |life| Patient { record: record.clone(), attempt: 1, run_id: RunId::new(), life };
        let status = async || record.history().await.unwrap().status.map(|status| status.state);

        let pulse = Pulse::start(patient(Duration::from_secs(30)), Stop::default());
        for state in [State::Waiting, State::Running, State::Completed] {
            pulse.state(state);
        }
        pulse.end().await;
        assert_eq!(status().await, None);

        let pulse = Pulse::start(patient(Duration::from_secs(30)), Stop::default());
        pulse.state(State::Running);
        while status().await != Some(State::Running) {
            tokio::task::yield_now().await;
        }
        pulse.state(State::Completed);
        pulse.end().await;
        assert_eq!(status().await, Some(State::Completed));
    }
}
