use std::collections::HashSet;

use aws_sdk_s3::types::{Delete, MetadataDirective, ObjectIdentifier};

use super::*;

#[tokio::test]
async fn an_object_comes_back_as_it_was_put() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path(), options()).await;
    let body = noise((2 << 20) + 77);
    let put = server.client.put_object().bucket("in-bucket").key("in/a.mp4").body(bytes(&body));
    let put = put.content_type("video/mp4").cache_control("no-store").metadata("who", "me").send().await.unwrap();
    let got = server.client.get_object().bucket("in-bucket").key("in/a.mp4").send().await.unwrap();
    assert_eq!((got.content_type.as_deref(), got.cache_control.as_deref()), (Some("video/mp4"), Some("no-store")));
    assert_eq!((got.content_length, &got.e_tag), (Some(body.len() as i64), &put.e_tag));
    assert_eq!(got.content_encoding, None, "aws-chunked is not the object's");
    assert_eq!(got.metadata.as_ref().unwrap()["who"], "me");
    assert!(got.body.collect().await.unwrap().to_vec() == body);
    let head = server.client.head_object().bucket("in-bucket").key("in/a.mp4").send().await.unwrap();
    assert_eq!((head.content_length, head.e_tag), (Some(body.len() as i64), put.e_tag));
    assert_eq!(head.metadata.unwrap()["who"], "me");
    assert_eq!(server.put("empty", b"").await, "\"d41d8cd98f00b204e9800998ecf8427e\"");
    assert!(server.get("empty").await.is_empty());
    server.stop().await;
}

#[tokio::test]
async fn ranges_and_conditions_are_answered_as_s3_does() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path(), options()).await;
    let etag = server.put("a", b"0123456789").await;
    let get = || server.client.get_object().bucket("in-bucket").key("a");
    let part = get().range("bytes=2-4").send().await.unwrap();
    assert_eq!((part.content_range.as_deref(), part.content_length), (Some("bytes 2-4/10"), Some(3)));
    assert_eq!(part.body.collect().await.unwrap().to_vec(), b"234");
    let end = get().range("bytes=-3").send().await.unwrap();
    assert_eq!(end.body.collect().await.unwrap().to_vec(), b"789");
    assert_eq!(refusal(get().range("bytes=10-").send().await), (416, "InvalidRange".into()));
    assert!(get().if_match(&etag).send().await.is_ok());
    assert_eq!(refusal(get().if_match("\"other\"").send().await), (412, "PreconditionFailed".into()));
    assert_eq!(refusal(get().if_none_match(&etag).send().await).0, 304);
    let head = || server.client.head_object().bucket("in-bucket").key("a");
    assert_eq!(refusal(head().if_match("\"other\"").send().await).0, 412);
    assert_eq!(refusal(get().key("b").send().await), (404, "NoSuchKey".into()));
    assert_eq!(refusal(get().bucket("nowhere").send().await), (404, "NoSuchBucket".into()));
    assert_eq!(refusal(head().key("b").send().await).0, 404);

    let put = || server.client.put_object().bucket("in-bucket").key("a").body(bytes(b"new"));
    assert_eq!(refusal(put().if_none_match("*").send().await), (412, "PreconditionFailed".into()));
    assert_eq!(refusal(put().if_match("\"other\"").send().await), (412, "PreconditionFailed".into()));
    assert_eq!(refusal(put().key("b").if_match(&etag).send().await), (404, "NoSuchKey".into()));
    assert_eq!(refusal(put().bucket("nowhere").send().await), (404, "NoSuchBucket".into()));
    assert!(put().if_match(&etag).send().await.is_ok());
    assert_eq!(server.get("a").await, b"new");
    assert_eq!(blob_files(dir.path()), 1, "nothing stays of what was replaced or refused");
    server.stop().await;
}

