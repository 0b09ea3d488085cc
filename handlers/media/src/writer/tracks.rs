//! All that goes beside the video: which tracks of a source a container takes, and how.

use darkroom_api::{ErrorCode, JobError, Result};
use ffmpeg_next as ff;
use ffmpeg_next::Rational;
use ffmpeg_next::codec::Id;
use ffmpeg_next::format::context::{Input, Output};
use ffmpeg_next::media::Type;

use super::Container;
use super::track::{Track, Way, cut};
use super::transcode::Transcoder;
use crate::ffi::text::TextCoder;
use crate::{Tracks, ffi, source};

/// Tracks of each kind that are taken from a source; each has a demuxer of its own.
const MAX_TRACKS: usize = 8;

/// Sound and subtitles of one output.
#[derive(Default)]
pub(crate) struct Beside(Vec<Track>);

/// A stream of the source that is taken, and how.
pub(crate) struct Choice {
    pub stream: usize,
    pub is_text: bool,
    pub way: Way,
    /// Time base of what comes out of `way`.
    pub base: Rational,
}

impl Beside {
    /// Adds a stream for each that can be copied or converted; `warnings` tell of the others.
    pub(crate) fn add(
        output: &mut Output,
        source: &Tracks,
        container: Container,
        lift_secs: f64,
        warnings: &mut Vec<String>,
    ) -> Result<Beside> {
        let input = source::open(&source.path, &source.cancel)?;
        let mut tracks = Vec::new();
        for index in candidates(&input, warnings) {
            if let Some(choice) = choose(&input, index, container, source.range(), warnings)? {
                tracks.push(Track::add(output, source, choice, container, lift_secs)?);
            }
        }
        Ok(Beside(tracks))
    }

    /// See [`Track::header_written`].
    pub(crate) fn header_written(&mut self, output: &Output) {
        self.0.iter_mut().for_each(|track| track.header_written(output));
    }

    /// See [`Track::advance`].
    pub(crate) fn advance(&mut self, output: &mut Output, until: Option<i64>, base: Rational) -> Result<()> {
        self.0.iter_mut().try_for_each(|track| track.advance(output, until, base))
    }

    /// Writes what is left; what the user should know of damage.
    pub(crate) fn finish(&mut self, output: &mut Output) -> Result<Vec<String>> {
        self.0.iter_mut().try_for_each(|track| track.finish(output))?;
        Ok(self.0.iter().filter_map(Track::warning).collect())
    }
}

/// Bytes that a source's tracks take in an output at the least: of those that are copied. What is transcoded may be silence.
pub(crate) fn bytes(source: &Tracks, container: Container) -> Result<u64> {
    let mut input = source::open(&source.path, &source.cancel)?;
    let mut counted = Vec::new();
    for index in candidates(&input, &mut Vec::new()) {
        let choice = choose(&input, index, container, source.range(), &mut Vec::new())?;
        if let Some(Choice { is_text, way: Way::Copy, .. }) = choice {
            counted.push((index, is_text));
        }
    }
    ffi::keep_only(&mut input, &counted.iter().map(|c| c.0).collect::<Vec<_>>());
    let (mut bytes, mut faults) = (0_u64, 0);
    // A damaged source is counted as far as it can be read: the limit is looked at again when the file is finished.
    while !counted.is_empty() && faults < 1000 {
        let mut packet = ff::Packet::empty();
        match packet.read(&mut input) {
            Ok(()) => {}
            Err(ff::Error::Exit) => return Err(JobError::new(ErrorCode::Cancelled, "The job was cancelled.")),
            Err(ff::Error::Eof) => break,
            Err(_) => {
                faults += 1;
                continue;
            }
        }
        let Some((index, is_text)) = counted.iter().find(|c| c.0 == packet.stream()) else { continue };
        let base = input.stream(*index).map_or(Rational(1, 1000), |s| s.time_base());
        let Some(packet) = cut(packet, base, source.range(), *is_text) else { continue };
        bytes += packet.size() as u64;
    }
    Ok(bytes)
}

