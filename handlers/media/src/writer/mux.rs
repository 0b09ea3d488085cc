//! One file: an encoded video stream and the source's sound.

use std::fs::File;
use std::path::{Path, PathBuf};

use darkroom_api::Result;
use ffmpeg_next as ff;
use ffmpeg_next::Rational;
use ffmpeg_next::format::Pixel;
use ffmpeg_next::format::context::{Output, StreamIo};

use super::audio::AudioTrack;
use super::encoder::VideoEncoder;
use super::{Container, VideoCodec, WriteOptions, WriteReport};
use crate::error::{internal, writing, writing_io};
use crate::{ColourTags, Frame, Tracks, VideoInfo, ffi};

/// Encoder, sound and container of one output file.
pub(crate) struct Mux {
    path: PathBuf,
    output: Output,
    encoder: VideoEncoder,
    audio: Option<AudioTrack>,
    /// Time base of the encoder and of the stream that the muxer chose.
    bases: (Rational, Rational),
    /// Added to all times where a container cannot hold those below zero.
    lift_secs: f64,
    nominal_ticks: i64,
    frames: u64,
    warnings: Vec<String>,
}

impl Mux {
    pub(crate) fn create(
        path: &Path,
        options: &WriteOptions,
        info: &VideoInfo,
        pixels: Pixel,
        colour: ColourTags,
        tracks: Option<Tracks>,
    ) -> Result<Mux> {
        let mut output = open(path, options.format.container)?;
        let global_header = output.format().flags().contains(ff::format::Flags::GLOBAL_HEADER);
        let encoder = VideoEncoder::open(options, info, pixels, colour, global_header)?;
        add_video_stream(&mut output, &encoder, info)?;
        let mut warnings = Vec::new();
        #[allow(clippy::cast_precision_loss, reason = "seconds fit a float")]
        let start = info.start_pts as f64 * f64::from(info.time_base);
        let container = options.format.container;
        let lift_secs = if container.is_matroska() { (-start).max(0.0) } else { 0.0 };
        if lift_secs > 0.0 {
            warnings.push(format!(
                "The video starts {lift_secs:.3} s before zero, which {} cannot hold: all times are later by that.",
                container.name()
            ));
        }
        let audio = match tracks {
            Some(source) => AudioTrack::add(&mut output, &source, container, lift_secs, &mut warnings)?,
            None => None,
        };
        let unused = output.write_header_with(header_options(container)).map(|_| ());
        unused.map_err(|e| writing("The output's header could not be written", e))?;
        let base = output.stream(0).map_or(info.time_base, |s| s.time_base());
        let mut mux = Mux {
            path: path.to_owned(),
            output,
            encoder,
            audio,
            bases: (info.time_base, base),
            lift_secs,
            nominal_ticks: info.frame_ticks(),
            frames: 0,
            warnings,
        };
        if let Some(audio) = &mut mux.audio {
            audio.header_written(&mux.output);
        }
        Ok(mux)
    }

    pub(crate) fn write(&mut self, frame: &mut Frame) -> Result<()> {
        self.encoder.send(frame)?;
        self.take_packets()
    }

    fn take_packets(&mut self) -> Result<()> {
        while let Some(mut packet) = self.encoder.packet()? {
            let (from, to) = self.bases;
            if packet.duration() <= 0 {
                packet.set_duration(self.nominal_ticks);
            }
            packet.rescale_ts(from, to);
            let lift = super::ticks(self.lift_secs, to);
            packet.set_pts(packet.pts().map(|t| t + lift));
            packet.set_dts(packet.dts().map(|t| t + lift));
            packet.set_stream(0);
            packet.set_position(-1);
            if let Some(audio) = &mut self.audio {
                audio.advance(&mut self.output, packet.dts().or(packet.pts()), to)?;
            }
            packet.write(&mut self.output).map_err(|e| writing("The output could not be written", e))?;
            self.frames += 1;
        }
        Ok(())
    }

    pub(crate) fn finish(mut self) -> Result<WriteReport> {
        self.encoder.end()?;
        self.take_packets()?;
        if let Some(audio) = &mut self.audio {
            audio.finish(&mut self.output)?;
            self.warnings.extend(audio.warning());
        }
        self.output.write_trailer().map_err(|e| writing("The output could not be completed", e))?;
        drop(self.output);
        let bytes = std::fs::metadata(&self.path).map_err(|e| writing_io("The output is gone", &e))?.len();
        Ok(WriteReport { frames: self.frames, bytes, files: Vec::new(), warnings: self.warnings })
    }
}

fn open(path: &Path, container: Container) -> Result<Output> {
    let file = File::create(path).map_err(|e| writing_io("The output could not be created", &e))?;
    let fault = |e| internal("The output's container could not be set up", e);
    let io = StreamIo::from_write_seek_with_capacity(file, 256 << 10).map_err(fault)?;
    // The name is for moving an MP4's index to its front, which reads the file again.
    let name = path.to_str().map(|p| format!("file:{p}"));
    ff::format::output_to_stream(io, name.as_deref(), Some(container.muxer())).map_err(fault)
}

fn add_video_stream(output: &mut Output, encoder: &VideoEncoder, info: &VideoInfo) -> Result<()> {
    let mut stream =
        output.add_stream(encoder.codec).map_err(|e| internal("The output's stream could not be added", e))?;
    stream.set_parameters(encoder.context());
    stream.set_time_base(info.time_base);
    stream.set_avg_frame_rate(info.frame_rate);
    let format = encoder.format;
    // Apple's players want this name for HEVC.
    let tag = (format.codec == VideoCodec::Hevc && format.container.is_mp4()).then_some(*b"hvc1");
    ffi::set_stream_aspect_and_tag(&mut stream, info.sample_aspect, tag);
    if format.alpha && format.container.is_matroska() {
        let mut tags = ff::Dictionary::new();
        tags.set("alpha_mode", "1");
        stream.set_metadata(tags);
    }
    Ok(())
}

fn header_options(container: Container) -> ff::Dictionary<'static> {
    let mut options = ff::Dictionary::new();
    // Times are ours to keep: no muxer shifts them.
    options.set("avoid_negative_ts", "disabled");
    if container == Container::Mp4 {
        options.set("movflags", "+faststart");
    }
    options
}
