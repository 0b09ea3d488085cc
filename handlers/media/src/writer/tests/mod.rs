mod formats;
mod limits;
mod pictures;
mod tracks;

use std::path::{Path, PathBuf};

use super::*;
use crate::colour::{FromRgb, Hdr, ToRgb};
use crate::testing::{Scratch, entry, jump, man, run, times};
use crate::{ReadOptions, Reader};

/// Source to output through RGB, with an alpha that runs from left to right.
fn transfer(from: &Path, read: &ReadOptions, to: PathBuf, format: OutputFormat) -> (PathBuf, WriteReport) {
    transfer_with(from, read, to, &WriteOptions { speed: 10, ..WriteOptions::new(format) })
}

fn transfer_with(from: &Path, read: &ReadOptions, to: PathBuf, options: &WriteOptions) -> (PathBuf, WriteReport) {
    let mut reader = Reader::open(from, read).unwrap();
    let info = reader.info().clone();
    let mut writer = Writer::create(&to, options, &info, reader.tracks()).unwrap();
    let n = (info.width_px * info.height_px) as usize;
    let (mut rgb, width) = (vec![0.0; 3 * n], info.width_px as usize);
    let alpha: Vec<f32> = (0..n).map(|i| (i % width) as f32 / width as f32).collect();
    let (mut to_rgb, mut from_rgb) = (ToRgb::new(Hdr::Keep), FromRgb::new(info.bit_depth > options.bit_depth));
    while let Some(frame) = reader.next().unwrap() {
        to_rgb.convert(&frame, &mut rgb).unwrap();
        let mut out = writer.pool().take().unwrap();
        out.set_pts(frame.pts());
        from_rgb.convert(&rgb, options.format.alpha.then_some(alpha.as_slice()), &mut out).unwrap();
        writer.write(&mut out).unwrap();
        writer.pool().give(out);
    }
    (to, writer.finish().unwrap())
}

fn whole(from: &Path, to: PathBuf, format: OutputFormat) -> (PathBuf, WriteReport) {
    transfer(from, &ReadOptions::default(), to, format)
}

/// A name for messages and files.
fn label(format: OutputFormat) -> String {
    format!("{:?}-{}{}", format.codec, format.extension(), if format.alpha { "-alpha" } else { "" })
}

const FILES: [OutputFormat; 4] =
    [OutputFormat::WEBM_ALPHA, OutputFormat::MP4_H264, OutputFormat::MP4_HEVC, OutputFormat::MOV_PRORES4444];

fn assert_times(got: &[f64], want: &[f64], tolerance: f64, what: &str) {
    assert_eq!(got.len(), want.len(), "{what}");
    for (g, w) in got.iter().zip(want) {
        assert!((g - w).abs() <= tolerance, "{what}: {g} for {w}");
    }
}

#[test]
fn each_format_keeps_frames_times_size_shape_and_tags() {
    let scratch = Scratch::new();
    for (size, aspect) in [("120:90", "4/3"), ("161:91", "1")] {
        let tags = "-colorspace bt709 -color_primaries bt709 -color_trc bt709 -color_range tv";
        let small = scratch.make(
            &man(),
            &format!(
                "-vf scale={size},setsar={aspect},select='not(between(mod(n,10),3,6))' -vsync vfr -frames:v 10 \
                 -c:v libx264 -preset ultrafast -pix_fmt yuv444p {tags}"
            ),
            &format!("{}.mp4", size.replace(':', "x")),
        );
        for format in FILES {
            let what = format!("{format:?} {size}");
            let out = scratch.path(&format!("{}-{}.{}", label(format), size.replace(':', "x"), format.extension()));
            let (out, report) = whole(&small, out, format);
            assert_eq!(report.frames, 10, "{what}");
            assert_eq!(report.bytes, std::fs::metadata(&out).unwrap().len(), "{what}");
            let step = if format == OutputFormat::WEBM_ALPHA { 0.0005 + 1e-9 } else { 2e-6 };
            assert_times(&times(&out, "v:0"), &times(&small, "v:0"), step, &what);
            let (w, h) = size.split_once(':').unwrap();
            let shape = entry(&out, "v:0", "stream=codec_name,width,height");
            let codec = match format {
                OutputFormat::WEBM_ALPHA => "vp9",
                OutputFormat::MP4_H264 => "h264",
                OutputFormat::MP4_HEVC => "hevc",
                _ => "prores",
            };
            assert_eq!(shape, format!("{codec},{w},{h}"), "{what}");
            assert_eq!(entry(&out, "v:0", "stream=color_range,color_space"), "tv,bt709", "{what}");
            if aspect == "4/3" {
                assert_eq!(entry(&out, "v:0", "stream=sample_aspect_ratio"), "4:3", "{what}");
            }
        }
    }
}

