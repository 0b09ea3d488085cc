//! Files in the cache, and how it is known that they are whole.

use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use serde::{Deserialize, Serialize};

use crate::digest;
use crate::manifest::{Artifact, Entry, Kind};

/// Length and time of change of a file: while they are the same, so is its content.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stamp {
    /// Length.
    pub bytes: u64,
    /// Time of the last change, nanoseconds since 1970.
    pub modified_nanos: u64,
}

/// Written beside a file once its content is checked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// Content of the file.
    pub sha256: String,
    /// The file as it was then.
    pub stamp: Stamp,
}

/// What stands at an artifact's place in the cache.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// The file, whole.
    Whole,
    /// Nothing.
    Absent,
    /// A file with other content.
    Damaged,
}

/// Where an artifact lies: `<cache>/<name>/<first digits of its sha256>/<file>`.
pub fn place(cache: &Path, entry: &Entry, artifact: &Artifact) -> PathBuf {
    cache.join(&entry.name).join(&artifact.sha256[..12]).join(&entry.file)
}

/// Looks at an artifact's place; reads the whole file unless its record still fits and `full` is false.
///
/// # Errors
/// Those of the file system, absence excepted.
pub fn inspect(path: &Path, artifact: &Artifact, full: bool) -> io::Result<State> {
    let stamp = match stamp(path) {
        Ok(stamp) => stamp,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(State::Absent),
        Err(e) => return Err(e),
    };
    if stamp.bytes != artifact.bytes {
        return Ok(State::Damaged);
    }
    let fits = |r: Record| r.sha256 == artifact.sha256 && r.stamp == stamp;
    if !full && read_record(path).is_some_and(fits) {
        return Ok(State::Whole);
    }
    if digest::file(path)?.0 != artifact.sha256 {
        return Ok(State::Damaged);
    }
    // The record only saves time: a cache that is read-only here works without it.
    if let Err(error) = write_record(path, &artifact.sha256) {
        tracing::debug!(%error, "no record beside a model");
    }
    Ok(State::Whole)
}

/// Length and time of change of a plain file.
///
/// # Errors
/// Those of the file system; `InvalidInput` for anything but a plain file.
pub fn stamp(path: &Path) -> io::Result<Stamp> {
    let meta = fs::metadata(path)?;
    if !meta.is_file() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "not a plain file"));
    }
    let nanos = meta.modified()?.duration_since(UNIX_EPOCH).map_or(0, |d| d.as_nanos());
    Ok(Stamp { bytes: meta.len(), modified_nanos: u64::try_from(nanos).unwrap_or(u64::MAX) })
}

/// Puts a checked file in its place, for good: its bytes are on disk before its name is. A tool can be run there.
///
/// # Errors
/// Those of the file system.
pub fn install(from: &Path, to: &Path, kind: Kind, sha256: &str) -> io::Result<()> {
    let dir = to.parent().ok_or_else(|| io::Error::other("a place without a directory"))?;
    fs::create_dir_all(dir)?;
    let file = File::open(from)?;
    if kind == Kind::Tool {
        file.set_permissions(fs::Permissions::from_mode(0o755))?;
    }
    file.sync_all()?;
    fs::rename(from, to)?;
    File::open(dir)?.sync_all()?;
    write_record(to, sha256)
}

fn record_path(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".json");
    name.into()
}

fn read_record(path: &Path) -> Option<Record> {
    serde_json::from_slice(&fs::read(record_path(path)).ok()?).ok()
}

fn write_record(path: &Path, sha256: &str) -> io::Result<()> {
    let record = serde_json::to_vec(&Record { sha256: sha256.into(), stamp: stamp(path)? })?;
    let mut file = tempfile::NamedTempFile::new_in(path.parent().unwrap_or(Path::new(".")))?;
    file.write_all(&record)?;
    file.persist(record_path(path)).map_err(|e| e.error)?;
    Ok(())
}
