//! What ffmpeg-next has no safe call for. Nearly all `unsafe` of this crate is here and in `colour::simd`.
//!
//! Enumerations that come out of files are read as integers: a demuxer may leave a value in them that the Rust
//! enumeration does not have, and looking at such a value through it would be undefined behaviour.

pub(crate) mod text;

use std::ptr::{addr_of, addr_of_mut};

use ffmpeg_next as ff;
use ffmpeg_next::ffi;
use ffmpeg_next::{Error, Rational};

/// `AVColorSpace`, `AVColorRange`, `AVColorPrimaries`, `AVColorTransferCharacteristic`, `AVChromaLocation` as integers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct RawColour {
    pub matrix: i32,
    pub range: i32,
    pub primaries: i32,
    pub transfer: i32,
    pub chroma: i32,
}

macro_rules! raw_colour {
    ($p:expr, $chroma:ident) => {
        RawColour {
            matrix: addr_of!((*$p).colorspace).cast::<i32>().read(),
            range: addr_of!((*$p).color_range).cast::<i32>().read(),
            primaries: addr_of!((*$p).color_primaries).cast::<i32>().read(),
            transfer: addr_of!((*$p).color_trc).cast::<i32>().read(),
            chroma: addr_of!((*$p).$chroma).cast::<i32>().read(),
        }
    };
}

macro_rules! set_raw_colour {
    ($p:expr, $chroma:ident, $c:expr) => {{
        addr_of_mut!((*$p).colorspace).cast::<i32>().write($c.matrix);
        addr_of_mut!((*$p).color_range).cast::<i32>().write($c.range);
        addr_of_mut!((*$p).color_primaries).cast::<i32>().write($c.primaries);
        addr_of_mut!((*$p).color_trc).cast::<i32>().write($c.transfer);
        addr_of_mut!((*$p).$chroma).cast::<i32>().write($c.chroma);
    }};
}

/// Colour tags of a frame.
pub(crate) fn frame_colour(frame: &ff::frame::Video) -> RawColour {
    // SAFETY: the frame owns a valid AVFrame; C enumerations are 32 bit integers and are read as such.
    unsafe { raw_colour!(frame.as_ptr(), chroma_location) }
}

/// Sets the colour tags of a frame. The caller passes values that FFmpeg has.
pub(crate) fn set_frame_colour(frame: &mut ff::frame::Video, colour: RawColour) {
    // SAFETY: as in `frame_colour`.
    unsafe { set_raw_colour!(frame.as_mut_ptr(), chroma_location, colour) }
}

/// Colour tags of a decoder's or encoder's context.
pub(crate) fn codec_colour(context: &ff::codec::Context) -> RawColour {
    // SAFETY: the context is valid while borrowed; enumerations are read as integers.
    unsafe { raw_colour!(context.as_ptr(), chroma_sample_location) }
}

/// Sets the colour tags of an encoder before it is opened. The caller passes values that FFmpeg has.
pub(crate) fn set_codec_colour(context: &mut ff::codec::Context, colour: RawColour) {
    // SAFETY: as in `codec_colour`.
    unsafe { set_raw_colour!(context.as_mut_ptr(), chroma_sample_location, colour) }
}

/// A new reference to the same pixels.
pub(crate) fn share(frame: &ff::frame::Video) -> Result<ff::frame::Video, Error> {
    let mut shared = ff::frame::Video::empty();
    // SAFETY: both frames are valid; av_frame_ref fills an empty one.
    check(unsafe { ffi::av_frame_ref(shared.as_mut_ptr(), frame.as_ptr()) })?;
    Ok(shared)
}

/// A frame with room for its pixels.
pub(crate) fn allocate(format: ff::format::Pixel, width: u32, height: u32) -> Result<ff::frame::Video, Error> {
    let mut frame = ff::frame::Video::empty();
    frame.set_format(format);
    frame.set_width(width);
    frame.set_height(height);
    // SAFETY: format, width and height are set, as av_frame_get_buffer wants; alignment 0 lets FFmpeg choose.
    check(unsafe { ffi::av_frame_get_buffer(frame.as_mut_ptr(), 0) })?;
    Ok(frame)
}

/// Whether nobody else (an encoder's lookahead, a second reference) holds the pixels.
pub(crate) fn is_writable(frame: &mut ff::frame::Video) -> bool {
    // SAFETY: only looks at the reference counts of the frame's buffers.
    unsafe { ffi::av_frame_is_writable(frame.as_mut_ptr()) > 0 }
}

