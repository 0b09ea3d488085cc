//! What is this file, and can it be used? Opened as hostile, answered with one closed code.

use std::path::Path;

use darkroom_api::{AudioProbe, CancelToken, ErrorCode, JobError, Limits, MediaKind, Probe, Result, VideoProbe};
use ffmpeg_next as ff;
use ffmpeg_next::format::context::Input;

use crate::reader::{ReadOptions, Reader, best_video, duration_secs, file_start_secs};
use crate::{VideoInfo, ffi, source};

/// Looks at a file and decodes its first frame. `kinds` is what it may be.
///
/// # Errors
/// `input-not-found`, `input-empty`, `input-not-media`, `input-truncated`, `input-corrupt`, `input-no-video`,
/// `input-wrong-kind`, `input-too-small`, `input-too-large` (bytes, pixels, duration) and `input-unsupported`.
pub fn probe(path: &Path, kinds: &[MediaKind], limits: &Limits) -> Result<Probe> {
    let bytes = std::fs::metadata(path).map_or(0, |m| m.len());
    check_bytes(bytes, limits)?;
    let input = source::open(path, &CancelToken::default())?;
    let kind = kind_of(path, &input, kinds)?;
    let mut probe = Probe {
        kind,
        container: input.format().name().to_owned(),
        bytes,
        duration_secs: None,
        start_secs: file_start_secs(&input),
        video: None,
        audio: input.streams().filter_map(|s| audio_probe(&s)).collect(),
    };
    if kind == MediaKind::Audio {
        #[allow(clippy::cast_precision_loss, reason = "seconds fit a float")]
        let secs = input.duration() as f64 / 1e6;
        probe.duration_secs = (input.duration() > 0).then_some(secs);
        check_duration(probe.duration_secs, limits)?;
        return Ok(probe);
    }
    let index = best_video(&input)?;
    let stream = input.stream(index).ok_or_else(|| crate::error::corrupt("the stream is gone"))?;
    probe.duration_secs = if kind == MediaKind::Video { duration_secs(&input, &stream) } else { None };
    check_duration(probe.duration_secs, limits)?;
    check_size(&stream, limits)?;
    drop(input);
    let options = ReadOptions { threads: 1, max_pixels: limits.max_pixels, ..ReadOptions::default() };
    let reader = Reader::open(path, &options)?;
    let codec = reader.input().stream(reader.stream()).map_or("unknown", |s| s.parameters().id().name());
    probe.video = Some(video_probe(reader.info(), codec));
    Ok(probe)
}

/// Settles what the file is and whether that is wanted.
fn kind_of(path: &Path, input: &Input, kinds: &[MediaKind]) -> Result<MediaKind> {
    let wrong = |message| Err(JobError::new(ErrorCode::InputWrongKind, message));
    let kind = if source::is_still(path, input) {
        MediaKind::Image
    } else {
        match best_video(input) {
            Ok(_) => MediaKind::Video,
            Err(e) if e.code == ErrorCode::InputNoVideo => MediaKind::Audio,
            Err(e) => return Err(e),
        }
    };
    if kinds.contains(&kind) {
        return Ok(kind);
    }
    match kind {
        MediaKind::Image => wrong("The file is a picture, but a video is needed: upload a video."),
        MediaKind::Video => wrong("The file is a video, but something else is needed: check the input's role."),
        MediaKind::Audio if kinds.contains(&MediaKind::Video) => best_video(input).map(|_| MediaKind::Video),
        MediaKind::Audio => wrong("The file holds only sound: check the input's role."),
    }
}

fn too_large(what: String, detail: serde_json::Value) -> JobError {
    JobError::new(ErrorCode::InputTooLarge, what).with_detail(detail)
}

fn check_bytes(bytes: u64, limits: &Limits) -> Result<()> {
    if bytes > limits.max_bytes {
        let max = limits.max_bytes;
        return Err(too_large(
            format!("The file has {bytes} bytes, the limit is {max}: split it, or raise `limits.max_bytes`."),
            serde_json::json!({ "bytes": bytes, "max_bytes": max }),
        ));
    }
    Ok(())
}

fn check_duration(duration: Option<f64>, limits: &Limits) -> Result<()> {
    match duration {
        Some(secs) if secs > limits.max_duration_secs => {
            let max = limits.max_duration_secs;
            Err(too_large(
                format!(
                    "The file lasts {secs:.1} s, the limit is {max:.1} s: split it, or raise `limits.max_duration_secs`."
                ),
                serde_json::json!({ "duration_secs": secs, "max_duration_secs": max }),
            ))
        }
        _ => Ok(()),
    }
}

/// Checked on what the container says, before a decoder allocates anything.
fn check_size(stream: &ff::format::stream::Stream<'_>, limits: &Limits) -> Result<()> {
    let (width, height) = ffi::coded_size(stream);
    let pixels = u64::from(width) * u64::from(height);
    if pixels > limits.max_pixels {
        let max = limits.max_pixels;
        return Err(too_large(
            format!(
                "The picture has {width}x{height} pixels, the limit is {max} in all: scale it down first, or raise `limits.max_pixels`."
            ),
            serde_json::json!({ "width_px": width, "height_px": height, "max_pixels": max }),
        ));
    }
    if width.min(height) < limits.min_side_px && pixels > 0 {
        let min = limits.min_side_px;
        let message = format!(
            "The picture is {width}x{height} pixels: its shorter side must be at least {min} (`limits.min_side_px`)."
        );
        return Err(JobError::new(ErrorCode::InputTooSmall, message));
    }
    Ok(())
}

fn audio_probe(stream: &ff::format::stream::Stream<'_>) -> Option<AudioProbe> {
    let parameters = stream.parameters();
    if parameters.medium() != ff::media::Type::Audio {
        return None;
    }
    let (sample_rate, channels) = ffi::audio_shape(stream);
    Some(AudioProbe { codec: parameters.id().name().to_owned(), channels, sample_rate })
}

fn video_probe(info: &VideoInfo, codec: &str) -> VideoProbe {
    VideoProbe {
        codec: codec.to_owned(),
        width_px: info.width_px,
        height_px: info.height_px,
        rotation_degrees: info.orientation.degrees(),
        fps: info.fps(),
        frames: info.frames,
        frames_counted: info.frames_counted,
        pixel_format: info.pixel_format.descriptor().map_or("unknown", ff::format::pixel::Descriptor::name).to_owned(),
        bit_depth: info.bit_depth,
        has_alpha: info.has_alpha,
        is_hdr: info.colour_in_file.is_hdr(),
        colour: info.colour_in_file.names(),
    }
}

#[cfg(test)]
mod tests;
