use darkroom_inference::Precision;
use darkroom_models::RegistryConfig;

use super::*;
use crate::people::testing::{frames, runtime};

#[test]
fn all_that_can_be_chosen_is_in_the_registry() {
    let registry = RegistryConfig::default().open().unwrap();
    for choice in CHOICES {
        assert!(choice.needs(AUTO).into_iter().all(|name| registry.knows(name)), "{choice:?}");
        assert_eq!(Choice::named(choice.name).unwrap(), choice);
    }
    assert_eq!(Choice::named("pose/hmr2").unwrap().needs("my/yolox"), ["my/yolox", FOLLOWER, "pose/hmr2"]);
    let error = Choice::named("openpose").unwrap_err();
    assert!(error.code == ErrorCode::ModelMissing && error.message.contains("`hmr2`"), "{}", error.message);
    assert!(!Choice::named("movenet").unwrap().has_space());
}

/// Flat points are enough to find people, and to follow them.
#[test]
fn movenet_follows_people() {
    let mut open = |name: &str| runtime().session(name, Precision::Full);
    let choice = Choice::named("movenet").unwrap();
    let mut finder = choice.finder(AUTO, Schedule::for_fps(60.0), &mut open).unwrap();
    for frame in frames("pose2sim_SinglePerson_cam01.mp4", 40) {
        finder.push(&frame).unwrap();
    }
    let (tracks, counts) = finder.finish();
    let seen: Vec<(usize, f32)> = tracks.iter().map(|track| (track.sightings.len(), track.score())).collect();
    assert!(seen.iter().any(|(count, _)| *count == 40), "{seen:?} {counts:?}");
}
