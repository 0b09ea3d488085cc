//! `darkroom work`: a worker, from its configuration to its orderly end.

mod vitals;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use darkroom_api::ErrorCode;
use tokio::net::TcpListener;
use tokio_util::task::AbortOnDropHandle;

use crate::config::{Config, InterruptionNotices, LogFormat, SinkKind};
use crate::event::{Outlet, Publisher};
use crate::gateway::{self, GatewayState};
use crate::job::collect::Collector;
use crate::job::executor::{self, Pool, PoolOptions, SlotOptions};
use crate::job::reconcile::{self, Reconciler};
use crate::job::room::Room;
use crate::job::runner::{Journey, Places, Rules};
use crate::queue::Queue;
use crate::queue::sqlite::{Options, Retention, SqliteQueue};
use crate::store::{Place, Stores};
use crate::telemetry::{self, Metrics, Telemetry};
use crate::trigger::Routes;
use crate::worker::interruption::Watcher;
use crate::worker::{self, Drain};

use self::vitals::{Vitals, heartbeat, watch_executors, watch_queue};
use super::signals::Signals;
use super::{Failure, Global, open, print_line};

/// Name of the queue that queue sinks write to, in their file.
pub(crate) const EVENTS_QUEUE: &str = "events";
/// Time that events in the background get at the end.
const CLOSE: Duration = Duration::from_secs(5);

/// Arguments.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Check the configuration, the handlers, the stores, and the queues and sinks that are not embedded, and exit.
    #[arg(long)]
    check: bool,
}

