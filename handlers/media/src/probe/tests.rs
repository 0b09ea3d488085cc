use std::path::{Path, PathBuf};

use super::*;
use crate::testing::{Scratch, jump, man, run};

fn video(path: &Path) -> Result<Probe> {
    probe(path, &[MediaKind::Video], &Limits::default())
}

fn code(path: &Path) -> ErrorCode {
    video(path).unwrap_err().code
}

fn written(scratch: &Scratch, name: &str, bytes: &[u8]) -> PathBuf {
    let path = scratch.path(name);
    std::fs::write(&path, bytes).unwrap();
    path
}

#[test]
fn a_real_clip_is_described() {
    let probe = video(&jump()).unwrap();
    let v = probe.video.unwrap();
    assert_eq!((v.codec.as_str(), v.width_px, v.height_px, v.frames), ("vp9", 1768, 994, Some(230)));
    assert_eq!((v.bit_depth, v.has_alpha, v.is_hdr, v.rotation_degrees), (8, false, false, 0));
    assert_eq!(probe.audio.len(), 1);
    assert_eq!((probe.audio[0].codec.as_str(), probe.audio[0].channels, probe.audio[0].sample_rate), ("aac", 2, 44100));
    assert!((probe.duration_secs.unwrap() - 230.0 / 30.0).abs() < 0.1);
    assert_eq!(probe.bytes, 3_968_304);
}

#[test]
fn each_bad_input_has_its_code() {
    let scratch = Scratch::new();
    assert_eq!(code(&scratch.path("absent.mp4")), ErrorCode::InputNotFound);
    assert_eq!(code(&written(&scratch, "empty.mp4", b"")), ErrorCode::InputEmpty);
    let text = "This is a letter, not a video.\n".repeat(200);
    assert_eq!(code(&written(&scratch, "text.mp4", text.as_bytes())), ErrorCode::InputNotMedia);
    let zeros = vec![0; 100_000];
    assert_eq!(code(&written(&scratch, "zeros.mp4", &zeros)), ErrorCode::InputNotMedia);

    // The index of this clip stands at its end.
    let plain = scratch.make(&man(), "-vf scale=90:160 -frames:v 20 -c:v libx264 -preset ultrafast", "plain.mp4");
    let bytes = std::fs::read(&plain).unwrap();
    assert_eq!(code(&written(&scratch, "no-moov.mp4", &bytes[..bytes.len() / 2])), ErrorCode::InputTruncated);
    assert_eq!(code(&written(&scratch, "head.mp4", &bytes[..20])), ErrorCode::InputTruncated);

    let sound = scratch.make(&jump(), "-t 0.5 -vn -c:a copy", "sound.m4a");
    assert_eq!(code(&sound), ErrorCode::InputNoVideo);
    let wav = scratch.make(&jump(), "-t 0.5 -vn", "sound.wav");
    assert_eq!(code(&wav), ErrorCode::InputNoVideo);

    let tiny = scratch.path("tiny.mp4");
    run(
        "ffmpeg",
        &format!("-v error -f lavfi -i color=red:s=2x2:r=10:d=0.5 -c:v libx264 -pix_fmt yuv420p {}", tiny.display()),
    );
    assert_eq!(code(&tiny), ErrorCode::InputTooSmall);
}

#[test]
fn pictures_are_no_videos() {
    let scratch = Scratch::new();
    for name in ["p.png", "p.jpg", "p.webp", "p.bmp", "p.tiff", "p.gif"] {
        let picture = scratch.make(&man(), "-vf scale=90:160 -frames:v 1", name);
        let renamed = scratch.path(&format!("{name}.mp4"));
        std::fs::copy(&picture, &renamed).unwrap();
        assert_eq!(code(&renamed), ErrorCode::InputWrongKind, "{name}");
        let probe = probe(&picture, &[MediaKind::Video, MediaKind::Image], &Limits::default()).unwrap();
        assert_eq!((probe.kind, probe.video.unwrap().width_px), (MediaKind::Image, 90), "{name}");
    }
}

