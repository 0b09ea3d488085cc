//! Reads what an executor writes to its standard output and error, always and bounded, so that it never blocks there.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::io::{AsyncRead, AsyncReadExt};

/// Longest line that is passed on; the rest of a longer one is dropped.
const MAX_LINE_BYTES: usize = 4096;
/// Most lines a second that are passed on.
const MAX_LINES_PER_SEC: u32 = 200;
/// How much of the end is kept to explain a death.
const TAIL_BYTES: usize = 2048;

/// The last words on a stream.
#[derive(Debug, Clone, Default)]
pub(super) struct Tail(Arc<Mutex<VecDeque<u8>>>);

impl Tail {
    fn push(&self, bytes: &[u8]) {
        let mut tail = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        tail.extend(bytes);
        let excess = tail.len().saturating_sub(TAIL_BYTES);
        tail.drain(..excess);
    }

    /// The kept end, made readable.
    pub(super) fn text(&self) -> String {
        let tail = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let bytes: Vec<u8> = tail.iter().copied().collect();
        String::from_utf8_lossy(&bytes).into_owned()
    }
}

/// Counts lines by the second and says which are passed on.
#[derive(Debug)]
pub(super) struct LineBudget {
    since: Instant,
    lines: u32,
    dropped: u64,
}

impl Default for LineBudget {
    fn default() -> Self {
        LineBudget { since: Instant::now(), lines: 0, dropped: 0 }
    }
}

impl LineBudget {
    /// Whether a line may pass at this moment; with it how many were dropped in the seconds before, once.
    pub(super) fn admit(&mut self, now: Instant) -> (bool, u64) {
        let mut told = 0;
        if now.saturating_duration_since(self.since) >= Duration::from_secs(1) {
            told = std::mem::take(&mut self.dropped);
            (self.since, self.lines) = (now, 0);
        }
        self.lines = self.lines.saturating_add(1);
        let pass = self.lines <= MAX_LINES_PER_SEC;
        self.dropped += u64::from(!pass);
        (pass, told)
    }
}

/// Text of an executor as it may stand in a log: one line, bounded, no control characters.
pub(super) fn printable(text: &str) -> String {
    let cut = text.char_indices().map(|(i, c)| i + c.len_utf8()).take_while(|end| *end <= MAX_LINE_BYTES).last();
    text[..cut.unwrap_or(0)].chars().map(|c| if c.is_control() && c != '\t' { '\u{fffd}' } else { c }).collect()
}

/// Reads a stream to its end; lines go to `line`, everything to the tail.
pub(super) async fn drain(mut from: impl AsyncRead + Unpin, tail: Tail, mut line: impl FnMut(&str)) {
    let mut budget = LineBudget::default();
    let (mut chunk, mut pending) = (vec![0; 16 * 1024], Vec::new());
    let mut say = |bytes: &[u8]| {
        let (pass, dropped) = budget.admit(Instant::now());
        if dropped > 0 {
            line(&format!("({dropped} lines dropped)"));
        }
        if pass && !bytes.is_empty() {
            line(&printable(&String::from_utf8_lossy(bytes)));
        }
    };
    while let Ok(read @ 1..) = from.read(&mut chunk).await {
        tail.push(&chunk[..read]);
        let mut pieces = chunk[..read].split(|byte| *byte == b'\n').peekable();
        while let Some(piece) = pieces.next() {
            let room = MAX_LINE_BYTES.saturating_sub(pending.len());
            pending.extend_from_slice(&piece[..piece.len().min(room)]);
            if pieces.peek().is_some() {
                say(&pending);
                pending.clear();
            }
        }
    }
    say(&pending);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn lines_are_whole_bounded_and_rationed() {
        let long = "x".repeat(3 * MAX_LINE_BYTES);
        let many = "again\n".repeat(1000);
        let text = format!("one\ntw\u{1b}o\n{long}\n{many}end");
        let (mut lines, tail) = (Vec::new(), Tail::default());
        drain(text.as_bytes(), tail.clone(), |line| lines.push(line.to_owned())).await;
        assert_eq!(&lines[..2], ["one", "tw\u{fffd}o"]);
        assert_eq!(lines[2].len(), MAX_LINE_BYTES);
        assert_eq!(lines.len(), MAX_LINES_PER_SEC as usize);
        assert!(tail.text().ends_with("again\nend") && tail.text().len() == TAIL_BYTES);
    }

    #[test]
    fn what_was_dropped_is_told_once_in_the_next_second() {
        let (mut budget, start) = (LineBudget::default(), Instant::now());
        let passed = (0..MAX_LINES_PER_SEC + 7).filter(|_| budget.admit(start).0).count();
        assert_eq!(passed, MAX_LINES_PER_SEC as usize);
        assert_eq!(budget.admit(start + Duration::from_secs(2)), (true, 7));
        assert_eq!(budget.admit(start + Duration::from_secs(2)), (true, 0));
    }

    #[test]
    fn cutting_never_splits_a_character() {
        assert_eq!(printable(&"ä".repeat(MAX_LINE_BYTES)).len(), MAX_LINE_BYTES);
        assert_eq!(printable("a\u{0}b\tc"), "a\u{fffd}b\tc");
    }
}