/// Copies times, colour and side data, not pixels.
pub(crate) fn copy_props(to: &mut ff::frame::Video, from: &ff::frame::Video) -> Result<(), Error> {
    // SAFETY: both frames are valid and distinct.
    check(unsafe { ffi::av_frame_copy_props(to.as_mut_ptr(), from.as_ptr()) })
}

/// Copies pixels between frames of one format and size.
pub(crate) fn copy_pixels(to: &mut ff::frame::Video, from: &ff::frame::Video) -> Result<(), Error> {
    // SAFETY: both frames are valid; FFmpeg checks format and size.
    check(unsafe { ffi::av_frame_copy(to.as_mut_ptr(), from.as_ptr()) })
}

/// Whether the rows of a plane run upwards in memory (a vertical flip without a copy).
pub(crate) fn has_negative_stride(frame: &ff::frame::Video) -> bool {
    // SAFETY: reads an array inside the valid AVFrame.
    unsafe { (*frame.as_ptr()).linesize.iter().any(|s| *s < 0) }
}

/// Where a plane lies: pointer, bytes between rows, bytes of a row, rows.
struct PlaneLayout {
    data: *mut u8,
    stride: usize,
    row_bytes: usize,
    rows: usize,
}

fn plane_layout(frame: &ff::frame::Video, index: usize) -> Option<PlaneLayout> {
    let rows = match index {
        1 | 2 => frame.height().div_ceil(1 << frame.format().descriptor()?.log2_chroma_h()),
        _ => frame.height(),
    } as usize;
    let width = i32::try_from(frame.width()).ok()?;
    // SAFETY: reads arrays inside the valid AVFrame at an index that is checked, and asks FFmpeg for a row's length.
    let (data, stride, row_bytes) = unsafe {
        let frame_ptr = frame.as_ptr();
        let (data, stride) = (*(*frame_ptr).data.get(index)?, *(*frame_ptr).linesize.get(index)?);
        (data, stride, ffi::av_image_get_linesize(frame.format().into(), width, i32::try_from(index).ok()?))
    };
    let (stride, row_bytes) = (usize::try_from(stride).ok()?, usize::try_from(row_bytes).ok()?);
    (!data.is_null() && row_bytes > 0 && row_bytes <= stride && rows > 0).then_some(PlaneLayout {
        data,
        stride,
        row_bytes,
        rows,
    })
}

/// A plane's bytes and the bytes between its rows; `None` where the frame has no such plane.
pub(crate) fn plane(frame: &ff::frame::Video, index: usize) -> Option<(&[u8], usize)> {
    let p = plane_layout(frame, index)?;
    // SAFETY: FFmpeg keeps `rows` rows of `row_bytes` at `stride` alive as long as the frame, which is borrowed.
    Some((unsafe { std::slice::from_raw_parts(p.data, p.stride * (p.rows - 1) + p.row_bytes) }, p.stride))
}

/// The 256 colours of a frame with a palette, as words of alpha, red, green and blue in the host's order.
pub(crate) fn palette(frame: &ff::frame::Video) -> Option<&[u8]> {
    let colours = format_flags(frame.format()) & ffi::AV_PIX_FMT_FLAG_PAL as u64 != 0;
    // SAFETY: reads a pointer inside the valid AVFrame.
    let data = unsafe { (*frame.as_ptr()).data[1] };
    // SAFETY: FFmpeg keeps AVPALETTE_SIZE bytes there for formats with a palette, as long as the frame.
    (colours && !data.is_null()).then(|| unsafe { std::slice::from_raw_parts(data, ffi::AVPALETTE_SIZE as usize) })
}

/// Bytes of a plane's rows that belong to the picture.
pub(crate) fn row_bytes(frame: &ff::frame::Video, index: usize) -> Option<usize> {
    plane_layout(frame, index).map(|p| p.row_bytes)
}

/// A plane's bytes for writing; the frame is made writable (copied if somebody else holds it).
pub(crate) fn plane_mut(frame: &mut ff::frame::Video, index: usize) -> Option<(&mut [u8], usize)> {
    // SAFETY: a valid frame; on success nobody else holds its buffers.
    check(unsafe { ffi::av_frame_make_writable(frame.as_mut_ptr()) }).ok()?;
    let p = plane_layout(frame, index)?;
    // SAFETY: as in `plane`, and no other reference to the pixels exists.
    Some((unsafe { std::slice::from_raw_parts_mut(p.data, p.stride * (p.rows - 1) + p.row_bytes) }, p.stride))
}

