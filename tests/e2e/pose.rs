//! A video dropped for poses comes back with bodies drawn over the people, and what is known of them beside it.

use crate::harness::Up;
use crate::harness::media::{self, Workshop};

#[test]
fn a_put_becomes_a_drawn_video_and_poses() {
    let (up, shop) = (Up::shared(), Workshop::new());
    let small = "-map 0:v -map 1:a -c:a aac -crf 12";
    let source = shop.man_and("-f lavfi -i sine=440:sample_rate=48000:duration=0.2", 8, small, "man.mp4");
    up.inbox().put("pose/man.mp4", source);

    let event = up.event("s3://inbox/pose/man.mp4");
    assert_eq!(event["type"], "dev.darkroom.job.completed.v1", "{event:#}");
    let data = &event["data"];
    assert_eq!((&data["metrics"]["frames"], &data["metrics"]["frames_fallback"]), (&8.into(), &0.into()), "{event:#}");
    let people = data["metrics"]["people"].as_u64().unwrap();
    assert!(people >= 1, "{event:#}");
    let output = |name: &str| {
        let outputs = data["outputs"].as_array().unwrap();
        let found = outputs.iter().find(|output| output["key"].as_str().unwrap().ends_with(name));
        found.unwrap_or_else(|| panic!("{name} in {outputs:#?}")).clone()
    };
    let overlay = output("/overlay.mp4");
    let made = up.results().get(overlay["key"].as_str().unwrap());
    assert_eq!(&media::sha256(&made), overlay["sha256"].as_str().unwrap());
    let (before, after) = (shop.path("man.mp4"), shop.write("overlay.mp4", &made));
    assert_eq!(media::times(&before), media::times(&after));
    assert_eq!(media::audio_packets(&before), media::audio_packets(&after), "the sound is copied");

    let poses = up.results().json(output("/poses.json")["key"].as_str().unwrap());
    assert_eq!(poses["schema"], "darkroom.poses.v1");
    assert_eq!(poses["frames"].as_array().unwrap().len(), 8);
    assert_eq!(poses["tracks"].as_array().unwrap().len() as u64, people);
    assert_eq!(output("/tracks/1.glb")["media_type"], "model/gltf-binary");
    let glb = up.results().get(output("/tracks/1.glb")["key"].as_str().unwrap());
    assert!(glb.starts_with(b"glTF"));
}

#[test]
fn a_video_without_people_comes_back_as_it_is() {
    let (up, shop) = (Up::shared(), Workshop::new());
    let source = shop.ffmpeg("-f lavfi -i testsrc=size=320x240:rate=10:duration=1 -pix_fmt yuv420p", "card.mp4");
    let sha256 = media::sha256(&source);
    up.inbox().put("pose/card.mp4", source);

    let event = up.event("s3://inbox/pose/card.mp4");
    assert_eq!(event["type"], "dev.darkroom.job.completed.v1", "{event:#}");
    let data = &event["data"];
    assert_eq!((&data["metrics"]["people"], &data["metrics"]["coverage"]), (&0.into(), &0.0.into()), "{event:#}");
    let outputs = data["outputs"].as_array().unwrap();
    let overlay = outputs.iter().find(|output| output["key"].as_str().unwrap().ends_with("/overlay.mp4")).unwrap();
    assert_eq!(overlay["sha256"], sha256.as_str());
}
