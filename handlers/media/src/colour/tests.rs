//! Against an independent reference in double precision, written from the standards, and against swscale.

use ffmpeg_next::format::Pixel;
use ffmpeg_next::software::scaling;

use super::*;
use crate::{ColourTags, Frame};

/// A picture with smooth parts, edges and all codes, by a fixed recurrence.
fn fill(frame: &mut Frame, bytes_a_sample: usize, max: u32) {
    let mut state = 12345_u32;
    for plane in 0..4 {
        let Some(p) = frame.plane_mut(plane) else { continue };
        for (at, sample) in p.data.chunks_exact_mut(bytes_a_sample).enumerate() {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let value = if at / 40 % 2 == 0 { (at as u32 * 3) % (max + 1) } else { (state >> 8) % (max + 1) };
            sample.copy_from_slice(&value.to_le_bytes()[..bytes_a_sample]);
        }
    }
}

fn tags(matrix: i32, range: i32, chroma: i32) -> ColourTags {
    ColourTags { matrix, range, primaries: 1, transfer: 1, chroma }
}

fn weights(matrix: i32) -> (f64, f64) {
    match matrix {
        1 => (0.2126, 0.0722),
        9 => (0.2627, 0.0593),
        _ => (0.299, 0.114),
    }
}

/// A plane's sample as a number, with edges repeated.
fn sample(frame: &Frame, plane: usize, bytes: usize, x: i64, y: i64, w: i64, h: i64) -> f64 {
    let p = frame.plane(plane).unwrap();
    let at = y.clamp(0, h - 1) as usize * p.stride + x.clamp(0, w - 1) as usize * bytes;
    f64::from(if bytes == 1 { u16::from(p.data[at]) } else { u16::from_le_bytes([p.data[at], p.data[at + 1]]) })
}

/// Linear interpolation between chroma samples, whose positions are given in luma samples.
fn chroma(frame: &Frame, plane: usize, bytes: usize, x: i64, y: i64, log2: (u32, u32), place: (f64, f64)) -> f64 {
    let (w, h) = (i64::from(frame.width()), i64::from(frame.height()));
    let (cw, ch) = ((w + (1 << log2.0) - 1) >> log2.0, (h + (1 << log2.1) - 1) >> log2.1);
    let cx = if log2.0 == 1 { (x as f64 - place.0) / 2.0 } else { x as f64 };
    let cy = if log2.1 == 1 { (y as f64 - place.1) / 2.0 } else { y as f64 };
    let (x0, y0) = (cx.floor(), cy.floor());
    let (fx, fy) = (cx - x0, cy - y0);
    let at = |dx: i64, dy: i64| sample(frame, plane, bytes, x0 as i64 + dx, y0 as i64 + dy, cw, ch);
    (at(0, 0) * (1.0 - fx) + at(1, 0) * fx) * (1.0 - fy) + (at(0, 1) * (1.0 - fx) + at(1, 1) * fx) * fy
}

/// Largest difference between the converter and the reference.
fn worst(format: Pixel, depth: u32, log2: (u32, u32), tags: ColourTags, w: u32, h: u32) -> f64 {
    let bytes = if depth > 8 { 2 } else { 1 };
    let mut frame = Frame::new(format, w, h).unwrap();
    fill(&mut frame, bytes, (1 << depth) - 1);
    frame.set_colour(tags);
    let n = (w * h) as usize;
    let mut rgb = vec![9.0; 3 * n];
    ToRgb::new(Hdr::Refuse).convert(&frame, &mut rgb).unwrap();
    let unit = f64::from(1_u32 << (depth - 8));
    let top = f64::from((1_u32 << depth) - 1);
    let (y0, ys, cs) = if tags.range == 2 { (0.0, top, top) } else { (16.0 * unit, 219.0 * unit, 224.0 * unit) };
    let place = match tags.chroma {
        2 => (0.5, 0.5),
        3 => (0.0, 0.0),
        4 => (0.5, 0.0),
        _ => (0.0, 0.5),
    };
    let (kr, kb) = weights(tags.matrix);
    let mut worst = 0.0_f64;
    for y in 0..i64::from(h) {
        for x in 0..i64::from(w) {
            let luma = (sample(&frame, 0, bytes, x, y, w.into(), h.into()) - y0) / ys;
            let c = |p| (chroma(&frame, p, bytes, x, y, log2, place) - 128.0 * unit) / cs;
            let (cb, cr) = (c(1), c(2));
            let (r, b) = (luma + 2.0 * (1.0 - kr) * cr, luma + 2.0 * (1.0 - kb) * cb);
            let g = (luma - kr * r - kb * b) / (1.0 - kr - kb);
            for (plane, want) in [r, g, b].into_iter().enumerate() {
                let got = f64::from(rgb[plane * n + y as usize * w as usize + x as usize]);
                worst = worst.max((got - want.clamp(0.0, 1.0)).abs());
            }
        }
    }
    worst
}

