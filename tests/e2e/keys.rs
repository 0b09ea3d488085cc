//! Keys that a path, a URL or a form would spoil.

use serde_json::json;

use crate::harness::media::Workshop;
use crate::harness::{Up, poll};

#[test]
fn an_upload_is_found_under_its_own_name() {
    let up = Up::shared();
    let long = format!("matting/{}é", "k".repeat(1014));
    assert_eq!(long.len(), 1024);
    let keys = [
        "a b.mp4",
        "a+b.mp4",
        "100%.mp4",
        "%2B%20.mp4",
        "é映像🎬.mp4",
        "../../etc/passwd",
        "./x",
        "/lead",
        "a?b=c&d#e",
    ];
    let keys: Vec<String> = keys.iter().map(|key| format!("matting/{key}")).chain([long]).collect();
    for key in &keys {
        // As text they fail fast, and the event tells which object was read: its content is the key.
        up.inbox().put(key, key.as_bytes());
    }
    for key in &keys {
        let event = up.event(&format!("s3://inbox/{key}"));
        assert_eq!(event["data"]["error"]["code"], "input-not-media", "{event:#}");
        assert_eq!(event["data"]["input"], format!("s3://inbox/{key}"));
    }
    assert!(!up.dir().join("etc").exists());
}

#[test]
fn a_leading_slash_in_a_message() {
    let up = Up::shared();
    up.inbox().put("/lead.mp4", "text");
    let message = json!({
        "schema": "darkroom.job.v1", "handler": "matting", "input": "s3://inbox//lead.mp4", "output": "s3://results/m/",
    });
    let event = up.event_of(&up.queues().send(&message.to_string()));
    assert_eq!(event["subject"], "s3://inbox//lead.mp4");
    assert_eq!(event["data"]["error"]["code"], "input-not-media", "{event:#}");
}

#[test]
fn a_good_video_under_an_odd_name() {
    let (up, shop) = (Up::shared(), Workshop::new());
    let key = "matting/fête 1+1%/映像 (final).mp4";
    up.inbox().put(key, shop.man(4, "-an", "good.mp4"));
    let event = up.event(&format!("s3://inbox/{key}"));
    assert_eq!(event["type"], "dev.darkroom.job.completed.v1", "{event:#}");
    let manifest = up.results().json(event["data"]["manifest"]["key"].as_str().unwrap());
    assert_eq!(manifest["inputs"][0]["object"]["key"], key);
}

#[test]
fn folders_and_what_no_route_takes_are_passed_over() {
    let up = Up::start(&[]);
    up.inbox().put("matting/folder/", "");
    up.inbox().put("elsewhere/x.mp4", "text");
    poll("the queue to be empty", || {
        let depth = up.queues().depth();
        (depth.visible + depth.in_flight + depth.delayed == 0).then_some(())
    });
    assert_eq!(up.queues().depth().dead, 0);
    assert_eq!(up.queues().seen(), Vec::<serde_json::Value>::new());
    assert_eq!(up.state().keys(""), Vec::<String>::new());
}
