//! `darkroom jobs wait`: the terminal event about an upload, a submission or a job, and its outputs.
//!
//! A finished job answers from its record, so that it can be waited for any number of times; else its event is waited for.
//! Events stay in their queue until somebody takes them, so an older one about the same input may be there. It is passed
//! over: where it came before the upload, where the job was redriven since, and where it is about content that has been
//! replaced. Of several that are left the latest counts: a message may have been refused and redriven more than once. An
//! upload is followed by its own jobs: those of a `submit` about the same object are passed over too. A submission's id is
//! in nobody else's event.
//!
//! The event is held while its outputs are saved, and goes only then: what could not be saved can be waited for again.

mod recorded;
mod save;

use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde_json::Value;
use tokio::time::Instant;

use crate::config::{Config, SinkKind};
use crate::job::JobId;
use crate::queue::lease::Lease;
use crate::queue::{Delivery, Queue};
use crate::store::{Head, ObjectRef, Stores, parse_input};
use crate::trigger::{RouteConfig, taken_by};

use super::listing::JobState;
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
/// Looks at the record of a job that is waited for come so far apart. An event that is there is found in less.
const LOOK: Duration = Duration::from_secs(15);

/// Arguments.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// What to wait for: an upload (`s3://bucket/key`), what `darkroom submit` printed, or a job id. A finished job
    /// answers at once.
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
    let config = global.running()?;
    let (event, lease) = Waiter::new(&config, &args).await?.event().await?;
    let completed = event["type"] == "dev.darkroom.job.completed.v1";
    let handed_on = async {
        print_line(&event.to_string())?;
        match &args.save {
            Some(dir) if completed => save::save(global, &config, &event, dir).await,
            _ => Ok(()),
        }
    };
    match lease {
        Some(lease) => settle(lease, handed_on.await).await?,
        None => handed_on.await?,
    }
    if completed {
        return Ok(());
    }
    let why = event["data"]["error"]["message"].as_str().unwrap_or("It was cancelled.");
    Err(Failure::Failed(format!("The job did not complete. {why}")))
}

