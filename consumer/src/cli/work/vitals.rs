//! What a worker tells of itself while it works: readiness, heartbeats, depths, lost executors.

use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use futures::future::join_all;

use crate::config::Config;
use crate::event::HeartbeatData;
use crate::gateway::{Readiness, Unready};
use crate::job::executor::Pool;
use crate::job::runner::Journey;
use crate::store::{Place, Stores};
use crate::telemetry::{Metrics, Telemetry};
use crate::worker::{Drain, Source};

/// Between looks at the depth of a queue.
const DEPTH_EVERY: Duration = Duration::from_secs(5);

/// What `/readyz` asks.
pub(super) struct Vitals {
    pub(super) queues: Vec<Source>,
    pub(super) stores: Stores,
    pub(super) state: Place,
    pub(super) drain: Drain,
}

#[async_trait]
impl Readiness for Vitals {
    async fn reasons(&self) -> Vec<Unready> {
        let mut reasons = Vec::new();
        if let Some(why) = self.drain.why() {
            reasons.push(Unready::new("draining", why));
        }
        let depths = join_all(self.queues.iter().map(|source| source.queue.depth())).await;
        for (source, depth) in self.queues.iter().zip(depths) {
            if let Err(error) = depth {
                reasons.push(Unready::new("queue", format!("`{}`: {error}", source.name)));
            }
        }
        let store = async { self.stores.get(&self.state.store)?.reach(&self.state).await };
        if let Err(error) = store.await {
            reasons.push(Unready::new("store", error.message));
        }
        reasons
    }
}

/// Tells that the worker lives: at once, from time to time, and when it begins to drain.
pub(super) async fn heartbeat(telemetry: Telemetry, journey: Arc<Journey>, config: Config, drain: Drain) {
    let started = Instant::now();
    let mut every = tokio::time::interval(Duration::from_secs(config.worker.heartbeat_secs.max(1)));
    let mut drain_told = false;
    loop {
        tokio::select! {
            _ = every.tick() => {}
            () = drain.begun.cancelled(), if !drain_told => {}
        }
        let why = drain.why();
        drain_told = why.is_some();
        let heartbeat = HeartbeatData {
            worker: config.worker.id.clone(),
            version: env!("CARGO_PKG_VERSION").into(),
            slots: u32::try_from(journey.pool.slots()).unwrap_or(u32::MAX),
            jobs: journey.in_hand.jobs(),
            draining: why.is_some(),
            draining_because: why,
            queues: config.all_queues().map(|queue| queue.name.clone()).collect(),
            uptime_secs: started.elapsed().as_secs_f64(),
        };
        telemetry.heartbeat(heartbeat).await;
    }
}

/// Keeps the metrics of one queue's depth.
pub(super) async fn watch_queue(source: Source, metrics: Arc<Metrics>) {
    let Source { name, queue, .. } = source;
    loop {
        match queue.depth().await {
            Ok(depth) => metrics.queue(&name, &depth),
            Err(error) => tracing::debug!(queue = name, %error, "depth of the queue not known"),
        }
        tokio::time::sleep(DEPTH_EVERY).await;
    }
}

/// Counts executors that are replaced.
pub(super) async fn watch_executors(pool: Pool, metrics: Arc<Metrics>) {
    let mut restarts = pool.restarts();
    drop(pool);
    loop {
        match restarts.recv().await {
            Ok(restart) => metrics.executor_restarted(restart.reason.as_str()),
            Err(tokio::sync::broadcast::error::RecvError::Lagged(_)) => {}
            Err(tokio::sync::broadcast::error::RecvError::Closed) => return,
        }
    }
}