#[test]
fn planar_formats_are_exact_to_a_millionth() {
    for (format, depth, log2) in [
        (Pixel::YUV420P, 8, (1, 1)),
        (Pixel::YUV422P, 8, (1, 0)),
        (Pixel::YUV444P, 8, (0, 0)),
        (Pixel::YUV420P10LE, 10, (1, 1)),
        (Pixel::YUV422P10LE, 10, (1, 0)),
        (Pixel::YUV444P12LE, 12, (0, 0)),
    ] {
        for (matrix, range, chroma) in [(1, 1, 1), (6, 1, 2), (9, 2, 3), (1, 1, 4)] {
            for (w, h) in [(64, 32), (67, 33), (1, 1), (2, 3)] {
                let off = worst(format, depth, log2, tags(matrix, range, chroma), w, h);
                assert!(off < 2e-6, "{format:?} matrix {matrix} range {range} chroma {chroma} {w}x{h}: {off}");
            }
        }
    }
}

/// Converts with swscale at its most exact.
fn by_swscale(frame: &Frame, to: Pixel) -> Frame {
    let mut out = Frame::new(to, frame.width(), frame.height()).unwrap();
    let flags = scaling::Flags::ACCURATE_RND | scaling::Flags::FULL_CHR_H_INT | scaling::Flags::BILINEAR;
    let (w, h) = (frame.width(), frame.height());
    let mut scaler = scaling::Context::get(frame.format(), w, h, to, w, h, flags).unwrap();
    scaler.run(frame.inner(), out.inner_mut()).unwrap();
    out
}

fn to_rgb(frame: &Frame) -> Vec<f32> {
    let mut rgb = vec![0.0; 3 * (frame.width() * frame.height()) as usize];
    ToRgb::new(Hdr::Refuse).convert(frame, &mut rgb).unwrap();
    rgb
}

fn largest_difference(a: &[f32], b: &[f32]) -> f32 {
    a.iter().zip(b).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max)
}

#[test]
fn other_layouts_of_the_same_pixels_give_the_same_colours() {
    let mut plain = Frame::new(Pixel::YUV420P, 66, 34).unwrap();
    fill(&mut plain, 1, 255);
    plain.set_colour(tags(6, 1, 1));
    let wanted = to_rgb(&plain);
    for format in [Pixel::NV12, Pixel::NV21, Pixel::YUVA420P] {
        let mut other = by_swscale(&plain, format);
        other.set_colour(tags(6, 1, 1));
        let off = largest_difference(&wanted, &to_rgb(&other));
        assert!(off < 2e-6, "{format:?}: {off}");
    }
    for (first, others) in [
        (Pixel::RGB24, [Pixel::BGR24, Pixel::RGBA, Pixel::GBRP].as_slice()),
        (Pixel::RGB48LE, [Pixel::RGB48BE, Pixel::GBRP16LE].as_slice()),
    ] {
        let mut rgb = Frame::new(first, 66, 34).unwrap();
        fill(&mut rgb, 1, 255);
        let wanted = to_rgb(&rgb);
        for format in others {
            let off = largest_difference(&wanted, &to_rgb(&by_swscale(&rgb, *format)));
            assert!(off < 2e-5, "{format:?}: {off}");
        }
    }
}

