//! One member out of a downloaded archive.
//!
//! Only the member that the manifest names is read, and it is written to a path of ours: names inside the archive
//! never become paths. What comes out is bounded by the length the manifest states.

use std::fs::File;
use std::io::{self, Read, Seek, Write};
use std::path::Path;

/// Most bytes of a tar that are unpacked in search of a member.
const MAX_TAR_BYTES: u64 = 8 << 30;

/// Writes `member` of `archive` (told apart by the file's name) to `target`; returns its length, at most `limit` + 1.
///
/// # Errors
/// Those of the files; `InvalidData` for archives that are damaged or lack the member as a plain file.
pub fn extract(archive: &Path, member: &str, limit: u64, target: &mut (impl Write + ?Sized)) -> io::Result<u64> {
    let name = archive.file_name().unwrap_or_default().to_string_lossy().to_ascii_lowercase();
    let file = File::open(archive)?;
    if name.ends_with(".whl") || name.ends_with(".zip") {
        from_zip(file, member, limit, target)
    } else if name.ends_with(".tgz") || name.ends_with(".tar.gz") {
        from_tar(flate2::read::GzDecoder::new(file), member, limit, target)
    } else {
        Err(invalid("the download is no archive (.whl, .zip, .tgz, .tar.gz)".into()))
    }
}

fn from_zip(file: impl Read + Seek, member: &str, limit: u64, target: &mut (impl Write + ?Sized)) -> io::Result<u64> {
    let mut archive = zip::ZipArchive::new(file).map_err(|e| invalid(format!("the archive is damaged: {e}")))?;
    let entry = archive.by_name(member).map_err(|e| invalid(format!("the archive has no readable `{member}`: {e}")))?;
    if !entry.is_file() || entry.is_symlink() {
        return Err(invalid(format!("`{member}` is no plain file")));
    }
    io::copy(&mut entry.take(limit + 1), target)
}

fn from_tar(stream: impl Read, member: &str, limit: u64, target: &mut (impl Write + ?Sized)) -> io::Result<u64> {
    let mut archive = tar::Archive::new(stream.take(MAX_TAR_BYTES));
    for entry in archive.entries()? {
        let entry = entry?;
        if entry.path_bytes().as_ref() != member.as_bytes() {
            continue;
        }
        if entry.header().entry_type() != tar::EntryType::Regular {
            return Err(invalid(format!("`{member}` is no plain file")));
        }
        return io::copy(&mut entry.take(limit + 1), target);
    }
    Err(invalid(format!("the archive has no `{member}`")))
}

fn invalid(message: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tgz(dir: &Path, write: impl FnOnce(&mut tar::Builder<flate2::write::GzEncoder<File>>)) -> std::path::PathBuf {
        let path = dir.join("a.tgz");
        let encoder = flate2::write::GzEncoder::new(File::create(&path).unwrap(), flate2::Compression::fast());
        let mut builder = tar::Builder::new(encoder);
        write(&mut builder);
        builder.into_inner().unwrap().finish().unwrap();
        path
    }

    fn header(size: u64, kind: tar::EntryType) -> tar::Header {
        let mut header = tar::Header::new_gnu();
        header.set_size(size);
        header.set_entry_type(kind);
        header.set_mode(0o644);
        header
    }

    #[test]
    fn a_member_comes_out_of_a_tar_and_no_more_than_its_length() {
        let dir = tempfile::tempdir().unwrap();
        let path = tgz(dir.path(), |tar| {
            tar.append_data(&mut header(3, tar::EntryType::Regular), "package/other", &b"abc"[..]).unwrap();
            tar.append_data(&mut header(6, tar::EntryType::Regular), "package/m.onnx", &b"weight"[..]).unwrap();
        });
        let mut out = Vec::new();
        assert_eq!(extract(&path, "package/m.onnx", 6, &mut out).unwrap(), 6);
        assert_eq!(out, b"weight");
        let mut short = Vec::new();
        assert_eq!(
            extract(&path, "package/m.onnx", 2, &mut short).unwrap(),
            3,
            "one byte over tells that it is longer"
        );
        let absent = extract(&path, "m.onnx", 6, &mut Vec::new()).unwrap_err();
        assert_eq!(absent.kind(), io::ErrorKind::InvalidData);
    }

    #[test]
    fn links_and_archives_that_are_none_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = tgz(dir.path(), |tar| {
            let mut link = header(0, tar::EntryType::Symlink);
            tar.append_link(&mut link, "m.onnx", "/etc/passwd").unwrap();
        });
        assert!(extract(&path, "m.onnx", 1 << 20, &mut Vec::new()).unwrap_err().to_string().contains("no plain file"));
        let text = dir.path().join("a.whl");
        std::fs::write(&text, "not a zip").unwrap();
        assert!(extract(&text, "m.onnx", 1, &mut Vec::new()).unwrap_err().to_string().contains("damaged"));
    }
}