#[test]
fn pictures_that_move_are_videos() {
    let scratch = Scratch::new();
    // Each frame shows 0.2 s, but for the third, which shows longer.
    let times = "-frames:v 4 -vf scale=90:160,setpts='(N*0.2+gte(N,3)*0.5)/TB' -vsync vfr";
    for (name, form) in [("m.gif", ""), ("m.png", "-f apng")] {
        let moving = scratch.make(&man(), &format!("{times} {form}"), name);
        let probe = probe(&moving, &[MediaKind::Video, MediaKind::Image], &Limits::default()).unwrap();
        let video = probe.video.unwrap();
        assert_eq!((probe.kind, video.frames, video.has_alpha), (MediaKind::Video, Some(4), false), "{name}");
        let mut reader = Reader::open(&moving, &ReadOptions::default()).unwrap();
        let base = f64::from(reader.info().time_base);
        let mut found = Vec::new();
        while let Some(frame) = reader.next().unwrap() {
            found.push((frame.pts() as f64 * base * 10.0).round() as i64);
        }
        assert_eq!(found, [0, 2, 4, 11], "{name}");
    }
    let half = "scale=90:160,format=rgba,geq=r='r(X,Y)':g='g(X,Y)':b='b(X,Y)':a='255*gte(X,40)'";
    let palette = format!("-frames:v 3 -filter_complex {half},split[a][b];[a]palettegen[p];[b][p]paletteuse");
    let sticker = scratch.make(&man(), &palette, "sticker.gif");
    assert!(probe(&sticker, &[MediaKind::Video], &Limits::default()).unwrap().video.unwrap().has_alpha);

    // It is opaque at first.
    let fade = "scale=90:160,format=rgba,geq=r='r(X,Y)':g='g(X,Y)':b='b(X,Y)':a='255*gte(X,40*N)'";
    let palette = format!("-frames:v 3 -filter_complex {fade},split[a][b];[a]palettegen[p];[b][p]paletteuse");
    let fading = scratch.make(&man(), &palette, "fading.gif");
    let mut reader = Reader::open(&fading, &ReadOptions::default()).unwrap();
    assert!(!reader.info().has_alpha);
    while reader.next().unwrap().is_some() {}
    assert!(reader.alpha_lost());

    let webp = scratch.make(&man(), "-frames:v 3 -vf scale=90:160 -c:v libwebp_anim", "m.webp");
    let error = probe(&webp, &[MediaKind::Video, MediaKind::Image], &Limits::default()).unwrap_err();
    assert!(error.code == ErrorCode::InputUnsupported && error.message.contains("GIF"), "{error}");
}

#[test]
fn a_picture_in_a_video_container_is_no_video() {
    let scratch = Scratch::new();
    let picture =
        scratch.make(&man(), "-vf scale=96:160 -frames:v 1 -c:v libaom-av1 -still-picture 1 -cpu-used 8", "p.avif");
    assert_eq!(code(&picture), ErrorCode::InputWrongKind);
}

#[test]
fn a_cover_picture_is_no_video() {
    let scratch = Scratch::new();
    let cover = scratch.make(&man(), "-vf scale=90:160 -frames:v 1", "cover.jpg");
    let sound = scratch.make(&jump(), "-t 0.5 -vn -c:a libmp3lame", "sound.mp3");
    let with_cover = scratch.path("cover.mp3");
    run(
        "ffmpeg",
        &format!(
            "-v error -i {} -i {} -map 0:a -map 1:v -c copy -disposition:v attached_pic {}",
            sound.display(),
            cover.display(),
            with_cover.display()
        ),
    );
    assert_eq!(code(&with_cover), ErrorCode::InputNoVideo);
}

#[test]
fn scripts_cannot_open_other_files() {
    let scratch = Scratch::new();
    let clip = man();
    let clip = clip.display();
    for (name, text) in [
        ("list.mp4", format!("ffconcat version 1.0\nfile '{clip}'\n")),
        ("list.m3u8", format!("#EXTM3U\n#EXT-X-TARGETDURATION:10\n#EXTINF:10,\nfile://{clip}\n#EXT-X-ENDLIST\n")),
        (
            "list.sdp",
            format!("v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nm=video 5004 RTP/AVP 96\na={clip}\n"),
        ),
    ] {
        assert_eq!(code(&written(&scratch, name, text.as_bytes())), ErrorCode::InputNotMedia, "{name}");
    }
}

