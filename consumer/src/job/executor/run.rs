//! One run: watched for progress, memory, time and cancellation.

use std::path::Path;
use std::time::Duration;

use darkroom_api::protocol::{Down, OutputList, RunRequest, Up};
use darkroom_api::{ErrorClass, ErrorCode, JobError, Progress, Result};
use tokio::time::{Instant, MissedTickBehavior, interval};

use super::drain::printable;
use super::end::Lost;
use super::options::{RunLimits, RunNote, RunWatch};
use super::process::{Executor, unsent};

/// How often memory and time are looked at.
pub(super) const LOOK_EVERY: Duration = Duration::from_millis(50);
/// Longest name of a stage that is passed on.
const MAX_STAGE_CHARS: usize = 64;
/// Longest `detail` of an error that is passed on.
const MAX_DETAIL_BYTES: usize = 16 * 1024;

impl Executor {
    /// Does the work of one request. Returns the list of outputs, which is not checked yet ([`super::outputs::read`]).
    ///
    /// # Errors
    /// The handler's; [`ErrorCode::Cancelled`] after `watch.cancel`; [`ErrorCode::RunLimitExceeded`]; class
    /// `ExecutorLost`. After the last three [`Executor::lost`] may tell that this executor is of no further use.
    pub async fn run(&mut self, request: RunRequest, watch: RunWatch<'_>) -> Result<OutputList> {
        let scratch = request.scratch_dir.clone();
        self.begin(&Down::Run(Box::new(request))).await?;
        let mut clock = Clock::new(watch.limits);
        let mut look = interval(LOOK_EVERY);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let lost = tokio::select! {
                frame = self.link.next() => match frame {
                    None => Lost::Closed,
                    Some(Err(error)) => Lost::Garbage(error.to_string()),
                    Some(Ok(Up::Done { outputs })) => return Ok(outputs),
                    Some(Ok(Up::Failed { error })) => return Err(believable(error, clock.asked())),
                    Some(Ok(Up::Progress(progress))) => {
                        let progress = bounded(progress);
                        clock.progress(&progress);
                        (watch.on_note)(RunNote::Progress(progress));
                        continue;
                    }
                    Some(Ok(Up::Checkpoint { path })) => {
                        if !is_within(&path, &scratch) {
                            Lost::Garbage("a checkpoint outside its directory".into())
                        } else {
                            (watch.on_note)(RunNote::Checkpoint(path));
                            continue;
                        }
                    }
                    Some(Ok(other)) => return Err(self.unexpected("run", &other).await),
                },
                () = watch.cancel.cancelled(), if !clock.asked() => {
                    clock.ask();
                    match self.link.send(&Down::Cancel).await {
                        Ok(()) => continue,
                        Err(error) => unsent(&error),
                    }
                }
                _ = look.tick() => match clock.overdue().or_else(|| self.over_memory()) {
                    None => continue,
                    Some(lost) => lost,
                },
            };
            return Err(self.end_of_run(lost, clock.asked()).await);
        }
    }

    /// Whatever ended a run after it was cancelled, the job is cancelled.
    async fn end_of_run(&mut self, lost: Lost, cancelled: bool) -> JobError {
        let error = self.lose(lost).await;
        match cancelled && error.class() == ErrorClass::ExecutorLost {
            true => JobError::new(ErrorCode::Cancelled, "The job was cancelled; its process ended while it stopped."),
            false => error,
        }
    }
}

/// What time has run out, if any.
struct Clock {
    limits: RunLimits,
    started: Instant,
    moved: Instant,
    last: Option<Progress>,
    asked: Option<Instant>,
}

impl Clock {
    fn new(limits: RunLimits) -> Clock {
        let now = Instant::now();
        Clock { limits, started: now, moved: now, last: None, asked: None }
    }

    /// The same progress again is none.
    fn progress(&mut self, progress: &Progress) {
        let moved = self.last.as_ref().is_none_or(|last| {
            (&last.stage, last.done, last.percent) != (&progress.stage, progress.done, progress.percent)
        });
        if moved {
            self.moved = Instant::now();
            self.last = Some(progress.clone());
        }
    }

    fn ask(&mut self) {
        self.asked = Some(Instant::now());
    }

    fn asked(&self) -> bool {
        self.asked.is_some()
    }

    fn overdue(&self) -> Option<Lost> {
        if let Some(asked) = self.asked {
            // Once asked to stop it only has to stop: the other limits no longer matter.
            let grace = self.limits.cancel_grace;
            return (asked.elapsed() > grace).then_some(Lost::CancelIgnored { secs: grace.as_secs_f64() });
        }
        let (run, stage) = (self.limits.run_limit(), self.last.as_ref().map(|last| last.stage.as_str()));
        let stall = self.limits.stall(stage);
        if self.started.elapsed() > run {
            Some(Lost::OverRunLimit { secs: run.as_secs_f64() })
        } else if self.moved.elapsed() > stall {
            Some(Lost::Hung { stage: stage.map(printable), secs: stall.as_secs_f64() })
        } else {
            None
        }
    }
}

