//! Where log lines go: standard error, and a file that is replaced and pruned.

use std::io::IsTerminal;

use tracing_appender::non_blocking::{NonBlockingBuilder, WorkerGuard};
use tracing_appender::rolling::{RollingFileAppender, Rotation};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::{EnvFilter, Layer, Registry, fmt};

use crate::config::{LogConfig, LogFormat, LogRotation};

/// Lines that wait to be written to the file; more are dropped rather than holding up a job.
const MAX_WAITING_LINES: usize = 16_384;

/// Writes what is left to the log file when dropped: keep it until the process ends.
#[must_use = "the last lines are lost if this is dropped early"]
#[derive(Debug)]
pub struct LogGuard {
    _file: Option<WorkerGuard>,
}

type AnyLayer = Box<dyn Layer<Registry> + Send + Sync>;

/// Sets up logging for this process.
///
/// # Errors
/// A sentence: the level cannot be read, the file cannot be made, or logging is set up already.
pub fn init(config: &LogConfig) -> Result<LogGuard, String> {
    let (layers, guard) = layers(config)?;
    tracing::subscriber::set_global_default(Registry::default().with(layers)).map_err(|e| e.to_string())?;
    Ok(guard)
}

fn layers(config: &LogConfig) -> Result<(Vec<AnyLayer>, LogGuard), String> {
    // The S3 protocol layer calls every 404 and 412 an error; the AMQP client calls every orderly end one, and prints returned
    // messages whole. The configured level may say otherwise.
    let filter = || {
        EnvFilter::try_new(format!("s3s=off,lapin=off,{}", config.level))
            .map_err(|e| format!("log.level cannot be read: {e}"))
    };
    let terminal = std::io::stderr().is_terminal();
    let stderr: AnyLayer = match config.format {
        LogFormat::Text => fmt::layer().with_writer(std::io::stderr).with_ansi(terminal).with_filter(filter()?).boxed(),
        LogFormat::Json => {
            fmt::layer().json().flatten_event(true).with_writer(std::io::stderr).with_filter(filter()?).boxed()
        }
    };
    let Some(appender) = appender(config)? else {
        return Ok((vec![stderr], LogGuard { _file: None }));
    };
    let (writer, guard) =
        NonBlockingBuilder::default().buffered_lines_limit(MAX_WAITING_LINES).thread_name("log-file").finish(appender);
    let file = fmt::layer().json().flatten_event(true).with_writer(writer).with_filter(filter()?).boxed();
    Ok((vec![stderr, file], LogGuard { _file: Some(guard) }))
}

fn appender(config: &LogConfig) -> Result<Option<RollingFileAppender>, String> {
    let Some(path) = &config.file else { return Ok(None) };
    let fail = |why: &dyn std::fmt::Display| format!("log.file {} cannot be written: {why}", path.display());
    let name = path.file_name().and_then(|name| name.to_str()).ok_or_else(|| fail(&"it names no file"))?;
    let rotation = match config.rotation {
        LogRotation::Hourly => Rotation::HOURLY,
        LogRotation::Daily => Rotation::DAILY,
        LogRotation::Never => Rotation::NEVER,
    };
    let dir = path.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or_else(|| ".".as_ref());
    RollingFileAppender::builder()
        .rotation(rotation)
        .filename_prefix(name)
        .max_log_files(config.keep as usize)
        .build(dir)
        .map(Some)
        .map_err(|e| fail(&e))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_gets_json_lines_at_its_level_and_old_files_go() {
        let dir = tempfile::tempdir().unwrap();
        for day in 1..=5 {
            std::fs::write(dir.path().join(format!("worker.log.2020-01-0{day}")), "old\n").unwrap();
        }
        let config = LogConfig { file: Some(dir.path().join("worker.log")), keep: 3, ..LogConfig::default() };
        let (layers, guard) = layers(&config).unwrap();
        tracing::subscriber::with_default(Registry::default().with(layers), || {
            tracing::info!(job = "j1", "job completed");
            tracing::debug!("too fine");
        });
        drop(guard);
        let names: Vec<_> =
            std::fs::read_dir(dir.path()).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
        assert!(names.len() <= 3, "{names:?}");
        let newest = names.iter().max().unwrap();
        let text = std::fs::read_to_string(dir.path().join(newest)).unwrap();
        let lines: Vec<serde_json::Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(lines.len(), 1, "{text}");
        assert_eq!((&lines[0]["message"], &lines[0]["job"]), (&"job completed".into(), &"j1".into()));
    }

    #[test]
    fn a_level_or_a_file_that_cannot_be_is_told() {
        let bad = LogConfig { level: "loud=very".into(), ..LogConfig::default() };
        assert!(layers(&bad).err().unwrap().contains("log.level"));
        let bad = LogConfig { file: Some("/proc/nowhere/x.log".into()), ..LogConfig::default() };
        assert!(layers(&bad).err().unwrap().contains("log.file"));
    }
}
