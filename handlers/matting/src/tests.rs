//! The handler on real files.

use darkroom_api::{ErrorCode, erase, parse_params};
use darkroom_media::testing::tool;
use serde_json::{Value, json};

use super::*;
use crate::testing::{Bench, RVM, fixtures, media, runtime};

const SIZE: (usize, usize) = (144, 240);
const PIXELS: usize = SIZE.0 * SIZE.1;
const LIBVPX: &[&str] = &["-c:v", "libvpx-vp9"];

fn names(outputs: &Outputs) -> Vec<&str> {
    outputs.files.iter().map(|file| file.name.as_str()).collect()
}

#[test]
fn a_gif_that_moves_is_a_video() {
    let bench = Bench::new();
    let clip = bench.person(6);
    let half = "setpts=N/10/TB,format=rgba,geq=r='r(X,Y)':g='g(X,Y)':b='b(X,Y)':a='255*gte(X,40)'";
    let palette = format!("{half},split[a][b];[a]palettegen[p];[b][p]paletteuse");
    let gif = bench.make("person.gif", &["-i", &clip], &["-filter_complex", &palette, "-vsync", "vfr"]);
    bench.run(&[(VIDEO, &gif)], json!({})).unwrap();
    assert_eq!(bench.times("out/matte.webm"), bench.times("person.gif"));
    let alpha = bench.decoded("out/matte.webm", LIBVPX, "alphaextract", "gray");
    assert_eq!(alpha.len(), 6 * PIXELS);
    let inside = alpha[4 * PIXELS..5 * PIXELS].iter().filter(|a| **a > 200).count();
    assert!((PIXELS / 50..PIXELS / 2).contains(&inside), "{inside} of {PIXELS} pixels are the person's");
}

#[test]
fn a_video_becomes_a_webm_with_an_alpha_plane() {
    let bench = Bench::new();
    let clip = bench.person(20);
    let outputs = bench.run(&[(VIDEO, &clip)], json!({"num_gpus": 2})).unwrap();
    assert_eq!(names(&outputs), ["matte.webm", "preview.png"]);
    assert_eq!(outputs.files[0].media_type, "video/webm");

    let webm = bench.path("out/matte.webm");
    let tags = tool("ffprobe", &["-v", "error", "-show_entries", "stream_tags=alpha_mode", "-of", "csv=p=0", &webm]);
    assert_eq!(String::from_utf8(tags).unwrap().trim(), "1");
    let (before, after) = (bench.times("person.mp4"), bench.times("out/matte.webm"));
    assert_eq!((before.len(), after.len()), (20, 20), "frames in, frames out");
    assert!(before.iter().zip(&after).all(|(a, b)| (a - b).abs() <= 0.0005), "{before:?} {after:?}");

    let alpha = bench.decoded("out/matte.webm", LIBVPX, "alphaextract", "gray");
    assert_eq!(alpha.len(), 20 * PIXELS);
    let last = &alpha[19 * PIXELS..];
    let share = |of: fn(&&u8) -> bool| last.iter().filter(of).count() as f64 / PIXELS as f64;
    let (clear, solid) = (share(|a| **a < 10), share(|a| **a > 245));
    assert!(clear > 0.5 && solid > 0.1, "{clear} clear, {solid} solid");
    // Where nothing is seen, nothing is encoded: limited-range black.
    let luma = bench.decoded("out/matte.webm", LIBVPX, "format=yuva420p", "yuva420p");
    let darkest = luma[..SIZE.0].iter().max().unwrap();
    assert!(*darkest <= 20, "the top row is background: {darkest}");

    assert_eq!(outputs.models[0].name, RVM);
    assert_eq!(outputs.metrics["frames"], 20);
    assert_eq!(outputs.metrics["downsample_ratio"], 1.0);
    let coverage = outputs.metrics["coverage_mean"].as_f64().unwrap();
    assert!((0.05..0.5).contains(&coverage), "{coverage}");
    assert_eq!(outputs.params["quality"], 70, "defaults are filled in");
    assert!(outputs.warnings.iter().any(|warning| warning.contains("num_gpus")));
    assert_eq!(outputs.stages.iter().map(|stage| stage.frames).collect::<Vec<_>>(), [20; 4]);
    let last = bench.progress().pop().unwrap();
    assert_eq!((last.stage.as_str(), last.done, last.total), (STAGE, 20, Some(20)));
}

