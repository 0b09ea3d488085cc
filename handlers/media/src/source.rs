//! Opening inputs: which containers, and what is said of files that do not open.
//!
//! FFmpeg reads through our file handle and is given no name, no protocol and a list of containers: a playlist, a
//! `concat` script or a numbered picture pattern dressed up as a video cannot make it open anything else.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::Path;

use darkroom_api::{CancelToken, ErrorCode, JobError, Result};
use ffmpeg_next as ff;
use ffmpeg_next::format::context::{Input, StreamIo};

use crate::error::{corrupt, internal};

/// Demuxers that may open an input: containers and elementary streams, sound (to say that it is no video), pictures.
const CONTAINERS: &str = "mov,mp4,matroska,webm,avi,mpegts,mpeg,flv,live_flv,ogg,asf,mxf,ivf,obu,h264,hevc,m4v,\
    mpegvideo,vc1,mjpeg,yuv4mpegpipe,gxf,nut,dv,wav,w64,mp3,flac,aac,ac3,eac3,aiff,caf,\
    gif,apng,png_pipe,jpeg_pipe,webp_pipe,bmp_pipe,tiff_pipe,jpegxl_pipe,qoi_pipe,exr_pipe,j2k_pipe";
const READ_BYTES: usize = 256 << 10;

/// Opens a container. `cancel` ends blocking reads.
pub(crate) fn open(path: &Path, cancel: &CancelToken) -> Result<Input> {
    crate::init()?;
    let (mut file, bytes) = open_file(path)?;
    if bytes == 0 {
        return Err(JobError::new(ErrorCode::InputEmpty, "The file has no bytes: upload it again."));
    }
    if is_animated_webp(&mut file).map_err(|e| internal("The input could not be read", e))? {
        let why = "Animated WebP cannot be decoded: convert it to GIF, APNG or a video first.";
        return Err(JobError::new(ErrorCode::InputUnsupported, why));
    }
    let for_ffmpeg = file.try_clone().map_err(|e| internal("The input could not be opened", e))?;
    let io = StreamIo::from_read_seek_with_capacity(for_ffmpeg, READ_BYTES)
        .map_err(|e| internal("The input could not be opened", e))?;
    let options: ff::Dictionary<'_> =
        [("format_whitelist", CONTAINERS), ("protocol_whitelist", "none"), ("max_streams", "64")].iter().collect();
    let token = cancel.clone();
    let opened = ff::format::input_from_stream_with_interrupt(io, None, Some(options), move || token.is_cancelled());
    opened.map_err(|e| match e {
        ff::Error::Exit => JobError::new(ErrorCode::Cancelled, "The job was cancelled."),
        e => why_not(&mut file, bytes, e),
    })
}

fn open_file(path: &Path) -> Result<(File, u64)> {
    let opened = File::open(path).and_then(|file| file.metadata().map(|meta| (file, meta)));
    match opened {
        Ok((file, meta)) if meta.is_file() => Ok((file, meta.len())),
        Ok(_) => Err(JobError::new(ErrorCode::InputNotMedia, "The input is not a file: name a media file.")),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => {
            Err(JobError::new(ErrorCode::InputNotFound, "The input file does not exist: check its name."))
        }
        Err(e) => Err(internal("The input could not be opened", e)),
    }
}

/// FFmpeg's decoder finds no picture in these. Leaves the file at its start.
fn is_animated_webp(file: &mut File) -> std::io::Result<bool> {
    const ANIMATION: u8 = 2;
    let mut head = [0; 21];
    let got = read_up_to(file, &mut head)?;
    file.seek(SeekFrom::Start(0))?;
    let extended = got == head.len() && head.starts_with(b"RIFF") && &head[8..16] == b"WEBPVP8X";
    Ok(extended && head[20] & ANIMATION != 0)
}

/// Whether a file is a still picture. GIF and APNG of several frames are videos.
pub(crate) fn is_still(path: &Path, input: &Input) -> bool {
    let still_brand = || input.metadata().get("major_brand").is_some_and(|b| STILL_BRANDS.contains(&b.trim()));
    match input.format().name() {
        // The demuxer counts them when it opens a file.
        "gif" => input.streams().all(|stream| stream.frames() <= 1),
        "apng" => apng_frames(path, input).is_none_or(|frames| frames <= 1),
        name => name.ends_with("_pipe") || still_brand(),
    }
}

/// Frames that an APNG says it has, which FFmpeg does not tell; `None` for anything else.
pub(crate) fn apng_frames(path: &Path, input: &Input) -> Option<u64> {
    if input.format().name() != "apng" {
        return None;
    }
    let (mut file, _) = open_file(path).ok()?;
    file.seek(SeekFrom::Start(8)).ok()?;
    // The count stands before the first pixels.
    for _ in 0..64 {
        let mut head = [0; 12];
        if read_up_to(&mut file, &mut head).ok()? < head.len() || &head[4..8] == b"IDAT" {
            return None;
        }
        if &head[4..8] == b"acTL" {
            return Some(u64::from(u32::from_be_bytes([head[8], head[9], head[10], head[11]])));
        }
        // A chunk is its length, its name, what it holds and a sum of four bytes.
        let length = i64::from(u32::from_be_bytes([head[0], head[1], head[2], head[3]]));
        file.seek(SeekFrom::Current(length)).ok()?;
    }
    None
}

