//! Files that are no videos: each ends in one failed event that says why, and one dead letter; the worker goes on.

use serde_json::Value;

use crate::harness::media::Workshop;
use crate::harness::{Up, poll};

/// Uploads a file; the failed event it must lead to.
#[track_caller]
fn refused(up: &Up, name: &str, content: impl Into<Vec<u8>>, code: &str) -> Value {
    up.inbox().put(&format!("matting/{name}"), content);
    let event = up.event(&format!("s3://inbox/matting/{name}"));
    assert_eq!(event["type"], "dev.darkroom.job.failed.v1", "{event:#}");
    assert_eq!(event["data"]["error"]["code"], code, "{event:#}");
    assert_given_up(up, &event);
    event
}

/// One dead letter, one event, no scratch.
#[track_caller]
fn assert_given_up(up: &Up, event: &Value) {
    let (job, error) = (&event["jobid"], &event["data"]["error"]);
    let letter = poll("the dead letter", || {
        let about = |reason: &darkroom_api::JobError| reason.detail.as_ref().is_some_and(|d| d["job_ids"][0] == *job);
        let mut letters = up.queues().dead_letters().into_iter();
        letters.find(|letter| letter.reason.as_ref().is_some_and(about))
    });
    let reason = letter.reason.unwrap();
    assert_eq!((reason.code.as_str(), reason.message.as_str()), (text(&error["code"]), text(&error["message"])));
    assert_eq!(letter.receives, 1, "given up at once");
    assert_eq!(up.events(text(&event["subject"])).len(), 1);
    let state = up.state();
    for key in state.keys(&format!("{}/end-", text(job))) {
        let run = state.json(&key)["run_id"].as_str().unwrap().to_owned();
        assert_eq!(up.scratch_of(&run), Vec::<std::path::PathBuf>::new());
    }
    assert!(up.results().keys(&format!("matting/{}/", text(job))).is_empty(), "no output of a failed job");
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_else(|| panic!("{value} is no text"))
}

/// The worker lives: a good file after bad ones becomes a result.
#[track_caller]
fn assert_alive(up: &Up, name: &str) {
    let shop = Workshop::new();
    up.inbox().put(&format!("matting/{name}"), shop.man(4, "-an", "good.mp4"));
    let event = up.event(&format!("s3://inbox/matting/{name}"));
    assert_eq!(event["type"], "dev.darkroom.job.completed.v1", "{event:#}");
}

#[test]
fn a_file_without_bytes() {
    let up = Up::shared();
    refused(&up, "empty.mp4", [], "input-empty");
}

#[test]
fn text_renamed() {
    let up = Up::shared();
    refused(&up, "text.mp4", "This is a shopping list, not a film.\n".repeat(50), "input-not-media");
    assert_alive(&up, "after-text.mp4");
}

#[test]
fn an_mp4_cut_before_its_index() {
    let (up, shop) = (Up::shared(), Workshop::new());
    let whole = shop.man(12, "-an", "whole.mp4");
    // Without `faststart` the index comes last.
    refused(&up, "no-moov.mp4", &whole[..whole.len() * 2 / 3], "input-truncated");
}

#[test]
fn sound_alone() {
    let (up, shop) = (Up::shared(), Workshop::new());
    let sound = shop.ffmpeg("-f lavfi -i sine=440:duration=1", "sound.m4a");
    refused(&up, "sound.m4a", sound, "input-no-video");
}

#[test]
fn a_picture() {
    let (up, shop) = (Up::shared(), Workshop::new());
    let picture = shop.ffmpeg("-f lavfi -i testsrc=size=320x240 -frames:v 1", "picture.png");
    refused(&up, "picture.png", picture, "input-wrong-kind");
}

#[test]
fn two_by_two_pixels() {
    let (up, shop) = (Up::shared(), Workshop::new());
    let tiny = shop.ffmpeg("-f lavfi -i testsrc=size=2x2:duration=0.2 -c:v ffv1", "tiny.mkv");
    let event = refused(&up, "tiny.mkv", tiny, "input-too-small");
    let message = text(&event["data"]["error"]["message"]);
    assert!(message.contains('2'), "{message}");
}

#[test]
fn damage_in_the_middle() {
    let (up, shop) = (Up::shared(), Workshop::new());
    let mut video = shop.man(40, "-an -f matroska", "whole.mkv");
    let (from, to) = (video.len() * 2 / 5, video.len() * 3 / 5);
    for (index, byte) in video[from..to].iter_mut().enumerate() {
        *byte = (index * 151 % 251) as u8;
    }
    up.inbox().put("matting/damaged.mkv", video);
    let event = up.event("s3://inbox/matting/damaged.mkv");
    // What decodes is finished, or the damage is named; nothing hangs.
    match text(&event["type"]) {
        "dev.darkroom.job.completed.v1" => {
            let frames = event["data"]["metrics"]["frames"].as_u64().unwrap();
            assert!((1..=40).contains(&frames), "{frames}");
        }
        "dev.darkroom.job.failed.v1" => assert_eq!(event["data"]["error"]["code"], "input-corrupt", "{event:#}"),
        other => panic!("{other}"),
    }
    assert_alive(&up, "after-damage.mp4");
}

#[test]
fn cut_in_the_middle_of_a_frame() {
    let (up, shop) = (Up::shared(), Workshop::new());
    let whole = shop.man(20, "-an", "whole.mkv");
    up.inbox().put("matting/cut.mkv", &whole[..whole.len() / 2]);
    let event = up.event("s3://inbox/matting/cut.mkv");
    assert_eq!(event["type"], "dev.darkroom.job.completed.v1", "what decodes is finished: {event:#}");
    let frames = event["data"]["metrics"]["frames"].as_u64().unwrap();
    assert!((1..20).contains(&frames), "{frames}");
}

#[test]
fn more_than_the_scratch_disk_holds() {
    let up = Up::start(&[("DARKROOM__WORKER__SCRATCH_MAX_BYTES", "1048576")]);
    let event = refused(&up, "huge.mp4", vec![0; (1 << 20) + 1], "input-too-large");
    let message = text(&event["data"]["error"]["message"]);
    assert!(message.contains("worker.scratch_max_bytes"), "{message}");
}

#[test]
fn more_than_the_limits_allow() {
    let up = Up::start(&[
        ("DARKROOM__LIMITS__MAX_BYTES", "50000"),
        ("DARKROOM__LIMITS__MAX_PIXELS", "20000"),
        ("DARKROOM__LIMITS__MAX_DURATION_SECS", "2"),
    ]);
    let shop = Workshop::new();
    let long = shop.ffmpeg("-f lavfi -i testsrc=size=64x64:rate=5:duration=4 -c:v libx264", "long.mp4");
    let large = shop.ffmpeg("-f lavfi -i testsrc=size=320x240:rate=5:duration=1 -c:v libx264", "large.mp4");
    for (name, content, says) in [
        ("heavy.mp4", vec![0; 50_001], "limits.max_bytes"),
        ("large.mp4", large, "pixels"),
        ("long.mp4", long, "max_duration_secs"),
    ] {
        let event = refused(&up, name, content, "input-too-large");
        let message = text(&event["data"]["error"]["message"]);
        assert!(message.contains(says), "{message}");
    }
    assert_eq!(up.scratch(), Vec::<std::path::PathBuf>::new());
}
