//! The store against servers that break.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use aws_credential_types::provider::{ProvideCredentials, error::CredentialsError, future};
use aws_sdk_s3::Client;
use darkroom_api::ErrorCode;
use tempfile::TempDir;

use super::scripted::{Answer, Request, answer, open, refusal, store};
use super::*;

fn object() -> ObjectRef {
    ObjectRef::new("main", "uploads", "in/a.mp4")
}

pub(super) fn nobody_listens(_: u64) {}

/// A file of `length` bytes that is no repetition.
pub(super) fn file(folder: &TempDir, length: usize) -> std::path::PathBuf {
    let path = folder.path().join("source");
    let bytes: Vec<u8> =
        (0..length).map(|i| u8::try_from(i.wrapping_mul(2_654_435_761) >> 13 & 255).unwrap()).collect();
    std::fs::write(&path, bytes).unwrap();
    path
}

#[tokio::test]
async fn a_broken_transfer_goes_on_where_it_stopped() {
    let (store, mut requests) = store(|request: &Request| match request.index {
        0 => answer("200 OK", "content-length: 10\r\netag: \"e1\"", "01234"),
        1 => refusal("503 Slow Down", "SlowDown"),
        _ => answer("206 Partial Content", "content-length: 5\r\ncontent-range: bytes 5-9/10\r\netag: \"e1\"", "56789"),
    })
    .await;
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("a");
    let seen = AtomicU64::new(0);
    let fetched = store.get_to_file(&object(), &path, 10, &|bytes| seen.store(bytes, Ordering::Relaxed)).await.unwrap();
    assert_eq!(fetched, Fetched { bytes: 10, etag: Some("e1".into()), version: None });
    assert_eq!(std::fs::read(&path).unwrap(), b"0123456789");
    assert_eq!(seen.load(Ordering::Relaxed), 10);
    assert!(!requests.recv().await.unwrap().headers.contains("range:"));
    requests.recv().await.unwrap();
    let resumed = requests.recv().await.unwrap().headers;
    assert!(resumed.contains("range: bytes=5-") && resumed.contains("if-match: \"e1\""), "{resumed}");
}

#[tokio::test]
async fn an_object_that_changes_on_the_way_is_not_mixed() {
    let (store, _requests) = store(|request: &Request| match request.index {
        0 => answer("200 OK", "content-length: 10\r\netag: \"e1\"", "01234"),
        _ => refusal("412 Precondition Failed", "PreconditionFailed"),
    })
    .await;
    let folder = TempDir::new().unwrap();
    let error = store.get_to_file(&object(), &folder.path().join("a"), 10, &nobody_listens).await.unwrap_err();
    assert_eq!(error.code, ErrorCode::InputChanged);
}

#[tokio::test]
async fn a_store_that_ignores_ranges_cannot_damage_a_file() {
    let (store, _requests) = store(|_: &Request| answer("200 OK", "content-length: 10\r\netag: \"e1\"", "01234")).await;
    let folder = TempDir::new().unwrap();
    let error = store.get_to_file(&object(), &folder.path().join("a"), 10, &nobody_listens).await.unwrap_err();
    assert_eq!(error.code, ErrorCode::StoreUnavailable);
}

#[tokio::test]
async fn what_is_too_large_is_not_fetched() {
    let (store, mut requests) = store(|_: &Request| answer("200 OK", "content-length: 1000", "0123")).await;
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("a");
    let error = store.get_to_file(&object(), &path, 999, &nobody_listens).await.unwrap_err();
    assert_eq!(error.code, ErrorCode::InputTooLarge);
    assert_eq!(std::fs::metadata(&path).unwrap().len(), 0);
    requests.recv().await.unwrap();
    assert!(requests.try_recv().is_err(), "one request");
}

#[tokio::test]
async fn requests_are_repeated_a_few_times_and_only_where_it_helps() {
    let (store1, mut requests) = store(|request: &Request| match request.index {
        0 => refusal("500 Internal Server Error", "InternalError"),
        1 => answer("502 Bad Gateway", "content-type: text/html\r\ncontent-length: 5", "<html"),
        _ => answer("200 OK", "content-length: 0\r\netag: \"e\"", ""),
    })
    .await;
    let put = store1.put_if_absent("b-1", "k", "x".into(), "text/plain").await.unwrap();
    assert_eq!(put, Put::Done);
    for _ in 0..3 {
        let request = requests.recv().await.unwrap();
        assert!(request.headers.contains("if-none-match: *"), "{}", request.headers);
    }

    let (store2, mut requests) = store(|_: &Request| refusal("503 Slow Down", "SlowDown")).await;
    let error = store2.get_bytes("b-1", "k", 10).await.unwrap_err();
    assert_eq!(error.code, ErrorCode::StoreUnavailable);
    assert!(error.message.contains("SlowDown"), "{}", error.message);
    for _ in 0..4 {
        requests.recv().await.unwrap();
    }
    assert!(requests.try_recv().is_err(), "four tries");

    let (store3, mut requests) = store(|_: &Request| refusal("403 Forbidden", "AccessDenied")).await;
    let error = store3.get_bytes("b-1", "k", 10).await.unwrap_err();
    assert_eq!(error.code, ErrorCode::AccessDenied);
    requests.recv().await.unwrap();
    assert!(requests.try_recv().is_err(), "one try");
}

