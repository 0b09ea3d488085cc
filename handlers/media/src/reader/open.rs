//! Choosing a stream, opening its decoder, and what the container says of it.

use std::path::Path;

use darkroom_api::{ErrorCode, JobError, Result};
use ffmpeg_next as ff;
use ffmpeg_next::format::context::Input;
use ffmpeg_next::{Rational, Rescale};

use super::{Range, ReadOptions};
use crate::error::{corrupt, unsupported};
use crate::orientation::{Orientation, turn_aspect};
use crate::{ColourTags, VideoInfo, ffi, source};

const MICROSECONDS: Rational = Rational(1, 1_000_000);

/// The best stream of moving pictures; covers are no video.
pub(crate) fn best_video(input: &Input) -> Result<usize> {
    use ff::format::stream::Disposition;
    let best = input.streams().best(ff::media::Type::Video);
    match best.filter(|s| !s.disposition().contains(Disposition::ATTACHED_PIC)) {
        Some(stream) => Ok(stream.index()),
        // A stream that FFmpeg has no decoder for is not "best": it is still a video.
        None => match input.streams().find(|s| {
            s.parameters().medium() == ff::media::Type::Video && !s.disposition().contains(Disposition::ATTACHED_PIC)
        }) {
            Some(stream) => {
                let codec = stream.parameters().id().name();
                Err(unsupported(format!("There is no decoder for the codec `{codec}`")))
            }
            None => Err(JobError::new(
                ErrorCode::InputNoVideo,
                "The file has no video stream (only sound, or a cover picture): choose a file with moving pictures.",
            )),
        },
    }
}

pub(super) fn open_decoder(
    path: &Path,
    input: &Input,
    index: usize,
    options: &ReadOptions,
) -> Result<(ff::decoder::Video, VideoInfo)> {
    let stream = input.stream(index).ok_or_else(|| corrupt("the stream is gone"))?;
    let parameters = stream.parameters();
    let id = parameters.id();
    let has_alpha_tag = stream.metadata().get("alpha_mode").or(stream.metadata().get("ALPHA_MODE")) == Some("1");
    let mut context = ff::codec::Context::from_parameters(parameters).map_err(corrupt)?;
    context.set_threading(ff::threading::Config {
        kind: ff::threading::Type::Frame,
        count: options.threads.clamp(1, 64),
        ..Default::default()
    });
    let mut decoder = context.decoder();
    decoder.set_packet_time_base(stream.time_base());
    let by_libvpx = match id {
        ff::codec::Id::VP9 if options.alpha && has_alpha_tag => ff::decoder::find_by_name("libvpx-vp9"),
        ff::codec::Id::VP8 if options.alpha && has_alpha_tag => ff::decoder::find_by_name("libvpx"),
        _ => None,
    };
    let codec = by_libvpx
        .or_else(|| ff::decoder::find(id))
        .ok_or_else(|| unsupported(format!("There is no decoder for the codec `{}`", id.name())))?;
    let mut settings = ff::Dictionary::new();
    settings.set("max_pixels", &options.max_pixels.min(i32::MAX as u64).to_string());
    let opened = decoder.open_as_with(codec, settings).and_then(ff::codec::decoder::Opened::video);
    let decoder = opened.map_err(corrupt)?;
    let mut info = describe(&stream, &decoder, has_alpha_tag);
    info.is_still = source::is_still(path, input);
    let counted = counted_frames(path, input, &stream);
    let whole = options.start_secs.is_none() && options.end_secs.is_none();
    info.frames_counted = info.is_still || (counted.is_some() && whole);
    info.frames = if info.is_still { Some(1) } else { frames_wanted(counted, input, &stream, options) };
    Ok((decoder, info))
}

fn describe(stream: &ff::format::stream::Stream<'_>, decoder: &ff::decoder::Video, has_alpha_tag: bool) -> VideoInfo {
    let orientation = stream
        .side_data()
        .find(|d| d.kind() == ff::codec::packet::side_data::Type::DisplayMatrix)
        .map_or(Orientation::Upright, |d| Orientation::from_display_matrix(d.data()));
    let (w, h) = (decoder.width(), decoder.height());
    let (width_px, height_px) = if orientation.swaps_sides() { (h, w) } else { (w, h) };
    let in_file = ColourTags::from(ffi::codec_colour(decoder));
    let pixel_format = decoder.format();
    VideoInfo {
        width_px,
        height_px,
        time_base: stream.time_base(),
        frame_rate: frame_rate(stream),
        start_pts: 0,
        pixel_format,
        bit_depth: ffi::component_depth(pixel_format).0,
        has_alpha: has_alpha_tag || ffi::format_flags(pixel_format) & ff::ffi::AV_PIX_FMT_FLAG_ALPHA as u64 != 0,
        colour: in_file.resolved(pixel_format, h),
        colour_in_file: in_file,
        sample_aspect: turn_aspect(orientation, ffi::stream_aspect(stream)),
        orientation,
        is_still: false,
        frames: None,
        frames_counted: false,
    }
}

