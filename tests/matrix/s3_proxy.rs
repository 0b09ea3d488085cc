//! A proxy before the store: what S3 does on a bad day, to the requests that a case chooses.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use data_encoding::BASE64;
use tokio::io::{AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

use crate::harness::wait_for;
use crate::http::Request;

/// What is done to a request.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Fault {
    /// The store never hears of it: this status is the answer.
    Status(u16),
    /// It is carried out, and the answer is lost.
    LoseAnswer,
    /// The answer's body ends in the middle.
    CutAnswer,
    /// A bit of the answer's body is another one, while the answer names the checksum of what it was.
    FlipAnswer,
    /// A bit of the request's body is another one when the store gets it.
    FlipRequest,
    /// The answer comes in pieces of so many bytes, each after so long.
    Slow(usize, Duration),
    /// It stays here until [`S3Proxy::release`], and is carried out then.
    Hold,
}

type Wants = Box<dyn Fn(&Request) -> bool + Send + Sync>;

struct Rule {
    wants: Wants,
    fault: Fault,
    left: usize,
    hits: Arc<AtomicUsize>,
}

/// How often a fault has struck.
#[derive(Debug, Clone, Default)]
pub(crate) struct Hits(Arc<AtomicUsize>);

impl Hits {
    pub(crate) fn count(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }
}

/// The proxy.
#[derive(Clone)]
pub(crate) struct S3Proxy {
    store: String,
    address: String,
    rules: Arc<Mutex<Vec<Rule>>>,
    released: watch::Sender<bool>,
}

impl S3Proxy {
    /// Before the store at this URL; harmless at first.
    pub(crate) fn before(store: &str) -> S3Proxy {
        let store = store.strip_prefix("http://").unwrap().to_owned();
        wait_for(async {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let address = listener.local_addr().unwrap().to_string();
            let proxy = S3Proxy { store, address, rules: Arc::default(), released: watch::Sender::new(false) };
            let serving = proxy.clone();
            tokio::spawn(async move {
                while let Ok((client, _)) = listener.accept().await {
                    let proxy = serving.clone();
                    // A connection that breaks is what was asked for, or the worker's end.
                    tokio::spawn(async move { proxy.serve(client).await.ok() });
                }
            });
            proxy
        })
    }

    /// Where the worker is to look for its store.
    pub(crate) fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Does this to the next `times` requests that are wanted.
    pub(crate) fn harm(
        &self,
        times: usize,
        fault: Fault,
        wants: impl Fn(&Request) -> bool + Send + Sync + 'static,
    ) -> Hits {
        let hits = Hits::default();
        let rule = Rule { wants: Box::new(wants), fault, left: times, hits: hits.0.clone() };
        self.rules.lock().unwrap().push(rule);
        hits
    }

    /// Lets go what is held.
    pub(crate) fn release(&self) {
        self.released.send_replace(true);
    }

    /// Does no harm any more.
    pub(crate) fn heal(&self) {
        self.rules.lock().unwrap().clear();
    }

    fn fault(&self, request: &Request) -> Option<Fault> {
        let mut rules = self.rules.lock().unwrap();
        let rule = rules.iter_mut().find(|rule| rule.left > 0 && (rule.wants)(request))?;
        rule.left -= 1;
        rule.hits.fetch_add(1, Ordering::Relaxed);
        Some(rule.fault)
    }

    /// One request a connection.
    async fn serve(&self, client: TcpStream) -> std::io::Result<()> {
        client.set_nodelay(true)?;
        client.set_zero_linger()?;
        let mut client = BufReader::new(client);
        let Some(mut request) = Request::read(&mut client).await? else { return Ok(()) };
        let fault = self.fault(&request);
        match fault {
            Some(Fault::Status(status)) => return refuse(client.into_inner(), status).await,
            Some(Fault::Hold) => drop(self.released.subscribe().wait_for(|released| *released).await),
            Some(Fault::FlipRequest) => flip(&mut request.body),
            _ => {}
        }
        let (mut head, body) = self.forward(&request).await?;
        let cut = if matches!(fault, Some(Fault::CutAnswer)) { body.len() / 2 } else { body.len() };
        let mut told = body[..cut].to_vec();
        match fault {
            Some(Fault::LoseAnswer) => return Ok(()),
            Some(Fault::FlipAnswer) => {
                head = with_checksum(&head, &told);
                flip(&mut told);
            }
            _ => {}
        }
        client.write_all(&head).await?;
        match fault {
            Some(Fault::Slow(bytes, pause)) => {
                for piece in told.chunks(bytes) {
                    tokio::time::sleep(pause).await;
                    client.write_all(piece).await?;
                }
            }
            _ => client.write_all(&told).await?,
        }
        close(client.into_inner()).await
    }

    /// Has the store answer: head and body.
    async fn forward(&self, request: &Request) -> std::io::Result<(Vec<u8>, Vec<u8>)> {
        let mut store = TcpStream::connect(&self.store).await?;
        // Each answer then ends with its connection, and none is reused; the signature does not cover this header.
        store.write_all(closing(&request.head).as_bytes()).await?;
        store.write_all(&request.body).await?;
        let mut answer = Vec::new();
        store.read_to_end(&mut answer).await?;
        let end = answer.windows(4).position(|four| four == b"\r\n\r\n").map_or(answer.len(), |at| at + 4);
        let body = answer.split_off(end);
        Ok((closing(&String::from_utf8_lossy(&answer)).into_bytes(), body))
    }
}

/// A head that says that the connection ends after it.
fn closing(head: &str) -> String {
    let lines = head.split("\r\n").filter(|line| !line.to_ascii_lowercase().starts_with("connection:"));
    lines.collect::<Vec<_>>().join("\r\n").replacen("\r\n", "\r\nconnection: close\r\n", 1)
}

/// A head that names the CRC-32 of its body, as S3 does where it is asked for. The embedded store does not.
fn with_checksum(head: &[u8], body: &[u8]) -> Vec<u8> {
    let checksum = body.iter().fold(u32::MAX, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| (crc >> 1) ^ (0xEDB8_8320 * (crc & 1)))
    });
    let named = format!("\r\nx-amz-checksum-crc32: {}\r\n", BASE64.encode(&(!checksum).to_be_bytes()));
    String::from_utf8_lossy(head).replacen("\r\n", &named, 1).into_bytes()
}

fn flip(body: &mut [u8]) {
    let middle = body.len() / 2;
    if let Some(byte) = body.get_mut(middle) {
        *byte ^= 1;
    }
}

async fn refuse(mut client: TcpStream, status: u16) -> std::io::Result<()> {
    let code = if status == 503 { "SlowDown" } else { "InternalError" };
    let body = format!("<?xml version=\"1.0\"?><Error><Code>{code}</Code><Message>as asked</Message></Error>");
    let head = format!(
        "HTTP/1.1 {status} Bad Day\r\ncontent-type: application/xml\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
        body.len()
    );
    client.write_all(head.as_bytes()).await?;
    client.write_all(body.as_bytes()).await?;
    close(client).await
}

/// Orderly: all that was written arrives.
async fn close(mut client: TcpStream) -> std::io::Result<()> {
    client.shutdown().await?;
    let mut rest = Vec::new();
    client.read_to_end(&mut rest).await?;
    Ok(())
}
