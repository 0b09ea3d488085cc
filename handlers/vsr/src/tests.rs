//! The handler on real footage, and models of every kind.

use darkroom_api::{CancelToken, ErrorCode, Handler, Inputs, Limits, MediaKind, Part, erase, parse_params};
use darkroom_inference::{Precision, Setup};
use darkroom_media::probe::probe;
use darkroom_media::testing::tool;
use serde_json::json;

use crate::testing::{Bench, inputs, media, runtime};
use crate::tiles::Picture;
use crate::{Enlarger, Known, Net, Params, REFERENCE, Room, VIDEO, Vsr};

mod room;

const SPAN: &str = "vsr/span-x2";
/// As the handler sets sessions up.
const SETUP: Setup = Setup { precision: Precision::Full, threads: 1, own_convolutions: true };

fn net(name: &str) -> darkroom_api::Result<Net> {
    Net::inspect(&mut runtime().fresh_session(&format!("test/{name}"), SETUP).unwrap(), &CancelToken::default())
}

/// Real footage as planes of 0..=1.
fn frame(bench: &Bench, filter: &str, width: usize, height: usize) -> Picture {
    let clip = media("sports2d_demo.mp4");
    let png = bench.make("frame.png", &["-ss", "2", "-i", &clip], &["-frames:v", "1", "-vf", filter]);
    let bytes = bench.pixels(&png, "null", "gbrp");
    let plane = |index: usize| bytes[index * width * height..(index + 1) * width * height].iter();
    let values = [2, 0, 1].into_iter().flat_map(plane).map(|v| f32::from(*v) / 255.0).collect();
    Picture { width, height, values }
}

fn enlarge(model: &str, room: Room, picture: &Picture, passes: u32) -> (Picture, usize) {
    let (known, cancel) = (Known::default(), CancelToken::default());
    let mut enlarger = Enlarger::open(runtime(), model, room, &known, &cancel).unwrap();
    let tiles = enlarger.tiles(picture.width, picture.height).unwrap();
    (enlarger.enlarge(vec![picture.clone()], passes, &|_| ()).unwrap().remove(0), tiles)
}

fn room(sessions: usize, memory_mib: u64) -> Room {
    Room { sessions, memory_mib, precision: Precision::Full }
}

/// The largest difference, but for some pixels at the edges.
fn most(a: &Picture, b: &Picture, but: usize) -> f32 {
    assert_eq!((a.width, a.height, a.values.len()), (b.width, b.height, b.values.len()));
    let (width, height) = (a.width, a.height);
    let inside = |at: &usize| {
        let (x, y) = (at % width, at / width % height);
        (but..width - but).contains(&x) && (but..height - but).contains(&y)
    };
    (0..a.values.len()).filter(inside).map(|at| (a.values[at] - b.values[at]).abs()).fold(0.0, f32::max)
}

#[test]
fn models_are_known_by_trying_them() {
    let facts = |name| net(name).map(|n| (n.channels, n.scale, n.grain, n.fixed, n.white, n.takes_several)).unwrap();
    assert_eq!(facts("double"), (3, 2, 1, None, 1.0, true));
    assert_eq!(facts("triple_luma_half"), (1, 3, 1, None, 1.0, true));
    assert_eq!(facts("bytes"), (3, 2, 1, None, 255.0, true));
    assert_eq!(facts("grain8"), (3, 2, 8, None, 1.0, true));
    assert_eq!(facts("fixed"), (3, 2, 1, Some((64, 48)), 1.0, false));
}

#[test]
fn what_does_not_enlarge_is_refused_with_what_was_found() {
    for (name, why) in [
        ("one_and_a_half", "no whole-number scale"),
        ("same_size", "which is 1 times"),
        ("two_inputs", "2 inputs"),
        ("stripes", "does not look like its input"),
    ] {
        let error = net(name).unwrap_err();
        assert_eq!(error.code, ErrorCode::ModelInvalid, "{name}");
        assert!(error.message.contains(why) && error.message.contains("Found: inputs input f32"), "{}", error.message);
    }
}

