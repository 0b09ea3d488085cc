//! Reading an object: a range of its segments, chunk by chunk, with constant memory.

use std::{collections::VecDeque, fs::File, io, ops::Range, os::unix::fs::FileExt as _, sync::Arc};

use bytes::Bytes;
use futures::{Stream, stream};
use s3s::{S3Error, S3Result};

use super::{
    blobs::{Blobs, Pinned},
    receive::blocking,
    rows::{Content, Segment},
};

/// Bytes read from a blob at a time.
const CHUNK_BYTES: u64 = 256 << 10;

/// Bytes to read from one segment.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Slice {
    content: Content,
    from: u64,
    to: u64,
}

/// What to read of each segment for a range of the object.
fn slices(segments: Vec<Segment>, range: &Range<u64>) -> VecDeque<Slice> {
    let mut start = 0;
    let mut slices = VecDeque::new();
    for Segment { content, size } in segments {
        let (from, to) = (range.start.clamp(start, start + size), range.end.clamp(start, start + size));
        if from < to {
            slices.push_back(Slice { content, from: from - start, to: to - start });
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
        let pinned =
            blobs.pin(segments.iter().filter_map(|segment| segment.content.blob()).map(str::to_owned).collect());
        let reader = Reader { pinned, rest: slices(segments, range), open: None };
        blocking(move || match reader.opened() {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            other => other.map(Some),
        })
        .await
    }

    /// With the first slice's blob open.
    fn opened(mut self) -> io::Result<Self> {
        let blob = self.rest.front().and_then(|slice| slice.content.blob());
        self.open = blob.map(|name| self.pinned.read(name)).transpose()?;
        Ok(self)
    }

    /// The next bytes; none at the end. Blocks.
    fn next(mut self) -> io::Result<Option<(Bytes, Self)>> {
        if self.open.is_none() {
            self = self.opened()?;
        }
        let Some(slice) = self.rest.front_mut() else { return Ok(None) };
        let length = (slice.to - slice.from).min(CHUNK_BYTES) as usize;
        let bytes = match (&slice.content, &self.open) {
            (Content::Inline(bytes), _) => bytes.slice(slice.from as usize..slice.from as usize + length),
            (Content::Blob(_), Some(file)) => {
                let mut bytes = vec![0; length];
                file.read_exact_at(&mut bytes, slice.from)?;
                bytes.into()
            }
            (Content::Blob(_), None) => return Err(io::ErrorKind::NotFound.into()),
        };
        slice.from += length as u64;
        if slice.from == slice.to {
            self.rest.pop_front();
            self.open = None;
        }
        Ok(Some((bytes, self)))
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
        let blob = |name: &str| Content::Blob(name.to_owned());
        let segments =
            || [("a", 10), ("b", 0), ("c", 5)].map(|(name, size)| Segment { content: blob(name), size }).to_vec();
        let taken =
            |range| slices(segments(), &range).into_iter().map(|s| (s.content, s.from, s.to)).collect::<Vec<_>>();
        assert_eq!(taken(0..15), [(blob("a"), 0, 10), (blob("c"), 0, 5)]);
        assert_eq!(taken(9..11), [(blob("a"), 9, 10), (blob("c"), 0, 1)]);
        assert_eq!(taken(10..12), [(blob("c"), 0, 2)]);
        assert_eq!(taken(15..15), []);
    }
}
