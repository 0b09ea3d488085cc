//! The decode stage: a file's best video stream as upright frames in order of their times.

mod open;
#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};

use darkroom_api::{CancelToken, ErrorCode, JobError, Limits, Result};
use ffmpeg_next as ff;
use ffmpeg_next::format::context::Input;

use crate::deinterlace::Deinterlacer;
use crate::error::{corrupt, internal, is_again, unsupported};
use crate::orientation::{Orientation, Turner, turn_aspect};
use crate::{Frame, VideoInfo, ffi, source};
pub(crate) use open::{best_video, duration_secs, file_start_secs};
use open::{check_range, open_decoder, wanted_range};

/// Damaged packets or unreadable samples in a row after which the file counts as ended.
const MAX_FAULTS_IN_A_ROW: u32 = 10_000;

/// How to read.
#[derive(Debug, Clone)]
pub struct ReadOptions {
    /// Frames before this are dropped: seconds from the start of the file (its first time stamp).
    pub start_secs: Option<f64>,
    /// Frames from this on are dropped: seconds from the start of the file.
    pub end_secs: Option<f64>,
    /// Threads of the decoder; each holds a frame or two.
    pub threads: usize,
    /// Decode the alpha plane where there is one (VP8 and VP9 through libvpx, slower than FFmpeg's own decoder).
    pub alpha: bool,
    /// Most pixels of a frame; larger ones are refused before they are allocated.
    pub max_pixels: u64,
    /// Longest time from the first frame to the last, in seconds. Asked of files that do not tell how long they are: of
    /// others the probe knows.
    pub max_duration_secs: f64,
    /// Ends blocking reads.
    pub cancel: CancelToken,
}

impl Default for ReadOptions {
    fn default() -> Self {
        let Limits { max_pixels, max_duration_secs, .. } = Limits::default();
        ReadOptions {
            start_secs: None,
            end_secs: None,
            threads: 2,
            alpha: false,
            max_pixels,
            max_duration_secs,
            cancel: CancelToken::default(),
        }
    }
}

/// The sound and subtitles that belong to a reader's frames: same file, same range, same shift of times.
#[derive(Debug, Clone)]
pub struct Tracks {
    pub(crate) path: PathBuf,
    /// First and last moment in the file's own time.
    pub(crate) start_secs: Option<f64>,
    pub(crate) end_secs: Option<f64>,
    pub(crate) cancel: CancelToken,
}

impl Tracks {
    /// First and last moment, where there is a range.
    pub(crate) fn range(&self) -> Option<(f64, f64)> {
        let any = self.start_secs.is_some() || self.end_secs.is_some();
        any.then(|| (self.start_secs.unwrap_or(f64::MIN), self.end_secs.unwrap_or(f64::MAX)))
    }
}

/// Decodes one file. Frames come upright, in order, each later than the one before.
pub struct Reader {
    demuxer: Demuxer,
    decoder: ff::decoder::Video,
    info: VideoInfo,
    turner: Option<Turner>,
    /// From the first interlaced frame on.
    deinterlacer: Option<Deinterlacer>,
    range: Range,
    pending: Option<Frame>,
    last_pts: Option<i64>,
    state: State,
    faults: u64,
    faults_in_a_row: u32,
    tracks: Option<Tracks>,
    /// Where the file does not tell how long it is.
    max_duration_secs: Option<f64>,
    first_pts: Option<i64>,
    /// Whether a GIF that is taken to be opaque turned out not to be.
    alpha_lost: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Reading,
    Draining,
    Ended,
}

/// The wanted part in the stream's time base, and what is taken off all times.
#[derive(Clone, Copy)]
struct Range {
    start: Option<i64>,
    end: Option<i64>,
    shift: i64,
}

struct Demuxer {
    input: Input,
    stream: usize,
    /// The demuxer failed for good (not at a clean end).
    failed: bool,
}

impl Reader {
    /// Opens a file and decodes its first frame, so that what [`Reader::info`] says is true.
    ///
    /// # Errors
    /// The `input-*` codes of [`crate::probe::probe`]; `params-invalid` when the range is empty or lies beyond the end.
    pub fn open(path: &Path, options: &ReadOptions) -> Result<Reader> {
        check_range(options)?;
        let mut reader = Reader::start(path, options, options.start_secs.is_some())?;
        // An imprecise index may land behind the wanted frame: then the file is read from its beginning.
        let landed_late = match (reader.range.start, reader.first_decoded()?) {
            (Some(start), Some(first)) => first > start,
            (Some(_), None) => true,
            _ => false,
        };
        if landed_late {
            reader = Reader::start(path, options, false)?;
            reader.first_decoded()?;
        }
        let Some(first) = reader.advance()? else { return Err(reader.nothing_decoded(path, options)) };
        reader.info.start_pts = first.pts();
        reader.pending = Some(first);
        Ok(reader)
    }

