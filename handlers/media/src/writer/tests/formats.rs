use super::*;
use VideoCodec::{Av1, H264, Hevc, ProRes4444, Vp9};

/// All pairs of codec and container, each with 8 and 10 bits between them, one that libaom must code, and VP9 with alpha.
const PAIRS: [(VideoCodec, Container, u32); 11] = [
    (H264, Container::Mp4, 10),
    (H264, Container::Matroska, 8),
    (H264, Container::Mov, 8),
    (Hevc, Container::Mp4, 10),
    (Hevc, Container::Matroska, 8),
    (Av1, Container::Mp4, 8),
    (Av1, Container::Webm, 10),
    (Av1, Container::Matroska, 10),
    (Vp9, Container::Webm, 10),
    (Vp9, Container::Matroska, 8),
    (ProRes4444, Container::Matroska, 10),
];

/// A moving clip with gaps in its times.
fn source(scratch: &Scratch, size: &str, depth: u32) -> PathBuf {
    let (pixels, tags) = if depth == 8 {
        ("yuv444p", "-colorspace bt709 -color_primaries bt709 -color_trc bt709")
    } else {
        ("yuv444p10le", "-colorspace bt2020nc -color_primaries bt2020 -color_trc smpte2084")
    };
    scratch.make(
        &man(),
        &format!(
            "-vf scale={size},setsar=4/3,select='not(between(mod(n,10),3,6))' -vsync vfr -frames:v 12 \
             -c:v libx264 -preset ultrafast -qp 6 -pix_fmt {pixels} {tags} -color_range tv"
        ),
        &format!("{}-{depth}.mp4", size.replace(':', "x")),
    )
}

/// All frames as RGB.
fn pictures(path: &Path) -> Vec<Vec<f32>> {
    let mut reader = Reader::open(path, &ReadOptions::default()).unwrap();
    let mut to_rgb = ToRgb::new(Hdr::Keep);
    let mut all = Vec::new();
    while let Some(frame) = reader.next().unwrap() {
        let mut rgb = vec![0.0; 3 * (frame.width() * frame.height()) as usize];
        to_rgb.convert(&frame, &mut rgb).unwrap();
        all.push(rgb);
    }
    all
}

fn psnr(a: &[Vec<f32>], b: &[Vec<f32>]) -> f64 {
    assert_eq!(a.len(), b.len());
    let pairs = a.iter().flatten().zip(b.iter().flatten());
    let (sum, n) = pairs.fold((0.0, 0_u32), |(sum, n), (a, b)| (sum + f64::from(a - b).powi(2), n + 1));
    -10.0 * (sum / f64::from(n)).log10()
}

fn assert_same_video(source: &Path, options: &WriteOptions, out: &Path, size: &str) {
    let what = format!("{options:?} {size}");
    let rounding = if options.format.container.is_matroska() { 0.0005 + 1e-9 } else { 2e-6 };
    assert_times(&times(out, "v:0"), &times(source, "v:0"), rounding, &what);
    let tags = "stream=color_range,color_space,color_transfer,color_primaries";
    assert_eq!(entry(out, "v:0", tags), entry(source, "v:0", tags), "{what}");
    if size == "120:90" {
        assert_eq!(entry(out, "v:0", "stream=sample_aspect_ratio"), "4:3", "{what}");
    }
    assert_eq!(entry(out, "v:0", "stream=width,height"), size.replace(':', ","), "{what}");
    let reader = Reader::open(out, &ReadOptions::default()).unwrap();
    // FFmpeg's decoder of ProRes 4444 always answers with 12.
    let depth = if options.format.codec == ProRes4444 { 12 } else { options.bit_depth };
    assert_eq!(reader.info().bit_depth, depth, "{what}");
    let close = psnr(&pictures(source), &pictures(out));
    assert!(close > 29.0, "{what}: {close} dB");
}