/// The bytes of all planes for writing, and those between their rows; none where the frame cannot be made writable.
pub(crate) fn planes_mut(frame: &mut ff::frame::Video) -> Vec<(&mut [u8], usize)> {
    // SAFETY: as in `plane_mut`.
    if check(unsafe { ffi::av_frame_make_writable(frame.as_mut_ptr()) }).is_err() {
        return Vec::new();
    }
    let layouts: Vec<PlaneLayout> = (0..4).map_while(|index| plane_layout(frame, index)).collect();
    let bytes = |p: PlaneLayout| {
        let length = p.stride * (p.rows - 1) + p.row_bytes;
        // SAFETY: as in `plane_mut`; planes of one frame share no byte, and the frame is borrowed as long as all of them.
        (unsafe { std::slice::from_raw_parts_mut(p.data, length) }, p.stride)
    };
    layouts.into_iter().map(bytes).collect()
}

/// Depth of the first component in bits, and how far its samples are shifted up (P010).
pub(crate) fn component_depth(format: ff::format::Pixel) -> (u32, u32) {
    // SAFETY: a descriptor is a static table of FFmpeg.
    format.descriptor().map_or((8, 0), |d| unsafe {
        let c = (*d.as_ptr()).comp[0];
        (u32::try_from(c.depth).unwrap_or(8), u32::try_from(c.shift).unwrap_or(0))
    })
}

/// A format's components, where its samples are whole bytes in memory of the host.
pub(crate) fn format_layout(format: ff::format::Pixel) -> Option<crate::colour::Layout> {
    const OTHER: i32 = ffi::AV_PIX_FMT_FLAG_PAL
        | ffi::AV_PIX_FMT_FLAG_BITSTREAM
        | ffi::AV_PIX_FMT_FLAG_HWACCEL
        | ffi::AV_PIX_FMT_FLAG_BAYER
        | ffi::AV_PIX_FMT_FLAG_FLOAT;
    if format_flags(format) & OTHER.unsigned_abs() as u64 != 0 {
        return None;
    }
    let descriptor = format.descriptor()?;
    // SAFETY: a descriptor is a static table of FFmpeg.
    let described = unsafe { (*descriptor.as_ptr()).comp };
    let number = |n: i32| usize::try_from(n).ok();
    let mut components = Vec::new();
    for c in &described[..usize::from(descriptor.nb_components()).min(4)] {
        components.push(crate::colour::Component {
            plane: number(c.plane)?,
            step: number(c.step)?,
            offset: number(c.offset)?,
            shift: u32::try_from(c.shift).ok()?,
            depth: u32::try_from(c.depth).ok()?,
            big_endian: format_flags(format) & ffi::AV_PIX_FMT_FLAG_BE as u64 != 0,
        });
    }
    Some(crate::colour::Layout {
        components,
        has_alpha: format_flags(format) & ffi::AV_PIX_FMT_FLAG_ALPHA as u64 != 0,
        log2_chroma_w: descriptor.log2_chroma_w().into(),
        log2_chroma_h: descriptor.log2_chroma_h().into(),
    })
}

/// `AV_PIX_FMT_FLAG_*` of a format.
pub(crate) fn format_flags(format: ff::format::Pixel) -> u64 {
    // SAFETY: a descriptor is a static table of FFmpeg.
    format.descriptor().map_or(0, |d| unsafe { (*d.as_ptr()).flags })
}

/// Tells the demuxer which streams are wanted: packets of others are not even read where the container allows it.
pub(crate) fn keep_only(input: &mut ff::format::context::Input, wanted: &[usize]) {
    for index in 0..input.nb_streams() as usize {
        if !wanted.contains(&index)
            && let Some(mut other) = input.stream_mut(index)
        {
            // SAFETY: the stream belongs to the input that is borrowed mutably.
            unsafe { (*other.as_mut_ptr()).discard = ffi::AVDiscard::AVDISCARD_ALL }
        }
    }
}

