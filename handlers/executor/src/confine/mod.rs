//! Shuts the process in, once, before it reads anything and before it has a second thread. The rules can only shrink.
//!
//! Three walls: what the process is to the kernel ([`process`]: dies with its parent, no core dump, first to go when
//! memory is short), which files it sees ([`files`]: Landlock), and which system calls it has ([`calls`]: seccomp; no
//! network). Where a kernel lacks one, the executor still runs and says so in Hello.

mod calls;
mod files;
mod process;

use std::path::PathBuf;

use darkroom_api::protocol::Confinement;

/// What this executor may use.
#[derive(Debug, Clone, Default)]
pub struct Allowed {
    /// Process id of the consumer, where known.
    pub parent: Option<u32>,
    /// Directories to write in.
    pub writable: Vec<PathBuf>,
    /// Files and directories to read.
    pub readable: Vec<PathBuf>,
    /// Whether a CUDA device is used: its nodes and its driver's local sockets.
    pub device: bool,
    /// Most memory in bytes; 0 for no limit.
    pub memory_bytes: u64,
}

/// Whether this machine has a device to use.
pub fn has_device() -> bool {
    !files::device_nodes(true).is_empty()
}

/// Shuts the process in.
///
/// # Errors
/// A sentence, where a wall that this kernel has could not be put up, or the parent is gone.
pub fn enter(allowed: &Allowed) -> Result<Confinement, String> {
    process::die_with(allowed.parent)?;
    process::be_first_to_go();
    let memory_limit_bytes = process::limit(allowed.memory_bytes, allowed.device)?;
    Ok(Confinement { memory_limit_bytes, ..enter_files_and_calls(allowed)? })
}

/// The two walls that stand for this thread and what it starts, alone: a thread may try them.
///
/// # Errors
/// As [`enter`].
pub fn enter_files_and_calls(allowed: &Allowed) -> Result<Confinement, String> {
    let landlock_abi = files::restrict(allowed)?;
    let seccomp = calls::restrict(allowed.device)?;
    Ok(Confinement { landlock_abi, seccomp, memory_limit_bytes: 0 })
}