#[tokio::test]
async fn few_bytes_stand_in_the_database_and_behave_alike() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path(), Options { inline_bytes: Some(10), ..options() }).await;
    let etag = server.put("in/a", b"0123456789").await;
    assert_eq!(blob_files(dir.path()), 0);
    let range = server.client.get_object().bucket("in-bucket").key("in/a").range("bytes=3-5").send().await.unwrap();
    assert_eq!(range.body.collect().await.unwrap().to_vec(), b"345");
    let copy = server.client.copy_object().bucket("in-bucket").key("in/b").copy_source("in-bucket/in/a");
    copy.send().await.unwrap();
    server.put("in/a", b"0123456789-").await;
    assert_eq!((server.get("in/a").await, blob_files(dir.path())), (b"0123456789-".to_vec(), 1));
    assert_eq!(server.put("in/a", b"0123456789").await, etag);
    server.stop().await;
    let server = Server::start(dir.path(), options()).await;
    assert_eq!((server.get("in/a").await, server.get("in/b").await), (b"0123456789".to_vec(), b"0123456789".to_vec()));
    assert_eq!((server.events().await.len(), blob_files(dir.path())), (4, 0));
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_many_writers_with_if_none_match_one_wins() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path(), options()).await;
    let start = Arc::new(tokio::sync::Barrier::new(20));
    let writers = (0..20).map(|n: u8| {
        let (client, start) = (server.client.clone(), start.clone());
        tokio::spawn(async move {
            start.wait().await;
            let put = client.put_object().bucket("in-bucket").key("in/manifest").if_none_match("*").body(bytes(&[n]));
            match put.send().await {
                Ok(_) => Some(n),
                refused => {
                    assert_eq!(refusal(refused), (412, "PreconditionFailed".into()));
                    None
                }
            }
        })
    });
    let results = futures::future::join_all(writers).await;
    let winners: Vec<u8> = results.into_iter().filter_map(|result| result.unwrap()).collect();
    assert_eq!(winners.len(), 1);
    assert_eq!(server.get("in/manifest").await, winners);
    assert_eq!((server.events().await.len(), blob_files(dir.path())), (1, 1));
    server.stop().await;
}

#[tokio::test]
async fn any_key_is_an_object_and_its_event_decodes_to_it() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path(), Options { inline_bytes: Some(100), ..options() }).await;
    let long = format!("in/{}", "é".repeat(510) + "x");
    assert_eq!(long.len(), 1024);
    let keys = [
        "in/a",
        "in/a/b",
        "in/a/",
        "in//a",
        "in/../../etc/passwd",
        "in/.",
        "in/a b+c%20d é𝄞.mp4",
        "in/?x=1&y#z",
        "in/*'()~!$,;:@=",
        "in/\\",
        "in/%2F",
        &long,
    ];
    for key in keys {
        server.put(key, key.as_bytes()).await;
    }
    for key in ["/in/a", "/", "//", "../x"] {
        server.put(key, key.as_bytes()).await;
        assert_eq!(server.get(key).await, key.as_bytes(), "{key}");
    }
    for key in keys {
        assert_eq!(server.get(key).await, key.as_bytes(), "{key}");
    }
    let too_long = server.client.put_object().bucket("in-bucket").key(format!("{long}x")).send().await;
    assert_eq!(refusal(too_long), (400, "KeyTooLongError".into()));
    let mut sequencers = Vec::new();
    let mut announced = HashSet::new();
    for event in server.events().await {
        assert_eq!(event["eventName"], "ObjectCreated:Put");
        let object = &event["s3"]["object"];
        sequencers.push(object["sequencer"].as_str().unwrap().to_owned());
        let key = object["key"].as_str().unwrap().replace('+', " ");
        announced.insert(percent_encoding::percent_decode_str(&key).decode_utf8().unwrap().into_owned());
    }
    assert_eq!(announced, keys.map(str::to_owned).into());
    assert!(sequencers.is_sorted_by(|a, b| a < b));
    server.stop().await;
}

