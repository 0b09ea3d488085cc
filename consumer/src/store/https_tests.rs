//! Inputs from the web against servers on loopback.

use darkroom_api::{ErrorCode, Result};
use tempfile::TempDir;
use tokio::sync::mpsc::UnboundedReceiver;

use super::ranges::RANGE_BYTES;
use super::scripted::{Answer, Request, answer, listen};
use super::*;

/// The web that allows these addresses only.
fn web(addresses: &[&str]) -> (Web, HttpsConfig) {
    let hosts = addresses.iter().map(|address| address.trim_start_matches("http://").to_owned()).collect();
    let config = HttpsConfig { hosts, allow_private: true };
    (Web::open(&config, 100 << 20).unwrap(), config)
}

async fn bring(web: &Web, input: &ObjectRef) -> Result<(ObjectRef, Vec<u8>)> {
    let folder = TempDir::new().unwrap();
    let (to, pinned) = (folder.path().join("a"), web.pin(input).await?);
    web.get_to_file(&pinned, &to, 100 << 20, &|_| {}).await?;
    Ok((pinned, std::fs::read(to).unwrap()))
}

fn all(requests: &mut UnboundedReceiver<Request>) -> Vec<Request> {
    std::iter::from_fn(|| requests.try_recv().ok()).collect()
}

/// Answers as a file server does, with ranges and these headers.
fn serve(request: &Request, content: &str, headers: &str) -> Answer {
    let range = request.headers.lines().find_map(|line| line.strip_prefix("range: bytes="));
    let Some((first, last)) = range.and_then(|range| range.split_once('-')) else {
        let headers = format!("{headers}accept-ranges: bytes\r\ncontent-length: {}", content.len());
        return answer("200 OK", &headers, content);
    };
    let (first, last): (usize, usize) = (first.parse().unwrap(), last.trim().parse().unwrap());
    let part = &content[first..(last + 1).min(content.len())];
    let end = first + part.len() - 1;
    let span = format!("content-range: bytes {first}-{end}/{}\r\ncontent-length: {}", content.len(), part.len());
    answer("206 Partial Content", &format!("{headers}{span}"), part)
}

#[tokio::test]
async fn a_long_input_comes_in_ranges_of_the_content_that_was_pinned() {
    let long = "0123456789abcdef".repeat(2 * (1 << 20) + 1);
    let content = long.clone();
    let (address, mut requests) = listen(move |request| serve(request, &content, "etag: \"e1\"\r\n")).await;
    let (web, config) = web(&[&address]);
    let input = config.input(&format!("{address}/a.mp4?sig=s3cret")).unwrap();
    let (pinned, bytes) = bring(&web, &input).await.unwrap();
    assert_eq!((pinned.etag.as_deref(), pinned.version.as_deref()), (Some("e1"), None));
    assert_eq!(pinned.size, Some(long.len() as u64));
    assert!(bytes == long.as_bytes(), "the content differs");
    let mut asked = all(&mut requests);
    let probe = asked.remove(0);
    assert_eq!(probe.line, "GET /a.mp4?sig=s3cret");
    assert!(probe.headers.contains("range: bytes=0-0") && !probe.headers.contains("if-match"), "{}", probe.headers);
    assert_eq!(asked.len(), 3, "{} ranges of {RANGE_BYTES} bytes", asked.len());
    assert!(asked.iter().all(|request| request.headers.contains("if-match: \"e1\"")));
}

#[tokio::test]
async fn what_has_no_strong_tag_is_known_by_the_bytes_that_came_and_never_mixed() {
    let (address, mut requests) = listen(|request| match request.index {
        0 => serve(request, "first", "etag: W/\"e1\"\r\n"),
        // It breaks off, and is another content of the same size and weak tag by the next request.
        1 => answer("200 OK", "content-length: 5\r\netag: W/\"e1\"", "fir"),
        _ => serve(request, "other", "etag: W/\"e1\"\r\n"),
    })
    .await;
    let (web, config) = web(&[&address]);
    let looked_at = web.pin(&config.input(&format!("{address}/a.mp4")).unwrap()).await.unwrap();
    assert!(!looked_at.is_pinned() && looked_at.size == Some(5), "{looked_at:?}");
    let folder = TempDir::new().unwrap();
    let to = folder.path().join("a");
    let pinned = web.get_and_pin(&looked_at, &to, 5).await.unwrap();
    assert_eq!(std::fs::read(to).unwrap(), b"other");
    let digest = data_encoding::HEXLOWER.encode(&<sha2::Sha256 as sha2::Digest>::digest(b"other"));
    assert_eq!((pinned.etag.as_deref(), &pinned.version), (None, &Some(format!("sha256:{digest}"))));
    let whole = |request: &Request| !request.headers.contains("range:");
    assert_eq!(all(&mut requests).iter().map(whole).collect::<Vec<_>>(), [false, true, true]);

    // Whoever fetches it later gets these bytes, or is told.
    let fetch = async |pinned: &ObjectRef, name: &str| {
        web.get_to_file(pinned, &folder.path().join(name), 5, &|_| {}).await.map_err(|error| error.code)
    };
    assert!(fetch(&pinned, "b").await.is_ok());
    let first =
        ObjectRef { version: pinned.version.map(|version| version.replace(&digest, &"0".repeat(64))), ..pinned };
    assert_eq!(fetch(&first, "c").await, Err(ErrorCode::InputChanged));
}

