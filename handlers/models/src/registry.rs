//! Names to files.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use darkroom_api::{ErrorCode, JobError, Result};
use serde::{Deserialize, Serialize};

use crate::cache::{self, State};
use crate::fetch::{self, FetchProgress, FetchStep};
use crate::manifest::{Artifact, Entry, Kind, Manifest, is_name};

/// `[models]` of the configuration. Also what the consumer hands its executors, so that both mean the same files.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RegistryConfig {
    /// Cache directory; `DARKROOM_MODELS_DIR`, else `$XDG_CACHE_HOME/darkroom/models`, else `~/.cache/darkroom/models`.
    pub dir: Option<PathBuf>,
    /// A manifest in place of the built-in one.
    pub manifest: Option<PathBuf>,
    /// The user's own files, by name: new names, or names of the manifest. Paths are absolute.
    pub custom: BTreeMap<String, PathBuf>,
}

impl RegistryConfig {
    /// The registry it describes.
    ///
    /// # Errors
    /// [`ErrorCode::ModelInvalid`] for a manifest or a name that does not hold, [`ErrorCode::Internal`] without a
    /// directory for the cache.
    pub fn open(&self) -> Result<Registry> {
        let manifest = match &self.manifest {
            Some(path) => Manifest::load(path)?,
            None => Manifest::builtin()?,
        };
        let dir = match &self.dir {
            Some(dir) => dir.clone(),
            None => default_dir(|name| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from))?,
        };
        if let Some(name) = self.custom.keys().find(|name| !is_name(name)) {
            let why =
                format!("`models.custom` has the name `{name}`: use a-z, 0-9, `.`, `_`, `-` and `/` between parts.");
            return Err(JobError::new(ErrorCode::ModelInvalid, why));
        }
        if let Some((name, path)) = self.custom.iter().find(|(_, path)| !path.is_absolute()) {
            let why = format!(
                "`models.custom` gives `{name}` the path `{}`: write it in full, from `/` on. Workers are started in many places.",
                path.display()
            );
            return Err(JobError::new(ErrorCode::ModelInvalid, why));
        }
        Ok(Registry::new(manifest, dir, self.custom.clone()))
    }
}

fn default_dir(env: impl Fn(&str) -> Option<PathBuf>) -> Result<PathBuf> {
    env("DARKROOM_MODELS_DIR")
        .or_else(|| Some(env("XDG_CACHE_HOME")?.join("darkroom/models")))
        .or_else(|| Some(env("HOME")?.join(".cache/darkroom/models")))
        .ok_or_else(|| {
            let why = "There is no place for models: set DARKROOM_MODELS_DIR (neither XDG_CACHE_HOME nor HOME is set).";
            JobError::new(ErrorCode::Internal, why)
        })
}

/// A file to use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResolvedModel {
    /// Name in the registry.
    pub name: String,
    /// Where it lies.
    pub path: PathBuf,
    /// Its content.
    pub sha256: String,
    /// Its licence, where the manifest knows it.
    pub licence: Option<String>,
}

/// How an entry stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Status {
    /// In the cache, whole.
    Ready,
    /// Not fetched yet.
    Missing,
    /// In the cache, with wrong content: fetch again.
    Damaged,
    /// The user's own file is registered and can be read.
    Custom,
    /// The user's own file is registered, but cannot be read.
    CustomUnreadable,
    /// No source: users register their own file.
    Unregistered,
}

/// One line of `darkroom models list`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Listed {
    /// Name in the registry.
    pub name: String,
    /// Model, library or tool; names that only the configuration knows are models.
    pub kind: Kind,
    /// How it stands.
    pub status: Status,
    /// Licence, where the manifest knows it.
    pub licence: Option<String>,
    /// What a user should know.
    pub notes: String,
    /// What it is good for, where the manifest says it.
    pub good_for: String,
    /// How fast it is, where the manifest says it.
    pub speed: String,
    /// Whether it is fetched only by name.
    pub optional: bool,
    /// Bytes of the file, where known.
    pub bytes: Option<u64>,
    /// Where it lies, if it does.
    pub path: Option<PathBuf>,
}

/// Which models, libraries and tools there are, and where.
#[derive(Debug)]
pub struct Registry {
    manifest: Manifest,
    cache_dir: PathBuf,
    custom: BTreeMap<String, PathBuf>,
    /// Sums of the user's own files, by path: each is read once.
    sums: Mutex<BTreeMap<PathBuf, cache::Record>>,
}