#[test]
fn models_of_every_kind_make_the_same_of_a_picture() {
    let bench = Bench::new();
    let picture = frame(&bench, "crop=400:300:600:200,scale=100:75:flags=area", 100, 75);
    let (wanted, _) = enlarge("test/double", room(1, 1024), &picture, 1);
    for (name, limit) in [("grain8", 1e-5), ("bytes", 7e-3), ("fixed", 1e-5)] {
        let (found, tiles) = enlarge(&format!("test/{name}"), room(1, 1024), &picture, 1);
        // Where tiles stick out of the picture they see its edge once more, not black.
        assert!(most(&found, &wanted, 6) <= limit, "{name}: {}", most(&found, &wanted, 6));
        assert_eq!(tiles > 1, name == "fixed", "{name} in {tiles} tiles");
    }
    // Luma alone, in half precision; colour is laid over it.
    let (luma, _) = enlarge("test/triple_luma_half", room(1, 1024), &picture, 1);
    assert_eq!((luma.width, luma.height, luma.values.len()), (300, 225, 3 * 300 * 225));
    let mean = |picture: &Picture| -> Vec<f32> {
        picture.planes().map(|plane| plane.iter().sum::<f32>() / plane.len() as f32).collect()
    };
    for (found, wanted) in mean(&luma).iter().zip(mean(&picture)) {
        assert!((found - wanted).abs() < 0.5 / 255.0, "no colour shift: {found} {wanted}");
    }
}

#[test]
fn a_fixed_size_larger_than_any_tile_of_ours_works() {
    let large = net("fixed_large").unwrap();
    assert_eq!(large.fixed, Some((1024, 576)));
    let bench = Bench::new();
    for (width, height, several) in [(200, 150, false), (1200, 600, true)] {
        let picture = frame(&bench, &format!("scale={width}:{height}:flags=area"), width, height);
        let (wanted, _) = enlarge("test/double", room(1, 1024), &picture, 1);
        // Memory cannot make its tiles smaller.
        let (found, tiles) = enlarge("test/fixed_large", room(2, 64), &picture, 1);
        assert_eq!(tiles > 1, several, "{tiles} tiles");
        assert!(most(&found, &wanted, 6) <= 1e-5, "{}", most(&found, &wanted, 6));
    }
}

#[test]
fn tiles_leave_no_seam() {
    let bench = Bench::new();
    let picture = frame(&bench, "crop=640:480:600:200,scale=320:240:flags=area", 320, 240);
    let (whole, one) = enlarge(SPAN, room(1, 4096), &picture, 1);
    // Memory for less than a picture, and for more than one, which two sessions share all the same.
    let (tiled, many) = enlarge(SPAN, room(2, 64), &picture, 1);
    let (shared, two) = enlarge(SPAN, room(2, 4096), &picture, 1);
    assert!(one == 1 && many > 2 && two == 2, "{one}, {many} and {two} tiles");
    for cut in [tiled, shared] {
        assert!(most(&whole, &cut, 0) <= 1.0 / 255.0, "{}", most(&whole, &cut, 0));
    }
}

#[test]
fn what_is_known_is_not_measured_again_and_measuring_can_be_cancelled() {
    let (known, cancel, size) = (Known::default(), CancelToken::default(), (320, 240));
    let open = || Enlarger::open(runtime(), SPAN, room(2, 64), &known, &cancel);
    let mut early = open().unwrap();
    let tiles = open().unwrap().tiles(size.0, size.1).unwrap();
    cancel.cancel();
    assert_eq!(early.tiles(size.0, size.1), Ok(tiles), "nothing is left to measure");
    assert_eq!(open().unwrap().tiles(size.0, size.1), Ok(tiles));

    let (known, never) = (Known::default(), CancelToken::default());
    let code = |cancel| Enlarger::open(runtime(), SPAN, room(2, 64), &known, cancel).err().map(|error| error.code);
    assert_eq!(code(&cancel), Some(ErrorCode::Cancelled), "while the model is tried");
    assert_eq!(code(&never), None);
    let mut cancelled = Enlarger::open(runtime(), SPAN, room(2, 64), &known, &cancel).unwrap();
    assert_eq!(cancelled.tiles(size.0, size.1).unwrap_err().code, ErrorCode::Cancelled, "while its reach is measured");
}

