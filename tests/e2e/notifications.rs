//! A store's notification may carry several records.

use serde_json::{Value, json};

use crate::harness::media::Workshop;
use crate::harness::{Up, poll};

/// One record, as AWS writes it.
fn record(event: &str, key: &str, etag: &str, sequencer: &str) -> Value {
    json!({
        "eventSource": "aws:s3", "eventName": event, "responseElements": {"x-amz-request-id": format!("R{sequencer}")},
        "s3": {"bucket": {"name": "quiet"}, "object": {"key": key, "eTag": etag, "sequencer": sequencer}},
    })
}

#[test]
fn each_record_of_a_message_goes_its_own_way() {
    // A bucket of which only the test tells the worker.
    let up = Up::start(&[
        ("DARKROOM__SOURCES__1__BUCKET", "quiet"),
        ("DARKROOM__ROUTES__3__BUCKET", "quiet"),
        ("DARKROOM__ROUTES__3__SUFFIXES", r#"[".mp4"]"#),
        ("DARKROOM__ROUTES__3__HANDLER", "matting"),
        ("DARKROOM__ROUTES__3__OUTPUT", "s3://results/quiet/"),
    ]);
    let (quiet, shop) = (up.bucket("quiet"), Workshop::new());
    quiet.create();
    let good = quiet.put("a b/good+1.mp4", shop.man(4, "-an", "good.mp4"));
    let text = quiet.put("text.mp4", "no video at all");
    let (created, old) = ("ObjectCreated:Put", "0".repeat(32));
    let records = [
        record("ObjectCreated:CompleteMultipartUpload", "a+b/good%2B1.mp4", &good, "0A2"),
        record(created, "a+b/good%2B1.mp4", &old, "0A1"),
        record(created, "text.mp4", &text, "0A3"),
        record("ObjectRemoved:Delete", "gone.mp4", &old, "0A4"),
        record(created, "folder/", &old, "0A5"),
        record(created, "notes.txt", &old, "0A6"),
    ];
    let id = up.queues().send(&json!({"Records": records}).to_string());

    let done = up.event("s3://quiet/a b/good+1.mp4");
    assert_eq!(done["type"], "dev.darkroom.job.completed.v1", "{done:#}");
    assert_eq!(done["data"]["submission_id"], "R0A2-0A2");
    let failed = up.event("s3://quiet/text.mp4");
    assert_eq!(failed["data"]["error"]["code"], "input-not-media", "{failed:#}");
    // What failed for good keeps the message, with the job that is to be looked at; what is done is not done again.
    let letter = poll("the dead letter", || up.queues().dead_letters().into_iter().next());
    assert_eq!((letter.message_id.0, letter.receives), (id, 1));
    let reason = letter.reason.unwrap();
    assert_eq!(reason.detail.unwrap()["job_ids"], json!([failed["jobid"]]));
    assert_eq!(up.queues().seen().len(), 2, "nothing is told of the other records");
}