const STILL_BRANDS: [&str; 6] = ["avif", "heic", "heix", "mif1", "heim", "heis"];

/// What a file's outermost structure says.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Shape {
    /// No container that we know.
    Unknown,
    /// A still picture in an ISO container (HEIC, AVIF).
    Still,
    /// The file is shorter than it says, or lacks its index.
    Cut,
    /// The outermost structure is complete.
    Whole,
}

/// Says why FFmpeg would not open a file.
fn why_not(file: &mut File, bytes: u64, e: ff::Error) -> JobError {
    let error = match shape(file, bytes).unwrap_or(Shape::Unknown) {
        Shape::Cut => truncated(),
        Shape::Whole => corrupt(e),
        Shape::Still => JobError::new(ErrorCode::InputWrongKind, "The file is a picture, but a video is needed."),
        Shape::Unknown => JobError::new(
            ErrorCode::InputNotMedia,
            "The file is no media file that Darkroom reads (MP4, MOV, WebM, Matroska, AVI, MPEG-TS and others): check \
             that the right file was uploaded.",
        ),
    };
    error.with_detail(serde_json::json!({ "reason": e.to_string(), "bytes": bytes }))
}

/// The file ends before its content does.
pub(crate) fn truncated() -> JobError {
    JobError::new(
        ErrorCode::InputTruncated,
        "The file ends before its content does, and nothing can be decoded: the upload or the recording was cut off, \
         upload it again.",
    )
}

/// Reads the outermost structure of a file.
pub(crate) fn shape_of(path: &Path) -> Shape {
    open_file(path).ok().and_then(|(mut file, bytes)| shape(&mut file, bytes).ok()).unwrap_or(Shape::Unknown)
}

fn shape(file: &mut File, bytes: u64) -> std::io::Result<Shape> {
    let mut head = [0; 12];
    file.seek(SeekFrom::Start(0))?;
    let got = read_up_to(file, &mut head)?;
    let head = &head[..got];
    if head.len() >= 8 && ISO_BOXES.contains(&&head[4..8]) {
        if head.len() >= 12 && STILL_BRANDS.iter().any(|b| b.as_bytes() == &head[8..12]) {
            return Ok(Shape::Still);
        }
        return iso_shape(file, bytes);
    }
    if head.starts_with(b"RIFF") && head.len() >= 8 {
        let says = u64::from(u32::from_le_bytes([head[4], head[5], head[6], head[7]]));
        return Ok(if says.saturating_add(8) > bytes { Shape::Cut } else { Shape::Whole });
    }
    if head.starts_with(&[0x1a, 0x45, 0xdf, 0xa3]) {
        // Matroska plays from its first cluster on: one that does not even open ends within its header.
        return Ok(if bytes < 4096 { Shape::Cut } else { Shape::Whole });
    }
    let known = [b"OggS".as_slice(), b"FLV\x01", &[0, 0, 1, 0xba], &[0x30, 0x26, 0xb2, 0x75], b"DKIF"];
    Ok(if known.iter().any(|magic| head.starts_with(magic)) { Shape::Whole } else { Shape::Unknown })
}

const ISO_BOXES: [&[u8]; 8] = [b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip", b"pnot", b"uuid"];

/// Walks the boxes of an MP4 or MOV: cut off when one is longer than the file, or when the index (`moov`) is missing.
fn iso_shape(file: &mut File, bytes: u64) -> std::io::Result<Shape> {
    let (mut at, mut has_index) = (0_u64, false);
    for _ in 0..4096 {
        if at >= bytes {
            break;
        }
        let mut head = [0; 16];
        file.seek(SeekFrom::Start(at))?;
        let got = read_up_to(file, &mut head)?;
        if got < 8 {
            return Ok(Shape::Cut);
        }
        let size = match u32::from_be_bytes([head[0], head[1], head[2], head[3]]) {
            0 => bytes - at,
            1 => u64::from_be_bytes([head[8], head[9], head[10], head[11], head[12], head[13], head[14], head[15]]),
            n => u64::from(n),
        };
        has_index |= &head[4..8] == b"moov";
        if size < 8 {
            return Ok(Shape::Whole);
        }
        if at.saturating_add(size) > bytes {
            return Ok(Shape::Cut);
        }
        at += size;
    }
    Ok(if has_index { Shape::Whole } else { Shape::Cut })
}

fn read_up_to(file: &mut File, buffer: &mut [u8]) -> std::io::Result<usize> {
    let mut got = 0;
    while got < buffer.len() {
        match file.read(&mut buffer[got..])? {
            0 => break,
            n => got += n,
        }
    }
    Ok(got)
}
