use aws_sdk_s3::types::{CompletedMultipartUpload, CompletedPart};

use super::*;

const PART: usize = 5 << 20;

/// Begins an upload of `in/m` and puts these parts; returns its id and the list that completes it.
async fn uploaded(server: &Server, parts: &[(i32, &[u8])]) -> (String, CompletedMultipartUpload) {
    let begin = server.client.create_multipart_upload().bucket("in-bucket").key("in/m").content_type("video/webm");
    let id = begin.send().await.unwrap().upload_id.unwrap();
    let mut listed = CompletedMultipartUpload::builder();
    for (number, body) in parts {
        let put = server.client.upload_part().bucket("in-bucket").key("in/m").upload_id(&id).part_number(*number);
        let etag = put.body(bytes(body)).send().await.unwrap().e_tag.unwrap();
        listed = listed.parts(CompletedPart::builder().part_number(*number).e_tag(etag).build());
    }
    (id, listed.build())
}

macro_rules! complete {
    ($server:expr, $id:expr, $listed:expr) => {
        $server
            .client
            .complete_multipart_upload()
            .bucket("in-bucket")
            .key("in/m")
            .upload_id(&$id)
            .multipart_upload($listed.clone())
    };
}

#[tokio::test]
async fn parts_become_one_object_and_completing_again_answers_the_same() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path(), options()).await;
    let body = noise(PART * 2 + 3);
    let (id, listed) =
        uploaded(&server, &[(1, &body[..PART]), (3, &body[PART..2 * PART]), (7, &body[2 * PART..])]).await;
    let again = server.client.upload_part().bucket("in-bucket").key("in/m").upload_id(&id).part_number(9);
    again.body(bytes(b"left out")).send().await.unwrap();
    let parts = server.client.list_parts().bucket("in-bucket").key("in/m").upload_id(&id);
    let page = parts.clone().max_parts(2).send().await.unwrap();
    assert_eq!(
        (page.parts().len(), page.is_truncated, page.next_part_number_marker.as_deref()),
        (2, Some(true), Some("3"))
    );
    let uploads = server.client.list_multipart_uploads().bucket("in-bucket").prefix("in/").send().await.unwrap();
    assert_eq!(uploads.uploads()[0].upload_id(), Some(id.as_str()));
    assert!(server.events().await.is_empty());

    let done = complete!(server, id, listed).if_none_match("*").send().await.unwrap();
    assert!(done.e_tag().unwrap().ends_with("-3\""), "{done:?}");
    let same = complete!(server, id, listed).if_none_match("*").send().await.unwrap();
    assert_eq!(done.e_tag, same.e_tag);
    let events = server.events().await;
    assert_eq!((events.len(), &events[0]["eventName"]), (1, &Value::from("ObjectCreated:CompleteMultipartUpload")));
    assert_eq!(events[0]["s3"]["object"]["size"], body.len());

    assert!(server.get("in/m").await == body);
    let ranged = server.client.get_object().bucket("in-bucket").key("in/m");
    let ranged = ranged.range(format!("bytes={}-{}", PART - 2, 2 * PART)).send().await.unwrap();
    assert_eq!(ranged.content_type.as_deref(), Some("video/webm"));
    assert!(ranged.body.collect().await.unwrap().to_vec() == body[PART - 2..=2 * PART]);
    assert_eq!(blob_files(dir.path()), 3, "the part left out is gone");
    assert_eq!(refusal(parts.send().await), (404, "NoSuchUpload".into()));
    let uploads = server.client.list_multipart_uploads().bucket("in-bucket").send().await.unwrap();
    assert!(uploads.uploads().is_empty());
    server.put("in/m", b"small").await;
    assert_eq!(blob_files(dir.path()), 1);
    server.stop().await;
}

