//! Messages that ask for nothing that could be done: each ends in one failed event and one dead letter.

use serde_json::{Value, json};

use crate::harness::media::Workshop;
use crate::harness::{Up, poll};

/// Sends a message; the message of the error in the failed event that it must lead to.
#[track_caller]
fn refused(up: &Up, body: &str, code: &str) -> String {
    let id = up.queues().send(body);
    let event = up.event_of(&id);
    assert_eq!(event["type"], "dev.darkroom.job.failed.v1", "{event:#}");
    assert_eq!(event["data"]["error"]["code"], code, "{event:#}");
    let letter = poll("the dead letter", || up.queues().dead_letters().into_iter().find(|l| l.message_id.0 == id));
    assert_eq!(letter.reason.unwrap().code.as_str(), code);
    assert_eq!((letter.receives, letter.body.as_ref()), (1, body.as_bytes()));
    let about: Vec<_> = up.queues().seen().into_iter().filter(|e| e["data"]["submission_id"] == id.as_str()).collect();
    assert_eq!(about.len(), 1, "{about:#?}");
    event["data"]["error"]["message"].as_str().unwrap().to_owned()
}

/// A job message with some fields replaced or added.
fn job(changes: Value) -> String {
    let mut message = json!({
        "schema": "darkroom.job.v1", "handler": "matting", "input": "s3://inbox/given/text.mp4",
        "output": "s3://results/matting/",
    });
    message.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
    message.to_string()
}

/// A notification as AWS writes it.
fn notification(key: &str) -> String {
    json!({"Records": [{
        "eventSource": "aws:s3", "eventName": "ObjectCreated:Put",
        "s3": {"bucket": {"name": "inbox"}, "object": {"key": key, "size": 9, "eTag": "5d41402abc4b2a76b9719d911017c592"}},
    }]})
    .to_string()
}

#[test]
fn what_is_no_message() {
    let up = Up::shared();
    refused(&up, "this is not JSON", "message-invalid");
    refused(&up, "[]", "message-invalid");
    refused(&up, &format!("{}{}", "[".repeat(50_000), "]".repeat(50_000)), "message-invalid");
    refused(&up, &format!("{}{}", "{\"a\":".repeat(20_000), "}".repeat(20_000)), "message-invalid");
    let said = refused(&up, &job(json!({"reference": "r".repeat(300 << 10)})), "message-too-large");
    assert!(said.contains("262144"), "{said}");
    let said = refused(&up, &job(json!({"priority": 9})), "message-invalid");
    assert!(said.contains("priority"), "{said}");
}

#[test]
fn what_no_handler_takes() {
    let up = Up::shared();
    up.inbox().put("given/text.mp4", "not a film");
    let said = refused(&up, &job(json!({"handler": "colourise"})), "handler-unknown");
    assert!(said.contains("colourise") && said.contains("matting"), "{said}");
    for (params, says) in [
        (json!({"foramt": "png"}), ["foramt", "unknown"]),
        (json!({"quality": 101}), ["quality", "0 to 100"]),
        (json!({"downsample_ratio": 7}), ["downsample_ratio", "0.1 to 1"]),
        (json!({"format": "gif"}), ["format", "webm-alpha"]),
    ] {
        let said = refused(&up, &job(json!({"params": params})), "params-invalid");
        assert!(says.iter().all(|part| said.contains(part)), "{said}");
    }
}

#[test]
fn a_model_that_is_not_there() {
    let up = Up::shared();
    up.inbox().put("given/text.mp4", "not a film");
    let said = refused(&up, &job(json!({"params": {"model": "resnet50"}})), "model-missing");
    assert!(said.contains("resnet50") && said.contains("models.custom"), "{said}");
}

#[test]
fn places_out_of_bounds() {
    let up = Up::shared();
    up.inbox().put("given/text.mp4", "not a film");
    for input in ["s3://darkroom-state/x", "s3://elsewhere/x.mp4", "file:///etc/passwd", "http://127.0.0.1/x.mp4"] {
        refused(&up, &job(json!({"input": input})), "source-forbidden");
    }
    for output in ["s3://inbox/matting/", "s3://elsewhere/", "s3://results/../inbox/", "file:///tmp/"] {
        refused(&up, &job(json!({"output": output})), "destination-forbidden");
    }
}

#[test]
fn an_object_that_is_gone() {
    let up = Up::shared();
    let said = refused(&up, &job(json!({"input": "s3://inbox/matting/never-there.mp4"})), "input-not-found");
    assert!(said.contains("never-there.mp4"), "{said}");

    // Deleted between its notification and the fetch.
    up.queues().send(&notification("matting/deleted+since.mp4"));
    let event = up.event("s3://inbox/matting/deleted since.mp4");
    assert_eq!(event["data"]["error"]["code"], "input-not-found", "{event:#}");
}

#[test]
fn the_worker_outlives_them_all() {
    let (up, shop) = (Up::shared(), Workshop::new());
    refused(&up, "{", "message-invalid");
    up.inbox().put("given/good.mp4", shop.man(4, "-an", "good.mp4"));
    let message =
        job(json!({"input": "s3://inbox/given/good.mp4", "reference": "order 17", "params": {"format": "png"}}));
    let event = up.event_of(&up.queues().send(&message));
    assert_eq!(event["type"], "dev.darkroom.job.completed.v1", "{event:#}");
    assert_eq!(event["data"]["reference"], "order 17");
    // Four pictures, their times and a preview.
    assert_eq!(event["data"]["outputs_total"], 6, "{event:#}");
}
