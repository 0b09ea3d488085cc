//! The handler on real clips.

use std::collections::BTreeMap;
use std::sync::Arc;

use darkroom_api::{ErrorCode, Handler, MediaKind, Outputs, Part, Probes, erase};
use darkroom_media::probe::probe;
use darkroom_media::testing::{clip, tool};
use darkroom_models::onnx::{Dim, FLOAT, Tensor, Value as Tell};
use glam::{Quat, Vec3};
use serde_json::{Value, json};

use crate::body::Body;
use crate::output::{Poses, Summary};
use crate::people::testing::{constants, with};
use crate::testing::{Bench, handler, inputs};
use crate::view::BodyPose;
use crate::{Pose, VIDEO};

const QUICK: [&str; 4] = ["-c:v", "libx264", "-preset", "ultrafast"];

/// A man who balances, and a woman behind him: 270x480, 60 frames a second, with sound.
fn man(bench: &Bench, frames: u32, also: &[&str]) -> String {
    let (from, count) = (clip("pose2sim_SinglePerson_cam01.mp4"), frames.to_string());
    let input = ["-i", from.to_str().unwrap(), "-f", "lavfi", "-i", "sine=440:sample_rate=48000:duration=0.2"];
    let args = ["-frames:v", &count, "-vf", "scale=270:480:flags=area", "-c:a", "aac", "-crf", "12"];
    bench.make("man.mp4", &input, &[&args[..], &QUICK, also].concat())
}

/// A street without people.
fn wall(bench: &Bench, name: &str, args: &[&str]) -> String {
    bench.make(name, &["-f", "lavfi", "-i", "testsrc2=size=322x180:rate=25:duration=0.4"], args)
}

fn read<T: serde::de::DeserializeOwned>(bench: &Bench, name: &str) -> T {
    serde_json::from_slice(&std::fs::read(bench.path(&format!("out/{name}"))).unwrap()).unwrap()
}

fn names(outputs: &Outputs) -> Vec<&str> {
    outputs.files.iter().map(|file| file.name.as_str()).collect()
}

#[test]
fn people_are_found_fitted_drawn_and_written_down() {
    let bench = Bench::new();
    let source = man(&bench, 12, &[]);
    let outputs = bench.run(&source, json!({})).unwrap();
    assert_eq!(
        names(&outputs),
        [
            "overlay.mp4",
            "poses.json",
            "summary.json",
            "poses.npz",
            "tracks/1.glb",
            "tracks/1.bvh",
            "tracks/2.glb",
            "tracks/2.bvh"
        ]
    );
    assert_eq!(bench.times("man.mp4"), bench.times("out/overlay.mp4"));
    assert!(bench.shows("out/overlay.mp4", "stream=width,height").contains("width=270\nheight=480"));
    assert_eq!(packets(&bench, "man.mp4"), packets(&bench, "out/overlay.mp4"), "the sound is copied");

    let poses: Poses = read(&bench, "poses.json");
    assert_eq!((poses.frames.len(), poses.tracks.len(), poses.bones.len()), (12, 2, 53));
    let times: Vec<f64> = poses.frames.iter().map(|frame| frame.time_secs).collect();
    assert!(times.iter().zip(bench.times("man.mp4")).all(|(told, shown)| (told - shown).abs() < 1e-3), "{times:?}");
    assert!(poses.frames.iter().all(|frame| frame.people.len() == 2 && frame.people.iter().all(|p| p.rig.is_some())));
    let summary: Summary = read(&bench, "summary.json");
    assert_eq!((summary.people, summary.frames, summary.coverage, summary.frames_fallback), (2, 12, 1.0, 0));
    assert!(summary.jitter_mm < summary.jitter_raw_mm && summary.reprojection_error.unwrap() < 0.05, "{summary:?}");
    assert_eq!(outputs.metrics["people"], 2);

    // Drawn is where the man is; the corner far from him is as it was.
    let (before, after) = (pixels(&bench, "man.mp4"), pixels(&bench, "out/overlay.mp4"));
    let off = |x: usize, y: usize| before[y * 270 + x].abs_diff(after[y * 270 + x]);
    let mean = |xs: std::ops::Range<usize>, ys: std::ops::Range<usize>| {
        let all: Vec<f64> =
            ys.flat_map(|y| xs.clone().map(move |x| (x, y))).map(|(x, y)| f64::from(off(x, y))).collect();
        all.iter().sum::<f64>() / all.len() as f64
    };
    let person = &poses.frames[0].people[0].keypoints_17;
    let hips = [(person[11][0] + person[12][0]) / 2.0, (person[11][1] + person[12][1]) / 2.0].map(|v| v as usize);
    let body = mean(hips[0] - 5..hips[0] + 5, hips[1] - 15..hips[1] - 5);
    let corner = mean(0..60, 420..480);
    assert!(body > 15.0 && corner < 4.0, "{body} {corner}");
    let stages: Vec<String> = bench.progress().into_iter().map(|progress| progress.stage).collect();
    for stage in ["finding", "fitting", "drawing", "writing"] {
        assert!(stages.iter().any(|told| told == stage), "{stage}");
    }
    assert!(bench.progress().is_sorted_by(|a, b| a.percent <= b.percent), "{:?}", bench.progress());
}

