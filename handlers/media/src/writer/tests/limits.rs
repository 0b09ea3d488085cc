use super::*;
use VideoCodec::{Av1, H264, Hevc, Vp9};

/// Noise, which no codec can do much about, with a tone.
fn noise(scratch: &Scratch) -> PathBuf {
    let out = scratch.path("noise.mkv");
    run(
        "ffmpeg",
        &format!(
            "-v error -f lavfi -i color=gray:s=320x180:r=25:d=4,noise=alls=60:allf=t,format=yuv420p \
             -f lavfi -i sine=440:d=4 -c:v libx264 -preset ultrafast -qp 10 -c:a aac -b:a 64k {}",
            out.display()
        ),
    );
    out
}

fn limited(codec: VideoCodec, container: Container, max_bytes: u64) -> WriteOptions {
    let format = OutputFormat::new(codec, container);
    WriteOptions { max_bytes: Some(max_bytes), rate: Rate::Quality(90), speed: 9, ..WriteOptions::new(format) }
}

#[test]
fn a_limit_is_held_by_each_codec() {
    let scratch = Scratch::new();
    let noise = noise(&scratch);
    let alpha = WriteOptions { format: OutputFormat::WEBM_ALPHA, ..limited(Vp9, Container::Webm, 400_000) };
    for options in [
        limited(H264, Container::Mp4, 400_000),
        limited(Hevc, Container::Mp4, 400_000),
        limited(Av1, Container::Webm, 400_000),
        limited(Vp9, Container::Matroska, 400_000),
        alpha,
    ] {
        let out = scratch.path(&format!("{}.{}", label(options.format), options.format.extension()));
        let free = WriteOptions { max_bytes: None, ..options.clone() };
        let (_, free) = transfer_with(&noise, &ReadOptions::default(), scratch.path("free"), &free);
        assert!(free.bytes > 600_000, "{options:?}: {} without a limit", free.bytes);
        let (out, report) = transfer_with(&noise, &ReadOptions::default(), out, &options);
        let bytes = std::fs::metadata(&out).unwrap().len();
        println!("{}: {} -> {bytes}, {:?}", label(options.format), free.bytes, report.warnings);
        assert_eq!(report.bytes, bytes);
        assert!(bytes <= 400_000, "{options:?}: {bytes}");
        assert!(bytes > 150_000, "{options:?}: {bytes} wastes what is allowed");
        assert_times(&times(&out, "v:0"), &times(&noise, "v:0"), 0.0006, &label(options.format));
        assert_eq!(entry(&out, "a:0", "stream=codec_type"), "audio");
        assert_eq!(
            std::fs::read_dir(scratch.0.path())
                .unwrap()
                .filter(|e| { e.as_ref().unwrap().path().extension().is_some_and(|e| e == "fit") })
                .count(),
            0
        );
    }
}

#[test]
fn an_unknown_length_is_made_to_fit_when_it_is_over() {
    let scratch = Scratch::new();
    let noise = noise(&scratch);
    for (codec, container) in
        [(H264, Container::Mp4), (Hevc, Container::Matroska), (Av1, Container::Mp4), (Vp9, Container::Webm)]
    {
        let mut reader = Reader::open(&noise, &ReadOptions::default()).unwrap();
        let info = VideoInfo { frames: None, ..reader.info().clone() };
        let options = limited(codec, container, 300_000);
        let out = scratch.path(&format!("late.{}", options.format.extension()));
        let mut writer = Writer::create(&out, &options, &info, reader.tracks()).unwrap();
        while let Some(mut frame) = reader.next().unwrap() {
            writer.write(&mut frame).unwrap();
        }
        let mut told = Vec::new();
        let report = writer
            .finish_watched(&mut |done| {
                told.push(done);
                Ok(())
            })
            .unwrap();
        let bytes = std::fs::metadata(&out).unwrap().len();
        assert!(bytes == report.bytes && bytes <= 300_000 && bytes > 120_000, "{codec:?}: {report:?}");
        assert_eq!(report.frames, 100, "{codec:?}");
        assert!(report.warnings.iter().any(|w| w.contains("second time")), "{codec:?}: {:?}", report.warnings);
        assert!(told.contains(&1) && told.contains(&100), "{codec:?}: {told:?}");
        assert_times(&times(&out, "v:0"), &times(&noise, "v:0"), 0.0006, &label(options.format));
    }
}

#[test]
fn the_second_encoding_can_be_ended() {
    let scratch = Scratch::new();
    let noise = noise(&scratch);
    let mut reader = Reader::open(&noise, &ReadOptions::default()).unwrap();
    let info = VideoInfo { frames: None, ..reader.info().clone() };
    let options = limited(H264, Container::Mp4, 300_000);
    let mut writer = Writer::create(&scratch.path("c.mp4"), &options, &info, None).unwrap();
    while let Some(mut frame) = reader.next().unwrap() {
        writer.write(&mut frame).unwrap();
    }
    let error = writer.finish_watched(&mut |done| match done {
        7 => Err(JobError::new(ErrorCode::Cancelled, "enough")),
        _ => Ok(()),
    });
    assert_eq!(error.unwrap_err().code, ErrorCode::Cancelled);
    assert!(!scratch.path("c.fit").exists());
}

#[test]
fn an_impossible_limit_is_refused_with_what_would_do() {
    let scratch = Scratch::new();
    let noise = noise(&scratch);
    let reader = Reader::open(&noise, &ReadOptions::default()).unwrap();
    // 4 s of sound at 64 kbit/s are more than that alone: known before the first frame.
    let options = limited(H264, Container::Mp4, 20_000);
    let error = Writer::create(&scratch.path("i.mp4"), &options, reader.info(), reader.tracks()).err().unwrap();
    assert_eq!(error.code, ErrorCode::ParamsInvalid);
    assert!(error.message.contains("0.020 MB") && error.message.contains("sound"), "{error}");
    let detail = error.detail.clone().unwrap();
    let least = detail["least_bytes"].as_u64().unwrap();
    assert!((35_000..60_000).contains(&least), "{detail}");
    // What noise needs is known only when the coarsest was tried.
    let options = limited(Vp9, Container::Matroska, least + 2000);
    let reader = Reader::open(&noise, &ReadOptions::default()).unwrap();
    let mut writer = Writer::create(&scratch.path("i.mkv"), &options, reader.info(), reader.tracks()).unwrap();
    let mut reader = reader;
    while let Some(mut frame) = reader.next().unwrap() {
        writer.write(&mut frame).unwrap();
    }
    let outcome = writer.finish();
    match outcome {
        Ok(report) => assert!(report.bytes <= least + 2000),
        Err(error) => {
            assert_eq!(error.code, ErrorCode::ParamsInvalid, "{error}");
            let would_do = error.detail.unwrap()["least_bytes"].as_u64().unwrap();
            assert!(would_do > least + 2000, "{would_do}");
        }
    }
    let sizes = limited(H264, Container::Mp4, 100_000);
    assert!(sizes.check_size(1920, 1080, 250, 0).is_err() && sizes.check_size(320, 180, 250, 0).is_ok());
    let prores = WriteOptions { max_bytes: Some(1), ..WriteOptions::new(OutputFormat::MOV_PRORES4444) };
    assert!(prores.check().unwrap_err().message.contains("cannot be held below a size"));
}
