//! The notification that a new object makes, letter for letter as AWS S3 writes it.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use rusqlite::Transaction;
use s3s::S3Result;
use serde_json::{Value, json};
use uuid::Uuid;

use super::{Notification, rows::NewObject};
use crate::{
    db::{Error, now_ms},
    queue::{SendOptions, sqlite},
};

/// Of a key, `/` and these stay as they are; a space becomes `+`, all else `%XX`.
const KEY: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'*').remove(b'/').remove(b' ');

/// Enqueues the event of a new object wherever a rule wants it, in the transaction that makes it visible.
pub fn notify(tx: &Transaction<'_>, rules: &[Notification], how: &str, object: &NewObject<'_>) -> S3Result<()> {
    let wants = |rule: &&Notification| rule.bucket == object.bucket && object.key.starts_with(&rule.prefix);
    let mut queues: Vec<&str> = rules.iter().filter(wants).map(|rule| rule.queue.as_str()).collect();
    queues.sort_unstable();
    queues.dedup();
    if queues.is_empty() {
        return Ok(());
    }
    let body = record(how, object, &sequencer(tx)?).to_string();
    for queue in queues {
        sqlite::enqueue(tx, queue, &body, &SendOptions::default())?;
    }
    Ok(())
}

/// Grows with every event, even if the clock goes back.
fn sequencer(tx: &Transaction<'_>) -> Result<String, Error> {
    let sql = "UPDATE sequencer SET last = max(last + 1, ?1 * 1000) RETURNING last";
    let last: i64 = tx.prepare_cached(sql)?.query_row([now_ms()], |row| row.get(0))?;
    Ok(format!("{last:018X}"))
}

fn record(how: &str, object: &NewObject<'_>, sequencer: &str) -> Value {
    let size: u64 = object.segments.iter().map(|segment| segment.size).sum();
    let key = utf8_percent_encode(object.key, KEY).to_string().replace(' ', "+");
    json!({"Records": [{
        "eventVersion": "2.1",
        "eventSource": "aws:s3",
        "awsRegion": "us-east-1",
        "eventTime": jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%S.%3fZ").to_string(),
        "eventName": format!("ObjectCreated:{how}"),
        "userIdentity": {"principalId": "darkroom"},
        "requestParameters": {"sourceIPAddress": "127.0.0.1"},
        "responseElements": {"x-amz-request-id": Uuid::now_v7().simple().to_string(), "x-amz-id-2": "darkroom"},
        "s3": {
            "s3SchemaVersion": "1.0",
            "configurationId": "darkroom",
            "bucket": {
                "name": object.bucket,
                "ownerIdentity": {"principalId": "darkroom"},
                "arn": format!("arn:aws:s3:::{}", object.bucket),
            },
            "object": {"key": key, "size": size, "eTag": object.etag, "sequencer": sequencer},
        },
    }]})
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::embedded::{
        headers::Headers,
        rows::{Content, Segment},
    };

    #[test]
    fn a_record_reads_as_one_of_aws() {
        let segments = [5, 6].map(|size| Segment { content: Content::Blob(format!("{size}")), size });
        let object = NewObject {
            bucket: "uploads",
            key: "in/a b+c%é~(1)*.mp4",
            etag: "d41d8cd98f00b204e9800998ecf8427e-2",
            headers: &Headers::default(),
            segments: &segments,
        };
        let event = record("CompleteMultipartUpload", &object, "0055AED6DCD90281E5");
        let record = &event["Records"][0];
        assert_eq!(record["eventName"], "ObjectCreated:CompleteMultipartUpload");
        let object = &record["s3"]["object"];
        assert_eq!(object["key"], "in/a+b%2Bc%25%C3%A9%7E%281%29*.mp4");
        assert_eq!((&object["size"], &object["sequencer"]), (&json!(11), &json!("0055AED6DCD90281E5")));
        assert_eq!(object["eTag"], "d41d8cd98f00b204e9800998ecf8427e-2");
        let time = record["eventTime"].as_str().unwrap();
        assert!(time.len() == 24 && time.parse::<jiff::Timestamp>().is_ok(), "{time}");
    }
}