/// Luma of the first frame.
fn pixels(bench: &Bench, file: &str) -> Vec<u8> {
    bench.pixels(file, "select=eq(n\\,0)", "gray")
}

fn packets(bench: &Bench, file: &str) -> Vec<u8> {
    tool("ffmpeg", &["-v", "error", "-i", &bench.path(file), "-map", "0:a", "-c", "copy", "-f", "framemd5", "-"])
        .split(|byte| *byte == b'\n')
        .filter_map(|line| line.rsplit(|byte| *byte == b' ').next())
        .flatten()
        .copied()
        .collect()
}

#[test]
fn no_video_is_made_where_none_is_wanted_and_a_part_is_a_part() {
    let bench = Bench::new();
    let source = man(&bench, 12, &[]);
    let params = json!({ "render": "none", "outputs": [], "start_secs": 0.05, "end_secs": 0.15, "max_people": 1 });
    let outputs = bench.run(&source, params).unwrap();
    assert_eq!(names(&outputs), ["poses.json", "summary.json"]);
    let poses: Poses = read(&bench, "poses.json");
    assert_eq!((poses.frames.len(), poses.tracks.len()), (6, 1));
    assert!(poses.frames[0].time_secs == 0.0 && poses.frames.iter().all(|frame| frame.people.len() == 1));
    assert!(outputs.warnings.iter().any(|why| why.contains("max_people")), "{:?}", outputs.warnings);
}

#[test]
fn where_nobody_is_the_file_itself_comes_back() {
    let bench = Bench::new();
    let source = wall(&bench, "wall.MOV", &QUICK);
    let outputs = bench.run(&source, json!({})).unwrap();
    assert_eq!(names(&outputs), ["overlay.mov", "poses.json", "summary.json"]);
    assert_eq!(outputs.files[0].media_type, "video/quicktime");
    assert_eq!(std::fs::read(&source).unwrap(), std::fs::read(bench.path("out/overlay.mov")).unwrap());
    assert_eq!(outputs.metrics["people"], 0);
    assert_eq!(read::<Summary>(&bench, "summary.json").people, 0);
    assert_eq!(read::<Poses>(&bench, "poses.json").frames.len(), 10);
    // A part of it has to be cut out.
    let outputs = bench.run(&source, json!({ "start_secs": 0.1 })).unwrap();
    assert_eq!(names(&outputs)[0], "overlay.mp4");
    assert_eq!(bench.times("out/overlay.mp4").len(), 7);
}

#[test]
fn a_picture_becomes_a_drawn_picture() {
    let bench = Bench::new();
    let from = clip("pose2sim_SinglePerson_cam01.mp4");
    let picture = bench.make("man.jpg", &["-i", from.to_str().unwrap()], &["-frames:v", "1", "-vf", "scale=271:481"]);
    for (params, width) in [(json!({ "render": "both" }), 271), (json!({ "render": "side-by-side" }), 272 + 271)] {
        let outputs = bench.run(&picture, params).unwrap();
        assert_eq!((names(&outputs)[0], outputs.files[0].media_type.as_str()), ("overlay.png", "image/png"));
        assert!(bench.shows("out/overlay.png", "stream=width").contains(&format!("width={width}\n")));
        assert_eq!(read::<Poses>(&bench, "poses.json").frames[0].people.len(), 2);
    }
}