/// Sample aspect ratio of a stream, 0/1 where unknown: the container's word before the codec's.
pub(crate) fn stream_aspect(stream: &ff::format::stream::Stream<'_>) -> Rational {
    // SAFETY: the stream and its parameters live as long as the input that it borrows.
    let (container, codec) = unsafe {
        let s = stream.as_ptr();
        ((*s).sample_aspect_ratio, (*(*s).codecpar).sample_aspect_ratio)
    };
    if container.num > 0 { container.into() } else { codec.into() }
}

/// Sets a new stream's sample aspect ratio and, where given, its codec tag (`hvc1`).
pub(crate) fn set_stream_aspect_and_tag(
    stream: &mut ff::format::stream::StreamMut<'_>,
    aspect: Rational,
    tag: Option<[u8; 4]>,
) {
    // SAFETY: the stream belongs to an output that is borrowed mutably and has no header yet.
    unsafe {
        let s = stream.as_mut_ptr();
        (*s).sample_aspect_ratio = aspect.into();
        (*(*s).codecpar).sample_aspect_ratio = aspect.into();
        if let Some(tag) = tag {
            (*(*s).codecpar).codec_tag = u32::from_le_bytes(tag);
        }
    }
}

/// Clears the codec tag, so that the muxer chooses its own for a copied stream.
pub(crate) fn clear_codec_tag(stream: &mut ff::format::stream::StreamMut<'_>) {
    // SAFETY: as in `set_stream_aspect_and_tag`.
    unsafe { (*(*stream.as_mut_ptr()).codecpar).codec_tag = 0 }
}

/// Sets what a new stream is to players (default, forced, ...).
pub(crate) fn set_disposition(
    stream: &mut ff::format::stream::StreamMut<'_>,
    disposition: ff::format::stream::Disposition,
) {
    // SAFETY: as in `set_stream_aspect_and_tag`.
    unsafe { (*stream.as_mut_ptr()).disposition = disposition.bits() }
}

/// Width and height of a video stream's coded picture as the container says, 0 where it does not.
pub(crate) fn coded_size(stream: &ff::format::stream::Stream<'_>) -> (u32, u32) {
    // SAFETY: the parameters live as long as the input that the stream borrows.
    let (width, height) = unsafe {
        let p = (*stream.as_ptr()).codecpar;
        ((*p).width, (*p).height)
    };
    (u32::try_from(width).unwrap_or(0), u32::try_from(height).unwrap_or(0))
}

/// Audio parameters of a stream: sample rate and channels.
pub(crate) fn audio_shape(stream: &ff::format::stream::Stream<'_>) -> (u32, u32) {
    // SAFETY: the parameters live as long as the input that the stream borrows.
    let (rate, channels) = unsafe {
        let p = (*stream.as_ptr()).codecpar;
        ((*p).sample_rate, (*p).ch_layout.nb_channels)
    };
    (u32::try_from(rate).unwrap_or(0), u32::try_from(channels).unwrap_or(0))
}

/// Samples before the first that is heard, in seconds.
pub(crate) fn lead_in_secs(stream: &ff::format::stream::Stream<'_>) -> f64 {
    // SAFETY: the parameters live as long as the context that the stream borrows.
    let (samples, rate) = unsafe {
        let p = (*stream.as_ptr()).codecpar;
        ((*p).initial_padding, (*p).sample_rate)
    };
    f64::from(samples.max(0)) / f64::from(rate.max(1))
}

/// Keeps a filter graph on the thread that drives it.
pub(crate) fn single_threaded(graph: &mut ff::filter::Graph) {
    // SAFETY: the graph is valid and not configured yet.
    unsafe { (*graph.as_mut_ptr()).nb_threads = 1 }
}

/// The layout that FFmpeg gives to a number of channels.
pub(crate) fn default_layout(channels: u32) -> ff::ChannelLayout {
    ff::ChannelLayout::default(i32::try_from(channels).unwrap_or(2))
}

/// A frame's duration in its stream's time base, 0 where unknown.
pub(crate) fn frame_duration(frame: &ff::frame::Video) -> i64 {
    frame.packet().duration
}

/// Sets it.
pub(crate) fn set_frame_duration(frame: &mut ff::frame::Video, duration: i64) {
    // SAFETY: writes a number inside the valid AVFrame.
    unsafe { (*frame.as_mut_ptr()).pkt_duration = duration }
}

fn check(code: i32) -> Result<(), Error> {
    if code < 0 { Err(Error::from(code)) } else { Ok(()) }
}