#[test]
fn each_codec_in_each_container_keeps_times_tags_depth_and_picture() {
    let scratch = Scratch::new();
    for (codec, container, depth) in PAIRS {
        let source = source(&scratch, "120:90", depth);
        let format = OutputFormat::new(codec, container);
        let options = WriteOptions { bit_depth: depth, rate: Rate::Quality(90), speed: 9, ..WriteOptions::new(format) };
        let out = scratch.path(&format!("{}-{depth}.{}", label(format), format.extension()));
        let (out, report) = transfer_with(&source, &ReadOptions::default(), out, &options);
        assert_eq!(report.frames, 12);
        assert_same_video(&source, &options, &out, "120:90");
    }
}

#[test]
fn odd_and_tiny_sizes_are_kept() {
    let scratch = Scratch::new();
    for (codec, size, depth) in [(Av1, "161:91", 8), (Av1, "48:34", 10), (Hevc, "161:91", 10), (Vp9, "161:91", 10)] {
        let source = source(&scratch, size, 8);
        let format = OutputFormat::new(codec, Container::Matroska);
        let options = WriteOptions { bit_depth: depth, rate: Rate::Quality(90), speed: 9, ..WriteOptions::new(format) };
        let out = scratch.path(&format!("{}-{depth}.mkv", label(format)));
        let (out, _) = transfer_with(&source, &ReadOptions::default(), out, &options);
        assert_same_video(&source, &options, &out, size);
    }
}

#[test]
fn rates_are_what_the_codec_makes_of_them() {
    let scratch = Scratch::new();
    let source = scratch.make(&man(), "-vf scale=320:180 -frames:v 60 -c:v libx264 -preset ultrafast -qp 4", "s.mp4");
    for codec in [H264, Hevc, Av1, Vp9] {
        let format = OutputFormat::new(codec, Container::Matroska);
        let bytes = |rate| {
            let options = WriteOptions { rate, speed: 9, ..WriteOptions::new(format) };
            options.check().unwrap();
            transfer_with(&source, &ReadOptions::default(), scratch.path("r.mkv"), &options).1.bytes
        };
        let (fine, coarse) = (bytes(Rate::Crf(20)), bytes(Rate::Crf(45)));
        assert!(coarse * 2 < fine, "{codec:?}: {coarse} and {fine}");
        // One second: bits are about bytes times eight.
        let asked = bytes(Rate::BitsPerSec(400_000)) * 8;
        assert!((150_000..700_000).contains(&asked), "{codec:?}: {asked}");
    }
}

#[test]
fn what_cannot_be_is_refused_before_anything_is_made() {
    let scratch = Scratch::new();
    let info = Reader::open(&man(), &ReadOptions::default()).unwrap().info().clone();
    let of = |codec, container| WriteOptions::new(OutputFormat::new(codec, container));
    let alpha = WriteOptions::new(OutputFormat::MP4_H264.with_alpha());
    for (options, says) in [
        (of(H264, Container::Webm), "choose MP4 or MOV or Matroska"),
        (of(Vp9, Container::Mp4), "choose WebM or Matroska"),
        (of(VideoCodec::Png, Container::Mov), "folder of pictures"),
        (alpha, "no alpha plane"),
        (WriteOptions { bit_depth: 10, ..WriteOptions::new(OutputFormat::WEBM_ALPHA) }, "VP9 with alpha has 8 bits"),
        (WriteOptions { bit_depth: 12, ..of(Hevc, Container::Mp4) }, "8 or 10 bits"),
        (WriteOptions { rate: Rate::Crf(52), ..of(H264, Container::Mp4) }, "from 0 (best) to 51"),
        (WriteOptions { rate: Rate::BitsPerSec(0), ..of(H264, Container::Mp4) }, "bits a second"),
        (WriteOptions { rate: Rate::Crf(5), ..of(ProRes4444, Container::Mov) }, "neither a CRF nor a bit rate"),
    ] {
        let path = scratch.path("refused");
        let error = Writer::create(&path, &options, &info, None).err().unwrap();
        assert_eq!(error.code, ErrorCode::ParamsInvalid, "{error}");
        assert!(error.message.contains(says), "{error}");
        assert!(!path.exists());
    }
}
