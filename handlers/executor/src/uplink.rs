//! What the executor says. Answers are certain; progress is thinned to 10 Hz with the latest always sent; log lines are
//! dropped, and counted, when nobody keeps up.

use std::collections::VecDeque;
use std::io;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use darkroom_api::protocol::{self, Up};
use darkroom_api::{ErrorCode, JobError, LogLevel, Progress, Reporter, Result};

const PROGRESS_EVERY: Duration = Duration::from_millis(100);
/// Time after the last progress for which the pump looks for more by itself.
const READY: Duration = Duration::from_secs(1);
const MAX_LINES: usize = 256;
const MAX_LINE_BYTES: usize = 4096;

/// The way to the consumer, shared by all threads.
pub struct Uplink {
    /// Held while frames are written, so that what was said before an answer also arrives before it.
    socket: Mutex<UnixStream>,
    waiting: Mutex<Waiting>,
    more: Condvar,
}

#[derive(Default)]
struct Waiting {
    lines: VecDeque<(LogLevel, String)>,
    dropped: u64,
    progress: Option<Progress>,
    next_progress: Option<Instant>,
    /// The pump looks again by itself when progress is due: nobody need wake it for that.
    is_on_time: bool,
}

impl Waiting {
    fn is_due(&self, now: Instant) -> bool {
        !self.lines.is_empty() || self.dropped > 0 || self.progress_due(now)
    }

    fn progress_due(&self, now: Instant) -> bool {
        self.progress.is_some() && self.next_progress.is_none_or(|next| next <= now)
    }

    /// What is to be sent now; with `all`, progress that is not due yet too.
    fn take(&mut self, now: Instant, all: bool) -> Vec<Up> {
        let mut frames: Vec<Up> = self.lines.drain(..).map(|(level, message)| Up::Log { level, message }).collect();
        let dropped = std::mem::take(&mut self.dropped);
        if dropped > 0 {
            frames.push(Up::Log { level: LogLevel::Warn, message: format!("{dropped} log lines dropped") });
        }
        if (all || self.progress_due(now))
            && let Some(progress) = self.progress.take()
        {
            self.next_progress = Some(now + PROGRESS_EVERY);
            frames.push(Up::Progress(progress));
        }
        frames
    }
}

impl Uplink {
    /// Takes the socket and starts the thread that empties the queue.
    ///
    /// # Errors
    /// Where no thread can be started.
    pub fn start(socket: UnixStream) -> io::Result<Arc<Uplink>> {
        let uplink = Uplink { socket: Mutex::new(socket), waiting: Mutex::default(), more: Condvar::new() };
        let uplink = Arc::new(uplink);
        let pump = Arc::clone(&uplink);
        std::thread::Builder::new().name("uplink".into()).spawn(move || pump.pump())?;
        Ok(uplink)
    }

    /// Sends an answer, and before it all that waits.
    ///
    /// # Errors
    /// When the consumer is gone; `InvalidData` for an answer longer than a frame, of which nothing was sent.
    pub fn answer(&self, up: &Up) -> io::Result<()> {
        let frame = protocol::encode(up)?;
        let mut socket = lock(&self.socket);
        let mut frames = Vec::new();
        for up in lock(&self.waiting).take(Instant::now(), true) {
            protocol::write(&mut frames, &up)?;
        }
        frames.extend_from_slice(&frame);
        io::Write::write_all(&mut *socket, &frames)
    }

    /// A line for the log.
    pub fn line(&self, level: LogLevel, text: &str) {
        let cut = text.floor_char_boundary(MAX_LINE_BYTES);
        let mut waiting = lock(&self.waiting);
        if waiting.lines.len() < MAX_LINES {
            waiting.lines.push_back((level, text[..cut].to_owned()));
        } else {
            waiting.dropped += 1;
        }
        self.more.notify_one();
    }

    fn pump(&self) {
        loop {
            drop(self.wait());
            let mut socket = lock(&self.socket);
            let frames = lock(&self.waiting).take(Instant::now(), false);
            if frames.iter().any(|up| protocol::write(&mut *socket, up).is_err()) {
                // The consumer is gone; the main thread reads the end of the stream and exits.
                return;
            }
        }
    }

    fn wait(&self) -> MutexGuard<'_, Waiting> {
        let mut waiting = lock(&self.waiting);
        loop {
            let now = Instant::now();
            if waiting.is_due(now) {
                return waiting;
            }
            // Of a run that ends at once the progress goes with its answer; so it does if one run follows the other, for
            // which the pump stays ready.
            let pause = match waiting.next_progress {
                Some(next) if waiting.progress.is_some() => next.saturating_duration_since(now),
                Some(last) if now < last + READY => PROGRESS_EVERY,
                _ => Duration::from_secs(3600),
            };
            waiting.is_on_time = pause <= PROGRESS_EVERY;
            waiting = self.more.wait_timeout(waiting, pause).unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

impl Reporter for Uplink {
    fn progress(&self, progress: Progress) {
        let mut waiting = lock(&self.waiting);
        waiting.progress = Some(progress);
        if !waiting.is_on_time {
            self.more.notify_one();
        }
    }

    fn log(&self, level: LogLevel, message: &str) {
        self.line(level, message);
    }

    fn checkpoint(&self, path: &Path) -> Result<()> {
        self.answer(&Up::Checkpoint { path: path.to_owned() })
            .map_err(|_| JobError::new(ErrorCode::Internal, "The consumer is gone."))
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn progress(done: u64) -> Progress {
        Progress { stage: "s".into(), percent: None, done, total: None, fps: None }
    }

    #[test]
    fn progress_is_thinned_and_the_last_one_always_sent() {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let uplink = Uplink::start(ours).unwrap();
        for done in 1..=10_000 {
            uplink.progress(progress(done));
        }
        uplink.answer(&Up::Ready).unwrap();
        drop(uplink);
        let mut seen = Vec::new();
        loop {
            match protocol::read(&theirs).unwrap().unwrap() {
                Up::Progress(progress) => seen.push(progress.done),
                Up::Ready => break,
                other => panic!("{other:?}"),
            }
        }
        assert_eq!(*seen.last().unwrap(), 10_000);
        assert!(seen.len() < 100, "{} frames", seen.len());
    }

    #[test]
    fn late_progress_is_sent_without_an_answer() {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let uplink = Uplink::start(ours).unwrap();
        uplink.progress(progress(1));
        assert_eq!(protocol::read::<Up>(&theirs).unwrap(), Some(Up::Progress(progress(1))));
        uplink.progress(progress(2));
        assert_eq!(protocol::read::<Up>(&theirs).unwrap(), Some(Up::Progress(progress(2))));
    }

    #[test]
    fn a_flood_of_lines_never_blocks_and_what_is_lost_is_told() {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let uplink = Uplink::start(ours).unwrap();
        // Nobody reads yet: the socket fills, then the queue, then lines are dropped.
        for _ in 0..20_000 {
            uplink.line(LogLevel::Info, &"x".repeat(2 * MAX_LINE_BYTES));
        }
        let answer = std::thread::spawn(move || uplink.answer(&Up::Ready).unwrap());
        let (mut lines, mut told) = (0, false);
        while let Some(up) = protocol::read::<Up>(&theirs).unwrap() {
            match up {
                Up::Log { message, .. } if message.ends_with("dropped") => told = true,
                Up::Log { message, .. } => {
                    assert_eq!(message.len(), MAX_LINE_BYTES);
                    lines += 1;
                }
                Up::Ready => break,
                other => panic!("{other:?}"),
            }
        }
        answer.join().unwrap();
        assert!(told && lines < 2_000, "{lines} lines");
    }
}