/// Streams of sound and subtitles, the main sound first.
fn candidates(input: &Input, warnings: &mut Vec<String>) -> Vec<usize> {
    let best = input.streams().best(Type::Audio).map(|s| s.index());
    let of = |kind: Type| {
        let all = input.streams().filter(move |s| s.parameters().medium() == kind).map(|s| s.index());
        all.collect::<Vec<_>>()
    };
    let (mut sound, mut text) = (of(Type::Audio), of(Type::Subtitle));
    sound.sort_by_key(|index| Some(*index) != best);
    for (kind, tracks) in [("sound", &mut sound), ("subtitle", &mut text)] {
        if tracks.len() > MAX_TRACKS {
            warnings.push(format!("The source has {} {kind} tracks: the first {MAX_TRACKS} were taken.", tracks.len()));
            tracks.truncate(MAX_TRACKS);
        }
    }
    [sound, text].concat()
}

fn choose(
    input: &Input,
    index: usize,
    container: Container,
    range: Option<(f64, f64)>,
    warnings: &mut Vec<String>,
) -> Result<Option<Choice>> {
    let Some(stream) = input.stream(index) else { return Ok(None) };
    let (id, base) = (stream.parameters().id(), stream.time_base());
    let is_text = stream.parameters().medium() == Type::Subtitle;
    let choice = |way, base| Some(Choice { stream: index, is_text, way, base });
    if copies(container, id) {
        return Ok(choice(Way::Copy, base));
    }
    if is_text {
        let coder = if is_plain_text(id) { text_encoder(container) } else { None };
        let coder = coder.and_then(|codec| TextCoder::open(&stream, codec).ok());
        if coder.is_none() {
            warnings.push(left_out(container, id));
        }
        return Ok(coder.and_then(|coder| choice(Way::Text(Box::new(coder)), base)));
    }
    let Some(transcoder) = Transcoder::open(&stream, container == Container::Webm, range)? else {
        warnings.push(format!("The sound is left out: there is no decoder for its codec `{}`.", id.name()));
        return Ok(None);
    };
    let (to, base) = (transcoder.codec_name(), transcoder.time_base());
    warnings.push(format!("The sound was transcoded from {} to {to}, which the container takes.", id.name()));
    Ok(choice(Way::Sound(Box::new(transcoder)), base))
}

fn left_out(container: Container, id: Id) -> String {
    let (name, holder) = (id.name(), container.name());
    if container != Container::Matroska && copies(Container::Matroska, id) {
        format!("Subtitles ({name}) were left out, {holder} cannot hold them: `container` = `mkv` would keep them.")
    } else {
        format!("Subtitles ({name}) were left out: {holder} cannot hold them.")
    }
}

/// Codecs that a container takes as they are.
fn copies(container: Container, id: Id) -> bool {
    match container {
        Container::Webm => matches!(id, Id::OPUS | Id::VORBIS | Id::WEBVTT),
        Container::Mp4 => {
            matches!(id, Id::AAC | Id::MP3 | Id::AC3 | Id::EAC3 | Id::OPUS | Id::FLAC | Id::ALAC | Id::MOV_TEXT)
        }
        Container::Matroska => in_matroska(id),
        Container::Mov => matches!(
            id,
            Id::AAC | Id::MP3 | Id::AC3 | Id::ALAC | Id::PCM_S16LE | Id::PCM_S24LE | Id::PCM_S16BE | Id::MOV_TEXT
        ),
        Container::Folder | Container::Picture => false,
    }
}

fn in_matroska(id: Id) -> bool {
    let sound = matches!(
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
    );
    let bitmaps = matches!(id, Id::HDMV_PGS_SUBTITLE | Id::DVD_SUBTITLE | Id::DVB_SUBTITLE);
    sound || bitmaps || matches!(id, Id::SUBRIP | Id::ASS | Id::SSA | Id::WEBVTT | Id::TEXT)
}

/// Subtitles that are lines of text.
fn is_plain_text(id: Id) -> bool {
    matches!(id, Id::SUBRIP | Id::ASS | Id::SSA | Id::WEBVTT | Id::TEXT | Id::MOV_TEXT)
}

/// What a container has text in.
fn text_encoder(container: Container) -> Option<ff::Codec> {
    let name = match container {
        Container::Mp4 | Container::Mov => "mov_text",
        Container::Webm => "webvtt",
        Container::Matroska => "subrip",
        Container::Folder | Container::Picture => return None,
    };
    ff::encoder::find_by_name(name)
}
