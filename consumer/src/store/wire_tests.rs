//! What goes over the wire because of a store's configuration, and what follows from lost and wrong answers.

use std::sync::Mutex;
use std::time::Duration;

use aws_sdk_s3::types::ChecksumAlgorithm;
use darkroom_api::{ErrorClass, ErrorCode};
use tempfile::TempDir;
use tokio::sync::mpsc::UnboundedReceiver;

use super::scripted::{Answer, Request, answer, config, listen, refusal, store};
use super::testing::TestStore;
use super::tests::{created, file, nobody_listens};
use super::*;

const COMPLETED: &str = "<CompleteMultipartUploadResult><ETag>\"e-2\"</ETag></CompleteMultipartUploadResult>";

fn xml(body: &str) -> Answer {
    answer("200 OK", &format!("content-type: application/xml\r\ncontent-length: {}", body.len()), body)
}

/// Answers everything as if it had worked.
fn willing(request: &Request) -> Answer {
    let (method, target) = request.line.split_once(' ').unwrap();
    match method {
        "POST" if target.contains("uploadId") => xml(COMPLETED),
        "POST" => created(),
        "DELETE" => answer("204 No Content", "", ""),
        "GET" if target.contains("list-type=2") => xml("<ListBucketResult></ListBucketResult>"),
        "GET" => answer("200 OK", "content-length: 1\r\netag: \"e\"", "x"),
        "HEAD" => answer("200 OK", "content-length: 1\r\netag: \"e\"", ""),
        _ => answer("200 OK", "content-length: 0\r\netag: \"e\"", ""),
    }
}

fn all(requests: &mut UnboundedReceiver<Request>) -> Vec<Request> {
    std::iter::from_fn(|| requests.try_recv().ok()).collect()
}

/// Every kind of request to a store of this configuration.
async fn tour(change: impl FnOnce(StoreConfig) -> StoreConfig) -> Vec<Request> {
    let (endpoint, mut requests) = listen(willing).await;
    let store = Store::open(&change(config(&endpoint))).await.unwrap();
    let (folder, object) = (TempDir::new().unwrap(), ObjectRef::new("main", "b-1", "k"));
    let place = Place { store: "main".into(), bucket: "b-1".into(), prefix: String::new() };
    store.put_bytes("b-1", "k", "x".into(), "text/plain").await.unwrap();
    assert_eq!(store.put_if_absent("b-1", "k", "x".into(), "text/plain").await.unwrap(), Put::Done);
    store.put_file(&file(&folder, 17 << 20), "b-1", "k", "video/webm", &nobody_listens).await.unwrap();
    store.head(&object).await.unwrap().unwrap();
    store.get_bytes("b-1", "k", 9).await.unwrap().unwrap();
    store.get_to_file(&object, &folder.path().join("a"), 9, &nobody_listens).await.unwrap();
    store.list(&place, 9).await.unwrap();
    store.reach(&place).await.unwrap();
    store.delete("b-1", "k").await.unwrap();
    let requests = all(&mut requests);
    assert_eq!(requests.len(), 12, "two parts among them");
    requests
}

fn mentions_checksums(request: &Request) -> bool {
    let marks = ["x-amz-checksum", "x-amz-sdk-checksum", "x-amz-trailer", "aws-chunked"];
    marks.iter().any(|mark| request.headers.contains(mark))
}

#[tokio::test]
async fn a_custom_endpoint_gets_paths_and_no_checksums_unless_it_is_asked_for() {
    for request in tour(|config| config).await {
        assert!(request.line.contains(" /b-1"), "{}", request.line);
        assert!(!mentions_checksums(&request), "{}\n{}", request.line, request.headers);
    }
    let asked = tour(|config| StoreConfig { checksums: Checksums::Supported, ..config }).await;
    for method in ["PUT", "POST", "GET"] {
        let of_method = |request: &&Request| request.line.starts_with(method);
        assert!(asked.iter().filter(of_method).any(mentions_checksums), "{method}");
    }
}

#[tokio::test]
async fn buckets_are_in_the_path_or_in_the_host() {
    for (path_style, start) in [
        (None, "http://s3.example/b-1/k?"),
        (Some(true), "http://s3.example/b-1/k?"),
        (Some(false), "http://b-1.s3.example/k?"),
    ] {
        let store = Store::open(&StoreConfig { path_style, ..config("http://s3.example") }).await.unwrap();
        let url = store.presign_get("b-1", "k", Duration::from_secs(60)).await.unwrap();
        assert!(url.starts_with(start), "{url}");
    }
}

