use std::net::SocketAddr;
use std::sync::Mutex;

use async_trait::async_trait;
use serde_json::{Value, json};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use super::*;

#[derive(Default)]
struct Switch(Mutex<Vec<Unready>>);

#[async_trait]
impl Readiness for Switch {
    async fn reasons(&self) -> Vec<Unready> {
        self.0.lock().unwrap().clone()
    }
}

struct Running {
    address: SocketAddr,
    readiness: Arc<Switch>,
    metrics: Arc<Metrics>,
    stop: oneshot::Sender<()>,
    server: JoinHandle<()>,
}

async fn start() -> Running {
    let (readiness, metrics) = (Arc::new(Switch::default()), Arc::new(Metrics::new()));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let state = GatewayState { metrics: Arc::clone(&metrics), readiness: Arc::clone(&readiness) as Arc<dyn Readiness> };
    let (stop, stopped) = oneshot::channel();
    let shutdown = async move { drop(stopped.await) };
    let server = tokio::spawn(serve(listener, state, shutdown));
    Running { address, readiness, metrics, stop, server }
}

async fn get(running: &Running, path: &str) -> reqwest::Response {
    reqwest::get(format!("http://{}{path}", running.address)).await.unwrap()
}

#[tokio::test]
async fn readiness_names_every_reason_and_liveness_does_not_depend_on_it() {
    let running = start().await;
    let answer = get(&running, "/readyz").await;
    assert_eq!((answer.status().as_u16(), answer.headers()["cache-control"].to_str().unwrap()), (200, "no-store"));
    assert_eq!(answer.json::<Value>().await.unwrap(), json!({"ready": true, "reasons": []}));

    *running.readiness.0.lock().unwrap() =
        vec![Unready::new("queue", "does not answer"), Unready::new("draining", "SIGTERM was received")];
    let answer = get(&running, "/readyz").await;
    assert_eq!(answer.status().as_u16(), 503);
    let reasons = json!([{"what": "queue", "reason": "does not answer"},
        {"what": "draining", "reason": "SIGTERM was received"}]);
    assert_eq!(answer.json::<Value>().await.unwrap(), json!({"ready": false, "reasons": reasons}));
    assert_eq!(get(&running, "/livez").await.status().as_u16(), 200);
    assert_eq!(get(&running, "/").await.status().as_u16(), 404);
}

#[tokio::test]
async fn metrics_come_in_the_format_that_prometheus_reads() {
    let running = start().await;
    running.metrics.set_slots(3);
    let answer = get(&running, "/metrics").await;
    assert_eq!(answer.headers()["content-type"], OPENMETRICS);
    let text = answer.text().await.unwrap();
    assert!(text.contains("# TYPE darkroom_slots gauge\ndarkroom_slots 3\n") && text.ends_with("# EOF\n"), "{text}");
}

#[tokio::test]
async fn shutdown_ends_it_although_a_connection_stays_open() {
    let running = start().await;
    // Half a request: graceful shutdown alone would wait for the rest for ever.
    let mut open = tokio::net::TcpStream::connect(running.address).await.unwrap();
    tokio::io::AsyncWriteExt::write_all(&mut open, b"GET /livez HTTP/1.1\r\n").await.unwrap();
    assert_eq!(get(&running, "/livez").await.status().as_u16(), 200);
    running.stop.send(()).unwrap();
    running.server.await.unwrap();
    assert!(TcpListener::bind(running.address).await.is_ok(), "the port is free again");
}
