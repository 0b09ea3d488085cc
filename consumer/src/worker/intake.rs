//! Fills the hands of a worker from its queues. See the design note of [`super`].

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use futures::{FutureExt, StreamExt};
use jiff::Timestamp;
use tokio::sync::Semaphore;
use tokio::time::{Instant, sleep, sleep_until, timeout};
use tokio_util::task::TaskTracker;

use super::Drain;
use super::schedule::{Schedule, Terms};
use crate::queue::lease::Lease;
use crate::queue::{Delivery, Queue, Settlement};
use crate::telemetry::Step;

/// Longest wait for a message in one call.
const WAIT: Duration = Duration::from_secs(20);
/// Pause after a queue failed.
const PAUSE: Duration = Duration::from_secs(2);
/// So long a queue that is asked without waiting holds up those of lower priority.
pub(super) const PATIENCE: Duration = Duration::from_secs(1);
/// Between looks at the time of day while nothing else happens.
const LOOK_EVERY: Duration = Duration::from_secs(20);

/// A queue that a worker takes from.
#[derive(Debug, Clone)]
pub struct Source {
    /// What the configuration calls it.
    pub name: String,
    /// The queue.
    pub queue: Arc<dyn Queue>,
    /// When it has its turn.
    pub terms: Terms,
}

/// What came of one request.
struct Answer {
    source: usize,
    waited: bool,
    failed: bool,
    deliveries: Vec<Delivery>,
}

/// Takes deliveries until `drain.begun`, at most `hands` at once, and sends each on its way by `travel`, which settles
/// it; returns when the last one has arrived.
pub(super) async fn run<T>(sources: Vec<Source>, hands: usize, drain: &Drain, travel: impl Fn(Lease) -> T)
where
    T: Future<Output = ()> + Send + 'static,
{
    let mut intake = Intake::new(sources, hands);
    let hands = Arc::clone(&intake.hands);
    let mut was_full = false;
    while !drain.begun.is_cancelled() {
        let free = hands.available_permits();
        if free > 0 {
            if std::mem::take(&mut was_full) {
                intake.schedule.begin_round();
            }
            intake.look(free);
        }
        was_full |= free == 0;
        let patience = intake.schedule.patience();
        tokio::select! {
            biased;
            () = drain.begun.cancelled() => break,
            Some(answer) = intake.asks.next() => intake.take(answer, &travel),
            Some(answer) = intake.waits.next() => intake.take(answer, &travel),
            freed = hands.acquire(), if free == 0 => drop(freed),
            () = sleep_until(patience.unwrap_or_else(Instant::now)), if patience.is_some() => {
                intake.schedule.pass_over(Instant::now());
            }
            () = sleep(LOOK_EVERY), if free > 0 => {}
        }
    }
    intake.end().await;
}

struct Intake {
    sources: Vec<Source>,
    schedule: Schedule,
    /// Questions, which are about to be answered.
    asks: FuturesUnordered<BoxFuture<'static, Answer>>,
    /// Waits for messages, and pauses of queues that failed.
    waits: FuturesUnordered<BoxFuture<'static, Answer>>,
    hands: Arc<Semaphore>,
    journeys: TaskTracker,
}

impl Intake {
    fn new(sources: Vec<Source>, hands: usize) -> Self {
        Intake {
            schedule: Schedule::new(sources.iter().map(|source| source.terms)),
            sources,
            asks: FuturesUnordered::new(),
            waits: FuturesUnordered::new(),
            hands: Arc::new(Semaphore::new(hands)),
            journeys: TaskTracker::new(),
        }
    }

    /// Asks for as many deliveries as there are free hands, or waits for them.
    fn look(&mut self, free: usize) {
        let at = Timestamp::now();
        let is_alone = self.sources.len() == 1;
        for (source, count) in self.schedule.ask(free, at, Instant::now(), PATIENCE) {
            if is_alone {
                // It need not be asked first: no other one is kept waiting.
                self.schedule.answered(source, 0);
            } else {
                self.request(source, count, Duration::ZERO);
            }
        }
        for source in self.schedule.wait(at) {
            self.request(source, if is_alone { free } else { 1 }, WAIT);
        }
    }

    fn request(&self, source: usize, max: usize, wait: Duration) {
        let Source { name, queue, .. } = self.sources[source].clone();
        let request = async move {
            let waited = !wait.is_zero();
            match queue.receive(max, wait).await {
                Ok(deliveries) => Answer { source, waited, failed: false, deliveries },
                Err(error) => {
                    tracing::warn!(queue = name, %error, "the queue does not answer, trying again");
                    Answer { source, waited, failed: true, deliveries: Vec::new() }
                }
            }
        };
        let requests = if wait.is_zero() { &self.asks } else { &self.waits };
        requests.push(request.boxed());
    }

    /// Puts what came into free hands, and hands back what there is none for.
    fn take<T>(&mut self, answer: Answer, travel: &impl Fn(Lease) -> T)
    where
        T: Future<Output = ()> + Send + 'static,
    {
        self.hear(&answer);
        let Answer { source, deliveries, .. } = answer;
        let is_open = self.schedule.is_open(source, Timestamp::now());
        let mut excess = Vec::new();
        for delivery in deliveries {
            let hand = Arc::clone(&self.hands).try_acquire_owned().ok().filter(|_| is_open);
            let Some(hand) = hand else {
                excess.push(delivery);
                continue;
            };
            Step::Received.reached(&delivery.message_id);
            // The heartbeat starts before anything else has a chance to wait.
            let journey = travel(Lease::start(Arc::clone(&self.sources[source].queue), delivery));
            self.journeys.spawn(async move {
                journey.await;
                drop(hand);
            });
        }
        self.hand_back(source, excess);
    }

    fn hear(&mut self, answer: &Answer) {
        let source = answer.source;
        match (answer.failed, answer.waited) {
            (false, true) => self.schedule.woke(source),
            (false, false) => self.schedule.answered(source, answer.deliveries.len()),
            // Nobody is held up by its pause.
            (true, _) => {
                self.schedule.set_aside(source);
                let pause = sleep(PAUSE);
                let over = Answer { source, waited: true, failed: false, deliveries: Vec::new() };
                self.waits.push(pause.map(|()| over).boxed());
            }
        }
    }

    fn hand_back(&self, source: usize, excess: Vec<Delivery>) {
        if excess.is_empty() {
            return;
        }
        let queue = Arc::clone(&self.sources[source].queue);
        self.journeys.spawn(async move {
            for delivery in excess {
                tracing::debug!(message_id = %delivery.message_id, "no hand is free for it: handed back");
                let release = Settlement::Release { after: Duration::ZERO, counted: false };
                if let Err(error) = queue.settle(delivery.receipt, release).await {
                    tracing::warn!(message_id = %delivery.message_id, %error, "not handed back: it comes again");
                }
            }
            queue.rest().await;
        });
    }

    /// Lets journeys come to their end; what questions still bring goes back. Waits end here: they would take what is
    /// handed back. One that is given up loses a message, for a lease, only where one is on its way at this very moment.
    async fn end(mut self) {
        self.waits.clear();
        for source in &self.sources {
            let queue = Arc::clone(&source.queue);
            self.journeys.spawn(async move { drop(timeout(PATIENCE, queue.rest()).await) });
        }
        let last = async {
            while let Some(answer) = self.asks.next().await {
                self.hand_back(answer.source, answer.deliveries);
            }
        };
        if timeout(PATIENCE, last).await.is_err() {
            tracing::debug!("a queue did not answer before the end");
        }
        self.journeys.close();
        self.journeys.wait().await;
    }
}

#[cfg(test)]
mod tests;
