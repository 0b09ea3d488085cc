use std::path::Path;
use std::process::Command;

use darkroom_api::ErrorCode;
use darkroom_inference::{Edit, Precision, Runtime};

use super::*;
use crate::testing::{RVM, media, runtime};

fn open<'a>(
    runtime: &'a Runtime,
    name: &str,
    size: (usize, usize),
    ratio: f64,
    batch: usize,
) -> Result<(Rvm<'a>, Mattes<'a>)> {
    with(Sessions::open(runtime, name)?, size, ratio, batch)
}

fn with(sessions: Sessions<'_>, size: (usize, usize), ratio: f64, batch: usize) -> Result<(Rvm<'_>, Mattes<'_>)> {
    Rvm::new(sessions, u32::try_from(size.0).unwrap(), u32::try_from(size.1).unwrap(), ratio, batch)
}

/// Packed RGB bytes into planes of 0..=1.
fn fill(planes: &mut [f32], rgb: &[u8]) {
    let pixels = planes.len() / 3;
    for (i, pixel) in rgb.chunks_exact(3).enumerate() {
        for (channel, value) in pixel.iter().enumerate() {
            planes[channel * pixels + i] = f32::from(*value) / 255.0;
        }
    }
}

/// Packed RGB pictures of one width.
struct Packed<'a>(&'a [&'a [u8]], usize);

impl Source for Packed<'_> {
    fn frame(&mut self, place: usize) -> Result<impl FnMut(Range<usize>, &mut [f32]) -> Result<()>> {
        let (rgb, stride) = (self.0[place], self.1 * 3);
        Ok(move |rows: Range<usize>, out: &mut [f32]| {
            fill(out, &rgb[rows.start * stride..rows.end * stride]);
            Ok(())
        })
    }
}

/// Foregrounds and alphas of a clip, `batch` frames at a time.
fn run((rvm, drawing): &mut (Rvm<'_>, Mattes<'_>), clip: &[&[u8]], batch: usize) -> Vec<(Vec<f32>, Vec<f32>)> {
    let (width, pixels) = (drawing.width, drawing.width * drawing.height);
    let mut mattes = Vec::new();
    for frames in clip.chunks(batch) {
        let before = mattes.len();
        let mut next = 0;
        let mut take = |place: usize, matte: Matte<'_>| {
            if matte.rows.start == 0 {
                mattes.push((vec![0.0; 3 * pixels], vec![0.0; pixels]));
                next = 0;
            }
            assert_eq!((before + place + 1, matte.rows.start), (mattes.len(), next), "in order");
            next = matte.rows.end;
            let (foreground, alpha) = mattes.last_mut().unwrap();
            let rows = matte.rows.start * width..matte.rows.end * width;
            alpha[rows.clone()].copy_from_slice(matte.alpha);
            for (plane, part) in foreground.chunks_mut(pixels).zip(matte.foreground.chunks(rows.len())) {
                plane[rows.clone()].copy_from_slice(part);
            }
            Ok(())
        };
        rvm.see(frames.len(), &mut Packed(frames, width)).unwrap();
        rvm.run(frames.len(), |places, found| {
            let mut source = Packed(&frames[places.clone()], width);
            drawing.hand_out(found, &mut source, |place, matte| take(places.start + place, matte))
        })
        .unwrap();
    }
    mattes
}

/// Alphas of a clip, of which none is finished before the network has seen all.
fn run_late((rvm, drawing): &mut (Rvm<'_>, Mattes<'_>), clip: &[&[u8]]) -> Vec<Vec<f32>> {
    let mut waiting = Vec::new();
    for frame in clip {
        rvm.see(1, &mut Packed(&[*frame], drawing.width)).unwrap();
        let keep = |_, found| {
            waiting.push((*frame, found));
            Ok(())
        };
        rvm.run(1, keep).unwrap();
    }
    let width = drawing.width;
    let finish = |(frame, found): (&[u8], Found)| {
        let mut alpha = Vec::new();
        let take = |_, matte: Matte<'_>| {
            alpha.extend_from_slice(matte.alpha);
            Ok(())
        };
        drawing.hand_out(found, &mut Packed(&[frame], width), take).unwrap();
        alpha
    };
    waiting.into_iter().map(finish).collect()
}

fn largest_difference(a: &[f32], b: &[f32]) -> f32 {
    assert_eq!(a.len(), b.len());
    a.iter().zip(b).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max)
}

