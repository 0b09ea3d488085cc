//! Sound from any codec to Opus or AAC: decode, cut and resample in a filter graph, encode.

use darkroom_api::{ErrorCode, JobError, Result};
use ffmpeg_next as ff;
use ffmpeg_next::{Rational, Rescale};

use crate::error::{internal, is_again};
use crate::ffi;

const OPUS_RATE: u32 = 48_000;
const AAC_RATES: [u32; 9] = [48_000, 44_100, 32_000, 24_000, 22_050, 16_000, 12_000, 11_025, 8_000];
const BITS_A_CHANNEL: usize = 80_000;

/// Decoder, filter graph and encoder of one sound stream.
pub(crate) struct Transcoder {
    decoder: ff::decoder::Audio,
    encoder: ff::encoder::audio::Encoder,
    codec: ff::Codec,
    source_base: Rational,
    range: Option<(f64, f64)>,
    graph: Option<(ff::filter::Graph, Shape)>,
}

/// What a filter graph was made for.
#[derive(Clone, Copy, PartialEq)]
struct Shape {
    format: ff::format::Sample,
    rate: u32,
    channels: u16,
}

impl Transcoder {
    /// `None` where FFmpeg cannot decode the stream.
    pub(crate) fn open(
        stream: &ff::format::stream::Stream<'_>,
        to_opus: bool,
        range: Option<(f64, f64)>,
    ) -> Result<Option<Transcoder>> {
        let opened = ff::codec::Context::from_parameters(stream.parameters()).and_then(|context| {
            let mut decoder = context.decoder();
            decoder.set_packet_time_base(stream.time_base());
            decoder.audio()
        });
        let Ok(decoder) = opened else { return Ok(None) };
        let (rate, channels) = ffi::audio_shape(stream);
        let name = if to_opus { "libopus" } else { "aac" };
        let codec = ff::encoder::find_by_name(name).ok_or_else(|| {
            let remedy = "install Debian's own FFmpeg packages with `infra/setup`";
            JobError::new(ErrorCode::RuntimeMissing, format!("This FFmpeg has no encoder `{name}`: {remedy}."))
        })?;
        let rate = if to_opus { OPUS_RATE } else { AAC_RATES.into_iter().find(|r| *r == rate).unwrap_or(OPUS_RATE) };
        let encoder = open_encoder(codec, to_opus, rate, channels)?;
        Ok(Some(Transcoder { decoder, encoder, codec, source_base: stream.time_base(), range, graph: None }))
    }

    pub(crate) fn codec(&self) -> ff::Codec {
        self.codec
    }

