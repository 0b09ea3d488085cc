//! The consumer's end of the socket pair: frames in, frames out.

use std::io;
use std::time::{Duration, Instant};

use darkroom_api::LogLevel;
use darkroom_api::protocol::{self, Down, Up};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::drain::{LineBudget, printable};

/// Frames that wait for whoever asked; an executor that says more has to wait.
const FRAMES_IN_FLIGHT: usize = 64;

/// Time in which an executor, whose main thread does little but read, must have taken a message from the socket.
pub(super) const SEND_LIMIT: Duration = Duration::from_secs(30);

/// Both directions of the talk with one executor.
#[derive(Debug)]
pub(super) struct Link {
    writer: OwnedWriteHalf,
    frames: mpsc::Receiver<io::Result<Up>>,
    reader: JoinHandle<()>,
}

impl Link {
    /// Starts to read. Log frames go to the log at once; all others wait for [`Link::next`].
    pub(super) fn new(stream: UnixStream, pid: u32) -> Link {
        let (reader, writer) = stream.into_split();
        let (sender, frames) = mpsc::channel(FRAMES_IN_FLIGHT);
        Link { writer, frames, reader: tokio::spawn(pump(reader, sender, pid)) }
    }

    /// Sends one message.
    ///
    /// # Errors
    /// Those of the socket; `InvalidData` for messages longer than a frame; `TimedOut` where nobody reads: what is left of
    /// the message then never goes out, so the executor is of no further use.
    pub(super) async fn send(&mut self, message: &Down) -> io::Result<()> {
        let frame = protocol::encode(message)?;
        let sent = tokio::time::timeout(SEND_LIMIT, self.writer.write_all(&frame)).await;
        sent.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
    }

    /// The next frame; `None` once the executor is gone. Cancel-safe.
    pub(super) async fn next(&mut self) -> Option<io::Result<Up>> {
        self.frames.recv().await
    }

    /// Whether something was said that nobody asked for.
    pub(super) fn has_unread(&self) -> bool {
        !self.frames.is_empty()
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.reader.abort();
    }
}

async fn pump(mut from: OwnedReadHalf, to: mpsc::Sender<io::Result<Up>>, pid: u32) {
    let mut budget = LineBudget::default();
    loop {
        let frame = match read(&mut from).await {
            Ok(Some(Up::Log { level, message })) => {
                log(&mut budget, pid, level, &message);
                continue;
            }
            Ok(Some(frame)) => Ok(frame),
            Ok(None) => return,
            Err(error) => Err(error),
        };
        let broken = frame.is_err();
        if to.send(frame).await.is_err() || broken {
            return;
        }
    }
}

/// One frame; `None` at the end of the stream, wherever in a frame that is: a process that dies may stop anywhere.
async fn read(from: &mut OwnedReadHalf) -> io::Result<Option<Up>> {
    let ended = |error: &io::Error| {
        matches!(
            error.kind(),
            io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe
        )
    };
    let mut head = [0; 4];
    match from.read_exact(&mut head).await {
        Err(error) if ended(&error) => return Ok(None),
        other => other?,
    };
    let mut body = vec![0; protocol::frame_length(head)?];
    match from.read_exact(&mut body).await {
        Err(error) if ended(&error) => return Ok(None),
        other => other?,
    };
    serde_json::from_slice(&body).map(Some).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))
}

fn log(budget: &mut LineBudget, pid: u32, level: LogLevel, message: &str) {
    let (pass, dropped) = budget.admit(Instant::now());
    if dropped > 0 {
        tracing::warn!(target: "darkroom::executor", pid, dropped, "log lines of the executor dropped");
    }
    if !pass {
        return;
    }
    let message = printable(message);
    match level {
        LogLevel::Debug => tracing::debug!(target: "darkroom::executor", pid, "{message}"),
        LogLevel::Info => tracing::info!(target: "darkroom::executor", pid, "{message}"),
        LogLevel::Warn => tracing::warn!(target: "darkroom::executor", pid, "{message}"),
        LogLevel::Error => tracing::error!(target: "darkroom::executor", pid, "{message}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn an_executor_that_reads_nothing_holds_nobody_up() {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let mut link = Link::new(ours, 0);
        let params = serde_json::json!({"long": "x".repeat(900 << 10)});
        let message = Down::Warm { handler: "matting".into(), params, load: false };
        assert_eq!(link.send(&message).await.unwrap_err().kind(), io::ErrorKind::TimedOut);
        drop(theirs);
    }
}
