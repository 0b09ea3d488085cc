use super::*;

/// A second and a half of video, two sound tracks, and subtitles of one codec.
fn source(scratch: &Scratch, codec: &str, name: &str) -> PathBuf {
    let texts = scratch.path("texts.srt");
    std::fs::write(
        &texts,
        "1\n00:00:00,200 --> 00:00:00,900\nFirst <i>line</i>\n\n2\n00:00:01,000 --> 00:00:01,400\nGr\u{fc}\u{df}e\n\n",
    )
    .unwrap();
    let out = scratch.path(name);
    // Outside MP4, AAC would make the file begin before zero, and all times be moved.
    let sound = if name.ends_with("mp4") { "aac" } else { "flac" };
    run(
        "ffmpeg",
        &format!(
            "-v error -y -f lavfi -i testsrc=s=96x64:r=20:d=1.6 -f lavfi -i sine=440:d=1.6 -f lavfi -i sine=880:d=1.6 -i {} \
             -map 0 -map 1 -map 2 -map 3 -c:v libx264 -preset ultrafast -pix_fmt yuv420p -c:a {sound} -c:s {codec} \
             -metadata:s:a:0 language=eng -metadata:s:a:1 language=spa -metadata:s:s:0 language=ita \
             -disposition:a:0 0 -disposition:a:1 default -disposition:s:0 default {}",
            texts.display(),
            out.display()
        ),
    );
    out
}

/// Start, length and text of each subtitle.
fn texts(path: &Path) -> Vec<(f64, f64, String)> {
    // Without -copyts ffmpeg would move all by the first time in the file, which may be that of the sound.
    let srt = run("ffmpeg", &format!("-v error -copyts -i {} -map 0:s:0 -c:s srt -f srt -", path.display()));
    let secs = |t: &str| {
        let mut parts = t.trim().split([':', ',']).map(|p| p.parse::<f64>().unwrap());
        let mut next = || parts.next().unwrap();
        next() * 3600.0 + next() * 60.0 + next() + next() / 1000.0
    };
    srt.split("\n\n")
        .filter(|block| block.contains("-->"))
        .map(|block| {
            let mut lines = block.trim().lines().skip(1);
            let (from, to) = lines.next().unwrap().split_once("-->").unwrap();
            let (from, to) = (secs(from), secs(to));
            (from, to - from, lines.collect::<Vec<_>>().join("/"))
        })
        .collect()
}

fn assert_texts(path: &Path, wanted: &[(f64, f64, &str)], what: &str) {
    let got = texts(path);
    assert_eq!(got.len(), wanted.len(), "{what}: {got:?}");
    for (got, want) in got.iter().zip(wanted) {
        assert!((got.0 - want.0).abs() < 0.002 && (got.1 - want.1).abs() < 0.003, "{what}: {got:?} for {want:?}");
        assert!(got.2.contains(want.2), "{what}: {got:?} for {want:?}");
    }
}

const ALL: [(f64, f64, &str); 2] = [(0.2, 0.7, "line"), (1.0, 0.4, "Gr\u{fc}\u{df}e")];

#[test]
fn subtitles_and_all_sound_are_kept_where_the_container_has_a_form_for_them() {
    let scratch = Scratch::new();
    for (codec, name, format, becomes) in [
        ("srt", "srt.mkv", OutputFormat::MP4_H264, "mov_text"),
        ("ass", "ass.mkv", OutputFormat::MP4_H264, "mov_text"),
        ("mov_text", "text.mp4", OutputFormat::MP4_HEVC, "mov_text"),
        ("mov_text", "text.mp4", OutputFormat::new(VideoCodec::H264, Container::Matroska), "subrip"),
        ("ass", "ass.mkv", OutputFormat::new(VideoCodec::Vp9, Container::Matroska), "ass"),
        ("webvtt", "vtt.mkv", OutputFormat::WEBM_VP9, "webvtt"),
        ("srt", "srt.mkv", OutputFormat::WEBM_VP9, "webvtt"),
    ] {
        let source = source(&scratch, codec, name);
        let what = format!("{name} in {}", label(format));
        let (out, report) = whole(&source, scratch.path(&format!("out.{}", format.extension())), format);
        assert_eq!(entry(&out, "s:0", "stream=codec_name"), becomes, "{what}: {:?}", report.warnings);
        assert_texts(&out, &ALL, &what);
        assert_eq!(entry(&out, "s:0", "stream_tags=language"), "ita", "{what}");
        // The main track first: it has the flag.
        let tracks = |what| entry(&out, "a", what).lines().map(str::to_owned).collect::<Vec<_>>();
        let languages = tracks("stream_tags=language");
        assert_eq!(languages, ["spa", "eng"], "{what}");
        assert_eq!(tracks("stream_disposition=default")[0], "1", "{what}");
    }
}

