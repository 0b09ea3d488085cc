//! One track of the source beside the video: copied packet by packet where the container takes the codec, else sound is
//! transcoded and text coded anew.
//!
//! It is read by a demuxer of its own and advances with the video, so that neither length nor interleaving of the
//! source costs memory.

use std::collections::VecDeque;

use darkroom_api::{ErrorCode, JobError, Result};
use ffmpeg_next as ff;
use ffmpeg_next::codec::Id;
use ffmpeg_next::format::context::{Input, Output};
use ffmpeg_next::{Rational, Rescale};

use super::tracks::Choice;
use super::transcode::Transcoder;
use super::{Container, ticks};
use crate::error::{internal, is_again, writing};
use crate::ffi::text::TextCoder;
use crate::{Tracks, ffi, source};

/// Unreadable packets in a row after which a track counts as ended.
const MAX_FAULTS_IN_A_ROW: u32 = 1000;
/// Decoders of sound need a few packets before the first sample is right.
const PREROLL_SECS: f64 = 0.2;

/// One stream on its way from a source to an output.
pub(crate) struct Track {
    input: Input,
    stream: usize,
    index: usize,
    is_text: bool,
    way: Way,
    /// Packets that are ready, in the time base of `bases.1`.
    ready: VecDeque<ff::Packet>,
    /// Time base of the packets that come out of `way`, and of the output's stream.
    bases: (Rational, Rational),
    range: Option<(f64, f64)>,
    /// Added to all times.
    shift_secs: f64,
    last_dts: Option<i64>,
    faults: u64,
    ended: bool,
}

/// How its packets become the output's.
pub(crate) enum Way {
    Copy,
    Sound(Box<Transcoder>),
    Text(Box<TextCoder>),
}

impl Track {
    /// Adds a stream to an output. Its header is not written yet.
    pub(crate) fn add(
        output: &mut Output,
        source: &Tracks,
        choice: Choice,
        container: Container,
        lift_secs: f64,
    ) -> Result<Track> {
        let mut input = source::open(&source.path, &source.cancel)?;
        let Choice { stream, is_text, way, base } = choice;
        ffi::keep_only(&mut input, &[stream]);
        let start = source.start_secs.unwrap_or(0.0);
        // What is read at the start may have been said long before.
        if source.start_secs.is_some() && !is_text {
            let micros = ticks((start - PREROLL_SECS).max(0.0), Rational(1, 1_000_000));
            if let Err(e) = input.seek(micros, ..micros) {
                tracing::debug!(%e, "no seek for the sound: it is read from the start");
            }
        }
        let index = add_stream(output, &input, stream, &way)?;
        let lead_in = if container.is_matroska() { opus_lead_in(output, index) } else { 0.0 };
        Ok(Track {
            input,
            stream,
            index,
            is_text,
            way,
            ready: VecDeque::new(),
            bases: (base, base),
            range: source.range(),
            shift_secs: lift_secs - start + lead_in,
            last_dts: None,
            faults: 0,
            ended: false,
        })
    }

    /// Muxers choose their own time bases when they write the header.
    pub(crate) fn header_written(&mut self, output: &Output) {
        if let Some(stream) = output.stream(self.index) {
            self.bases.1 = stream.time_base();
        }
    }

    /// Writes what comes before a video packet's time.
    pub(crate) fn advance(&mut self, output: &mut Output, until: Option<i64>, base: Rational) -> Result<()> {
        let Some(until) = until else { return Ok(()) };
        let until = until.rescale(base, self.bases.1);
        while self.fill()? {
            let Some(next) = self.ready.front() else { break };
            if next.dts().or(next.pts()).is_some_and(|t| t >= until) {
                break;
            }
            self.write_one(output)?;
        }
        Ok(())
    }

    /// Writes all that is left of the range.
    pub(crate) fn finish(&mut self, output: &mut Output) -> Result<()> {
        while self.fill()? {
            self.write_one(output)?;
        }
        Ok(())
    }

    /// What the user should know of damage.
    pub(crate) fn warning(&self) -> Option<String> {
        let what = if self.is_text { "subtitles" } else { "sound" };
        (self.faults > 0).then(|| format!("{} packets of the {what} were damaged and left out.", self.faults))
    }

    fn write_one(&mut self, output: &mut Output) -> Result<()> {
        if let Some(packet) = self.ready.pop_front() {
            packet.write(output).map_err(|e| writing("The sound or subtitles could not be written", e))?;
        }
        Ok(())
    }

    /// Makes sure that a packet is ready; `false` at the end.
    fn fill(&mut self) -> Result<bool> {
        while self.ready.is_empty() && !self.ended {
            let packet = self.read()?;
            self.ended = packet.is_none();
            let mut out = Vec::new();
            if let Way::Sound(transcoder) = &mut self.way {
                self.faults += transcoder.push(packet, &mut out)?;
            } else {
                let kept = packet.and_then(|p| cut(p, self.bases.0, self.range, self.is_text));
                match (&mut self.way, kept) {
                    (Way::Text(coder), Some(packet)) => match coder.convert(&packet) {
                        Ok(made) => out.extend(made),
                        Err(e) => {
                            tracing::debug!(%e, "a subtitle cannot be read");
                            self.faults += 1;
                        }
                    },
                    (_, kept) => out.extend(kept),
                }
            }
            for mut packet in out {
                self.place(&mut packet);
                self.ready.push_back(packet);
            }
        }
        Ok(!self.ready.is_empty())
    }

