//! Which encoder codes a codec, and with which settings.

use ffmpeg_next as ff;

use super::mux::Plan;
use super::options::scaled;
use super::search::Scale;
use super::{Rate, VideoCodec, WriteOptions};
use crate::VideoInfo;

/// FFmpeg's encoder.
pub(crate) fn encoder_name(codec: VideoCodec, width_px: u32, height_px: u32) -> &'static str {
    match codec {
        VideoCodec::H264 => "libx264",
        VideoCodec::Hevc => "libx265",
        VideoCodec::Av1 if fits_svt(width_px, height_px) && ff::encoder::find_by_name("libsvtav1").is_some() => {
            "libsvtav1"
        }
        VideoCodec::Av1 => "libaom-av1",
        VideoCodec::Vp9 => "libvpx-vp9",
        VideoCodec::ProRes4444 => "prores_ks",
        VideoCodec::Png => "png",
    }
}

/// SVT-AV1 counts pixels in pairs, and wants 64 of them either way.
fn fits_svt(width_px: u32, height_px: u32) -> bool {
    let fits = |side: u32, most: u32| side.is_multiple_of(2) && (64..=most).contains(&side);
    fits(width_px, 16_384) && fits(height_px, 8_704)
}

/// An encoder's scale of constant quality; `None` for those without. `halving` is of ordinary footage in the middle of it.
pub(crate) fn scale(encoder: &str) -> Option<Scale> {
    let (quality, range, step, halving) = match encoder {
        "libx264" => ((14, 38), (0.0, 51.0), 0.25, 6.0),
        "libx265" => ((16, 40), (0.0, 51.0), 0.25, 6.0),
        // 15 is hard to tell from the source, 50 is coarse.
        "libvpx-vp9" => ((15, 50), (0.0, 63.0), 1.0, 9.0),
        // 0 means "not set" to SVT-AV1.
        "libsvtav1" | "libaom-av1" => ((18, 55), (1.0, 63.0), 1.0, 9.0),
        _ => return None,
    };
    Some(Scale { quality, range, step, halving })
}

/// The constant quality that a file is written with; `None` for a bit rate, and for encoders without.
pub(crate) fn constant_quality(encoder: &str, plan: &Plan) -> Option<f64> {
    let (best, worst) = scale(encoder)?.quality;
    plan.crf.or(match plan.options.rate {
        Rate::Quality(quality) => Some(f64::from(scaled(quality, best, worst))),
        Rate::Crf(crf) => Some(f64::from(crf)),
        Rate::BitsPerSec(_) => None,
    })
}

const X26X_PRESETS: [&str; 11] =
    ["veryslow", "slower", "slow", "slow", "medium", "medium", "fast", "faster", "veryfast", "superfast", "ultrafast"];
/// Frames that these presets look ahead.
const X264_AHEAD: [u64; 11] = [60, 60, 50, 50, 40, 40, 30, 20, 10, 0, 0];
const X265_AHEAD: [u64; 11] = [40, 40, 25, 25, 20, 20, 15, 15, 15, 10, 5];

/// The encoder's private options.
pub(crate) fn settings(encoder: &str, plan: &Plan) -> ff::Dictionary<'static> {
    let (options, info) = (&plan.options, &plan.info);
    let mut settings = ff::Dictionary::new();
    match encoder {
        "libx264" | "libx265" => x26x(encoder, options, info, &mut settings),
        "libsvtav1" => svt(options, &mut settings),
        "libaom-av1" => aom(options, info, &mut settings),
        "libvpx-vp9" => vpx(options, info, &mut settings),
        "prores_ks" => prores(options, &mut settings),
        _ => {}
    }
    let constant = constant_quality(encoder, plan);
    if let Some(crf) = constant {
        settings.set("crf", &crf.to_string());
    }
    if let Some(bits) = bits_per_sec(encoder, plan, constant) {
        settings.set("b", &bits.to_string());
    }
    settings
}

