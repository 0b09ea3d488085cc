//! `darkroom work`: a worker, from its configuration to its orderly end.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use tokio::net::TcpListener;
use tokio_util::task::AbortOnDropHandle;

use crate::config::{Config, LogFormat, QueueKind, SinkKind};
use crate::event::{HeartbeatData, Outlet, Publisher};
use crate::gateway::{self, GatewayState, Readiness, Unready};
use crate::job::collect::Collector;
use crate::job::executor::{self, Pool, PoolOptions, SlotOptions};
use crate::job::reconcile::{self, Reconciler};
use crate::job::room::Room;
use crate::job::runner::{Journey, Rules};
use crate::queue::Queue;
use crate::queue::sqlite::{Options, Retention, SqliteQueue};
use crate::store::{Place, Stores};
use crate::telemetry::{self, Metrics, Telemetry};
use crate::trigger::Routes;
use crate::worker::{self, Drain};

use super::signals::Signals;
use super::{Failure, Global, open, print_line};

/// Name of the queue that queue sinks write to, in their file.
pub(crate) const EVENTS_QUEUE: &str = "events";
/// Time that events in the background get at the end.
const CLOSE: Duration = Duration::from_secs(5);
/// Between looks at the depth of the queue.
const DEPTH_EVERY: Duration = Duration::from_secs(5);

/// Arguments.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Check the configuration, the handlers, the stores, and the queue and sinks that are not embedded, and exit.
    #[arg(long)]
    check: bool,
}

pub(crate) async fn work(global: &Global, args: Args) -> Result<(), Failure> {
    let mut config = global.config()?;
    if global.json {
        config.log.format = LogFormat::Json;
    }
    if args.check {
        prepare(&config).await?;
        // Opening the embedded one would create it.
        if config.queue.kind != QueueKind::Sqlite {
            open::queue(&config).await?;
        }
        for sink in config.sinks.iter().filter(|sink| sink.kind != SinkKind::Queue) {
            Outlet::open(sink, None, &config.amqp, &config.aws).await.map_err(Failure::Usage)?;
        }
        return match global.json {
            true => print_line(&serde_json::json!({ "good": true }).to_string()),
            false => print_line("the configuration is good"),
        };
    }
    let _log = telemetry::init(&config.log).map_err(Failure::Usage)?;
    let drain = drain_on_signals(Duration::from_secs(config.worker.drain_secs))?;
    serve(&config, drain, |gateway| {
        if let Some(address) = gateway {
            tracing::info!("metrics on http://{address}/metrics");
        }
        Ok(())
    })
    .await
}

/// What can be checked without starting anything.
pub(super) struct Prepared {
    binary: PathBuf,
    handlers: Vec<darkroom_api::Descriptor>,
    stores: Stores,
    state: Place,
    routes: Routes,
}

impl Prepared {
    /// What looks for uploads that nobody told of.
    pub(super) fn reconciler(&self, queue: Arc<dyn Queue>, min_age: Duration) -> Reconciler {
        let (stores, routes, state) = (self.stores.clone(), self.routes.clone(), self.state.clone());
        Reconciler { queue, stores, routes, state, min_age }
    }

    /// What looks for what runs left behind.
    pub(super) fn collector(&self, min_age: Duration, is_dry: bool) -> Collector {
        Collector { stores: self.stores.clone(), state: self.state.clone(), min_age, is_dry }
    }

    /// The checked rules.
    pub(super) fn routes(&self) -> &Routes {
        &self.routes
    }
}

pub(super) async fn prepare(config: &Config) -> Result<Prepared, Failure> {
    let binary = match &config.executor.binary {
        Some(path) => path.clone(),
        None => executor::find_binary()?,
    };
    let handlers = executor::describe(&binary).await?;
    let stores = open::stores(config).await?;
    let state = config.state_place()?;
    let routes = Routes::new(&config.rules(), &config.stores, &handlers, &state)
        .map_err(|errors| Failure::Usage(errors.join("\n       ")))?;
    let records = stores.get(&state.store)?;
    records.reach(&state).await?;
    records.check_conditional_writes(&state).await?;
    Ok(Prepared { binary, handlers, stores, state, routes })
}

