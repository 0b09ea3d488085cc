//! Reading an object: a range of its segments, chunk by chunk, with constant memory.

use std::{collections::VecDeque, fs::File, io, ops::Range, os::unix::fs::FileExt as _, sync::Arc};

use bytes::Bytes;
use futures::{Stream, stream};
use s3s::{S3Error, S3Result};

use super::{
    blobs::{Blobs, Pinned},
    receive::blocking,
    rows::Segment,
};

/// Bytes read from a blob at a time.
const CHUNK_BYTES: u64 = 256 << 10;

/// Bytes to read from one blob.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Slice {
    blob: String,
    from: u64,
    to: u64,
}

/// What to read of each segment for a range of the object.
fn slices(segments: Vec<Segment>, range: &Range<u64>) -> VecDeque<Slice> {
    let mut start = 0;
    let mut slices = VecDeque::new();
    for Segment { blob, size } in segments {
        let (from, to) = (range.start.clamp(start, start + size), range.end.clamp(start, start + size));
        if from < to {
            slices.push_back(Slice { blob, from: from - start, to: to - start });
        }
        start += size;
    }
    slices
}

/// Reads slices one after the other; the blobs stay until it is dropped.
pub struct Reader {
    rest: VecDeque<Slice>,
    open: Option<File>,
    pinned: Pinned,
}

impl Reader {
    /// Opens a range of an object; none when the object has been replaced since its segments were looked up.
    pub async fn open(blobs: &Arc<Blobs>, segments: Vec<Segment>, range: &Range<u64>) -> S3Result<Option<Self>> {
        let pinned = blobs.pin(segments.iter().map(|segment| segment.blob.clone()).collect());
        let reader = Reader { pinned, rest: slices(segments, range), open: None };
        blocking(move || match reader.opened() {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            other => other.map(Some),
        })
        .await
    }

    /// With the first slice's blob open.
    fn opened(mut self) -> io::Result<Self> {
        self.open = self.rest.front().map(|slice| self.pinned.read(&slice.blob)).transpose()?;
        Ok(self)
    }

    /// The next bytes; none at the end. Blocks.
    fn next(mut self) -> io::Result<Option<(Bytes, Self)>> {
        if self.open.is_none() {
            self = self.opened()?;
        }
        let (Some(slice), Some(file)) = (self.rest.front_mut(), &self.open) else { return Ok(None) };
        let mut bytes = vec![0; (slice.to - slice.from).min(CHUNK_BYTES) as usize];
        file.read_exact_at(&mut bytes, slice.from)?;
        slice.from += bytes.len() as u64;
        if slice.from == slice.to {
            self.rest.pop_front();
            self.open = None;
        }
        Ok(Some((bytes.into(), self)))
    }

    /// The bytes, as the body of an answer.
    pub fn stream(self) -> impl Stream<Item = Result<Bytes, S3Error>> + Send + Sync + 'static {
        stream::try_unfold(self, |reader| blocking(move || reader.next()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_takes_its_part_of_each_segment() {
        let segments = || [("a", 10), ("b", 0), ("c", 5)].map(|(b, size)| Segment { blob: b.into(), size }).to_vec();
        let taken = |range| slices(segments(), &range).into_iter().map(|s| (s.blob, s.from, s.to)).collect::<Vec<_>>();
        assert_eq!(taken(0..15), [("a".into(), 0, 10), ("c".into(), 0, 5)]);
        assert_eq!(taken(9..11), [("a".into(), 9, 10), ("c".into(), 0, 1)]);
        assert_eq!(taken(10..12), [("c".into(), 0, 2)]);
        assert_eq!(taken(15..15), []);
    }
}
