//! How many jobs of a handler a worker has in hand at once (`[handlers.<name>] max_running`).
//!
//! # What a limit costs
//!
//! A queue is not searched for messages of other handlers: a message is received before its handler is known. One that is
//! over the limit waits [`PATIENCE`] for a place in the hand that it has, and goes back then, uncounted and before anything
//! is claimed or fetched, for 1 to 30 s, longer the more often it was handed over. So while such messages wait a worker
//! with a free hand turns over up to 20 of them a second, and a place may stay free for as long as the last pause. With a
//! broker that bills requests or cannot delay well, give the handler a queue of its own.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

/// A place that becomes free this soon is waited for. It also bounds how often messages are turned over.
const PATIENCE: Duration = Duration::from_millis(50);
/// First and longest pause of a message that found no place.
const PAUSES: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(30));

/// The places of those handlers that have a limit.
#[derive(Debug, Default)]
pub struct Places(BTreeMap<String, Arc<Semaphore>>);

/// A job's place; none is needed where its handler has no limit.
pub(super) struct Place {
    _permit: Option<OwnedSemaphorePermit>,
}

impl Places {
    /// So many for each handler.
    pub fn new(limits: impl IntoIterator<Item = (String, u32)>) -> Self {
        let semaphore = |count| Arc::new(Semaphore::new(usize::try_from(count).unwrap_or(Semaphore::MAX_PERMITS)));
        Places(limits.into_iter().map(|(name, count)| (name, semaphore(count))).collect())
    }

    /// A place, until it is dropped; `None` where all are taken.
    pub(super) async fn take(&self, handler: &str) -> Option<Place> {
        let Some(places) = self.0.get(handler) else { return Some(Place { _permit: None }) };
        let permit = timeout(PATIENCE, Arc::clone(places).acquire_owned()).await;
        // Never closed.
        Some(Place { _permit: Some(permit.ok()?.ok()?) })
    }
}

/// How long a message stays away that was handed over so often: doubled each time, at random between half and all of it.
pub(super) fn pause(receives: u32) -> Duration {
    let (first, longest) = PAUSES;
    let full = first.saturating_mul(2u32.saturating_pow(receives.saturating_sub(1).min(20))).min(longest);
    full.mul_f64(rand::Rng::random_range(&mut rand::rng(), 0.5..=1.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_place_is_free_again_when_its_job_has_ended() {
        let places = Places::new([("matting".to_owned(), 2)]);
        let (one, two) = (places.take("matting").await, places.take("matting").await);
        assert!(one.is_some() && two.is_some());
        assert!(places.take("matting").await.is_none());
        assert!(places.take("vsr").await.is_some(), "another handler has no limit");
        let (third, ()) = tokio::join!(places.take("matting"), async { drop(one) });
        assert!(third.is_some(), "a place that becomes free soon is waited for");
        assert!(pause(1) <= Duration::from_secs(1) && pause(1000) >= Duration::from_secs(15));
    }
}
