//! The registries' own clients: `pip`, `npm`, `curl`. They know proxies, mirrors and credentials; we know what must come.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use darkroom_api::{ErrorCode, JobError, Result};

use crate::manifest::{Download, Source};

/// A client that takes longer is stopped.
const LIMIT: Duration = Duration::from_secs(3600);
/// What a client may write beside the download itself: indices, its own cache.
const SLACK_BYTES: u64 = 64 << 20;
/// How often a client's progress is looked at.
const GLANCE: Duration = Duration::from_millis(100);

/// Downloads into `dir` (empty, ours) and returns the file; `progress` gets the bytes written so far.
///
/// # Errors
/// [`ErrorCode::RuntimeMissing`] without the client, [`ErrorCode::StoreUnavailable`] where it fails,
/// [`ErrorCode::ModelInvalid`] where something else comes.
pub fn download(source: &Source, download: &Download, dir: &Path, progress: &mut dyn FnMut(u64)) -> Result<PathBuf> {
    let into = dir.join("download");
    fs::create_dir(&into).map_err(|e| disk(&e))?;
    match command(source, download, &into) {
        // Clients copy what they have fetched: for a moment it is there twice.
        Ok(command) => run(command, dir, download.bytes.saturating_mul(2).saturating_add(SLACK_BYTES), progress)?,
        Err(path) => {
            let name = path.file_name().ok_or_else(|| failed("the source is no file"))?;
            fs::copy(path, into.join(name)).map_err(|e| failed(&format!("the source cannot be copied: {e}")))?;
        }
    }
    only_file(&into)
}

/// The client's command line, or the file that needs none.
fn command<'a>(source: &'a Source, download: &Download, into: &Path) -> Result<Command, &'a Path> {
    Ok(match source {
        Source::Pypi { package, version, python, abi, platforms } => {
            let mut pip = Command::new("python3");
            pip.args([
                "-m",
                "pip",
                "download",
                "--quiet",
                "--disable-pip-version-check",
                "--no-input",
                "--no-cache-dir",
            ]);
            pip.args(["--no-deps", "--only-binary=:all:", "--implementation", "cp", "--progress-bar", "off"]);
            pip.args(["--python-version", python.as_deref().unwrap_or("3.11")]);
            if let Some(abi) = abi {
                pip.args(["--abi", abi]);
            }
            for platform in platforms {
                pip.args(["--platform", platform]);
            }
            pip.arg("--dest").arg(into).arg(format!("{package}=={version}"));
            pip
        }
        Source::Npm { package, version } => {
            let mut npm = Command::new("npm");
            npm.args(["pack", "--silent", "--ignore-scripts", "--no-update-notifier", "--no-audit"]);
            npm.arg("--cache").arg(into.with_file_name("npm-cache"));
            npm.arg("--pack-destination").arg(into).arg(format!("{package}@{version}"));
            npm
        }
        Source::Url { url } => {
            let name = url.split(['?', '#']).next().unwrap_or(url).rsplit('/').next().unwrap_or_default();
            let name = if name.is_empty() || name.starts_with('.') { "download" } else { name };
            let mut curl = Command::new("curl");
            curl.args(["--fail", "--silent", "--show-error", "--location", "--proto", "=https,http", "--retry", "3"]);
            curl.arg("--max-filesize").arg(download.bytes.to_string());
            curl.arg("--output").arg(into.join(name)).arg("--url").arg(url);
            curl
        }
        Source::File { path } => return Err(path),
    })
}

fn run(mut command: Command, dir: &Path, limit_bytes: u64, progress: &mut dyn FnMut(u64)) -> Result<()> {
    // The clients' temporary files count as progress, and go with the directory.
    command.env("TMPDIR", dir).stdin(Stdio::null()).stdout(Stdio::null());
    let log = dir.join("client.log");
    command.stderr(fs::File::create(&log).map_err(|e| disk(&e))?);
    let program = command.get_program().to_string_lossy().into_owned();
    let child = command.spawn().map_err(|e| missing(&program, &e))?;
    wait(child, dir, limit_bytes, progress).map_err(|why| explain(&program, &why, &log))
}

/// Waits for a client, looking at what it has written; stops it past the limits.
fn wait(mut child: Child, dir: &Path, limit_bytes: u64, progress: &mut dyn FnMut(u64)) -> Result<(), String> {
    let started = Instant::now();
    loop {
        if let Some(status) = child.try_wait().map_err(|e| e.to_string())? {
            return if status.success() { Ok(()) } else { Err(format!("ended with {status}")) };
        }
        let bytes = size_of(dir);
        progress(bytes);
        let why = if bytes > limit_bytes {
            "downloads more than the manifest allows"
        } else if started.elapsed() > LIMIT {
            "took longer than an hour"
        } else {
            std::thread::sleep(GLANCE);
            continue;
        };
        child.kill().and_then(|()| child.wait()).map_err(|e| e.to_string())?;
        return Err(why.into());
    }
}

/// Bytes under a directory; what vanishes meanwhile counts as nothing.
fn size_of(dir: &Path) -> u64 {
    let Ok(entries) = fs::read_dir(dir) else { return 0 };
    let size = |entry: fs::DirEntry| match entry.file_type() {
        Ok(kind) if kind.is_dir() => size_of(&entry.path()),
        Ok(kind) if kind.is_file() => entry.metadata().map_or(0, |meta| meta.len()),
        _ => 0,
    };
    entries.flatten().map(size).sum()
}

fn only_file(dir: &Path) -> Result<PathBuf> {
    let mut files = fs::read_dir(dir).map_err(|e| disk(&e))?.flatten().map(|entry| entry.path());
    match (files.next(), files.next()) {
        (Some(file), None) => Ok(file),
        _ => Err(JobError::new(ErrorCode::ModelInvalid, "The client fetched something else than one file.")),
    }
}

fn missing(program: &str, error: &std::io::Error) -> JobError {
    let remedy = match program {
        "python3" => "apt-get install python3-pip",
        "npm" => "apt-get install npm",
        _ => "apt-get install curl",
    };
    let message = format!("`{program}` does not start ({error}): install it (`{remedy}`) and fetch again.");
    JobError::new(ErrorCode::RuntimeMissing, message)
}

fn explain(program: &str, why: &str, log: &Path) -> JobError {
    let text = fs::read_to_string(log).unwrap_or_default();
    if text.contains("No module named pip") {
        return missing(program, &std::io::Error::other("Python has no pip"));
    }
    let said: Vec<&str> = text.lines().rev().filter(|line| !line.trim().is_empty()).take(3).collect();
    let said: String = said.into_iter().rev().collect::<Vec<_>>().join(" | ").chars().take(500).collect();
    failed(&format!("`{program}` {why}: {said}"))
}

fn failed(why: &str) -> JobError {
    JobError::new(
        ErrorCode::StoreUnavailable,
        format!("The download failed, {why}. Check the network and fetch again."),
    )
}

fn disk(error: &std::io::Error) -> JobError {
    crate::fetch::disk(error)
}
