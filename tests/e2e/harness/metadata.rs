//! A metadata service as an EC2 instance has one.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

const TOKEN: &str = "a-token";

/// Answers until the test binary ends.
pub(crate) struct Metadata {
    endpoint: String,
    spot: Arc<Mutex<Option<String>>>,
}

impl Metadata {
    /// One without any notice.
    pub(crate) fn start() -> Metadata {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        let spot = Arc::new(Mutex::new(None));
        let said = Arc::clone(&spot);
        std::thread::spawn(move || {
            for client in listener.incoming() {
                let said = said.lock().unwrap().clone();
                // A client that goes away in the middle asks again.
                answer(client.unwrap(), said).ok();
            }
        });
        Metadata { endpoint, spot }
    }

    /// Where the worker is to ask.
    pub(crate) fn endpoint(&self) -> &str {
        &self.endpoint
    }

    /// What it says of the instance's end from now on.
    pub(crate) fn announce(&self, spot: Option<String>) {
        *self.spot.lock().unwrap() = spot;
    }
}

fn answer(mut client: TcpStream, spot: Option<String>) -> std::io::Result<()> {
    let (mut head, mut byte) = (Vec::new(), [0]);
    while !head.ends_with(b"\r\n\r\n") {
        client.read_exact(&mut byte)?;
        head.push(byte[0]);
    }
    let head = String::from_utf8_lossy(&head).to_lowercase();
    let has_token = head.contains(&format!("x-aws-ec2-metadata-token: {TOKEN}\r\n"));
    let (status, body) = match head.split(' ').take(2).collect::<Vec<_>>()[..] {
        ["put", "/latest/api/token"] => ("200 OK", TOKEN.to_owned()),
        _ if !has_token => ("401 Unauthorized", String::new()),
        ["get", "/latest/meta-data/spot/instance-action"] if spot.is_some() => ("200 OK", spot.unwrap_or_default()),
        _ => ("404 Not Found", String::new()),
    };
    write!(client, "HTTP/1.1 {status}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}", body.len())
}