#[test]
fn colours_survive_each_format() {
    let scratch = Scratch::new();
    let small = scratch.make(&man(), "-vf scale=160:284 -frames:v 3 -c:v libx264 -preset ultrafast -qp 4", "s.mp4");
    let mut reader = Reader::open(&small, &ReadOptions::default()).unwrap();
    let first = reader.next().unwrap().unwrap();
    let mut wanted = vec![0.0; 3 * 160 * 284];
    ToRgb::new(Hdr::Keep).convert(&first, &mut wanted).unwrap();
    for format in FILES {
        let (out, _) = whole(&small, scratch.path(&format!("c.{}", label(format))), format);
        let options = ReadOptions { alpha: true, ..ReadOptions::default() };
        let got = Reader::open(&out, &options).unwrap().next().unwrap().unwrap();
        let mut rgb = vec![0.0; wanted.len()];
        ToRgb::new(Hdr::Keep).convert(&got, &mut rgb).unwrap();
        let mean = wanted.iter().zip(&rgb).map(|(a, b)| (a - b).abs()).sum::<f32>() / rgb.len() as f32;
        assert!(mean < 0.02, "{format:?}: {mean}");
        if format.alpha {
            let mut alpha = vec![0.0; 160 * 284];
            assert!(crate::colour::alpha_of(&got, &mut alpha), "{format:?}");
            let off = alpha.iter().enumerate().map(|(i, a)| (a - (i % 160) as f32 / 160.0).abs()).sum::<f32>();
            assert!(off / (160.0 * 284.0) < 0.02, "{format:?}: {off}");
        }
    }
}

#[test]
fn late_starts_are_kept() {
    let scratch = Scratch::new();
    let small =
        scratch.make(&jump(), "-t 0.4 -vf scale=160:90 -c:v libx264 -preset ultrafast -bf 0 -c:a copy", "s.mp4");
    let late = scratch.make(&small, "-c copy -output_ts_offset 2.5", "late.mkv");
    for format in FILES {
        let (out, _) = whole(&late, scratch.path(&format!("late-{}.{}", label(format), format.extension())), format);
        let tolerance = if format == OutputFormat::WEBM_ALPHA { 0.001 } else { 0.0001 };
        assert_times(&times(&out, "v:0"), &times(&late, "v:0"), tolerance, &format!("{format:?}"));
        let (sound, original) = (times(&out, "a:0")[0], times(&late, "a:0")[0]);
        assert!((sound - original).abs() < 0.05, "{format:?}: {sound} for {original}");
    }
}