#[tokio::test]
async fn deleted_and_copied() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path(), options()).await;
    for key in ["in/a b+c", "x", "y", "z"] {
        let put = server.client.put_object().bucket("in-bucket").key(key).body(bytes(key.as_bytes()));
        put.content_type("text/plain").send().await.unwrap();
    }
    server.events().await;
    let copy = || server.client.copy_object().bucket("out-bucket").key("copy").copy_source("in-bucket/in/a%20b%2Bc");
    copy().send().await.unwrap();
    server.client.delete_object().bucket("in-bucket").key("in/a b+c").send().await.unwrap();
    let copied = server.client.get_object().bucket("out-bucket").key("copy").send().await.unwrap();
    assert_eq!(copied.content_type.as_deref(), Some("text/plain"));
    assert_eq!(copied.body.collect().await.unwrap().to_vec(), b"in/a b+c");
    assert_eq!(refusal(copy().send().await), (404, "NoSuchKey".into()));
    let renamed = server.client.copy_object().bucket("in-bucket").key("in/c").copy_source("out-bucket/copy");
    renamed.metadata_directive(MetadataDirective::Replace).content_type("video/mp4").send().await.unwrap();
    let head = server.client.head_object().bucket("in-bucket").key("in/c").send().await.unwrap();
    assert_eq!(head.content_type.as_deref(), Some("video/mp4"));
    let events = server.events().await;
    assert_eq!((events.len(), &events[0]["eventName"]), (1, &Value::from("ObjectCreated:Copy")));

    let objects = ["x", "y", "never"].map(|key| ObjectIdentifier::builder().key(key).build().unwrap());
    let delete = Delete::builder().set_objects(Some(objects.to_vec())).build().unwrap();
    let deleted = server.client.delete_objects().bucket("in-bucket").delete(delete).send().await.unwrap();
    assert_eq!((deleted.deleted().len(), deleted.errors().len()), (3, 0));
    server.client.delete_object().bucket("in-bucket").key("never").send().await.unwrap();
    assert_eq!(blob_files(dir.path()), 3, "copy, in/c and z");
    server.stop().await;
}

#[tokio::test]
async fn what_does_not_fit_or_does_not_match_is_refused_and_leaves_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path(), Options { max_object_bytes: 100, ..options() }).await;
    let put = || server.client.put_object().bucket("in-bucket").key("in/a");
    assert_eq!(refusal(put().body(bytes(&[0; 101])).send().await), (400, "EntityTooLarge".into()));
    let wrong = put().body(bytes(b"x")).checksum_sha256("47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=");
    assert_eq!(refusal(wrong.send().await), (400, "BadDigest".into()));
    let wrong = put().body(bytes(b"x")).content_md5("1B2M2Y8AsgTpgAmY7PhCfg==");
    assert_eq!(refusal(wrong.send().await), (400, "BadDigest".into()));
    let huge = put().body(bytes(b"x")).metadata("k", "v".repeat(3000));
    assert_eq!(refusal(huge.send().await), (400, "MetadataTooLarge".into()));
    server.stop().await;
    assert_eq!(blob_files(dir.path()), 0);

    let server = Server::start(dir.path(), Options { min_free_bytes: u64::MAX / 2, ..options() }).await;
    let put = server.client.put_object().bucket("in-bucket").key("in/a").body(bytes(b"x"));
    assert_eq!(refusal(put.send().await), (507, "InsufficientStorage".into()));
    assert!(server.events().await.is_empty());
    server.stop().await;
    assert_eq!(blob_files(dir.path()), 0);
}

#[tokio::test]
async fn only_the_key_pair_opens_the_door() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path(), options()).await;
    server.put("a", b"secret").await;
    let get = |keys| client(&server.endpoint, keys).get_object().bucket("in-bucket").key("a").send();
    assert_eq!(refusal(get((KEYS.0, "wrong")).await), (403, "SignatureDoesNotMatch".into()));
    assert_eq!(refusal(get(("wrong", KEYS.1)).await).0, 403);
    let plain = reqwest::get(format!("{}/in-bucket/a", server.endpoint)).await.unwrap();
    assert_eq!(plain.status(), 403);

    let config = PresigningConfig::expires_in(Duration::from_secs(60)).unwrap();
    let url = server.client.get_object().bucket("in-bucket").key("a").presigned(config.clone()).await.unwrap();
    assert_eq!(reqwest::get(url.uri()).await.unwrap().text().await.unwrap(), "secret");
    let other = url.uri().replace("/in-bucket/a?", "/in-bucket/b?");
    assert_eq!(reqwest::get(other).await.unwrap().status(), 403);
    let url = server.client.put_object().bucket("in-bucket").key("in/p").presigned(config).await.unwrap();
    let put = reqwest::Client::new().put(url.uri()).body("presigned").send().await.unwrap();
    assert_eq!(put.status(), 200);
    assert_eq!((server.get("in/p").await, server.events().await.len()), (b"presigned".to_vec(), 1));
    server.stop().await;
}

