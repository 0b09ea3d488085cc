//! Has the binary measure itself, in a process of its own that ends with the measurement.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use darkroom_api::{ErrorCode, JobError, Measured, Part, Result};
use darkroom_models::RegistryConfig;
use serde::de::DeserializeOwned;
use tokio::process::Command;

/// Longest measurement: an hour of 1080p on two slow cores.
const LIMIT: Duration = Duration::from_secs(6 * 3600);

/// What is measured, and with what.
#[derive(Debug, Clone)]
pub struct Measurement<'a> {
    /// The `darkroom-executor` binary.
    pub binary: &'a Path,
    /// Handler.
    pub handler: &'a str,
    /// File of its primary input.
    pub clip: PathBuf,
    /// Its parameters, as JSON.
    pub params: String,
    /// `cpu`, `cuda:0`, ...
    pub device: &'a str,
    /// Threads of a model; 0 leaves the choice to the executor.
    pub threads: u32,
    /// Where models and libraries are.
    pub registry: &'a RegistryConfig,
}

impl Measurement<'_> {
    /// Measures a part alone, or the whole run.
    ///
    /// # Errors
    /// [`ErrorCode::RuntimeMissing`] where the binary does not run, [`ErrorCode::Internal`] where it failed; it has said
    /// why on standard error.
    pub async fn take(&self, part: Option<Part>, scratch: &Path) -> Result<Measured> {
        let mut command = Command::new(self.binary);
        command.args(["bench", self.handler, "--params", &self.params, "--device", self.device]).arg(&self.clip);
        command.arg("--threads").arg(self.threads.to_string()).arg("--scratch").arg(scratch);
        command.arg("--read-only").arg(&self.clip).args(super::process::registry_arguments(self.registry)?);
        if let Some(part) = part {
            command.args(["--part", part.name()]);
        }
        last_line(command).await
    }
}

/// Runs a program that ends by printing what it measured.
///
/// # Errors
/// As [`Measurement::take`].
pub async fn last_line<T: DeserializeOwned>(mut command: Command) -> Result<T> {
    let program = command.as_std().get_program().to_string_lossy().into_owned();
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::inherit()).kill_on_drop(true);
    let missing = |error| JobError::new(ErrorCode::RuntimeMissing, format!("`{program}` does not run ({error})."));
    let failed = |why: String| {
        JobError::new(ErrorCode::Internal, format!("`{program}` measured nothing ({why}): see its message above."))
    };
    // Not `output()`, which would keep what the program says to people.
    let ended = command.spawn().map_err(missing)?.wait_with_output();
    let ended = tokio::time::timeout(LIMIT, ended).await.map_err(|_| failed("it takes too long".into()))?;
    let output = ended.map_err(missing)?;
    if !output.status.success() {
        return Err(failed(output.status.to_string()));
    }
    let text = String::from_utf8_lossy(&output.stdout);
    serde_json::from_str(text.lines().last().unwrap_or_default()).map_err(|error| failed(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        command
    }

    #[tokio::test]
    async fn the_last_line_counts_and_a_failure_is_told() {
        let line = r#"{"frames":3,"fps":1.5,"cpu_secs":1,"startup_cpu_secs":9,"wall_secs":2,"peak_rss_mib":7.5}"#;
        let measured: Measured = last_line(shell(&format!("echo loading; echo '{line}'"))).await.unwrap();
        assert_eq!((measured.frames, measured.peak_rss_mib, measured.fps()), (3, 7.5, 1.5));
        assert_eq!(last_line::<Measured>(shell("exit 3")).await.unwrap_err().code, ErrorCode::Internal);
        assert_eq!(last_line::<Measured>(shell("echo nothing")).await.unwrap_err().code, ErrorCode::Internal);
        assert_eq!(last_line::<Measured>(Command::new("/nowhere")).await.unwrap_err().code, ErrorCode::RuntimeMissing);
    }
}
