//! A video dropped for super-resolution comes out larger, behind a URL that needs no keys.

use std::process::Command;

use crate::harness::Up;
use crate::harness::media::{self, Workshop};

#[test]
fn a_put_becomes_a_larger_video() {
    let (up, shop) = (Up::shared(), Workshop::new());
    let small = "-map 0:v -map 1:a -c:a aac -c:v libx264 -crf 12";
    let source = shop.man_and("-f lavfi -i sine=440:sample_rate=48000:duration=0.2", 6, small, "man.mp4");
    up.inbox().put("vsr/man.mp4", source);

    let event = up.event("s3://inbox/vsr/man.mp4");
    assert_eq!(event["type"], "dev.darkroom.job.completed.v1", "{event:#}");
    let data = &event["data"];
    let metrics = &data["metrics"];
    assert_eq!((&metrics["width_px"], &metrics["height_px"]), (&384.into(), &640.into()), "{event:#}");
    let output = &data["outputs"][0];
    assert_eq!(output["media_type"], "video/mp4");
    let made = up.results().get(output["key"].as_str().unwrap());
    assert_eq!(&media::sha256(&made), output["sha256"].as_str().unwrap());
    let (before, after) = (shop.path("man.mp4"), shop.write("upscaled.mp4", &made));
    assert_eq!(media::times(&before).len(), media::times(&after).len());
    assert_eq!(media::audio_packets(&before), media::audio_packets(&after), "the sound is copied");

    let url = output["url"].as_str().expect("a presigned URL");
    let got = Command::new("curl").args(["--fail", "--silent", url]).output().unwrap();
    assert_eq!(media::sha256(&got.stdout), media::sha256(&made));
}

#[test]
fn a_size_that_would_not_enlarge_is_refused_in_words() {
    let (up, shop) = (Up::shared(), Workshop::new());
    let large = shop.man(2, "-c:v libx264", "large.mp4");
    up.inbox().put("tasks/large.mp4", large);
    let job = serde_json::json!({
        "schema": "darkroom.job.v1", "handler": "vsr", "input": "s3://inbox/tasks/large.mp4", "output": "s3://results/vsr/",
        "params": {"size": "192x320"},
    });
    let id = up.queues().send(&job.to_string());
    let event = up.event_of(&id);
    assert_eq!(event["type"], "dev.darkroom.job.failed.v1", "{event:#}");
    assert_eq!(event["data"]["error"]["code"], "input-too-large", "{event:#}");
    assert!(event["data"]["error"]["message"].as_str().unwrap().contains("192x320"), "{event:#}");
}