#[test]
fn limits_are_held() {
    let limited = |limits: Limits| probe(&man(), &[MediaKind::Video], &limits).unwrap_err();
    let base = Limits::default();
    for limits in [
        Limits { max_bytes: 1000, ..base },
        Limits { max_pixels: 1000, ..base },
        Limits { max_duration_secs: 1.0, ..base },
    ] {
        let error = limited(limits);
        assert_eq!(error.code, ErrorCode::InputTooLarge, "{}", error.message);
        assert!(error.detail.is_some());
    }
    assert_eq!(limited(Limits { min_side_px: 2000, ..base }).code, ErrorCode::InputTooSmall);
}

#[test]
fn damage_from_the_first_frame_on_is_told() {
    let scratch = Scratch::new();
    let plain = scratch.make(
        &man(),
        "-vf scale=180:320 -frames:v 10 -c:v libx264 -preset ultrafast -movflags +faststart",
        "plain.mp4",
    );
    let mut bytes = std::fs::read(&plain).unwrap();
    let data = bytes.windows(4).position(|w| w == b"mdat").unwrap() + 4;
    bytes[data..].fill(0xff);
    assert_eq!(code(&written(&scratch, "bad.mp4", &bytes)), ErrorCode::InputCorrupt);
    // All of the index, none of the pictures.
    assert_eq!(code(&written(&scratch, "index.mp4", &bytes[..data])), ErrorCode::InputTruncated);
}

#[test]
fn alpha_hdr_and_rotation_are_seen() {
    let scratch = Scratch::new();
    let alpha = scratch.make(
        &man(),
        "-vf scale=90:160,format=yuva420p -frames:v 3 -c:v libvpx-vp9 -deadline realtime -auto-alt-ref 0",
        "alpha.webm",
    );
    assert!(video(&alpha).unwrap().video.unwrap().has_alpha);
    let hdr = scratch.make(
        &man(),
        "-vf scale=90:160 -frames:v 3 -c:v libx265 -preset ultrafast -pix_fmt yuv420p10le -x265-params log-level=none:colorprim=bt2020:transfer=smpte2084:colormatrix=bt2020nc",
        "hdr.mp4",
    );
    let v = video(&hdr).unwrap().video.unwrap();
    assert!(v.is_hdr && v.bit_depth == 10 && v.colour.transfer == "smpte2084", "{v:?}");
    let turned = scratch.make(&hdr, "-c copy -metadata:s:v:0 rotate=90", "turned.mp4");
    let v = video(&turned).unwrap().video.unwrap();
    // A turn of 90 in this tag of FFmpeg 5.1 is counter-clockwise.
    assert_eq!((v.rotation_degrees, v.width_px, v.height_px), (270, 160, 90));
}

#[test]
fn files_that_do_not_tell_how_long_they_are_are_read_as_long_as_a_file_may_be() {
    let scratch = Scratch::new();
    let times = "-frames:v 4 -vf scale=90:160,setpts=N*0.2/TB -vsync vfr";
    // Browsers record the latter.
    for (name, form) in [("m.png", "-f apng"), ("m.webm", "-c:v libvpx -f webm -live 1")] {
        let moving = scratch.make(&man(), &format!("{times} {form}"), name);
        let frames = |max_duration_secs| {
            let mut reader = Reader::open(&moving, &ReadOptions { max_duration_secs, ..ReadOptions::default() })?;
            let mut frames = 0;
            while reader.next()?.is_some() {
                frames += 1;
            }
            Ok::<_, JobError>(frames)
        };
        assert_eq!(frames(0.65).unwrap(), 4, "{name}");
        let error = frames(0.5).unwrap_err();
        assert!(error.code == ErrorCode::InputTooLarge && error.message.contains("end_secs"), "{name}: {error}");
    }
}

#[test]
fn a_picture_ends_after_its_first_frame() {
    let scratch = Scratch::new();
    let moving = scratch.make(&man(), "-frames:v 4 -vf scale=90:160 -f apng", "m.png");
    let mut bytes = std::fs::read(&moving).unwrap();
    // It says that it has one frame.
    let at = bytes.windows(4).position(|name| name == b"acTL").unwrap();
    bytes[at + 4..at + 8].copy_from_slice(&1_u32.to_be_bytes());
    let lying = scratch.path("one.png");
    std::fs::write(&lying, bytes).unwrap();
    let mut reader = Reader::open(&lying, &ReadOptions::default()).unwrap();
    assert!(reader.info().is_still && reader.next().unwrap().is_some() && reader.next().unwrap().is_none());
}
