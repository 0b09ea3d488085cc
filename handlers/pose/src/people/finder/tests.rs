use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use darkroom_api::ErrorCode;
use darkroom_media::{Pixel, ReadOptions, Reader};

use super::*;
use crate::people::testing::{finder, frames, media};

/// Everybody who is in the picture, in each frame, under one name.
#[test]
fn two_people_on_a_walkway_are_two_tracks() {
    let frames = frames("pose2sim_MultiPerson_cam02.mp4", 45);
    let mut finder = finder(60.0);
    for frame in &frames {
        finder.push(frame).unwrap();
    }
    let (tracks, counts) = finder.finish();
    let seen: Vec<usize> = tracks.iter().map(|track| track.sightings.len()).collect();
    assert_eq!(seen.len(), 3, "{seen:?}");
    assert!(seen.iter().filter(|count| **count == 45).count() >= 2, "{seen:?}");
    assert!(counts.detections <= 5 && counts.cuts == 0, "{counts:?}");
}

/// Somebody who is only found at the second detection is seen in the frames before it.
#[test]
fn who_is_found_late_is_followed_back() {
    let frames = frames("pose2sim_SinglePerson_cam01.mp4", 40);
    let mut finder = finder(60.0);
    // Blind for the first look.
    let detectors = std::mem::take(&mut finder.detectors);
    finder.push(&frames[0]).unwrap();
    finder.detectors = detectors;
    for frame in &frames[1..] {
        finder.push(frame).unwrap();
    }
    let (tracks, counts) = finder.finish();
    assert_eq!(tracks.iter().map(|track| track.sightings.len()).max(), Some(40));
    assert!(counts.looks_back >= 29, "{counts:?}");
}

/// A model that looks at each person for as long as a person waits.
struct Slow(CancelToken, Arc<AtomicUsize>);

impl BodyModel for Slow {
    fn look(&mut self, _: &Frame, people: &[Person]) -> Result<Vec<Detail>> {
        self.0.cancel();
        self.1.fetch_add(people.len(), Ordering::Relaxed);
        Ok(people.iter().map(|one| Detail { landmarks: one.landmarks.clone(), smpl: None }).collect())
    }
}

#[test]
fn who_waits_no_longer_waits_for_one_person_and_not_for_a_frame() {
    let frames = frames("pose2sim_SinglePerson_cam01.mp4", 1);
    let (cancel, looks) = (CancelToken::default(), Arc::new(AtomicUsize::new(0)));
    let slow = Slow(cancel.clone(), Arc::clone(&looks));
    let mut finder = finder(60.0).with_body(Box::new(slow)).with_cancel(cancel);
    assert_eq!(finder.push(&frames[0]).unwrap_err().code, ErrorCode::Cancelled);
    assert_eq!(looks.load(Ordering::Relaxed), 1, "of two people");
}

/// Who is beyond those followed is counted, one by one.
#[test]
fn candidates_beyond_are_counted_and_those_found_first_stay() {
    let frames = frames("pose2sim_MultiPerson_cam02.mp4", 1);
    let mut all = finder(60.0);
    let people = all.push(&frames[0]).unwrap();
    let mut one = finder(60.0).with_most(1);
    assert_eq!(one.push(&frames[0]).unwrap(), 1);
    assert!(people == 3 && one.finish().1.uncounted >= 2, "{people}");
}

/// A somersault against the sun: for some frames he is not seen, for others he is half as long as before.
#[test]
fn who_turns_over_in_the_air_stays_the_same() {
    let mut reader = Reader::open(&media("sports2d_demo.mp4"), &ReadOptions::default()).unwrap();
    let mut finder = finder(30.0);
    let mut index = 0;
    while let Some(frame) = reader.next().unwrap().filter(|_| index < 195) {
        if index >= 80 {
            finder.push(&frame).unwrap();
        }
        index += 1;
    }
    let (tracks, _) = finder.finish();
    let told: Vec<_> = tracks.iter().map(|track| track.sightings.len()).collect();
    assert_eq!(told, [115, 115], "the jumper and the woman who walks by, in each frame");
}

/// The same frames again after a cut to black are another shot.
#[test]
fn names_end_at_cuts_and_nobody_is_in_black() {
    let frames = frames("pose2sim_SinglePerson_cam01.mp4", 4);
    let mut black = Frame::new(Pixel::YUV420P, frames[0].width(), frames[0].height()).unwrap();
    for (index, value) in [(0, 16), (1, 128), (2, 128)] {
        black.plane_mut(index).unwrap().data.fill(value);
    }
    let mut finder = finder(60.0);
    let mut counted = Vec::new();
    for frame in frames.iter().chain([&black, &black]).chain(&frames) {
        counted.push(finder.push(frame).unwrap());
    }
    // One on the walkway, and one in the background.
    assert_eq!(counted, [2, 2, 2, 2, 0, 0, 2, 2, 2, 2]);
    let (tracks, _) = finder.finish();
    let told: Vec<_> = tracks.iter().map(|track| (track.id, track.shot, track.sightings[0].frame)).collect();
    assert_eq!(told, [(1, 0, 0), (2, 0, 0), (3, 2, 6), (4, 2, 6)]);
}