/// Mean squared error of two pictures of bytes, as PSNR.
fn psnr(a: &[u8], b: &[u8]) -> f64 {
    assert_eq!(a.len(), b.len());
    let sum: f64 = a.iter().zip(b).map(|(a, b)| (f64::from(*a) - f64::from(*b)).powi(2)).sum();
    10.0 * (255.0 * 255.0 * a.len() as f64 / sum).log10()
}

#[test]
fn it_is_better_than_bicubic_and_shifts_no_colour() {
    let bench = Bench::new();
    let clip = media("pose2sim_SinglePerson_cam01.mp4");
    let crop = "crop=320:480:400:600";
    let lossless = ["-frames:v", "2", "-c:v", "libx264", "-crf", "0", "-pix_fmt", "yuv420p", "-vf"];
    let truth = bench.make("truth.mp4", &["-i", &clip], &[&lossless[..], &[crop]].concat());
    let half = format!("{crop},scale=160:240:flags=bicubic+accurate_rnd");
    let small = bench.make("small.mp4", &["-i", &clip], &[&lossless[..], &[&half]].concat());
    let inputs =
        Inputs([(VIDEO, &small), (REFERENCE, &truth)].map(|(role, file)| (role.to_owned(), vec![file.into()])).into());
    let handler = erase(Vsr::new(runtime().clone()));
    let outputs = handler.run(&bench.context(), &inputs, &json!({ "crf": 4 })).unwrap();
    let scores = &outputs.metrics["reference"];
    assert_eq!((&outputs.metrics["frames"], &scores["frames"]), (&json!(2), &json!(2)));

    let result = bench.path("out/upscaled.mp4");
    let truth_luma = bench.pixels(&truth, "null", "gray");
    let bicubic = bench.pixels(&small, "scale=320:480:flags=bicubic+accurate_rnd", "gray");
    let (ours, theirs) = (psnr(&bench.pixels(&result, "null", "gray"), &truth_luma), psnr(&bicubic, &truth_luma));
    assert!(ours > theirs + 1.5, "{ours:.2} dB, bicubic {theirs:.2} dB");
    // Grey is stretched to full range here, errors with it.
    let (told, stretch) = (scores["psnr"]["mean"]["y"].as_f64().unwrap(), 20.0 * (255.0_f64 / 219.0).log10());
    assert!((told - stretch - ours).abs() < 0.3, "{ours:.2} {scores}");
    assert!(
        scores["vmaf"]["mean"].as_f64().unwrap() > 80.0 && scores["ssim"]["mean"]["y"].as_f64().unwrap() > 0.9,
        "{scores}"
    );

    let (before, after) =
        (bench.pixels(&small, "null", "yuv444p"), bench.pixels(&result, "scale=160:240:flags=area", "yuv444p"));
    for (plane, (before, after)) in before.chunks(160 * 240).zip(after.chunks(160 * 240)).enumerate() {
        let mean = |bytes: &[u8]| bytes.iter().map(|v| f64::from(*v)).sum::<f64>() / bytes.len() as f64;
        assert!((mean(before) - mean(after)).abs() < 0.5, "plane {plane}: {} {}", mean(before), mean(after));
    }
}

#[test]
fn a_task_reaches_its_size_and_says_what_it_did() {
    let bench = Bench::new();
    let clip = bench.walk(3);
    let outputs = bench.run(&clip, json!({ "size": "600x600", "model": "test/double", "speed": 10 })).unwrap();
    let metrics = &outputs.metrics;
    assert_eq!((&metrics["width_px"], &metrics["height_px"]), (&json!(600), &json!(450)));
    assert_eq!((&metrics["model_passes"], &metrics["model_scale"]), (&json!(2), &json!(2)));
    assert_eq!(
        bench.shows(&bench.path("out/upscaled.mp4"), "stream=width,height,nb_frames"),
        "width=600\nheight=450\nnb_frames=3\n"
    );
    assert_eq!(outputs.models[0].name, "test/double");
    assert!(outputs.warnings.is_empty(), "{:?}", outputs.warnings);

    let task = bench.run(&clip, json!({ "task_type": "SD2HD", "model": "test/double", "speed": 10, "end_secs": 0.02 }));
    let task = task.unwrap();
    assert!(task.warnings[0].contains("854x480") && task.warnings[0].contains("1440x1080"), "{:?}", task.warnings);
    assert_eq!(task.metrics["model_passes"], 3, "11 times: eight, and the rest by Lanczos");
}

