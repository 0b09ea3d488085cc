//! Brings the outputs of a completed job to a local directory.

use std::path::Path;

use serde_json::Value;

use crate::config::Config;
use crate::job::Manifest;
use crate::store::ObjectRef;

use super::super::{Failure, Global, open};

/// Longest manifest that is read.
const MAX_MANIFEST_BYTES: u64 = 128 << 20;

/// The manifest names all outputs; events list only the first of very many.
pub(super) async fn save(global: &Global, config: &Config, event: &Value, dir: &Path) -> Result<(), Failure> {
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
