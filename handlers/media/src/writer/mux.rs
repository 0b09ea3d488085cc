//! One file: an encoded video stream and the source's sound and subtitles.

use std::fs::File;
use std::path::{Path, PathBuf};

use darkroom_api::Result;
use ffmpeg_next as ff;
use ffmpeg_next::Rational;
use ffmpeg_next::format::Pixel;
use ffmpeg_next::format::context::{Output, StreamIo};

use super::encoder::VideoEncoder;
use super::tracks::Beside;
use super::{Container, VideoCodec, WriteOptions};
use crate::error::{internal, writing, writing_io};
use crate::{ColourTags, Frame, Tracks, VideoInfo, ffi};

/// What is written, and how.
#[derive(Debug, Clone)]
pub(crate) struct Plan {
    pub options: WriteOptions,
    pub info: VideoInfo,
    pub pixels: Pixel,
    pub colour: ColourTags,
    /// Constant quality on the encoder's scale, in place of the options' rate.
    pub crf: Option<f64>,
}

/// Encoder, tracks and container of one output file.
pub(crate) struct Mux {
    path: PathBuf,
    plan: Plan,
    output: Output,
    encoder: VideoEncoder,
    beside: Beside,
    /// Time base of the stream that the muxer chose.
    base: Rational,
    /// Added to all times where a container cannot hold those below zero.
    lift_secs: f64,
    coded: Coded,
    warnings: Vec<String>,
}

/// Pictures that came out of an encoder.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Coded {
    pub frames: u64,
    pub bytes: u64,
    /// The first one's: it is coded whole, most others as what changed.
    first_bytes: u64,
}

impl Coded {
    fn add(&mut self, bytes: u64) {
        if self.frames == 0 {
            self.first_bytes = bytes;
        }
        self.frames += 1;
        self.bytes += bytes;
    }

    /// About how many bytes so many frames take, if the rest is as what came after the first.
    pub(crate) fn of_all(self, frames: u64) -> u64 {
        let (after, rest) = (u128::from(self.bytes - self.first_bytes), u128::from(frames.saturating_sub(1)));
        let estimate = after * rest / u128::from(self.frames.saturating_sub(1)).max(1);
        self.first_bytes.saturating_add(u64::try_from(estimate).unwrap_or(u64::MAX)).max(self.bytes)
    }
}

/// A finished file.
pub(crate) struct Muxed {
    pub path: PathBuf,
    pub plan: Plan,
    pub frames: u64,
    /// All of the file, and the coded pictures alone.
    pub bytes: u64,
    pub video_bytes: u64,
    pub warnings: Vec<String>,
}

impl Mux {
    pub(crate) fn create(path: &Path, plan: Plan, tracks: Option<&Tracks>) -> Result<Mux> {
        let container = plan.options.format.container;
        let mut output = open(path, container)?;
        let global_header = output.format().flags().contains(ff::format::Flags::GLOBAL_HEADER);
        let encoder = VideoEncoder::open(&plan, global_header)?;
        add_video_stream(&mut output, &encoder, &plan)?;
        let mut warnings = Vec::new();
        let start = secs(plan.info.start_pts, plan.info.time_base);
        let lift_secs = if container.is_matroska() { (-start).max(0.0) } else { 0.0 };
        if lift_secs > 0.0 {
            warnings.push(format!(
                "The video starts {lift_secs:.3} s before zero, which {} cannot hold: all times are later by that.",
                container.name()
            ));
        }
        let mut beside = match tracks {
            Some(source) => Beside::add(&mut output, source, container, lift_secs, &mut warnings)?,
            None => Beside::default(),
        };
        let unused = output.write_header_with(header_options(container)).map(|_| ());
        unused.map_err(|e| writing("The output's header could not be written", e))?;
        let base = output.stream(0).map_or(plan.info.time_base, |s| s.time_base());
        beside.header_written(&output);
        Ok(Mux {
            path: path.to_owned(),
            plan,
            output,
            encoder,
            beside,
            base,
            lift_secs,
            coded: Coded::default(),
            warnings,
        })
    }

