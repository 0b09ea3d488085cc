use super::*;

async fn filled(dir: &Path, keys: &[&str]) -> Server {
    let server = Server::start(dir, options()).await;
    for key in keys {
        server.put(key, b"x").await;
    }
    server
}

/// All pages: keys, then prefixes, in the order listed.
async fn pages(
    server: &Server,
    prefix: &str,
    delimiter: Option<&str>,
    max_keys: i32,
) -> (Vec<String>, Vec<String>, usize) {
    let (mut keys, mut prefixes, mut count, mut token) = (Vec::new(), Vec::new(), 0, None);
    loop {
        let list = server.client.list_objects_v2().bucket("in-bucket").prefix(prefix).max_keys(max_keys);
        let page = list.set_delimiter(delimiter.map(str::to_owned)).set_continuation_token(token).send().await.unwrap();
        count += 1;
        assert_eq!(page.key_count.unwrap() as usize, page.contents().len() + page.common_prefixes().len());
        assert!(page.key_count.unwrap() <= max_keys);
        keys.extend(page.contents().iter().map(|object| object.key().unwrap().to_owned()));
        prefixes.extend(page.common_prefixes().iter().map(|prefix| prefix.prefix().unwrap().to_owned()));
        token = page.next_continuation_token;
        assert_eq!(page.is_truncated, Some(token.is_some()));
        if token.is_none() {
            return (keys, prefixes, count);
        }
    }
}

const TREE: [&str; 9] = ["a", "a/", "a/1", "a/2/x", "a/2/y", "b", "c/1", "c/2", "é/ä"];

#[tokio::test]
async fn keys_come_in_order_page_by_page_and_roll_up() {
    let dir = tempfile::tempdir().unwrap();
    let server = filled(dir.path(), &TREE).await;
    for max_keys in [1, 2, 3, 1000] {
        let (keys, prefixes, count) = pages(&server, "", None, max_keys).await;
        assert_eq!((keys, prefixes.len()), (TREE.map(str::to_owned).to_vec(), 0));
        assert_eq!(count, TREE.len().div_ceil(max_keys as usize));
        let (keys, prefixes, _) = pages(&server, "", Some("/"), max_keys).await;
        assert_eq!((keys, prefixes), (vec!["a".into(), "b".into()], vec!["a/".into(), "c/".into(), "é/".into()]));
        let (keys, prefixes, _) = pages(&server, "a/", Some("/"), max_keys).await;
        assert_eq!((keys, prefixes), (vec!["a/".into(), "a/1".into()], vec!["a/2/".into()]));
        let (keys, ..) = pages(&server, "c", None, max_keys).await;
        assert_eq!(keys, ["c/1", "c/2"]);
    }
    let after = server.client.list_objects_v2().bucket("in-bucket").start_after("b").send().await.unwrap();
    assert_eq!(after.contents().len(), 3);
    let none = server.client.list_objects_v2().bucket("in-bucket").max_keys(0).send().await.unwrap();
    assert_eq!((none.contents().len(), none.is_truncated), (0, Some(false)));
    let bad = server.client.list_objects_v2().bucket("in-bucket").continuation_token("!").send().await;
    assert_eq!(refusal(bad), (400, "InvalidArgument".into()));
    assert_eq!(refusal(server.client.list_objects_v2().bucket("nowhere").send().await), (404, "NoSuchBucket".into()));
    server.stop().await;
}

#[tokio::test]
async fn the_first_version_pages_by_marker_and_keys_may_be_url_encoded() {
    let dir = tempfile::tempdir().unwrap();
    let server = filled(dir.path(), &TREE).await;
    let (mut listed, mut marker) = (Vec::new(), None);
    loop {
        let list = server.client.list_objects().bucket("in-bucket").delimiter("/").max_keys(1).set_marker(marker);
        let page = list.send().await.unwrap();
        listed.extend(page.contents().iter().map(|object| object.key().unwrap().to_owned()));
        listed.extend(page.common_prefixes().iter().map(|prefix| prefix.prefix().unwrap().to_owned()));
        marker = page.next_marker;
        if marker.is_none() {
            break;
        }
    }
    assert_eq!(listed, ["a", "a/", "b", "c/", "é/"]);
    let list = server.client.list_objects_v2().bucket("in-bucket").prefix("é");
    let page = list.encoding_type(aws_sdk_s3::types::EncodingType::Url).send().await.unwrap();
    assert_eq!(page.contents()[0].key(), Some("%C3%A9/%C3%A4"));
    server.stop().await;
}

#[tokio::test]
async fn buckets_are_made_listed_and_removed_when_empty() {
    let dir = tempfile::tempdir().unwrap();
    let server = filled(dir.path(), &["a"]).await;
    let client = &server.client;
    client.create_bucket().bucket("third").send().await.unwrap();
    assert_eq!(refusal(client.create_bucket().bucket("third").send().await), (409, "BucketAlreadyOwnedByYou".into()));
    let names = client.list_buckets().send().await.unwrap();
    assert_eq!(
        names.buckets().iter().map(|b| b.name().unwrap()).collect::<Vec<_>>(),
        ["in-bucket", "out-bucket", "third"]
    );
    assert_eq!(refusal(client.delete_bucket().bucket("in-bucket").send().await), (409, "BucketNotEmpty".into()));
    client.delete_bucket().bucket("third").send().await.unwrap();
    assert_eq!(refusal(client.head_bucket().bucket("third").send().await).0, 404);
    client.head_bucket().bucket("in-bucket").send().await.unwrap();
    server.stop().await;
}