#[test]
fn deeper_copies_of_limited_range_give_the_same_colours() {
    let mut plain = Frame::new(Pixel::NV12, 66, 34).unwrap();
    fill(&mut plain, 1, 255);
    plain.set_colour(tags(6, 1, 1));
    let wanted = to_rgb(&plain);
    // P010 holds its ten bits at the top of each word.
    let mut deep = Frame::new(Pixel::P010LE, 66, 34).unwrap();
    for plane in 0..2 {
        let from = plain.plane(plane).unwrap();
        let to = deep.plane_mut(plane).unwrap();
        for row in 0..if plane == 0 { 34 } else { 17 } {
            for x in 0..66 {
                to.data[row * to.stride + 2 * x] = 0;
                to.data[row * to.stride + 2 * x + 1] = from.data[row * from.stride + x];
            }
        }
    }
    deep.set_colour(tags(6, 1, 1));
    assert!(largest_difference(&wanted, &to_rgb(&deep)) < 2e-6);

    let mut little = Frame::new(Pixel::YUV444P10LE, 66, 34).unwrap();
    fill(&mut little, 2, 1023);
    little.set_colour(tags(6, 1, 1));
    let mut big = by_swscale(&little, Pixel::YUV444P10BE);
    big.set_colour(tags(6, 1, 1));
    assert!(largest_difference(&to_rgb(&little), &to_rgb(&big)) < 2e-6);
}

#[test]
fn packed_and_odd_subsampled_formats_come_close_to_swscale() {
    let mut plain = Frame::new(Pixel::YUV444P, 64, 32).unwrap();
    // Smooth, so that the choice of filter does not matter.
    for plane in 0..3 {
        let p = plain.plane_mut(plane).unwrap();
        for (at, v) in p.data.iter_mut().enumerate() {
            *v = (60 + plane * 20 + (at % p.stride) + at / p.stride) as u8;
        }
    }
    plain.set_colour(tags(6, 1, 1));
    let wanted = to_rgb(&plain);
    for format in [Pixel::UYVY422, Pixel::YUYV422, Pixel::YUV411P, Pixel::YUV410P, Pixel::YUV440P] {
        let mut other = by_swscale(&plain, format);
        other.set_colour(tags(6, 1, 1));
        let off = largest_difference(&wanted, &to_rgb(&other));
        assert!(off < 0.04, "{format:?}: {off}");
    }
}

#[test]
fn agrees_with_swscale_on_bt601_within_its_rounding() {
    let mut frame = Frame::new(Pixel::YUV444P, 64, 64).unwrap();
    fill(&mut frame, 1, 63);
    // Colours that RGB has: beyond them swscale 6 wraps around.
    for plane in 0..3 {
        frame.plane_mut(plane).unwrap().data.iter_mut().for_each(|v| *v += 96);
    }
    frame.set_colour(tags(6, 1, 1));
    let ours = to_rgb(&frame);
    let theirs = to_rgb(&by_swscale(&frame, Pixel::RGB24));
    for (i, (a, b)) in ours.iter().zip(&theirs).enumerate() {
        let (n, x) = (64 * 64, i % (64 * 64));
        let at = |p: usize| frame.plane(p).unwrap().data[x / 64 * frame.plane(p).unwrap().stride + x % 64];
        assert!((a - b).abs() < 2.0 / 255.0, "{a} {b} at plane {} of {} {} {}", i / n, at(0), at(1), at(2));
    }
}