#[test]
fn a_phones_video_is_upright_and_drawn_so() {
    let bench = Bench::new();
    let source = man(&bench, 4, &[]);
    // Lying, with a note that it is to be turned.
    let lying = bench.make("lying.mp4", &["-i", &source], &[&["-vf", "transpose=1", "-an"][..], &QUICK].concat());
    let phone = bench.make("phone.mp4", &["-i", &lying], &["-c", "copy", "-metadata:s:v:0", "rotate=90"]);
    assert!(bench.shows("phone.mp4", "stream=width,height").contains("width=480\nheight=270"));
    let outputs = bench.run(&phone, json!({ "render": "side-by-side", "codec": "vp9" })).unwrap();
    assert_eq!(names(&outputs)[0], "overlay.webm");
    assert!(bench.shows("out/overlay.webm", "stream=width,height").contains("width=540\nheight=480"));
    let poses: Poses = read(&bench, "poses.json");
    let man = &poses.frames[0].people[0].keypoints_17;
    assert!(man[0][1] < man[11][1] && man[11][1] < man[15][1], "the head is up: {man:?}");
}

#[test]
fn deep_full_range_and_odd_videos_are_drawn_on() {
    let bench = Bench::new();
    let from = clip("pose2sim_SinglePerson_cam01.mp4");
    let cases = [
        ("deep.mp4", "scale=270:480", ["-pix_fmt", "yuv420p10le", "-c:v", "libx265", "-x265-params", "log-level=none"]),
        ("full.mp4", "scale=270:480", ["-pix_fmt", "yuvj420p", "-c:v", "libx264", "-preset", "ultrafast"]),
        ("odd.mkv", "scale=271:481", ["-pix_fmt", "yuv444p", "-c:v", "libx264", "-preset", "ultrafast"]),
    ];
    for (name, filter, codec) in cases {
        let args = [&["-frames:v", "3", "-an", "-vf", filter][..], &codec].concat();
        let file = bench.make(name, &["-i", from.to_str().unwrap()], &args);
        let outputs = bench.run(&file, json!({ "outputs": [] })).unwrap();
        let shown = bench.shows("out/overlay.mp4", "stream=codec_name,pix_fmt,color_range,width");
        let wanted: &[&str] = match name {
            "deep.mp4" => &["hevc", "yuv420p10le", "width=270"],
            "full.mp4" => &["h264", "color_range=pc", "width=270"],
            _ => &["h264", "yuv444p", "width=271"],
        };
        assert!(wanted.iter().all(|part| shown.contains(part)), "{name}: {shown}");
        assert_eq!(outputs.metrics["people"], 2, "{name}");
    }
}

#[test]
fn a_run_that_is_cancelled_ends_so() {
    let bench = Bench::new();
    let source = man(&bench, 12, &[]);
    bench.cancel.cancel();
    assert_eq!(bench.run(&source, json!({})).unwrap_err().code, ErrorCode::Cancelled);
}

#[test]
fn plans_follow_size_and_length_and_what_is_drawn() {
    let file = clip("sports2d_demo.mp4");
    let probe = probe(&file, &[MediaKind::Video], &darkroom_api::Limits::default()).unwrap();
    let plan = |params: Value, frames: u64| {
        let mut probe = probe.clone();
        probe.video.as_mut().unwrap().frames = Some(frames);
        let probes: Probes = BTreeMap::from([(VIDEO.to_owned(), vec![probe])]);
        handler().plan(&params, &probes).unwrap()
    };
    let short = plan(json!({}), 230);
    assert!((300..600).contains(&short.host_mib), "{}", short.host_mib);
    assert!(plan(json!({}), 1 << 40).host_mib < 1000, "what is kept of people is bounded");
    assert!(plan(json!({ "render": "none" }), 230).scratch_bytes < short.scratch_bytes);
    let error = handler().check(&json!({ "model": "hmr9" })).unwrap_err();
    assert_eq!(error.code, ErrorCode::ModelMissing);
}

/// Of a file that nobody knows, room is kept for twice its size.
#[test]
fn plans_have_room_for_the_users_own_models() {
    let (dir, runtime) = with("mine/detector", constants(vec![], &[]));
    let pose = Pose::new(Arc::new(runtime));
    let file = clip("sports2d_demo.mp4");
    let probe = probe(&file, &[MediaKind::Video], &darkroom_api::Limits::default()).unwrap();
    let probes: Probes = BTreeMap::from([(VIDEO.to_owned(), vec![probe])]);
    let params = darkroom_api::parse_params(&json!({ "detector": "mine/detector" })).unwrap();
    let before = pose.plan(&params, &probes).unwrap().host_mib;
    std::fs::File::options().write(true).open(dir.path().join("own.onnx")).unwrap().set_len(1 << 29).unwrap();
    assert_eq!(pose.plan(&params, &probes).unwrap().host_mib, before + 1024);
}

