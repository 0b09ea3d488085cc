//! As much of HTTP/1.1 as a proxy in front of a store, and a receiver of webhooks, need.

use std::io::{Error, ErrorKind, Result};

use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader};
use tokio::net::TcpStream;

/// Longest head and body; a part of an upload has 16 MiB.
const MAX_HEAD: usize = 64 << 10;
const MAX_BODY: usize = 64 << 20;

/// A request as it came.
pub(crate) struct Request {
    /// Request line and headers, with the empty line at their end.
    pub(crate) head: String,
    pub(crate) body: Vec<u8>,
}

impl Request {
    /// The next one; none where the client has gone.
    pub(crate) async fn read(stream: &mut BufReader<TcpStream>) -> Result<Option<Request>> {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            if stream.read_until(b'\n', &mut head).await? == 0 || head.len() > MAX_HEAD {
                return Ok(None);
            }
        }
        let head = String::from_utf8(head).map_err(|e| Error::new(ErrorKind::InvalidData, e))?;
        let mut request = Request { head, body: Vec::new() };
        let length = request.header("content-length").and_then(|n| n.parse().ok()).unwrap_or(0);
        if length > MAX_BODY || request.header("transfer-encoding").is_some() {
            return Err(Error::new(ErrorKind::InvalidData, "a body that these tests do not send"));
        }
        request.body.resize(length, 0);
        stream.read_exact(&mut request.body).await?;
        Ok(Some(request))
    }

    pub(crate) fn method(&self) -> &str {
        self.head.split(' ').next().unwrap_or_default()
    }

    /// Path and query, as sent.
    pub(crate) fn target(&self) -> &str {
        self.head.split(' ').nth(1).unwrap_or_default()
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.head
            .lines()
            .filter_map(|line| line.split_once(':'))
            .find(|(n, _)| n.eq_ignore_ascii_case(name))
            .map(|(_, v)| v.trim())
    }
}
