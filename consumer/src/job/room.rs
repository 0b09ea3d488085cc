//! Room on the scratch disk, promised before it is used.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use darkroom_api::{ErrorCode, JobError, Result};
use tokio::sync::Notify;

/// Room that is left to others on the disk.
const HEADROOM_BYTES: u64 = 64 << 20;

/// The scratch disk of one worker: promises at most `max_bytes`, and never more than the disk has free.
#[derive(Debug, Clone)]
pub struct Room {
    root: PathBuf,
    max_bytes: u64,
    reserved: Arc<Mutex<u64>>,
    given_back: Arc<Notify>,
}

impl Room {
    /// Scratch space below an existing directory.
    pub fn new(root: PathBuf, max_bytes: u64) -> Self {
        Room { root, max_bytes, reserved: Arc::default(), given_back: Arc::default() }
    }

    /// Promises room for one job.
    ///
    /// # Errors
    /// [`ErrorCode::InputTooLarge`] when it could never fit, [`ErrorCode::ScratchFull`] when it does not fit now.
    pub fn reserve(&self, bytes: u64) -> Result<Reservation> {
        let mut reservation = Reservation { room: self.clone(), bytes: 0 };
        reservation.grow(bytes)?;
        Ok(reservation)
    }

    /// Promises room for one job, waiting while other jobs of this worker hold what it needs. Hold nothing meanwhile.
    ///
    /// # Errors
    /// As [`Room::reserve`]; [`ErrorCode::ScratchFull`] only when no other job holds anything.
    pub async fn reserve_when_free(&self, bytes: u64) -> Result<Reservation> {
        loop {
            let given_back = self.given_back.notified();
            let alone = *self.reserved.lock().unwrap_or_else(PoisonError::into_inner) == 0;
            match self.reserve(bytes) {
                Err(error) if error.code == ErrorCode::ScratchFull && !alone => given_back.await,
                outcome => return outcome,
            }
        }
    }

    fn promise(&self, bytes: u64, held: u64) -> Result<()> {
        if held.saturating_add(bytes) > self.max_bytes {
            return Err(JobError::new(
                ErrorCode::InputTooLarge,
                format!(
                    "The job needs {} MiB of scratch space and the worker has {} MiB: raise `worker.scratch_max_bytes` or use a smaller input.",
                    mib(held.saturating_add(bytes)),
                    mib(self.max_bytes)
                ),
            ));
        }
        let mut reserved = self.reserved.lock().unwrap_or_else(PoisonError::into_inner);
        let free = free_bytes(&self.root)?;
        // What is promised but not yet written still counts as free on the disk. Taking off all promises, written or
        // not, is the safe side.
        let on_disk = free.saturating_sub(HEADROOM_BYTES).saturating_sub(*reserved);
        let room = self.max_bytes.saturating_sub(*reserved).min(on_disk);
        if bytes > room {
            return Err(JobError::new(
                ErrorCode::ScratchFull,
                format!(
                    "The job needs {} MiB more on the scratch disk and {} MiB are free: free some space, or move `worker.scratch_dir`.",
                    mib(bytes),
                    mib(room)
                ),
            ));
        }
        *reserved += bytes;
        Ok(())
    }
}

/// Promised room; given back when dropped.
#[derive(Debug)]
pub struct Reservation {
    room: Room,
    bytes: u64,
}

impl Reservation {
    /// Asks for more.
    ///
    /// # Errors
    /// As [`Scratch::reserve`]; what is held stays held.
    pub fn grow(&mut self, bytes: u64) -> Result<()> {
        self.room.promise(bytes, self.bytes)?;
        self.bytes += bytes;
        Ok(())
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        // A promise that was refused gives nothing back, and must not wake those who wait: it may be their own.
        if self.bytes == 0 {
            return;
        }
        let mut reserved = self.room.reserved.lock().unwrap_or_else(PoisonError::into_inner);
        *reserved = reserved.saturating_sub(self.bytes);
        drop(reserved);
        self.room.given_back.notify_waiters();
    }
}

fn free_bytes(path: &Path) -> Result<u64> {
    let stat = rustix::fs::statvfs(path).map_err(|e| {
        JobError::new(
            ErrorCode::ScratchFull,
            format!("The scratch disk cannot be read ({e}): check `worker.scratch_dir`."),
        )
    })?;
    Ok(stat.f_bavail.saturating_mul(stat.f_frsize))
}

fn mib(bytes: u64) -> u64 {
    bytes.div_ceil(1 << 20)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn promises_are_bounded_and_given_back() {
        let dir = tempfile::tempdir().unwrap();
        let room = Room::new(dir.path().into(), 100 << 20);
        let mut first = room.reserve(60 << 20).unwrap();
        assert_eq!(room.reserve(60 << 20).unwrap_err().code, ErrorCode::ScratchFull);
        assert_eq!(first.grow(60 << 20).unwrap_err().code, ErrorCode::InputTooLarge);
        first.grow(40 << 20).unwrap();
        drop(first);
        room.reserve(100 << 20).unwrap();
    }

    #[tokio::test]
    async fn a_job_waits_for_what_its_neighbour_holds() {
        let dir = tempfile::tempdir().unwrap();
        let room = Room::new(dir.path().into(), 100 << 20);
        let first = room.reserve(60 << 20).unwrap();
        let mut second = Box::pin(room.reserve_when_free(60 << 20));
        assert!(futures::poll!(&mut second).is_pending());
        drop(first);
        assert!(futures::poll!(&mut second).is_ready());
    }

    #[test]
    fn what_could_never_fit_is_not_retried() {
        let dir = tempfile::tempdir().unwrap();
        let error = Room::new(dir.path().into(), 10).reserve(11).unwrap_err();
        assert_eq!(error.code, ErrorCode::InputTooLarge);
        assert_eq!(error.class(), darkroom_api::ErrorClass::Permanent);
    }

    #[test]
    fn the_disk_itself_is_a_limit() {
        let dir = tempfile::tempdir().unwrap();
        let error = Room::new(dir.path().into(), u64::MAX).reserve(u64::MAX / 2).unwrap_err();
        assert_eq!(error.code, ErrorCode::ScratchFull);
    }
}