#[test]
fn a_start_below_zero_is_lifted_in_webm_and_told() {
    let scratch = Scratch::new();
    let small = scratch.make(&man(), "-vf scale=96:64 -frames:v 5 -c:v libx264 -preset ultrafast", "s.mp4");
    for format in [OutputFormat::WEBM_ALPHA, OutputFormat::MP4_H264] {
        let mut reader = Reader::open(&small, &ReadOptions::default()).unwrap();
        let quarter = ticks(0.25, reader.info().time_base);
        let mut info = reader.info().clone();
        info.start_pts -= quarter;
        let out = scratch.path(&format!("early.{}", format.extension()));
        let mut writer = Writer::create(&out, &WriteOptions::new(format), &info, None).unwrap();
        let grey = vec![0.5; 96 * 64];
        while let Some(frame) = reader.next().unwrap() {
            let mut early = writer.pool().take().unwrap();
            early.set_pts(frame.pts() - quarter);
            FromRgb::new(false).convert_grey(&grey, &mut early).unwrap();
            writer.write(&mut early).unwrap();
        }
        let report = writer.finish().unwrap();
        let webm = format == OutputFormat::WEBM_ALPHA;
        assert_eq!(report.warnings.iter().any(|w| w.contains("before zero")), webm, "{:?}", report.warnings);
        assert_eq!(report.frames, 5);
        if webm {
            assert_times(&times(&out, "v:0"), &times(&small, "v:0"), 0.001, "lifted to zero");
        }
    }
}

/// Times of a sound stream's packets, and their hashes.
fn packets(path: &Path) -> Vec<(f64, String)> {
    let show = "-v error -select_streams a:0 -show_data_hash md5 -show_entries packet=pts_time,data_hash -of json";
    let json: serde_json::Value = serde_json::from_str(&run("ffprobe", &format!("{show} {}", path.display()))).unwrap();
    let packet = |p: &serde_json::Value| {
        (p["pts_time"].as_str().unwrap().parse().unwrap(), p["data_hash"].as_str().unwrap().to_owned())
    };
    json["packets"].as_array().unwrap().iter().map(packet).collect()
}

#[test]
fn sound_that_a_container_takes_is_copied_bit_by_bit() {
    let scratch = Scratch::new();
    let video = "-t 1.5 -vf scale=160:90 -c:v libvpx-vp9 -deadline realtime -cpu-used 8";
    for (sound, name, format) in [
        ("libopus", "opus.webm", OutputFormat::WEBM_ALPHA),
        ("libvorbis", "vorbis.webm", OutputFormat::WEBM_ALPHA),
        ("copy", "aac.mp4", OutputFormat::MP4_H264),
        ("libmp3lame", "mp3.mkv", OutputFormat::MP4_H264),
        ("pcm_s16le", "pcm.mkv", OutputFormat::MOV_PRORES4444),
        ("copy", "aac2.mp4", OutputFormat::MOV_PRORES4444),
    ] {
        let small = scratch.make(&jump(), &format!("{video} -c:a {sound}"), name);
        let (out, report) = whole(&small, scratch.path(&format!("out-{name}.{}", format.extension())), format);
        assert!(report.warnings.is_empty(), "{name}: {:?}", report.warnings);
        let (before, after) = (packets(&small), packets(&out));
        assert!(before.len() > 10, "{name}");
        let hashes = |p: &[(f64, String)]| p.iter().map(|(_, h)| h.clone()).collect::<Vec<_>>();
        assert!(hashes(&before) == hashes(&after), "{name}: {} and {} packets", before.len(), after.len());
        for (b, a) in before.iter().zip(&after) {
            assert!((b.0 - a.0).abs() < 0.0015, "{name}: {} for {}", a.0, b.0);
        }
        assert_times(&times(&out, "v:0"), &times(&small, "v:0"), 0.001, name);
    }
}

#[test]
fn sound_is_cut_to_the_range_of_the_video() {
    let scratch = Scratch::new();
    let small = scratch.make(&jump(), "-t 3 -vf scale=160:90 -c:v libx264 -preset ultrafast -c:a copy", "s.mp4");
    let range = ReadOptions { start_secs: Some(1.0), end_secs: Some(2.0), ..ReadOptions::default() };
    for format in [OutputFormat::WEBM_ALPHA, OutputFormat::MP4_H264] {
        let (out, report) = transfer(&small, &range, scratch.path(&format!("cut.{}", format.extension())), format);
        assert_eq!(report.frames, 30, "{format:?}");
        let (video, sound) = (times(&out, "v:0"), times(&out, "a:0"));
        assert!(video[0].abs() < 0.001 && (video[29] - 29.0 / 30.0).abs() < 0.002, "{format:?} {video:?}");
        assert!(sound[0].abs() < 0.05, "{format:?} {}", sound[0]);
        assert!((sound[sound.len() - 1] - 1.0).abs() < 0.06, "{format:?} {}", sound[sound.len() - 1]);
    }
}