#[test]
fn there_and_back_is_the_same_frame() {
    for (format, depth) in [(Pixel::YUV444P, 8), (Pixel::YUVA444P10LE, 10)] {
        for range in [1, 2] {
            let mut frame = Frame::new(format, 67, 33).unwrap();
            // Mid codes only: all of them are colours that RGB has.
            let bytes = if depth > 8 { 2 } else { 1 };
            for plane in 0..4 {
                let Some(p) = frame.plane_mut(plane) else { continue };
                for (at, s) in p.data.chunks_exact_mut(bytes).enumerate() {
                    let code = (110 + (at * 7 + plane * 5) % 36) << (depth - 8);
                    s.copy_from_slice(&(code as u16).to_le_bytes()[..bytes]);
                }
            }
            frame.set_colour(tags(1, range, 1));
            let rgb = to_rgb(&frame);
            let mut alpha = vec![1.0; 67 * 33];
            let with_alpha = alpha_of(&frame, &mut alpha);
            let mut back = Frame::new(format, 67, 33).unwrap();
            back.set_colour(tags(1, range, 1));
            FromRgb::new(false).convert(&rgb, Some(&alpha), &mut back).unwrap();
            for plane in 0..if with_alpha { 4 } else { 3 } {
                let (a, b) = (frame.plane(plane).unwrap(), back.plane(plane).unwrap());
                for row in 0..33 {
                    let line = row * a.stride..row * a.stride + 67 * bytes;
                    assert_eq!(a.data[line.clone()], b.data[line], "{format:?} range {range} plane {plane} row {row}");
                }
            }
        }
    }
}

#[test]
fn ten_bits_go_there_and_back_within_a_code() {
    let (w, h) = (96_u32, 54_u32);
    for format in [Pixel::YUV420P10LE, Pixel::YUV444P10LE] {
        let mut frame = Frame::new(format, w, h).unwrap();
        frame.set_colour(tags(9, 1, 1));
        // Slow ramps, so that halved chroma loses nothing; all are colours that RGB has.
        for (plane, (base, across, down)) in [(300, 3, 1), (480, 1, 0), (540, 0, -1)].into_iter().enumerate() {
            let p = frame.plane_mut(plane).unwrap();
            for (y, row) in p.data.chunks_mut(p.stride).enumerate() {
                for (x, s) in row.chunks_exact_mut(2).enumerate() {
                    let code = base + across * x as i32 + down * y as i32;
                    s.copy_from_slice(&(code as u16).to_le_bytes());
                }
            }
        }
        let rgb = to_rgb(&frame);
        let mut back = Frame::new(format, w, h).unwrap();
        back.set_colour(frame.colour());
        FromRgb::new(false).convert(&rgb, None, &mut back).unwrap();
        let code = |b: &[u8]| i32::from(u16::from_le_bytes([b[0], b[1]]));
        for plane in 0..3 {
            let (a, b) = (frame.plane(plane).unwrap(), back.plane(plane).unwrap());
            let wide = if plane == 0 || format == Pixel::YUV444P10LE { w } else { w / 2 } as usize;
            for (y, (a, b)) in a.data.chunks(a.stride).zip(b.data.chunks(b.stride)).enumerate() {
                for (x, (a, b)) in a.chunks(2).zip(b.chunks(2)).take(wide).enumerate() {
                    assert!((code(a) - code(b)).abs() <= 1, "{format:?} {plane} at {x},{y}: {} {}", code(a), code(b));
                }
            }
        }
    }
}

#[test]
fn chroma_is_halved_where_left_sited_samples_lie() {
    // A ramp of Cb along the row: its left-sited samples are the ramp's even values, edges apart.
    let (w, h) = (32, 8);
    let n = w * h;
    let mut rgb = vec![0.5_f32; 3 * n];
    for i in 0..n {
        rgb[2 * n + i] = 0.3 + (i % w) as f32 * 0.01;
    }
    let mut full = Frame::new(Pixel::YUV444P, w as u32, h as u32).unwrap();
    let mut half = Frame::new(Pixel::YUV420P, w as u32, h as u32).unwrap();
    full.set_colour(tags(1, 1, 1));
    half.set_colour(tags(1, 1, 1));
    FromRgb::new(false).convert(&rgb, None, &mut full).unwrap();
    FromRgb::new(false).convert(&rgb, None, &mut half).unwrap();
    let (f, c) = (full.plane(1).unwrap(), half.plane(1).unwrap());
    for x in 1..w / 2 - 1 {
        let (want, got) = (i32::from(f.data[2 * x]), i32::from(c.data[x]));
        assert!((want - got).abs() <= 1, "{x}: {want} {got}");
    }
}