/// Whether a path, taken as text, lies below a directory.
pub(super) fn is_within(path: &Path, dir: &Path) -> bool {
    use std::path::Component;
    path.strip_prefix(dir).is_ok_and(|rest| {
        rest.components().next().is_some() && rest.components().all(|part| matches!(part, Component::Normal(_)))
    })
}

/// Progress as it may stand in records and events: the stage is a short name, the numbers are numbers.
fn bounded(mut progress: Progress) -> Progress {
    progress.stage = printable(&progress.stage.chars().take(MAX_STAGE_CHARS).collect::<String>());
    progress.percent = progress.percent.filter(|percent| percent.is_finite()).map(|percent| percent.clamp(0.0, 100.0));
    progress.fps = progress.fps.filter(|fps| fps.is_finite() && *fps >= 0.0);
    progress
}

/// An executor's error, as far as it may be believed: it cannot claim what only the consumer can know, and it cannot
/// fill our events.
pub(super) fn believable(mut error: JobError, cancel_asked: bool) -> JobError {
    let claims = match error.class() {
        ErrorClass::Interrupted | ErrorClass::LeaseLost | ErrorClass::ExecutorLost => true,
        ErrorClass::Cancelled => !cancel_asked,
        ErrorClass::Transient | ErrorClass::Permanent => false,
    };
    if claims {
        error.message =
            format!("The handler failed with a code that is not its to give ({}): {}", error.code, error.message);
        error.code = ErrorCode::Internal;
    }
    error.message = printable(&error.message);
    error.detail = error.detail.filter(|detail| detail.to_string().len() <= MAX_DETAIL_BYTES);
    error
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    fn progress(stage: &str, done: u64) -> Progress {
        Progress { stage: stage.into(), percent: None, done, total: None, fps: None }
    }

    fn limits() -> RunLimits {
        let stall_secs = BTreeMap::from([("slow".into(), 100.0), ("quick".into(), 1.0)]);
        RunLimits { stall_secs, first_stall_secs: 10.0, run_limit_secs: 1000.0, cancel_grace: Duration::from_secs(5) }
    }

    #[tokio::test(start_paused = true)]
    async fn each_stage_has_its_own_patience_and_repeated_progress_is_none() {
        let mut clock = Clock::new(limits());
        let later = |secs| tokio::time::advance(Duration::from_secs_f64(secs));
        later(9.0).await;
        assert_eq!(clock.overdue(), None);
        clock.progress(&progress("slow", 1));
        later(99.0).await;
        assert_eq!(clock.overdue(), None);
        clock.progress(&progress("quick", 1));
        later(0.9).await;
        clock.progress(&progress("quick", 1));
        later(0.2).await;
        assert_eq!(clock.overdue(), Some(Lost::Hung { stage: Some("quick".into()), secs: 1.0 }));
        clock.progress(&progress("quick", 2));
        assert_eq!(clock.overdue(), None);
    }

    #[tokio::test(start_paused = true)]
    async fn a_run_has_a_limit_and_a_cancelled_one_its_grace() {
        let mut clock = Clock::new(limits());
        for done in 0..11 {
            clock.progress(&progress("slow", done));
            tokio::time::advance(Duration::from_secs(91)).await;
        }
        assert_eq!(clock.overdue(), Some(Lost::OverRunLimit { secs: 1000.0 }));
        clock.ask();
        assert_eq!(clock.overdue(), None);
        tokio::time::advance(Duration::from_secs(6)).await;
        assert_eq!(clock.overdue(), Some(Lost::CancelIgnored { secs: 5.0 }));
    }

    #[test]
    fn progress_cannot_fill_our_events() {
        let hostile = Progress { percent: Some(1e30), fps: Some(-1.0), ..progress(&"\n".repeat(1 << 20), 7) };
        let bounded = bounded(hostile);
        assert_eq!(bounded.stage, "\u{fffd}".repeat(MAX_STAGE_CHARS));
        assert_eq!((bounded.percent, bounded.fps, bounded.done), (Some(100.0), None, 7));
        assert_eq!(super::bounded(progress("encode", 3)), progress("encode", 3));
    }

    #[test]
    fn an_executor_cannot_claim_what_it_cannot_know() {
        let code = |code, asked| believable(JobError::new(code, "x"), asked).code;
        assert_eq!(code(ErrorCode::LeaseLost, true), ErrorCode::Internal);
        assert_eq!(code(ErrorCode::ExecutorCrashed, true), ErrorCode::Internal);
        assert_eq!(code(ErrorCode::Cancelled, false), ErrorCode::Internal);
        assert_eq!(code(ErrorCode::Cancelled, true), ErrorCode::Cancelled);
        assert_eq!(code(ErrorCode::InputCorrupt, false), ErrorCode::InputCorrupt);
        let huge = JobError::new(ErrorCode::Internal, "y".repeat(100_000)).with_detail("z".repeat(100_000).into());
        let cut = believable(huge, false);
        assert!(cut.message.len() <= 4096 && cut.detail.is_none());
    }

    #[test]
    fn a_path_with_dots_is_not_within() {
        let within = |path: &str| is_within(Path::new(path), Path::new("/a/b"));
        assert!(within("/a/b/c") && within("/a/b/c/d"));
        assert!(!within("/a/b") && !within("/a/b/../c") && !within("/a/bc") && !within("c"));
    }
}
