//! FFmpeg's errors in Darkroom's words.

use darkroom_api::{ErrorCode, JobError};

/// A fault that is not the user's: with FFmpeg's word for it in the detail.
pub(crate) fn internal(what: &str, e: impl std::fmt::Display) -> JobError {
    JobError::new(ErrorCode::Internal, format!("{what}: {e}. If it happens again, report it with the worker's log."))
}

/// An error while writing an output: a full disk is worth another try elsewhere, the rest is a fault.
pub(crate) fn writing(what: &str, e: ffmpeg_next::Error) -> JobError {
    if matches!(e, ffmpeg_next::Error::Other { errno } if errno == libc::ENOSPC || errno == libc::EDQUOT) {
        return scratch_full();
    }
    internal(what, e)
}

/// The same for files that we write ourselves.
pub(crate) fn writing_io(what: &str, e: &std::io::Error) -> JobError {
    if matches!(e.kind(), std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded) {
        return scratch_full();
    }
    internal(what, e)
}

fn scratch_full() -> JobError {
    JobError::new(ErrorCode::ScratchFull, "The scratch disk is full: free some space or give the worker a larger one.")
}

/// A damaged input.
pub(crate) fn corrupt(e: impl std::fmt::Display) -> JobError {
    JobError::new(ErrorCode::InputCorrupt, "The file is damaged and cannot be decoded: export or upload it again.")
        .with_detail(serde_json::json!({ "reason": e.to_string() }))
}

/// Something that this build cannot handle.
pub(crate) fn unsupported(what: impl std::fmt::Display) -> JobError {
    JobError::new(ErrorCode::InputUnsupported, format!("{what}: convert the file, for example to H.264 in MP4."))
}

/// Whether this is "come again with more input", the ordinary end of a receive loop.
pub(crate) fn is_again(e: &ffmpeg_next::Error) -> bool {
    matches!(e, ffmpeg_next::Error::Other { errno } if *errno == libc::EAGAIN)
}