    fn start(path: &Path, options: &ReadOptions, seek: bool) -> Result<Reader> {
        let mut input = source::open(path, &options.cancel)?;
        let stream = best_video(&input)?;
        let beside = |s: ff::format::stream::Stream<'_>| {
            matches!(s.parameters().medium(), ff::media::Type::Audio | ff::media::Type::Subtitle)
        };
        let has_tracks = input.streams().any(beside);
        let (range, target) = wanted_range(&input, stream, options);
        ffi::keep_only(&mut input, &[stream]);
        if let (true, Some(target)) = (seek, target) {
            // Where a container cannot be searched, frames are decoded and dropped up to the start.
            if let Err(e) = input.seek(target, ..target) {
                tracing::debug!(%e, "no seek in this container");
            }
        }
        let (decoder, info) = open_decoder(path, &input, stream, options)?;
        let told = input.stream(stream).and_then(|stream| duration_secs(&input, &stream));
        let start = file_start_secs(&input);
        let tracks = has_tracks.then(|| Tracks {
            path: path.to_owned(),
            // From the very start on is no range, as for the video: nothing is taken off the times.
            start_secs: options.start_secs.filter(|s| *s > 0.0).map(|s| s + start),
            end_secs: options.end_secs.map(|s| s + start),
            cancel: options.cancel.clone(),
        });
        Ok(Reader {
            demuxer: Demuxer { input, stream, failed: false },
            decoder,
            info,
            turner: None,
            deinterlacer: None,
            range,
            pending: None,
            last_pts: None,
            state: State::Reading,
            faults: 0,
            faults_in_a_row: 0,
            tracks,
            max_duration_secs: told.is_none().then_some(options.max_duration_secs),
            first_pts: None,
            alpha_lost: false,
        })
    }

    /// What the frames are.
    pub fn info(&self) -> &VideoInfo {
        &self.info
    }

    /// What else the same part of the file holds, if anything.
    pub fn tracks(&self) -> Option<Tracks> {
        self.tracks.clone()
    }

    /// Packets that were damaged, and samples that could not be read, so far.
    pub fn corrupt_packets(&self) -> u64 {
        self.faults
    }

    /// The next frame; `None` at the end of the range or of what can be decoded.
    ///
    /// # Errors
    /// `input-unsupported` when the picture changes its size; `cancelled`.
    #[allow(clippy::should_implement_trait, reason = "an iterator of results would hide that errors end it")]
    pub fn next(&mut self) -> Result<Option<Frame>> {
        match self.pending.take() {
            Some(frame) => Ok(Some(frame)),
            None => self.advance(),
        }
    }

    /// Whether interlaced frames were met so far; each became a whole one.
    pub fn deinterlaced(&self) -> bool {
        self.deinterlacer.is_some()
    }

    /// Whether something shows through a later frame, though nothing does through the first, and the file counts as one
    /// without alpha.
    pub fn alpha_lost(&self) -> bool {
        self.alpha_lost
    }

    pub(crate) fn input(&self) -> &Input {
        &self.demuxer.input
    }

    pub(crate) fn stream(&self) -> usize {
        self.demuxer.stream
    }

    /// Decodes one frame, whatever its time, and leaves it for [`Reader::advance`]. Its time in the file.
    fn first_decoded(&mut self) -> Result<Option<i64>> {
        let Some(frame) = self.decode()? else { return Ok(None) };
        let pts = frame.pts();
        self.settle_format(&frame);
        self.pending = Some(frame);
        Ok(Some(pts))
    }

    /// Decoders know size, format and colour for certain only with the first frame.
    fn settle_format(&mut self, first: &Frame) {
        let format = first.format();
        let mut in_file = first.colour();
        let from_stream = self.info.colour_in_file;
        for (frame, stream, silent) in [
            (&mut in_file.matrix, from_stream.matrix, 2),
            (&mut in_file.primaries, from_stream.primaries, 2),
            (&mut in_file.transfer, from_stream.transfer, 2),
            (&mut in_file.range, from_stream.range, 0),
            (&mut in_file.chroma, from_stream.chroma, 0),
        ] {
            if *frame == silent {
                *frame = stream;
            }
        }
        // Pictures say in their own data (EXIF) how they lie; a container's word comes first.
        if self.info.orientation == Orientation::Upright {
            self.info.orientation = Orientation::of_frame(first);
            self.info.sample_aspect = turn_aspect(self.info.orientation, self.info.sample_aspect);
        }
        let (w, h) = (first.width(), first.height());
        (self.info.width_px, self.info.height_px) = if self.info.orientation.swaps_sides() { (h, w) } else { (w, h) };
        self.info.pixel_format = format;
        // GIF's frames come with alpha whether or not anything shows through.
        if self.is_gif() && !self.info.is_still && first.is_opaque() {
            self.info.has_alpha = false;
        }
        self.info.bit_depth = ffi::component_depth(format).0;
        self.info.colour_in_file = in_file;
        self.info.colour = in_file.resolved(format, first.height());
        self.info.colour.chroma = self.info.orientation.turn_chroma(self.info.colour.chroma);
    }

    /// The next frame inside the range, upright, with its time shifted.
    fn advance(&mut self) -> Result<Option<Frame>> {
        loop {
            let frame = match self.pending.take() {
                Some(frame) => Some(frame),
                None => self.decode()?,
            };
            let Some(frame) = frame else { return Ok(None) };
            if self.range.end.is_some_and(|end| frame.pts() >= end) {
                self.state = State::Ended;
                return Ok(None);
            }
            if self.range.start.is_none_or(|start| frame.pts() >= start) {
                self.check_duration(&frame)?;
                if self.info.is_still {
                    // Whatever else the file holds.
                    self.state = State::Ended;
                }
                self.alpha_lost |= self.is_gif() && !self.info.has_alpha && !self.alpha_lost && !frame.is_opaque();
                return self.upright(frame).map(Some);
            }
        }
    }

    fn is_gif(&self) -> bool {
        self.demuxer.input.format().name() == "gif"
    }

    fn check_duration(&mut self, frame: &Frame) -> Result<()> {
        let Some(max) = self.max_duration_secs else { return Ok(()) };
        let since = frame.pts().saturating_sub(*self.first_pts.get_or_insert(frame.pts()));
        #[allow(clippy::cast_precision_loss, reason = "seconds fit a float")]
        let secs = since as f64 * f64::from(self.info.time_base);
        if secs <= max {
            return Ok(());
        }
        Err(JobError::new(
            ErrorCode::InputTooLarge,
            format!(
                "The file lasts longer than {max:.1} s, the limit, and does not say how long: split it, or choose a part \
                 with `end_secs`."
            ),
        )
        .with_detail(serde_json::json!({ "reached_secs": secs, "max_duration_secs": max })))
    }

    fn upright(&mut self, frame: Frame) -> Result<Frame> {
        let mut frame = if self.info.orientation == Orientation::Upright {
            frame
        } else {
            if !self.turner.as_ref().is_some_and(|t| t.fits(&frame)) {
                self.turner = Some(Turner::new(self.info.orientation, &frame)?);
            }
            let turner = self.turner.as_mut().ok_or_else(|| internal("A frame could not be rotated", "no filter"))?;
            turner.turn(&frame)?
        };
        if (frame.width(), frame.height()) != (self.info.width_px, self.info.height_px) {
            return Err(unsupported("The size of the picture changes in the middle of the video"));
        }
        if ffi::has_negative_stride(frame.inner()) {
            frame = with_rows_downwards(&frame)?;
        }
        frame.set_colour(self.info.colour);
        frame.set_pts(frame.pts() - self.range.shift);
        Ok(frame)
    }

    /// The next whole frame. Nothing is spent on videos that are not interlaced.
    fn decode(&mut self) -> Result<Option<Frame>> {
        loop {
            if let Some(deinterlacer) = &mut self.deinterlacer
                && let Some(frame) = deinterlacer.pull()?
            {
                return Ok(Some(frame));
            }
            match (self.decode_coded()?, &mut self.deinterlacer) {
                (Some(frame), None) if !frame.inner().is_interlaced() => return Ok(Some(frame)),
                (Some(frame), None) => self.deinterlacer.insert(Deinterlacer::new(&frame)?).push(frame)?,
                (Some(frame), Some(deinterlacer)) => deinterlacer.push(frame)?,
                (None, None) => return Ok(None),
                (None, Some(deinterlacer)) => {
                    if !deinterlacer.finish()? {
                        return Ok(None);
                    }
                }
            }
        }
    }

    /// The next decoded frame as it is coded, with a time later than the one before.
    fn decode_coded(&mut self) -> Result<Option<Frame>> {
        let mut raw = ff::frame::Video::empty();
        while self.state != State::Ended {
            match self.decoder.receive_frame(&mut raw) {
                Ok(()) => {
                    self.faults_in_a_row = 0;
                    let mut frame = Frame::wrap(raw);
                    frame.set_pts(self.time_of(&frame));
                    return Ok(Some(frame));
                }
                Err(e) if is_again(&e) => self.feed()?,
                Err(ff::Error::Eof) => self.state = State::Ended,
                Err(e) => {
                    self.fault(&e);
                    self.feed()?;
                }
            }
        }
        Ok(None)
    }

    /// Gives the decoder its next packet, or the word that there are no more.
    fn feed(&mut self) -> Result<()> {
        if self.state != State::Reading {
            return Ok(());
        }
        match self.demuxer.next(&mut self.faults, &mut self.faults_in_a_row)? {
            Some(packet) => match self.decoder.send_packet(&packet) {
                Ok(()) => {}
                Err(ff::Error::Eof) => self.state = State::Draining,
                Err(e) => self.fault(&e),
            },
            None => {
                self.state = State::Draining;
                if let Err(e) = self.decoder.send_eof() {
                    self.fault(&e);
                }
            }
        }
        Ok(())
    }

    fn fault(&mut self, e: &ff::Error) {
        tracing::debug!(%e, "damaged packet");
        self.faults += 1;
        self.faults_in_a_row += 1;
        if self.faults_in_a_row >= MAX_FAULTS_IN_A_ROW {
            self.state = State::Ended;
        }
    }

    /// A frame's own time; else the one after its predecessor's at the average rate. Never before its predecessor's.
    fn time_of(&mut self, frame: &Frame) -> i64 {
        let step = self.info.frame_ticks();
        let guess = self.last_pts.map_or(0, |last| last.saturating_add(step));
        let own = frame.inner().timestamp().unwrap_or(guess);
        let pts = self.last_pts.map_or(own, |last| own.max(last.saturating_add(1)));
        self.last_pts = Some(pts);
        pts
    }

    fn nothing_decoded(&self, path: &Path, options: &ReadOptions) -> JobError {
        if self.last_pts.is_some() {
            let last = self.last_pts.map_or(0.0, |p| {
                #[allow(clippy::cast_precision_loss, reason = "seconds for a message")]
                let secs = p as f64 * f64::from(self.info.time_base);
                secs - file_start_secs(&self.demuxer.input)
            });
            let start = options.start_secs.unwrap_or(0.0);
            return JobError::new(
                ErrorCode::ParamsInvalid,
                format!(
                    "No frame lies in the range from {start} s on: the video's last frame is at {last:.3} s. Choose an \
                     earlier `start_secs`, or a later `end_secs`."
                ),
            );
        }
        if self.demuxer.failed || source::shape_of(path) == source::Shape::Cut {
            source::truncated()
        } else {
            corrupt("no frame could be decoded")
        }
    }
}

