//! What writing takes on the disk, reckoned from what a look at the source has found.

use darkroom_api::{Limits, MediaKind, Probe};

use super::{Container, Rate, VideoCodec, WriteOptions};

/// Thousandths of a byte that a pixel of a frame takes in a file of middling quality, generously: half a bit.
const MILLIBYTES_A_PIXEL: u64 = 60;
/// The same for what is asked to be finer.
const FINE_MILLIBYTES_A_PIXEL: u64 = 250;
/// The same for ProRes 4444 with an alpha plane.
const PRORES_MILLIBYTES_A_PIXEL: u64 = 2000;
/// The same for a source that does not tell its length: few, as of video for streaming, so that many frames are guessed.
const SOURCE_MILLIBYTES_A_PIXEL: u64 = 10;
/// Of a picture's file beside its pixels, and of its entry in the list of times.
const PICTURE_BYTES: u64 = 1000;
/// Bytes of a sample of sound, at the most.
const SAMPLE_BYTES: f64 = 4.0;
/// Frames a second of a source that tells neither.
const LIKELY_FPS: f64 = 30.0;

/// How much of a source is to be written.
#[derive(Debug, Clone, Copy)]
struct Length {
    frames: u64,
    secs: f64,
}

impl WriteOptions {
    /// Bytes that writing a video or picture of this size takes on the disk, generously: the file with its sound, and with
    /// `max_bytes` two more, each at most of that size, in case that it has to be made smaller. `range` is the part of
    /// `source` to read, in seconds from its start. Where the source does not tell its length, that is guessed from its bytes.
    pub fn scratch_bytes(
        &self,
        (width_px, height_px): (u32, u32),
        source: &Probe,
        range: (Option<f64>, Option<f64>),
    ) -> u64 {
        let length = length(source, range);
        let pixels = u64::from(width_px) * u64::from(height_px);
        let free = self.video_bytes(pixels, length).saturating_add(self.sound_bytes(source, length));
        let again = self.max_bytes.map_or(0, |max| max.min(free).saturating_mul(2));
        free.saturating_add(again)
    }

    fn video_bytes(&self, pixels: u64, length: Length) -> u64 {
        let millibytes = match (self.format.codec, self.rate) {
            (VideoCodec::Png, _) => {
                let channels = if self.format.alpha { 4 } else { 3 };
                // What cannot be made smaller grows a little.
                let picture = (pixels * channels * u64::from(self.bit_depth) / 8).saturating_mul(65) / 64;
                return length.frames.saturating_mul(picture.saturating_add(PICTURE_BYTES));
            }
            (VideoCodec::ProRes4444, _) => PRORES_MILLIBYTES_A_PIXEL,
            (_, Rate::BitsPerSec(bits)) => return whole(1.2 * as_float(bits) / 8.0 * length.secs),
            (_, Rate::Quality(81..) | Rate::Crf(..18)) => FINE_MILLIBYTES_A_PIXEL,
            (_, Rate::Quality(_) | Rate::Crf(_)) => MILLIBYTES_A_PIXEL,
        };
        // An alpha plane is a video of its own.
        let planes = if self.format.alpha && self.format.codec == VideoCodec::Vp9 { 2 } else { 1 };
        length.frames.saturating_mul(planes * pixels * millibytes / 1000)
    }

    /// Sound that is copied is no more than the source has.
    fn sound_bytes(&self, source: &Probe, length: Length) -> u64 {
        if matches!(self.format.container, Container::Folder | Container::Picture) {
            return 0;
        }
        let samples = source.audio.iter().map(|track| f64::from(track.channels) * f64::from(track.sample_rate));
        whole(samples.sum::<f64>() * SAMPLE_BYTES * length.secs).min(source.bytes)
    }
}