/// Runs a worker until drained. `ready` is called once everything is up, with the gateway's address.
pub(crate) async fn serve(
    config: &Config,
    drain: Drain,
    ready: impl FnOnce(Option<std::net::SocketAddr>) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let prepared = prepare(config).await?;
    let queue = open::queue(config).await?;
    let reconciler = prepared.reconciler(queue.clone(), reconcile::MIN_AGE);
    let metrics = Arc::new(Metrics::new());
    let publisher = Arc::new(publisher(config, Arc::clone(&metrics)).await?);
    let telemetry = Telemetry::new(Arc::clone(&metrics), Arc::clone(&publisher));
    let pool = Pool::open(pool_options(config, prepared.binary)).await?;
    metrics.set_slots(u32::try_from(pool.slots()).unwrap_or(u32::MAX));
    let journey = Arc::new(Journey {
        rules: rules(config, prepared.state.clone()),
        stores: prepared.stores.clone(),
        routes: prepared.routes,
        handlers: prepared.handlers.into_iter().map(|h| (h.name.clone(), h)).collect(),
        room: Room::new(pool.scratch().root().to_path_buf(), config.worker.scratch_max_bytes),
        pool: pool.clone(),
        telemetry: telemetry.clone(),
        in_hand: Default::default(),
    });

    let state =
        Arc::new(Vitals { queue: queue.clone(), stores: prepared.stores, state: prepared.state, drain: drain.clone() });
    let closing = tokio_util::sync::CancellationToken::new();
    let gateway = match config.gateway.listen {
        Some(address) => {
            Some(listen(address, GatewayState { metrics: metrics.clone(), readiness: state }, closing.clone()).await?)
        }
        None => None,
    };
    let mut aside = vec![
        AbortOnDropHandle::new(tokio::spawn(heartbeat(telemetry, Arc::clone(&journey), config.clone(), drain.clone()))),
        AbortOnDropHandle::new(tokio::spawn(watch_queue(queue.clone(), Arc::clone(&metrics)))),
        AbortOnDropHandle::new(tokio::spawn(watch_executors(pool.clone(), metrics))),
    ];
    if let Some(secs) = config.worker.reconcile_secs {
        aside.push(AbortOnDropHandle::new(tokio::spawn(reconciler.watch(Duration::from_secs(secs)))));
    }
    ready(gateway.as_ref().map(|(address, _)| *address))?;
    worker::serve(queue, journey, config.worker.fetch_ahead as usize, drain).await;
    drop(aside);
    pool.shutdown().await;
    publisher.close(CLOSE).await;
    closing.cancel();
    if let Some((_, server)) = gateway
        && server.await.is_err()
    {
        tracing::warn!("the gateway panicked");
    }
    Ok(())
}

fn rules(config: &Config, state: Place) -> Rules {
    let worker = &config.worker;
    Rules {
        worker: worker.id.clone(),
        state,
        life: Duration::from_secs(config.queue.lease_secs),
        max_attempts: worker.max_attempts,
        backoff: (Duration::from_secs(worker.backoff_min_secs), Duration::from_secs(worker.backoff_max_secs)),
        deadline: Duration::from_secs(worker.deadline_secs),
        run_limit_secs: worker.run_limit_secs as f64,
        stall_secs: config.executor.stall_secs,
        message_max_bytes: usize::try_from(worker.message_max_bytes).unwrap_or(usize::MAX),
        limits: config.limits,
    }
}

fn pool_options(config: &Config, binary: PathBuf) -> PoolOptions {
    let threads = config.executor.threads.unwrap_or(0);
    let devices = config.executor.devices.iter();
    let slots = devices.flat_map(|device| {
        let slot = SlotOptions { device: device.clone(), threads };
        std::iter::repeat_n(slot, config.worker.slots as usize)
    });
    PoolOptions {
        binary,
        scratch_dir: config.worker.scratch_dir.clone(),
        slots: slots.collect(),
        memory_mib: config.executor.memory_mib,
        leak_mib: config.executor.leak_mib,
        fresh: config.executor.fresh,
        registry: config.models.clone(),
        engine_cache: config.executor.engine_cache.clone(),
        read_only: Vec::new(),
    }
}

