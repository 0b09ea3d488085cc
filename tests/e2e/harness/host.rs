//! A web server that inputs come from by presigned URLs.

use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use super::media::sound;

/// It has one sound at [`Host::url`], without ranges, until that URL expires; nothing else is there.
pub(crate) struct Host {
    address: String,
    state: Arc<State>,
}

#[derive(Default)]
struct State {
    headers: &'static str,
    asked: AtomicUsize,
    has_expired: AtomicBool,
}

impl Host {
    /// On a free port; its answers have these headers too, each with its end of line.
    pub(crate) fn start(headers: &'static str) -> Host {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let state = Arc::new(State { headers, ..State::default() });
        let shared = state.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                serve(stream.unwrap(), &shared);
            }
        });
        Host { address, state }
    }

    /// Name and port.
    pub(crate) fn address(&self) -> &str {
        &self.address
    }

    /// A signed URL.
    pub(crate) fn url(&self, name: &str) -> String {
        format!("http://{}/{name}?sig=s3cret", self.address)
    }

    /// How often it was asked.
    pub(crate) fn asked(&self) -> usize {
        self.state.asked.load(Ordering::SeqCst)
    }

    /// From now on it refuses everybody.
    pub(crate) fn expire(&self) {
        self.state.has_expired.store(true, Ordering::SeqCst);
    }
}

fn serve(mut stream: TcpStream, state: &State) {
    state.asked.fetch_add(1, Ordering::SeqCst);
    let mut lines = BufReader::new(stream.try_clone().unwrap()).lines().map_while(Result::ok);
    let is_there = lines.next().is_some_and(|line| line.starts_with("GET /a.wav?sig=s3cret "));
    lines.find(String::is_empty);
    let (status, body) = match (is_there, state.has_expired.load(Ordering::SeqCst)) {
        (_, true) => ("403 Forbidden", Vec::new()),
        (true, false) => ("200 OK", sound()),
        (false, false) => ("404 Not Found", Vec::new()),
    };
    let (length, headers) = (body.len(), state.headers);
    let head = format!("HTTP/1.1 {status}\r\n{headers}content-length: {length}\r\nconnection: close\r\n\r\n");
    // Who only wants to know the size closes early.
    stream.write_all(&[head.into_bytes(), body].concat()).ok();
}
