use std::path::Path;

use darkroom_api::ErrorCode;

use super::*;
use crate::testing::{Scratch, clip, entry, jump, man, times};

fn read_with(path: &Path, options: &ReadOptions) -> (Reader, Vec<Frame>) {
    let mut reader = Reader::open(path, options).unwrap();
    let mut frames = Vec::new();
    while let Some(frame) = reader.next().unwrap() {
        frames.push(frame);
    }
    (reader, frames)
}

fn read(path: &Path) -> (Reader, Vec<Frame>) {
    read_with(path, &ReadOptions::default())
}

fn seconds(reader: &Reader, frames: &[Frame]) -> Vec<f64> {
    frames.iter().map(|f| f.pts() as f64 * f64::from(reader.info().time_base)).collect()
}

fn assert_times(got: &[f64], want: &[f64], what: &str) {
    assert_eq!(got.len(), want.len(), "{what}");
    for (g, w) in got.iter().zip(want) {
        assert!((g - w).abs() < 2e-6, "{what}: {g} for {w}");
    }
}

#[test]
fn every_codec_gives_all_frames_at_their_times() {
    let scratch = Scratch::new();
    let small = "-vf scale=160:284 -frames:v 20";
    for (name, codec) in [
        ("h264.mp4", "-c:v libx264 -preset ultrafast -bf 2"),
        ("h264-10.mp4", "-c:v libx264 -preset ultrafast -pix_fmt yuv420p10le"),
        ("h264-422.mkv", "-c:v libx264 -preset ultrafast -pix_fmt yuv422p"),
        ("hevc.mp4", "-c:v libx265 -preset ultrafast -x265-params log-level=none"),
        ("hevc-10.mkv", "-c:v libx265 -preset ultrafast -x265-params log-level=none -pix_fmt yuv420p10le"),
        ("av1.mp4", "-c:v libsvtav1 -preset 12"),
        ("av1-10.mkv", "-c:v libsvtav1 -preset 12 -pix_fmt yuv420p10le"),
        ("vp9.webm", "-c:v libvpx-vp9 -deadline realtime -cpu-used 8"),
        ("vp9-10.webm", "-c:v libvpx-vp9 -deadline realtime -cpu-used 8 -pix_fmt yuv420p10le"),
        ("vp8.webm", "-c:v libvpx -deadline realtime -cpu-used 8"),
        ("mjpeg.avi", "-c:v mjpeg -pix_fmt yuvj420p"),
        ("mjpeg.mov", "-c:v mjpeg -pix_fmt yuvj422p"),
        ("prores.mov", "-c:v prores_ks -profile:v 4444 -pix_fmt yuva444p10le"),
        ("ts.ts", "-c:v libx264 -preset ultrafast -bf 2"),
    ] {
        let path = scratch.make(&man(), &format!("{small} {codec}"), name);
        let (reader, frames) = read(&path);
        assert_eq!(frames.len(), 20, "{name}");
        assert_eq!(reader.corrupt_packets(), 0, "{name}");
        assert_times(&seconds(&reader, &frames), &times(&path, "v:0"), name);
        assert_eq!((frames[0].width(), frames[0].height()), (160, 284), "{name}");
        let depth = if name == "prores.mov" {
            12
        } else if name.contains("-10") {
            10
        } else {
            8
        };
        assert_eq!(reader.info().bit_depth, depth, "{name}");
        assert_eq!(reader.info().colour.is_full_range(), name.starts_with("mjpeg"), "{name}");
    }
}

#[test]
fn real_clips_give_all_their_frames() {
    let (reader, frames) = read(&clip("pose2sim_MultiPerson_cam02.mp4"));
    assert_eq!((frames.len(), reader.info().frames), (100, Some(100)));
    assert_eq!((reader.info().width_px, reader.info().height_px), (1088, 1920));
    assert!((reader.info().fps() - 60.0).abs() < 0.5, "{}", reader.info().fps());
}