async fn publisher(config: &Config, metrics: Arc<Metrics>) -> Result<Publisher, Failure> {
    let mut outlets = Vec::with_capacity(config.sinks.len());
    for sink in &config.sinks {
        let queue = match &sink.path {
            Some(path) if sink.kind == SinkKind::Queue => Some(events_queue(path, Some(sink.retention())).await?),
            _ => None,
        };
        outlets.push(Outlet::open(sink, queue, &config.amqp, &config.aws).await.map_err(Failure::Usage)?);
    }
    Ok(Publisher::new(outlets, Duration::from_secs(config.event_retry_secs), metrics))
}

/// The queue in which a queue sink leaves events; who only takes events needs no `retention`.
pub(crate) async fn events_queue(
    path: &std::path::Path,
    retention: Option<Retention>,
) -> Result<Arc<dyn Queue>, Failure> {
    // Whoever waits for one event hands the others back: that must not use them up.
    let options = Options { name: EVENTS_QUEUE.into(), max_receives: u32::MAX, retention, ..Options::default() };
    Ok(Arc::new(SqliteQueue::new(open::file(path).await?, options)))
}

type Server = tokio::task::JoinHandle<()>;

async fn listen(
    address: std::net::SocketAddr,
    state: GatewayState,
    closing: tokio_util::sync::CancellationToken,
) -> Result<(std::net::SocketAddr, Server), Failure> {
    let fail = |e: std::io::Error| Failure::Failed(format!("The gateway cannot listen on {address}: {e}."));
    let listener = TcpListener::bind(address).await.map_err(fail)?;
    let address = listener.local_addr().map_err(fail)?;
    let server = tokio::spawn(gateway::serve(listener, state, closing.cancelled_owned()));
    Ok((address, server))
}

/// SIGTERM or SIGINT begins the drain; a second one, or the end of `grace`, forces it.
pub(crate) fn drain_on_signals(grace: Duration) -> Result<Drain, Failure> {
    let mut signals = Signals::catch()?;
    let drain = Drain::default();
    let told = drain.clone();
    tokio::spawn(async move {
        signals.next().await;
        tracing::info!(
            grace_secs = grace.as_secs(),
            "draining: running jobs may finish; signal again to hand them back"
        );
        told.begun.cancel();
        tokio::select! {
            _ = signals.next() => {}
            () = tokio::time::sleep(grace) => {}
        }
        told.forced.cancel();
    });
    Ok(drain)
}

/// What `/readyz` asks.
struct Vitals {
    queue: Arc<dyn Queue>,
    stores: Stores,
    state: Place,
    drain: Drain,
}

#[async_trait]
impl Readiness for Vitals {
    async fn reasons(&self) -> Vec<Unready> {
        let mut reasons = Vec::new();
        if self.drain.begun.is_cancelled() {
            reasons.push(Unready::new("draining", "the worker shuts down"));
        }
        if let Err(error) = self.queue.depth().await {
            reasons.push(Unready::new("queue", error.to_string()));
        }
        let store = async { self.stores.get(&self.state.store)?.reach(&self.state).await };
        if let Err(error) = store.await {
            reasons.push(Unready::new("store", error.message));
        }
        reasons
    }
}

async fn heartbeat(telemetry: Telemetry, journey: Arc<Journey>, config: Config, drain: Drain) {
    let started = Instant::now();
    let mut every = tokio::time::interval(Duration::from_secs(config.worker.heartbeat_secs.max(1)));
    loop {
        every.tick().await;
        let heartbeat = HeartbeatData {
            worker: config.worker.id.clone(),
            version: env!("CARGO_PKG_VERSION").into(),
            slots: u32::try_from(journey.pool.slots()).unwrap_or(u32::MAX),
            jobs: journey.in_hand.jobs(),
            draining: drain.begun.is_cancelled(),
            uptime_secs: started.elapsed().as_secs_f64(),
        };
        telemetry.heartbeat(heartbeat).await;
    }
}

async fn watch_queue(queue: Arc<dyn Queue>, metrics: Arc<Metrics>) {
    loop {
        match queue.depth().await {
            Ok(depth) => metrics.queue(&depth),
            Err(error) => tracing::debug!(%error, "depth of the queue not known"),
        }
        tokio::time::sleep(DEPTH_EVERY).await;
    }
}

async fn watch_executors(pool: Pool, metrics: Arc<Metrics>) {
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
