//! What was found out about models, for the life of the process: trying them takes seconds where they are slow.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use darkroom_api::Result;
use darkroom_inference::{Device, Precision};

use crate::Net;
use crate::tiles::Overlap;

/// A model by its content, where it runs, how it computes, and the threads of a call, by which its time goes.
pub(crate) type Key = (String, Device, Precision, usize);

/// Facts of models. Whoever comes second waits for what the first finds out.
#[derive(Debug, Default)]
pub struct Known(Mutex<HashMap<Key, Facts>>);

#[derive(Debug)]
struct Facts {
    net: Net,
    /// Measured only once a picture is cut.
    overlap: Option<Overlap>,
}

impl Known {
    /// What a model is; `inspect` finds it out the first time.
    ///
    /// # Errors
    /// Those of `inspect`.
    pub(crate) fn net(&self, key: &Key, inspect: impl FnOnce() -> Result<Net>) -> Result<Net> {
        let mut known = self.lock();
        if let Some(facts) = known.get(key) {
            return Ok(facts.net.clone());
        }
        let net = inspect()?;
        known.insert(key.clone(), Facts { net: net.clone(), overlap: None });
        Ok(net)
    }

    /// How much its tiles must overlap; `measure` finds it out the first time.
    ///
    /// # Errors
    /// Those of `measure`.
    pub(crate) fn overlap(&self, key: &Key, measure: impl FnOnce() -> Result<Overlap>) -> Result<Overlap> {
        let mut known = self.lock();
        let Some(facts) = known.get_mut(key) else { return measure() };
        match facts.overlap {
            Some(overlap) => Ok(overlap),
            None => Ok(*facts.overlap.insert(measure()?)),
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Key, Facts>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