pub(crate) async fn work(global: &Global, args: Args) -> Result<(), Failure> {
    let mut config = global.config()?;
    if global.json {
        config.log.format = LogFormat::Json;
    }
    if args.check {
        prepare(&config).await?.reach_all().await?;
        open::remote_queues(&config).await?;
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

    /// Looks at the buckets of all rules.
    async fn reach_all(&self) -> Result<(), Failure> {
        for place in self.routes.listened(None, "").into_iter().chain(self.routes.written(None, "")) {
            reach(&self.stores, &place, "[[routes]] and [[destinations]]").await?;
        }
        Ok(())
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
    if let Some(name) = config.handlers.keys().find(|name| !handlers.iter().any(|handler| handler.name == **name)) {
        let known: Vec<_> = handlers.iter().map(|handler| handler.name.as_str()).collect();
        return Err(Failure::Usage(format!("[handlers.{name}]: there is no such handler, only {}", known.join(", "))));
    }
    let stores = open::stores(config).await?;
    let state = config.state_place()?;
    let routes = Routes::new(&config.rules(), &config.stores, &handlers, &state)
        .map_err(|errors| Failure::Usage(errors.join("\n       ")))?;
    reach(&stores, &state, "`worker.state`").await?;
    let records = stores.get(&state.store)?;
    records.check_conditional_writes(&state).await?;
    // Manifests are written once as well: each other store with results is tested, in one place of its.
    let mut tested = vec![state.store.clone()];
    for place in routes.written(None, "") {
        if !tested.contains(&place.store) {
            stores.get(&place.store)?.check_conditional_writes(&place).await?;
            tested.push(place.store);
        }
    }
    Ok(Prepared { binary, handlers, stores, state, routes })
}

/// Proves that a bucket is there, which `key` of the configuration names.
async fn reach(stores: &Stores, place: &Place, key: &str) -> Result<(), Failure> {
    match stores.get(&place.store)?.reach(place).await {
        Err(error) if error.code == ErrorCode::InputNotFound => {
            let (bucket, store) = (&place.bucket, &place.store);
            let why = format!("There is no bucket `{bucket}` in the store `{store}`: create it, or correct {key}.");
            Err(Failure::Failed(why))
        }
        reached => Ok(reached?),
    }
}

/// Runs a worker until drained. `ready` is called once everything is up, with the gateway's address.
pub(crate) async fn serve(
    config: &Config,
    drain: Drain,
    ready: impl FnOnce(Option<std::net::SocketAddr>) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let prepared = prepare(config).await?;
    let sources = open::queues(config).await?;
    let queues = sources.iter().map(|source| Arc::clone(&source.queue)).collect();
    let reconciler =
        sources.first().map(|main| (prepared.reconciler(Arc::clone(&main.queue), reconcile::MIN_AGE), queues));
    let metrics = Arc::new(Metrics::new());
    let publisher = Arc::new(publisher(config, Arc::clone(&metrics)).await?);
    let telemetry = Telemetry::new(Arc::clone(&metrics), Arc::clone(&publisher));
    let pool = Pool::open(pool_options(config, prepared.binary)).await?;
    metrics.set_slots(u32::try_from(pool.slots()).unwrap_or(u32::MAX));
    let limits = config.handlers.iter().filter_map(|(name, handler)| Some((name.clone(), handler.max_running?)));
    let journey = Arc::new(Journey {
        rules: rules(config, prepared.state.clone()),
        stores: prepared.stores.clone(),
        routes: prepared.routes,
        handlers: prepared.handlers.into_iter().map(|h| (h.name.clone(), h)).collect(),
        room: Room::new(pool.scratch().root().to_path_buf(), config.worker.scratch_max_bytes),
        pool: pool.clone(),
        telemetry: telemetry.clone(),
        in_hand: Default::default(),
        places: Places::new(limits),
    });

    let (queues, drained) = (sources.clone(), drain.clone());
    let state = Arc::new(Vitals { queues, stores: prepared.stores, state: prepared.state, drain: drained });
    let closing = tokio_util::sync::CancellationToken::new();
    let gateway = match config.gateway.listen {
        Some(address) => {
            Some(listen(address, GatewayState { metrics: metrics.clone(), readiness: state }, closing.clone()).await?)
        }
        None => None,
    };
    let mut aside = vec![
        AbortOnDropHandle::new(tokio::spawn(heartbeat(telemetry, Arc::clone(&journey), config.clone(), drain.clone()))),
        AbortOnDropHandle::new(tokio::spawn(watch_executors(pool.clone(), Arc::clone(&metrics)))),
    ];
    for source in &sources {
        aside.push(AbortOnDropHandle::new(tokio::spawn(watch_queue(source.clone(), Arc::clone(&metrics)))));
    }
    if let (Some(secs), Some((reconciler, queues))) = (config.worker.reconcile_secs, reconciler) {
        aside.push(AbortOnDropHandle::new(tokio::spawn(reconciler.watch(queues, Duration::from_secs(secs)))));
    }
    if let Some(watcher) = interruptions(config, &drain).await? {
        aside.push(AbortOnDropHandle::new(tokio::spawn(watcher.watch(drain.clone()))));
    }
    ready(gateway.as_ref().map(|(address, _)| *address))?;
    let names: Vec<_> = sources.iter().map(|source| source.name.as_str()).collect();
    let (worker, slots) = (&config.worker.id, pool.slots());
    tracing::info!(worker, slots, queues = names.join(", "), "ready for jobs");
    worker::serve(sources, journey, config.worker.fetch_ahead as usize, drain).await;
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
        // The longest one: a job is not taken for abandoned while its delivery may still be another worker's.
        life: Duration::from_secs(config.all_queues().map(|queue| queue.lease_secs).max().unwrap_or_default()),
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
        told.begin("the worker was told to end");
        tokio::select! {
            _ = signals.next() => {}
            () = tokio::time::sleep(grace) => {}
        }
        told.forced.cancel();
    });
    Ok(drain)
}

/// Who goes on asking for notices of interruptions, after a first look: a worker may start after the notice.
async fn interruptions(config: &Config, drain: &Drain) -> Result<Option<Watcher>, Failure> {
    if config.worker.interruption_notices == InterruptionNotices::Off {
        return Ok(None);
    }
    let mut watcher = Watcher::new(&config.worker.metadata_endpoint)
        .map_err(|e| Failure::Failed(format!("Nobody can ask for interruption notices: {e}.")))?;
    let is_near = watcher.look(drain).await;
    Ok((!is_near).then_some(watcher))
}
