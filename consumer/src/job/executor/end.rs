//! How an executor's end becomes an error that a user can act on.

use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;

use darkroom_api::{ErrorCode, JobError};

use super::slot::RestartReason;

/// Why we stopped believing in an executor.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Lost {
    /// It closed the socket: it is dead or dying.
    Closed,
    /// No progress for its stage's limit.
    Hung { stage: Option<String>, secs: f64 },
    /// No answer to a short request.
    Silent { request: &'static str, secs: f64 },
    /// More memory than it may have.
    OverMemory { bytes: u64 },
    /// The run took longer than one run may.
    OverRunLimit { secs: f64 },
    /// It was asked to stop and did not.
    CancelIgnored { secs: f64 },
    /// It said what the protocol does not allow.
    Garbage(String),
}

/// What is known about the process at its end.
#[derive(Debug, Clone, Default)]
pub(super) struct Evidence {
    /// Exit status, where it could be had.
    pub status: Option<ExitStatus>,
    /// Last words on standard error.
    pub stderr: String,
    /// Memory it held when last looked at.
    pub last_bytes: u64,
    /// Memory it may hold; 0 for no limit.
    pub limit_bytes: u64,
    /// Whether the kernel ended some process for lack of memory meanwhile.
    pub kernel_killed: bool,
}

impl Lost {
    /// The error for the job, and the reason for the pool.
    pub(super) fn verdict(&self, evidence: &Evidence) -> (JobError, RestartReason) {
        let lost = |code, message: String| JobError::new(code, message);
        match self {
            Lost::Closed => crashed(evidence),
            Lost::Hung { stage, secs } => {
                let stage = stage.as_deref().map_or("before its first progress".into(), |s| format!("in stage `{s}`"));
                let why = format!(
                    "The handler made no progress for {secs} s {stage} and was ended. If it hangs again, the input or the device is at fault: check that the input plays."
                );
                (lost(ErrorCode::ExecutorHung, why), RestartReason::Hung)
            }
            Lost::Silent { request, secs } => {
                let why = format!(
                    "The executor did not answer `{request}` within {secs} s and was ended. If that happens again, look at the load of the machine."
                );
                (lost(ErrorCode::ExecutorHung, why), RestartReason::Hung)
            }
            Lost::OverMemory { bytes } => (out_of_memory(*bytes, evidence.limit_bytes), RestartReason::OutOfMemory),
            Lost::OverRunLimit { secs } => {
                let why = format!(
                    "The run took longer than {secs} s and was ended: raise `worker.run_limit_secs`, or shorten the input."
                );
                (lost(ErrorCode::RunLimitExceeded, why), RestartReason::RunLimit)
            }
            Lost::CancelIgnored { secs } => {
                let why = format!("The job was cancelled; it did not stop within {secs} s, so its process was ended.");
                (lost(ErrorCode::Cancelled, why), RestartReason::Cancelled)
            }
            Lost::Garbage(what) => {
                let why = format!(
                    "The executor broke the protocol ({what}) and was replaced. Check that `darkroom` and `darkroom-executor` are of one version."
                );
                (lost(ErrorCode::ExecutorProtocol, why), RestartReason::Protocol)
            }
        }
    }
}

fn crashed(evidence: &Evidence) -> (JobError, RestartReason) {
    let signal = evidence.status.and_then(|status| status.signal());
    let near_limit = evidence.limit_bytes > 0 && evidence.last_bytes >= evidence.limit_bytes / 10 * 9;
    let out_of = match signal {
        Some(libc::SIGABRT) => near_limit || ran_out(&evidence.stderr),
        Some(libc::SIGKILL) => near_limit || evidence.kernel_killed,
        _ => false,
    };
    if out_of {
        return (out_of_memory(evidence.last_bytes, evidence.limit_bytes), RestartReason::OutOfMemory);
    }
    let how = match (signal, evidence.status.and_then(|status| status.code())) {
        (Some(signal), _) => format!("by signal {} ({})", signal, signal_name(signal)),
        (None, Some(code)) => format!("with exit code {code}"),
        (None, None) => "in an unknown way".into(),
    };
    let why = format!(
        "The executor ended {how} in the middle of its work. If it ends so again, the input is at fault: check that it plays."
    );
    let mut error = JobError::new(ErrorCode::ExecutorCrashed, why);
    let words = super::drain::printable(evidence.stderr.trim()).trim().to_owned();
    if !words.is_empty() {
        error = error.with_detail(serde_json::json!({ "stderr": words }));
    }
    (error, RestartReason::Crashed)
}

/// Last words of an allocator that aborts.
fn ran_out(stderr: &str) -> bool {
    ["memory allocation of ", "std::bad_alloc"].iter().any(|words| stderr.contains(words))
}