#[tokio::test]
async fn a_refusal_names_the_key_or_the_permission() {
    let folder = TempDir::new().unwrap();
    let path = file(&folder, 10);
    for (code, read, write) in [
        ("InvalidAccessKeyId", "correct `access_key`", "correct `access_key`"),
        ("SignatureDoesNotMatch", "correct `secret_key`", "correct `secret_key`"),
        ("AccessDenied", "allow it `s3:GetObject`", "allow it `s3:PutObject`"),
        ("AllAccessDisabled", "check `access_key` and `secret_key`", "allowed `s3:PutObject`"),
    ] {
        let (store, _requests) = store(move |_: &Request| refusal("403 Forbidden", code)).await;
        let fetched = store.get_to_file(&object(), &folder.path().join(code), 10, &nobody_listens).await.unwrap_err();
        let stored = store.put_file(&path, "results", "k", "video/webm", &nobody_listens).await.unwrap_err();
        for (error, remedy) in [(fetched, read), (stored, write)] {
            assert_eq!(error.code, ErrorCode::AccessDenied);
            for part in ["The store `main`", code, remedy] {
                assert!(error.message.contains(part), "{part}: {}", error.message);
            }
        }
    }
}

#[tokio::test]
async fn a_store_that_is_not_there_is_unavailable() {
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let error = open(&format!("http://{free}")).await.head(&object()).await.unwrap_err();
    assert_eq!(error.code, ErrorCode::StoreUnavailable);
}

#[tokio::test]
async fn missing_credentials_are_told_as_such() {
    #[derive(Debug)]
    struct Nobody;
    impl ProvideCredentials for Nobody {
        fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
        where
            Self: 'a,
        {
            future::ProvideCredentials::ready(Err(CredentialsError::not_loaded("none")))
        }
    }
    let usual = open("http://127.0.0.1:9").await;
    let config = usual.client.config().to_builder().credentials_provider(Nobody).build();
    let store = Store { client: Client::from_conf(config), ..usual };
    let error = store.head(&object()).await.unwrap_err();
    assert_eq!(error.code, ErrorCode::AccessDenied, "{error}");
    assert!(error.message.contains("there are no keys; set `access_key` and `secret_key`"), "{error}");
}

/// The answer to the creation of a multipart upload.
const UPLOAD: &str = "<InitiateMultipartUploadResult><UploadId>u-1</UploadId></InitiateMultipartUploadResult>";

pub(super) fn created() -> Answer {
    answer("200 OK", &format!("content-type: application/xml\r\ncontent-length: {}", UPLOAD.len()), UPLOAD)
}

#[tokio::test]
async fn a_multipart_upload_that_fails_is_aborted() {
    let refused = AtomicBool::new(false);
    let (store, mut requests) = store(move |request: &Request| match request.line.split(' ').next() {
        Some("POST") => created(),
        Some("PUT") => refusal("403 Forbidden", "AccessDenied"),
        // The first try to abort fails; once the second is through, the upload is known to be gone.
        _ if !refused.swap(true, Ordering::Relaxed) => refusal("503 Slow Down", "SlowDown"),
        _ => answer("204 No Content", "", ""),
    })
    .await;
    let folder = TempDir::new().unwrap();
    let path = file(&folder, 17 << 20);
    let error = store.put_file(&path, "results", "k", "video/webm", &nobody_listens).await.unwrap_err();
    assert_eq!(error.code, ErrorCode::AccessDenied);
    // Both have come before the caller heard of the failure.
    let mut aborts = 0;
    while let Ok(request) = requests.try_recv() {
        if request.line.starts_with("DELETE") {
            assert!(request.line.contains("/results/k?") && request.line.contains("uploadId=u-1"), "{}", request.line);
            aborts += 1;
        }
    }
    assert_eq!(aborts, 2);
}

#[tokio::test]
async fn a_multipart_upload_that_is_given_up_is_aborted() {
    let (store, mut requests) = store(|request: &Request| match request.line.split(' ').next() {
        Some("POST") => created(),
        Some("PUT") => Answer::Hang,
        _ => answer("204 No Content", "", ""),
    })
    .await;
    let folder = TempDir::new().unwrap();
    let path = file(&folder, 17 << 20);
    let mut put = Box::pin(store.put_file(&path, "results", "k", "video/webm", &nobody_listens));
    loop {
        tokio::select! {
            done = &mut put => panic!("{done:?}"),
            request = requests.recv() => if request.unwrap().line.starts_with("PUT") { break },
        }
    }
    drop(put);
    while let Some(request) = requests.recv().await {
        if request.line.starts_with("DELETE") {
            return;
        }
    }
    panic!("not aborted");
}