#[test]
fn repeated_frames_go_through_the_model_once() {
    let bench = Bench::new();
    let clip = bench.walk(4);
    // Each frame three times.
    let thrice = ["-vf", "fps=90", "-c:v", "libx264", "-qp", "0", "-preset", "ultrafast"];
    let slow = bench.make("slow.mp4", &["-i", &clip], &thrice);
    let outputs = bench.run(&slow, json!({ "model": "test/double" })).unwrap();
    let frames = outputs.metrics["frames"].as_u64().unwrap();
    assert_eq!(outputs.metrics["repeated_frames"].as_u64().unwrap(), frames - 4, "{:?}", outputs.metrics);
    let result = bench.pixels(&bench.path("out/upscaled.mp4"), "null", "gray");
    let plain = bench.run(&clip, json!({ "model": "test/double" })).map(|_| bench.path("out/upscaled.mp4")).unwrap();
    let plain = bench.pixels(&plain, "null", "gray");
    let last = 256 * 192;
    assert!(
        psnr(&result[result.len() - last..], &plain[plain.len() - last..]) > 35.0,
        "the last frame is the last frame"
    );
}

#[test]
fn a_cut_is_counted() {
    let bench = Bench::new();
    let (walk, lab) = (bench.walk(5), media("pose2sim_SinglePerson_cam01.mp4"));
    let join =
        "[1:v]scale=128:96,trim=end_frame=5,setpts=PTS-STARTPTS,fps=30[b];[0:v]fps=30[a];[a][b]concat=n=2:v=1[v]";
    let clip = bench.make("cut.mp4", &["-i", &walk, "-i", &lab], &["-filter_complex", join, "-map", "[v]"]);
    assert_eq!(bench.run(&clip, json!({ "model": "test/double" })).unwrap().metrics["scene_cuts"], 1);
    assert_eq!(bench.run(&walk, json!({ "model": "test/double" })).unwrap().metrics["scene_cuts"], 0);
}

#[test]
fn depth_colour_and_times_are_carried_through() {
    let bench = Bench::new();
    let clip = bench.walk(4);
    let hdr =
        ["-color_primaries", "bt2020", "-color_trc", "smpte2084", "-colorspace", "bt2020nc", "-pix_fmt", "yuv420p10le"];
    let deep = bench.make(
        "deep.mkv",
        &["-i", &clip],
        &[&["-c:v", "libx265", "-x265-params", "log-level=none"], &hdr[..]].concat(),
    );
    bench.run(&deep, json!({ "model": "test/double" })).unwrap();
    let tags = "stream=codec_name,pix_fmt,color_space,color_transfer,color_primaries";
    let shown = bench.shows(&bench.path("out/upscaled.mp4"), tags);
    for tag in ["codec_name=hevc", "yuv420p10le", "bt2020nc", "smpte2084", "color_primaries=bt2020"] {
        assert!(shown.contains(tag), "{shown}");
    }
    let error = bench.run(&deep, json!({ "model": "test/double", "codec": "h264" })).unwrap_err();
    assert_eq!(error.code, ErrorCode::InputHdr);

    // Full range, BT.601, and frames at odd times.
    let full = [
        "-vf",
        "setpts=N*N/30/TB,scale=out_range=full:out_color_matrix=bt601",
        "-vsync",
        "vfr",
        "-color_range",
        "pc",
        "-colorspace",
        "smpte170m",
    ];
    let full = bench.make("full.mp4", &["-i", &clip], &full);
    bench.run(&full, json!({ "model": "test/double" })).unwrap();
    let shown = bench.shows(&bench.path("out/upscaled.mp4"), "stream=color_range,color_space:packet=pts_time");
    assert!(shown.contains("color_range=pc") && shown.contains("smpte170m"), "{shown}");
    let times = |file: &str| {
        let text = bench.shows(file, "packet=pts_time");
        let mut times: Vec<i64> = text
            .lines()
            .filter_map(|l| Some((l.strip_prefix("pts_time=")?.parse::<f64>().ok()? * 1e3).round() as i64))
            .collect();
        times.sort_unstable();
        times
    };
    assert_eq!(times(&bench.path("out/upscaled.mp4")), times(&full));
}