#[tokio::test]
async fn encryption_is_asked_for_by_writes_and_the_requester_pays_everything() {
    let kms = |config| StoreConfig {
        sse: Some(Encryption::Kms),
        kms_key_id: Some("key-1".into()),
        request_payer: Some(Payer::Requester),
        ..config
    };
    for request in tour(kms).await {
        assert!(request.headers.contains("x-amz-request-payer: requester"), "{}", request.line);
        let target = &request.line;
        let creates = target.starts_with("PUT") && !target.contains("partNumber") || target.ends_with("?uploads");
        let encrypts = request.headers.contains("x-amz-server-side-encryption: aws:kms")
            && request.headers.contains("x-amz-server-side-encryption-aws-kms-key-id: key-1");
        assert_eq!(encrypts, creates, "{target}\n{}", request.headers);
    }
    let store = Store::open(&kms(config("http://s3.example"))).await.unwrap();
    let url = store.presign_get("b-1", "k", Duration::from_secs(60)).await.unwrap();
    assert!(url.contains("x-amz-request-payer=requester") && url.contains("X-Amz-SignedHeaders=host&"), "{url}");
    let put = store.presign_put("b-1", "k", Duration::from_secs(60)).await.unwrap();
    let header = |name: &str| put.headers.iter().find(|(found, _)| found == name).map(|(_, value)| value.as_str());
    assert_eq!(header("x-amz-server-side-encryption"), Some("aws:kms"), "{put:?}");
    assert_eq!(header("x-amz-server-side-encryption-aws-kms-key-id"), Some("key-1"), "{put:?}");
}

#[tokio::test]
async fn a_presigned_url_lets_somebody_without_keys_upload() {
    let running = TestStore::start(&["signed"]).await;
    let put = running.store.presign_put("signed", "in/a b+é.mp4", Duration::from_secs(60)).await.unwrap();
    let send = |url: String| reqwest::Client::new().put(url).body("content").send();
    assert!(send(put.url.clone()).await.unwrap().status().is_success());
    let there = running.store.get_bytes("signed", "in/a b+é.mp4", 9).await.unwrap();
    assert_eq!(there.as_deref(), Some(b"content".as_slice()));
    let elsewhere = put.url.replace("/signed/in/", "/signed/out/");
    assert_eq!(send(elsewhere).await.unwrap().status(), 403);
}

#[tokio::test]
async fn a_presigned_url_asks_for_no_checksum_of_a_content_that_nobody_knows_yet() {
    let config = StoreConfig { checksums: Checksums::Supported, ..config("http://s3.example") };
    let store = Store::open(&config).await.unwrap();
    let put = store.presign_put("b-1", "k", Duration::from_secs(60)).await.unwrap();
    let get = store.presign_get("b-1", "k", Duration::from_secs(60)).await.unwrap();
    assert_eq!(put.headers, []);
    for url in [put.url, get] {
        assert!(!url.to_lowercase().contains("checksum") && url.contains("X-Amz-SignedHeaders=host&"), "{url}");
    }
}

#[tokio::test]
async fn a_wrong_checksum_is_told_and_another_try_repairs_it() {
    let wrong = "content-length: 10\r\netag: \"e1\"\r\nx-amz-checksum-crc32: AAAAAA==";
    for good_ones in [0, 1] {
        let (endpoint, mut requests) = listen(move |request: &Request| match request.index {
            1 if good_ones == 1 => answer(
                "206 Partial Content",
                "content-length: 10\r\ncontent-range: bytes 0-9/10\r\netag: \"e1\"",
                "0123456789",
            ),
            _ => answer("200 OK", wrong, "012345678X"),
        })
        .await;
        let config = StoreConfig { checksums: Checksums::Supported, ..config(&endpoint) };
        let (store, folder) = (Store::open(&config).await.unwrap(), TempDir::new().unwrap());
        let to = folder.path().join("a");
        let fetched = store.get_to_file(&ObjectRef::new("main", "b-1", "k"), &to, 10, &nobody_listens).await;
        if good_ones == 1 {
            assert_eq!((fetched.unwrap().bytes, std::fs::read(&to).unwrap()), (10, b"0123456789".to_vec()));
            assert_eq!(all(&mut requests).len(), 2);
        } else {
            let error = fetched.unwrap_err();
            assert_eq!((error.code, error.class()), (ErrorCode::StoreUnavailable, ErrorClass::Transient));
            assert!(error.message.contains("checksum"), "{error}");
            let error = store.get_bytes("b-1", "k", 10).await.unwrap_err();
            assert!(error.message.contains("checksum"), "{error}");
        }
    }
}

