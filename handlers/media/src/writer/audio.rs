//! The source's sound beside the video: copied packet by packet where the container takes the codec, else transcoded.
//!
//! It is read by a demuxer of its own and advances with the video, so that neither length nor interleaving of the
//! source costs memory.

use std::collections::VecDeque;

use darkroom_api::{ErrorCode, JobError, Result};
use ffmpeg_next as ff;
use ffmpeg_next::codec::Id;
use ffmpeg_next::format::context::{Input, Output};
use ffmpeg_next::{Rational, Rescale};

use super::transcode::Transcoder;
use super::{Container, ticks};
use crate::error::{internal, is_again, writing};
use crate::{Tracks, ffi, source};

/// Unreadable packets in a row after which the sound counts as ended.
const MAX_FAULTS_IN_A_ROW: u32 = 1000;
/// Decoders of sound need a few packets before the first sample is right.
const PREROLL_SECS: f64 = 0.2;

/// One sound stream on its way from a source to an output.
pub(crate) struct AudioTrack {
    input: Input,
    stream: usize,
    index: usize,
    way: Way,
    /// Packets that are ready, in the time base of `bases.1`.
    ready: VecDeque<ff::Packet>,
    /// Time base of the packets that come out of `way`, and of the output's stream.
    bases: (Rational, Rational),
    range: Option<(f64, f64)>,
    /// Added to all times.
    shift_secs: f64,
    faults: u64,
    ended: bool,
}

enum Way {
    Copy,
    Transcode(Box<Transcoder>),
}

impl AudioTrack {
    /// Adds a stream for the best sound of the source; `None` where nothing in it can be decoded or copied.
    pub(crate) fn add(
        output: &mut Output,
        source: &Tracks,
        container: Container,
        lift_secs: f64,
        warnings: &mut Vec<String>,
    ) -> Result<Option<AudioTrack>> {
        let mut input = source::open(&source.path, &source.cancel)?;
        let Some(stream) = input.streams().best(ff::media::Type::Audio).map(|s| s.index()) else { return Ok(None) };
        let tracks = input.streams().filter(|s| s.parameters().medium() == ff::media::Type::Audio).count();
        if tracks > 1 {
            warnings.push(format!("The source has {tracks} sound tracks: only the main one was taken."));
        }
        ffi::keep_only(&mut input, stream);
        let start = source.start_secs.unwrap_or(0.0);
        if source.start_secs.is_some() {
            let micros = ticks((start - PREROLL_SECS).max(0.0), Rational(1, 1_000_000));
            if let Err(e) = input.seek(micros, ..micros) {
                tracing::debug!(%e, "no seek for the sound: it is read from the start");
            }
        }
        let range = (source.start_secs.is_some() || source.end_secs.is_some())
            .then(|| (source.start_secs.unwrap_or(f64::MIN), source.end_secs.unwrap_or(f64::MAX)));
        let Some((way, base)) = choose_way(&input, stream, container, range, warnings)? else { return Ok(None) };
        let index = add_stream(output, &input, stream, &way)?;
        let lead_in = if container.is_matroska() { opus_lead_in(output, index) } else { 0.0 };
        Ok(Some(AudioTrack {
            input,
            stream,
            index,
            way,
            ready: VecDeque::new(),
            bases: (base, base),
            range,
            shift_secs: lift_secs - start + lead_in,
            faults: 0,
            ended: false,
        }))
    }

    /// Muxers choose their own time bases when they write the header.
    pub(crate) fn header_written(&mut self, output: &Output) {
        if let Some(stream) = output.stream(self.index) {
            self.bases.1 = stream.time_base();
        }
    }

