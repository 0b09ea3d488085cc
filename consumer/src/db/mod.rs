//! The SQLite file that the embedded queue and the embedded store share.
//!
//! WAL with `synchronous=FULL`: what [`Db::write`] returned survives a power cut. Writes take their turn behind one
//! connection, reads use another and never wait for a write's fsync; both run on the blocking pool. Other processes
//! (`darkroom submit`, `darkroom jobs`) may open the same file.

use std::{
    fs::OpenOptions,
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError, Weak},
    time::Duration,
};

use rusqlite::{Connection, OpenFlags, Transaction, TransactionBehavior, ffi::ErrorCode};
use tokio::sync::{Notify, futures::Notified};

const SCHEMA: &str = include_str!("schema.sql");
/// Version of [`SCHEMA`], in the file as `user_version`.
const VERSION: i64 = 3;
/// From each version to the next, beginning with the first.
const STEPS: [(i64, &str); 2] = [
    (1, "ALTER TABLE messages ADD COLUMN uncounted INTEGER NOT NULL DEFAULT 0"),
    (2, "CREATE INDEX messages_sent ON messages (queue, sent_at, dead_at) WHERE dead_at IS NULL"),
];
/// Another process's write may take this long before ours fails.
const BUSY: Duration = Duration::from_secs(10);
/// Bound of the file, in pages of 4 KiB: 8 GiB.
const MAX_PAGES: i64 = 2 << 20;
/// Size that the write-ahead log is cut back to after a checkpoint.
const WAL_BYTES: i64 = 16 << 20;

/// Why the file could not be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// SQLite's answer.
    #[error(transparent)]
    Sqlite(#[from] rusqlite::Error),
    /// The file was written by a newer build.
    #[error(
        "{path} has schema version {found}, this build knows {VERSION}; run the newer build, or move the file away"
    )]
    Version {
        /// The file.
        path: PathBuf,
        /// What stands in it.
        found: i64,
    },
    /// The blocking task panicked, or the runtime is shutting down.
    #[error("the database task ended early: {0}")]
    Task(#[from] tokio::task::JoinError),
}

impl Error {
    /// Whether there was no room for a write, on the disk or within the file's bound.
    pub fn is_full(&self) -> bool {
        matches!(self, Error::Sqlite(error) if error.sqlite_error_code() == Some(ErrorCode::DiskFull))
    }
}

/// A handle on the file. Cheap to clone.
#[derive(Clone)]
pub struct Db(Arc<Inner>);

struct Inner {
    path: PathBuf,
    writer: Mutex<Connection>,
    reader: Mutex<Connection>,
    committed: Notify,
}

/// What this process has open.
static OPEN: Mutex<Vec<Weak<Inner>>> = Mutex::new(Vec::new());

impl Inner {
    fn shared(path: PathBuf) -> Result<Arc<Inner>, Error> {
        // Held while opening, so that two who open at once get the same.
        let mut open = OPEN.lock().unwrap_or_else(PoisonError::into_inner);
        create_private(&path);
        let mut writer = connect(&path, OpenFlags::default())?;
        let path = std::fs::canonicalize(&path).unwrap_or(path);
        open.retain(|inner| inner.strong_count() > 0);
        if let Some(inner) = open.iter().filter_map(Weak::upgrade).find(|inner| inner.path == path) {
            return Ok(inner);
        }
        migrate(&mut writer, &path)?;
        let reader = connect(&path, OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
        let inner = Inner { path, writer: writer.into(), reader: reader.into(), committed: Notify::new() };
        let inner = Arc::new(inner);
        open.push(Arc::downgrade(&inner));
        Ok(inner)
    }
}

impl std::fmt::Debug for Db {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Db").field(&self.0.path).finish()
    }
}

impl Db {
    /// Opens the file, creating it and its tables when there is none. The directory must exist. Opening a file that this
    /// process has open gives a handle on the same connections, so that [`Db::committed`] sees every commit of the process.
    ///
    /// # Errors
    /// [`Error::Version`] for a newer file, [`Error::Sqlite`] for one that cannot be opened or is no database.
    pub async fn open(path: impl Into<PathBuf>) -> Result<Db, Error> {
        let path = path.into();
        Ok(Db(tokio::task::spawn_blocking(move || Inner::shared(path)).await??))
    }