#[tokio::test]
async fn a_host_that_says_nothing_for_too_long_is_unavailable() {
    let (address, _requests) = listen(|_: &Request| Answer::Hang).await;
    let config = HttpsConfig { hosts: vec![address.trim_start_matches("http://").to_owned()], allow_private: true };
    let web = Web::with_stall(&config, 9, std::time::Duration::from_millis(50)).unwrap();
    let error = web.pin(&config.input(&format!("{address}/a?sig=s3cret")).unwrap()).await.unwrap_err();
    assert_eq!(error.code, ErrorCode::StoreUnavailable);
    assert!(error.message.contains("it took too long") && !error.message.contains("s3cret"), "{error}");
}

#[tokio::test]
async fn a_host_that_ignores_if_match_cannot_pass_another_content_off() {
    let (address, _requests) = listen(|request| {
        serve(request, "0123456789", if request.index == 0 { "etag: \"e1\"\r\n" } else { "etag: \"e2\"\r\n" })
    })
    .await;
    let (web, config) = web(&[&address]);
    let error = bring(&web, &config.input(&format!("{address}/a")).unwrap()).await.unwrap_err();
    assert_eq!(error.code, ErrorCode::InputChanged);
}

#[tokio::test]
async fn answers_have_their_codes() {
    for (status, code, tries) in [
        ("404 Not Found", ErrorCode::InputNotFound, 1),
        ("410 Gone", ErrorCode::InputNotFound, 1),
        ("403 Forbidden", ErrorCode::AccessDenied, 1),
        ("416 Range Not Satisfiable", ErrorCode::InputEmpty, 1),
        ("400 Bad Request", ErrorCode::InputsInvalid, 1),
        ("503 Service Unavailable", ErrorCode::StoreUnavailable, 4),
    ] {
        let (address, mut requests) = listen(move |_: &Request| answer(status, "content-length: 0", "")).await;
        let (web, config) = web(&[&address]);
        let input = config.input(&format!("{address}/a?sig=s3cret")).unwrap();
        let error = web.pin(&input).await.unwrap_err();
        assert_eq!(error.code, code, "{error}");
        assert!(!error.message.contains("s3cret"), "{error}");
        assert_eq!(all(&mut requests).len(), tries, "{status}");
    }
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let (web, config) = web(&[&free.to_string()]);
    let error = web.pin(&config.input(&format!("http://{free}/a?sig=s3cret")).unwrap()).await.unwrap_err();
    assert_eq!(error.code, ErrorCode::StoreUnavailable);
    assert!(!error.message.contains("s3cret"), "{error}");
}

#[tokio::test]
async fn redirects_lead_to_allowed_hosts_only() {
    let (goal, mut reached) = listen(|request| serve(request, "content", "etag: \"e1\"\r\n")).await;
    let location = format!("location: {goal}/b\r\ncontent-length: 0");
    let (start, _requests) = listen(move |_: &Request| answer("302 Found", &location, "")).await;

    let (both, config) = web(&[&start, &goal]);
    let input = config.input(&format!("{start}/a?sig=s3cret")).unwrap();
    assert_eq!(bring(&both, &input).await.unwrap().1, b"content");
    let requests = all(&mut reached);
    assert!(requests.iter().all(|request| request.line == "GET /b" && !request.headers.contains("s3cret")));

    let (one, _) = web(&[&start]);
    let error = one.pin(&input).await.unwrap_err();
    assert_eq!(error.code, ErrorCode::SourceForbidden, "{error}");
    assert!(error.message.contains("it redirects to where inputs may not come from"), "{error}");
    assert_eq!(all(&mut reached).len(), 0, "the host was not asked");

    let (circle, mut requests) =
        listen(|_: &Request| answer("302 Found", "location: /a\r\ncontent-length: 0", "")).await;
    let (web, config) = web(&[&circle]);
    let error = web.pin(&config.input(&format!("{circle}/a")).unwrap()).await.unwrap_err();
    assert_eq!(error.code, ErrorCode::SourceForbidden, "{error}");
    assert_eq!(all(&mut requests).len(), 6, "five redirects");
}

#[tokio::test]
async fn an_allowed_name_that_leads_to_a_private_address_is_not_reached() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let host = format!("localhost:{}", listener.local_addr().unwrap().port());
    let config = HttpsConfig { hosts: vec![host.clone()], allow_private: false };
    let web = Web::open(&config, 9).unwrap();
    let error = web.pin(&config.input(&format!("https://{host}/a")).unwrap()).await.unwrap_err();
    assert_eq!(error.code, ErrorCode::SourceForbidden, "{error}");
    assert_eq!(listener.accept().unwrap_err().kind(), std::io::ErrorKind::WouldBlock, "nobody came");
}
