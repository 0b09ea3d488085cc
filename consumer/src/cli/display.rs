//! How long work shows itself on standard error: a bar on a terminal, lines elsewhere, JSON for machines.

use std::io::{IsTerminal, Write};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use darkroom_api::Progress;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// Time between two plain lines of the same job.
const PLAIN_EVERY: Duration = Duration::from_secs(5);

/// Who reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Style {
    /// A person at a terminal.
    Bar,
    /// A log file.
    Plain,
    /// A program: one JSON object a line.
    Json,
}

impl Style {
    /// JSON if asked for, else by what standard error is.
    pub fn choose(json: bool) -> Self {
        match (json, std::io::stderr().is_terminal()) {
            (true, _) => Style::Json,
            (false, true) => Style::Bar,
            (false, false) => Style::Plain,
        }
    }
}

/// Progress of one job.
pub struct Display {
    style: Style,
    title: String,
    bar: ProgressBar,
    last_line: Mutex<Option<Instant>>,
}

impl Display {
    /// Starts showing a job under a title.
    pub fn new(style: Style, title: &str) -> Self {
        let target =
            if style == Style::Bar { ProgressDrawTarget::stderr_with_hz(10) } else { ProgressDrawTarget::hidden() };
        let bar = ProgressBar::with_draw_target(Some(100), target);
        if let Ok(style) = ProgressStyle::with_template("{prefix:24!} [{bar:30}] {percent:>3} % {msg}") {
            bar.set_style(style.progress_chars("=> "));
        }
        bar.set_prefix(title.to_owned());
        Display { style, title: title.to_owned(), bar, last_line: Mutex::new(None) }
    }

    /// Shows how far the job is. Cheap: may be called for every frame.
    pub fn update(&self, progress: &Progress) {
        match self.style {
            Style::Bar => {
                self.bar.set_position(progress.percent.unwrap_or(0.0).clamp(0.0, 100.0) as u64);
                self.bar.set_message(self.sentence(progress));
            }
            Style::Plain if self.due(PLAIN_EVERY) => {
                let percent = progress.percent.map(|p| format!("{p:.0} % ")).unwrap_or_default();
                self.line(&format!("{}: {percent}{}", self.title, self.sentence(progress)));
            }
            Style::Json if self.due(Duration::from_millis(500)) => {
                self.line(&serde_json::json!({"job": self.title, "progress": progress}).to_string());
            }
            Style::Plain | Style::Json => {}
        }
    }

    /// Ends with a sentence; the bar goes away.
    pub fn finish(&self, sentence: &str) {
        self.bar.finish_and_clear();
        if self.style == Style::Json {
            self.line(&serde_json::json!({"job": self.title, "finished": sentence}).to_string());
        } else {
            self.line(&format!("{}: {sentence}", self.title));
        }
    }

    fn sentence(&self, progress: &Progress) -> String {
        let of = progress.total.map(|t| format!("/{t}")).unwrap_or_default();
        let mut text = format!("{} {}{of} frames", progress.stage, progress.done);
        if let Some(fps) = progress.fps.filter(|fps| *fps > 0.0) {
            text.push_str(&format!(", {fps:.1} fps"));
            if let Some(total) = progress.total {
                let left = total.saturating_sub(progress.done) as f32 / fps;
                text.push_str(&format!(", {} left", human_secs(f64::from(left))));
            }
        }
        text
    }

    /// Whether a line may be written now.
    fn due(&self, every: Duration) -> bool {
        let Ok(mut last) = self.last_line.lock() else { return false };
        let due = last.is_none_or(|at| at.elapsed() >= every);
        if due {
            *last = Some(Instant::now());
        }
        due
    }

    /// A closed standard error must not end a job, hence no `eprintln!`.
    fn line(&self, text: &str) {
        let _closed = writeln!(std::io::stderr().lock(), "{text}");
    }
}

/// Progress of work whose end is not known: how much has been done so far.
pub struct Count {
    display: Display,
    done: AtomicU64,
}

impl Count {
    /// Starts showing it under a title.
    pub fn new(style: Style, title: &str) -> Self {
        let display = Display::new(style, title);
        if let Ok(style) = ProgressStyle::with_template("{prefix} {spinner} {msg}") {
            display.bar.set_style(style);
        }
        Count { display, done: AtomicU64::new(0) }
    }

    /// One more is done; `sentence` is told how many. Cheap.
    pub fn step(&self, sentence: impl FnOnce(u64) -> String) {
        let done = self.done.fetch_add(1, Ordering::Relaxed) + 1;
        self.show(done, || sentence(done));
    }

    /// So many are done. Cheap.
    pub fn show(&self, done: u64, sentence: impl FnOnce() -> String) {
        let title = &self.display.title;
        match self.display.style {
            Style::Bar => {
                self.display.bar.set_message(sentence());
                self.display.bar.tick();
            }
            Style::Plain if self.display.due(PLAIN_EVERY) => self.display.line(&format!("{title}: {}", sentence())),
            Style::Json if self.display.due(PLAIN_EVERY) => {
                self.display.line(&serde_json::json!({ "progress": sentence(), "done": done }).to_string());
            }
            Style::Plain | Style::Json => {}
        }
    }

    /// Writes something else without a bar in between.
    pub fn aside<T>(&self, write: impl FnOnce() -> T) -> T {
        self.display.bar.suspend(write)
    }

    /// Ends; the bar goes away.
    pub fn finish(&self) {
        self.display.bar.finish_and_clear();
    }
}

/// `75` -> `1 min 15 s`.
pub fn human_secs(secs: f64) -> String {
    let whole = secs.round().max(0.0) as u64;
    match (whole / 3600, whole / 60 % 60, whole % 60) {
        (0, 0, s) => format!("{s} s"),
        (0, m, s) => format!("{m} min {s} s"),
        (h, m, _) => format!("{h} h {m} min"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_left_comes_from_frames_left_and_speed() {
        let display = Display::new(Style::Plain, "a.mp4");
        let progress =
            Progress { stage: "process".into(), percent: Some(50.0), done: 100, total: Some(250), fps: Some(2.0) };
        assert_eq!(display.sentence(&progress), "process 100/250 frames, 2.0 fps, 1 min 15 s left");
        assert_eq!(human_secs(7260.0), "2 h 1 min");
    }

    #[test]
    fn plain_lines_are_at_most_one_in_a_while() {
        let display = Display::new(Style::Plain, "a.mp4");
        assert!(display.due(PLAIN_EVERY));
        assert!(!display.due(PLAIN_EVERY));
    }
}