    /// Writes the sound that comes before a video packet's time.
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
        (self.faults > 0).then(|| format!("{} packets of the sound were damaged and left out.", self.faults))
    }

    fn write_one(&mut self, output: &mut Output) -> Result<()> {
        if let Some(packet) = self.ready.pop_front() {
            packet.write(output).map_err(|e| writing("The sound could not be written", e))?;
        }
        Ok(())
    }

    /// Makes sure that a packet is ready; `false` at the end.
    fn fill(&mut self) -> Result<bool> {
        while self.ready.is_empty() && !self.ended {
            let packet = self.read()?;
            self.ended = packet.is_none();
            let mut out = Vec::new();
            match &mut self.way {
                Way::Copy => out.extend(packet.filter(|p| in_range(p, self.bases.0, self.range))),
                Way::Transcode(transcoder) => self.faults += transcoder.push(packet, &mut out)?,
            }
            for mut packet in out {
                self.place(&mut packet);
                self.ready.push_back(packet);
            }
        }
        Ok(!self.ready.is_empty())
    }

    fn place(&self, packet: &mut ff::Packet) {
        let (from, to) = self.bases;
        let shift = ticks(self.shift_secs, from);
        packet.set_pts(packet.pts().map(|t| t + shift));
        packet.set_dts(packet.dts().or(packet.pts().map(|t| t - shift)).map(|t| t + shift));
        packet.rescale_ts(from, to);
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
                    tracing::debug!(%e, "the sound ends early");
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

/// Whole packets are kept or dropped by their first sample: a copy cannot cut finer.
fn in_range(packet: &ff::Packet, base: Rational, range: Option<(f64, f64)>) -> bool {
    match (range, seconds(packet, base)) {
        (Some((start, end)), Some(t)) => t >= start && t < end,
        (None, _) => true,
        (Some(_), None) => false,
    }
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

/// Codecs that a container takes as they are.
fn copies(container: Container, id: Id) -> bool {
    match container {
        Container::Webm => matches!(id, Id::OPUS | Id::VORBIS),
        Container::Mp4 => matches!(id, Id::AAC | Id::MP3 | Id::AC3 | Id::EAC3 | Id::OPUS | Id::FLAC | Id::ALAC),
        Container::Matroska => matches!(
            id,
            Id::AAC
                | Id::MP2
                | Id::MP3
                | Id::AC3
                | Id::EAC3
                | Id::DTS
                | Id::TRUEHD
                | Id::OPUS
                | Id::VORBIS
                | Id::FLAC
                | Id::ALAC
                | Id::PCM_S16LE
                | Id::PCM_S24LE
                | Id::PCM_F32LE
        ),
        Container::Mov => {
            matches!(id, Id::AAC | Id::MP3 | Id::AC3 | Id::ALAC | Id::PCM_S16LE | Id::PCM_S24LE | Id::PCM_S16BE)
        }
        Container::Folder | Container::Picture => false,
    }
}

fn choose_way(
    input: &Input,
    index: usize,
    container: Container,
    range: Option<(f64, f64)>,
    warnings: &mut Vec<String>,
) -> Result<Option<(Way, Rational)>> {
    let Some(stream) = input.stream(index) else { return Ok(None) };
    let id = stream.parameters().id();
    if copies(container, id) {
        return Ok(Some((Way::Copy, stream.time_base())));
    }
    let Some(transcoder) = Transcoder::open(&stream, container == Container::Webm, range)? else {
        warnings.push(format!("The sound is left out: there is no decoder for its codec `{}`.", id.name()));
        return Ok(None);
    };
    let (to, base) = (transcoder.codec_name(), transcoder.time_base());
    warnings.push(format!("The sound was transcoded from {} to {to}, which the container takes.", id.name()));
    Ok(Some((Way::Transcode(Box::new(transcoder)), base)))
}

fn add_stream(output: &mut Output, input: &Input, index: usize, way: &Way) -> Result<usize> {
    let fault = |e| internal("The output's sound stream could not be added", e);
    match way {
        Way::Copy => {
            let source = input.stream(index).ok_or_else(|| fault(ff::Error::StreamNotFound))?;
            let mut stream = output.add_stream(ff::encoder::find(Id::None)).map_err(fault)?;
            stream.set_parameters(source.parameters());
            stream.set_time_base(source.time_base());
            ffi::clear_codec_tag(&mut stream);
            Ok(stream.index())
        }
        Way::Transcode(transcoder) => {
            let mut stream = output.add_stream(transcoder.codec()).map_err(fault)?;
            stream.set_parameters(transcoder.context());
            stream.set_time_base(transcoder.time_base());
            Ok(stream.index())
        }
    }
}