/// The fixture is written by tests/bench/parity.py.
#[test]
fn the_first_frames_equal_those_of_onnxruntime_in_python() {
    const SIZE: (usize, usize) = (96, 160);
    const PIXELS: usize = SIZE.0 * SIZE.1;
    let fixture = std::fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/parity.bin")).unwrap();
    let (frames, expected) = fixture.split_at(3 * 3 * PIXELS);
    let expected: Vec<f32> =
        expected.chunks_exact(2).map(|b| f32::from(u16::from_le_bytes([b[0], b[1]])) / 65535.0).collect();
    let (alphas, foreground) = expected.split_at(3 * PIXELS);

    let mut rvm = open(runtime(), RVM, SIZE, 0.6, 1).unwrap();
    let clip: Vec<&[u8]> = frames.chunks_exact(3 * PIXELS).collect();
    let mattes = run(&mut rvm, &clip, 1);
    for ((_, alpha), expected) in mattes.iter().zip(alphas.chunks_exact(PIXELS)) {
        let difference = largest_difference(alpha, expected);
        assert!(difference < 1e-3, "alpha differs by {difference}");
    }
    let difference = largest_difference(&mattes[2].0, foreground);
    assert!(difference < 1e-3, "foreground differs by {difference}");
    let coverage = mattes[2].1.iter().sum::<f32>() / PIXELS as f32;
    assert!((0.05..0.5).contains(&coverage), "somebody is in the picture: {coverage}");
}

#[test]
fn a_network_in_halves_gives_what_the_whole_graph_gives() {
    for (size, ratio) in [((96, 160), 0.6), ((161, 95), 0.37), ((50, 64), 1.0), ((20, 300), 0.85)] {
        let picture =
            |n: usize| (0..size.0 * size.1 * 3).map(move |i| ((i / 7 * (n + 3)) % 251) as u8).collect::<Vec<_>>();
        let frames: Vec<Vec<u8>> = (0..3).map(picture).collect();
        let clip: Vec<&[u8]> = frames.iter().map(Vec::as_slice).collect();
        let mut halves = open(runtime(), RVM, size, ratio, 1).unwrap();
        assert!(halves.1.second.is_some() && halves.1.refine.is_some(), "RVM's refiner and state are found");
        let detached = Edit { name: "detached", threads: None, apply: &refiner::detach };
        let session = runtime().edited_session(RVM, Precision::Full, detached).unwrap().unwrap();
        let mut detached = with(Sessions::of(session, None).unwrap(), size, ratio, 1).unwrap();
        assert!(detached.1.second.is_none() && detached.1.refine.is_some());
        let session = runtime().session(RVM, Precision::Full).unwrap();
        let mut whole = with(Sessions::of(session, None).unwrap(), size, ratio, 1).unwrap();
        assert!(whole.1.refine.is_none());
        let theirs = run(&mut whole, &clip, 1);
        let late = run_late(&mut open(runtime(), RVM, size, ratio, 1).unwrap(), &clip);
        for (late, theirs) in late.iter().zip(&theirs) {
            assert!(largest_difference(late, &theirs.1) < 2e-5, "what waits stays as it is while the state goes on");
        }
        for ours in [run(&mut halves, &clip, 1), run(&mut detached, &clip, 1)] {
            for (ours, theirs) in ours.iter().zip(&theirs) {
                let (colour, alpha) = (largest_difference(&ours.0, &theirs.0), largest_difference(&ours.1, &theirs.1));
                println!("{size:?} at {ratio}: colour {colour:e}, alpha {alpha:e}");
                assert!(colour < 2e-5 && alpha < 2e-5, "{size:?} at {ratio}: colour {colour}, alpha {alpha}");
            }
        }
    }
}

/// How much a matte changes from frame to frame.
fn flicker(mattes: &[(Vec<f32>, Vec<f32>)]) -> f64 {
    let change = |pair: &[(Vec<f32>, Vec<f32>)]| {
        let sum: f64 = pair[0].1.iter().zip(&pair[1].1).map(|(a, b)| f64::from(b - a).powi(2)).sum();
        (sum / pair[0].1.len() as f64).sqrt()
    };
    mattes.windows(2).map(change).sum::<f64>() / (mattes.len() - 1) as f64
}

