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

/// Ordinary footage with sound.
fn jumping(scratch: &Scratch) -> PathBuf {
    let arguments = "-t 4 -vf scale=320:180 -c:v libx264 -preset ultrafast -crf 8 -c:a aac -ac 1 -b:a 32k";
    scratch.make(&jump(), arguments, "jumping.mkv")
}

fn limited(codec: VideoCodec, container: Container, max_bytes: u64) -> WriteOptions {
    let format = OutputFormat::new(codec, container);
    WriteOptions { max_bytes: Some(max_bytes), rate: Rate::Quality(90), speed: 9, ..WriteOptions::new(format) }
}

#[test]
fn a_limit_is_used_well_and_held_by_each_codec() {
    let scratch = Scratch::new();
    let clip = jumping(&scratch);
    let alpha = WriteOptions { format: OutputFormat::WEBM_ALPHA, ..limited(Vp9, Container::Webm, 0) };
    for options in [
        limited(H264, Container::Mp4, 0),
        limited(Hevc, Container::Mp4, 0),
        limited(Av1, Container::Webm, 0),
        limited(Vp9, Container::Matroska, 0),
        alpha,
    ] {
        let what = label(options.format);
        let free = WriteOptions { max_bytes: None, ..options.clone() };
        let (_, free) = transfer_with(&clip, &ReadOptions::default(), scratch.path("free"), &free);
        let max = free.bytes * 7 / 10;
        let out = scratch.path(&format!("{what}.{}", options.format.extension()));
        let options = WriteOptions { max_bytes: Some(max), ..options };
        let (out, report) = transfer_with(&clip, &ReadOptions::default(), out, &options);
        let bytes = std::fs::metadata(&out).unwrap().len();
        assert_eq!(report.bytes, bytes);
        assert!(bytes <= max && bytes * 100 >= max * 85, "{what}: {bytes} of {max}");
        assert_times(&times(&out, "v:0"), &times(&clip, "v:0"), 0.0006, &what);
        assert_eq!(entry(&out, "a:0", "stream=codec_type"), "audio");
    }
    let left =
        |e: std::io::Result<std::fs::DirEntry>| e.unwrap().path().extension().is_some_and(|e| e == "fit" || e == "try");
    assert_eq!(std::fs::read_dir(scratch.0.path()).unwrap().map(left).filter(|left| *left).count(), 0);
}

/// Of all that is coded in a file, as it is.
fn content(path: &Path) -> String {
    run("ffmpeg", &format!("-v error -nostdin -i {} -map 0 -c copy -f md5 -", path.display()))
}

#[test]
fn a_file_that_fits_is_as_without_a_limit() {
    let scratch = Scratch::new();
    let noise = noise(&scratch);
    for (codec, container) in
        [(H264, Container::Mp4), (Hevc, Container::Mp4), (Av1, Container::Mp4), (Vp9, Container::Webm)]
    {
        let free = WriteOptions { max_bytes: None, ..limited(codec, container, 0) };
        let (free_path, free) = transfer_with(&noise, &ReadOptions::default(), scratch.path("free"), &free);
        // It may be as large as it is, and not a byte larger.
        let options = limited(codec, container, free.bytes + 64);
        let (path, report) = transfer_with(&noise, &ReadOptions::default(), scratch.path("held"), &options);
        assert_eq!(content(&path), content(&free_path), "{codec:?}: {report:?}");
        assert_eq!(report.warnings, free.warnings, "{codec:?}");
    }
}

#[test]
fn the_first_encoding_knows_nothing_of_the_limit_however_long_the_video_is() {
    let scratch = Scratch::new();
    let noise = noise(&scratch);
    for (codec, container) in
        [(H264, Container::Mp4), (Hevc, Container::Mp4), (Av1, Container::Mp4), (Vp9, Container::Webm)]
    {
        // An hour of it, by what the source says.
        let hour = |path: &str, options: &WriteOptions| {
            let mut reader = Reader::open(&noise, &ReadOptions::default()).unwrap();
            let info = VideoInfo { frames: Some(90_000), frames_counted: false, ..reader.info().clone() };
            let path = scratch.path(path);
            let mut writer = Writer::create(&path, options, &info, None).unwrap();
            for _ in 0..10 {
                writer.write(&mut reader.next().unwrap().unwrap()).unwrap();
            }
            let report = writer.finish().unwrap();
            (content(&path), report.bytes)
        };
        let options = limited(codec, container, 0);
        let (free, bytes) = hour("free", &WriteOptions { max_bytes: None, ..options.clone() });
        let (held, _) = hour("held", &WriteOptions { max_bytes: Some(bytes + 64), ..options });
        assert_eq!(free, held, "{codec:?}");
    }
}

