//! A receiver of webhooks that remembers every event, each as often as it came.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use serde_json::Value;
use tokio::io::{AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};

use crate::harness::wait_for;
use crate::http::Request;

/// What the receiver does with the next requests of a case.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Manner {
    /// Takes the event and answers so with 204.
    Good,
    /// Takes the event, and the answer is lost.
    Mute,
    /// Answers 503.
    Refusing,
}

#[derive(Default)]
struct Case {
    events: Vec<Value>,
    manner: Option<(Manner, usize)>,
    harmed: usize,
}

/// One receiver for all cases, each with a path of its own.
#[derive(Clone)]
pub(crate) struct Sink {
    address: String,
    cases: Arc<Mutex<HashMap<String, Case>>>,
}

impl Sink {
    pub(crate) fn start() -> Sink {
        wait_for(async {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let sink = Sink { address: listener.local_addr().unwrap().to_string(), cases: Arc::default() };
            let serving = sink.clone();
            tokio::spawn(async move {
                while let Ok((client, _)) = listener.accept().await {
                    let sink = serving.clone();
                    tokio::spawn(async move { sink.serve(client).await });
                }
            });
            sink
        })
    }

    /// Where the events of a case go.
    pub(crate) fn url(&self, case: &str) -> String {
        format!("http://{}/{case}", self.address)
    }

    /// Treats so many of the next events so.
    pub(crate) fn be(&self, case: &str, manner: Manner, times: usize) {
        self.cases.lock().unwrap().entry(case.to_owned()).or_default().manner = Some((manner, times));
    }

    /// Events that were not treated well.
    pub(crate) fn harmed(&self, case: &str) -> usize {
        self.cases.lock().unwrap().get(case).map_or(0, |case| case.harmed)
    }

    /// All events of a case until now, in order.
    pub(crate) fn events(&self, case: &str) -> Vec<Value> {
        self.cases.lock().unwrap().get(case).map(|case| case.events.clone()).unwrap_or_default()
    }

    /// How many there are.
    pub(crate) fn count(&self, case: &str) -> usize {
        self.cases.lock().unwrap().get(case).map_or(0, |case| case.events.len())
    }

    /// Until the client goes, or is to be left without an answer.
    async fn serve(&self, client: TcpStream) {
        let mut client = BufReader::new(client);
        while let Ok(Some(request)) = Request::read(&mut client).await {
            let answer = match self.take(&request) {
                Manner::Good => "HTTP/1.1 204 No Content\r\n\r\n",
                Manner::Refusing => "HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\n\r\n",
                Manner::Mute => return,
            };
            if client.write_all(answer.as_bytes()).await.is_err() {
                return;
            }
        }
    }

    fn take(&self, request: &Request) -> Manner {
        let mut cases = self.cases.lock().unwrap();
        let case = cases.entry(request.target().trim_start_matches('/').to_owned()).or_default();
        let manner = match &mut case.manner {
            Some((manner, left)) if *left > 0 => {
                *left -= 1;
                case.harmed += 1;
                *manner
            }
            _ => Manner::Good,
        };
        if manner != Manner::Refusing {
            case.events.push(serde_json::from_slice(&request.body).unwrap());
        }
        manner
    }
}
