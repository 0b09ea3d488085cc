//! A webhook, seen from the receiver's side.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, Sender, channel};

use data_encoding::BASE64;
use hmac::{Hmac, KeyInit, Mac};
use serde_json::Value;
use sha2::Sha256;

use crate::harness::media::sound;
use crate::harness::{PATIENCE, Up, poll, stdout};

const KEY: &str = "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

/// A request as it came.
struct Request {
    headers: Vec<(String, String)>,
    body: Vec<u8>,
}

impl Request {
    fn read(stream: &TcpStream) -> Request {
        let mut lines = BufReader::new(stream);
        let (mut line, mut headers) = (String::new(), Vec::new());
        while lines.read_line(&mut line).unwrap() > 2 {
            if let Some((name, value)) = line.trim_end().split_once(": ") {
                headers.push((name.to_ascii_lowercase(), value.to_owned()));
            }
            line.clear();
        }
        let mut request = Request { headers, body: Vec::new() };
        request.body = vec![0; request.header("content-length").parse().unwrap()];
        lines.read_exact(&mut request.body).unwrap();
        request
    }

    #[track_caller]
    fn header(&self, name: &str) -> &str {
        self.headers.iter().find(|(found, _)| found == name).map(|(_, value)| value.as_str()).unwrap()
    }

    /// As Standard Webhooks tells receivers to: the HMAC over id, time and body, and a time that is not long ago.
    fn is_genuine(&self) -> bool {
        let (id, at) = (self.header("webhook-id"), self.header("webhook-timestamp"));
        let mut mac = Hmac::<Sha256>::new_from_slice(&BASE64.decode(KEY.as_bytes()).unwrap()).unwrap();
        mac.update(format!("{id}.{at}.").as_bytes());
        mac.update(&self.body);
        let signature = self.header("webhook-signature").strip_prefix("v1,").unwrap();
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
        now.abs_diff(at.parse().unwrap()) < 300
            && mac.verify_slice(&BASE64.decode(signature.as_bytes()).unwrap()).is_ok()
    }
}

/// A receiver that passes requests to the test, and answers each as the test says.
fn receiver() -> (String, Receiver<Request>, Sender<&'static str>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/hook", listener.local_addr().unwrap());
    let ((came, requests), (answers, next)) = (channel(), channel::<&'static str>());
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            came.send(Request::read(&stream)).unwrap();
            // The test is over.
            let Ok(status) = next.recv() else { return };
            write!(stream, "HTTP/1.1 {status}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n").unwrap();
        }
    });
    (url, requests, answers)
}

#[test]
fn it_is_signed_repeated_until_it_is_taken_and_gates_the_acknowledgement() {
    let (url, requests, answers) = receiver();
    let up = Up::with_faults(&[
        ("DARKROOM__SINKS__2__KIND", "webhook"),
        ("DARKROOM__SINKS__2__REQUIRED", "true"),
        ("DARKROOM__SINKS__2__URL", &url),
        ("DARKROOM__SINKS__2__SECRET", &format!("whsec_{KEY}")),
        ("DARKROOM__SINKS__2__ALLOW_PRIVATE", "true"),
        ("DARKROOM__SINKS__2__TYPES", r#"["completed"]"#),
    ]);
    up.inbox().put("hook.wav", sound());
    let input = "s3://inbox/hook.wav";
    stdout(&up.cli(&["submit", "fault", input, "--output", "s3://results/fault/", "--set", "action=ok"]));

    let refused = requests.recv_timeout(PATIENCE).unwrap();
    assert!(refused.is_genuine());
    answers.send("500 Internal Server Error").unwrap();
    let again = requests.recv_timeout(PATIENCE).unwrap();
    assert!(again.is_genuine());
    assert_eq!((again.header("webhook-id"), &again.body), (refused.header("webhook-id"), &refused.body));
    let event: Value = serde_json::from_slice(&again.body).unwrap();
    assert_eq!((&event["type"], &event["subject"]), (&"dev.darkroom.job.completed.v1".into(), &input.into()));
    assert_eq!(event["id"], again.header("webhook-id"));
    let mut forged = again;
    forged.body[10] ^= 1;
    assert!(!forged.is_genuine());

    // The result is there, and the queue has the event; but one required sink has not said yes.
    assert_eq!(up.event(input)["id"], event["id"]);
    assert_eq!(up.queues().depth().in_flight, 1, "not acknowledged");
    answers.send("204 No Content").unwrap();
    poll("the acknowledgement", || (up.queues().depth() == Default::default()).then_some(()));
    let (_, metrics) = up.http("/metrics");
    assert!(metrics.contains("darkroom_events_total{sink=\"webhook\",outcome=\"delivered\"} 1"), "{metrics}");
}