/// The fixture and the numbers are from tests/bench/synth.py and quality.py: what onnxruntime in Python makes of the same
/// file, decoded by OpenCV.
#[test]
fn a_matte_of_known_truth_is_as_good_as_pythons() {
    const PYTHON: (f64, f64) = (2.1574, 3.0190);
    const SIZE: usize = 512 * 288;
    let bench = Bench::new();
    let fixture = |name: &str| fixtures().join("synth").join(name).to_str().unwrap().to_owned();
    bench.run(&[(VIDEO, &fixture("comp.mp4"))], json!({"format": "png"})).unwrap();
    let grey = |bytes: Vec<u8>| bytes.iter().map(|byte| f64::from(*byte) / 255.0).collect::<Vec<_>>();
    let matte = grey(bench.decoded("out/frames/%06d.png", &[], "alphaextract", "gray"));
    let truth =
        grey(tool("ffmpeg", &["-v", "error", "-i", &fixture("alpha.mkv"), "-f", "rawvideo", "-pix_fmt", "gray", "-"]));
    assert_eq!((matte.len(), truth.len()), (16 * SIZE, 16 * SIZE));
    let mad = matte.iter().zip(&truth).map(|(a, b)| (a - b).abs()).sum::<f64>() / matte.len() as f64 * 1e3;
    let change = |i: usize| matte[i] - matte[i - SIZE] - truth[i] + truth[i - SIZE];
    let square = |frame: usize| (frame * SIZE..(frame + 1) * SIZE).map(|i| change(i).powi(2)).sum::<f64>();
    let dtssd = (1..16).map(|frame| (square(frame) / SIZE as f64).sqrt()).sum::<f64>() / 15.0 * 1e2;
    println!("MAD {mad:.4}e-3 (Python {}), dtSSD {dtssd:.4}e-2 (Python {})", PYTHON.0, PYTHON.1);
    assert!(mad <= PYTHON.0 * 1.02 && dtssd <= PYTHON.1 * 1.02, "MAD {mad}, dtSSD {dtssd}");
}

#[test]
fn pictures_come_with_their_times() {
    let bench = Bench::new();
    let clip = bench.person(4);
    let params = json!({"format": "png", "start_secs": 0.03});
    let outputs = bench.run(&[(VIDEO, &clip)], params).unwrap();
    assert_eq!(names(&outputs)[..2], ["frames/000001.png", "frames/000002.png"]);
    assert!(names(&outputs).contains(&"timestamps.json") && names(&outputs).contains(&"preview.png"));
    let times: Value = serde_json::from_slice(&std::fs::read(bench.path("out/timestamps.json")).unwrap()).unwrap();
    assert_eq!(times["frames"].as_array().unwrap().len(), 2);
}

#[test]
fn a_composite_lies_over_a_colour_a_picture_or_a_video() {
    let bench = Bench::new();
    let clip = bench.person(6);
    let corner = |filter: &str| bench.decoded("out/composite.mp4", &[], filter, "rgb24");
    let close = |a: &[u8], b: [u8; 3]| a.iter().zip(b).all(|(a, b)| a.abs_diff(b) < 12);

    bench.run(&[(VIDEO, &clip)], json!({"format": "composite", "background_colour": "#2040c0"})).unwrap();
    assert!(close(&corner("crop=2:2:0:0")[..3], [0x20, 0x40, 0xc0]));

    // Left half red, right half blue, wider than the video: its sides are cut off.
    let halves = "color=red:s=200x200,format=rgb24[a];color=blue:s=200x200,format=rgb24[b];[a][b]hstack";
    let picture = bench.make("back.png", &["-f", "lavfi", "-i", halves], &["-frames:v", "1"]);
    bench.run(&[(VIDEO, &clip), (BACKGROUND, &picture)], json!({"format": "composite"})).unwrap();
    let row = corner("crop=144:2:0:0");
    assert!(close(&row[..3], [255, 0, 0]) && close(&row[143 * 3..144 * 3], [0, 0, 255]), "{:?}", &row[..432]);

    // Red for 2 frames of 30 a second, then green: over 60 a second, red for 4 frames; then from the start.
    let turns = "color=red:s=144x240:r=30:d=0.0666[a];color=lime:s=144x240:r=30:d=0.0333[b];[a][b]concat";
    let video = bench.make("back.mp4", &["-f", "lavfi", "-i", turns], &["-c:v", "libx264", "-qp", "0"]);
    let clip = bench.person(12);
    bench.run(&[(VIDEO, &clip), (BACKGROUND, &video)], json!({"format": "composite"})).unwrap();
    let corners = corner("crop=2:2:0:0");
    let seen: String = corners.chunks_exact(12).map(|p| if p[0] > p[1] { 'r' } else { 'g' }).collect();
    assert_eq!(seen, "rrrrggrrrrgg");
}

