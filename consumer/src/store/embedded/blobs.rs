//! The files that hold the bytes: written once under a random name, never changed, unlinked when nothing names them.

use std::{
    collections::{HashMap, HashSet},
    fs::{self, File},
    io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use uuid::Uuid;

/// Directory of blobs. All methods block.
#[derive(Debug)]
pub struct Blobs {
    root: PathBuf,
    min_free_bytes: u64,
    /// Blobs being read.
    readers: Mutex<HashMap<String, Readers>>,
}

#[derive(Debug, Default)]
struct Readers {
    count: usize,
    /// To be unlinked by the last reader.
    superfluous: bool,
}

impl Blobs {
    /// Opens the directory, creating it and its 256 subdirectories.
    pub fn open(root: PathBuf, min_free_bytes: u64) -> io::Result<Self> {
        for n in 0..=u8::MAX {
            fs::create_dir_all(root.join(format!("{n:02x}")))?;
        }
        File::open(&root)?.sync_all()?;
        if let Some(parent) = root.parent() {
            File::open(parent)?.sync_all()?;
        }
        Ok(Blobs { root, min_free_bytes, readers: Mutex::default() })
    }

    /// Whether `bytes` more can be written without going below what has to stay free.
    pub fn has_room_for(&self, bytes: u64) -> io::Result<bool> {
        let disk = rustix::fs::statvfs(&self.root)?;
        let free = disk.f_bavail.saturating_mul(disk.f_frsize);
        Ok(free >= self.min_free_bytes.saturating_add(bytes))
    }

    /// A new, empty blob.
    pub fn create(&self) -> io::Result<Unnamed> {
        let name = Uuid::now_v7().simple().to_string();
        let path = self.path(&name);
        Ok(Unnamed { file: Some(File::create_new(&path)?), name, path })
    }

    /// A second name for the bytes of a blob, which then live as long as either.
    pub fn link(&self, name: &str) -> io::Result<Unnamed> {
        let new = Uuid::now_v7().simple().to_string();
        let path = self.path(&new);
        fs::hard_link(self.path(name), &path)?;
        Ok(Unnamed { file: None, name: new, path })
    }

    /// Keeps these blobs until the guard is dropped. Whether they were there is seen when the first is opened: they are
    /// removed together.
    pub fn pin(self: &Arc<Self>, names: Vec<String>) -> Pinned {
        let mut readers = self.readers();
        for name in &names {
            readers.entry(name.clone()).or_default().count += 1;
        }
        drop(readers);
        Pinned { blobs: self.clone(), names }
    }

    /// Opens a blob for reading.
    pub fn read(&self, name: &str) -> io::Result<File> {
        File::open(self.path(name))
    }

    /// Removes blobs that no row names any more, those being read as soon as they are not.
    pub fn remove(&self, names: Vec<String>) {
        let mut readers = self.readers();
        for name in names {
            match readers.get_mut(&name) {
                Some(reading) => reading.superfluous = true,
                None => unlink(&self.path(&name)),
            }
        }
    }

    /// Removes every file that is not in `live`; returns how many.
    pub fn retain(&self, live: &HashSet<String>) -> io::Result<usize> {
        let mut removed = 0;
        for n in 0..=u8::MAX {
            for entry in fs::read_dir(self.root.join(format!("{n:02x}")))? {
                let entry = entry?;
                if !entry.file_name().to_str().is_some_and(|name| live.contains(name)) {
                    fs::remove_file(entry.path())?;
                    removed += 1;
                }
            }
        }
        Ok(removed)
    }

    fn path(&self, name: &str) -> PathBuf {
        // The end of the name is its random part.
        let fan_out = name.get(name.len().saturating_sub(2)..).unwrap_or(name);
        self.root.join(fan_out).join(name)
    }

    fn readers(&self) -> MutexGuard<'_, HashMap<String, Readers>> {
        self.readers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A failure leaves a file that the next start removes: nothing to be done about it now.
fn unlink(path: &Path) {
    if let Err(error) = fs::remove_file(path) {
        tracing::warn!(path = %path.display(), %error, "cannot remove a blob that is not needed any more");
    }
}

/// A blob that no row names yet: removed when dropped.
#[derive(Debug)]
pub struct Unnamed {
    name: String,
    path: PathBuf,
    file: Option<File>,
}

impl Unnamed {
    /// Appends.
    pub fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        match &mut self.file {
            Some(file) => io::Write::write_all(file, bytes),
            None => Err(io::ErrorKind::ReadOnlyFilesystem.into()),
        }
    }

    /// Makes bytes and name survive a power cut.
    pub fn sync(&self) -> io::Result<()> {
        if let Some(file) = &self.file {
            file.sync_data()?;
        }
        self.path.parent().map_or(Ok(()), |dir| File::open(dir)?.sync_all())
    }

    /// The name for the row that is about to commit. From here on the blob stays; should the commit fail, the next start
    /// removes it.
    pub fn keep(mut self) -> String {
        self.path = PathBuf::new();
        std::mem::take(&mut self.name)
    }
}

impl Drop for Unnamed {
    fn drop(&mut self) {
        if !self.name.is_empty() {
            unlink(&self.path);
        }
    }
}

/// Blobs kept for a reader.
#[derive(Debug)]
pub struct Pinned {
    blobs: Arc<Blobs>,
    names: Vec<String>,
}

impl Pinned {
    /// Opens one of them.
    pub fn read(&self, name: &str) -> io::Result<File> {
        self.blobs.read(name)
    }
}

impl Drop for Pinned {
    fn drop(&mut self) {
        let mut readers = self.blobs.readers();
        for name in &self.names {
            let Some(reading) = readers.get_mut(name) else { continue };
            reading.count -= 1;
            if reading.count == 0 {
                if reading.superfluous {
                    unlink(&self.blobs.path(name));
                }
                readers.remove(name);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn blobs(dir: &tempfile::TempDir) -> Arc<Blobs> {
        Arc::new(Blobs::open(dir.path().join("blobs"), 0).unwrap())
    }

    fn written(blobs: &Blobs, bytes: &[u8]) -> Unnamed {
        let mut blob = blobs.create().unwrap();
        blob.write(bytes).unwrap();
        blob.sync().unwrap();
        blob
    }

    fn read(blobs: &Blobs, name: &str) -> io::Result<String> {
        io::read_to_string(blobs.read(name)?)
    }

    #[test]
    fn what_no_row_names_is_removed() {
        let dir = tempfile::tempdir().unwrap();
        let blobs = blobs(&dir);
        drop(written(&blobs, b"dropped"));
        let (kept, lost) = (written(&blobs, b"kept").keep(), written(&blobs, b"lost").keep());
        assert_eq!(blobs.retain(&HashSet::from([kept.clone()])).unwrap(), 1);
        assert_eq!(read(&blobs, &kept).unwrap(), "kept");
        assert_eq!(read(&blobs, &lost).unwrap_err().kind(), io::ErrorKind::NotFound);
    }

    #[test]
    fn a_blob_being_read_goes_with_its_last_reader() {
        let dir = tempfile::tempdir().unwrap();
        let blobs = blobs(&dir);
        let name = written(&blobs, b"x").keep();
        let (first, second) = (blobs.pin(vec![name.clone()]), blobs.pin(vec![name.clone()]));
        blobs.remove(vec![name.clone()]);
        drop(first);
        assert_eq!(read(&blobs, &name).unwrap(), "x");
        drop(second);
        assert_eq!(read(&blobs, &name).unwrap_err().kind(), io::ErrorKind::NotFound);
        assert!(blobs.readers().is_empty());
    }

    #[test]
    fn a_link_outlives_the_first_name() {
        let dir = tempfile::tempdir().unwrap();
        let blobs = blobs(&dir);
        let first = written(&blobs, b"x").keep();
        let second = blobs.link(&first).unwrap().keep();
        blobs.remove(vec![first]);
        assert_eq!(read(&blobs, &second).unwrap(), "x");
    }

    #[test]
    fn room_is_what_the_disk_has_less_the_reserve() {
        let dir = tempfile::tempdir().unwrap();
        assert!(blobs(&dir).has_room_for(1).unwrap());
        assert!(!blobs(&dir).has_room_for(u64::MAX).unwrap());
        let strict = Blobs::open(dir.path().join("blobs"), u64::MAX / 2).unwrap();
        assert!(!strict.has_room_for(0).unwrap());
    }
}
