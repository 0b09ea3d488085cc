//! Text subtitles from one codec to another: ffmpeg-next's calls for it leak what is decoded and tell no lengths.

use std::ptr;

use ffmpeg_next as ff;
use ffmpeg_next::{Error, ffi};

use super::check;

/// Bytes of one coded subtitle, at most.
const MOST_BYTES: usize = 64 << 10;

/// Decoder and encoder of one subtitle stream. Each packet becomes one packet or nothing.
pub(crate) struct TextCoder {
    decoder: ff::decoder::Subtitle,
    encoder: ff::encoder::subtitle::Encoder,
    buffer: Vec<u8>,
}

impl TextCoder {
    /// From the codec of a stream to one of FFmpeg's encoders of text.
    pub(crate) fn open(stream: &ff::format::stream::Stream<'_>, to: ff::Codec) -> Result<TextCoder, Error> {
        let mut decoder = ff::codec::Context::from_parameters(stream.parameters())?.decoder();
        decoder.set_packet_time_base(stream.time_base());
        let decoder = decoder.subtitle()?;
        let mut encoder = ff::codec::Context::new_with_codec(to).encoder().subtitle()?;
        encoder.set_time_base(stream.time_base());
        // SAFETY: both contexts are valid and not shared. The header is copied with a zero behind it, as FFmpeg's own
        // program does, into memory of av_malloc, which avcodec_free_context frees.
        unsafe {
            let (from, size) = ((*decoder.as_ptr()).subtitle_header, (*decoder.as_ptr()).subtitle_header_size);
            let bytes = usize::try_from(size).unwrap_or(0);
            if !from.is_null() && bytes > 0 {
                let header = ffi::av_mallocz(bytes + 1).cast::<u8>();
                if header.is_null() {
                    return Err(Error::Other { errno: libc::ENOMEM });
                }
                ptr::copy_nonoverlapping(from, header, bytes);
                (*encoder.as_mut_ptr()).subtitle_header = header;
                (*encoder.as_mut_ptr()).subtitle_header_size = size;
            }
        }
        Ok(TextCoder { decoder, encoder: encoder.open_as(to)?, buffer: vec![0; MOST_BYTES] })
    }

    /// What the output's stream is made of.
    pub(crate) fn context(&self) -> &ff::encoder::subtitle::Subtitle {
        &self.encoder.0
    }

    /// Codes a packet anew, at its own time.
    pub(crate) fn convert(&mut self, packet: &ff::Packet) -> Result<Option<ff::Packet>, Error> {
        use ff::packet::Ref;
        let mut decoded = Decoded::new();
        let mut got = 0;
        // SAFETY: decoder and packet are valid, the packet is only read; what is decoded is freed with `decoded`.
        check(unsafe {
            ffi::avcodec_decode_subtitle2(
                self.decoder.as_mut_ptr(),
                &raw mut decoded.0,
                &raw mut got,
                packet.as_ptr().cast_mut(),
            )
        })?;
        if got == 0 || decoded.0.num_rects == 0 {
            return Ok(None);
        }
        decoded.0.start_display_time = 0;
        let room = i32::try_from(self.buffer.len()).unwrap_or(i32::MAX);
        // SAFETY: the encoder is open, the buffer has `room` bytes, and what was decoded is valid.
        let length = unsafe {
            let encoder = self.encoder.0.as_mut_ptr();
            ffi::avcodec_encode_subtitle(encoder, self.buffer.as_mut_ptr(), room, &raw const decoded.0)
        };
        check(length)?;
        let bytes = self.buffer.get(..usize::try_from(length).unwrap_or(0)).unwrap_or(&[]);
        let mut made = ff::Packet::copy(bytes);
        made.set_pts(packet.pts());
        made.set_dts(packet.dts());
        made.set_duration(packet.duration());
        made.set_flags(ff::packet::Flags::KEY);
        Ok((!bytes.is_empty()).then_some(made))
    }
}

/// A decoded subtitle, freed as FFmpeg wants it.
struct Decoded(ffi::AVSubtitle);

impl Decoded {
    fn new() -> Decoded {
        // SAFETY: a plain C structure of numbers and pointers, for which zeros mean "nothing".
        Decoded(unsafe { std::mem::zeroed() })
    }
}

impl Drop for Decoded {
    fn drop(&mut self) {
        // SAFETY: either empty or filled by FFmpeg, and freed once.
        unsafe { ffi::avsubtitle_free(&raw mut self.0) }
    }
}
