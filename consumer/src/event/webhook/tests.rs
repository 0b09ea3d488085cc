use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::post;
use darkroom_api::ErrorCode;
use jiff::Timestamp;

use super::*;
use crate::config::{Secret, SinkKind};
use crate::event::tests::facts;
use crate::event::{Event, Outlet, Publisher};
use crate::telemetry::Metrics;

const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

#[derive(Debug, Clone, Default)]
struct Receiver {
    /// Answers so many requests with 500 first.
    failures: Arc<Mutex<usize>>,
    got: Arc<Mutex<Vec<(HeaderMap, Bytes)>>>,
}

impl Receiver {
    async fn start(failures: usize) -> (Self, SocketAddr) {
        let receiver = Receiver { failures: Arc::new(Mutex::new(failures)), ..Receiver::default() };
        let app = Router::new()
            .route("/hook", post(take))
            .route("/moved", post(|| async { Redirect::temporary("/hook") }))
            .route("/gone", post(|| async { StatusCode::GONE }))
            .with_state(receiver.clone());
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move { axum::serve(listener, app).await });
        (receiver, address)
    }

    fn got(&self) -> Vec<(HeaderMap, Bytes)> {
        self.got.lock().unwrap().clone()
    }
}

async fn take(State(receiver): State<Receiver>, headers: HeaderMap, body: Bytes) -> Response {
    receiver.got.lock().unwrap().push((headers, body));
    let mut failures = receiver.failures.lock().unwrap();
    if *failures > 0 {
        *failures -= 1;
        return StatusCode::INTERNAL_SERVER_ERROR.into_response();
    }
    StatusCode::NO_CONTENT.into_response()
}

fn config(url: String, allow_private: bool) -> SinkConfig {
    SinkConfig {
        name: Some("backend".into()),
        required: true,
        url: Some(url),
        secret: Some(Secret::new(SECRET)),
        allow_private,
        ..SinkConfig::new(SinkKind::Webhook)
    }
}

fn publisher(config: &SinkConfig, retry: Duration) -> Publisher {
    let outlet = Outlet { config: config.clone(), sink: Box::new(Webhook::open(config).unwrap()) };
    Publisher::new(vec![outlet], retry, Arc::new(Metrics::new()))
}

fn event() -> Event {
    Event::cancelled(&facts(), Timestamp::UNIX_EPOCH)
}

#[tokio::test]
async fn a_receiver_can_verify_what_it_gets() {
    let (receiver, address) = Receiver::start(0).await;
    let publisher = publisher(&config(format!("http://{address}/hook?token=t0k"), true), Duration::from_secs(20));
    publisher.publish(&event()).await.unwrap();
    let (headers, body) = receiver.got().remove(0);
    assert_eq!(body, event().to_json());
    assert_eq!(headers["content-type"], "application/cloudevents+json; charset=utf-8");
    assert_eq!(headers["webhook-id"], event().id());
    let timestamp: i64 = headers["webhook-timestamp"].to_str().unwrap().parse().unwrap();
    assert!((Timestamp::now().as_second() - timestamp).abs() < 60);
    let key = SigningKey::parse(&Secret::new(SECRET)).unwrap();
    assert_eq!(headers["webhook-signature"], key.sign(event().id(), timestamp, &body));
    assert_ne!(headers["webhook-signature"], key.sign(event().id(), timestamp, b"{}"));
}

#[tokio::test]
async fn failures_of_the_receiver_are_repeated_with_the_same_id() {
    let (receiver, address) = Receiver::start(2).await;
    publisher(&config(format!("http://{address}/hook"), true), Duration::from_secs(20))
        .publish(&event())
        .await
        .unwrap();
    let got = receiver.got();
    assert_eq!(got.len(), 3);
    assert!(got.iter().all(|(headers, _)| headers["webhook-id"] == event().id()));
}

#[tokio::test]
async fn a_receiver_that_stays_broken_or_away_is_given_up_on() {
    let (receiver, address) = Receiver::start(usize::MAX).await;
    let hook = config(format!("http://{address}/hook"), true);
    let error = publisher(&hook, Duration::from_millis(700)).publish(&event()).await.unwrap_err();
    assert_eq!(error.code, ErrorCode::EventUndelivered);
    assert!(error.message.contains("sink `backend`: answered 500"), "{error}");
    assert!(receiver.got().len() >= 2);

    let closed = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let hook = config(format!("http://{closed}/hook?token=t0k"), true);
    let error = publisher(&hook, Duration::from_millis(300)).publish(&event()).await.unwrap_err();
    assert!(error.message.contains("refused") && !error.message.contains("t0k"), "{error}");
}

#[tokio::test]
async fn redirects_are_not_followed_and_refusals_not_repeated() {
    let (receiver, address) = Receiver::start(0).await;
    for (path, why) in [("moved", "redirects are not followed"), ("gone", "answered 410")] {
        let hook = config(format!("http://{address}/{path}"), true);
        // An hour: only an error that is final lets this test end.
        let error = publisher(&hook, Duration::from_secs(3600)).publish(&event()).await.unwrap_err();
        assert!(error.message.contains(why), "{error}");
    }
    assert!(receiver.got().is_empty());
}

#[tokio::test]
async fn names_that_resolve_to_private_addresses_are_refused() {
    let (receiver, address) = Receiver::start(0).await;
    // https, so that the URL itself passes: the name is what leads to loopback.
    let hook = config(format!("https://localhost:{}/hook", address.port()), false);
    let error = publisher(&hook, Duration::from_millis(300)).publish(&event()).await.unwrap_err();
    assert!(error.message.contains("loopback, private or reserved"), "{error}");
    assert!(receiver.got().is_empty());
    let literal = config(format!("https://{address}/hook"), false);
    assert!(Webhook::open(&literal).unwrap_err().contains("allow_private"));
}