/// The average rate to ask for.
fn bits_per_sec(encoder: &str, plan: &Plan, constant: Option<f64>) -> Option<u64> {
    match (plan.options.rate, constant) {
        (Rate::BitsPerSec(bits), None) => Some(bits),
        // Else they would hold to a rate of their own choice.
        (_, Some(_)) if encoder == "libvpx-vp9" || encoder == "libaom-av1" => Some(0),
        _ => None,
    }
}

fn speed(options: &WriteOptions) -> u8 {
    options.speed.min(10)
}

/// Frames that an encoder may look ahead: `wanted`, but no more than a quarter of a gigabyte of them (5 of 8K, where
/// an encoder keeps twice as much again for each).
fn lookahead(wanted: u64, options: &WriteOptions, info: &VideoInfo) -> u64 {
    let bytes = crate::frame::frame_bytes(options.pixel_format(info), info.width_px, info.height_px);
    wanted.min((256 << 20) / bytes.max(1))
}

fn x26x(encoder: &str, options: &WriteOptions, info: &VideoInfo, settings: &mut ff::Dictionary<'_>) {
    let speed = usize::from(speed(options));
    settings.set("preset", X26X_PRESETS[speed]);
    if encoder == "libx264" {
        settings.set("rc-lookahead", &lookahead(X264_AHEAD[speed], options, info).to_string());
    } else {
        // It must see past its longest run of B frames.
        let ahead = lookahead(X265_AHEAD[speed], options, info).max(5);
        let threads = options.threads.clamp(1, 64);
        settings.set("x265-params", &format!("log-level=none:pools={threads}:rc-lookahead={ahead}"));
    }
}

fn vpx(options: &WriteOptions, info: &VideoInfo, settings: &mut ff::Dictionary<'_>) {
    let speed = speed(options);
    let realtime = speed >= 5;
    settings.set("deadline", if realtime { "realtime" } else { "good" });
    settings.set("cpu-used", &speed.min(8).to_string());
    if options.format.alpha || realtime {
        // The alpha plane is an encoder of its own: hidden frames of the two would not pair up.
        settings.set("auto-alt-ref", "0");
        // Without hidden frames a lookahead gains little, and costs 60 MB a frame at 4K (two encoders).
        settings.set("lag-in-frames", "0");
    } else {
        settings.set("auto-alt-ref", "1");
        settings.set("lag-in-frames", &lookahead(25, options, info).to_string());
    }
    settings.set("row-mt", "1");
    settings.set("tile-columns", if info.width_px >= 1024 { "2" } else { "0" });
}

fn svt(options: &WriteOptions, settings: &mut ff::Dictionary<'_>) {
    // 12 is its fastest preset that is not for experiments, 2 the slowest that ends in a day.
    settings.set("preset", &(speed(options) + 2).to_string());
    settings.set("svtav1-params", &format!("lp={}", options.threads.clamp(1, 64)));
}

fn aom(options: &WriteOptions, info: &VideoInfo, settings: &mut ff::Dictionary<'_>) {
    settings.set("usage", if speed(options) >= 7 { "realtime" } else { "good" });
    settings.set("cpu-used", &speed(options).min(8).to_string());
    settings.set("row-mt", "1");
    let ahead = if speed(options) >= 7 { 0 } else { lookahead(25, options, info) };
    settings.set("lag-in-frames", &ahead.to_string());
}

fn prores(options: &WriteOptions, settings: &mut ff::Dictionary<'_>) {
    settings.set("profile", "4444");
    settings.set("alpha_bits", if options.format.alpha { "16" } else { "0" });
    settings.set("vendor", "apl0");
    // A fixed quantiser: searching one for each slice costs five times the time.
    settings.set("flags", "+qscale");
    let quality = if let Rate::Quality(quality) = options.rate { quality } else { 70 };
    settings.set("global_quality", &(scaled(quality, 1, 5) * ff::ffi::FF_QP2LAMBDA).to_string());
}
