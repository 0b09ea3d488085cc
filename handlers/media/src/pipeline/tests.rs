use std::path::Path;

use darkroom_api::{ErrorCode, Result};

use super::*;
use crate::colour::{FromRgb, Hdr, ToRgb};
use crate::testing::{Scratch, context, entry, jump, man, run as tool, times};
use crate::{Container, OutputFormat, ReadOptions, VideoCodec, WriteOptions};

/// Copies colour, with an alpha that depends on the picture.
fn with_alpha(frames: &mut Vec<Frame>, emit: &mut Emitter<'_>) -> Result<()> {
    for frame in frames.drain(..) {
        let pixels = (frame.width() * frame.height()) as usize;
        let mut rgb = vec![0.0; 3 * pixels];
        ToRgb::new(Hdr::Refuse).convert(&frame, &mut rgb)?;
        let alpha: Vec<f32> = rgb[..pixels].iter().map(|r| if *r > 0.4 { 1.0 } else { 0.0 }).collect();
        let mut out = emit.blank(&frame)?;
        FromRgb::new(false).convert(&rgb, Some(&alpha), &mut out)?;
        emit.send(out)?;
    }
    Ok(())
}

fn open(path: &Path, out: &Path, format: OutputFormat) -> (Reader, Writer) {
    let reader = Reader::open(path, &ReadOptions::default()).unwrap();
    let options = WriteOptions { speed: 10, ..WriteOptions::new(format) };
    let writer = Writer::create(out, &options, reader.info(), reader.tracks()).unwrap();
    (reader, writer)
}

#[test]
fn a_real_clip_becomes_a_webm_with_alpha_frame_for_frame() {
    let scratch = Scratch::new();
    let small = scratch.make(&man(), "-vf scale=180:320 -frames:v 40 -c:v libx264 -preset ultrafast", "small.mp4");
    let out = scratch.path("out.webm");
    let (reader, writer) = open(&small, &out, OutputFormat::WEBM_ALPHA);
    let (ctx, recorder) = context(&scratch);
    let options = PipelineOptions { batch: 3, ..PipelineOptions::default() };
    let report = run(reader, writer, &ctx, &options, with_alpha).unwrap();
    assert_eq!((report.frames, report.write.frames, report.corrupt_packets), (40, 40, 0));
    let (before, after) = (times(&small, "v:0"), times(&out, "v:0"));
    assert_eq!(after.len(), 40);
    for (b, a) in before.iter().zip(&after) {
        assert!((a - (b * 1000.0).round() / 1000.0).abs() < 1e-6, "{b} became {a}");
    }
    assert_eq!(entry(&out, "v:0", "stream_tags=alpha_mode"), "1");
    let progress = recorder.0.lock().unwrap();
    assert_eq!(progress.last().map(|p| (p.done, p.total, p.percent)), Some((40, Some(40), Some(100.0))));
    assert_eq!(report.stages.iter().map(|s| s.name.as_str()).collect::<Vec<_>>(), ["decode", "process", "encode"]);
    for stage in &report.stages {
        let sum = stage.busy_secs + stage.waiting_input_secs + stage.waiting_output_secs;
        assert!(stage.frames == 40 && sum <= report.wall_secs + 0.05 && stage.cpu_secs > 0.0, "{stage:?}");
    }
}

#[test]
fn progress_of_slow_frames_never_goes_back() {
    let scratch = Scratch::new();
    let small = scratch.make(&man(), "-vf scale=90:160 -frames:v 9 -c:v libx264 -preset ultrafast", "small.mp4");
    let (reader, writer) = open(&small, &scratch.path("out.webm"), OutputFormat::WEBM_ALPHA);
    let (ctx, recorder) = context(&scratch);
    let options = PipelineOptions { batch: 2, queue_results: 2, tell_every: Duration::ZERO, ..Default::default() };
    let process = |frames: &mut Vec<Frame>, emit: &mut Emitter<'_, Frame>| {
        let ahead = emit.ahead();
        (0..=4_u8).for_each(|part| ahead.at(f32::from(part) / 4.0));
        frames.drain(..).try_for_each(|frame| emit.send(frame))
    };
    let develop = |frame: Frame, emit: &mut Emitter<'_>| {
        let mut out = emit.blank(&frame)?;
        FromRgb::new(false).convert(&vec![0.5; 3 * 90 * 160], None, &mut out)?;
        emit.send(out)
    };
    run_in_two(reader, writer, &ctx, &options, process, develop).unwrap();
    let told = recorder.0.lock().unwrap();
    assert!(told.len() > 25 && told.is_sorted_by(|a, b| a.percent <= b.percent && a.done <= b.done), "{told:?}");
    assert!(told.iter().all(|p| p.stage == options.stage && p.percent.is_some()), "{told:?}");
    assert!(told[..5].iter().all(|p| p.done == 0), "made is not written: {told:?}");
}