#[test]
fn each_part_of_a_run_runs_alone() {
    let bench = Bench::new();
    let source = man(&bench, 5, &[]);
    let (handler, ctx) = (handler(), bench.context());
    for part in Part::ALL {
        let alone = handler.alone(part, &ctx, &inputs(&source), &json!({})).unwrap();
        assert_eq!((alone.work)().unwrap(), 5, "{part}");
    }
    let none = handler.alone(Part::Draw, &ctx, &inputs(&source), &json!({ "render": "none" }));
    assert_eq!(none.err().unwrap().code, ErrorCode::HandlerUnknown);
}

#[test]
fn a_model_of_flat_points_gives_skeletons_and_points() {
    let bench = Bench::new();
    let source = man(&bench, 8, &[]);
    let outputs = bench.run(&source, json!({ "model": "movenet", "outputs": ["npz", "glb", "bvh"] })).unwrap();
    assert_eq!(names(&outputs), ["overlay.mp4", "poses.json", "summary.json"]);
    assert!(outputs.warnings.iter().any(|warning| warning.contains("nothing in space")), "{:?}", outputs.warnings);
    let poses: Poses = read(&bench, "poses.json");
    let person = &poses.frames[4].people[0];
    assert!(person.world_33.is_none() && person.landmarks_33.is_none() && person.rig.is_none());
    assert!(person.keypoints_17.iter().filter(|point| point[2] > 0.3).count() >= 12, "{:?}", person.keypoints_17);
    let summary: Summary = read(&bench, "summary.json");
    assert_eq!((summary.frames_fallback, summary.tracks[0].frames), (0, 8));
}

/// A file of the user's that sees everybody stand upright with stretched arms.
#[test]
fn what_hmr2_tells_turns_the_body_and_is_written_as_amass_has_it() {
    let bench = Bench::new();
    let source = man(&bench, 6, &[]);
    let upright = [1.0, 0.0, 0.0, 0.0, -1.0, 0.0, 0.0, 0.0, -1.0];
    let rest: Vec<f32> = [1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0].repeat(23);
    let tensor = |name: &str, dims: &[usize], numbers: &[f32]| Tensor::new(name.into(), dims, numbers);
    let outputs = [
        tensor("a", &[1, 10], &[0.5; 10]),
        tensor("b", &[1, 23, 3, 3], &rest),
        tensor("c", &[1, 3], &[0.9, 0.0, 0.0]),
        tensor("d", &[1, 1, 3, 3], &upright),
    ];
    let side = |side: i64| Dim { value: Some(side), name: None };
    let picture = Tell::tensor("image", FLOAT, Some([1, 3, 256, 256].map(side).into()));
    let (_dir, runtime) = with("pose/hmr2", constants(vec![picture], &outputs));
    let body = Body::load(&runtime.registry().resolve("pose/body").unwrap().path).unwrap();
    let pose = erase(Pose::new(Arc::new(runtime)));
    let outputs =
        pose.run(&bench.context(), &inputs(&source), &json!({ "model": "hmr2", "outputs": ["npz"] })).unwrap();
    assert_eq!(names(&outputs)[1..], ["poses.json", "summary.json", "tracks/1.npz", "tracks/2.npz", "poses.npz"]);
    let poses: Poses = read(&bench, "poses.json");
    assert_eq!(poses.frames[3].camera.focal_px, 5000.0 / 256.0 * 480.0);
    let rig = poses.frames[3].people[0].rig.as_ref().unwrap();
    let rotations = rig.rotations.iter().map(|q| Quat::from_array(*q)).collect();
    let joints = body.joints(&BodyPose {
        rotations,
        translation: Vec3::from_array(rig.translation),
        scales: poses.tracks[0].scales.clone(),
    });
    let at = |name: &str| joints.heads[body.bone(name).unwrap()];
    assert!((at("hand_l") - at("lowerarm_l")).normalize().x > 0.99, "stretched to the side");
    assert!((at("head") - at("pelvis")).normalize().y < -0.95, "upright");
    let summary: Summary = read(&bench, "summary.json");
    assert_eq!(summary.frames_fallback, 0);
}