impl Registry {
    /// A registry over a cache directory, which need not exist yet, and the user's own files.
    pub fn new(manifest: Manifest, cache_dir: PathBuf, custom: BTreeMap<String, PathBuf>) -> Registry {
        Registry { manifest, cache_dir, custom, sums: Mutex::default() }
    }

    /// The cache directory.
    pub fn cache_dir(&self) -> &Path {
        &self.cache_dir
    }

    /// The manifest's entry of that name.
    pub fn entry(&self, name: &str) -> Option<&Entry> {
        self.manifest.entry(name)
    }

    /// Whether the manifest or the configuration knows the name.
    pub fn knows(&self, name: &str) -> bool {
        self.custom.contains_key(name) || self.entry(name).is_some()
    }

    /// The user's own files, by name: a sandbox must let them be read.
    pub fn custom(&self) -> &BTreeMap<String, PathBuf> {
        &self.custom
    }

    /// The file of that name, checked: quickly (length and time against its record) where it was checked before.
    ///
    /// # Errors
    /// [`ErrorCode::ModelMissing`] ([`ErrorCode::RuntimeMissing`] for a library or a tool) with the remedy where it is not there,
    /// [`ErrorCode::ModelInvalid`] where it is damaged.
    pub fn resolve(&self, name: &str) -> Result<ResolvedModel> {
        let licence = self.entry(name).map(|entry| entry.licence.clone());
        if let Some(path) = self.custom.get(name) {
            let sha256 = self.custom_sum(path).map_err(|e| self.unreadable(name, &e))?;
            return Ok(ResolvedModel { name: name.into(), path: path.clone(), sha256, licence: None });
        }
        let (entry, artifact) = self.artifact(name)?;
        let path = cache::place(&self.cache_dir, entry, artifact);
        match cache::inspect(&path, artifact, false).map_err(|e| fetch::disk(&e))? {
            State::Whole => Ok(ResolvedModel { name: name.into(), path, sha256: artifact.sha256.clone(), licence }),
            State::Absent => Err(self.missing(name, &format!("run `darkroom models fetch {name}`"))),
            State::Damaged => {
                let why = format!("The file of `{name}` is damaged: run `darkroom models fetch {name}`.");
                Err(JobError::new(ErrorCode::ModelInvalid, why))
            }
        }
    }

    /// Reads the whole file and tells how it stands.
    ///
    /// # Errors
    /// [`ErrorCode::ModelMissing`] for names that nobody knows; those of the disk.
    pub fn verify(&self, name: &str) -> Result<Status> {
        self.status(name, true)
    }

    /// All entries of the manifest, then the names that only the configuration knows.
    ///
    /// # Errors
    /// Those of the disk.
    pub fn list(&self) -> Result<Vec<Listed>> {
        let only_custom = self.custom.keys().filter(|name| self.entry(name).is_none());
        self.manifest.entries.iter().map(|entry| &entry.name).chain(only_custom).map(|name| self.listed(name)).collect()
    }

