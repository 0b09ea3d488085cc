//! The scratch disk of one worker: a locked root, a directory per slot, a directory of what jobs bring and leave.
//!
//! ```text
//! <configured>/.lock                held while roots are made and removed
//! <configured>/worker-<id>/lock     held as long as the worker lives
//! <configured>/worker-<id>/slot-0/  what executor 0 sees, and nothing else
//! <configured>/worker-<id>/jobs/    what is fetched or waits for upload; no executor writes here
//!     <run>.in.video-0              an input, renamed into the run's tree
//!     <run>.tree: in, out, tmp      renamed into the slot for the run, and back after it (see `tree.rs`)
//!     <run>.kept-0                  a checkpoint, taken out of the slot
//! ```
//! So transfers of neighbours overlap with a run, an executor never sees another job's files, and nothing is read here
//! that an executor could still swap.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use darkroom_api::{ErrorCode, JobError, Result};
use rustix::fs::CWD;

use super::outputs;
use super::tree::Tree;

const ROOT_PREFIX: &str = "worker-";

/// One worker's scratch root; removed with all in it when dropped, or by the next worker that starts.
#[derive(Debug)]
pub struct ScratchRoot {
    root: PathBuf,
    _lock: File,
}

impl ScratchRoot {
    /// Removes what dead workers left in `dir` and makes a root of our own there.
    ///
    /// # Errors
    /// [`ErrorCode::ScratchFull`] or [`ErrorCode::Internal`], naming the directory.
    pub fn open(dir: &Path) -> Result<Arc<ScratchRoot>> {
        let open = || -> io::Result<ScratchRoot> {
            make_dirs(dir)?;
            let dir = dir.canonicalize()?;
            let door = lock_file(&dir.join(".lock"))?;
            door.lock()?;
            remove_unlocked(&dir)?;
            let root = dir.join(format!("{ROOT_PREFIX}{}", uuid::Uuid::now_v7().simple()));
            make_dirs(&root.join("jobs"))?;
            let lock = lock_file(&root.join("lock"))?;
            lock.lock()?;
            Ok(ScratchRoot { root, _lock: lock })
        };
        open().map(Arc::new).map_err(|error| disk_error(&error, &format!("the scratch directory {}", dir.display())))
    }

    /// The root.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Where jobs wait; the prober may read it.
    pub(super) fn jobs(&self) -> PathBuf {
        self.root.join("jobs")
    }

    /// An executor's own directory, made empty.
    pub(super) fn executor_dir(&self, name: &str) -> Result<PathBuf> {
        let dir = self.root.join(name);
        make_dirs(&dir).and_then(|()| clear(&dir)).map_err(|error| disk_error(&error, "a slot's scratch directory"))?;
        Ok(dir)
    }

    /// Room for one run's files.
    ///
    /// # Errors
    /// [`ErrorCode::Internal`] for a name that is no plain word.
    pub fn job(self: &Arc<Self>, run_id: &str) -> Result<JobScratch> {
        let plain = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
        if run_id.is_empty() || run_id.len() > 128 || !run_id.chars().all(plain) {
            return Err(JobError::new(ErrorCode::Internal, format!("`{run_id}` is no name for a run's files.")));
        }
        let (inputs, tree, checkpoints) = (Mutex::default(), Mutex::default(), AtomicU32::new(0));
        Ok(JobScratch { run_id: run_id.to_owned(), inputs, tree, checkpoints, root: Arc::clone(self) })
    }
}