#[tokio::test]
async fn an_object_replaced_while_it_is_read_is_read_to_its_end() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path(), options()).await;
    let body = noise(32 << 20);
    server.put("a", &body).await;
    let got = server.client.get_object().bucket("in-bucket").key("a").send().await.unwrap();
    server.put("a", b"new").await;
    assert_eq!(blob_files(dir.path()), 2, "the old one is being read");
    assert!(got.body.collect().await.unwrap().to_vec() == body);
    assert_eq!(server.get("a").await, b"new");
    server.stop().await;
    assert_eq!(blob_files(dir.path()), 1);
}

/// The queue does not poll: a lost wake-up would be a timeout here. The times are printed.
#[tokio::test(flavor = "multi_thread")]
async fn a_put_wakes_the_receiver_of_its_event() {
    let dir = tempfile::tempdir().unwrap();
    let mut server = Server::start(dir.path(), Options { inline_bytes: Some(16 << 10), ..options() }).await;
    let never = Duration::from_secs(3600);
    server.queue = sqlite::SqliteQueue::new(server.db.clone(), sqlite::Options { poll: never, ..Default::default() });
    let (mut puts, mut whole) = (Vec::new(), Vec::new());
    for _ in 0..40 {
        let queue = server.queue.clone();
        let waiting = tokio::spawn(async move {
            let delivery = queue.receive(1, Duration::from_secs(20)).await.unwrap().remove(0);
            let received = std::time::Instant::now();
            assert_eq!(queue.settle(delivery.receipt, Settlement::Ack).await.unwrap(), crate::queue::Settled::Done);
            received
        });
        let begun = std::time::Instant::now();
        server.put("in/a.mp4", &[7; 1024]).await;
        puts.push(begun.elapsed());
        whole.push(waiting.await.unwrap() - begun);
    }
    puts.sort_unstable();
    whole.sort_unstable();
    println!(
        "PUT of 1 KiB: p50 {:?}, p90 {:?}; to its delivery: p50 {:?}, p90 {:?}",
        puts[20], puts[36], whole[20], whole[36]
    );
    server.stop().await;
}

#[tokio::test]
async fn there_is_one_version_and_no_other_is_read_or_deleted_in_its_place() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path(), options()).await;
    server.put("a", b"kept").await;
    let missing = || (404, "NoSuchVersion".to_owned());
    let get = || server.client.get_object().bucket("in-bucket").key("a");
    assert_eq!(refusal(get().version_id("older").send().await), missing());
    assert!(get().version_id("null").send().await.is_ok());
    assert_eq!(
        refusal(server.client.head_object().bucket("in-bucket").key("a").version_id("older").send().await).0,
        404
    );
    let delete = server.client.delete_object().bucket("in-bucket").key("a").version_id("older").send().await;
    assert_eq!(refusal(delete), missing());
    let copy = server.client.copy_object().bucket("in-bucket").key("b").copy_source("in-bucket/a?versionId=older");
    assert_eq!(refusal(copy.send().await), missing());
    let named = ObjectIdentifier::builder().key("a").version_id("older").build().unwrap();
    let delete = Delete::builder().objects(named).build().unwrap();
    let answer = server.client.delete_objects().bucket("in-bucket").delete(delete).send().await.unwrap();
    assert_eq!((answer.deleted().len(), answer.errors()[0].code()), (0, Some("NoSuchVersion")));
    assert_eq!(server.get("a").await, b"kept");
    server.stop().await;
}

#[tokio::test]
async fn old_habits_of_clients_are_answered() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path(), options()).await;
    server.client.get_bucket_location().bucket("in-bucket").send().await.unwrap();
    assert_eq!(refusal(server.client.get_bucket_location().bucket("nowhere").send().await).0, 404);
    server.put("in/a", b"x").await;
    let ago = aws_sdk_s3::primitives::DateTime::from_secs(1_000_000_000);
    let get = server.client.get_object().bucket("in-bucket").key("in/a").if_unmodified_since(ago);
    assert_eq!(refusal(get.send().await), (412, "PreconditionFailed".into()));
    let itself = server.client.copy_object().bucket("in-bucket").key("in/a").copy_source("in-bucket/in/a");
    assert_eq!(refusal(itself.send().await), (400, "InvalidRequest".into()));
    assert_eq!(server.events().await.len(), 1, "a copy that changes nothing is no new object");
    server.stop().await;
}
