//! A video dropped in a bucket comes out as a transparent WebM.

use serde_json::Value;

use crate::harness::Up;
use crate::harness::media::{self, Workshop};

#[test]
fn a_put_becomes_a_transparent_video() {
    let (up, shop) = (Up::shared(), Workshop::new());
    // Every fifth frame is left out: times are not what a frame rate would give.
    let uneven = "-map 0:v -map 1:a -c:a libopus -vf select=not(eq(mod(n\\,5)\\,3)) -fps_mode passthrough";
    let source = shop.man_and("-f lavfi -i sine=440:sample_rate=48000:duration=0.4", 16, uneven, "man.mkv");
    up.inbox().put("matting/man.mkv", source);

    let event = up.event("s3://inbox/matting/man.mkv");
    assert_eq!(event["type"], "dev.darkroom.job.completed.v1", "{event:#}");
    let data = &event["data"];
    let manifest = up.results().json(data["manifest"]["key"].as_str().unwrap());
    assert_eq!(manifest["outputs"][0]["key"], data["outputs"][0]["key"]);
    assert_eq!(manifest["params"]["format"], "webm-alpha");
    assert_eq!(event["id"], format!("{}.completed", event["jobid"].as_str().unwrap()));

    let output = &manifest["outputs"][0];
    let made = up.results().get(output["key"].as_str().unwrap());
    assert_eq!((&output["bytes"], &output["sha256"]), (&made.len().into(), &media::sha256(&made).into()));
    let (before, after) = (shop.path("man.mkv"), shop.write("matte.webm", &made));

    let (times, made_times) = (media::times(&before), media::times(&after));
    assert_eq!((times.len(), made_times.len()), (16, 16), "frames in and out");
    assert_eq!(times.len() as u64, manifest["metrics"]["frames"].as_u64().unwrap());
    for (time, made) in times.iter().zip(&made_times) {
        assert!((time - made).abs() < 0.001, "{time} became {made}");
    }
    assert_eq!(media::audio_packets(&before), media::audio_packets(&after), "the sound is copied");
    assert_alpha(&after, times.len());
    assert_no_scratch(&up, &event);
}

fn assert_alpha(path: &std::path::Path, frames: usize) {
    assert_eq!(media::video_tag(path, "alpha_mode"), "1");
    let planes = media::alpha(path);
    assert_eq!(planes.len(), frames);
    for plane in planes {
        let share = |wanted: fn(&u8) -> bool| plane.iter().filter(|p| wanted(p)).count() as f64 / plane.len() as f64;
        // The man is small in the picture: most of it is clear, some of it is solid.
        assert!(
            share(|p| *p < 16) > 0.5 && share(|p| *p > 240) > 0.005,
            "{} {}",
            share(|p| *p < 16),
            share(|p| *p > 240)
        );
    }
}

/// Nothing of the run of a completed job is left on the scratch disk.
fn assert_no_scratch(up: &Up, event: &Value) {
    let run = event["data"]["run_id"].as_str().unwrap();
    assert_eq!(up.scratch_of(run), Vec::<std::path::PathBuf>::new());
}