#[test]
fn the_alpha_of_a_webm_is_what_was_given() {
    let scratch = Scratch::new();
    let small = scratch.make(&man(), "-vf scale=180:320 -frames:v 5 -c:v libx264 -preset ultrafast", "small.mp4");
    let out = scratch.path("out.webm");
    let (reader, writer) = open(&small, &out, OutputFormat::WEBM_ALPHA);
    let (ctx, _) = context(&scratch);
    run(reader, writer, &ctx, &PipelineOptions::default(), |frames: &mut Vec<Frame>, emit: &mut Emitter<'_>| {
        for frame in frames.drain(..) {
            let (w, h) = (frame.width() as usize, frame.height() as usize);
            let mut rgb = vec![0.0; 3 * w * h];
            ToRgb::new(Hdr::Refuse).convert(&frame, &mut rgb)?;
            // The upper half is clear.
            let alpha: Vec<f32> = (0..w * h).map(|i| if i / w < h / 2 { 0.0 } else { 1.0 }).collect();
            let mut out = emit.blank(&frame)?;
            FromRgb::new(false).convert(&rgb, Some(&alpha), &mut out)?;
            emit.send(out)?;
        }
        Ok(())
    })
    .unwrap();
    let mut reader = Reader::open(&out, &ReadOptions { alpha: true, ..ReadOptions::default() }).unwrap();
    assert!(reader.info().has_alpha);
    let frame = reader.next().unwrap().unwrap();
    let (w, h) = (frame.width() as usize, frame.height() as usize);
    let mut alpha = vec![0.5; w * h];
    assert!(crate::colour::alpha_of(&frame, &mut alpha));
    let mean = |rows: std::ops::Range<usize>| -> f32 {
        let part = &alpha[rows.start * w..rows.end * w];
        part.iter().sum::<f32>() / part.len() as f32
    };
    assert!(mean(0..h / 2 - 8) < 0.02 && mean(h / 2 + 8..h) > 0.98, "{} {}", mean(0..h / 2 - 8), mean(h / 2 + 8..h));
}

#[test]
fn cancelling_in_the_middle_stops_all_stages() {
    let scratch = Scratch::new();
    let (reader, writer) = open(&man(), &scratch.path("out.webm"), OutputFormat::WEBM_ALPHA);
    let (ctx, _) = context(&scratch);
    let mut calls = 0;
    let error =
        run(reader, writer, &ctx, &PipelineOptions::default(), |frames: &mut Vec<Frame>, emit: &mut Emitter<'_>| {
            calls += 1;
            if calls == 3 {
                ctx.cancel.cancel();
            }
            let mut out = emit.blank(&frames[0])?;
            let grey = vec![0.5; (out.width() * out.height()) as usize];
            FromRgb::new(false).convert_grey(&grey, &mut out)?;
            emit.send(out)
        })
        .unwrap_err();
    assert_eq!(error.code, ErrorCode::Cancelled);
    assert!(calls < 10, "{calls} calls after the cancellation");
}

#[test]
fn a_panic_is_an_internal_error_and_stops_all_stages() {
    let scratch = Scratch::new();
    let (reader, writer) = open(&man(), &scratch.path("out.webm"), OutputFormat::WEBM_ALPHA);
    let (ctx, _) = context(&scratch);
    let outcome = run(reader, writer, &ctx, &PipelineOptions::default(), |_: &mut Vec<Frame>, _: &mut Emitter<'_>| {
        panic!("the model is on fire")
    });
    let error = outcome.unwrap_err();
    assert_eq!(error.code, ErrorCode::Internal);
    assert!(error.message.contains("the model is on fire"), "{}", error.message);
}

#[test]
fn an_error_of_the_process_stage_is_the_one_that_is_told() {
    let scratch = Scratch::new();
    let (reader, writer) = open(&man(), &scratch.path("out.webm"), OutputFormat::WEBM_ALPHA);
    let (ctx, _) = context(&scratch);
    let outcome = run(reader, writer, &ctx, &PipelineOptions::default(), |_: &mut Vec<Frame>, _: &mut Emitter<'_>| {
        Err(JobError::new(ErrorCode::OutOfMemory, "none left"))
    });
    assert_eq!(outcome.unwrap_err().code, ErrorCode::OutOfMemory);
}

