//! The store against a real one.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use darkroom_api::ErrorCode;
use tempfile::TempDir;

use super::testing::TestStore;
use super::tests::{file, nobody_listens};
use super::*;

/// Keys that a path, a URL or a form would spoil.
fn hostile_keys() -> Vec<String> {
    let mut keys: Vec<String> =
        ["in/a b+c%2B é.mp4", "/leading", "a//b", "../../etc/passwd", "in/./x", "a", "a/b"].map(String::from).into();
    keys.extend(
        ["?x=1&y#z", "in/映像🎬.mov", "100%", "tail ", "a=b,c;d:e@f$g!h'i(j)*k", "~t\\u\"<v>"].map(String::from),
    );
    keys.push(format!("{}é", "k".repeat(1022)));
    keys
}

#[tokio::test]
async fn any_key_names_its_own_object() {
    let running = TestStore::start(&["keys"]).await;
    let store = &running.store;
    let folder = TempDir::new().unwrap();
    for key in hostile_keys() {
        let put = store.put_if_absent("keys", &key, key.clone().into(), "text/plain").await.unwrap();
        assert_eq!(put, Put::Done, "{key}");
    }
    for (index, key) in hostile_keys().into_iter().enumerate() {
        let object = ObjectRef::new("main", "keys", &key);
        let head = store.head(&object).await.unwrap().unwrap();
        assert_eq!(head.bytes, key.len() as u64, "{key}");
        let path = folder.path().join(index.to_string());
        store.get_to_file(&object, &path, 2048, &nobody_listens).await.unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), key.as_bytes(), "{key}");
    }
    let all = Place { store: "main".into(), bucket: "keys".into(), prefix: String::new() };
    let mut listed: Vec<String> = store.list(&all, 100).await.unwrap().into_iter().map(|o| o.key).collect();
    let mut expected = hostile_keys();
    listed.sort();
    expected.sort();
    assert_eq!(listed, expected);
    store.delete_many("keys", hostile_keys()).await.unwrap();
    assert_eq!(store.list(&all, 100).await.unwrap(), []);
    store.delete_many("keys", hostile_keys()).await.unwrap();
}

#[tokio::test]
async fn files_come_back_as_they_went_in_one_request_or_many_parts() {
    let running = TestStore::start(&["files"]).await;
    let store = &running.store;
    for length in [0, 1, 16 << 20, (33 << 20) + 7] {
        let folder = TempDir::new().unwrap();
        let (source, copy) = (file(&folder, length), folder.path().join("copy"));
        let progress = AtomicU64::new(0);
        let hear = |bytes| progress.store(bytes, Ordering::Relaxed);
        let stored = store.put_file(&source, "files", "x/y.webm", "video/webm", &hear).await.unwrap();
        assert_eq!((stored.bytes, progress.load(Ordering::Relaxed)), (length as u64, length as u64));
        let head = store.head(&ObjectRef::new("main", "files", "x/y.webm")).await.unwrap().unwrap();
        assert_eq!((head.bytes, head.media_type.as_deref()), (length as u64, Some("video/webm")));
        // A size that is told makes the first request one for a range.
        let size = (length % 2 == 1).then_some(length as u64);
        let pinned = ObjectRef { etag: head.etag, size, ..ObjectRef::new("main", "files", "x/y.webm") };
        let fetched = store.get_to_file(&pinned, &copy, length as u64, &nobody_listens).await.unwrap();
        assert_eq!((fetched.bytes, &fetched.etag), (length as u64, &pinned.etag));
        let bytes = std::fs::read(&copy).unwrap();
        assert!(bytes == std::fs::read(&source).unwrap(), "{length} bytes differ");
        let digest = data_encoding::HEXLOWER.encode(&<sha2::Sha256 as sha2::Digest>::digest(&bytes));
        assert_eq!(stored.sha256, digest);
    }
}

#[tokio::test]
async fn what_is_gone_changed_or_too_long_is_told() {
    let running = TestStore::start(&["gone"]).await;
    let store = &running.store;
    let folder = TempDir::new().unwrap();
    let fetch = async |object: &ObjectRef, name: &str, max| {
        let path = folder.path().join(name);
        store.get_to_file(object, &path, max, &nobody_listens).await.map(|f| f.bytes).map_err(|e| e.code)
    };
    let missing = ObjectRef::new("main", "gone", "in/a.mp4");
    assert_eq!(store.head(&missing).await.unwrap(), None);
    assert_eq!(store.get_bytes("gone", "in/a.mp4", 9).await.unwrap(), None);
    assert_eq!(fetch(&missing, "1", 9).await, Err(ErrorCode::InputNotFound));
    let nowhere = ObjectRef::new("main", "no-such-bucket", "in/a.mp4");
    assert_eq!(fetch(&nowhere, "2", 9).await, Err(ErrorCode::InputNotFound));
    let put = store.put_bytes("no-such-bucket", "k", "x".into(), "text/plain").await;
    assert_eq!(put.unwrap_err().code, ErrorCode::DestinationMissing);

    let write = |content: &'static str| store.put_if_absent("gone", "in/a.mp4", content.into(), "video/mp4");
    assert_eq!(write("first").await.unwrap(), Put::Done);
    assert_eq!(write("other").await.unwrap(), Put::Exists);
    let etag = store.head(&missing).await.unwrap().unwrap().etag;
    let pinned = ObjectRef { etag, ..missing.clone() };
    assert_eq!(fetch(&pinned, "3", 4).await, Err(ErrorCode::InputTooLarge));
    assert_eq!(fetch(&pinned, "4", 5).await, Ok(5));
    store.put_bytes("gone", "in/a.mp4", "later".into(), "video/mp4").await.unwrap();
    assert_eq!(fetch(&pinned, "5", 5).await, Err(ErrorCode::InputChanged));
    assert_eq!(store.get_bytes("gone", "in/a.mp4", 5).await.unwrap().as_deref(), Some(b"later".as_slice()));
    assert_eq!(store.get_bytes("gone", "in/a.mp4", 4).await.unwrap_err().code, ErrorCode::Internal);
    store.create_bucket_if_absent("gone").await.unwrap();
}

#[tokio::test]
async fn a_presigned_url_reads_without_keys() {
    let running = TestStore::start(&["signed"]).await;
    let store = &running.store;
    store.put_bytes("signed", "in/a b+é.txt", "content".into(), "text/plain").await.unwrap();
    let url = store.presign_get("signed", "in/a b+é.txt", Duration::from_secs(60)).await.unwrap();
    let answer = reqwest::get(&url).await.unwrap().error_for_status().unwrap();
    assert_eq!(answer.text().await.unwrap(), "content");
}

#[tokio::test]
async fn an_upload_whose_file_fails_midway_leaves_nothing_in_the_store() {
    let running = TestStore::start(&["halves"]).await;
    let (store, folder) = (&running.store, TempDir::new().unwrap());
    let source = file(&folder, 49 << 20);
    // Parts are stored by then; the rest of the file goes away under the reader.
    let cut = |_| std::fs::File::options().write(true).open(&source).unwrap().set_len(0).unwrap();
    let error = store.put_file(&source, "halves", "k", "video/webm", &cut).await.unwrap_err();
    assert_eq!(error.code, ErrorCode::Internal);
    let uploads = store.client.list_multipart_uploads().bucket("halves").send().await.unwrap();
    assert!(uploads.uploads().is_empty(), "{uploads:?}");
    assert_eq!(store.head(&ObjectRef::new("main", "halves", "k")).await.unwrap(), None);
}