#[test]
fn where_the_model_runs_away_the_resampled_picture_stands_in() {
    let bench = Bench::new();
    let card = bench.make("card.png", &["-f", "lavfi", "-i", "testsrc=s=320x180"], &["-frames:v", "1"]);
    let small = bench.pixels(&card, "null", "rgb24");
    for scale in [2, 4] {
        let outputs = bench.run(&card, json!({ "scale": scale })).unwrap();
        let share = outputs.metrics["failed_share"].as_f64().unwrap();
        assert!((0.1..0.7).contains(&share) && outputs.warnings.iter().any(|w| w.contains("animevideov3")), "{share}");
        let back = bench.pixels(&bench.path("out/upscaled.png"), "scale=320:180:flags=area", "rgb24");
        let off: Vec<u8> = small.iter().zip(&back).map(|(a, b)| a.abs_diff(*b)).collect();
        let (mean, worse) = (off.iter().map(|off| f64::from(*off)).sum::<f64>() / off.len() as f64, 64);
        let far = off.iter().filter(|off| **off > worse).count();
        assert!(mean < 4.0 && far * 1000 < off.len(), "x{scale}: {mean} in the mean, {far} of {} far off", off.len());
    }
    // Footage is the model's alone.
    let outputs = bench.run(&bench.walk(2), json!({ "scale": 2 })).unwrap();
    assert_eq!(outputs.metrics["failed_share"], 0.0);
}

/// Opacity in all frames of a VP9 video.
fn alpha_of(video: &str) -> Vec<u8> {
    let decode = ["-v", "error", "-c:v", "libvpx-vp9", "-i", video];
    let planes = ["-vf", "alphaextract", "-f", "rawvideo", "-pix_fmt", "gray", "-"];
    tool("ffmpeg", &[&decode[..], &planes].concat())
}

#[test]
fn alpha_and_pictures_are_kept() {
    let bench = Bench::new();
    let clip = bench.walk(2);
    let fade = "format=yuva420p,geq=lum='p(X,Y)':cb='p(X,Y)':cr='p(X,Y)':a='X*2'";
    let alpha =
        bench.make("alpha.webm", &["-i", &clip], &["-vf", fade, "-c:v", "libvpx-vp9", "-crf", "10", "-b:v", "0"]);
    bench.run(&alpha, json!({ "model": "test/double" })).unwrap();
    let result = bench.path("out/upscaled.webm");
    let plane = alpha_of(&result);
    for x in [20, 100, 200] {
        let found = i32::from(plane[90 * 256 + x]);
        assert!((found - i32::try_from(x).unwrap()).abs() < 8, "alpha at {x}: {found}");
    }
    let warned = bench.run(&alpha, json!({ "model": "test/double", "codec": "h264" })).unwrap();
    assert!(warned.warnings.iter().any(|w| w.contains("alpha")), "{:?}", warned.warnings);

    let picture = bench.make("picture.png", &["-i", &clip], &["-frames:v", "1"]);
    let outputs = bench.run(&picture, json!({ "model": "test/double" })).unwrap();
    assert_eq!((outputs.files[0].name.as_str(), outputs.files[0].media_type.as_str()), ("upscaled.png", "image/png"));
    assert_eq!(
        bench.shows(&bench.path("out/upscaled.png"), "stream=codec_name,width,height"),
        "codec_name=png\nwidth=256\nheight=192\n"
    );
}

/// A disc on what nobody sees, which is of the colour `hidden`.
fn disc(bench: &Bench, hidden: &str) -> String {
    let inside = |yes: &str, no: &str| format!("if(lt(hypot(X-40,Y-32),20),{yes},{no})");
    let [r, g, b] = [0, 2, 4].map(|at| u8::from_str_radix(&hidden[at..at + 2], 16).unwrap().to_string());
    let geq = format!(
        "format=rgba,geq=r='{}':g='{}':b='{}':a='{}'",
        inside("200-X/4", &r),
        inside("60", &g),
        inside("40+Y/4", &b),
        inside("255", "0")
    );
    bench.make(
        &format!("{hidden}.png"),
        &["-f", "lavfi", "-i", "color=black:size=80x64"],
        &["-frames:v", "1", "-vf", &geq],
    )
}

