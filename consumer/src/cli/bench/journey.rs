//! `darkroom bench journey`: how long an object takes from its upload to the executor, on the embedded backends.
//!
//! The way is the one that every upload takes: an HTTP PUT by the S3 client, the embedded server with its notification,
//! the SQLite queue, the worker, a warm executor process. Only the clock is added, and it reads the worker's own
//! [`Step`]s.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use bytes::Bytes;
use serde_json::Value;
use tokio::sync::{mpsc, oneshot};
use tracing_subscriber::Layer;
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::layer::SubscriberExt;

use crate::config::{Config, SinkKind};
use crate::queue::{Queue, Settlement};
use crate::store::Store;
use crate::telemetry::{Reached, Step, recorder};
use crate::worker::Drain;

use super::super::embedded::{Embedded, INBOX};
use super::super::signals::Signals;
use super::super::{Failure, Global, open, print_line, work};
use super::legs::{Report, Times};

/// A video of exactly 1 KiB: one VP8 frame of 64x64 pixels, padded by a comment. Made with FFmpeg's own test picture:
/// `ffmpeg -f lavfi -i testsrc=size=64x64:rate=25:duration=0.04 -c:v libvpx -b:v 10k -qmin 50 -qmax 63
/// -fflags +bitexact -flags +bitexact` and, copied, `-metadata comment=` with 143 times `x`.
const CLIP: &[u8] = include_bytes!("one-kib.webm");
/// Longest time for one job.
const PATIENCE: Duration = Duration::from_secs(60);
/// Jobs before the first that counts: they load the model and fill caches.
const WARM_UP: u32 = 3;
/// Time that the worker gets to end when it is told to.
const CLOSE: Duration = Duration::from_secs(30);

/// Arguments.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Uploads that are measured, one after the other.
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    count: u32,
    /// Directory on the disk to measure; the system's one for temporary files if absent.
    #[arg(long, value_name = "DIR")]
    disk: Option<PathBuf>,
}

/// Measures until done, failed or interrupted, and leaves nothing behind.
pub(super) async fn journey(global: &Global, args: &Args, signals: &mut Signals) -> Result<(), Failure> {
    if global.config.is_some() || global.data_dir.is_some() {
        let why = "`bench journey` starts backends of its own: leave --config and --data-dir out.";
        return Err(Failure::Usage(why.into()));
    }
    let dir = match &args.disk {
        Some(disk) => tempfile::tempdir_in(disk),
        None => tempfile::tempdir(),
    };
    let dir = dir.map_err(|e| Failure::Usage(format!("No directory can be made to measure in: {e}.")))?;
    let anywhere = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let embedded = tokio::select! {
        started = Embedded::start(dir.path(), anywhere, anywhere) => started?,
        signal = signals.next() => return Err(signal),
    };
    let measured = Box::pin(on(&embedded.config, args.count, signals)).await;
    embedded.close().await;
    // Not left to its drop, which would not say that keys stay behind.
    let path = dir.path().to_owned();
    let removed = dir.close();
    let report = Report::new(measured?);
    removed.map_err(|e| Failure::Failed(format!("{} cannot be removed: {e}. Remove it.", path.display())))?;
    if global.json {
        return print_line(&serde_json::json!(report).to_string());
    }
    report.lines().iter().try_for_each(|line| print_line(line))
}

/// Runs a worker, and measures it.
async fn on(config: &Config, count: u32, signals: &mut Signals) -> Result<Vec<Times>, Failure> {
    let (recorder, reached) = recorder();
    let warnings = tracing_subscriber::fmt::layer().with_writer(std::io::stderr).with_filter(LevelFilter::ERROR);
    tracing::subscriber::set_global_default(tracing_subscriber::registry().with(recorder).with(warnings))
        .map_err(|e| Failure::Failed(format!("The clock cannot be set up: {e}.")))?;

    let drain = Drain::default();
    let (up, is_up) = oneshot::channel();
    let worker = work::serve(config, drain.clone(), |_| {
        // Whoever waits for it has given up where this fails, and says why.
        let _gone = up.send(());
        Ok(())
    });
    let measured = async {
        let _cancelled_with_the_worker = is_up.await;
        Bench::open(config, reached).await?.measure(count).await
    };
    beside(Box::pin(worker), Box::pin(measured), signals.next(), &drain).await
}