fn out_of_memory(bytes: u64, limit_bytes: u64) -> JobError {
    let limit = match limit_bytes {
        0 => "the machine had no more".to_owned(),
        bytes => format!("its limit is {} MiB", bytes >> 20),
    };
    let why = format!(
        "The executor needed too much memory and was ended ({limit}): raise `executor.memory_mib`, lower the batch size, or use a smaller input."
    );
    let detail = serde_json::json!({ "held_bytes": bytes, "limit_bytes": limit_bytes });
    JobError::new(ErrorCode::ExecutorOutOfMemory, why).with_detail(detail)
}

fn signal_name(signal: i32) -> &'static str {
    match signal {
        libc::SIGSEGV => "SIGSEGV",
        libc::SIGABRT => "SIGABRT",
        libc::SIGKILL => "SIGKILL",
        libc::SIGBUS => "SIGBUS",
        libc::SIGFPE => "SIGFPE",
        libc::SIGILL => "SIGILL",
        libc::SIGTERM => "SIGTERM",
        libc::SIGSYS => "SIGSYS",
        libc::SIGTRAP => "SIGTRAP",
        libc::SIGINT => "SIGINT",
        _ => "unnamed",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn died(raw: i32, stderr: &str, last_bytes: u64) -> ErrorCode {
        let status = Some(ExitStatus::from_raw(raw));
        let evidence = Evidence { status, stderr: stderr.into(), last_bytes, limit_bytes: 1000, ..Evidence::default() };
        Lost::Closed.verdict(&evidence).0.code
    }

    #[test]
    fn a_death_is_a_crash_unless_memory_explains_it() {
        assert_eq!(died(libc::SIGSEGV, "", 990), ErrorCode::ExecutorCrashed);
        assert_eq!(died(libc::SIGABRT, "assertion failed", 10), ErrorCode::ExecutorCrashed);
        assert_eq!(died(libc::SIGABRT, "memory allocation of 64 bytes failed", 10), ErrorCode::ExecutorOutOfMemory);
        assert_eq!(died(libc::SIGKILL, "", 10), ErrorCode::ExecutorCrashed);
        assert_eq!(died(libc::SIGKILL, "", 950), ErrorCode::ExecutorOutOfMemory);
        let evidence = Evidence { status: Some(ExitStatus::from_raw(9)), kernel_killed: true, ..Evidence::default() };
        assert_eq!(Lost::Closed.verdict(&evidence).0.code, ErrorCode::ExecutorOutOfMemory);
    }

    #[test]
    fn the_message_names_signal_or_exit_code_and_keeps_the_last_words() {
        let with =
            |raw| Evidence { status: Some(ExitStatus::from_raw(raw)), stderr: "oops\n".into(), ..Evidence::default() };
        let (error, reason) = Lost::Closed.verdict(&with(libc::SIGSEGV));
        assert!(error.message.contains("signal 11 (SIGSEGV)"), "{}", error.message);
        assert_eq!(error.detail.unwrap()["stderr"], "oops");
        assert_eq!(reason, RestartReason::Crashed);
        assert!(Lost::Closed.verdict(&with(3 << 8)).0.message.contains("exit code 3"));
    }

    #[test]
    fn no_end_promises_another_attempt() {
        let ends = [
            Lost::Closed,
            Lost::Hung { stage: None, secs: 1.0 },
            Lost::Silent { request: "probe", secs: 1.0 },
            Lost::OverMemory { bytes: 1 },
            Lost::Garbage("x".into()),
        ];
        for end in ends {
            let said = end.verdict(&Evidence::default()).0.message;
            assert!(!said.contains("tried again"), "this may have been the last: {said}");
        }
    }

    #[test]
    fn every_other_end_has_its_code() {
        let code = |lost: Lost| lost.verdict(&Evidence::default()).0.code;
        assert_eq!(code(Lost::Hung { stage: Some("decode".into()), secs: 1.0 }), ErrorCode::ExecutorHung);
        assert_eq!(code(Lost::Silent { request: "probe", secs: 1.0 }), ErrorCode::ExecutorHung);
        assert_eq!(code(Lost::OverMemory { bytes: 1 }), ErrorCode::ExecutorOutOfMemory);
        assert_eq!(code(Lost::OverRunLimit { secs: 1.0 }), ErrorCode::RunLimitExceeded);
        assert_eq!(code(Lost::CancelIgnored { secs: 1.0 }), ErrorCode::Cancelled);
        assert_eq!(code(Lost::Garbage("x".into())), ErrorCode::ExecutorProtocol);
    }
}