    /// Fetches what is missing or damaged; returns the file. A name with the user's own file is left as it is.
    ///
    /// # Errors
    /// As [`Registry::resolve`], and those of the download: [`ErrorCode::StoreUnavailable`], [`ErrorCode::ModelInvalid`].
    pub fn fetch(&self, name: &str, progress: &mut dyn FnMut(FetchProgress<'_>)) -> Result<ResolvedModel> {
        self.fetch_among(name, &[], progress)
    }

    /// The same, of several names that are fetched one after the other: a package that has to be downloaded for one of them is
    /// downloaded once for all of them.
    ///
    /// # Errors
    /// As [`Registry::fetch`], of this name alone.
    pub fn fetch_among(
        &self,
        name: &str,
        names: &[String],
        progress: &mut dyn FnMut(FetchProgress<'_>),
    ) -> Result<ResolvedModel> {
        if self.custom.contains_key(name) {
            progress(FetchProgress { name, step: FetchStep::Done, bytes: 0, total_bytes: 0 });
            return self.resolve(name);
        }
        let (entry, artifact) = self.artifact(name)?;
        let others = names.iter().filter(|other| *other != name && !self.custom.contains_key(*other));
        let same = |(_, other): &(&Entry, &Artifact)| {
            other.source == artifact.source && other.download.sha256 == artifact.download.sha256
        };
        let others: Vec<_> = others.filter_map(|other| self.artifact(other).ok()).filter(same).collect();
        let path = fetch::fetch(&self.cache_dir, (entry, artifact), &others, progress)?;
        let licence = Some(entry.licence.clone());
        Ok(ResolvedModel { name: name.into(), path, sha256: artifact.sha256.clone(), licence })
    }

    /// The entry of a name that can be fetched.
    fn artifact(&self, name: &str) -> Result<(&Entry, &Artifact)> {
        let register = format!(
            "register your own file in the configuration: `[models.custom]` and `\"{name}\" = \"/path/to/file\"`"
        );
        let Some(entry) = self.entry(name) else {
            let known: Vec<&str> = self.manifest.entries.iter().map(|entry| entry.name.as_str()).collect();
            return Err(self.missing(name, &format!("the registry knows {}; or {register}", known.join(", "))));
        };
        let Some(artifact) = &entry.artifact else {
            return Err(self.missing(name, &format!("no package registry carries it, so {register}")));
        };
        Ok((entry, artifact))
    }

    fn listed(&self, name: &str) -> Result<Listed> {
        let (status, entry) = (self.status(name, false)?, self.entry(name));
        let artifact = entry.and_then(|entry| Some((entry, entry.artifact.as_ref()?)));
        let path = match status {
            Status::Ready | Status::Damaged => artifact.map(|(entry, a)| cache::place(&self.cache_dir, entry, a)),
            Status::Custom | Status::CustomUnreadable => self.custom.get(name).cloned(),
            Status::Missing | Status::Unregistered => None,
        };
        Ok(Listed {
            name: name.into(),
            kind: entry.map_or(Kind::Model, |entry| entry.kind),
            status,
            licence: entry.map(|entry| entry.licence.clone()),
            notes: entry.map(|entry| entry.notes.clone()).unwrap_or_default(),
            good_for: entry.map(|entry| entry.good_for.clone()).unwrap_or_default(),
            speed: entry.map(|entry| entry.speed.clone()).unwrap_or_default(),
            optional: entry.is_some_and(|entry| entry.optional),
            bytes: artifact.map(|(_, a)| a.bytes),
            path,
        })
    }

    fn status(&self, name: &str, full: bool) -> Result<Status> {
        if let Some(path) = self.custom.get(name) {
            return Ok(if cache::stamp(path).is_ok() { Status::Custom } else { Status::CustomUnreadable });
        }
        if self.entry(name).is_some_and(|entry| entry.artifact.is_none()) {
            return Ok(Status::Unregistered);
        }
        let (entry, artifact) = self.artifact(name)?;
        let path = cache::place(&self.cache_dir, entry, artifact);
        Ok(match cache::inspect(&path, artifact, full).map_err(|e| fetch::disk(&e))? {
            State::Whole => Status::Ready,
            State::Absent => Status::Missing,
            State::Damaged => Status::Damaged,
        })
    }

    fn custom_sum(&self, path: &Path) -> std::io::Result<String> {
        let stamp = cache::stamp(path)?;
        let mut sums = self.sums.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = sums.get(path)
            && known.stamp == stamp
        {
            return Ok(known.sha256.clone());
        }
        let sha256 = crate::digest::file(path)?.0;
        sums.insert(path.to_owned(), cache::Record { sha256: sha256.clone(), stamp });
        Ok(sha256)
    }

    fn missing(&self, name: &str, remedy: &str) -> JobError {
        match self.entry(name).map(|entry| entry.kind) {
            Some(Kind::Library) => {
                JobError::new(ErrorCode::RuntimeMissing, format!("The library `{name}` is not installed: {remedy}."))
            }
            Some(Kind::Tool) => {
                JobError::new(ErrorCode::RuntimeMissing, format!("The tool `{name}` is not installed: {remedy}."))
            }
            _ => JobError::new(ErrorCode::ModelMissing, format!("The model `{name}` is not there: {remedy}.")),
        }
    }

    fn unreadable(&self, name: &str, error: &std::io::Error) -> JobError {
        let path = self.custom.get(name).map(|path| path.display().to_string()).unwrap_or_default();
        let why = format!("the file registered for it, `{path}`, cannot be read ({error}), so correct `models.custom`");
        self.missing(name, &why)
    }
}

#[cfg(test)]
mod tests;
