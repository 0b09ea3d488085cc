//! `darkroom bench journey`: how long a job takes from its upload, or its message, to the executor.
//!
//! The way is the one that every upload takes: an HTTP PUT by the S3 client, the embedded server with its notification,
//! the SQLite queue, the worker, a warm executor process. With `--config` it begins with a job message in the queue of
//! that file instead, be it RabbitMQ's or Amazon's, and RabbitMQ's is compared with a [`bare`] consumer, job by job.
//! Only the clock is added, and it reads the worker's own [`Step`]s.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use bytes::Bytes;
use serde_json::Value;
use tokio::sync::{mpsc, oneshot};
use tracing_subscriber::Layer;
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::layer::SubscriberExt;

use crate::config::{Config, QueueKind, SinkKind};
use crate::job::JobMessage;
use crate::job::message::Schema;
use crate::queue::{Depth, Queue, SendOptions, Settlement};
use crate::store::Store;
use crate::telemetry::{Reached, Step, recorder};
use crate::worker::Drain;

use super::super::embedded::{Embedded, INBOX, RESULTS};
use super::super::signals::Signals;
use super::super::{Failure, Global, open, pair, params, print_line, work};
use super::bare::Bare;
use super::legs::{Begin, Report, Times};

/// A video of exactly 1 KiB: one VP8 frame of 64x64 pixels, padded by a comment. Made with FFmpeg's own test picture:
/// `ffmpeg -f lavfi -i testsrc=size=64x64:rate=25:duration=0.04 -c:v libvpx -b:v 10k -qmin 50 -qmax 63
/// -fflags +bitexact -flags +bitexact` and, copied, `-metadata comment=` with 143 times `x`.
const CLIP: &[u8] = include_bytes!("one-kib.webm");
/// Key of the clip where jobs begin with messages. No route takes it.
const INPUT: &str = "bench.webm";
/// Longest time for one job.
const PATIENCE: Duration = Duration::from_secs(60);
/// Jobs before the first that counts: they load the model and fill caches.
const WARM_UP: u32 = 3;
/// Time that the worker gets to end when it is told to.
const CLOSE: Duration = Duration::from_secs(30);

/// Arguments.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Jobs that are measured, one after the other.
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    count: u32,
    /// Begin with a job message for this handler instead of an upload; `matting` with --config.
    #[arg(long)]
    handler: Option<String>,
    /// A parameter of that handler; may be repeated.
    #[arg(long = "set", value_name = "NAME=VALUE", value_parser = pair, requires = "handler")]
    set: Vec<(String, String)>,
    /// Directory on the disk to measure; the system's one for temporary files if absent.
    #[arg(long, value_name = "DIR")]
    disk: Option<PathBuf>,
}

/// Measures until done, failed or interrupted, and leaves nothing behind.
pub(super) async fn journey(global: &Global, args: &Args, signals: &mut Signals) -> Result<(), Failure> {
    if global.data_dir.is_some() {
        return Err(Failure::Usage("`bench journey` has buckets of its own: leave --data-dir out.".into()));
    }
    let given = global.config.as_ref().map(|_| global.config()).transpose()?;
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
    let mut config = embedded.config.clone();
    let message = given.is_some() || args.handler.is_some();
    if let Some(given) = given {
        (config.queue, config.amqp, config.aws) = (given.queue, given.amqp, given.aws);
    }
    let message = message.then(|| JobMessage {
        schema: Schema::V1,
        handler: args.handler.clone().unwrap_or_else(|| "matting".into()),
        input: Some(format!("s3://{INBOX}/{INPUT}")),
        inputs: None,
        output: format!("s3://{RESULTS}/bench/"),
        params: params(&args.set),
        reference: None,
        deadline_secs: None,
        rerun: None,
    });
    let measured = Box::pin(on(&config, message, args.count, signals)).await;
    embedded.close().await;
    // Not left to its drop, which would not say that keys stay behind.
    let path = dir.path().to_owned();
    let removed = dir.close();
    let report = measured?;
    removed.map_err(|e| Failure::Failed(format!("{} cannot be removed: {e}. Remove it.", path.display())))?;
    if global.json {
        return print_line(&serde_json::json!(report).to_string());
    }
    report.lines().iter().try_for_each(|line| print_line(line))
}