#[test]
fn variable_rates_and_late_starts_keep_their_times() {
    let scratch = Scratch::new();
    let vfr = scratch.make(
        &man(),
        "-vf scale=90:160,select='not(between(mod(n,10),3,6))' -vsync vfr -frames:v 20 -c:v libx264 -preset ultrafast",
        "vfr.mp4",
    );
    let (reader, frames) = read(&vfr);
    let got = seconds(&reader, &frames);
    assert_times(&got, &times(&vfr, "v:0"), "vfr");
    let gaps: Vec<i64> = got.windows(2).map(|w| ((w[1] - w[0]) * 1000.0).round() as i64).collect();
    assert!(gaps.iter().any(|g| *g > 50) && gaps.iter().any(|g| *g < 20), "{gaps:?}");

    let late = scratch.make(&vfr, "-c copy -output_ts_offset 2.5", "late.mkv");
    let (reader, frames) = read(&late);
    assert!((seconds(&reader, &frames)[0] - 2.5).abs() < 0.01);
    assert_eq!(frames[0].pts(), reader.info().start_pts);
}

#[test]
fn rotated_videos_come_as_ffmpeg_shows_them() {
    let scratch = Scratch::new();
    let coded = scratch.make(&man(), "-vf scale=96:64 -frames:v 5 -c:v libx264 -preset ultrafast", "coded.mp4");
    for tag in [0, 90, 180, 270] {
        let path = scratch.make(&coded, &format!("-c copy -metadata:s:v:0 rotate={tag}"), &format!("r{tag}.mp4"));
        let (reader, frames) = read(&path);
        let size = if tag % 180 == 0 { (96, 64) } else { (64, 96) };
        assert_eq!((frames.len(), frames[4].width(), frames[4].height()), (5, size.0, size.1), "{tag}");
        assert_eq!((reader.info().width_px, reader.info().height_px), size, "{tag}");
        let shown = scratch.make(&path, "-f rawvideo -pix_fmt yuv420p", &format!("r{tag}.yuv"));
        let shown = std::fs::read(shown).unwrap();
        let mut ours = Vec::new();
        for frame in &frames {
            for plane in 0..3 {
                let p = frame.plane(plane).unwrap();
                let half = usize::from(plane > 0);
                let (w, h) = (size.0 as usize >> half, size.1 as usize >> half);
                (0..h).for_each(|y| ours.extend_from_slice(&p.data[y * p.stride..y * p.stride + w]));
            }
        }
        assert!(ours == shown, "{tag}");
        // ffprobe counts the other way round.
        let told: i32 = entry(&path, "v:0", "stream_side_data=rotation").parse().unwrap_or(0);
        assert_eq!(i64::from(reader.info().orientation.degrees()), i64::from(-told).rem_euclid(360), "{tag}");
    }
}

#[test]
fn an_interlaced_video_becomes_as_many_whole_frames() {
    let scratch = Scratch::new();
    // Fields of two frames each, a sixtieth of a second apart: combs wherever something moves.
    let weave = "-vf crop=720:1200:180:240,scale=180:300,tinterlace=interleave_top:flags=vlpf";
    for (name, codec) in [
        ("i.mp4", "-c:v libx264 -crf 8 -flags +ilme+ildct -x264opts tff=1"),
        ("i.ts", "-c:v mpeg2video -q:v 2 -flags +ilme+ildct -bf 2"),
    ] {
        let path = scratch.make(&man(), &format!("{weave},setfield=tff -frames:v 20 {codec}"), name);
        let (reader, frames) = read(&path);
        assert!(reader.deinterlaced(), "{name}");
        assert_times(&seconds(&reader, &frames), &times(&path, "v:0"), name);
        assert_eq!(frames[7].format(), crate::Pixel::YUV420P, "{name}");
        let combed = scratch.make(&path, "-f rawvideo -pix_fmt gray", "combed.raw");
        let combed: f64 = std::fs::read(combed).unwrap().chunks_exact(180 * 300).map(|p| combs(p, 180, 180)).sum();
        let ours: f64 = frames.iter().map(|f| f.plane(0).unwrap()).map(|p| combs(p.data, p.stride, 180)).sum();
        println!("{name}: combs {combed:.0} as coded, {ours:.0} whole");
        assert!(ours < 0.5 * combed, "{name}: {ours} of {combed}");
    }
    // A range needs the frame behind its end, and must not show it.
    let range = ReadOptions { start_secs: Some(0.2), end_secs: Some(0.4), ..ReadOptions::default() };
    let (_, frames) = read_with(&scratch.path("i.mp4"), &range);
    assert_eq!(frames.len(), 6);
    assert!(!read(&jump()).0.deinterlaced());
}

