//! What the process is to the kernel.

use rustix::process::{Pid, Resource, Rlimit, Signal, getppid, getrlimit, set_parent_process_death_signal, setrlimit};

/// Asks to be killed when the parent dies.
///
/// # Errors
/// Where the parent is dead already: the signal would never come.
pub fn die_with(parent: Option<u32>) -> Result<(), String> {
    set_parent_process_death_signal(Some(Signal::KILL)).map_err(|e| format!("PR_SET_PDEATHSIG: {e}"))?;
    let now = getppid().map(Pid::as_raw_nonzero).and_then(|pid| u32::try_from(pid.get()).ok());
    match parent {
        Some(parent) if now != Some(parent) => Err("the consumer is gone".into()),
        _ => Ok(()),
    }
}

/// Tells the kernel to end this process before others when memory is short. Where it does not listen (no `/proc`),
/// the limits below still hold.
pub fn be_first_to_go() {
    std::fs::write("/proc/self/oom_score_adj", "1000").ok();
}

/// No core dumps: they would hold a user's frames. On a CPU the memory is limited too; a CUDA context maps far more
/// than it uses, so there the consumer's watchdog alone counts. Returns the limit in force.
///
/// `RLIMIT_DATA` and not `RLIMIT_AS`: address space is cheap, and mapped models are not ours to count.
pub fn limit(memory_bytes: u64, device: bool) -> Result<u64, String> {
    let none = Rlimit { current: Some(0), maximum: Some(0) };
    setrlimit(Resource::Core, none).map_err(|e| format!("RLIMIT_CORE: {e}"))?;
    if memory_bytes == 0 || device {
        return Ok(0);
    }
    // Root of a container may hold a lower limit already.
    let bytes = getrlimit(Resource::Data).maximum.map_or(memory_bytes, |most| most.min(memory_bytes));
    let data = Rlimit { current: Some(bytes), maximum: Some(bytes) };
    setrlimit(Resource::Data, data).map_err(|e| format!("RLIMIT_DATA: {e}"))?;
    Ok(bytes)
}
