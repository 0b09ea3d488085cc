//! Contents into files: long ones in ranges, several at once. The same for buckets and for https.

use std::io::{SeekFrom, Write};
use std::ops::Range;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use backon::BackoffBuilder;
use bytes::Bytes;
use darkroom_api::{ErrorCode, JobError, Result};
use futures::stream::{self, BoxStream};
use futures::{StreamExt, TryStreamExt};
use tokio::fs::File;
use tokio::io::{AsyncSeekExt, AsyncWriteExt, BufWriter};

use super::ObjectRef;
use super::client::backoff;
use super::objects::broken_off;
use super::transfer::{Fetched, disk, too_large};

/// Bytes of one range. What is not longer comes in one request.
pub(super) const RANGE_BYTES: u64 = 16 << 20;
/// Ranges in flight: memory is one write buffer for each.
const RANGES_AT_ONCE: usize = 4;
/// What is not longer is collected, and then written at once: the way to the threads that write costs more than to write.
const SMALL_BYTES: u64 = 64 << 10;
/// Bytes collected before they go to the disk.
const WRITE_BUFFER_BYTES: usize = 1 << 20;

/// A content that is being received.
pub(super) struct Opened {
    /// The bytes of `span`, or a reason why they stop.
    pub(super) body: BoxStream<'static, Result<Bytes, String>>,
    /// Which bytes of the content these are; not always those that were asked for.
    pub(super) span: Range<u64>,
    /// Size of the whole content.
    pub(super) bytes: u64,
    /// Strong entity tag, without quotes.
    pub(super) etag: Option<String>,
    /// Version, in versioned buckets.
    pub(super) version: Option<String>,
    /// Whether the server takes requests for ranges.
    pub(super) ranges: bool,
}

/// Something that contents are read from.
#[async_trait]
pub(super) trait Source: Sync {
    /// Asks for a content, or a range of it. The version and ETag in `from` are asked for; requests that fail for reasons
    /// that pass have been repeated when this returns.
    async fn open(&self, from: &ObjectRef, range: Option<Range<u64>>) -> Result<Opened>;
}

/// What all ranges of a transfer share.
struct Transfer<'a> {
    source: &'a dyn Source,
    /// The content that the first answer had: later ones must be of the same.
    pinned: ObjectRef,
    to: &'a Path,
    bytes: u64,
    done: AtomicU64,
    on_bytes: &'a (dyn Fn(u64) + Send + Sync),
}

enum Broken {
    /// The disk refuses.
    Disk(std::io::Error),
    /// The connection broke.
    Body(String),
}

/// Fetches a content into a new file. `on_bytes` hears how many bytes are there, every now and then.
/// Each range that breaks off goes on where it stopped, if the content is still the same; begins anew where nothing tells
/// whether it is.
///
/// # Errors
/// [`ErrorCode::InputTooLarge`] beyond `max_bytes` (before the first byte), [`ErrorCode::InputChanged`],
/// [`ErrorCode::ScratchFull`], [`ErrorCode::StoreUnavailable`], and those of the source.
pub(super) async fn fetch(
    source: &dyn Source,
    from: &ObjectRef,
    to: &Path,
    max_bytes: u64,
    on_bytes: &(dyn Fn(u64) + Send + Sync),
) -> Result<Fetched> {
    let mut file = std::fs::File::options().write(true).create_new(true).open(to).map_err(|e| disk(&e))?;
    // Of a content that is known to be long only the first range is asked for; of others we learn the size here.
    let long = from.is_pinned() && from.size.is_some_and(|size| size > RANGE_BYTES);
    let mut first = source.open(from, long.then_some(0..RANGE_BYTES)).await?;
    let (bytes, etag, version) = (first.bytes, first.etag.clone(), first.version.clone());
    if bytes > max_bytes {
        return Err(too_large(from, bytes, max_bytes));
    }
    let pinned = ObjectRef { etag: etag.clone(), version: version.clone(), ..from.clone() };
    if bytes <= SMALL_BYTES && first.span == (0..bytes) {
        let (content, broken) = collect(&mut first).await;
        if broken.is_none() && content.len() as u64 == bytes {
            file.write_all(&content).map_err(|e| disk(&e))?;
            on_bytes(bytes);
            return Ok(Fetched { bytes, etag, version });
        }
        // What has come is received again, and then goes on like the others.
        first.body = stream::iter([Ok(content.into())].into_iter().chain(broken.map(Err))).boxed();
    }
    // Ranges of what may change meanwhile are not asked for: they might be of different contents.
    let parallel = pinned.is_pinned() && (first.span.end < bytes || first.ranges);
    let step = if parallel { RANGE_BYTES } else { bytes.max(1) };
    let transfer = Transfer { source, pinned, to, bytes, done: AtomicU64::new(0), on_bytes };
    let mut first = Some(first);
    let ranges = (0..bytes.div_ceil(step)).map(|n| (n * step)..((n + 1) * step).min(bytes));
    stream::iter(ranges.map(|range| Ok((range, first.take()))))
        .try_for_each_concurrent(RANGES_AT_ONCE, |(range, answer)| transfer.bring(range, answer))
        .await?;
    Ok(Fetched { bytes, etag, version })
}