#[test]
fn a_range_from_the_very_start_moves_neither_picture_nor_sound() {
    let scratch = Scratch::new();
    let ts = scratch.make(&jump(), "-t 1 -vf scale=160:90 -c:v libx264 -preset ultrafast -c:a copy", "late.ts");
    assert!(times(&ts, "v:0")[0] > 1.0, "a transport stream starts late");
    let start = ReadOptions { start_secs: Some(0.0), ..ReadOptions::default() };
    // AAC in a transport stream is framed otherwise than in MP4 and MOV.
    for format in [OutputFormat::MP4_H264, OutputFormat::MOV_PRORES4444, OutputFormat::WEBM_ALPHA] {
        let (out, _) = transfer(&ts, &start, scratch.path(&format!("late.{}", format.extension())), format);
        let first = |path: &Path, stream| times(path, stream)[0];
        let lag = |path: &Path| first(path, "a:0") - first(path, "v:0");
        assert!((first(&out, "v:0") - first(&ts, "v:0")).abs() < 0.001, "{format:?}");
        assert!((lag(&out) - lag(&ts)).abs() < 0.03, "{format:?}: {} for {}", lag(&out), lag(&ts));
        run("ffmpeg", &format!("-v error -xerror -i {} -vn -f null -", out.display()));
    }
}

#[test]
fn full_range_survives_and_turned_pictures_need_no_matrix() {
    let scratch = Scratch::new();
    let tags = "-color_range pc -colorspace smpte170m -color_primaries smpte170m -color_trc smpte170m";
    let full = "-vf scale=96:64:out_range=pc:out_color_matrix=bt601 -frames:v 3 -c:v libx264 -preset ultrafast -qp 4";
    let full = scratch.make(&man(), &format!("{full} {tags}"), "full.mp4");
    let turned = scratch.make(&full, "-c copy -metadata:s:v:0 rotate=90", "turned.mp4");
    for format in FILES {
        let (out, _) = whole(&turned, scratch.path(&format!("full.{}", label(format))), format);
        let range = if format == OutputFormat::MOV_PRORES4444 { "tv" } else { "pc" };
        assert_eq!(entry(&out, "v:0", "stream=color_range,color_space"), format!("{range},smpte170m"), "{format:?}");
        assert_eq!(entry(&out, "v:0", "stream=width,height"), "64,96", "{format:?}");
        assert_eq!(entry(&out, "v:0", "stream_side_data=rotation"), "", "{format:?}");
    }
}

#[test]
fn transcoded_sound_is_the_same_sound() {
    let scratch = Scratch::new();
    // A tone that starts after half a second: transcoding must not move it.
    let tone = scratch.path("tone.mp4");
    run(
        "ffmpeg",
        &format!(
            "-v error -f lavfi -i testsrc=s=64x64:r=25:d=1.5 -f lavfi -i aevalsrc=gt(t\\,0.5)*sin(880*PI*t):s=44100:d=1.5 \
             -c:v libx264 -preset ultrafast -pix_fmt yuv420p -c:a aac -b:a 192k {}",
            tone.display()
        ),
    );
    let (out, report) = whole(&tone, scratch.path("tone.webm"), OutputFormat::WEBM_ALPHA);
    assert_eq!(report.warnings.len(), 1, "{:?}", report.warnings);
    let starts = |path: &Path| {
        let raw = scratch.make(path, "-vn -ac 1 -ar 48000 -f s16le", "raw.pcm");
        let bytes = std::fs::read(raw).unwrap();
        let samples: Vec<i16> = bytes.chunks_exact(2).map(|b| i16::from_le_bytes([b[0], b[1]])).collect();
        (samples.iter().position(|s| s.abs() > 6000).unwrap() as f64 / 48000.0, samples.len() as f64 / 48000.0)
    };
    let (before, after) = (starts(&tone), starts(&out));
    assert!((before.0 - after.0).abs() < 0.01, "{before:?} {after:?}");
    assert!((before.1 - after.1).abs() < 0.06, "{before:?} {after:?}");
}

