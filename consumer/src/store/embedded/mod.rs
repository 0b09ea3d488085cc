//! An S3 server for one machine: real clients, no cloud.
//!
//! # Design note
//!
//! The `s3s` crate speaks the protocol (SigV4 headers and presigned URLs, aws-chunked bodies, XML); this module is the
//! store beneath it. Bytes lie in files of random names, written once and never changed ([`blobs`]), a few KiB in the database; everything that can
//! be asked about them stands in the SQLite file shared with the queue. A key is only ever a column, never a path, so any
//! key of 1024 bytes is good: a leading `/`, `..`, `a` beside `a/b`.
//!
//! * **A blob is synced before the row that names it commits**, and the commit is synced before the client gets its 200.
//! * **One transaction** makes an object visible, checks `If-Match`/`If-None-Match`, finishes a multipart upload and
//!   enqueues the notification. There is no moment at which one of them is true and another is not.
//! * **Few bytes stand in their row**: the claims, states and manifests of the journey cost one fsync each.
//! * A multipart object keeps its parts as segments: completing it moves rows, not bytes, and may be repeated.
//! * What a commit made superfluous is unlinked after it, or when its last reader is done. A crash in between leaves
//!   files that no row names; they go at the next start. A lock keeps a second server off the directory meanwhile.
//!
//! Left out, with `NotImplemented`: versions, ACLs, tags, lifecycle rules, website and the like.

mod api;
mod blobs;
mod buckets;
mod conditions;
mod copy;
mod event;
mod headers;
mod listing;
mod multipart;
mod objects;
mod reader;
mod receive;
mod rows;
mod server;
#[cfg(test)]
mod tests;

use std::{
    collections::HashSet,
    fs::File,
    os::unix::fs::DirBuilderExt as _,
    path::{Path, PathBuf},
    sync::Arc,
};

use anyhow::{Context as _, bail};
use hyper::StatusCode;
use rusqlite::{Connection, Transaction};
use s3s::{S3Error, S3ErrorCode, S3Result, path::check_bucket_name};

use crate::db::{self, Db};
use blobs::Blobs;

/// How an [`Embedded`] store is set up.
#[derive(Debug, Clone)]
pub struct Options {
    /// The one access key that may sign requests.
    pub access_key: String,
    /// Its secret.
    pub secret_key: String,
    /// Buckets that exist from the start.
    pub buckets: Vec<String>,
    /// Which new objects are announced, and where.
    pub notifications: Vec<Notification>,
    /// Longest object in bytes.
    pub max_object_bytes: u64,
    /// Objects up to this size stand in the database: one fsync instead of three. At most 1 MiB; none for blobs only.
    pub inline_bytes: Option<usize>,
    /// Bytes that stay free on the disk: a write that would go below is refused with status 507.
    pub min_free_bytes: u64,
}

impl Options {
    /// Options with these keys, no bucket, objects up to 128 GiB (16 KiB in the database), and 1 GiB kept free.
    pub fn new(access_key: impl Into<String>, secret_key: impl Into<String>) -> Self {
        Options {
            access_key: access_key.into(),
            secret_key: secret_key.into(),
            buckets: Vec::new(),
            notifications: Vec::new(),
            max_object_bytes: 128 << 30,
            inline_bytes: Some(16 << 10),
            min_free_bytes: 1 << 30,
        }
    }
}

/// A rule: an `ObjectCreated` event for every new object under a prefix goes to a queue of the same file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notification {
    /// The bucket.
    pub bucket: String,
    /// What keys begin with; empty for all.
    pub prefix: String,
    /// Name of the queue.
    pub queue: String,
}

/// The opened store, ready to [`serve`](Embedded::serve).
#[derive(Debug)]
pub struct Embedded {
    store: Store,
    options: Options,
    _lock: File,
}