    pub(crate) fn codec_name(&self) -> &'static str {
        if self.codec.id() == ff::codec::Id::OPUS { "Opus" } else { "AAC" }
    }

    pub(crate) fn context(&self) -> &ff::encoder::audio::Encoder {
        &self.encoder
    }

    pub(crate) fn time_base(&self) -> Rational {
        Rational(1, i32::try_from(self.encoder.rate()).unwrap_or(48_000))
    }

    /// Takes a packet (`None`: there are no more) and gives what comes out. The number of packets that were damaged.
    pub(crate) fn push(&mut self, packet: Option<ff::Packet>, out: &mut Vec<ff::Packet>) -> Result<u64> {
        let mut faults = 0;
        let sent = match &packet {
            Some(packet) => self.decoder.send_packet(packet),
            None => self.decoder.send_eof(),
        };
        faults += u64::from(sent.is_err());
        let mut frame = ff::frame::Audio::empty();
        // A decoder that only fails ends the loop as well.
        while self.decoder.receive_frame(&mut frame).is_ok() {
            self.filter(&mut frame, out)?;
        }
        if packet.is_none() {
            self.flush_graph(out)?;
            self.encoder.send_eof().map_err(|e| internal("The sound's encoder could not be drained", e))?;
            self.take_packets(out)?;
        }
        Ok(faults)
    }

    fn filter(&mut self, frame: &mut ff::frame::Audio, out: &mut Vec<ff::Packet>) -> Result<()> {
        let shape = Shape { format: frame.format(), rate: frame.rate(), channels: frame.channels() };
        if self.graph.as_ref().is_some_and(|(_, made_for)| *made_for != shape) {
            self.flush_graph(out)?;
        }
        let fault = |e| internal("The sound could not be resampled", e);
        if self.graph.is_none() {
            self.graph = Some((self.build(frame).map_err(fault)?, shape));
        }
        let base = Rational(1, i32::try_from(frame.rate()).unwrap_or(48_000));
        let pts = frame.timestamp().map(|t| t.rescale(self.source_base, base));
        frame.set_pts(pts);
        let Some((graph, _)) = &mut self.graph else { return Ok(()) };
        let mut source = graph.get("in").ok_or_else(|| fault(ff::Error::FilterNotFound))?;
        source.source().add(frame).map_err(fault)?;
        self.take_filtered(out)
    }

    fn flush_graph(&mut self, out: &mut Vec<ff::Packet>) -> Result<()> {
        let fault = |e| internal("The sound could not be drained", e);
        if let Some((graph, _)) = &mut self.graph {
            let mut source = graph.get("in").ok_or_else(|| fault(ff::Error::FilterNotFound))?;
            source.source().flush().map_err(fault)?;
            self.take_filtered(out)?;
            self.graph = None;
        }
        Ok(())
    }

    fn take_filtered(&mut self, out: &mut Vec<ff::Packet>) -> Result<()> {
        let fault = |e| internal("The sound could not be encoded", e);
        loop {
            let Some((graph, _)) = &mut self.graph else { return Ok(()) };
            let mut sink = graph.get("out").ok_or_else(|| fault(ff::Error::FilterNotFound))?;
            let base = sink.sink().time_base();
            let mut frame = ff::frame::Audio::empty();
            match sink.sink().frame(&mut frame) {
                Ok(()) => {}
                Err(ff::Error::Eof) => return Ok(()),
                Err(e) if is_again(&e) => return Ok(()),
                Err(e) => return Err(fault(e)),
            }
            let pts = frame.pts().map(|t| t.rescale(base, self.time_base()));
            frame.set_pts(pts);
            self.encoder.send_frame(&frame).map_err(fault)?;
            self.take_packets(out)?;
        }
    }

    fn take_packets(&mut self, out: &mut Vec<ff::Packet>) -> Result<()> {
        loop {
            let mut packet = ff::Packet::empty();
            match self.encoder.receive_packet(&mut packet) {
                Ok(()) => out.push(packet),
                Err(ff::Error::Eof) => return Ok(()),
                Err(e) if is_again(&e) => return Ok(()),
                Err(e) => return Err(internal("The sound's encoder failed", e)),
            }
        }
    }

    /// Cut to the range by samples; gaps are filled with silence, since encoders count samples, not times.
    fn build(&self, frame: &ff::frame::Audio) -> Result<ff::filter::Graph, ff::Error> {
        let filter = |name| ff::filter::find(name).ok_or(ff::Error::FilterNotFound);
        let mut graph = ff::filter::Graph::new();
        ffi::single_threaded(&mut graph);
        let (rate, channels) = (frame.rate(), u32::from(frame.channels()));
        let args = format!(
            "time_base=1/{rate}:sample_rate={rate}:sample_fmt={}:channels={channels}:channel_layout=0x{:x}",
            frame.format().name(),
            layout_mask(frame.channel_layout(), channels),
        );
        graph.add(&filter("abuffer")?, "in", &args)?;
        graph.add(&filter("abuffersink")?, "out", "")?;
        let mut spec = String::new();
        if let Some((start, end)) = self.range {
            let start = if start > f64::MIN { format!("start={start:.6}") } else { "start=-1000000".to_owned() };
            let end = if end < f64::MAX { format!(":end={end:.6}") } else { String::new() };
            spec = format!("atrim={start}{end},");
        }
        spec += &format!(
            "aresample=async=1,aformat=sample_fmts={}:sample_rates={}:channel_layouts=0x{:x}",
            self.encoder.format().name(),
            self.encoder.rate(),
            self.encoder.channel_layout().bits(),
        );
        graph.output("in", 0)?.input("out", 0)?.parse(&spec)?;
        graph.validate()?;
        let mut sink = graph.get("out").ok_or(ff::Error::FilterNotFound)?;
        sink.sink().set_frame_size(self.encoder.frame_size());
        Ok(graph)
    }
}

/// A layout's channels; files that name none get the usual ones of that number.
fn layout_mask(layout: ff::ChannelLayout, channels: u32) -> u64 {
    if layout.is_empty() || layout.bits() == 0 { ffi::default_layout(channels).bits() } else { layout.bits() }
}

/// Channels of the output: what players know, else stereo.
fn coded_channels(channels: u32) -> u32 {
    if matches!(channels, 1 | 2 | 6 | 8) { channels } else { 2 }
}

fn open_encoder(codec: ff::Codec, opus: bool, rate: u32, channels: u32) -> Result<ff::encoder::audio::Encoder> {
    let fault = |e| internal("The sound's encoder did not open", e);
    let channels = coded_channels(channels);
    let mut encoder = ff::codec::Context::new_with_codec(codec).encoder().audio().map_err(fault)?;
    let rate = i32::try_from(rate).unwrap_or(48_000);
    encoder.set_rate(rate);
    encoder.set_time_base(Rational(1, rate));
    let planar = if opus { ff::format::sample::Type::Packed } else { ff::format::sample::Type::Planar };
    encoder.set_format(ff::format::Sample::F32(planar));
    encoder.set_channel_layout(ffi::default_layout(channels));
    encoder.set_bit_rate(BITS_A_CHANNEL * channels as usize);
    // MP4 and WebM both keep the codec's header apart from the packets.
    encoder.set_flags(ff::codec::Flags::GLOBAL_HEADER);
    encoder.open_as(codec).map_err(fault)
}
