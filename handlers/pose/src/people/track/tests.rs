use glam::Vec3;

use super::*;

/// Somebody of that height whose hips are at a point, one foot before the other.
fn person(x: f32, y: f32, height: f32) -> Seen {
    let place = |index: usize| {
        #[allow(clippy::cast_precision_loss, reason = "33 points")]
        let down = index as f32 / 32.0 - 0.5;
        let side = if index.is_multiple_of(2) { 0.12 } else { -0.12 };
        Vec2::new(x + height * side, y + height * down)
    };
    let landmarks =
        Landmarks { image: std::array::from_fn(place), visibility: [0.9; 33], world: [Vec3::ZERO; 33], score: 0.95 };
    Seen { landmarks, led_by: None }
}

/// Where each track of that id is in a frame.
fn places(tracks: &[Track], frame: usize) -> Vec<(u32, f32)> {
    let at = |track: &Track| {
        let sighting = track.sightings.iter().find(|sighting| sighting.frame == frame)?;
        Some((track.id, sighting.bounds.centre().x))
    };
    tracks.iter().filter_map(at).collect()
}

#[allow(clippy::cast_precision_loss, reason = "small numbers")]
fn at(start: f32, speed: f32, frame: usize) -> f32 {
    start + speed * frame as f32
}

#[test]
fn people_who_cross_keep_their_names() {
    let mut tracker = Tracker::new(30);
    for frame in 0..60 {
        // They pass each other at frame 25, one a little nearer to the camera; for three frames only that one is seen.
        let mut seen = vec![person(at(400.0, -8.0, frame), 220.0, 230.0)];
        if !(24..27).contains(&frame) {
            seen.insert(0, person(at(0.0, 8.0, frame), 200.0, 200.0));
        }
        tracker.step(frame, &seen);
    }
    let tracks = tracker.finish();
    assert_eq!(tracks.len(), 2);
    assert_eq!(places(&tracks, 0), [(1, 0.0), (2, 400.0)]);
    assert_eq!(places(&tracks, 59), [(1, 472.0), (2, -72.0)]);
    assert_eq!(tracks.iter().map(|track| track.sightings.len()).collect::<Vec<_>>(), [57, 60]);
}

#[test]
fn who_comes_back_soon_is_the_same_and_later_another() {
    for (gap, tracks) in [(20, 1), (45, 2)] {
        let mut tracker = Tracker::new(30);
        for frame in 0..100 {
            let seen =
                if (30..30 + gap).contains(&frame) { vec![] } else { vec![person(at(50.0, 1.0, frame), 100.0, 150.0)] };
            tracker.step(frame, &seen);
        }
        assert_eq!(tracker.finish().len(), tracks, "{gap}");
    }
    // Somebody of another size, or elsewhere, is somebody else.
    for (x, height) in [(80.0, 300.0), (500.0, 150.0)] {
        let mut tracker = Tracker::new(30);
        for frame in 0..60 {
            let seen = match frame {
                0..30 => vec![person(50.0, 100.0, 150.0)],
                30..40 => vec![],
                _ => vec![person(x, 100.0, height)],
            };
            tracker.step(frame, &seen);
        }
        assert_eq!(tracker.finish().len(), 2, "{x} {height}");
    }
}

/// What is counted while frames come is what there is in the end: with gaps, and with what was found by looking back.
#[test]
fn poses_are_counted_with_gaps_and_looks_back() {
    let (mut tracker, mut told) = (Tracker::new(30), 0);
    for frame in 0..60 {
        let mut seen = vec![];
        if !(20..35).contains(&frame) {
            seen.push(person(100.0, 100.0, 150.0));
        }
        if frame >= 40 {
            seen.push(person(700.0, 100.0, 150.0));
        }
        let tracks = tracker.step(frame, &seen);
        // Followed back: half of the first one's gap, and the second for twelve frames.
        let back = match frame {
            35 => 28..35,
            40 => 28..40,
            _ => continue,
        };
        let (track, seen) = (tracks[tracks.len() - 1], &seen[seen.len() - 1].landmarks);
        let sighting =
            |frame| Sighting { frame, bounds: box_of(seen), landmarks: seen.clone(), smpl: None, filled: false };
        tracker.add_before(track, back.rev().map(sighting).collect());
        told = tracker.poses();
    }
    assert_eq!(told, 41 + 13);
    let poses = tracker.poses();
    let mut tracks = tracker.finish();
    tracks.iter_mut().for_each(|track| crate::people::fill_gaps(track, 30));
    assert_eq!(tracks.iter().map(|track| track.sightings.len()).collect::<Vec<_>>(), [60, 32]);
    assert_eq!(poses, 92);
}

#[test]
fn a_cut_ends_all_tracks_and_flickers_are_none() {
    let mut tracker = Tracker::new(30);
    for frame in 0..20 {
        if frame == 10 {
            tracker.cut(frame);
        }
        let mut seen = vec![person(100.0, 100.0, 150.0)];
        if frame == 4 || frame == 5 {
            seen.push(person(700.0, 100.0, 150.0));
        }
        tracker.step(frame, &seen);
    }
    let tracks = tracker.finish();
    assert_eq!(tracks.iter().map(|track| (track.id, track.shot)).collect::<Vec<_>>(), [(1, 0), (2, 1)]);
    // A still picture has no three frames.
    let mut still = Tracker::new(30);
    still.step(0, &[person(100.0, 100.0, 150.0)]);
    assert_eq!(still.finish().len(), 1);
}

#[test]
fn forty_people_in_rows_keep_their_names() {
    let mut tracker = Tracker::new(30);
    for frame in 0..30 {
        let mut seen: Vec<Seen> = (0..40u8)
            .map(|i| person(at(60.0 * f32::from(i % 10), 2.0, frame), 150.0 * f32::from(i / 10), 120.0))
            .collect();
        // In another order each time.
        seen.rotate_left(frame % 40);
        tracker.step(frame, &seen);
    }
    let tracks = tracker.finish();
    assert_eq!(tracks.len(), 40);
    for track in &tracks {
        let steps = track.sightings.windows(2).map(|pair| pair[1].bounds.centre() - pair[0].bounds.centre());
        assert!(steps.into_iter().all(|step| (step - Vec2::new(2.0, 0.0)).length() < 0.1));
    }
}
