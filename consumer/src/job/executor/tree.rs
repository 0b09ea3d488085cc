//! The directories that a run works in, kept empty for the next run of the same executor.
//!
//! To a short job they are dear: a file system that looks for a free inode may pass over all that were freed a while ago
//! (ext4 leaves those of the last minute alone), so that each directory made and removed makes the next one dearer.

use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use super::scratch::{clear, private};

const ROOMS: [&str; 3] = ["in", "out", "tmp"];
/// Entries after which a tree is not kept: directories grow, and do not shrink.
const MAX_ENTRIES: usize = 64;
/// The same by size, for entries that the run removed itself.
const MAX_ROOM_BYTES: u64 = 64 << 10;

/// Trees that runs of one executor have left behind, empty. No other executor gets them: one that was taken over by its
/// input may still have them open. There are as many as runs of this executor that wait for upload at once.
#[derive(Debug, Default)]
pub(super) struct Trees(Mutex<Vec<PathBuf>>);

impl Trees {
    /// One that was left behind, or a new one at `place`.
    pub(super) fn take(self: &Arc<Self>, place: PathBuf) -> io::Result<Tree> {
        let kept = self.lock().pop();
        let tree = Tree { dir: kept.clone().unwrap_or(place), home: Arc::downgrade(self) };
        if kept.is_none() {
            private().create(&tree.dir)?;
            ROOMS.iter().try_for_each(|room| private().create(tree.dir.join(room)))?;
        }
        Ok(tree)
    }

    fn lock(&self) -> MutexGuard<'_, Vec<PathBuf>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Trees {
    fn drop(&mut self) {
        self.lock().drain(..).for_each(|dir| remove(&dir));
    }
}

/// `in`, `out` and `tmp` of one run; emptied and left behind when dropped, or removed where its executor is gone.
#[derive(Debug)]
pub(super) struct Tree {
    dir: PathBuf,
    home: Weak<Trees>,
}

impl Tree {
    /// Where it lies, but for the time of the run.
    pub(super) fn dir(&self) -> &Path {
        &self.dir
    }
}

impl Drop for Tree {
    fn drop(&mut self) {
        match self.home.upgrade() {
            Some(home) if is_as_new(&self.dir) => home.lock().push(std::mem::take(&mut self.dir)),
            _ => remove(&self.dir),
        }
    }
}

/// Empties a tree. False where that fails, or the run has made something else of it.
fn is_as_new(dir: &Path) -> bool {
    let emptied = || -> io::Result<bool> {
        if !is_ours(&dir.symlink_metadata()?) {
            return Ok(false);
        }
        let (mut rooms, mut entries) = (0, 0);
        for room in fs::read_dir(dir)? {
            let room = room?;
            if !ROOMS.iter().any(|name| room.file_name() == *name) || !is_ours(&room.metadata()?) {
                return Ok(false);
            }
            entries += clear(&room.path())?;
            rooms += 1;
        }
        Ok(rooms == ROOMS.len() && entries <= MAX_ENTRIES)
    };
    emptied().unwrap_or(false)
}

/// Whether it is a directory as it was made: with the same permissions, which the run may change, and small.
fn is_ours(meta: &fs::Metadata) -> bool {
    meta.is_dir() && meta.permissions().mode() & 0o777 == 0o700 && meta.len() <= MAX_ROOM_BYTES
}

fn remove(dir: &Path) {
    match fs::remove_dir_all(dir) {
        // Gone with an executor that was ended in the middle.
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => tracing::warn!(dir = %dir.display(), %error, "a job's scratch could not be removed"),
        Ok(()) => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tree_comes_back_empty_unless_the_run_spoiled_it_or_the_executor_is_gone() {
        let dir = tempfile::tempdir().unwrap();
        let place = |name: &str| dir.path().join(name);
        let trees = Arc::new(Trees::default());
        let first = trees.take(place("first")).unwrap();
        fs::create_dir_all(first.dir().join("out/frames")).unwrap();
        fs::write(first.dir().join("out/frames/1.png"), "x").unwrap();
        fs::write(first.dir().join("in/video-0"), "x").unwrap();
        drop(first);
        let (again, second) = (trees.take(place("unused")).unwrap(), trees.take(place("second")).unwrap());
        assert_eq!((again.dir(), second.dir()), (place("first").as_path(), place("second").as_path()));
        assert_eq!(fs::read_dir(again.dir().join("in")).unwrap().count(), 0);
        assert_eq!(fs::read_dir(again.dir().join("out")).unwrap().count(), 0);
        assert!(!place("unused").exists());

        // A room that is gone, a room that is a link, another one beside them, too much in one, and one that is locked.
        fs::remove_dir(again.dir().join("tmp")).unwrap();
        std::os::unix::fs::symlink("out", again.dir().join("tmp")).unwrap();
        fs::write(second.dir().join("more"), "x").unwrap();
        let (third, fourth) = (trees.take(place("third")).unwrap(), trees.take(place("fourth")).unwrap());
        (0..=MAX_ENTRIES).for_each(|n| fs::write(third.dir().join(format!("tmp/{n}")), "x").unwrap());
        fs::set_permissions(fourth.dir().join("out"), fs::Permissions::from_mode(0o500)).unwrap();
        drop((again, second, third, fourth));
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);

        let (kept, used) = (trees.take(place("kept")).unwrap(), trees.take(place("used")).unwrap());
        drop(kept);
        drop(trees);
        assert!(!place("kept").exists() && used.dir().is_dir());
        drop(used);
        assert!(!place("used").exists());
    }
}
