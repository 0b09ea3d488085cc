//! An HTTP server that answers as a test says: for what a real store does only when it breaks.

use std::sync::Arc;

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;

use super::{Store, StoreConfig};

/// A request as it came.
#[derive(Debug, Clone)]
pub struct Request {
    /// How many came before it.
    pub index: usize,
    /// Method and target, e.g. `GET /b/k?x=1`.
    pub line: String,
    /// Header lines in lower case.
    pub headers: String,
    /// What follows them.
    pub body: Vec<u8>,
}

/// What the server does with a request.
pub enum Answer {
    /// Sends this and closes the connection.
    Send(String),
    /// Never answers.
    Hang,
    /// Closes the connection without a word.
    Cut,
}

/// An answer with these status, headers and body; `content-length` only as given.
pub fn answer(status: &str, headers: &str, body: &str) -> Answer {
    let separator = if headers.is_empty() { "" } else { "\r\n" };
    Answer::Send(format!("HTTP/1.1 {status}\r\n{headers}{separator}connection: close\r\n\r\n{body}"))
}

/// An S3 error with this code.
pub fn refusal(status: &str, code: &str) -> Answer {
    let body = format!("<Error><Code>{code}</Code><Message>m</Message></Error>");
    answer(status, &format!("content-type: application/xml\r\ncontent-length: {}", body.len()), &body)
}

/// A store behind which `script` answers, and the requests as they come.
pub async fn store(
    script: impl Fn(&Request) -> Answer + Send + Sync + 'static,
) -> (Store, mpsc::UnboundedReceiver<Request>) {
    let (endpoint, receiver) = listen(script).await;
    (open(&endpoint).await, receiver)
}

/// The address behind which `script` answers, and the requests as they come.
pub async fn listen(
    script: impl Fn(&Request) -> Answer + Send + Sync + 'static,
) -> (String, mpsc::UnboundedReceiver<Request>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    let (sender, receiver) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        let script = Arc::new(script);
        let mut index = 0;
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(serve(stream, index, script.clone(), sender.clone()));
            index += 1;
        }
    });
    (endpoint, receiver)
}

/// A store at this address.
pub async fn open(endpoint: &str) -> Store {
    Store::open(&config(endpoint)).await.unwrap()
}

/// Its configuration.
pub fn config(endpoint: &str) -> StoreConfig {
    StoreConfig {
        name: "main".into(),
        endpoint: Some(endpoint.into()),
        access_key: Some("test".into()),
        secret_key: Some("test".into()),
        ..StoreConfig::default()
    }
}

/// A store that keeps what is written, and whose answer to the first write of each object is lost.
pub async fn forgetful() -> Store {
    let kept = std::sync::Mutex::new(std::collections::BTreeMap::<String, Vec<u8>>::new());
    let script = move |request: &Request| {
        let mut kept = kept.lock().unwrap();
        let (method, target) = request.line.split_once(' ').unwrap();
        let path = target.split('?').next().unwrap().to_owned();
        match (method, kept.get(&path)) {
            ("PUT", Some(_)) => refusal("412 Precondition Failed", "PreconditionFailed"),
            ("PUT", None) => {
                kept.insert(path, request.body.clone());
                Answer::Cut
            }
            ("GET", _) if target.contains("list-type=2") => {
                let list = "<ListBucketResult></ListBucketResult>";
                answer("200 OK", &format!("content-length: {}", list.len()), list)
            }
            ("GET", Some(body)) => {
                answer("200 OK", &format!("content-length: {}", body.len()), std::str::from_utf8(body).unwrap())
            }
            _ => refusal("404 Not Found", "NoSuchKey"),
        }
    };
    store(script).await.0
}

async fn serve(
    stream: TcpStream,
    index: usize,
    script: Arc<impl Fn(&Request) -> Answer>,
    sender: mpsc::UnboundedSender<Request>,
) {
    let mut reader = BufReader::new(stream);
    let (mut first, mut headers, mut length) = (String::new(), String::new(), 0);
    reader.read_line(&mut first).await.unwrap();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).await.unwrap();
        if line.trim().is_empty() {
            break;
        }
        let line = line.to_lowercase();
        if let Some(value) = line.strip_prefix("content-length:") {
            length = value.trim().parse().unwrap();
        }
        headers.push_str(&line);
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).await.unwrap();
    let line = first.trim().trim_end_matches(" HTTP/1.1").to_owned();
    let request = Request { index, line, headers, body };
    let answer = script(&request);
    drop(sender.send(request));
    match answer {
        Answer::Send(bytes) => reader.write_all(bytes.as_bytes()).await.unwrap(),
        Answer::Hang => std::future::pending().await,
        Answer::Cut => {}
    }
}