/// Removes a scratch directory that nobody uses any more. Processes that were killed a moment ago may still write: they
/// get a second to go. What another worker uses stays.
pub async fn sweep(dir: &Path) {
    for _ in 0..20 {
        match try_sweep(dir) {
            Ok(()) => return,
            Err(error) => tracing::debug!(dir = %dir.display(), %error, "scratch directory not removed yet"),
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

fn try_sweep(dir: &Path) -> io::Result<()> {
    if !dir.is_dir() {
        return Ok(());
    }
    let door = lock_file(&dir.join(".lock"))?;
    door.lock()?;
    remove_unlocked(dir)?;
    if fs::read_dir(dir)?.count() > 1 {
        // Somebody else's, beside the lock.
        return Ok(());
    }
    fs::remove_file(dir.join(".lock"))?;
    fs::remove_dir(dir)
}

impl Drop for ScratchRoot {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir_all(&self.root) {
            tracing::warn!(root = %self.root.display(), %error, "scratch left behind; the next start removes it");
        }
    }
}

/// One run's files; removed when dropped.
#[derive(Debug)]
pub struct JobScratch {
    run_id: String,
    /// Names of inputs that were fetched, or are to be.
    inputs: Mutex<Vec<String>>,
    /// What the run left behind.
    tree: Mutex<Option<Tree>>,
    checkpoints: AtomicU32,
    root: Arc<ScratchRoot>,
}

impl JobScratch {
    /// Where something of this run lies.
    pub(super) fn place(&self, name: &str) -> PathBuf {
        self.root.jobs().join(format!("{}.{name}", self.run_id))
    }

    /// Where an input goes, under the name that the executor will see.
    pub fn input(&self, name: &str) -> PathBuf {
        self.inputs().push(name.to_owned());
        self.input_place(name)
    }

    fn input_place(&self, name: &str) -> PathBuf {
        self.place(&format!("in.{name}"))
    }

    /// Moves the inputs into this directory.
    pub(super) fn move_inputs(&self, to: &Path) -> io::Result<()> {
        // They stay on the list where one cannot be moved, so that all of them go with this.
        let mut inputs = self.inputs();
        inputs.iter().try_for_each(|name| match fs::rename(self.input_place(name), to.join(name)) {
            // It was to be fetched and was not.
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            moved => moved,
        })?;
        inputs.clear();
        Ok(())
    }

    /// The name of one of this run's inputs.
    pub(super) fn name_of<'a>(&self, path: &'a Path) -> Option<&'a str> {
        let name = path.strip_prefix(self.root.jobs()).ok()?.to_str()?;
        name.strip_prefix(self.run_id.as_str())?.strip_prefix(".in.")
    }

    /// Keeps what the run left behind as long as this.
    pub(super) fn hold(&self, tree: Tree) {
        *self.tree.lock().unwrap_or_else(PoisonError::into_inner) = Some(tree);
    }

    fn inputs(&self) -> MutexGuard<'_, Vec<String>> {
        self.inputs.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn kept(&self, number: u32) -> PathBuf {
        self.place(&format!("kept-{number}"))
    }

    /// Takes a file out of an executor's directory, so that it can no longer be replaced; the last two are kept.
    ///
    /// # Errors
    /// Where `path` is no regular file below `from`, reached through no link.
    pub(super) fn keep(&self, from: &Path, path: &Path) -> io::Result<PathBuf> {
        let missing = || io::Error::from(io::ErrorKind::NotFound);
        let (parent, name) = (path.parent().ok_or_else(missing)?, path.file_name().ok_or_else(missing)?);
        let parent = outputs::open_dir(from, parent.strip_prefix(from).map_err(|_| missing())?)?;
        let number = self.checkpoints.fetch_add(1, Ordering::Relaxed);
        let kept = self.kept(number);
        rustix::fs::renameat(&parent, name, CWD, &kept)?;
        if let Some(old) = number.checked_sub(2) {
            remove(&self.kept(old));
        }
        match kept.symlink_metadata()?.is_file() {
            true => Ok(kept),
            false => Err(io::Error::other("it is no regular file")),
        }
    }
}

impl Drop for JobScratch {
    fn drop(&mut self) {
        let last = *self.checkpoints.get_mut();
        (last.saturating_sub(2)..last).for_each(|number| remove(&self.kept(number)));
        let inputs: Vec<String> = self.inputs().drain(..).collect();
        inputs.iter().for_each(|name| remove(&self.input_place(name)));
    }
}

/// Removes what an executor may have made a directory of.
fn remove(path: &Path) {
    let is_dir = path.symlink_metadata().is_ok_and(|meta| meta.is_dir());
    match if is_dir { fs::remove_dir_all(path) } else { fs::remove_file(path) } {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            tracing::warn!(path = %path.display(), %error, "a job's scratch could not be removed");
        }
        _ => {}
    }
}

/// An error of the scratch disk.
pub(super) fn disk_error(error: &io::Error, what: &str) -> JobError {
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            JobError::new(ErrorCode::ScratchFull, format!("There is no room for {what}: free space on its disk."))
        }
        _ => JobError::new(ErrorCode::Internal, format!("Could not use {what}: {error}.")),
    }
}

pub(super) fn private() -> DirBuilder {
    let mut builder = DirBuilder::new();
    builder.mode(0o700);
    builder
}

fn make_dirs(dir: &Path) -> io::Result<()> {
    private().recursive(true).create(dir)
}

fn lock_file(path: &Path) -> io::Result<File> {
    OpenOptions::new().create(true).truncate(false).write(true).open(path)
}

/// Empties a directory; links are removed, not followed. Returns how many entries it had.
pub(super) fn clear(dir: &Path) -> io::Result<usize> {
    let mut entries = 0;
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        match entry.file_type()?.is_dir() {
            true => fs::remove_dir_all(entry.path())?,
            false => fs::remove_file(entry.path())?,
        }
        entries += 1;
    }
    Ok(entries)
}

/// Removes the roots of workers that are gone. One that resists, another user's for instance, is no reason not to work.
fn remove_unlocked(dir: &Path) -> io::Result<()> {
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        if !entry.file_name().to_string_lossy().starts_with(ROOT_PREFIX) || !entry.file_type()?.is_dir() {
            continue;
        }
        let root = entry.path();
        let removed = is_dead(&root).and_then(|dead| if dead { fs::remove_dir_all(&root) } else { Ok(()) });
        match removed {
            Ok(()) => {}
            Err(error) => {
                tracing::warn!(root = %root.display(), %error, "an old scratch root stays: remove it by hand")
            }
        }
    }
    Ok(())
}