#[test]
fn the_state_is_carried_over_the_video_and_steadies_the_matte() {
    const SIZE: (usize, usize) = (144, 240);
    let decoded = Command::new("ffmpeg")
        .args(["-v", "error", "-i"])
        .arg(media("pose2sim_SinglePerson_cam01.mp4"))
        .args(["-frames:v", "24", "-vf", "crop=720:1200:180:240,scale=144:240:flags=area"])
        .args(["-f", "rawvideo", "-pix_fmt", "rgb24", "-"])
        .output()
        .unwrap();
    let clip: Vec<&[u8]> = decoded.stdout.chunks_exact(SIZE.0 * SIZE.1 * 3).collect();
    assert_eq!(clip.len(), 24, "{}", String::from_utf8_lossy(&decoded.stderr));

    let mut rvm = open(runtime(), RVM, SIZE, 1.0, 1).unwrap();
    let carried = run(&mut rvm, &clip, 1);
    let mut forgetful = Vec::new();
    for frame in &clip {
        rvm.0.reset().unwrap();
        forgetful.extend(run(&mut rvm, std::slice::from_ref(frame), 1));
    }
    assert_eq!(carried[0], forgetful[0], "a reset is a new video");
    assert!(largest_difference(&carried[20].1, &forgetful[20].1) > 0.1, "the state changes the matte");
    // The first frames settle; the clip's own motion is in both.
    let (steady, restless) = (flicker(&carried[4..]), flicker(&forgetful[4..]));
    println!("frame-to-frame change: {steady:.5} with state, {restless:.5} without");
    assert!(steady < 0.97 * restless, "{steady} with state, {restless} without");
}

#[test]
fn models_of_several_frames_a_call_give_the_same_whatever_the_batch() {
    const SIZE: (usize, usize) = (8, 6);
    let frames: Vec<Vec<u8>> =
        (0..7u8).map(|n| (0..SIZE.0 * SIZE.1 * 3).map(|i| (i as u8) ^ (n * 37)).collect()).collect();
    let clip: Vec<&[u8]> = frames.iter().map(Vec::as_slice).collect();
    let mut singly = open(runtime(), "test/rvm_rank5", SIZE, 1.0, 1).unwrap();
    let reference = run(&mut singly, &clip, 1);
    assert_ne!(reference[0].1, reference[6].1);
    for batch in [2, 3, 7] {
        let mut rvm = open(runtime(), "test/rvm_rank5", SIZE, 1.0, batch).unwrap();
        assert_eq!(rvm.0.capacity(), batch);
        for (one, several) in reference.iter().zip(run(&mut rvm, &clip, batch)) {
            assert!(largest_difference(&one.1, &several.1) < 1e-6);
            assert_eq!(one.0, several.0);
        }
    }
}

#[test]
fn models_of_half_precision_are_converted_on_the_way_in_and_out() {
    const SIZE: (usize, usize) = (8, 6);
    let frame: Vec<u8> = (0..SIZE.0 * SIZE.1 * 3).map(|i| (i * 7 % 256) as u8).collect();
    let mut rvm = open(runtime(), "test/rvm_half", SIZE, 1.0, 4).unwrap();
    assert_eq!(rvm.0.capacity(), 1, "one frame a call");
    let mattes = run(&mut rvm, &[&frame, &frame], 1);
    let mut planes = vec![0.0; frame.len()];
    fill(&mut planes, &frame);
    assert!(largest_difference(&mattes[0].0, &planes) < 1e-3);
    // alpha = red / 2, plus a tenth for each frame before: the state crosses calls in f16 too.
    let difference = largest_difference(&mattes[1].1, &planes[..48].iter().map(|r| r / 2.0 + 0.1).collect::<Vec<_>>());
    assert!(difference < 1e-3, "{difference}");
}

#[test]
fn other_models_are_refused_with_what_they_have() {
    let error = open(runtime(), "test/alien", (8, 8), 1.0, 1).err().unwrap();
    assert_eq!(error.code, ErrorCode::ModelInvalid);
    assert!(error.message.contains("no input `src`") && error.message.contains("y f32[?]"), "{}", error.message);
    let missing = open(runtime(), "matting/rvm-resnet50", (8, 8), 1.0, 1).err().unwrap();
    assert_eq!(missing.code, ErrorCode::ModelMissing);
    assert!(missing.message.contains("models.custom"), "{}", missing.message);
}