/// The bytes of a content that comes whole, and why they stopped, if they did.
async fn collect(opened: &mut Opened) -> (Vec<u8>, Option<String>) {
    let mut content = Vec::with_capacity(usize::try_from(opened.bytes).unwrap_or_default());
    while let Some(chunk) = opened.body.next().await {
        match chunk {
            Ok(chunk) if (content.len() + chunk.len()) as u64 > opened.bytes => {
                return (content, Some("more bytes come than it said".into()));
            }
            Ok(chunk) => content.extend_from_slice(&chunk),
            Err(reason) => return (content, Some(reason)),
        }
    }
    (content, None)
}

impl Transfer<'_> {
    /// Brings one range into its place in the file.
    async fn bring(&self, range: Range<u64>, mut answer: Option<Opened>) -> Result<()> {
        let mut file = File::options().write(true).open(self.to).await.map_err(|e| disk(&e))?;
        file.seek(SeekFrom::Start(range.start)).await.map_err(|e| disk(&e))?;
        let (mut pauses, mut at) = (backoff().build(), range.start);
        loop {
            let rest = self.pinned.is_pinned().then_some(at..range.end);
            let mut opened = match answer.take() {
                Some(opened) => opened,
                None => self.source.open(&self.pinned, rest).await?,
            };
            // Not every web server has ranges: then it is all again.
            if opened.span.start == range.start {
                self.rewind(&mut file, &mut at, range.start).await?;
            }
            if opened.span.start != at {
                return Err(broken_off(&self.pinned, &"the store ignores ranges"));
            }
            let differs = |now: &Option<String>, then: &Option<String>| now.is_some() && then.is_some() && now != then;
            let is_other = differs(&opened.etag, &self.pinned.etag) || differs(&opened.version, &self.pinned.version);
            if opened.bytes != self.bytes || is_other {
                let message = format!("{} changed: submit it again.", self.pinned);
                return Err(JobError::new(ErrorCode::InputChanged, message));
            }
            let reason = match self.receive(&mut opened, &mut file, &mut at, range.end).await {
                Err(Broken::Disk(error)) => return Err(disk(&error)),
                Err(Broken::Body(reason)) => reason,
                Ok(()) if at == range.end => return Ok(()),
                Ok(()) => format!("{} of {} bytes came", self.done.load(Ordering::Relaxed), self.bytes),
            };
            let Some(pause) = pauses.next() else { return Err(broken_off(&self.pinned, &reason)) };
            // All bytes came, and their checksum is wrong; or nothing tells whether the next ones are of the same content.
            if at == range.end || !self.pinned.is_pinned() {
                self.rewind(&mut file, &mut at, range.start).await?;
            }
            tracing::debug!(store = self.pinned.store, at, end = range.end, reason, "fetch resumed");
            tokio::time::sleep(pause).await;
        }
    }

    /// Back to the beginning of a range.
    async fn rewind(&self, file: &mut File, at: &mut u64, start: u64) -> Result<()> {
        if *at != start {
            file.seek(SeekFrom::Start(start)).await.map_err(|e| disk(&e))?;
            self.done.fetch_sub(*at - start, Ordering::Relaxed);
            *at = start;
        }
        Ok(())
    }

    /// Appends the body to the file, up to `end`. All bytes counted in `at` are in the file when this returns.
    async fn receive(&self, opened: &mut Opened, file: &mut File, at: &mut u64, end: u64) -> Result<(), Broken> {
        let mut out = BufWriter::with_capacity(WRITE_BUFFER_BYTES, file);
        // A body that ends with the range is read to its end, where checksums are compared; the rest of a longer one is
        // the business of other ranges.
        let to_its_end = opened.span.end <= end;
        let outcome = loop {
            if *at == end && !to_its_end {
                break Ok(());
            }
            match opened.body.next().await {
                Some(Ok(chunk)) if to_its_end && chunk.len() as u64 > end - *at => {
                    break Err(Broken::Body("more bytes come than it said".into()));
                }
                Some(Ok(chunk)) => {
                    let ours = usize::try_from(end - *at).unwrap_or(usize::MAX).min(chunk.len());
                    out.write_all(&chunk[..ours]).await.map_err(Broken::Disk)?;
                    *at += ours as u64;
                    let done = self.done.fetch_add(ours as u64, Ordering::Relaxed) + ours as u64;
                    (self.on_bytes)(done);
                }
                Some(Err(reason)) => break Err(Broken::Body(reason)),
                None => break Ok(()),
            }
        };
        out.flush().await.map_err(Broken::Disk)?;
        outcome
    }
}

/// A range as the header `Range` has it.
pub(super) fn range_header(range: &Range<u64>) -> String {
    format!("bytes={}-{}", range.start, range.end.saturating_sub(1))
}

