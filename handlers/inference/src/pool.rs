//! Sessions between jobs.

use std::ops::{Deref, DerefMut};
use std::sync::{Mutex, PoisonError};

use darkroom_api::{ErrorCode, Result};
use ort::session::Session;

use crate::device::Device;
use crate::runtime::Precision;

/// Most sessions kept without work: as many as a job uses on a GPU. Each holds its weights and the memory of the largest
/// picture it saw.
const MAX_IDLE: usize = 12;

/// What makes two sessions interchangeable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Key {
    /// Content of the model.
    pub sha256: String,
    /// Where it runs.
    pub device: Device,
    /// How it computes.
    pub precision: Precision,
    /// Name of the edit that was made to it.
    pub edit: Option<&'static str>,
    /// Threads of one call on the CPU.
    pub threads: usize,
}

/// Idle sessions, the one used last at the end.
#[derive(Debug, Default)]
pub struct Pool(Mutex<Vec<(Key, Session)>>);

impl Pool {
    /// The idle session of that key that was used last.
    pub fn take(&self, key: &Key) -> Option<Session> {
        let mut idle = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let index = idle.iter().rposition(|(known, _)| known == key)?;
        Some(idle.remove(index).1)
    }

    fn give(&self, key: Key, session: Session) {
        let evicted = {
            let mut idle = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            idle.push((key, session));
            (idle.len() > MAX_IDLE).then(|| idle.remove(0))
        };
        // Dropped outside the lock: freeing a session's memory takes a while.
        drop(evicted);
    }

    /// Frees the idle sessions.
    pub fn clear(&self) {
        let idle = std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner));
        // Dropped outside the lock, as in `give`.
        drop(idle);
    }

    /// Frees the idle sessions of all models but one.
    pub fn keep(&self, sha256: &str) {
        let others: Vec<_> = {
            let mut idle = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            idle.extract_if(.., |(key, _)| key.sha256 != sha256).collect()
        };
        // Dropped outside the lock, as in `give`.
        drop(others);
    }

    /// How many sessions are idle.
    pub fn idle(&self) -> usize {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).len()
    }
}

/// A session for one user at a time; goes back to the pool when dropped, unless its device failed.
#[derive(Debug)]
pub struct PooledSession<'a> {
    pool: &'a Pool,
    /// Taken by drop only.
    held: Option<(Key, Session)>,
    name: String,
    /// Not to be kept.
    broken: bool,
}

impl<'a> PooledSession<'a> {
    pub(crate) fn new(pool: &'a Pool, key: Key, session: Session, name: String) -> Self {
        PooledSession { pool, held: Some((key, session)), name, broken: false }
    }

    /// Name of the model in the registry.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Content of the model.
    pub fn sha256(&self) -> &str {
        self.held.as_ref().map_or("", |(key, _)| &key.sha256)
    }

    /// Where it runs.
    pub fn device(&self) -> Device {
        self.held.as_ref().map_or(Device::Cpu, |(key, _)| key.device)
    }

    /// Frees it: nobody will need it again.
    pub fn discard(mut self) {
        self.broken = true;
    }

    /// Calls the session; an ONNX Runtime error becomes a job's error, and a session whose device failed is not used
    /// again.
    ///
    /// # Errors
    /// As [`crate::job_error`].
    pub fn call<T>(&mut self, work: impl FnOnce(&mut Session) -> ort::Result<T>) -> Result<T> {
        let result = work(self).map_err(|e| crate::job_error(&format!("running the model `{}`", self.name), &e));
        self.broken |= matches!(&result, Err(e) if e.code == ErrorCode::DeviceBusy);
        result
    }
}

#[allow(clippy::expect_used, reason = "`held` is taken by drop only")]
impl Deref for PooledSession<'_> {
    type Target = Session;

    fn deref(&self) -> &Session {
        &self.held.as_ref().expect("a session until dropped").1
    }
}

#[allow(clippy::expect_used, reason = "`held` is taken by drop only")]
impl DerefMut for PooledSession<'_> {
    fn deref_mut(&mut self) -> &mut Session {
        &mut self.held.as_mut().expect("a session until dropped").1
    }
}

impl Drop for PooledSession<'_> {
    fn drop(&mut self) {
        if let Some((key, session)) = self.held.take()
            && !self.broken
        {
            self.pool.give(key, session);
        }
    }
}
