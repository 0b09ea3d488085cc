//! Progress of a run of several stages, each of which knows of its own part only.

use std::path::Path;
use std::sync::Arc;

use darkroom_api::{JobContext, LogLevel, Progress, Reporter, Result};

/// A part of a run: its percentages become percentages of the whole.
struct Share {
    inner: Arc<dyn Reporter>,
    from: f32,
    to: f32,
}

impl Reporter for Share {
    fn progress(&self, progress: Progress) {
        let percent = progress.percent.map(|percent| self.from + (self.to - self.from) * percent / 100.0);
        self.inner.progress(Progress { percent, ..progress });
    }

    fn log(&self, level: LogLevel, message: &str) {
        self.inner.log(level, message);
    }

    fn checkpoint(&self, path: &Path) -> Result<()> {
        self.inner.checkpoint(path)
    }
}

/// The surroundings of a part of a run that lasts from one percentage to another.
pub fn share(ctx: &JobContext, from: f32, to: f32) -> JobContext {
    let reporter = Arc::new(Share { inner: Arc::clone(&ctx.reporter), from, to });
    JobContext { reporter, ..ctx.clone() }
}

/// Tells that of `total` items `done` are done.
pub fn tell(ctx: &JobContext, stage: &str, done: usize, total: usize) {
    #[allow(clippy::cast_precision_loss, reason = "a percentage for people")]
    let percent = Some(100.0 * done as f32 / total.max(1) as f32);
    let (done, total) = (done as u64, Some(total as u64));
    ctx.reporter.progress(Progress { stage: stage.to_owned(), percent, done, total, fps: None });
}
