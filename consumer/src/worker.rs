//! Takes deliveries and sends each on its journey, until told to stop.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::job::runner::Journey;
use crate::queue::Queue;
use crate::queue::lease::Lease;
use crate::telemetry::Step;

/// Longest wait for a message in one call.
const WAIT: Duration = Duration::from_secs(20);
/// Pause after the queue failed.
const PAUSE: Duration = Duration::from_secs(2);

/// The two steps of an orderly end.
#[derive(Debug, Clone, Default)]
pub struct Drain {
    /// Take nothing new; hand back what has not started to run.
    pub begun: CancellationToken,
    /// Hand back everything.
    pub forced: CancellationToken,
}

/// Takes deliveries until `drain.begun`; returns when the last one is settled. At most slots + `fetch_ahead` deliveries
/// are in hand.
pub async fn serve(queue: Arc<dyn Queue>, journey: Arc<Journey>, fetch_ahead: usize, drain: Drain) {
    let hands = Arc::new(Semaphore::new(journey.pool.slots() + fetch_ahead));
    let journeys = TaskTracker::new();
    while !drain.begun.is_cancelled() {
        let received = tokio::select! {
            biased;
            () = drain.begun.cancelled() => break,
            received = receive(&*queue, &hands) => received,
        };
        for delivery in received {
            Step::Received.reached(&delivery.message_id);
            // The heartbeat starts before anything else has a chance to wait.
            let lease = Lease::start(queue.clone(), delivery);
            // There are as many permits as were asked for: `receive` takes no more than are free.
            let hand = Arc::clone(&hands).acquire_owned().await.ok();
            let (journey, drain) = (Arc::clone(&journey), drain.clone());
            journeys.spawn(async move {
                journey.travel(lease, drain).await;
                drop(hand);
            });
        }
    }
    journeys.close();
    journeys.wait().await;
}

async fn receive(queue: &dyn Queue, hands: &Semaphore) -> Vec<crate::queue::Delivery> {
    // Waits for one free hand without keeping it: the loop is the only one that takes.
    drop(hands.acquire().await);
    match queue.receive(hands.available_permits(), WAIT).await {
        Ok(deliveries) => deliveries,
        Err(error) => {
            tracing::warn!(%error, "the queue does not answer, trying again");
            tokio::time::sleep(PAUSE).await;
            Vec::new()
        }
    }
}