/// What comes of `measured`, which ends early by `signal`; either way the worker ends after it, by `drain`.
async fn beside<T>(
    worker: impl Future<Output = Result<(), Failure>>,
    measured: impl Future<Output = Result<T, Failure>>,
    signal: impl Future<Output = Failure>,
    drain: &Drain,
) -> Result<T, Failure> {
    let mut worker = std::pin::pin!(worker);
    let measured = tokio::select! {
        biased;
        ended = &mut worker => return ended.and(Err(Failure::Failed("The worker ended before all was measured.".into()))),
        signal = signal => Err(signal),
        measured = measured => measured,
    };
    if measured.is_err() {
        // A job may be on its way, and nobody waits for it any more.
        drain.forced.cancel();
    }
    drain.begun.cancel();
    let late = || Failure::Failed(format!("The worker did not end in {} s.", CLOSE.as_secs()));
    let ended = tokio::time::timeout(CLOSE, worker).await.unwrap_or_else(|_| Err(late()));
    let measured = measured?;
    ended.map(|()| measured)
}

/// Both ends of the journey: where uploads go in, and where events come out.
struct Bench {
    store: Store,
    events: std::sync::Arc<dyn Queue>,
    reached: mpsc::Receiver<Reached>,
}

impl Bench {
    async fn open(config: &Config, reached: mpsc::Receiver<Reached>) -> Result<Bench, Failure> {
        let sink = config.sinks.iter().find(|sink| sink.kind == SinkKind::Queue).and_then(|sink| sink.path.as_ref());
        let path = sink.ok_or_else(|| Failure::Failed("The embedded configuration has no queue of events.".into()))?;
        let store = open::stores(config).await?.default_store().clone();
        Ok(Bench { store, events: work::events_queue(path, None).await?, reached })
    }

    async fn measure(mut self, count: u32) -> Result<Vec<Times>, Failure> {
        for number in 0..WARM_UP {
            self.upload(&format!("matting/warm-up-{number}.webm")).await?;
        }
        let mut all = Vec::new();
        for number in 0..count {
            all.push(self.upload(&format!("matting/{number}.webm")).await?);
        }
        Ok(all)
    }

    /// One object, from before its upload to its settlement.
    async fn upload(&mut self, key: &str) -> Result<Times, Failure> {
        let begun = Instant::now();
        self.store.put_bytes(INBOX, key, Bytes::from_static(CLIP), "video/webm").await?;
        let answered = Instant::now();
        let late = || Failure::Failed(format!("{key} was not done in {} s.", PATIENCE.as_secs()));
        let all = async {
            let mut steps = Vec::new();
            while steps.last().is_none_or(|(step, _)| *step != Step::Settled) {
                steps.extend(self.reached.recv().await);
            }
            Ok::<_, Failure>((steps, self.event().await?))
        };
        let (steps, event) = tokio::time::timeout(PATIENCE, all).await.map_err(|_| late())??;
        if event["type"] != "dev.darkroom.job.completed.v1" {
            let why = event["data"]["error"]["message"].as_str().unwrap_or("it was cancelled").to_owned();
            return Err(Failure::Failed(format!("A job failed, so there is nothing to measure: {why}")));
        }
        Times::new(begun, answered, &steps).ok_or_else(|| Failure::Failed(format!("Steps are missing: {steps:?}.")))
    }

    /// The next terminal event.
    async fn event(&self) -> Result<Value, Failure> {
        loop {
            if let Some(delivery) = self.events.receive(1, PATIENCE).await?.pop() {
                let event = serde_json::from_slice(&delivery.body).unwrap_or_default();
                let _settled = self.events.settle(delivery.receipt, Settlement::Ack).await?;
                return Ok(event);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::{pending, ready};

    use super::*;

    /// A worker that ends once it is told to, and says whether it was forced.
    async fn worker(drain: Drain, forced: &std::cell::Cell<bool>) -> Result<(), Failure> {
        drain.begun.cancelled().await;
        forced.set(drain.forced.is_cancelled());
        Ok(())
    }

    #[tokio::test]
    async fn however_measuring_ends_the_worker_ends_after_it() {
        let (drain, forced) = (Drain::default(), std::cell::Cell::new(false));
        let done = beside(worker(drain.clone(), &forced), ready(Ok(7)), pending(), &drain).await;
        assert!(matches!(done, Ok(7)) && !forced.get());

        let (drain, failed) = (Drain::default(), ready(Err::<(), _>(Failure::Failed("no store".into()))));
        let done = beside(worker(drain.clone(), &forced), failed, pending(), &drain).await;
        assert!(matches!(done, Err(Failure::Failed(why)) if why == "no store") && forced.replace(false));

        let (drain, stuck) = (Drain::default(), pending::<Result<(), Failure>>());
        let done = beside(worker(drain.clone(), &forced), stuck, ready(Failure::Signal(15)), &drain).await;
        assert!(matches!(done, Err(Failure::Signal(15))) && forced.get());
    }
}