impl Embedded {
    /// Opens the store in `dir`, with its index in `db`; creates what is missing, and removes what a crash left behind.
    ///
    /// # Errors
    /// When another server has the directory, a bucket's name is not one that S3 allows, or files cannot be made.
    pub async fn open(dir: impl Into<PathBuf>, db: Db, options: Options) -> anyhow::Result<Embedded> {
        let dir = dir.into();
        let wanted = options.buckets.iter().chain(options.notifications.iter().map(|rule| &rule.bucket));
        let wanted: Vec<String> = wanted.cloned().collect();
        if let Some(bad) = wanted.iter().find(|name| !check_bucket_name(name)) {
            bail!(
                "`{bad}` is no bucket name: use 3 to 63 of a-z, 0-9, `-` and `.`, beginning and ending with a letter or digit"
            );
        }
        let min_free_bytes = options.min_free_bytes;
        let opened = tokio::task::spawn_blocking(move || -> anyhow::Result<(File, Blobs)> {
            let lock = lock(&dir)?;
            let blobs = Blobs::open(dir.join("blobs"), min_free_bytes);
            Ok((lock, blobs.with_context(|| format!("cannot create the blob directories in {}", dir.display()))?))
        });
        let (lock, blobs) = opened.await??;
        let store = Store {
            db,
            blobs: Arc::new(blobs),
            notifications: options.notifications.clone().into(),
            max_object_bytes: options.max_object_bytes,
            // A body is gathered up to the size of a chunk before it goes to a blob.
            inline_bytes: options.inline_bytes.map(|bytes| bytes.min(receive::CHUNK_BYTES)),
        };
        store.start(wanted).await?;
        Ok(Embedded { store, options, _lock: lock })
    }
}

/// Keeps a second server, whose start would remove our unfinished blobs, off the directory.
fn lock(dir: &Path) -> anyhow::Result<File> {
    let made = std::fs::DirBuilder::new().recursive(true).mode(0o700).create(dir);
    made.with_context(|| format!("cannot create {}", dir.display()))?;
    let lock = File::create(dir.join("lock")).with_context(|| format!("cannot write in {}", dir.display()))?;
    match lock.try_lock() {
        Ok(()) => Ok(lock),
        Err(std::fs::TryLockError::WouldBlock) => {
            bail!("{} is in use: stop the other darkroom, or choose another directory", dir.display())
        }
        Err(std::fs::TryLockError::Error(error)) => Err(error).context("cannot lock the data directory"),
    }
}

/// Index and blobs; what the operations work on.
#[derive(Debug, Clone)]
struct Store {
    db: Db,
    blobs: Arc<Blobs>,
    notifications: Arc<[Notification]>,
    max_object_bytes: u64,
    inline_bytes: Option<usize>,
}

/// Names of blobs that a change made superfluous.
type Garbage = Vec<String>;

impl Store {
    /// Creates buckets, ends stale uploads and removes the blobs that no row names.
    async fn start(&self, buckets: Vec<String>) -> anyhow::Result<()> {
        let live: HashSet<String> = self
            .db
            .write(move |tx| {
                for bucket in &buckets {
                    rows::create_bucket(tx, bucket)?;
                }
                // Their blobs are named by no row any more, and go with all such.
                drop(rows::end_stale_uploads(tx)?);
                rows::live_blobs(tx)
            })
            .await
            .map_err(|error: db::Error| error)?;
        let blobs = self.blobs.clone();
        let removed = tokio::task::spawn_blocking(move || blobs.retain(&live)).await??;
        if removed > 0 {
            tracing::info!(removed, "removed blobs that an earlier run left unfinished");
        }
        Ok(())
    }

    /// Answers from the latest committed state.
    async fn look<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Connection) -> S3Result<T> + Send + 'static,
    ) -> S3Result<T> {
        self.db.read(work).await
    }

    /// Commits a change, then removes the blobs it made superfluous; goes to its end even when the client hangs up.
    async fn change<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Transaction<'_>) -> S3Result<(T, Garbage)> + Send + 'static,
    ) -> S3Result<T> {
        let this = self.clone();
        let change = tokio::spawn(async move {
            let (value, garbage) = this.db.write(work).await?;
            if !garbage.is_empty() {
                tokio::task::spawn_blocking(move || this.blobs.remove(garbage)).await.map_err(db::Error::from)?;
            }
            Ok(value)
        });
        change.await.unwrap_or_else(|error| Err(db::Error::from(error).into()))
    }
}

impl From<db::Error> for S3Error {
    fn from(error: db::Error) -> Self {
        if error.is_full() { no_room() } else { S3Error::with_source(S3ErrorCode::InternalError, error.into()) }
    }
}

/// The answer to a write that finds no room: 507, which clients do not repeat at once as they do with a 503.
fn no_room() -> S3Error {
    let mut error = S3Error::with_message(
        S3ErrorCode::Custom("InsufficientStorage".into()),
        "Not enough free disk for this write: make room in the data directory.",
    );
    error.set_status_code(StatusCode::INSUFFICIENT_STORAGE);
    error
}
