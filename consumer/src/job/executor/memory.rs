//! How much memory an executor holds.

use std::fs;

/// Memory in bytes that belongs to the process alone (anonymous and shared-memory pages, no mapped files); `None` where
/// the process is gone.
pub(super) fn own_bytes(pid: u32) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    own_bytes_in(&status)
}

fn own_bytes_in(status: &str) -> Option<u64> {
    let kib = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
        line.split_whitespace().next()?.parse::<u64>().ok()
    };
    Some((kib("RssAnon")? + kib("RssShmem")?) * 1024)
}

/// How many processes the kernel has ended for lack of memory since it started. Together with a SIGKILL that was not
/// ours a change tells what happened.
pub(super) fn kernel_kills() -> Option<u64> {
    let text = fs::read_to_string("/proc/vmstat").ok()?;
    text.lines().find_map(|line| line.strip_prefix("oom_kill ")?.trim().parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mapped_files_do_not_count() {
        let status = "Name:\tx\nVmRSS:\t  9000 kB\nRssAnon:\t   100 kB\nRssFile:\t  8000 kB\nRssShmem:\t     4 kB\n";
        assert_eq!(own_bytes_in(status), Some(104 * 1024));
        assert_eq!(own_bytes_in("Name:\tzombie\n"), None);
    }

    #[test]
    fn this_process_holds_memory_and_nobody_none() {
        assert!(own_bytes(std::process::id()).unwrap() > 100_000);
        assert_eq!(own_bytes(u32::MAX), None);
        assert!(kernel_kills().is_some());
    }
}