/// How much every row differs from its two neighbours in the same direction.
fn combs(luma: &[u8], stride: usize, width: usize) -> f64 {
    let rows: Vec<&[u8]> = luma.chunks(stride).map(|row| &row[..width]).collect();
    let comb = |i: usize| {
        let of = |((a, b), c): ((&u8, &u8), &u8)| {
            let (up, down) = (i32::from(*b) - i32::from(*a), i32::from(*b) - i32::from(*c));
            if up * down > 0 { f64::from(up.abs().min(down.abs())) } else { 0.0 }
        };
        rows[i - 1].iter().zip(rows[i]).zip(rows[i + 1]).map(of).sum::<f64>()
    };
    (1..rows.len() - 1).map(comb).sum()
}

#[test]
fn photographs_lie_as_their_exif_says() {
    let scratch = Scratch::new();
    let flat = scratch.make(&man(), "-vf scale=96:64 -frames:v 1 -q:v 2", "flat.jpg");
    let bytes = std::fs::read(&flat).unwrap();
    for (value, orientation) in [
        (1, Orientation::Upright),
        (2, Orientation::MirrorHorizontal),
        (3, Orientation::Half),
        (4, Orientation::MirrorVertical),
        (5, Orientation::Transpose),
        (6, Orientation::Clockwise),
        (7, Orientation::Transverse),
        (8, Orientation::CounterClockwise),
    ] {
        // A segment of its own after the start of the picture: TIFF with the one tag 0x0112.
        let mut exif = b"Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\0\0\0\0\0\0\0".to_vec();
        exif[25] = value;
        let head = [0xff, 0xe1, 0, u8::try_from(exif.len() + 2).unwrap()];
        let path = scratch.path("turned.jpg");
        std::fs::write(&path, [&bytes[..2], &head, &exif, &bytes[2..]].concat()).unwrap();
        let (reader, frames) = read(&path);
        let size = if value > 4 { (64, 96) } else { (96, 64) };
        assert_eq!(reader.info().orientation, orientation, "{value}");
        assert_eq!((frames.len(), frames[0].width(), frames[0].height()), (1, size.0, size.1), "{value}");
        assert_eq!((reader.info().width_px, reader.info().height_px), size, "{value}");
    }
}

#[test]
fn odd_sizes_and_several_streams_are_read_right() {
    let scratch = Scratch::new();
    let odd = scratch.make(&man(), "-vf scale=161:285 -frames:v 5 -c:v libvpx-vp9 -deadline realtime", "odd.webm");
    let (_, frames) = read(&odd);
    assert_eq!((frames.len(), frames[4].width(), frames[4].height()), (5, 161, 285));

    let both = scratch.make(
        &man(),
        "-filter_complex [0:v]split[a][b];[a]scale=90:160[s];[b]scale=180:320[l] -map [s] -map [l] -disposition:v:0 0 -disposition:v:1 default -frames:v 5 -c:v libx264 -preset ultrafast",
        "both.mp4",
    );
    let (_, frames) = read(&both);
    assert_eq!((frames.len(), frames[0].width()), (5, 180));
}