fn length(source: &Probe, (start, end): (Option<f64>, Option<f64>)) -> Length {
    let Some(video) = source.video.as_ref().filter(|_| source.kind != MediaKind::Image) else {
        return Length { frames: 1, secs: 0.0 };
    };
    let fps = if video.fps > 0.0 { video.fps } else { LIKELY_FPS };
    let told = source.duration_secs.or(video.frames.map(|frames| as_float(frames) / fps));
    let secs = told.unwrap_or_else(|| {
        let pixels = u64::from(video.width_px) * u64::from(video.height_px);
        let frame = as_float((pixels * SOURCE_MILLIBYTES_A_PIXEL).max(1)) / 1000.0;
        (as_float(source.bytes) / frame / fps.min(LIKELY_FPS)).min(Limits::default().max_duration_secs)
    });
    let part = end.map_or(secs, |end| end.min(secs)) - start.unwrap_or(0.0).min(secs);
    let part = part.clamp(0.0, secs);
    let frames = match video.frames {
        Some(frames) if secs > 0.0 => as_float(frames) * part / secs,
        Some(frames) => as_float(frames),
        // The rate of a file without a length is often a tick of its clock.
        None if told.is_none() => fps.min(LIKELY_FPS) * part,
        None => fps * part,
    };
    Length { frames: whole(frames.ceil()).max(1), secs: part }
}

#[allow(clippy::cast_precision_loss, reason = "an estimate")]
fn as_float(number: u64) -> f64 {
    number as f64
}

#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "positive; casts saturate")]
fn whole(number: f64) -> u64 {
    number as u64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::OutputFormat;
    use crate::testing::{Scratch, jump, man};

    const NOTHING: (Option<f64>, Option<f64>) = (None, None);

    fn look(path: &std::path::Path) -> Probe {
        let kinds = [MediaKind::Video, MediaKind::Image];
        crate::probe::probe(path, &kinds, &Limits::default()).unwrap()
    }

    #[test]
    fn a_length_that_is_not_told_is_guessed_from_bytes() {
        let scratch = Scratch::new();
        // As browsers record: no duration, no index.
        let arguments = "-an -vf scale=320:180 -c:v libvpx -deadline realtime -cpu-used 8 -b:v 300k";
        let live = scratch.make(&jump(), &format!("{arguments} -f webm -live 1"), "live.webm");
        let probe = look(&live);
        assert_eq!((probe.duration_secs, probe.video.as_ref().unwrap().frames), (None, None));
        let options = WriteOptions::new(OutputFormat::MP4_H264);
        let all = options.scratch_bytes((640, 360), &probe, NOTHING);
        // 230 frames of half a bit a pixel, and not hours of it.
        assert!((1_600_000..200_000_000).contains(&all), "{all}");
        let part = options.scratch_bytes((640, 360), &probe, (Some(0.5), Some(1.0)));
        assert!(part < 300_000, "{part}");
        let limited = WriteOptions { max_bytes: Some(100_000), ..options };
        assert_eq!(limited.scratch_bytes((640, 360), &probe, NOTHING), all + 200_000);
    }

    #[test]
    fn pictures_take_their_pixels_and_sound_what_it_has() {
        let scratch = Scratch::new();
        let still = look(&scratch.make(&man(), "-vf scale=90:160 -frames:v 1", "still.png"));
        let png = WriteOptions { bit_depth: 16, ..WriteOptions::new(OutputFormat::PNG_PICTURE) };
        let channels = if png.format.alpha { 4 } else { 3 };
        let bytes = png.scratch_bytes((1000, 1000), &still, NOTHING);
        assert!((2_000_000 * channels..2_100_000 * channels).contains(&bytes), "{bytes}");
        let clip = look(&jump());
        let mut silent = clip.clone();
        silent.audio.clear();
        let options = WriteOptions::new(OutputFormat::MP4_H264);
        let of = |probe| options.scratch_bytes((64, 64), probe, NOTHING);
        assert!((of(&silent)..=of(&silent) + clip.bytes).contains(&of(&clip)) && of(&clip) > of(&silent));
    }
}