#[test]
fn rows_in_bands_are_those_of_the_whole_frame() {
    const SIZE: (u32, u32) = (67, 33);
    let (w, h) = (SIZE.0 as usize, SIZE.1 as usize);
    let bands = [0..8, 8..10, 10..32, 32..33];
    let part = |planes: &[f32], rows: &std::ops::Range<usize>| -> Vec<f32> {
        planes.chunks_exact(w * h).flat_map(|plane| plane[rows.start * w..rows.end * w].to_vec()).collect()
    };
    // UYVY goes through swscale, which must happen once and not for each band.
    for from in [Pixel::YUV420P, Pixel::NV12, Pixel::UYVY422, Pixel::RGB24, Pixel::GRAY8] {
        let mut frame = Frame::new(from, SIZE.0, SIZE.1).unwrap();
        fill(&mut frame, 1, 255);
        frame.set_colour(tags(1, 1, 1));
        let whole = to_rgb(&frame);
        let mut converter = ToRgb::new(Hdr::Refuse);
        let mut rows = converter.of(&frame).unwrap();
        for band in bands.iter().rev() {
            let mut out = vec![9.0; 3 * w * band.len()];
            rows.rows(band.clone(), &mut out).unwrap();
            assert_eq!(out, part(&whole, band), "{from:?} {band:?}");
        }
        assert!(rows.rows(30..34, &mut vec![0.0; 3 * w * 4]).is_err(), "no such rows");
        drop(rows);

        let alpha: Vec<f32> = (0..w * h).map(|i| (i % 97) as f32 / 96.0).collect();
        for to in [Pixel::YUVA420P, Pixel::YUVA444P12LE, Pixel::RGBA, Pixel::RGBA64BE, Pixel::YUV420P] {
            let frames = || [(); 2].map(|()| Frame::new(to, SIZE.0, SIZE.1).unwrap());
            let ([mut once, mut banded], [mut grey, mut grey_banded]) = (frames(), frames());
            let mut converter = FromRgb::new(true);
            converter.convert(&whole, Some(&alpha), &mut once).unwrap();
            converter.convert_grey(&alpha, &mut grey).unwrap();
            for band in &bands {
                let (rgb, alpha) = (part(&whole, band), part(&alpha, band));
                converter.convert_rows(band.clone(), &rgb, Some(&alpha), &mut banded).unwrap();
                converter.convert_grey_rows(band.clone(), &alpha, &mut grey_banded).unwrap();
            }
            for (a, b) in [(&once, &banded), (&grey, &grey_banded)] {
                assert_eq!(to_rgb(a), to_rgb(b), "{from:?} to {to:?}");
                let (mut alpha_a, mut alpha_b) = (vec![0.0; w * h], vec![0.0; w * h]);
                assert_eq!(alpha_of(a, &mut alpha_a), alpha_of(b, &mut alpha_b));
                assert_eq!(alpha_a, alpha_b, "{from:?} to {to:?}");
            }
            let odd = converter.convert_rows(1..2, &vec![0.0; 3 * w], None, &mut banded);
            assert!(odd.is_err(), "two rows share their chroma");
        }
    }
}

#[test]
fn dither_keeps_the_mean_and_exact_codes() {
    let n = 64 * 64;
    // A quarter above code 128 of full range: a quarter of the pixels must be one higher.
    let grey = vec![128.25 / 255.0; n];
    let mut frame = Frame::new(Pixel::YUV444P, 64, 64).unwrap();
    frame.set_colour(tags(1, 2, 1));
    FromRgb::new(true).convert_grey(&grey, &mut frame).unwrap();
    let p = frame.plane(0).unwrap();
    let codes = (0..64).flat_map(|y| p.data[y * p.stride..y * p.stride + 64].to_vec());
    let mean = codes.map(f64::from).sum::<f64>() / n as f64;
    assert!((mean - 128.25).abs() < 0.02, "{mean}");
    FromRgb::new(true).convert_grey(&vec![77.0 / 255.0; n], &mut frame).unwrap();
    assert!(frame.plane(0).unwrap().data[..64].iter().all(|c| *c == 77));
}