#[test]
fn what_is_hidden_leaves_no_fringe() {
    let bench = Bench::new();
    // The model's size, and beyond by Lanczos, up and down.
    for size in ["160x128", "180x144", "134x108"] {
        let seen = ["00ff00", "ffffff", "000000"].map(|hidden| {
            let picture = disc(&bench, hidden);
            bench.run(&picture, json!({ "model": SPAN, "size": size })).unwrap();
            bench.pixels(&bench.path("out/upscaled.png"), "null", "rgba")
        });
        assert!(seen.iter().all(|pixels| *pixels == seen[0]), "{size}: what is hidden comes through");
        let (width, height) = size.split_once('x').unwrap();
        let (width, height) = (width.parse::<usize>().unwrap(), height.parse::<usize>().unwrap());
        let growth = width as f32 / 80.0;
        let mut edges = 0;
        for (at, pixel) in seen[0].chunks_exact(4).enumerate() {
            let (x, y) = ((at % width) as f32 / growth, (at / width) as f32 / growth);
            let wanted = [200.0 - x / 4.0, 60.0, 40.0 + y / 4.0];
            if pixel[3] > 4 {
                let off = (0..3).map(|c| (f32::from(pixel[c]) - wanted[c]).abs()).fold(0.0, f32::max);
                assert!(off < 6.0, "{size}: {pixel:?} for {wanted:?} at {x},{y}");
            }
            edges += usize::from((5..250).contains(&pixel[3]));
        }
        assert!(edges > 100 && seen[0].len() == 4 * width * height, "{edges} pixels of edge");
    }
}

#[test]
fn full_opacity_is_as_none() {
    let bench = Bench::new();
    let clip = bench.walk(1);
    let [plain, opaque] = ["rgb24", "rgba"].map(|format| {
        let args = ["-frames:v", "1", "-vf", &format!("format={format}")];
        let picture = bench.make(&format!("{format}.png"), &["-i", &clip], &args);
        bench.run(&picture, json!({ "model": "test/double", "size": "300x300" })).unwrap();
        bench.pixels(&bench.path("out/upscaled.png"), "null", "rgba")
    });
    assert!(plain == opaque, "the same bytes");
}

#[test]
fn a_gif_that_moves_becomes_a_video_and_keeps_what_shows_through() {
    let bench = Bench::new();
    let clip = bench.walk(3);
    // The left half shows nothing, half a second a frame.
    let half = "setpts=N/2/TB,format=rgba,geq=r='r(X,Y)':g='g(X,Y)':b='b(X,Y)':a='255*gte(X,64)'";
    let palette = format!("{half},split[a][b];[a]palettegen=reserve_transparent=1[p];[b][p]paletteuse");
    let sticker = bench.make("sticker.gif", &["-i", &clip], &["-filter_complex", &palette, "-vsync", "vfr"]);
    let outputs = bench.run(&sticker, json!({ "model": "test/double" })).unwrap();
    assert_eq!((outputs.metrics["frames"].as_u64(), outputs.files[0].name.as_str()), (Some(3), "upscaled.webm"));
    let times = bench.shows(&bench.path("out/upscaled.webm"), "packet=pts_time");
    assert_eq!(times, "pts_time=0.000000\npts_time=0.500000\npts_time=1.000000\n");
    let result = bench.path("out/upscaled.webm");
    let alpha = alpha_of(&result);
    assert_eq!(alpha.len(), 3 * 256 * 192);
    for frame in alpha.chunks(256 * 192) {
        let row = &frame[90 * 256..91 * 256];
        assert!(row[..120].iter().all(|a| *a < 16) && row[136..].iter().all(|a| *a > 239), "{row:?}");
    }

    let plain = bench.make("plain.gif", &["-i", &clip], &[]);
    let outputs = bench.run(&plain, json!({ "model": "test/double" })).unwrap();
    assert_eq!((outputs.files[0].name.as_str(), outputs.warnings.len()), ("upscaled.mp4", 0), "{:?}", outputs.warnings);
    let one = bench.make("one.gif", &["-i", &clip], &["-frames:v", "1"]);
    assert_eq!(bench.run(&one, json!({ "model": "test/double" })).unwrap().files[0].name, "upscaled.png");
}