#[tokio::test]
async fn a_completion_whose_answer_was_lost_is_found_to_have_happened() {
    for (ours, outcome) in [(true, None), (false, Some(ErrorCode::StoreUnavailable))] {
        let (mark, completions) = (Mutex::new(String::new()), Mutex::new(0));
        let (store, mut requests) = store(move |request: &Request| {
            let (method, target) = request.line.split_once(' ').unwrap();
            match method {
                "POST" if target.contains("uploadId") => {
                    *completions.lock().unwrap() += 1;
                    if *completions.lock().unwrap() == 1 {
                        Answer::Cut
                    } else {
                        refusal("404 Not Found", "NoSuchUpload")
                    }
                }
                "POST" => {
                    let is_mark = |line: &&str| line.starts_with("x-amz-meta-darkroom-upload:");
                    request.headers.lines().find(is_mark).unwrap().clone_into(&mut mark.lock().unwrap());
                    created()
                }
                "HEAD" if ours => answer("200 OK", &format!("content-length: 1\r\n{}", mark.lock().unwrap()), ""),
                _ => willing(request),
            }
        })
        .await;
        let folder = TempDir::new().unwrap();
        let put = store.put_file(&file(&folder, 17 << 20), "b-1", "k", "video/webm", &nobody_listens).await;
        assert_eq!(put.err().map(|error| error.code), outcome);
        let aborted = all(&mut requests).iter().any(|request| request.line.starts_with("DELETE"));
        assert_eq!(aborted, !ours, "what is complete is not aborted");
    }
}

#[tokio::test]
async fn a_real_store_takes_parts_with_checksums_and_keeps_the_mark_of_their_upload() {
    let (running, folder) = (TestStore::start(&["marks"]).await, TempDir::new().unwrap());
    let terms = client::Terms { checksum: Some(ChecksumAlgorithm::Crc32), ..running.store.terms.clone() };
    let (store, source) = (Store { terms, ..running.store.clone() }, file(&folder, 17 << 20));
    store.put_file(&source, "marks", "k", "video/webm", &nobody_listens).await.unwrap();
    let head = store.client.head_object().bucket("marks").key("k").send().await.unwrap();
    assert_eq!(head.metadata().unwrap()["darkroom-upload"].len(), 32);
}

#[tokio::test]
async fn without_conditional_writes_what_stands_has_won() {
    let running = TestStore::start(&["claims"]).await;
    let settle = Some(Duration::from_secs(1));
    let store = Store { terms: client::Terms { settle, ..running.store.terms.clone() }, ..running.store.clone() };
    let claims = (0..6).map(|n| {
        let store = store.clone();
        async move { store.put_if_absent("claims", "k", format!("worker {n}").into(), "text/plain").await.unwrap() }
    });
    let claims = futures::future::join_all(claims).await;
    assert_eq!(claims.iter().filter(|put| **put == Put::Done).count(), 1, "{claims:?}");
    assert_eq!(store.put_if_absent("claims", "k", "late".into(), "text/plain").await.unwrap(), Put::Exists);
    let winner = claims.iter().position(|put| *put == Put::Done).unwrap();
    let there = store.get_bytes("claims", "k", 99).await.unwrap().unwrap();
    assert_eq!(there, format!("worker {winner}"));
}

#[tokio::test]
async fn who_is_too_slow_without_conditional_writes_claims_nothing() {
    let (endpoint, mut requests) = listen(|request: &Request| match request.line.split(' ').next() {
        Some("HEAD") => refusal("404 Not Found", "NoSuchKey"),
        _ => willing(request),
    })
    .await;
    let store = Store::open(&StoreConfig { conditional_writes: false, ..config(&endpoint) }).await.unwrap();
    let store = Store { terms: client::Terms { settle: Some(Duration::ZERO), ..store.terms.clone() }, ..store };
    let error = store.put_if_absent("b-1", "k", "x".into(), "text/plain").await.unwrap_err();
    assert_eq!(error.code, ErrorCode::StoreUnavailable);
    assert!(all(&mut requests).iter().all(|request| !request.headers.contains("if-none-match")));
}

#[tokio::test]
async fn a_store_that_lacks_conditional_writes_is_found_out() {
    let place = Place { store: "main".into(), bucket: "b-1".into(), prefix: "state/".into() };
    let (ignores, _requests) = store(willing).await;
    let (refuses, _requests) = store(|_: &Request| refusal("501 Not Implemented", "NotImplemented")).await;
    for store in [ignores, refuses] {
        let error = store.check_conditional_writes(&place).await.unwrap_err();
        assert!(error.message.contains("`conditional_writes = false`"), "{error}");
    }
    let running = TestStore::start(&["b-1"]).await;
    running.store.check_conditional_writes(&place).await.unwrap();
    assert_eq!(running.store.list(&place, 9).await.unwrap(), [], "nothing is left");
}
