//! Signals that ask a command to end.

use tokio::signal::unix::{Signal, SignalKind, signal};

use super::Failure;

/// SIGINT (Ctrl-C) and SIGTERM, from when it is made.
pub(super) struct Signals {
    interrupt: Signal,
    terminate: Signal,
}

impl Signals {
    /// Catches both from now on.
    pub(super) fn catch() -> Result<Self, Failure> {
        let fail = |e: std::io::Error| Failure::Failed(format!("Signals cannot be caught: {e}."));
        Ok(Signals {
            interrupt: signal(SignalKind::interrupt()).map_err(fail)?,
            terminate: signal(SignalKind::terminate()).map_err(fail)?,
        })
    }

    /// Waits for the next one; it becomes the command's exit status.
    pub(super) async fn next(&mut self) -> Failure {
        tokio::select! {
            _ = self.interrupt.recv() => Failure::Signal(2),
            _ = self.terminate.recv() => Failure::Signal(15),
        }
    }
}