#[test]
fn a_range_cuts_subtitles_where_it_cuts_the_video() {
    let scratch = Scratch::new();
    let source = source(&scratch, "srt", "srt.mkv");
    let range = ReadOptions { start_secs: Some(0.5), end_secs: Some(1.2), ..ReadOptions::default() };
    for format in [OutputFormat::MP4_H264, OutputFormat::new(VideoCodec::H264, Container::Matroska)] {
        let (out, _) = transfer(&source, &range, scratch.path(&format!("cut.{}", format.extension())), format);
        assert_texts(&out, &[(0.0, 0.4, "line"), (0.5, 0.2, "Gr")], &label(format));
    }
}

/// Two Blu-ray subtitles without content: presentation and end, `PG`, times of 90 kHz, kind, length.
fn bitmaps(scratch: &Scratch) -> PathBuf {
    let mut bytes = Vec::new();
    for (at, number) in [(45_000_u32, 1_u8), (90_000, 2)] {
        let presentation = [0x07, 0x80, 0x04, 0x38, 0x10, 0, number, 0x80, 0, 0, 0];
        for (kind, payload) in [(0x16_u8, presentation.as_slice()), (0x80, &[])] {
            bytes.extend(b"PG");
            bytes.extend(at.to_be_bytes());
            bytes.extend(0_u32.to_be_bytes());
            bytes.push(kind);
            bytes.extend((payload.len() as u16).to_be_bytes());
            bytes.extend(payload);
        }
    }
    let sup = scratch.path("bitmaps.sup");
    std::fs::write(&sup, bytes).unwrap();
    let out = scratch.path("bitmaps.mkv");
    let video = "-f lavfi -i testsrc=s=96x64:r=20:d=1.6";
    let coded = "-c:v libx264 -preset ultrafast -pix_fmt yuv420p -c:s copy";
    run("ffmpeg", &format!("-v error {video} -i {} -map 0 -map 1 {coded} {}", sup.display(), out.display()));
    out
}

#[test]
fn what_a_container_cannot_hold_is_left_out_and_told() {
    let scratch = Scratch::new();
    let source = bitmaps(&scratch);
    let (out, report) = whole(&source, scratch.path("out.mp4"), OutputFormat::MP4_H264);
    assert!(report.warnings.iter().any(|w| w.contains("`container` = `mkv`")), "{:?}", report.warnings);
    assert_eq!(entry(&out, "s", "stream=index"), "");
    let matroska = OutputFormat::new(VideoCodec::H264, Container::Matroska);
    let (out, report) = whole(&source, scratch.path("out.mkv"), matroska);
    assert!(report.warnings.is_empty(), "{:?}", report.warnings);
    assert_eq!(entry(&out, "s:0", "stream=codec_name"), "hdmv_pgs_subtitle");
    assert_times(&times(&out, "s:0"), &times(&source, "s:0"), 0.001, "bitmaps");
    assert_eq!(times(&out, "s:0").len(), 2);
}

#[test]
fn damaged_subtitles_are_counted_not_trusted() {
    let scratch = Scratch::new();
    let good = source(&scratch, "srt", "good.mkv");
    let mut bytes = std::fs::read(&good).unwrap();
    let at = bytes.windows(5).position(|w| w == b"First").unwrap();
    // No UTF-8.
    bytes[at..at + 5].copy_from_slice(&[0xff, 0xfe, 0xff, 0xfe, 0xff]);
    let bad = scratch.path("bad.mkv");
    std::fs::write(&bad, bytes).unwrap();
    let (out, report) = whole(&bad, scratch.path("out.mp4"), OutputFormat::MP4_H264);
    assert!(report.warnings.iter().any(|w| w.contains("1 packets of the subtitles")), "{:?}", report.warnings);
    assert_texts(&out, &ALL[1..], "the other one");
}