fn is_dead(root: &Path) -> io::Result<bool> {
    let lock = match File::open(root.join("lock")) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(true),
        other => other?,
    };
    match lock.try_lock() {
        Ok(()) => {
            tracing::info!(root = %root.display(), "removing the scratch of a worker that is gone");
            Ok(true)
        }
        Err(fs::TryLockError::WouldBlock) => Ok(false),
        Err(fs::TryLockError::Error(error)) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn roots_of_the_dead_go_and_those_of_the_living_stay() {
        let dir = tempfile::tempdir().unwrap();
        let alive = ScratchRoot::open(dir.path()).unwrap();
        let dead = dir.path().join("worker-0/jobs/x");
        fs::create_dir_all(&dead).unwrap();
        fs::write(dead.join("clip.mp4"), "left over").unwrap();
        // A directory where the lock should be: it can be neither locked nor taken for dead.
        let odd = dir.path().join("worker-odd");
        fs::create_dir_all(odd.join("lock")).unwrap();
        let foreign = dir.path().join("holiday");
        fs::create_dir(&foreign).unwrap();

        let second = ScratchRoot::open(dir.path()).unwrap();
        assert!(!dir.path().join("worker-0").exists());
        assert!(alive.root().is_dir() && second.root().is_dir() && foreign.is_dir());
        let (first, mode) = (alive.root().to_owned(), alive.root().metadata().unwrap().permissions().mode());
        assert_eq!(mode & 0o777, 0o700);
        drop(alive);
        assert!(!first.exists());
    }

    #[tokio::test]
    async fn a_directory_is_swept_away_once_nobody_uses_it() {
        let parent = tempfile::tempdir().unwrap();
        let dir = parent.path().join("scratch");
        let alive = ScratchRoot::open(&dir).unwrap();
        fs::create_dir_all(dir.join("worker-0/jobs/x")).unwrap();
        sweep(&dir).await;
        assert!(alive.root().is_dir() && !dir.join("worker-0").exists());
        drop(alive);
        sweep(&dir).await;
        assert!(!dir.exists());
        sweep(&dir).await;
    }

    #[test]
    fn what_a_run_brings_and_keeps_goes_with_it_and_its_name_is_no_path() {
        let dir = tempfile::tempdir().unwrap();
        let scratch = ScratchRoot::open(dir.path()).unwrap();
        for name in ["", "..", "a/b", ".", "ä"] {
            assert_eq!(scratch.job(name).unwrap_err().code, ErrorCode::Internal, "{name}");
        }
        let job = scratch.job("abc-1").unwrap();
        let [moved, stays, _missing] = ["video-0", "video-1", "video-2"].map(|name| job.input(name));
        fs::write(&moved, "x").unwrap();
        assert_eq!((job.name_of(&moved), job.name_of(Path::new("/abc-1.in.video-0"))), (Some("video-0"), None));
        let slot = dir.path().join("slot");
        fs::create_dir(&slot).unwrap();
        job.move_inputs(&slot).unwrap();
        assert!(slot.join("video-0").is_file() && !moved.exists());
        job.input("video-1");
        fs::write(&stays, "x").unwrap();
        fs::create_dir(slot.join("folder")).unwrap();
        assert!(job.keep(&slot, &slot.join("folder")).is_err());
        drop(job);
        assert_eq!(fs::read_dir(scratch.jobs()).unwrap().count(), 0);
    }

    #[test]
    fn checkpoints_are_taken_out_and_links_are_not_followed() {
        let dir = tempfile::tempdir().unwrap();
        let job = ScratchRoot::open(dir.path()).unwrap().job("run").unwrap();
        let (slot, file) = (dir.path().join("slot"), dir.path().join("slot/tmp/file"));
        fs::create_dir_all(slot.join("tmp")).unwrap();
        let kept: Vec<PathBuf> = (0..3)
            .map(|n| {
                fs::write(&file, n.to_string()).unwrap();
                job.keep(&slot, &file).unwrap()
            })
            .collect();
        assert!(!file.exists() && !kept[0].exists());
        assert_eq!(fs::read_to_string(&kept[2]).unwrap(), "2");

        let secret = dir.path().join("secret");
        fs::write(&secret, "x").unwrap();
        std::os::unix::fs::symlink(&secret, &file).unwrap();
        assert!(job.keep(&slot, &file).is_err());
        std::os::unix::fs::symlink(dir.path(), slot.join("link")).unwrap();
        assert!(job.keep(&slot, &slot.join("link/secret")).is_err());
        assert!(job.keep(&slot, &slot.join("../secret")).is_err());
        assert!(job.keep(&slot, &secret).is_err());
        assert!(secret.exists());
    }
}