#[test]
fn pictures_are_packed_with_straight_alpha() {
    let rgb = [1.0, 0.0, 0.5, 0.25, 0.0, 1.0];
    let mut eight = Frame::new(Pixel::RGBA, 2, 1).unwrap();
    FromRgb::new(false).convert(&rgb, Some(&[1.0, 0.5]), &mut eight).unwrap();
    assert_eq!(eight.plane(0).unwrap().data[..8], [255, 128, 0, 255, 0, 64, 255, 128]);
    let mut sixteen = Frame::new(Pixel::RGBA64BE, 2, 1).unwrap();
    FromRgb::new(false).convert(&rgb, None, &mut sixteen).unwrap();
    assert_eq!(sixteen.plane(0).unwrap().data[..8], [0xff, 0xff, 0x80, 0, 0, 0, 0xff, 0xff]);
    // Without an alpha plane there is nothing to hide.
    let mut eight = Frame::new(Pixel::RGB24, 2, 1).unwrap();
    FromRgb::new(false).convert(&rgb, Some(&[1.0, 0.0]), &mut eight).unwrap();
    assert_eq!(eight.plane(0).unwrap().data[..6], [255, 128, 0, 0, 64, 255]);
    let mut sixteen = Frame::new(Pixel::RGB48BE, 2, 1).unwrap();
    FromRgb::new(false).convert(&rgb, None, &mut sixteen).unwrap();
    assert_eq!(sixteen.plane(0).unwrap().data[..6], [0xff, 0xff, 0x80, 0, 0, 0]);
}

#[test]
fn hdr_is_refused_kept_or_mapped_as_told() {
    let mut frame = Frame::new(Pixel::YUV420P10LE, 16, 16).unwrap();
    fill(&mut frame, 2, 1023);
    frame.set_colour(ColourTags { matrix: 9, range: 1, primaries: 9, transfer: 16, chroma: 1 });
    let mut rgb = vec![0.0; 3 * 256];
    let error = ToRgb::new(Hdr::Refuse).convert(&frame, &mut rgb).unwrap_err();
    assert_eq!(error.code, darkroom_api::ErrorCode::InputHdr);
    ToRgb::new(Hdr::Keep).convert(&frame, &mut rgb).unwrap();
    let kept = rgb.clone();
    ToRgb::new(Hdr::ToneMap).convert(&frame, &mut rgb).unwrap();
    assert!(largest_difference(&kept, &rgb) > 0.1 && rgb.iter().all(|v| (0.0..=1.0).contains(v)));
}

/// The way of `tone` from the standards' own formulas, in double precision and without tables.
fn tone_mapped(code: [f64; 3], hlg: bool) -> [f64; 3] {
    let (m1, m2) = (2610.0 / 16384.0, 2523.0 / 4096.0 * 128.0);
    let (c1, c2, c3) = (3424.0 / 4096.0, 2413.0 / 4096.0 * 32.0, 2392.0 / 4096.0 * 32.0);
    let nits = |code: f64| {
        let p = code.powf(1.0 / m2);
        1e4 * ((p - c1).max(0.0) / (c2 - c3 * p)).powf(1.0 / m1)
    };
    let pq = |nits: f64| {
        let p = (nits / 1e4).powf(m1);
        ((c1 + c2 * p) / (1.0 + c3 * p)).powf(m2)
    };
    let light = if hlg {
        let a: f64 = 0.178_832_77;
        let (b, c) = (1.0 - 4.0 * a, 0.5 - a * (4.0 * a).ln());
        let scene = code.map(|v| if v <= 0.5 { v * v / 3.0 } else { (((v - c) / a).exp() + b) / 12.0 });
        let luminance: f64 = 0.2627 * scene[0] + 0.6780 * scene[1] + 0.0593 * scene[2];
        scene.map(|s| 1000.0 * s * luminance.max(1e-12).powf(0.2))
    } else {
        code.map(nits)
    };
    let largest = light.iter().copied().fold(1e-4, f64::max);
    let (e1, most) = (pq(largest.min(1000.0)) / pq(1000.0), pq(203.0) / pq(1000.0));
    let start = 1.5 * most - 0.5;
    let t = (e1 - start) / (1.0 - start);
    let bent = (2.0 * t.powi(3) - 3.0 * t.powi(2) + 1.0) * start
        + (t.powi(3) - 2.0 * t.powi(2) + t) * (1.0 - start)
        + (-2.0 * t.powi(3) + 3.0 * t.powi(2)) * most;
    let target = nits(if e1 < start { e1 } else { bent } * pq(1000.0)) / 203.0;
    let [r, g, b] = light.map(|l| l * target / largest);
    [1.6605 * r - 0.5876 * g - 0.0728 * b, -0.1246 * r + 1.1329 * g - 0.0083 * b, -0.0182 * r - 0.1006 * g + 1.1187 * b]
        .map(|l| l.clamp(0.0, 1.0).powf(1.0 / 2.4))
}