#[test]
fn colours_of_what_is_solid_are_those_of_the_source() {
    let bench = Bench::new();
    let clip = bench.person(6);
    let source = bench.decoded("person.mp4", &[], "null", "rgb24");
    bench.run(&[(VIDEO, &clip)], json!({"format": "png"})).unwrap();
    let pictures = bench.decoded("out/frames/%06d.png", &[], "null", "rgba");
    let solid: Vec<usize> = (5 * PIXELS..6 * PIXELS).filter(|i| pictures[4 * i + 3] == 255).collect();
    assert!(solid.len() > PIXELS / 20, "{} solid pixels", solid.len());
    let shift = |rgb: &[u8], step: usize| {
        let sum = |c: usize| -> f64 {
            solid.iter().map(|i| f64::from(rgb[step * i + c]) - f64::from(source[3 * i + c])).sum()
        };
        [0, 1, 2].map(|c| sum(c) / solid.len() as f64)
    };
    let mut shifts = vec![("png", shift(&pictures, 4))];
    for (format, file, decoder) in [
        ("webm-alpha", "out/matte.webm", LIBVPX),
        ("prores4444", "out/matte.mov", &[]),
        ("composite", "out/composite.mp4", &[]),
    ] {
        // Grey behind it, since chroma at half size carries a coloured background into the edge.
        let params = json!({"format": format, "quality": 95, "background_colour": "#808080"});
        bench.run(&[(VIDEO, &clip)], params).unwrap();
        shifts.push((format, shift(&bench.decoded(file, decoder, "format=rgb24", "rgb24"), 3)));
    }
    println!("mean shift of red, green and blue, of 255: {shifts:.2?}");
    for (format, shift) in shifts {
        assert!(shift.iter().all(|s| s.abs() < 2.0), "{format}: {shift:?}");
    }
}

#[test]
fn prores_keeps_alpha_and_the_grey_matte_is_silent() {
    let bench = Bench::new();
    let tone = ["-f", "lavfi", "-i", "sine=d=1"];
    let clip = bench.person(5);
    let clip =
        bench.make("sound.mp4", &[&["-i", &clip][..], &tone].concat(), &["-c:v", "copy", "-c:a", "aac", "-shortest"]);
    let streams = |file: &str| {
        let path = bench.path(file);
        let args = ["-v", "error", "-show_entries", "stream=codec_name,pix_fmt", "-of", "csv=p=0", &path];
        String::from_utf8(tool("ffprobe", &args)).unwrap()
    };
    bench.run(&[(VIDEO, &clip)], json!({"format": "prores4444"})).unwrap();
    let mov = streams("out/matte.mov");
    assert!(mov.contains("prores,yuva444p") && mov.contains("aac"), "{mov}");
    let alpha = bench.decoded("out/matte.mov", &[], "alphaextract", "gray");
    assert!(alpha.iter().any(|a| *a < 3) && alpha.iter().any(|a| *a > 252));

    bench.run(&[(VIDEO, &clip)], json!({"format": "alpha"})).unwrap();
    assert_eq!(streams("out/alpha.mp4").trim(), "h264,yuv420p");
    let grey = bench.decoded("out/alpha.mp4", &[], "format=gray", "gray");
    assert!(grey.iter().any(|a| *a < 10) && grey.iter().any(|a| *a > 245));
}

#[test]
fn the_result_does_not_depend_on_the_batch() {
    let webm = |batch: Value| {
        let bench = Bench::new();
        let clip = bench.person(7);
        let outputs = bench.run(&[(VIDEO, &clip)], json!({"model": "test/rvm_rank5", "batch_size": batch})).unwrap();
        (outputs.metrics["frames_a_call"].clone(), bench.decoded("out/matte.webm", LIBVPX, "null", "yuva420p"))
    };
    let (one, reference) = webm(json!(1));
    assert_eq!(one, 1);
    for (batch, frames) in [(json!(3), 3), (json!("auto"), 8)] {
        let (calls, pixels) = webm(batch);
        assert_eq!(calls, frames);
        assert!(pixels == reference, "batches of {frames}");
    }
}