#[tokio::test]
async fn a_wrong_list_is_refused_and_the_upload_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path(), options()).await;
    let (id, listed) = uploaded(&server, &[(1, b"short"), (2, b"end")]).await;
    assert_eq!(refusal(complete!(server, id, listed).send().await), (400, "EntityTooSmall".into()));
    let list = |parts: &[CompletedPart]| CompletedMultipartUpload::builder().set_parts(Some(parts.to_vec())).build();
    let parts = listed.parts();
    let reversed = list(&[parts[1].clone(), parts[0].clone()]);
    assert_eq!(refusal(complete!(server, id, reversed).send().await), (400, "InvalidPartOrder".into()));
    let other = list(&[CompletedPart::builder().part_number(1).e_tag("\"0\"").build()]);
    assert_eq!(refusal(complete!(server, id, other).send().await), (400, "InvalidPart".into()));
    server.put("in/m", b"first").await;
    let only = list(&parts[..1]);
    assert_eq!(
        refusal(complete!(server, id, only).if_none_match("*").send().await),
        (412, "PreconditionFailed".into())
    );
    let (replaced, _) = uploaded(&server, &[(1, b"a"), (1, b"b")]).await;
    complete!(server, id, only).send().await.unwrap();
    assert_eq!(server.get("in/m").await, b"short");
    assert_eq!(blob_files(dir.path()), 2, "the object, and the one part of the upload in progress");
    let abort = || server.client.abort_multipart_upload().bucket("in-bucket").key("in/m").upload_id(&replaced);
    abort().send().await.unwrap();
    assert_eq!(refusal(abort().send().await), (404, "NoSuchUpload".into()));
    assert_eq!(refusal(complete!(server, replaced, only).send().await), (404, "NoSuchUpload".into()));
    assert_eq!(blob_files(dir.path()), 1);
    server.stop().await;
}

#[tokio::test]
async fn a_range_of_an_object_becomes_a_part_and_parts_are_read_by_number() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path(), options()).await;
    let body = noise(PART + 100);
    server.put("in/source", &body).await;
    let begin = server.client.create_multipart_upload().bucket("in-bucket").key("in/m").send().await.unwrap();
    let id = begin.upload_id.unwrap();
    let copy = |number: i32, range: &str| {
        let copy = server.client.upload_part_copy().bucket("in-bucket").key("in/m").upload_id(&id).part_number(number);
        copy.copy_source("in-bucket/in%2Fsource").copy_source_range(range)
    };
    assert_eq!(refusal(copy(1, "bytes=9-3").send().await), (400, "InvalidArgument".into()));
    assert_eq!(refusal(copy(1, "bytes=0-9").copy_source_if_match("\"other\"").send().await).0, 412);
    let mut listed = CompletedMultipartUpload::builder();
    for (number, range) in [(1, format!("bytes=0-{}", PART - 1)), (2, format!("bytes={PART}-{}", PART + 99))] {
        let copied = copy(number, &range).send().await.unwrap().copy_part_result.unwrap();
        listed = listed.parts(CompletedPart::builder().part_number(number).e_tag(copied.e_tag.unwrap()).build());
    }
    let listed = listed.build();
    complete!(server, id, listed).send().await.unwrap();
    assert!(server.get("in/m").await == body);

    let get = || server.client.get_object().bucket("in-bucket").key("in/m");
    let second = get().part_number(2).send().await.unwrap();
    assert_eq!((second.parts_count, second.content_length), (Some(2), Some(100)));
    assert_eq!(second.content_range, Some(format!("bytes {PART}-{}/{}", PART + 99, body.len())));
    assert_eq!(second.body.collect().await.unwrap().to_vec(), body[PART..]);
    let head = server.client.head_object().bucket("in-bucket").key("in/m").part_number(1).send().await.unwrap();
    assert_eq!((head.parts_count, head.content_length), (Some(2), Some(PART as i64)));
    assert_eq!(refusal(get().part_number(3).send().await), (400, "InvalidPart".into()));
    server.stop().await;
}

#[tokio::test]
async fn an_upload_that_nobody_finished_ends_when_another_begins() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path(), options()).await;
    let (id, listed) = uploaded(&server, &[(1, b"left behind")]).await;
    let age = server.db.write(|tx| -> Result<(), db::Error> {
        tx.execute("UPDATE uploads SET initiated_at = initiated_at - 8 * 24 * 3600 * 1000", [])?;
        Ok(())
    });
    age.await.unwrap();
    uploaded(&server, &[(1, b"new")]).await;
    assert_eq!(refusal(complete!(server, id, listed).send().await), (404, "NoSuchUpload".into()));
    assert_eq!(blob_files(dir.path()), 1);
    server.stop().await;
}
