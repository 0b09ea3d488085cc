//! `darkroom jobs wait`: the terminal event about an input, and its outputs.

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::Value;
use tokio::time::Instant;

use crate::config::{Config, SinkKind};
use crate::job::Manifest;
use crate::store::ObjectRef;

use super::{Failure, Global, note, open, print_line, work};

/// Longest wait for a message in one call.
const POLL: Duration = Duration::from_secs(5);
/// Longest manifest that is read.
const MAX_MANIFEST_BYTES: u64 = 128 << 20;

/// Arguments.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The input: `s3://bucket/key`.
    input: String,
    /// Give up after this many seconds.
    #[arg(long, default_value_t = 3600, value_name = "SECS")]
    timeout_secs: u64,
    /// Download the outputs and the manifest into this directory.
    #[arg(long, value_name = "DIR")]
    save: Option<PathBuf>,
}

pub(crate) async fn wait(global: &Global, args: Args) -> Result<(), Failure> {
    let config = global.config()?;
    let event = next_event(&config, &args).await?;
    print_line(&event.to_string())?;
    if event["type"] != "dev.darkroom.job.completed.v1" {
        return Err(Failure::Failed(format!("The job did not complete: {}.", event["data"]["error"]["message"])));
    }
    match &args.save {
        Some(dir) => save(&config, &event, dir).await,
        None => Ok(()),
    }
}

async fn next_event(config: &Config, args: &Args) -> Result<Value, Failure> {
    let sink = config.sinks.iter().find(|sink| sink.kind == SinkKind::Queue).and_then(|sink| sink.path.as_ref());
    let path = sink.ok_or_else(|| Failure::Usage("No [[sinks]] of kind `queue` is configured to wait at.".into()))?;
    let queue = work::events_queue(path).await?;
    let until = Instant::now() + Duration::from_secs(args.timeout_secs);
    while Instant::now() < until {
        for delivery in queue.receive(1, POLL.min(until - Instant::now())).await? {
            let event: Value = serde_json::from_slice(&delivery.body).unwrap_or_default();
            if event["subject"] == args.input.as_str() {
                let _settled = queue.settle(delivery.receipt, crate::queue::Settlement::Ack).await?;
                return Ok(event);
            }
            // Somebody else's: back at once, and on to the next after it.
            let after = Duration::from_secs(1);
            let _settled = queue.settle(delivery.receipt, crate::queue::Settlement::Release { after }).await?;
        }
    }
    Err(Failure::Failed(format!("No event about {} in {} s: see `darkroom jobs list`.", args.input, args.timeout_secs)))
}

/// The manifest names all outputs; events list only the first of very many.
async fn save(config: &Config, event: &Value, dir: &Path) -> Result<(), Failure> {
    let stores = open::stores(config).await?;
    let store = stores.default_store();
    let place = &event["data"]["manifest"];
    let (Some(bucket), Some(key)) = (place["bucket"].as_str(), place["key"].as_str()) else {
        return Err(Failure::Failed("The event names no manifest.".into()));
    };
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
        note(&format!("saved {}", path.display()));
    }
    let path = dir.join("manifest.json");
    std::fs::create_dir_all(dir)
        .and_then(|()| std::fs::write(&path, &text))
        .map_err(|e| Failure::Failed(format!("{} cannot be written: {e}.", path.display())))
}
