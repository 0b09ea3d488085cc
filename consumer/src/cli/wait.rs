//! `darkroom jobs wait`: the terminal event about an upload, a submission or a job, and its outputs.
//!
//! Events stay in their queue until somebody takes them, so an older one about the same input may be there. It is passed
//! over: where it came before the upload, where the job was redriven since, and where it is about content that has been
//! replaced. A submission's id is in nobody else's event.

use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde_json::Value;
use tokio::time::Instant;

use crate::config::{Config, SinkKind};
use crate::job::{JobId, Manifest};
use crate::queue::{Delivery, Queue, Settlement};
use crate::store::{Head, ObjectRef, Stores, parse_input};

use super::open::Records;
use super::{Failure, Global, open, print_line, work};

/// Longest wait for a message in one call.
const POLL: Duration = Duration::from_secs(5);
/// Events in hand at once; they are back in the queue within moments.
const AT_ONCE: usize = 32;
/// Time before others' events are looked at again.
const PAUSE: Duration = Duration::from_secs(1);
/// Where an upload is gone its time is not known: events are taken that came in the last minutes.
const RECENT: SignedDuration = SignedDuration::from_mins(10);
/// Longest manifest that is read.
const MAX_MANIFEST_BYTES: u64 = 128 << 20;

/// Arguments.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// What to wait for: an upload (`s3://bucket/key`), what `darkroom submit` printed, or a job id.
    #[arg(value_name = "s3://BUCKET/KEY|SUBMISSION|JOB")]
    about: About,
    /// Take only events from this time on (RFC 3339), or from so long ago (`10m`); for an upload, from its own time on
    /// if absent.
    #[arg(long, value_name = "TIME", value_parser = since)]
    since: Option<Timestamp>,
    /// Give up after this many seconds.
    #[arg(long, default_value_t = 3600, value_name = "SECS")]
    timeout_secs: u64,
    /// Download the outputs and the manifest into this directory.
    #[arg(long, value_name = "DIR")]
    save: Option<PathBuf>,
}

/// What an event is to be about.
#[derive(Debug, Clone, PartialEq, Eq)]
enum About {
    Input(String),
    Job(JobId),
    Submission(String),
}

impl FromStr for About {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text.starts_with("s3://") {
            return Ok(About::Input(text.to_owned()));
        }
        if text.is_empty() || text.contains("://") {
            return Err("write an upload as s3://bucket/key".into());
        }
        Ok(text.parse().map_or_else(|_| About::Submission(text.to_owned()), About::Job))
    }
}

/// A point in time, or how long ago.
fn since(text: &str) -> Result<Timestamp, String> {
    if let Ok(time) = text.parse() {
        return Ok(time);
    }
    let ago = text.parse::<SignedDuration>().map_err(|_| "write it 2026-01-31T12:00:00Z or 10m".to_owned())?;
    Timestamp::now().checked_sub(ago.abs()).map_err(|e| e.to_string())
}

pub(crate) async fn wait(global: &Global, args: Args) -> Result<(), Failure> {
    let config = global.backends()?;
    let event = Waiter::new(&config, &args).await?.event().await?;
    print_line(&event.to_string())?;
    if event["type"] != "dev.darkroom.job.completed.v1" {
        let why = event["data"]["error"]["message"].as_str().unwrap_or("It was cancelled.");
        return Err(Failure::Failed(format!("The job did not complete. {why}")));
    }
    match &args.save {
        Some(dir) => save(global, &config, &event, dir).await,
        None => Ok(()),
    }
}

/// Looks through the events until the right one comes.
struct Waiter<'a> {
    args: &'a Args,
    queue: std::sync::Arc<dyn Queue>,
    records: Records,
    /// The upload as it is now.
    upload: Option<Head>,
    since: Timestamp,
}

impl<'a> Waiter<'a> {
    async fn new(config: &Config, args: &'a Args) -> Result<Self, Failure> {
        let sink = config.sinks.iter().find(|sink| sink.kind == SinkKind::Queue).and_then(|sink| sink.path.as_ref());
        let path = sink.ok_or_else(|| {
            Failure::Usage("No [[sinks]] of kind `queue` is configured to wait at: add one, or use --data-dir.".into())
        })?;
        let queue = work::events_queue(path, None).await?;
        let records = Records::open(config).await?;
        let upload = match &args.about {
            About::Input(url) => head(config, &records.stores, url).await?,
            About::Job(_) | About::Submission(_) => None,
        };
        let own_time = match (&args.about, &upload) {
            (About::Input(_), Some(head)) => head.modified.unwrap_or(Timestamp::MIN),
            (About::Input(_), None) => Timestamp::now() - RECENT,
            (About::Job(_) | About::Submission(_), _) => Timestamp::MIN,
        };
        Ok(Waiter { args, queue, records, upload, since: args.since.unwrap_or(own_time) })
    }

