//! From a configuration to the things it names.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use darkroom_api::Descriptor;
use futures::future::try_join_all;

use crate::config::{Config, QueueConfig, QueueKind};
use crate::db::Db;
use crate::job::JobId;
use crate::job::executor;
use crate::job::record::Record;
use crate::queue::Queue;
use crate::queue::amqp::{self, AmqpQueue};
use crate::queue::sqlite::{Options, SqliteQueue};
use crate::queue::sqs::{self, SqsQueue};
use crate::store::{Place, Store, Stores, Web};
use crate::worker::{Source, Terms};

use super::Failure;

/// A queue that jobs wait in, by its name; `[queue]` where none is named.
pub(crate) async fn queue(config: &Config, name: Option<&str>) -> Result<Arc<dyn Queue>, Failure> {
    let named = |queue: &&QueueConfig| name.is_none_or(|name| queue.name == name);
    match config.all_queues().find(named) {
        Some(queue) => Ok(one(config, queue).await?.0),
        None => {
            let known: Vec<_> = config.all_queues().map(|queue| queue.name.as_str()).collect();
            let (name, known) = (name.unwrap_or_default(), known.join(", "));
            Err(Failure::Usage(format!("no queue is called `{name}`: there is {known}")))
        }
    }
}

/// All queues that jobs wait in, `[queue]` first.
pub(crate) async fn queues(config: &Config) -> Result<Vec<Source>, Failure> {
    some(config, |_| true).await
}

/// Opens those that are not embedded, to see that they are good; opening an embedded one would create it.
pub(crate) async fn remote_queues(config: &Config) -> Result<(), Failure> {
    some(config, |queue| queue.kind != QueueKind::Sqlite).await.map(drop)
}

async fn some(config: &Config, which: impl Fn(&QueueConfig) -> bool) -> Result<Vec<Source>, Failure> {
    let chosen: Vec<_> = config.all_queues().filter(|queue| which(queue)).collect();
    let opened = try_join_all(chosen.iter().map(|queue| one(config, queue))).await?;
    let (mut sources, mut urls) = (Vec::new(), BTreeMap::new());
    for (config, (queue, url)) in chosen.into_iter().zip(opened) {
        let name = config.name.clone();
        if let Some(other) = url.and_then(|url| urls.insert(url, name.clone())) {
            let why = format!("the queues `{other}` and `{name}` are the same one in SQS: leave one out");
            return Err(Failure::Usage(why));
        }
        sources.push(Source { name, queue, terms: Terms::from(config) });
    }
    Ok(sources)
}

/// A queue, with its URL where it has one.
type Opened = (Arc<dyn Queue>, Option<String>);

async fn one(config: &Config, queue: &QueueConfig) -> Result<Opened, Failure> {
    let opened = open(config, queue).await;
    match opened {
        Err(Failure::Failed(why)) if !config.queues.is_empty() => {
            Err(Failure::Failed(format!("Queue `{}`: {why}", queue.name)))
        }
        opened => opened,
    }
}

async fn open(config: &Config, queue: &QueueConfig) -> Result<Opened, Failure> {
    let lease = Duration::from_secs(queue.lease_secs);
    // Attempts are counted from records: this is the backstop for what kills a worker before it can record.
    let max_receives = config.worker.max_attempts.saturating_mul(4);
    match queue.kind {
        QueueKind::Sqlite => {
            let options = Options { lease, max_receives, ..Options::default() };
            Ok((Arc::new(SqliteQueue::new(file(&queue.path).await?, options)), None))
        }
        QueueKind::Amqp => {
            let queue = queue.amqp.clone();
            let options = amqp::Options {
                server: amqp::Server::from(&config.amqp),
                name: queue.queue,
                declare: queue.declare,
                lease,
                ack_timeout: Duration::from_secs(queue.ack_timeout_secs),
                max_receives,
                max_message_bytes: amqp::Options::default().max_message_bytes,
            };
            let url = options.server.url.clone();
            // The client's words name neither the broker nor a key.
            let queue = AmqpQueue::open(options).await.map_err(|error| {
                Failure::Failed(format!(
                    "RabbitMQ at {url}: {error}. If it cannot be reached or refuses us, check `url`, `username` and \
                     `password_file` (or DARKROOM__AMQP__PASSWORD) of [amqp]."
                ))
            })?;
            Ok((Arc::new(queue), None))
        }
        QueueKind::Sqs => {
            let options = sqs::Options { lease, max_receives, ..sqs::Options::default() };
            let queue = SqsQueue::open(&config.aws, &queue.sqs, options).await?;
            let url = queue.url().to_owned();
            Ok((Arc::new(queue), Some(url)))
        }
    }
}

/// A SQLite file, created where it is missing.
pub(crate) async fn file(path: &Path) -> Result<Db, Failure> {
    Db::open(path).await.map_err(|e| Failure::Failed(format!("{} cannot be opened: {e}.", path.display())))
}

/// All stores, and the web where inputs may come from it.
pub(crate) async fn stores(config: &Config) -> Result<Stores, Failure> {
    let stores = Stores::open(&config.stores).await.map_err(|errors| Failure::Usage(errors.join("\n       ")))?;
    if config.https.hosts.is_empty() {
        return Ok(stores);
    }
    let web = Web::open(&config.https, config.limits.max_bytes).map_err(Failure::Failed)?;
    Ok(stores.with_web(web))
}

/// The executor's binary, and what it says of a handler.
pub(crate) async fn handler(config: &Config, name: &str) -> Result<(PathBuf, Descriptor), Failure> {
    let (binary, handlers) = handlers(config).await?;
    let known: Vec<_> = handlers.iter().map(|handler| handler.name.clone()).collect();
    let found = handlers.into_iter().find(|handler| handler.name == name);
    let unknown = || Failure::Usage(format!("no handler is called `{name}`: there is {}", known.join(", ")));
    Ok((binary, found.ok_or_else(unknown)?))
}

/// The executor's binary, and what it says of all its handlers.
pub(crate) async fn handlers(config: &Config) -> Result<(PathBuf, Vec<Descriptor>), Failure> {
    let binary = match config.executor.binary.clone() {
        Some(binary) => binary,
        None => executor::find_binary()?,
    };
    let handlers = executor::describe(&binary).await?;
    Ok((binary, handlers))
}

/// The store of a bucket, as the rules name it; the default one for buckets that no rule names.
pub(crate) fn store_of<'a>(config: &Config, stores: &'a Stores, bucket: &str) -> Result<&'a Store, Failure> {
    let sources = config.sources.iter().map(|rule| (&rule.bucket, &rule.store));
    let destinations = config.destinations.iter().map(|rule| (&rule.bucket, &rule.store));
    let named = sources.chain(destinations).find(|(name, _)| *name == bucket).and_then(|(_, store)| store.as_ref());
    match named {
        Some(name) => Ok(stores.get(name)?),
        None => Ok(stores.default_store()),
    }
}

/// Where records are, with the store they are in.
pub(crate) struct Records {
    pub(crate) stores: Stores,
    pub(crate) place: Place,
}

impl Records {
    pub(crate) async fn open(config: &Config) -> Result<Self, Failure> {
        Ok(Records { stores: stores(config).await?, place: config.state_place()? })
    }

    /// The record of one job.
    pub(crate) fn of(&self, job: JobId) -> Result<Record, Failure> {
        Ok(Record::new(self.stores.get(&self.place.store)?.clone(), &self.place, job))
    }
}