/// The header `Content-Range`: which bytes come, and the size of the whole.
pub(super) fn content_range(header: &str) -> Option<(Range<u64>, u64)> {
    let (span, bytes) = header.strip_prefix("bytes ")?.split_once('/')?;
    let (first, last) = span.split_once('-')?;
    let (first, last, bytes) = (first.parse().ok()?, last.parse::<u64>().ok()?, bytes.parse().ok()?);
    (first <= last && last < bytes).then(|| (first..last + 1, bytes))
}

#[cfg(test)]
mod tests {
    use tempfile::TempDir;
    use tokio::sync::{Barrier, Mutex};

    use super::*;

    /// A content whose every byte follows from its place, and what was asked for.
    struct Made {
        bytes: u64,
        /// Whole ranges that must be asked for before any of them is answered.
        together: Barrier,
        asked: Mutex<Vec<Option<Range<u64>>>>,
    }

    fn byte_at(at: u64) -> u8 {
        u8::try_from((at.wrapping_mul(2_654_435_761) >> 13) & 255).unwrap()
    }

    fn made(bytes: u64, together: usize) -> Made {
        Made { bytes, together: Barrier::new(together), asked: Mutex::default() }
    }

    #[async_trait]
    impl Source for Made {
        async fn open(&self, from: &ObjectRef, range: Option<Range<u64>>) -> Result<Opened> {
            let first = {
                let mut asked = self.asked.lock().await;
                asked.push(range.clone());
                asked.len() == 1
            };
            let span = range.unwrap_or(0..self.bytes);
            let resumed = !span.start.is_multiple_of(RANGE_BYTES);
            if !first && !resumed {
                assert_eq!(from.etag.as_deref(), Some("e1"), "later ranges are of the first one's content");
                self.together.wait().await;
            }
            let (start, end) = (span.start, span.end);
            // The second range breaks off once, in the middle of a chunk's length.
            let broken = start == RANGE_BYTES;
            let end = if broken { start + 100_001 } else { end };
            let chunks = (start..end)
                .step_by(1 << 20)
                .map(move |at| Ok((at..(at + (1 << 20)).min(end)).map(byte_at).collect::<Vec<u8>>().into()));
            let tail = broken.then(|| Err("connection reset".to_owned()));
            let body = stream::iter(chunks.chain(tail)).boxed();
            Ok(Opened { body, span, bytes: self.bytes, etag: Some("e1".into()), version: None, ranges: true })
        }
    }

    #[tokio::test]
    async fn a_long_content_comes_in_ranges_side_by_side_and_each_goes_on_where_it_broke_off() {
        let folder = TempDir::new().unwrap();
        let bytes = 3 * RANGE_BYTES + 7;
        let by_name = ObjectRef::new("main", "b", "k");
        let known = ObjectRef { etag: Some("e1".into()), size: Some(bytes), ..by_name.clone() };
        for (name, from, first) in [("by-name", by_name, None), ("known", known, Some(0..RANGE_BYTES))] {
            let (source, to) = (made(bytes, 3), folder.path().join(name));
            let heard = AtomicU64::new(0);
            let hear = |done| heard.store(done, Ordering::Relaxed);
            let fetched = fetch(&source, &from, &to, bytes, &hear).await.unwrap();
            assert_eq!((fetched.bytes, heard.load(Ordering::Relaxed)), (bytes, bytes));
            let content = std::fs::read(&to).unwrap();
            assert_eq!(content.len() as u64, bytes);
            let wrong = content.iter().zip(0..).position(|(byte, at)| *byte != byte_at(at));
            assert_eq!(wrong, None, "{name}");
            let mut asked = source.asked.into_inner();
            assert_eq!(asked.remove(0), first);
            asked.sort_by_key(|range| range.as_ref().map(|range| range.start));
            let r = RANGE_BYTES;
            let expected = [r..2 * r, r + 100_001..2 * r, 2 * r..3 * r, 3 * r..bytes];
            assert_eq!(asked, expected.map(Some));
        }
    }

    #[tokio::test]
    async fn too_long_a_content_is_not_begun() {
        let (folder, source) = (TempDir::new().unwrap(), made(3 * RANGE_BYTES, 2));
        let to = folder.path().join("a");
        let error = fetch(&source, &ObjectRef::new("main", "b", "k"), &to, RANGE_BYTES, &|_| {}).await.unwrap_err();
        assert_eq!(error.code, ErrorCode::InputTooLarge);
        assert_eq!((std::fs::metadata(&to).unwrap().len(), source.asked.into_inner().len()), (0, 1));
    }

    #[test]
    fn ranges_are_written_and_read() {
        assert_eq!(range_header(&(5..10)), "bytes=5-9");
        assert_eq!(content_range("bytes 5-9/10"), Some((5..10, 10)));
        for bad in
            ["bytes */10", "bytes 5-9/*", "bytes 9-5/10", "bytes 0-10/10", "5-9/10", "bytes 0-18446744073709551615/1"]
        {
            assert_eq!(content_range(bad), None, "{bad}");
        }
    }
}