    pub(crate) fn write(&mut self, frame: &mut Frame) -> Result<()> {
        self.encoder.send(frame)?;
        while self.step()? {}
        Ok(())
    }

    /// What came out of the encoder so far.
    pub(crate) fn coded(&self) -> Coded {
        self.coded
    }

    /// Says that there are no more frames: what the encoder holds back comes out, see [`Mux::step`].
    pub(crate) fn end(&mut self) -> Result<()> {
        self.encoder.end()
    }

    /// Writes the next coded picture, with what is heard and read before it; `false` where none is ready.
    pub(crate) fn step(&mut self) -> Result<bool> {
        let Some(mut packet) = self.encoder.packet()? else { return Ok(false) };
        if packet.duration() <= 0 {
            packet.set_duration(self.plan.info.frame_ticks());
        }
        packet.rescale_ts(self.plan.info.time_base, self.base);
        let lift = super::ticks(self.lift_secs, self.base);
        packet.set_pts(packet.pts().map(|t| t + lift));
        packet.set_dts(packet.dts().map(|t| t + lift));
        packet.set_stream(0);
        packet.set_position(-1);
        self.beside.advance(&mut self.output, packet.dts().or(packet.pts()), self.base)?;
        let bytes = coded_bytes(&packet);
        packet.write(&mut self.output).map_err(|e| writing("The output could not be written", e))?;
        self.coded.add(bytes);
        Ok(true)
    }

    /// Completes the file, once all pictures are out.
    pub(crate) fn finish(mut self) -> Result<Muxed> {
        self.warnings.extend(self.beside.finish(&mut self.output)?);
        self.output.write_trailer().map_err(|e| writing("The output could not be completed", e))?;
        drop(self.output);
        let bytes = std::fs::metadata(&self.path).map_err(|e| writing_io("The output is gone", &e))?.len();
        Ok(Muxed {
            path: self.path,
            plan: self.plan,
            frames: self.coded.frames,
            bytes,
            video_bytes: self.coded.bytes,
            warnings: self.warnings,
        })
    }
}

/// Bytes of a picture; an alpha plane travels beside the packet's own.
fn coded_bytes(packet: &ff::Packet) -> u64 {
    use ff::codec::packet::side_data::Type;
    let alpha = packet.side_data().filter(|d| d.kind() == Type::MatroskaBlockAdditional).map(|d| d.data().len());
    (packet.size() + alpha.sum::<usize>()) as u64
}

#[allow(clippy::cast_precision_loss, reason = "seconds fit a float")]
fn secs(ticks: i64, base: Rational) -> f64 {
    ticks as f64 * f64::from(base)
}

fn open(path: &Path, container: Container) -> Result<Output> {
    let file = File::create(path).map_err(|e| writing_io("The output could not be created", &e))?;
    let fault = |e| internal("The output's container could not be set up", e);
    let io = StreamIo::from_write_seek_with_capacity(file, 256 << 10).map_err(fault)?;
    // The name is for moving an MP4's index to its front, which reads the file again.
    let name = path.to_str().map(|p| format!("file:{p}"));
    ff::format::output_to_stream(io, name.as_deref(), Some(container.muxer())).map_err(fault)
}

fn add_video_stream(output: &mut Output, encoder: &VideoEncoder, plan: &Plan) -> Result<()> {
    let (info, format) = (&plan.info, plan.options.format);
    let mut stream =
        output.add_stream(encoder.codec).map_err(|e| internal("The output's stream could not be added", e))?;
    stream.set_parameters(encoder.context());
    stream.set_time_base(info.time_base);
    stream.set_avg_frame_rate(info.frame_rate);
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
        // FLAC in MP4 is standard, but not to FFmpeg before version 6.
        options.set("strict", "experimental");
    }
    options
}
