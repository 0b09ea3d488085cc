//! How a worker is told to end.

use std::sync::{Arc, OnceLock};

use tokio_util::sync::CancellationToken;

/// The two steps of an orderly end.
#[derive(Debug, Clone, Default)]
pub struct Drain {
    /// Take nothing new; hand back what has not started to run.
    pub begun: CancellationToken,
    /// Hand back everything.
    pub forced: CancellationToken,
    why: Arc<OnceLock<&'static str>>,
}

impl Drain {
    /// Begins, for this reason unless there is one already.
    pub fn begin(&self, why: &'static str) {
        // The first one counts: it is why nothing new was taken.
        self.why.get_or_init(|| why);
        self.begun.cancel();
    }

    /// Why the worker ends, as a part of a sentence; none while it does not.
    pub fn why(&self) -> Option<&'static str> {
        self.begun.is_cancelled().then(|| self.why.get().copied().unwrap_or("the worker shuts down"))
    }
}
