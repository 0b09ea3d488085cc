//! What cases stand on: the queues, and the processes that all of them share.

use std::sync::{Arc, LazyLock, OnceLock};
use std::time::Duration;

use darkroom::config::Secret;
use darkroom::db::Db;
use darkroom::queue::Queue;
use darkroom::queue::amqp::{AmqpQueue, Options as AmqpOptions, Server};
use darkroom::queue::sqlite::{Options, SqliteQueue};
use darkroom_tests::rabbitmq::{Broker, PASSWORD, USER, broker};

use crate::harness::{Aws, Emulator, Up, Workplace, wait_for};
use crate::sink::Sink;

/// A delivery that nobody extends, and a worker that says nothing, last this long.
pub(crate) const LEASE_SECS: u64 = 2;

/// Where messages wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Backend {
    Sqlite,
    Amqp,
    Moto,
    Ministack,
}

impl Backend {
    pub(crate) const ALL: [Backend; 4] = [Backend::Sqlite, Backend::Amqp, Backend::Moto, Backend::Ministack];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Backend::Sqlite => "sqlite",
            Backend::Amqp => "amqp",
            Backend::Moto => "sqs-moto",
            Backend::Ministack => "sqs-ministack",
        }
    }

    /// The emulator behind it, if there is one.
    pub(crate) fn emulator(self) -> Option<Emulator> {
        match self {
            Backend::Moto => Some(Emulator::Moto),
            Backend::Ministack => Some(Emulator::Ministack),
            Backend::Sqlite | Backend::Amqp => None,
        }
    }
}

/// What all cases share, each started by the first that needs it.
pub(crate) struct World {
    store: LazyLock<Up, fn() -> Up>,
    sink: LazyLock<Sink, fn() -> Sink>,
    emulators: [OnceLock<Arc<Aws>>; 2],
}

impl World {
    pub(crate) fn new() -> World {
        World {
            store: LazyLock::new(|| Up::start(&[])),
            sink: LazyLock::new(Sink::start),
            emulators: Default::default(),
        }
    }

    /// The embedded S3 server, in a process that no case kills.
    pub(crate) fn store(&self) -> &Up {
        &self.store
    }

    /// Who hears of terminal events.
    pub(crate) fn sink(&self) -> &Sink {
        &self.sink
    }

    /// Kept running from the first case to the last.
    pub(crate) fn aws(&self, emulator: Emulator) -> &Aws {
        self.emulators[emulator as usize].get_or_init(|| emulator.shared())
    }

    /// Where a backend listens: `host:port`; nowhere for a file.
    pub(crate) fn address(&self, backend: Backend) -> Option<String> {
        match backend.emulator() {
            Some(emulator) => self.aws(emulator).endpoint().strip_prefix("http://").map(str::to_owned),
            None if backend == Backend::Amqp => Some(format!("127.0.0.1:{}", wait_for(broker()).port)),
            None => None,
        }
    }

    /// Makes the queue of a case, and opens it past all proxies.
    pub(crate) fn queue(&self, backend: Backend, name: &str, place: &Workplace, on: &Amqp<'_>) -> Arc<dyn Queue> {
        if let Some(emulator) = backend.emulator() {
            let aws = self.aws(emulator);
            aws.create_patient_queue(name, 1000);
            return Arc::new(aws.queue(name));
        }
        if backend == Backend::Amqp {
            let server = Server { url: on.url(), username: Some(USER.into()), password: Some(Secret::new(PASSWORD)) };
            let lease = Duration::from_secs(LEASE_SECS);
            let options = AmqpOptions { server, name: name.into(), lease, ..AmqpOptions::default() };
            return Arc::new(wait_for(AmqpQueue::open(options)).unwrap());
        }
        let db = wait_for(Db::open(&place.path("queue.sqlite"))).unwrap();
        Arc::new(SqliteQueue::new(db, Options::default()))
    }
}

/// Which broker, and which of its virtual hosts.
#[derive(Clone, Copy)]
pub(crate) struct Amqp<'a> {
    /// The shared one, if absent.
    pub(crate) broker: Option<&'a Broker>,
    /// As in a URL.
    pub(crate) vhost: &'static str,
}

impl Amqp<'_> {
    pub(crate) const SHARED: Amqp<'static> = Amqp { broker: None, vhost: "%2f" };

    /// Its URL, past all proxies.
    pub(crate) fn url(&self) -> String {
        let port = self.broker.map_or_else(|| wait_for(broker()).port, |broker| broker.port);
        format!("amqp://127.0.0.1:{port}/{}", self.vhost)
    }
}

/// A case's place among all: what it is called, how long it may take, what it may be drawn from.
pub(crate) struct Ground<'a> {
    pub(crate) world: &'a World,
    pub(crate) backend: Backend,
    /// Name of its queue; its buckets begin with it.
    pub(crate) name: String,
    pub(crate) limit: Duration,
    pub(crate) seed: u64,
}