    /// Runs `work` in one transaction and commits it durably; rolled back when `work` fails. Once begun it goes to its
    /// end even if the future is dropped.
    ///
    /// # Errors
    /// What `work` returns, or [`Error`] from SQLite.
    pub async fn write<T, E>(
        &self,
        work: impl FnOnce(&Transaction<'_>) -> Result<T, E> + Send + 'static,
    ) -> Result<T, E>
    where
        T: Send + 'static,
        E: From<Error> + Send + 'static,
    {
        let inner = self.0.clone();
        let result = tokio::task::spawn_blocking(move || {
            // A panic in `work` rolled its transaction back: the connection behind a poisoned lock is sound.
            let mut connection = inner.writer.lock().unwrap_or_else(PoisonError::into_inner);
            let sqlite = |error| E::from(Error::Sqlite(error));
            let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate).map_err(sqlite)?;
            let value = work(&transaction)?;
            transaction.commit().map_err(sqlite)?;
            drop(connection);
            inner.committed.notify_waiters();
            Ok(value)
        });
        result.await.unwrap_or_else(|error| Err(Error::Task(error).into()))
    }

    /// Runs `work` on the latest committed state, and on that one alone: what commits meanwhile is not seen by any of its
    /// queries.
    ///
    /// # Errors
    /// What `work` returns, or [`Error`] from SQLite.
    pub async fn read<T, E>(&self, work: impl FnOnce(&Connection) -> Result<T, E> + Send + 'static) -> Result<T, E>
    where
        T: Send + 'static,
        E: From<Error> + Send + 'static,
    {
        let inner = self.0.clone();
        let result = tokio::task::spawn_blocking(move || {
            let connection = inner.reader.lock().unwrap_or_else(PoisonError::into_inner);
            // Queries on their own would each see a state of their own. Rolled back when dropped: nothing was written.
            let snapshot = connection.unchecked_transaction().map_err(|error| E::from(Error::Sqlite(error)))?;
            work(&snapshot)
        });
        result.await.unwrap_or_else(|error| Err(Error::Task(error).into()))
    }

    /// Completes at the next commit of this process. Other processes' commits have to be looked for.
    pub fn committed(&self) -> Notified<'_> {
        self.0.committed.notified()
    }
}

/// Now, as the file keeps times: Unix milliseconds.
pub fn now_ms() -> i64 {
    jiff::Timestamp::now().as_millisecond()
}

/// Makes a missing file readable by its owner alone, and with it the log that SQLite keeps beside it: messages, small
/// objects and presigned URLs stand there. Where that fails, opening it tells why.
fn create_private(path: &Path) {
    drop(OpenOptions::new().write(true).create_new(true).mode(0o600).open(path));
}

fn connect(path: &Path, flags: OpenFlags) -> Result<Connection, Error> {
    let connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(BUSY)?;
    connection.set_prepared_statement_cache_capacity(64);
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.pragma_update(None, "foreign_keys", true)?;
    Ok(connection)
}

fn migrate(connection: &mut Connection, path: &Path) -> Result<(), Error> {
    connection.pragma_update(None, "journal_mode", "WAL")?;
    connection.pragma_update(None, "journal_size_limit", WAL_BYTES)?;
    connection.pragma_update(None, "max_page_count", MAX_PAGES)?;
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    match transaction.pragma_query_value(None, "user_version", |row| row.get(0))? {
        0 => transaction.execute_batch(SCHEMA)?,
        VERSION => return Ok(()),
        found @ 1..VERSION => {
            STEPS
                .iter()
                .filter(|(from, _)| *from >= found)
                .try_for_each(|(_, step)| transaction.execute_batch(step))?;
        }
        found => return Err(Error::Version { path: path.to_owned(), found }),
    }
    transaction.pragma_update(None, "user_version", VERSION)?;
    transaction.commit()?;
    Ok(())
}

#[cfg(test)]
mod tests;