    fn place(&mut self, packet: &mut ff::Packet) {
        let (from, to) = self.bases;
        let shift = ticks(self.shift_secs, from);
        packet.set_pts(packet.pts().map(|t| t + shift));
        packet.set_dts(packet.dts().or(packet.pts().map(|t| t - shift)).map(|t| t + shift));
        packet.rescale_ts(from, to);
        if self.is_text {
            // Subtitles that overlap may stand in any order; muxers want times that do not fall.
            let dts = packet.pts().max(self.last_dts);
            packet.set_pts(dts);
            packet.set_dts(dts);
            self.last_dts = dts;
        }
        packet.set_stream(self.index);
        packet.set_position(-1);
    }

    /// The next packet of the stream within the range, `None` at the end.
    fn read(&mut self) -> Result<Option<ff::Packet>> {
        let mut faults_in_a_row = 0;
        while faults_in_a_row < MAX_FAULTS_IN_A_ROW {
            let mut packet = ff::Packet::empty();
            match packet.read(&mut self.input) {
                Ok(()) if packet.stream() != self.stream => {}
                Ok(()) => {
                    let base = self.input.stream(self.stream).map_or(self.bases.0, |s| s.time_base());
                    let past = self.range.is_some_and(|(_, end)| seconds(&packet, base).is_some_and(|t| t >= end));
                    return Ok((!past).then_some(packet));
                }
                Err(ff::Error::Eof) => return Ok(None),
                Err(ff::Error::Exit) => return Err(JobError::new(ErrorCode::Cancelled, "The job was cancelled.")),
                Err(e) if is_again(&e) => faults_in_a_row += 1,
                Err(ff::Error::InvalidData) => {
                    self.faults += 1;
                    faults_in_a_row += 1;
                }
                Err(e) => {
                    tracing::debug!(%e, "the track ends early");
                    self.faults += 1;
                    return Ok(None);
                }
            }
        }
        Ok(None)
    }
}

#[allow(clippy::cast_precision_loss, reason = "seconds fit a float")]
fn seconds(packet: &ff::Packet, base: Rational) -> Option<f64> {
    packet.pts().or(packet.dts()).map(|t| t as f64 * f64::from(base))
}

/// What of a packet lies in the range. Packets of sound are kept or dropped whole, by their first sample: a copy cannot
/// cut finer. A subtitle that is shown while the range begins or ends is shown for the part inside.
pub(super) fn cut(
    mut packet: ff::Packet,
    base: Rational,
    range: Option<(f64, f64)>,
    is_text: bool,
) -> Option<ff::Packet> {
    let Some((start, end)) = range else { return Some(packet) };
    let from = seconds(&packet, base)?;
    if !is_text || packet.duration() <= 0 {
        return (from >= start && from < end).then_some(packet);
    }
    #[allow(clippy::cast_precision_loss, reason = "seconds fit a float")]
    let to = from + packet.duration() as f64 * f64::from(base);
    if to <= start || from >= end {
        return None;
    }
    let (first, last) = (ticks(from.max(start), base), ticks(to.min(end), base));
    packet.set_pts(Some(first));
    packet.set_dts(Some(first));
    packet.set_duration((last - first).max(1));
    Some(packet)
}

/// Seconds that Matroska's reader takes off the times of Opus for its lead-in, and that FFmpeg's writer before version
/// 6 does not add.
fn opus_lead_in(output: &Output, index: usize) -> f64 {
    const FFMPEG_6: u32 = 60;
    if ff::format::version() >> 16 >= FFMPEG_6 {
        return 0.0;
    }
    output.stream(index).filter(|s| s.parameters().id() == Id::OPUS).map_or(0.0, |s| ffi::lead_in_secs(&s))
}

/// Adds a stream with the source's language, title and flags.
fn add_stream(output: &mut Output, input: &Input, index: usize, way: &Way) -> Result<usize> {
    let fault = |e| internal("The output's sound or subtitles could not be added", e);
    let source = input.stream(index).ok_or_else(|| fault(ff::Error::StreamNotFound))?;
    let mut stream = match way {
        Way::Copy => {
            let mut stream = output.add_stream(ff::encoder::find(Id::None)).map_err(fault)?;
            stream.set_parameters(source.parameters());
            stream.set_time_base(source.time_base());
            ffi::clear_codec_tag(&mut stream);
            stream
        }
        Way::Sound(transcoder) => {
            let mut stream = output.add_stream(transcoder.codec()).map_err(fault)?;
            stream.set_parameters(transcoder.context());
            stream.set_time_base(transcoder.time_base());
            stream
        }
        Way::Text(coder) => {
            let mut stream = output.add_stream(ff::encoder::find(Id::None)).map_err(fault)?;
            stream.set_parameters(coder.context());
            stream.set_time_base(source.time_base());
            stream
        }
    };
    let mut tags = ff::Dictionary::new();
    for name in ["language", "title"] {
        if let Some(value) = source.metadata().get(name) {
            tags.set(name, value);
        }
    }
    stream.set_metadata(tags);
    ffi::set_disposition(&mut stream, source.disposition());
    Ok(stream.index())
}