/// Runs a worker, and measures it: the way of `message`, or else of uploads.
async fn on(
    config: &Config,
    message: Option<JobMessage>,
    count: u32,
    signals: &mut Signals,
) -> Result<Report, Failure> {
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
        Bench::open(config, message, reached).await?.measure(count).await
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

/// Both ends of the journey: where uploads or messages go in, and where events come out.
struct Bench {
    store: Store,
    /// What is sent instead of uploads, and the queue it goes to.
    message: Option<(JobMessage, std::sync::Arc<dyn Queue>)>,
    bare: Option<Bare>,
    events: std::sync::Arc<dyn Queue>,
    reached: mpsc::Receiver<Reached>,
}

impl Bench {
    async fn open(
        config: &Config,
        message: Option<JobMessage>,
        reached: mpsc::Receiver<Reached>,
    ) -> Result<Bench, Failure> {
        let sink = config.sinks.iter().find(|sink| sink.kind == SinkKind::Queue).and_then(|sink| sink.path.as_ref());
        let path = sink.ok_or_else(|| Failure::Failed("The embedded configuration has no queue of events.".into()))?;
        let store = open::stores(config).await?.default_store().clone();
        let mut bare = None;
        let message = match message {
            None => None,
            Some(message) => {
                let queue = open::queue(config, None).await?;
                if queue.depth().await? != Depth::default() {
                    let why = "The queue has messages, or dead letters: name one that was made for measuring.";
                    return Err(Failure::Usage(why.into()));
                }
                store.put_bytes(INBOX, INPUT, Bytes::from_static(CLIP), "video/webm").await?;
                if config.queue.kind == QueueKind::Amqp {
                    bare = Some(Bare::open(&config.amqp, &config.queue.amqp.queue).await?);
                }
                Some((message, queue))
            }
        };
        Ok(Bench { store, message, bare, events: work::events_queue(path, None).await?, reached })
    }

    async fn measure(mut self, count: u32) -> Result<Report, Failure> {
        let begin = if self.message.is_some() { Begin::Message } else { Begin::Upload };
        for number in 0..WARM_UP {
            self.one(&format!("warm-up-{number}")).await?;
        }
        let (mut all, mut bare) = (Vec::new(), Vec::new());
        for number in 0..count {
            all.push(self.one(&number.to_string()).await?);
            if let (Some(consumer), Some((message, _))) = (&mut self.bare, &self.message) {
                bare.push(consumer.one(&text(message)?).await?);
            }
        }
        if let Some(bare) = self.bare {
            bare.close().await?;
        }
        Ok(Report::new(begin, &all, bare))
    }

    /// One job, from before its beginning to its settlement.
    async fn one(&mut self, name: &str) -> Result<Times, Failure> {
        let begun = Instant::now();
        match &self.message {
            Some((message, queue)) => {
                // The same input each time, and yet another job.
                let message = JobMessage { rerun: Some(name.to_owned()), ..message.clone() };
                queue.send(&text(&message)?, SendOptions::default()).await?;
            }
            None => {
                let key = format!("matting/{name}.webm");
                self.store.put_bytes(INBOX, &key, Bytes::from_static(CLIP), "video/webm").await?;
            }
        }
        let answered = Instant::now();
        let late = || Failure::Failed(format!("Job {name} was not done in {} s.", PATIENCE.as_secs()));
        let all = async {
            let mut steps = Vec::new();
            // What has not arrived and is settled is the input's own upload, which no route takes.
            while !(steps.iter().any(|(step, _)| *step == Step::Arrived)
                && steps.last().is_some_and(|(step, _)| *step == Step::Settled))
            {
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

fn text(message: &JobMessage) -> Result<String, Failure> {
    serde_json::to_string(message).map_err(|e| Failure::Failed(e.to_string()))
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