#[test]
fn a_file_is_never_larger_than_it_may_be() {
    let bench = Bench::new();
    let noise = ["-f", "lavfi", "-i", "nullsrc=size=128x96:rate=30:duration=2,geq=random(1)*255:128:128"];
    let noise = bench.make("noise.mp4", &noise, &["-c:v", "libx264", "-crf", "10", "-pix_fmt", "yuv420p"]);
    let bytes = |params| bench.run(&noise, params).unwrap().metrics["bytes"].as_u64().unwrap();
    let free = bytes(json!({ "model": "test/double" }));
    let held = bytes(json!({ "model": "test/double", "maximum_optimized_size_mb": 0.1 }));
    assert!(free > 300_000 && held <= 100_000, "{free} and {held} bytes");
    assert_eq!(bytes(json!({ "model": "test/double", "maximum_optimized_size_mb": 10 })), free);

    // An hour of it in ten thousand bytes: refused before any work.
    let mut probe = probe(noise.as_ref(), &[MediaKind::Video], &Limits::default()).unwrap();
    let video = probe.video.as_mut().unwrap();
    (video.frames, video.frames_counted) = (Some(108_000), true);
    let params = parse_params(&json!({ "model": "test/double", "maximum_optimized_size_mb": 0.01 })).unwrap();
    let planned = Vsr::new(runtime().clone()).plan(&params, &[(VIDEO.to_owned(), vec![probe])].into());
    assert_eq!(planned.unwrap_err().code, ErrorCode::ParamsInvalid);
}

#[test]
fn what_cannot_be_done_is_said() {
    let bench = Bench::new();
    let clip = bench.walk(1);
    let code = |params: serde_json::Value| bench.run(&clip, params).unwrap_err().code;
    assert_eq!(code(json!({ "size": "128x96" })), ErrorCode::InputTooLarge);
    assert_eq!(code(json!({ "model": "test/stripes" })), ErrorCode::ModelInvalid);
    assert_eq!(code(json!({ "model": "no/such" })), ErrorCode::ModelMissing);
    let unknown = Params { model: "foo".into(), ..Params::default() };
    let error = Vsr::new(runtime().clone()).check(&unknown).unwrap_err();
    for name in ["`foo`", "`span`", "`x4plus`", "`test/double`", "[models.custom]"] {
        assert!(error.code == ErrorCode::ModelMissing && error.message.contains(name), "{}", error.message);
    }
    assert_eq!(code(json!({ "scale": 2, "task_type": "SD2HD" })), ErrorCode::ParamsInvalid);
    bench.cancel.cancel();
    assert_eq!(code(json!({ "model": "test/double" })), ErrorCode::Cancelled);
}

#[test]
fn interlaced_video_and_one_frame_come_out_whole() {
    let bench = Bench::new();
    let clip = bench.walk(6);
    let interlaced = ["-vf", "interlace", "-c:v", "mpeg2video", "-flags", "+ildct+ilme", "-q:v", "2"];
    let interlaced = bench.make("interlaced.mpg", &["-i", &clip], &interlaced);
    let outputs = bench.run(&interlaced, json!({ "model": "test/double" })).unwrap();
    assert!(outputs.warnings.iter().any(|w| w.contains("interlaced")), "{:?}", outputs.warnings);

    let outputs = bench.run(&bench.walk(1), json!({ "model": "test/double" })).unwrap();
    assert_eq!(outputs.metrics["frames"], 1);
    assert_eq!(bench.progress().last().unwrap().done, 1);
}

#[test]
fn each_part_works_on_every_frame() {
    let bench = Bench::new();
    let (inputs, ctx) = (inputs(&bench.walk(5)), bench.context());
    let handler = Vsr::new(runtime().clone());
    let params = Params { model: "test/double".into(), ..Params::default() };
    for part in [Part::Decode, Part::Model, Part::Encode] {
        let alone = handler.alone(part, &ctx, &inputs, params.clone()).unwrap();
        assert_eq!((alone.work)().unwrap(), 5, "{part}");
    }
}