fn frame_rate(stream: &ff::format::stream::Stream<'_>) -> Rational {
    let usable = |r: &Rational| r.numerator() > 0 && r.denominator() > 0 && f64::from(*r) <= 1000.0;
    [stream.avg_frame_rate(), stream.rate()].into_iter().find(usable).unwrap_or(Rational(25, 1))
}

/// First time stamp of the file in seconds, 0 where unknown.
pub(crate) fn file_start_secs(input: &Input) -> f64 {
    let start = input.streams().filter_map(|s| {
        let t = s.start_time();
        #[allow(clippy::cast_precision_loss, reason = "seconds of a video fit a float")]
        (t != ff::ffi::AV_NOPTS_VALUE).then(|| t as f64 * f64::from(s.time_base()))
    });
    start.min_by(f64::total_cmp).unwrap_or(0.0)
}

/// Duration of the video stream, else of the file, in seconds.
pub(crate) fn duration_secs(input: &Input, stream: &ff::format::stream::Stream<'_>) -> Option<f64> {
    #[allow(clippy::cast_precision_loss, reason = "seconds of a video fit a float")]
    let secs = |ticks: i64, base: Rational| (ticks > 0).then(|| ticks as f64 * f64::from(base));
    secs(stream.duration(), stream.time_base()).or_else(|| secs(input.duration(), MICROSECONDS))
}

/// Frames of the whole stream as the container has counted them.
pub(crate) fn counted_frames(path: &Path, input: &Input, stream: &ff::format::stream::Stream<'_>) -> Option<u64> {
    u64::try_from(stream.frames()).ok().filter(|n| *n > 0).or_else(|| source::apng_frames(path, input))
}

/// The same by duration and rate. A rate may be far too high: of a clock where frames come when something changes.
pub(crate) fn estimated_frames(input: &Input, stream: &ff::format::stream::Stream<'_>) -> Option<u64> {
    let frames = duration_secs(input, stream)? * f64::from(frame_rate(stream));
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "an estimate; casts saturate")]
    Some(frames.round() as u64)
}

fn frames_wanted(
    counted: Option<u64>,
    input: &Input,
    stream: &ff::format::stream::Stream<'_>,
    options: &ReadOptions,
) -> Option<u64> {
    let all = counted.or_else(|| estimated_frames(input, stream))?;
    if options.start_secs.is_none() && options.end_secs.is_none() {
        return Some(all);
    }
    let duration = duration_secs(input, stream)?;
    let from = options.start_secs.unwrap_or(0.0).min(duration);
    let to = options.end_secs.unwrap_or(duration).min(duration);
    #[allow(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_precision_loss,
        reason = "an estimate; casts saturate"
    )]
    Some((all as f64 * ((to - from) / duration).clamp(0.0, 1.0)).round() as u64)
}

pub(super) fn check_range(options: &ReadOptions) -> Result<()> {
    let start = options.start_secs.unwrap_or(0.0);
    let bad = |s: f64| !s.is_finite() || s < 0.0;
    if bad(start) || options.end_secs.is_some_and(|end| bad(end) || end <= start) {
        return Err(JobError::new(
            ErrorCode::ParamsInvalid,
            "The range is empty: `end_secs` must be greater than `start_secs`, and both at least 0.",
        ));
    }
    Ok(())
}

/// The range in ticks of the stream, and where to seek in microseconds.
pub(super) fn wanted_range(input: &Input, index: usize, options: &ReadOptions) -> (Range, Option<i64>) {
    let base = input.stream(index).map_or(MICROSECONDS, |s| s.time_base());
    let file_start = file_start_secs(input);
    #[allow(clippy::cast_possible_truncation, reason = "a float cast saturates")]
    let micros = |secs: f64| ((secs + file_start) * 1e6).round() as i64;
    // The first tick at or after the moment.
    let ticks = |secs: f64| micros(secs).rescale_with(MICROSECONDS, base, ff::Rounding::Up);
    let start = options.start_secs.filter(|s| *s > 0.0);
    let range = Range { start: start.map(ticks), end: options.end_secs.map(ticks), shift: start.map_or(0, ticks) };
    (range, start.map(micros))
}
