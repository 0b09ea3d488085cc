//! Executors: the confined processes that run handlers, and the pool that keeps one warm per device slot.
//!
//! The consumer never decodes a byte of media. It hands files to an executor over a socket pair
//! ([`darkroom_api::protocol`]) and believes nothing that comes back: frames, logs and output names are bounded and
//! checked here. Whatever ends an executor (a crash, a hang, a leak, our own SIGKILL) becomes a [`JobError`] with a code
//! of class `ExecutorLost`, and the pool starts another.
//!
//! [`JobError`]: darkroom_api::JobError

mod drain;
mod end;
mod inspect;
mod link;
mod measure;
mod memory;
mod options;
mod outputs;
mod pool;
mod process;
mod run;
mod scratch;
mod slot;
mod spawner;
mod tree;

#[cfg(test)]
mod tests;

pub use inspect::{describe, doctor};
pub use measure::{Measurement, last_line};
pub use options::{ExecutorOptions, RunLimits, RunNote, RunWatch, find_binary};
pub use outputs::{LocalOutput, RunResult};
pub use pool::{Pool, PoolOptions, SlotOptions};
pub use process::Executor;
pub use scratch::{JobScratch, ScratchRoot, sweep};
pub use slot::{Restart, RestartReason, RunOrder, Slot};