#[test]
fn a_range_is_cut_by_times_and_starts_at_zero() {
    let path = man();
    let all = times(&path, "v:0");
    for (start, end) in [(None, Some(0.5)), (Some(0.5), Some(1.0)), (Some(1.2), None)] {
        let options = ReadOptions { start_secs: start, end_secs: end, ..ReadOptions::default() };
        let (reader, frames) = read_with(&path, &options);
        let first = all[0];
        let want: Vec<f64> = all
            .iter()
            .filter(|t| start.is_none_or(|s| **t - first >= s - 1e-9) && end.is_none_or(|e| **t - first < e - 1e-9))
            .map(|t| start.map_or(*t, |s| t - first - s))
            .collect();
        let got = seconds(&reader, &frames);
        assert_eq!(got.len(), want.len(), "{start:?} {end:?}");
        for (g, w) in got.iter().zip(&want) {
            assert!((g - w).abs() < 1e-3, "{start:?} {end:?}: {g} for {w}");
        }
        let guess = reader.info().frames.unwrap() as f64;
        assert!((guess - want.len() as f64).abs() <= 2.0, "{guess} for {}", want.len());
    }
    let beyond = ReadOptions { start_secs: Some(1000.0), ..ReadOptions::default() };
    assert_eq!(Reader::open(&path, &beyond).err().unwrap().code, ErrorCode::ParamsInvalid);
    let empty = ReadOptions { start_secs: Some(1.0), end_secs: Some(1.0), ..ReadOptions::default() };
    assert_eq!(Reader::open(&path, &empty).err().unwrap().code, ErrorCode::ParamsInvalid);
}

#[test]
fn a_video_cut_off_in_a_frame_gives_what_decodes() {
    let scratch = Scratch::new();
    let whole = scratch.make(
        &man(),
        "-vf scale=180:320 -frames:v 40 -c:v libx264 -preset ultrafast -movflags +faststart",
        "whole.mp4",
    );
    let bytes = std::fs::read(&whole).unwrap();
    let cut = scratch.path("cut.mp4");
    std::fs::write(&cut, &bytes[..bytes.len() * 6 / 10]).unwrap();
    let (reader, frames) = read(&cut);
    assert!(frames.len() > 5 && frames.len() < 40, "{}", frames.len());
    assert!(reader.corrupt_packets() > 0);
}

#[test]
fn damage_in_the_middle_is_counted_and_passed_over() {
    let scratch = Scratch::new();
    for (name, codec) in [
        ("h264.mkv", "-c:v libx264 -preset ultrafast -g 5"),
        ("hevc.mkv", "-c:v libx265 -preset ultrafast -x265-params log-level=none:keyint=5"),
        ("vp9.webm", "-c:v libvpx-vp9 -deadline realtime -g 5"),
    ] {
        let whole = scratch.make(&man(), &format!("-vf scale=180:320 -frames:v 40 {codec}"), name);
        let mut bytes = std::fs::read(&whole).unwrap();
        let (from, to) = (bytes.len() * 4 / 10, bytes.len() * 5 / 10);
        for (i, b) in bytes[from..to].iter_mut().enumerate() {
            *b = (i as u8).wrapping_mul(197) ^ 0x5a;
        }
        let bad = scratch.path(&format!("bad-{name}"));
        std::fs::write(&bad, &bytes).unwrap();
        let (reader, frames) = read(&bad);
        assert!(frames.len() > 10, "{name}: {} frames, {} faults", frames.len(), reader.corrupt_packets());
        assert!(frames.windows(2).all(|w| w[0].pts() < w[1].pts()), "{name}");
    }
}

