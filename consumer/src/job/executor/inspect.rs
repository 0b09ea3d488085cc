//! Asks the executor's binary about itself, without a job.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use darkroom_api::{Descriptor, ErrorCode, JobError, Result};
use darkroom_models::RegistryConfig;
use tokio::io::AsyncReadExt;
use tokio::process::Command;

const MAX_ANSWER_BYTES: u64 = 8 << 20;
const ANSWER_LIMIT: Duration = Duration::from_secs(60);

/// All handlers of the binary, as they describe themselves.
///
/// # Errors
/// [`ErrorCode::RuntimeMissing`] where the binary does not run or does not answer.
pub async fn describe(binary: &Path) -> Result<Vec<Descriptor>> {
    ask(binary, "describe", &RegistryConfig::default()).await
}

/// What the binary finds on this machine: libraries, codecs, devices, confinement.
///
/// # Errors
/// [`ErrorCode::RuntimeMissing`] where the binary does not run or does not answer.
pub async fn doctor(binary: &Path, registry: &RegistryConfig) -> Result<serde_json::Value> {
    ask(binary, "doctor", registry).await
}

async fn ask<T: serde::de::DeserializeOwned>(binary: &Path, what: &str, registry: &RegistryConfig) -> Result<T> {
    let missing = |why: String| {
        let program = binary.display();
        let why = format!("`{program} {what}` failed ({why}): build it, or name the right one in DARKROOM_EXECUTOR.");
        JobError::new(ErrorCode::RuntimeMissing, why)
    };
    let mut command = Command::new(binary);
    command.arg(what).args(super::process::registry_arguments(registry)?);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::inherit()).kill_on_drop(true);
    let mut child = command.spawn().map_err(|error| missing(error.to_string()))?;
    let read = async {
        let mut text = Vec::new();
        if let Some(pipe) = child.stdout.take() {
            pipe.take(MAX_ANSWER_BYTES).read_to_end(&mut text).await?;
        }
        Ok::<_, std::io::Error>((text, child.wait().await?))
    };
    let answer = tokio::time::timeout(ANSWER_LIMIT, read).await.map_err(|_| missing("it does not answer".into()))?;
    let (text, status) = answer.map_err(|error| missing(error.to_string()))?;
    if !status.success() {
        return Err(missing(status.to_string()));
    }
    serde_json::from_slice(&text).map_err(|error| missing(format!("its answer cannot be read: {error}")))
}
