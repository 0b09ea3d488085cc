//! Room on the scratch disk, promised before it is used.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use darkroom_api::{ErrorCode, JobError, Result};
use tokio::sync::Notify;

/// Room that is left to others on the disk.
const HEADROOM_BYTES: u64 = 64 << 20;

/// The scratch disk of one worker: promises at most `max_bytes`, and never more than the disk has free.
#[derive(Debug, Clone)]
pub struct Room {
    root: PathBuf,
    max_bytes: u64,
    promised: Arc<Mutex<Promised>>,
    given_back: Arc<Notify>,
}

/// What is promised to all jobs together.
#[derive(Debug, Default)]
struct Promised {
    bytes: u64,
    /// Jobs that hold a promise.
    holders: usize,
    /// Of these, jobs that wait for more before they go on.
    waiting: usize,
}

impl Room {
    /// Scratch space below an existing directory.
    pub fn new(root: PathBuf, max_bytes: u64) -> Self {
        Room { root, max_bytes, promised: Arc::default(), given_back: Arc::default() }
    }

    /// Promises room for one job.
    ///
    /// # Errors
    /// [`ErrorCode::InputTooLarge`] when it could never fit, [`ErrorCode::ScratchFull`] when it does not fit now.
    pub fn reserve(&self, bytes: u64) -> Result<Reservation> {
        self.promise(bytes, None)?;
        Ok(Reservation { room: self.clone(), bytes })
    }

    /// Promises room for one job, waiting while other jobs of this worker hold what it needs. Hold nothing meanwhile.
    ///
    /// # Errors
    /// As [`Room::reserve`]; [`ErrorCode::ScratchFull`] only when no other job holds anything.
    pub async fn reserve_when_free(&self, bytes: u64) -> Result<Reservation> {
        loop {
            let given_back = self.given_back.notified();
            let alone = self.lock().bytes == 0;
            match self.reserve(bytes) {
                Err(error) if error.code == ErrorCode::ScratchFull && !alone => given_back.await,
                outcome => return outcome,
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Promised> {
        self.promised.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Holders that wait for more.
    #[cfg(test)]
    pub(crate) fn waiting(&self) -> usize {
        self.lock().waiting
    }

    /// Promises more to a holder, or something to a new one.
    fn promise(&self, bytes: u64, holds: Option<u64>) -> Result<()> {
        let held = holds.unwrap_or(0);
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
        let mut promised = self.lock();
        let free = free_bytes(&self.root)?;
        // What is promised but not yet written still counts as free on the disk. Taking off all promises, written or
        // not, is the safe side.
        let on_disk = free.saturating_sub(HEADROOM_BYTES).saturating_sub(promised.bytes);
        let room = self.max_bytes.saturating_sub(promised.bytes).min(on_disk);
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
        promised.bytes += bytes;
        promised.holders += usize::from(holds.is_none());
        Ok(())
    }

    /// For a holder that is to wait for others; none where nobody is left who goes on and gives something back.
    fn wait(&self) -> Option<Waiting<'_>> {
        let mut promised = self.lock();
        let others = promised.holders.saturating_sub(promised.waiting + 1);
        (others > 0).then(|| promised.waiting += 1).map(|()| Waiting(self))
    }
}

/// A holder that waits.
struct Waiting<'a>(&'a Room);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.lock().waiting -= 1;
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
    /// As [`Room::reserve`]; what is held stays held.
    pub fn grow(&mut self, bytes: u64) -> Result<()> {
        self.room.promise(bytes, Some(self.bytes))?;
        self.bytes += bytes;
        Ok(())
    }

    /// Asks for more, waiting while other jobs of this worker go on that hold what it needs.
    ///
    /// # Errors
    /// As [`Reservation::grow`]; [`ErrorCode::ScratchFull`] only when all others that hold something wait for more, too.
    pub async fn grow_when_free(&mut self, bytes: u64) -> Result<()> {
        loop {
            let room = self.room.clone();
            let given_back = room.given_back.notified();
            match self.grow(bytes) {
                Err(error) if error.code == ErrorCode::ScratchFull => {
                    let Some(_waiting) = room.wait() else { return Err(error) };
                    given_back.await;
                }
                outcome => return outcome,
            }
        }
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        let mut promised = self.room.lock();
        promised.bytes = promised.bytes.saturating_sub(self.bytes);
        promised.holders -= 1;
        drop(promised);
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

    #[tokio::test]
    async fn a_job_waits_for_more_unless_all_others_wait_too() {
        let dir = tempfile::tempdir().unwrap();
        let room = Room::new(dir.path().into(), 100 << 20);
        let [mut first, mut second, third] = [30, 30, 30].map(|mib| room.reserve(mib << 20).unwrap());
        assert_eq!(first.grow_when_free(80 << 20).await.unwrap_err().code, ErrorCode::InputTooLarge);
        let mut more = Box::pin(first.grow_when_free(60 << 20));
        assert!(futures::poll!(&mut more).is_pending());
        drop(third);
        assert!(futures::poll!(&mut more).is_pending(), "40 MiB are free");
        let error = second.grow_when_free(60 << 20).await.unwrap_err();
        assert_eq!(error.code, ErrorCode::ScratchFull, "nobody is left to wait for");
        drop(second);
        more.await.unwrap();
        // One that gave up waiting is not waited with.
        let mut fourth = room.reserve(1 << 20).unwrap();
        let mut given_up = Box::pin(fourth.grow_when_free(20 << 20));
        assert!(futures::poll!(&mut given_up).is_pending());
        drop(given_up);
        assert_eq!(room.waiting(), 0);
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