#[test]
fn what_cannot_be_done_is_refused_with_the_remedy() {
    let bench = Bench::new();
    let clip = bench.person(3);
    let pq = bench.make(
        "pq.mp4",
        &["-i", &clip],
        &[
            "-c:v",
            "libx265",
            "-x265-params",
            "log-level=none:colorprim=bt2020:transfer=smpte2084:colormatrix=bt2020nc",
            "-pix_fmt",
            "yuv420p10le",
        ],
    );
    for (inputs, params, code, word) in [
        (vec![(VIDEO, pq.as_str())], json!({}), ErrorCode::InputHdr, "tone_map"),
        (vec![(VIDEO, &clip), (BACKGROUND, &clip)], json!({}), ErrorCode::InputsInvalid, "composite"),
        (vec![], json!({}), ErrorCode::InputsInvalid, "video"),
        (vec![(VIDEO, &clip)], json!({"downsample_ratio": 0.1}), ErrorCode::ParamsInvalid, "at least 0.11"),
        (vec![(VIDEO, &clip)], json!({"model": "resnet50"}), ErrorCode::ModelMissing, "models.custom"),
        (vec![(VIDEO, &clip)], json!({"model": "test/alien"}), ErrorCode::ModelInvalid, "no input `src`"),
        (vec![(VIDEO, &clip)], json!({"end_secs": 0}), ErrorCode::ParamsInvalid, "end_secs"),
        (vec![(VIDEO, &clip)], json!({"start_secs": 9}), ErrorCode::ParamsInvalid, "start_secs"),
    ] {
        let error = bench.run(&inputs, params).unwrap_err();
        assert_eq!(error.code, code, "{}", error.message);
        assert!(error.message.contains(word), "{}", error.message);
    }
    bench.run(&[(VIDEO, &pq)], json!({"tone_map": true})).unwrap();
    bench.cancel.cancel();
    assert_eq!(bench.run(&[(VIDEO, &clip)], json!({})).unwrap_err().code, ErrorCode::Cancelled);
}

#[test]
fn it_describes_checks_warms_and_plans_itself() {
    let handler = erase(Matting::new(runtime().clone()));
    let described = handler.describe();
    assert_eq!(described.inputs[0].name, VIDEO);
    assert_eq!(described.params_schema["properties"]["speed"]["maximum"], 10);
    handler.check(&Value::Null).unwrap();
    handler.warm(&json!({"model": "test/rvm_half"})).unwrap();
    assert!(runtime().idle_sessions() >= 1);
    assert_eq!(handler.check(&json!({"model": "resnet50"})).unwrap_err().code, ErrorCode::ModelMissing);
    assert_eq!(handler.warm(&json!({"model": "test/alien"})).unwrap_err().code, ErrorCode::ModelInvalid);

    let limits = &described.limits;
    let probe = darkroom_media::probe::probe(&media("sports2d_demo.mp4"), &described.inputs[0].kinds, limits).unwrap();
    let mut probes = Probes::from([(VIDEO.to_owned(), vec![probe.clone()])]);
    let small = handler.plan(&json!({}), &probes).unwrap();
    let pictures = handler.plan(&json!({"format": "png"}), &probes).unwrap();
    assert_eq!(small.device_mib, 0, "on the CPU");
    assert!((300..700).contains(&small.host_mib), "{}", small.host_mib);
    assert!(pictures.scratch_bytes > 10 * small.scratch_bytes);
    let mut behind = probe;
    behind.video.as_mut().unwrap().is_hdr = true;
    probes.insert(BACKGROUND.to_owned(), vec![behind]);
    let bright = handler.plan(&json!({"format": "composite"}), &probes).unwrap_err();
    assert!(bright.code == ErrorCode::InputHdr && bright.message.contains("background"), "{}", bright.message);
    let two = handler.plan(&json!({"format": "composite", "tone_map": true}), &probes).unwrap();
    assert!(two.host_mib > small.host_mib, "a background takes memory");
    probes.remove(BACKGROUND);
    let refused = handler.plan(&json!({"downsample_ratio": 0.1, "format": "composite"}), &probes);
    assert!(refused.is_ok(), "994 lines are enough");
    assert!(parse_params::<Params>(&json!({"batch_size": 33})).is_err());
}