#[test]
fn tags_of_colour_and_pixel_shape_are_read() {
    let scratch = Scratch::new();
    let path = scratch.make(
        &man(),
        "-vf scale=160:90,setsar=4/3 -frames:v 3 -c:v libx264 -preset ultrafast -colorspace bt709 -color_primaries bt709 -color_trc bt709 -color_range pc",
        "tags.mp4",
    );
    let (reader, frames) = read(&path);
    let names = reader.info().colour_in_file.names();
    assert_eq!((names.matrix.as_str(), names.range.as_str(), names.transfer.as_str()), ("bt709", "pc", "bt709"));
    assert_eq!(reader.info().sample_aspect, crate::Rational(4, 3));
    assert!(frames[0].colour().is_full_range());
    assert_eq!(entry(&path, "v:0", "stream=color_range"), "pc");
    assert!(reader.tracks().is_none());
    assert!(Reader::open(&jump(), &ReadOptions::default()).unwrap().tracks().is_some());
}

#[test]
fn a_size_that_changes_in_the_middle_is_refused() {
    let scratch = Scratch::new();
    let encode = "-frames:v 5 -c:v libx264 -preset ultrafast";
    let small = scratch.make(&man(), &format!("-vf scale=64:96 {encode}"), "small.ts");
    let large = scratch.make(&man(), &format!("-vf scale=96:64 {encode}"), "large.ts");
    let both = scratch.path("both.ts");
    std::fs::write(&both, [std::fs::read(small).unwrap(), std::fs::read(large).unwrap()].concat()).unwrap();
    let mut reader = Reader::open(&both, &ReadOptions::default()).unwrap();
    let mut frames = 0;
    let error = loop {
        match reader.next() {
            Ok(Some(_)) => frames += 1,
            Ok(None) => panic!("{frames} frames of two sizes"),
            Err(e) => break e,
        }
    };
    assert_eq!((frames, error.code), (5, ErrorCode::InputUnsupported));
}

#[test]
fn a_cancelled_reader_stops_reading() {
    let options = ReadOptions::default();
    let mut reader = Reader::open(&jump(), &options).unwrap();
    options.cancel.cancel();
    let error = loop {
        match reader.next() {
            Ok(Some(_)) => {}
            Ok(None) => panic!("it read to the end"),
            Err(e) => break e,
        }
    };
    assert_eq!(error.code, ErrorCode::Cancelled);
    assert_eq!(Reader::open(&jump(), &options).err().unwrap().code, ErrorCode::Cancelled);
}

#[test]
fn no_damage_makes_it_panic_or_hang() {
    let scratch = Scratch::new();
    let mut state = 1_u64;
    for (name, codec) in [
        ("a.mp4", "-c:v libx264 -preset ultrafast -movflags +faststart"),
        ("b.mkv", "-c:v libx265 -preset ultrafast -x265-params log-level=none"),
        ("c.webm", "-c:v libvpx-vp9 -deadline realtime"),
        ("d.ts", "-c:v libx264 -preset ultrafast"),
        ("e.avi", "-c:v mjpeg -pix_fmt yuvj420p"),
    ] {
        let whole = scratch.make(&man(), &format!("-vf scale=64:96 -frames:v 8 {codec}"), name);
        let bytes = std::fs::read(&whole).unwrap();
        for round in 0..12 {
            let mut bad = bytes.clone();
            // Half of the rounds damage the container's head, half the whole file.
            let span = if round % 2 == 0 { bad.len().min(1500) } else { bad.len() };
            for _ in 0..1 + span / 100 {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                bad[(state >> 33) as usize % span] = (state >> 24) as u8;
            }
            let path = scratch.path("bad");
            std::fs::write(&path, &bad).unwrap();
            let Ok(mut reader) = Reader::open(&path, &ReadOptions::default()) else { continue };
            let mut rgb = Vec::new();
            for _ in 0..100 {
                let Ok(Some(frame)) = reader.next() else { break };
                rgb.resize(3 * (frame.width() * frame.height()) as usize, 0.0);
                let mut to_rgb = crate::colour::ToRgb::new(crate::colour::Hdr::Keep);
                // Damaged tags may name a matrix that we refuse; all else must convert.
                if let Err(e) = to_rgb.convert(&frame, &mut rgb) {
                    assert_eq!(e.code, ErrorCode::InputUnsupported, "{name}");
                }
            }
        }
    }
}