    async fn event(&self) -> Result<Value, Failure> {
        let until = Instant::now() + Duration::from_secs(self.args.timeout_secs);
        let mut passed_over = 0;
        while Instant::now() < until {
            let mut found = None;
            for delivery in self.queue.receive(AT_ONCE, POLL.min(until - Instant::now())).await? {
                let event: Value = serde_json::from_slice(&delivery.body).unwrap_or_default();
                let ours = found.is_none() && self.is_about(&event);
                let current = ours && self.is_current(&event, &delivery).await?;
                passed_over += usize::from(ours && !current);
                let settlement = match current {
                    true => Settlement::Ack,
                    false => Settlement::Release { after: PAUSE, counted: false },
                };
                let _settled = self.queue.settle(delivery.receipt, settlement).await?;
                found = if current { Some(event) } else { found };
            }
            if let Some(event) = found {
                return Ok(event);
            }
        }
        let old = if passed_over > 0 { " Older ones are there: `--since 720h` takes them." } else { "" };
        let secs = self.args.timeout_secs;
        Err(Failure::Failed(format!("No event about it came in {secs} s: see `darkroom jobs list`.{old}")))
    }

    fn is_about(&self, event: &Value) -> bool {
        match &self.args.about {
            About::Input(url) => event["subject"] == url.as_str(),
            About::Job(job) => event["jobid"] == job.as_str(),
            About::Submission(id) => event["data"]["submission_id"] == id.as_str(),
        }
    }

    /// Whether the event is about what is there now.
    async fn is_current(&self, event: &Value, delivery: &Delivery) -> Result<bool, Failure> {
        // When it was sent, not its own time: a job that is done already has its event told again, as it was.
        if delivery.sent_at < self.since {
            return Ok(false);
        }
        let Some(job) = event["jobid"].as_str().and_then(|id| id.parse::<JobId>().ok()) else { return Ok(true) };
        let history = self.records.of(job)?.history().await?;
        let attempt = event["attempt"].as_u64().filter(|_| event["type"] != "dev.darkroom.job.completed.v1");
        if attempt.is_some_and(|attempt| attempt <= u64::from(history.redriven_to)) {
            return Ok(false);
        }
        let worked_on = history.latest().and_then(|a| a.submission.inputs.first()?.object.etag.as_deref());
        let there = self.upload.as_ref().and_then(|head| head.etag.as_deref());
        Ok(self.args.since.is_some() || worked_on.is_none() || there.is_none() || worked_on == there)
    }
}

async fn head(config: &Config, stores: &Stores, url: &str) -> Result<Option<Head>, Failure> {
    let (bucket, key) = parse_input(url).map_err(|error| Failure::Usage(error.message))?;
    let store = open::store_of(config, stores, bucket)?;
    Ok(store.head(&ObjectRef::new(store.name(), bucket, key)).await?)
}

/// The manifest names all outputs; events list only the first of very many.
async fn save(global: &Global, config: &Config, event: &Value, dir: &Path) -> Result<(), Failure> {
    let stores = open::stores(config).await?;
    let place = &event["data"]["manifest"];
    let (Some(bucket), Some(key)) = (place["bucket"].as_str(), place["key"].as_str()) else {
        return Err(Failure::Failed("The event names no manifest.".into()));
    };
    let store = open::store_of(config, &stores, bucket)?;
    let gone = || Failure::Failed(format!("s3://{bucket}/{key} is gone."));
    let text = store.get_bytes(bucket, key, MAX_MANIFEST_BYTES).await?.ok_or_else(gone)?;
    let manifest: Manifest = serde_json::from_slice(&text)
        .map_err(|e| Failure::Failed(format!("s3://{bucket}/{key} is no manifest: {e}.")))?;
    for output in &manifest.outputs {
        // Names below the run, as the handler gave them.
        let name = output.key.rsplit_once(&format!("/{}/", manifest.run_id)).map_or(output.key.as_str(), |(_, n)| n);
        if !Path::new(name).components().all(|part| matches!(part, std::path::Component::Normal(_))) {
            return Err(Failure::Failed(format!("The output `{name}` has no plain name.")));
        }
        let path = dir.join(name);
        let failed = |e: std::io::Error| Failure::Failed(format!("{} cannot be written: {e}.", path.display()));
        std::fs::create_dir_all(path.parent().unwrap_or(dir)).map_err(failed)?;
        match std::fs::remove_file(&path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(failed(error)),
            _ => {}
        }
        let from = ObjectRef::new(store.name(), &output.bucket, &output.key);
        store.get_to_file(&from, &path, output.bytes, &|_| {}).await?;
        global.note(&format!("saved {}", path.display()));
    }
    let path = dir.join("manifest.json");
    std::fs::create_dir_all(dir)
        .and_then(|()| std::fs::write(&path, &text))
        .map_err(|e| Failure::Failed(format!("{} cannot be written: {e}.", path.display())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_to_wait_for_is_told_by_its_looks() {
        let job = "a".repeat(52);
        assert_eq!("s3://b/k.mp4".parse(), Ok(About::Input("s3://b/k.mp4".into())));
        assert_eq!(job.parse(), Ok(About::Job(job.parse().unwrap())));
        assert_eq!("0199-ab".parse(), Ok(About::Submission("0199-ab".into())));
        assert!("https://x/y".parse::<About>().is_err() && "".parse::<About>().is_err());
    }

    #[test]
    fn since_is_a_time_or_an_age() {
        let ago = |text: &str| {
            let then = since(text).unwrap();
            Timestamp::now().duration_since(then).as_secs()
        };
        assert_eq!(since("2026-01-31T12:00:00Z").unwrap().to_string(), "2026-01-31T12:00:00Z");
        assert!((600..605).contains(&ago("10m")) && (86_400 * 30..86_400 * 30 + 5).contains(&ago("720h")));
        assert!(since("yesterday").is_err());
    }
}