#[test]
fn pictures_carry_their_times() {
    let scratch = Scratch::new();
    for (pixels, depth) in [("yuv444p", png::BitDepth::Eight), ("yuv444p10le", png::BitDepth::Sixteen)] {
        let small = scratch.make(
            &man(),
            &format!("-vf scale=33:57 -frames:v 4 -c:v libx264 -preset ultrafast -pix_fmt {pixels}"),
            "s.mp4",
        );
        let bit_depth = if depth == png::BitDepth::Sixteen { 16 } else { 8 };
        let options = WriteOptions { bit_depth, ..WriteOptions::new(OutputFormat::PNG_FOLDER) };
        let (folder, report) = transfer_with(&small, &ReadOptions::default(), scratch.path(pixels), &options);
        assert_eq!((report.frames, report.files.len()), (4, 5));
        let text = std::fs::read_to_string(folder.join("timestamps.json")).unwrap();
        let json: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(json["transfer"], "unknown", "the clip is silent");
        let told: Vec<f64> =
            json["frames"].as_array().unwrap().iter().map(|f| f["pts_secs"].as_f64().unwrap()).collect();
        assert_times(&told, &times(&small, "v:0"), 2e-6, pixels);
        let file = std::fs::File::open(folder.join(json["frames"][3]["file"].as_str().unwrap())).unwrap();
        let picture = png::Decoder::new(std::io::BufReader::new(file)).read_info().unwrap();
        let info = picture.info();
        assert_eq!((info.width, info.height, info.bit_depth, info.color_type), (33, 57, depth, png::ColorType::Rgba));
    }
}

#[test]
fn a_grey_matte_is_grey() {
    let scratch = Scratch::new();
    let small = scratch.make(&man(), "-vf scale=96:64 -frames:v 3 -c:v libx264 -preset ultrafast", "s.mp4");
    let mut reader = Reader::open(&small, &ReadOptions::default()).unwrap();
    let out = scratch.path("matte.mp4");
    let options = WriteOptions { rate: Rate::Quality(95), ..WriteOptions::new(OutputFormat::MP4_H264) };
    let mut writer = Writer::create(&out, &options, reader.info(), None).unwrap();
    let ramp: Vec<f32> = (0..96 * 64).map(|i| (i % 96) as f32 / 95.0).collect();
    while let Some(frame) = reader.next().unwrap() {
        let mut matte = writer.pool().take().unwrap();
        matte.set_pts(frame.pts());
        FromRgb::new(false).convert_grey(&ramp, &mut matte).unwrap();
        writer.write(&mut matte).unwrap();
    }
    writer.finish().unwrap();
    let frame = Reader::open(&out, &ReadOptions::default()).unwrap().next().unwrap().unwrap();
    let mut rgb = vec![0.0; 3 * ramp.len()];
    ToRgb::new(Hdr::Refuse).convert(&frame, &mut rgb).unwrap();
    for plane in rgb.chunks_exact(ramp.len()) {
        let off = plane.iter().zip(&ramp).map(|(a, b)| (a - b).abs()).sum::<f32>() / ramp.len() as f32;
        assert!(off < 0.02, "{off}");
    }
}

#[test]
fn frames_must_come_in_order() {
    let scratch = Scratch::new();
    let mut reader = Reader::open(&man(), &ReadOptions::default()).unwrap();
    let options = WriteOptions::new(OutputFormat::PNG_FOLDER);
    let mut writer = Writer::create(&scratch.path("p"), &options, reader.info(), None).unwrap();
    let frame = reader.next().unwrap().unwrap();
    let mut out = writer.pool().take().unwrap();
    out.set_pts(frame.pts());
    writer.write(&mut out).unwrap();
    assert_eq!(writer.write(&mut out).unwrap_err().code, ErrorCode::Internal);
}
