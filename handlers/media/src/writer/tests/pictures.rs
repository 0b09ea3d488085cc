use super::*;
use crate::Frame;
use crate::colour::alpha_of;
use crate::pipeline::{self, Emitter, PipelineOptions};
use crate::testing::context;

/// A picture through the pipeline, colours and alpha unchanged.
fn copy(scratch: &Scratch, from: &Path) -> (PathBuf, WriteOptions) {
    let reader = Reader::open(from, &ReadOptions { alpha: true, ..ReadOptions::default() }).unwrap();
    let info = reader.info().clone();
    assert!(info.is_still, "{}", from.display());
    let options = WriteOptions::picture(&info);
    let out = scratch.path("out.png");
    let writer = Writer::create(&out, &options, &info, reader.tracks()).unwrap();
    let (ctx, _) = context(scratch);
    let each = |frames: &mut Vec<Frame>, emit: &mut Emitter<'_>| {
        for frame in frames.drain(..) {
            let n = (frame.width() * frame.height()) as usize;
            let (mut rgb, mut alpha) = (vec![0.0; 3 * n], vec![1.0; n]);
            ToRgb::new(Hdr::Keep).convert(&frame, &mut rgb)?;
            let alpha = alpha_of(&frame, &mut alpha).then_some(alpha.as_slice());
            let mut made = emit.blank(&frame)?;
            FromRgb::new(false).convert(&rgb, alpha, &mut made)?;
            emit.send(made)?;
        }
        Ok(())
    };
    let report = pipeline::run(reader, writer, &ctx, &PipelineOptions::default(), each).unwrap();
    assert_eq!(report.frames, 1);
    assert!(report.write.files.is_empty() && report.write.warnings.is_empty(), "{:?}", report.write);
    assert_eq!(report.write.bytes, std::fs::metadata(&out).unwrap().len());
    (out, options)
}

/// All pixels of a PNG with 16 bits a sample, black where nothing is seen.
fn pixels(path: &Path) -> Vec<[u16; 4]> {
    let mut decoder = png::Decoder::new(std::io::BufReader::new(std::fs::File::open(path).unwrap()));
    decoder.set_transformations(png::Transformations::EXPAND);
    let mut reader = decoder.read_info().unwrap();
    let mut bytes = vec![0; reader.output_buffer_size().unwrap()];
    let info = reader.next_frame(&mut bytes).unwrap();
    let samples: Vec<u16> = match info.bit_depth {
        png::BitDepth::Sixteen => bytes.chunks_exact(2).map(|b| u16::from_be_bytes([b[0], b[1]])).collect(),
        _ => bytes.iter().map(|b| u16::from(*b) * 257).collect(),
    };
    let pixel = |p: &[u16]| match p {
        [grey] => [*grey, *grey, *grey, u16::MAX],
        [_, 0] | [_, _, _, 0] => [0; 4],
        [grey, alpha] => [*grey, *grey, *grey, *alpha],
        [r, g, b] => [*r, *g, *b, u16::MAX],
        p => [p[0], p[1], p[2], p[3]],
    };
    samples.chunks_exact(info.color_type.samples()).map(pixel).collect()
}

/// A picture's colours as FFmpeg sees them.
fn by_ffmpeg(path: &Path) -> Vec<u8> {
    let raw = path.with_extension("raw");
    run("ffmpeg", &format!("-v error -y -i {} -f rawvideo -pix_fmt rgb24 {}", path.display(), raw.display()));
    std::fs::read(raw).unwrap()
}

#[test]
fn a_picture_becomes_a_picture_of_the_same_depth_alpha_and_pixels() {
    let scratch = Scratch::new();
    let alpha = "geq=r='r(X,Y)':g='g(X,Y)':b='b(X,Y)':a='mod(X*5,256)*alpha(X,Y)/255'";
    for (name, filter, layout, depth, has_alpha) in [
        ("rgb.png", "null", "rgb24", 8, false),
        ("rgba.png", alpha, "rgba", 8, true),
        ("deep.png", "noise=alls=9", "rgb48be", 16, false),
        ("deep-alpha.png", alpha, "rgba64be", 16, true),
        ("grey-alpha.png", alpha, "ya8", 8, true),
        ("grey.png", "null", "gray16be", 16, false),
    ] {
        let filters = format!("-vf scale=67:41,format=rgba,{filter},format={layout} -frames:v 1");
        let from = scratch.make(&man(), &filters, name);
        let (out, options) = copy(&scratch, &from);
        assert_eq!((options.bit_depth, options.format.alpha), (depth, has_alpha), "{name}");
        assert_eq!(entry(&out, "v:0", "stream=codec_name,width,height"), "png,67,41", "{name}");
        let (before, after) = (pixels(&from), pixels(&out));
        assert!(before == after, "{name}: {:?}", before.iter().zip(&after).find(|(a, b)| a != b));
    }
}

#[test]
fn a_palette_keeps_its_transparency() {
    let scratch = Scratch::new();
    let file = std::fs::File::create(scratch.path("palette.png")).unwrap();
    let mut encoder = png::Encoder::new(file, 40, 36);
    encoder.set_color(png::ColorType::Indexed);
    encoder.set_palette(vec![10, 20, 30, 200, 100, 50, 1, 2, 3]);
    encoder.set_trns(vec![255, 128, 0]);
    let mut writer = encoder.write_header().unwrap();
    writer.write_image_data(&(0..40 * 36).map(|i| (i % 3) as u8).collect::<Vec<_>>()).unwrap();
    writer.finish().unwrap();
    let (out, options) = copy(&scratch, &scratch.path("palette.png"));
    assert!(options.format.alpha);
    let wanted = [[10, 20, 30, 255], [200, 100, 50, 128], [0; 4]].map(|p| p.map(|v: u16| v * 257));
    assert_eq!(pixels(&out)[..3], wanted);
}

#[test]
fn a_photograph_comes_upright_without_alpha() {
    let scratch = Scratch::new();
    let photo = scratch.make(&man(), "-vf scale=64:48 -frames:v 1 -q:v 2", "photo.jpg");
    let (out, options) = copy(&scratch, &photo);
    assert_eq!((options.bit_depth, options.format.alpha), (8, false));
    // FFmpeg makes RGB of it in its own way: chroma is interpolated otherwise.
    let (before, after) = (by_ffmpeg(&photo), by_ffmpeg(&out));
    let sum: u32 = before.iter().zip(&after).map(|(a, b)| u32::from(a.abs_diff(*b))).sum();
    assert!(f64::from(sum) / (before.len() as f64) < 2.5, "{sum}");
    // Orientation 6, a quarter turn clockwise, in EXIF behind the start of the file.
    let mut bytes = std::fs::read(&photo).unwrap();
    let exif = b"\xff\xe1\x00\x22Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0";
    bytes.splice(2..2, exif.iter().copied());
    let turned = scratch.path("turned.jpg");
    std::fs::write(&turned, bytes).unwrap();
    let (out, _) = copy(&scratch, &turned);
    assert_eq!(entry(&out, "v:0", "stream=width,height"), "48,64");
}
