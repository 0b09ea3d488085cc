use std::sync::{Arc, Mutex};

use axum::Router;
use axum::extract::State;
use axum::http::{HeaderMap, Method, StatusCode, Uri};
use jiff::ToSpan;
use tokio::net::TcpListener;

use super::*;

/// A metadata service whose tokens are good for some requests only.
#[derive(Debug, Default)]
struct Service {
    spot: Option<String>,
    rebalance: Option<String>,
    /// Requests that a token is good for.
    uses: usize,
    tokens: usize,
    left: usize,
    is_down: bool,
}

type Shared = Arc<Mutex<Service>>;

async fn answer(State(service): State<Shared>, method: Method, uri: Uri, headers: HeaderMap) -> (StatusCode, String) {
    let mut service = service.lock().unwrap();
    let header = |name| headers.get(name).map(|value| value.to_str().unwrap());
    if service.is_down {
        return (StatusCode::SERVICE_UNAVAILABLE, String::new());
    }
    if (method.as_str(), uri.path()) == ("PUT", "/latest/api/token") {
        assert_eq!(header("x-aws-ec2-metadata-token-ttl-seconds"), Some("21600"));
        (service.tokens, service.left) = (service.tokens + 1, service.uses);
        return (StatusCode::OK, format!("token-{}", service.tokens));
    }
    if header("x-aws-ec2-metadata-token") != Some(&format!("token-{}", service.tokens)) || service.left == 0 {
        return (StatusCode::UNAUTHORIZED, String::new());
    }
    service.left -= 1;
    let found = match uri.path() {
        "/latest/meta-data/spot/instance-action" => service.spot.clone(),
        "/latest/meta-data/events/recommendations/rebalance" => service.rebalance.clone(),
        other => panic!("{other}"),
    };
    found.map_or((StatusCode::NOT_FOUND, String::new()), |text| (StatusCode::OK, text))
}

async fn start(uses: usize) -> (Shared, Watcher) {
    let service = Shared::new(Mutex::new(Service { uses, ..Service::default() }));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}/", listener.local_addr().unwrap());
    let router = Router::new().fallback(answer).with_state(Arc::clone(&service));
    tokio::spawn(async move { axum::serve(listener, router).await });
    (service, Watcher::new(&endpoint).unwrap())
}

fn spot(time: Timestamp) -> Option<String> {
    Some(
        serde_json::json!({"action": "terminate", "time": time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()}).to_string(),
    )
}

#[tokio::test]
async fn tokens_are_renewed_and_a_recommendation_forces_nothing() {
    let (service, mut watcher) = start(3).await;
    let drain = Drain::default();
    for _ in 0..3 {
        assert!(!watcher.look(&drain).await);
    }
    assert_eq!((service.lock().unwrap().tokens, drain.why()), (2, None), "six questions, three to a token");
    service.lock().unwrap().rebalance = Some(r#"{"noticeTime": "2026-11-21T18:00:00Z"}"#.into());
    assert!(!watcher.look(&drain).await, "an interruption may still follow");
    assert_eq!(drain.why(), Some("EC2 recommends to rebalance"));
    // Later than the margin that hand-backs need: at once.
    service.lock().unwrap().spot = spot(Timestamp::now() + 5.seconds());
    assert!(!drain.forced.is_cancelled());
    assert!(watcher.look(&drain).await);
    drain.forced.cancelled().await;
    assert_eq!(drain.why(), Some("EC2 recommends to rebalance"), "why nothing new was taken");
}

#[tokio::test]
async fn a_broken_service_is_asked_again_and_stops_nothing() {
    let (service, mut watcher) = start(usize::MAX).await;
    let drain = Drain::default();
    for (is_down, text) in [(true, None), (false, None), (false, Some("not JSON")), (true, None)] {
        (service.lock().unwrap().is_down, service.lock().unwrap().spot) = (is_down, text.map(String::from));
        assert!(!watcher.look(&drain).await);
        assert_eq!((watcher.is_broken, drain.why()), (is_down || text.is_some(), None));
    }
    let mut nobody = Watcher::new("http://127.0.0.1:9").unwrap();
    assert!(!nobody.look(&drain).await && nobody.is_broken);
    (service.lock().unwrap().is_down, service.lock().unwrap().spot) = (false, spot(Timestamp::now() + 90.seconds()));
    assert!(watcher.look(&drain).await && !drain.forced.is_cancelled());
    assert_eq!(drain.why(), Some("EC2 takes this spot instance away"));
}

#[test]
fn running_jobs_get_what_the_notice_leaves() {
    let now: Timestamp = "2026-11-21T12:00:00Z".parse().unwrap();
    let grace = |time: &str| {
        let end: End = serde_json::from_str(&format!(r#"{{"action":"stop","time":"2026-11-21T{time}Z"}}"#)).unwrap();
        end.grace(now).as_secs()
    };
    assert_eq!(grace("12:02:00"), 105);
    assert_eq!(grace("12:00:14"), 0, "too late for anything but handing back");
    assert_eq!(grace("11:59:00"), 0);
    assert_eq!(grace("18:00:00"), 105, "no clock makes it longer than EC2's notice");
}