#[test]
fn a_still_screen_takes_little_and_is_not_refused() {
    let scratch = Scratch::new();
    let screen = scratch.path("screen.mkv");
    let still = "-v error -f lavfi -i testsrc=s=1920x1080:r=10:d=1 -vf trim=end_frame=1,loop=300:1,fps=10 -c:v ffv1";
    run("ffmpeg", &format!("{still} {}", screen.display()));
    // 0.0011 bits a pixel of a frame.
    let max = 90_000;
    let (out, report) = transfer_with(
        &screen,
        &ReadOptions::default(),
        scratch.path("screen.mp4"),
        &limited(H264, Container::Mp4, max),
    );
    assert_eq!(report.frames, 301);
    assert!(std::fs::metadata(out).unwrap().len() <= max, "{report:?}");
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
            .finish_watched(&mut |closing, done| {
                told.push((closing, done));
                Ok(())
            })
            .unwrap();
        let bytes = std::fs::metadata(&out).unwrap().len();
        assert!(bytes == report.bytes && bytes <= 300_000, "{codec:?}: {report:?}");
        assert_eq!(report.frames, 100, "{codec:?}");
        assert!(report.warnings.iter().any(|w| w.contains("second time")), "{codec:?}: {:?}", report.warnings);
        assert!(told.contains(&(Closing::Fitting(1), 1)), "{codec:?}: {told:?}");
        assert!(told.last().is_some_and(|(closing, _)| matches!(closing, Closing::Fitting(_))), "{codec:?}: {told:?}");
        assert!(
            told.iter().any(|(closing, done)| *closing != Closing::Draining && *done == 100),
            "{codec:?}: {told:?}"
        );
        // Nothing goes back but with a new try.
        let order = |(closing, done): &(Closing, u64)| match closing {
            Closing::Draining => (0, *done),
            Closing::Fitting(number) => (*number, *done),
        };
        assert!(told.is_sorted_by_key(order), "{codec:?}: {told:?}");
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
    let error = writer.finish_watched(&mut |_, done| match done {
        7 => Err(JobError::new(ErrorCode::Cancelled, "enough")),
        _ => Ok(()),
    });
    assert_eq!(error.unwrap_err().code, ErrorCode::Cancelled);
    assert!(!scratch.path("c.try").exists() && !scratch.path("c.fit").exists());
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
    assert!((33_000..60_000).contains(&least), "{detail}");
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
    assert!(sizes.check_size(108_000, 0).is_err() && sizes.check_size(250, 0).is_ok());
    let prores = WriteOptions { max_bytes: Some(1), ..WriteOptions::new(OutputFormat::MOV_PRORES4444) };
    assert!(prores.check().unwrap_err().message.contains("cannot be held below a size"));
}

#[test]
fn only_frames_that_were_counted_are_reason_to_refuse() {
    let scratch = Scratch::new();
    let noise = noise(&scratch);
    let reader = Reader::open(&noise, &ReadOptions::default()).unwrap();
    assert!(!reader.info().frames_counted, "Matroska tells times and no count");
    let options = limited(H264, Container::Mp4, 200_000);
    let create = |counted| {
        let info = VideoInfo { frames: Some(1_000_000), frames_counted: counted, ..reader.info().clone() };
        Writer::create(&scratch.path("c.mp4"), &options, &info, None).map(drop)
    };
    create(false).unwrap();
    assert_eq!(create(true).unwrap_err().code, ErrorCode::ParamsInvalid);
}

#[test]
fn sound_that_leaves_no_room_is_told_as_such() {
    let scratch = Scratch::new();
    // PCM is transcoded in MP4: how much it takes is known only when it is written.
    let silent = scratch.make(&noise(&scratch), "-c:v copy -c:a pcm_s16le", "pcm.mkv");
    let options = WriteOptions { max_bytes: Some(4_000), ..limited(H264, Container::Mp4, 0) };
    let mut reader = Reader::open(&silent, &ReadOptions::default()).unwrap();
    let mut writer = Writer::create(&scratch.path("s.mp4"), &options, reader.info(), reader.tracks()).unwrap();
    while let Some(mut frame) = reader.next().unwrap() {
        writer.write(&mut frame).unwrap();
    }
    let error = writer.finish().unwrap_err();
    assert!(error.message.contains("at least") && error.message.contains("black"), "{error}");
}
