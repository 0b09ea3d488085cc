//! SHA-256 of files, in lower-case hexadecimal.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use sha2::{Digest, Sha256};

/// Sum and length of a file.
///
/// # Errors
/// Those of reading it.
pub fn file(path: &Path) -> io::Result<(String, u64)> {
    reader(File::open(path)?)
}

/// Sum and length of all that a reader has.
///
/// # Errors
/// Those of the reader.
pub fn reader(mut from: impl Read) -> io::Result<(String, u64)> {
    let (mut hasher, mut total) = (Sha256::new(), 0);
    let mut buffer = vec![0; 1 << 18];
    loop {
        let count = match from.read(&mut buffer) {
            Ok(0) => return Ok((data_encoding::HEXLOWER.encode(&hasher.finalize()), total)),
            Ok(count) => count,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
            Err(e) => return Err(e),
        };
        hasher.update(&buffer[..count]);
        total += count as u64;
    }
}

/// Whether a text has the form of a SHA-256 as this module writes them.
pub fn is_sha256(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
}