#[test]
fn a_lost_frame_is_noticed() {
    let scratch = Scratch::new();
    let small = scratch.make(&man(), "-vf scale=90:160 -frames:v 6 -c:v libx264 -preset ultrafast", "small.mp4");
    let (reader, writer) = open(&small, &scratch.path("out.webm"), OutputFormat::WEBM_ALPHA);
    let (ctx, _) = context(&scratch);
    let mut n = 0;
    let outcome =
        run(reader, writer, &ctx, &PipelineOptions::default(), |frames: &mut Vec<Frame>, emit: &mut Emitter<'_>| {
            n += 1;
            if n == 4 { Ok(()) } else { with_alpha(frames, emit) }
        });
    let error = outcome.unwrap_err();
    assert!(
        error.code == ErrorCode::Internal && error.message.contains("6 frames were decoded, 5 processed"),
        "{error}"
    );
}

#[test]
fn queues_are_as_short_as_their_bytes_allow() {
    let options = PipelineOptions { queue_frames: 4, queue_bytes: 100, ..PipelineOptions::default() };
    assert_eq!(queue(&options, 10).0.capacity(), Some(4));
    assert_eq!(queue(&options, 40).0.capacity(), Some(2));
    assert_eq!(queue(&options, 1000).0.capacity(), Some(1));
}

#[test]
fn sound_that_webm_lacks_is_transcoded_and_told() {
    let scratch = Scratch::new();
    let small = scratch.make(&jump(), "-t 1 -vf scale=160:90 -c:v libx264 -preset ultrafast -c:a copy", "small.mp4");
    let out = scratch.path("out.webm");
    let (reader, writer) = open(&small, &out, OutputFormat::WEBM_ALPHA);
    let (ctx, _) = context(&scratch);
    let report = run(reader, writer, &ctx, &PipelineOptions::default(), with_alpha).unwrap();
    assert!(report.write.warnings.iter().any(|w| w.contains("Opus")), "{:?}", report.write.warnings);
    assert_eq!(entry(&out, "a:0", "stream=codec_name"), "opus");
    let heard: f64 = tool("ffprobe", &format!("-v error -show_entries format=duration -of csv=p=0 {}", out.display()))
        .trim()
        .parse()
        .unwrap();
    assert!((heard - 1.0).abs() < 0.1, "{heard}");
}

#[test]
fn progress_of_what_is_made_to_fit_never_goes_back() {
    let scratch = Scratch::new();
    let clip = scratch.make(&man(), "-vf scale=180:320 -frames:v 60 -c:v libx264 -preset ultrafast", "small.mp4");
    // With frames that are coded out of order and held back, and with none of that.
    for (codec, container, speed) in [
        (VideoCodec::H264, Container::Mp4, 4),
        (VideoCodec::Vp9, Container::Webm, 7),
        (VideoCodec::Av1, Container::Mp4, 10),
    ] {
        let (ctx, recorder) = context(&scratch);
        let reader = Reader::open(&clip, &ReadOptions::default()).unwrap();
        let format = OutputFormat::new(codec, container);
        let options = WriteOptions { speed, max_bytes: Some(25_000), ..WriteOptions::new(format) };
        let out = scratch.path(&format!("fit.{}", format.extension()));
        let writer = Writer::create(&out, &options, reader.info(), None).unwrap();
        let pass = |frames: &mut Vec<Frame>, emit: &mut Emitter<'_>| frames.drain(..).try_for_each(|f| emit.send(f));
        let options = PipelineOptions { stage: "making".to_owned(), ..PipelineOptions::default() };
        let report = run(reader, writer, &ctx, &options, pass).unwrap();
        assert!(report.write.bytes <= 25_000, "{codec:?}: {report:?}");
        let told = recorder.0.lock().unwrap();
        let making = told.iter().take_while(|progress| progress.stage == "making").count();
        let (making, fitting) = told.split_at(making);
        assert!(fitting.iter().all(|progress| progress.stage == FITTING), "{codec:?}");
        for part in [making, fitting] {
            assert!(part.is_sorted_by(|a, b| a.percent <= b.percent), "{codec:?}: {part:?}");
            assert!(part.last().and_then(|last| last.percent) >= Some(99.0), "{codec:?}: {part:?}");
        }
        assert_eq!(fitting.last().and_then(|last| last.percent), Some(100.0));
        assert_eq!((making.last().map(|p| p.done), fitting.last().map(|p| p.done)), (Some(60), Some(60)), "{codec:?}");
        // The first try begins with nothing, and is no part of the first encoding.
        assert!(fitting[0].percent < Some(10.0) && fitting.len() >= 55, "{codec:?}: {fitting:?}");
    }
}
