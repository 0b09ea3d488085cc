//! Memory that the process has allocated.

/// Bytes in use, ONNX Runtime's arenas included: the C library's own count. 0 where it keeps none.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
pub fn in_use() -> u64 {
    // SAFETY: the call takes nothing and returns numbers.
    let counts = unsafe { libc::mallinfo2() };
    (counts.uordblks + counts.hblkhd) as u64
}

/// Bytes in use; this C library does not tell.
#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
pub fn in_use() -> u64 {
    0
}