#[test]
fn hdr_of_real_footage_is_mapped_as_the_standards_say() {
    use crate::testing::{Scratch, jump};
    let scratch = Scratch::new();
    for (transfer, hlg) in [("smpte2084", false), ("arib-std-b67", true)] {
        // Its sky at 400 cd/m2 and, where the sun stands, at 1600.
        let make = |nits: u32, name: &str| {
            let to_hdr = format!(
                "scale=320:180,zscale=min=709:tin=709:pin=709:rin=tv:t=linear,format=gbrpf32le,\
                 zscale=npl={nits}:p=2020:t={transfer}:m=2020_ncl:r=tv,format=yuv420p10le"
            );
            let codec = format!("log-level=none:colorprim=bt2020:transfer={transfer}:colormatrix=bt2020nc");
            let codec = format!("-c:v libx265 -preset ultrafast -crf 10 -x265-params {codec}");
            scratch.make(&jump(), &format!("-vf {to_hdr} -frames:v 1 -an {codec}"), name)
        };
        for nits in [400, 1600] {
            let path = make(nits, &format!("{transfer}-{nits}.mp4"));
            let frame = crate::Reader::open(&path, &crate::ReadOptions::default()).unwrap().next().unwrap().unwrap();
            assert!(frame.colour().is_hdr());
            let mut coded = vec![0.0; 3 * 320 * 180];
            let mut mapped = coded.clone();
            ToRgb::new(Hdr::Keep).convert(&frame, &mut coded).unwrap();
            ToRgb::new(Hdr::ToneMap).convert(&frame, &mut mapped).unwrap();
            let (mut off, mut beyond) = (0.0_f64, 0);
            for i in 0..320 * 180 {
                let at = |planes: &[f32]| [planes[i], planes[320 * 180 + i], planes[2 * 320 * 180 + i]];
                let code = at(&coded).map(f64::from);
                beyond += u32::from(code.iter().any(|c| *c > 0.7519));
                for (got, want) in at(&mapped).into_iter().zip(tone_mapped(code, hlg)) {
                    off = off.max((f64::from(got) - want).abs());
                }
            }
            println!("{transfer} {nits}: off by {off:.5}, {beyond} pixels beyond 1000 cd/m2");
            assert!(off < 2e-3, "{transfer} {nits}: {off}");
            assert!(hlg || (beyond > 100) == (nits == 1600), "{transfer} {nits}: {beyond} pixels beyond 1000 cd/m2");
        }
    }
}

#[test]
fn palettes_are_unpacked() {
    use crate::testing::{Scratch, man};
    let scratch = Scratch::new();
    let picture = scratch.make(&man(), "-vf scale=64:96 -frames:v 1 -pix_fmt pal8", "p.png");
    let plain = std::fs::read(scratch.make(&picture, "-f rawvideo -pix_fmt rgb24", "p.rgb")).unwrap();
    let frame = crate::Reader::open(&picture, &crate::ReadOptions::default()).unwrap().next().unwrap().unwrap();
    assert_eq!(frame.format(), Pixel::PAL8);
    let rgb = to_rgb(&frame);
    for (i, pixel) in plain.chunks_exact(3).enumerate() {
        for (c, want) in pixel.iter().enumerate() {
            assert!((rgb[c * 64 * 96 + i] * 255.0 - f32::from(*want)).abs() < 1e-3, "{i} {c}");
        }
    }
}
