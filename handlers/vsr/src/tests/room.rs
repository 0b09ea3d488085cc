//! Whole pictures where there is room, memory on many cores, and convolutions of our own.

use super::*;
use crate::testing::with_threads;

#[test]
fn a_model_that_looks_at_the_whole_picture_gets_it_whole() {
    let (model, most, cancel) = ("test/whole", 96, CancelToken::default());
    let mut session = runtime().fresh_session(model, SETUP).unwrap();
    let seen = Net::inspect(&mut session, &cancel).unwrap().reach(&mut session, most, &cancel).unwrap();
    assert_eq!(seen, None, "it sees all that there is");
    let mut session = runtime().fresh_session("test/double", SETUP).unwrap();
    let near = Net::inspect(&mut session, &cancel).unwrap().reach(&mut session, most, &cancel).unwrap();
    assert!(near.is_some_and(|px| (2..8).contains(&px)), "a blur and a cubic: {near:?}");

    let bench = Bench::new();
    let picture = frame(&bench, "crop=640:480:600:200,scale=320:240:flags=area", 320, 240);
    let (alone, _) = enlarge(model, room(1, 1024), &picture, 1);
    let (two, tiles) = enlarge(model, room(2, 1024), &picture, 1);
    assert!(tiles == 1 && two == alone, "{tiles} tiles");
    // Larger than a tile, whole all the same.
    let large = Picture::new(3, 1024, 1024);
    assert_eq!(enlarge(model, room(1, 4096), &large, 1).1, 1);
}

#[test]
fn the_largest_task_is_planned_below_four_gigabytes_on_many_cores() {
    let clip = media("sports2d_demo.mp4");
    let mut probe = probe(clip.as_ref(), &[MediaKind::Video], &Limits::default()).unwrap();
    let video = probe.video.as_mut().unwrap();
    (video.width_px, video.height_px) = (3840, 2160);
    let probes = [(VIDEO.to_owned(), vec![probe])].into();
    let planned = |threads: usize, params: serde_json::Value| {
        runtime();
        Vsr::new(with_threads(threads)).plan(&parse_params(&params).unwrap(), &probes).unwrap().host_mib
    };
    for threads in [2, 8, 12, 64] {
        let mib = planned(threads, json!({ "task_type": "4K28K" }));
        // Measured on two cores, over 14 frames: 2842.
        assert!((2842..4096).contains(&mib), "{mib} MiB on {threads} cores");
    }
    let one = planned(12, json!({ "task_type": "4K28K", "sessions": 1 }));
    assert_eq!(one, planned(2, json!({ "task_type": "4K28K" })), "sessions that are asked for are counted");
}

#[test]
fn our_own_convolutions_make_the_same_picture() {
    let bench = Bench::new();
    let size = (322, 186);
    let picture = frame(&bench, "crop=644:372:600:200,scale=322:186:flags=area", size.0, size.1);
    let made = |own_convolutions| {
        let mut session = runtime().session_with(SPAN, Setup { own_convolutions, ..SETUP }).unwrap();
        let net = Net::inspect(&mut session, &CancelToken::default()).unwrap();
        let values = net.run(&mut session, 1, size, &picture.values, |_, values| values.to_vec()).unwrap();
        Picture { width: 2 * size.0, height: 2 * size.1, values }
    };
    let worst = most(&made(false), &made(true), 0);
    #[cfg(target_arch = "x86_64")]
    {
        let narrow = is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma");
        let has_own = narrow || is_x86_feature_detected!("avx512f");
        assert_eq!(worst > 0.0, has_own, "only the other way of computing is as exact as that");
    }
    assert!(worst < 1e-4, "{worst}");
}
