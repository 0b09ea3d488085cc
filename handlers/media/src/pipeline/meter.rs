//! Where a stage's time goes.

use std::time::{Duration, Instant};

use darkroom_api::StageReport;
use rustix::time::{ClockId, clock_gettime};

/// Times one stage on its own thread.
pub(crate) struct Meter {
    name: &'static str,
    start: Instant,
    cpu_start: Duration,
    waiting_input: Duration,
    waiting_output: Duration,
    pub(crate) frames: u64,
}

impl Meter {
    /// Starts on the stage's thread.
    pub(crate) fn new(name: &'static str) -> Meter {
        Meter {
            name,
            start: Instant::now(),
            cpu_start: thread_cpu(),
            waiting_input: Duration::ZERO,
            waiting_output: Duration::ZERO,
            frames: 0,
        }
    }

    /// Times a wait for input.
    pub(crate) fn wait_input<T>(&mut self, wait: impl FnOnce() -> T) -> T {
        let start = Instant::now();
        let value = wait();
        self.waiting_input += start.elapsed();
        value
    }

    /// Times a wait for room.
    pub(crate) fn wait_output<T>(&mut self, wait: impl FnOnce() -> T) -> T {
        let start = Instant::now();
        let value = wait();
        self.waiting_output += start.elapsed();
        value
    }

    /// Ends on the stage's thread. All that was not waiting was work.
    pub(crate) fn report(&self) -> StageReport {
        let waiting = self.waiting_input + self.waiting_output;
        StageReport {
            name: self.name.to_owned(),
            frames: self.frames,
            busy_secs: self.start.elapsed().saturating_sub(waiting).as_secs_f64(),
            waiting_input_secs: self.waiting_input.as_secs_f64(),
            waiting_output_secs: self.waiting_output.as_secs_f64(),
            cpu_secs: thread_cpu().saturating_sub(self.cpu_start).as_secs_f64(),
        }
    }
}

fn thread_cpu() -> Duration {
    let t = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(u64::try_from(t.tv_sec).unwrap_or(0), u32::try_from(t.tv_nsec).unwrap_or(0))
}