/// The event goes once it was handed on; else it is there for another try at once.
async fn settle(lease: Lease, handed_on: Result<(), Failure>) -> Result<(), Failure> {
    match handed_on {
        // Where the lease is lost somebody else has the event as well.
        Ok(()) => lease.ack().await.map(|_settled| ()).map_err(Failure::from),
        Err(failure) => {
            // What fails here leaves it to the lease's end.
            let _settled = lease.release(Duration::ZERO, false).await;
            Err(match failure {
                Failure::Failed(why) if !why.is_empty() => {
                    Failure::Failed(format!("{why} The event stays: wait for it again once that is mended."))
                }
                other => other,
            })
        }
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
        if let About::Input(url) = &args.about {
            taken(&config.routes, url)?;
        }
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

    /// The event, with its lease where it comes from the queue.
    async fn event(&self) -> Result<(Value, Option<Lease>), Failure> {
        let until = Instant::now() + Duration::from_secs(self.args.timeout_secs);
        let (mut next_look, mut known) = (Instant::now(), None);
        // What is there already is looked at first, without a wait.
        let (mut passed_over, mut patience) = (0, Duration::ZERO);
        loop {
            let deliveries = self.queue.receive(AT_ONCE, patience).await?;
            if let Some((event, lease)) = self.pick(deliveries, &mut passed_over).await? {
                return Ok((event, Some(lease)));
            }
            if Instant::now() >= next_look {
                if let Some(event) = self.recorded(&mut known).await? {
                    return Ok((event, None));
                }
                next_look = Instant::now() + LOOK;
            }
            patience = POLL.min(until.saturating_duration_since(Instant::now()));
            if patience.is_zero() {
                break;
            }
        }
        let (secs, older) = (self.args.timeout_secs, older(passed_over));
        Err(Failure::Failed(format!(
            "No event about it came in {secs} s: see `darkroom jobs list` and `jobs dead-letters`.{older}"
        )))
    }

    /// The latest event that is the one, held; all others are back in the queue, whatever fails.
    async fn pick(
        &self,
        deliveries: Vec<Delivery>,
        passed_over: &mut usize,
    ) -> Result<Option<(Value, Lease)>, Failure> {
        let (mut found, mut failed): (Option<(Value, Lease)>, _) = (None, None);
        for delivery in deliveries {
            let event: Value = serde_json::from_slice(&delivery.body).unwrap_or_default();
            let lease = Lease::start(self.queue.clone(), delivery);
            let is_later = found.as_ref().is_none_or(|(_, earlier)| earlier.sent_at() < lease.sent_at());
            let ours = is_later && failed.is_none() && self.is_about(&event);
            let current = match ours {
                true => self.is_current(&event, lease.sent_at()).await,
                false => Ok(false),
            };
            let not_it = match current {
                Ok(true) => found.replace((event, lease)).map(|(_, earlier)| earlier),
                Ok(false) => {
                    *passed_over += usize::from(ours);
                    Some(lease)
                }
                Err(error) => {
                    failed = Some(error);
                    Some(lease)
                }
            };
            if let Some(lease) = not_it
                && let Err(error) = lease.release(PAUSE, false).await
            {
                failed.get_or_insert(error.into());
            }
        }
        match (failed, found) {
            (None, found) => Ok(found),
            (Some(failure), None) => Err(failure),
            // Found all the same; what could not be released comes back by itself.
            (Some(_), found) => Ok(found),
        }
    }

    fn is_about(&self, event: &Value) -> bool {
        match &self.args.about {
            About::Input(url) => event["subject"] == url.as_str(),
            About::Job(job) => event["jobid"] == job.as_str(),
            About::Submission(id) => event["data"]["submission_id"] == id.as_str(),
        }
    }

    /// Whether the event is about what is there now.
    async fn is_current(&self, event: &Value, sent_at: Timestamp) -> Result<bool, Failure> {
        // When it was sent, not its own time: a job that is done already has its event told again, as it was.
        if sent_at < self.since {
            return Ok(false);
        }
        let is_input = matches!(self.args.about, About::Input(_));
        let Some(job) = event["jobid"].as_str().and_then(|id| id.parse::<JobId>().ok()) else {
            // Refused before it was a job. Messages are named by queues, with UUIDs; uploads by their stores.
            let submission = event["data"]["submission_id"].as_str().unwrap_or_default();
            let may_be = !is_input || uuid::Uuid::try_parse(submission).is_err();
            return Ok(may_be && !self.has_job_since(sent_at).await?);
        };
        let history = self.records.of(job)?.history().await?;
        if is_input && history.latest().is_some() && !recorded::is_uploads(&history) {
            return Ok(false);
        }
        let attempt = event["attempt"].as_u64().filter(|_| event["type"] != "dev.darkroom.job.completed.v1");
        if attempt.is_some_and(|attempt| attempt <= u64::from(history.redriven_to)) {
            return Ok(false);
        }
        let worked_on = history.latest().and_then(|a| a.submission.inputs.first()?.object.etag.as_deref());
        let there = self.upload.as_ref().and_then(|head| head.etag.as_deref());
        Ok(self.args.since.is_some() || worked_on.is_none() || there.is_none() || worked_on == there)
    }
}

fn older(passed_over: usize) -> &'static str {
    if passed_over > 0 {
        " Others are there: `--since 720h` takes older ones, and those of a `submit` are waited for by its id."
    } else {
        ""
    }
}

/// Whether any route takes the upload: else nothing will ever come of it.
fn taken(routes: &[RouteConfig], url: &str) -> Result<(), Failure> {
    let (bucket, key) = parse_input(url).map_err(|error| Failure::Usage(error.message))?;
    if routes.iter().any(|route| route.takes(bucket, key)) {
        return Ok(());
    }
    let all = taken_by(routes.iter().map(RouteConfig::taken));
    Err(Failure::Failed(format!(
        "No route takes {url}, so that no job comes of the upload. Routes take: {all}. Upload it there; a job that \
         `darkroom submit` asked for is waited for by the id that it printed."
    )))
}

async fn head(config: &Config, stores: &Stores, url: &str) -> Result<Option<Head>, Failure> {
    let (bucket, key) = parse_input(url).map_err(|error| Failure::Usage(error.message))?;
    let store = open::store_of(config, stores, bucket)?;
    Ok(store.head(&ObjectRef::new(store.name(), bucket, key)).await?)
}

#[cfg(test)]
mod tests;