impl Demuxer {
    /// The next packet of the stream, `None` at the end. Unreadable samples are counted and passed over.
    fn next(&mut self, faults: &mut u64, in_a_row: &mut u32) -> Result<Option<ff::Packet>> {
        while *in_a_row < MAX_FAULTS_IN_A_ROW {
            let mut packet = ff::Packet::empty();
            match packet.read(&mut self.input) {
                Ok(()) if packet.stream() == self.stream && packet.size() > 0 => return Ok(Some(packet)),
                Ok(()) => {}
                Err(ff::Error::Eof) => return Ok(None),
                Err(ff::Error::Exit) => return Err(JobError::new(ErrorCode::Cancelled, "The job was cancelled.")),
                Err(e) => {
                    *in_a_row += 1;
                    // "Come again" is no damage.
                    if is_again(&e) {
                        continue;
                    }
                    *faults += 1;
                    self.failed = true;
                    // Only damaged data can be read past; any other failure comes back for ever.
                    if !matches!(e, ff::Error::InvalidData) {
                        tracing::debug!(%e, "the container ends early");
                        return Ok(None);
                    }
                }
            }
        }
        Ok(None)
    }
}

fn with_rows_downwards(frame: &Frame) -> Result<Frame> {
    let mut copy = Frame::new(frame.format(), frame.width(), frame.height())?;
    let fault = |e| internal("A frame could not be copied", e);
    ffi::copy_pixels(copy.inner_mut(), frame.inner()).map_err(fault)?;
    ffi::copy_props(copy.inner_mut(), frame.inner()).map_err(fault)?;
    Ok(copy)
}
