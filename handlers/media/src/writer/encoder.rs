//! The video encoders and their settings.

use std::mem::ManuallyDrop;
use std::sync::{Mutex, MutexGuard, PoisonError};

use darkroom_api::{ErrorCode, JobError, Result};
use ffmpeg_next as ff;

use super::mux::Plan;
use super::settings::{encoder_name, settings};
use crate::error::{internal, is_again};
use crate::{Frame, ffi};

/// An encoder of one video stream.
pub(crate) struct VideoEncoder {
    /// Dropped in turn.
    encoder: ManuallyDrop<ff::encoder::video::Encoder>,
    pub(crate) codec: ff::Codec,
}

/// SVT-AV1 1.4 keeps the list of the machine's processors for the whole process: each encoder reads it anew when it opens, and
/// frees it when it closes. FFmpeg lets one open at a time, but closes others meanwhile: that ends in a segmentation fault.
static TURN: Mutex<()> = Mutex::new(());

/// Held while an encoder opens or closes.
fn turn() -> MutexGuard<'static, ()> {
    TURN.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Drop for VideoEncoder {
    fn drop(&mut self) {
        let _turn = turn();
        // SAFETY: an encoder is dropped here only, once, and not used any more.
        unsafe { ManuallyDrop::drop(&mut self.encoder) }
    }
}

impl VideoEncoder {
    pub(crate) fn open(plan: &Plan, global_header: bool) -> Result<VideoEncoder> {
        let (options, info) = (&plan.options, &plan.info);
        let name = encoder_name(options.format.codec, info.width_px, info.height_px);
        let codec = ff::encoder::find_by_name(name).ok_or_else(|| {
            JobError::new(
                ErrorCode::RuntimeMissing,
                format!(
                    "This FFmpeg has no encoder `{name}`: install Debian's own FFmpeg packages with `infra/setup`."
                ),
            )
        })?;
        let fault = |e| internal("The video encoder did not open", e);
        let mut encoder = ff::codec::Context::new_with_codec(codec).encoder().video().map_err(fault)?;
        encoder.set_width(info.width_px);
        encoder.set_height(info.height_px);
        encoder.set_format(plan.pixels);
        encoder.set_time_base(info.time_base);
        encoder.set_frame_rate(Some(info.frame_rate));
        encoder.set_aspect_ratio(info.sample_aspect);
        ffi::set_codec_colour(&mut encoder, plan.colour.into());
        if global_header {
            encoder.set_flags(ff::codec::Flags::GLOBAL_HEADER);
        }
        encoder.set_threading(ff::threading::Config {
            kind: ff::threading::Type::Frame,
            count: options.threads.clamp(1, 64),
            ..Default::default()
        });
        let settings = settings(name, plan);
        let _turn = turn();
        // What does not open is closed inside, in the same turn.
        let encoder = ManuallyDrop::new(encoder.open_with(settings).map_err(fault)?);
        Ok(VideoEncoder { encoder, codec })
    }

    pub(crate) fn context(&self) -> &ff::encoder::video::Encoder {
        &self.encoder
    }

    /// Gives it a frame; take packets afterwards.
    pub(crate) fn send(&mut self, frame: &mut Frame) -> Result<()> {
        // A decoded frame's type would be forced on the encoder.
        frame.inner_mut().set_kind(ff::picture::Type::None);
        self.encoder.send_frame(frame.inner()).map_err(|e| internal("The video encoder refused a frame", e))
    }

    /// Says that there are no more frames; take packets afterwards.
    pub(crate) fn end(&mut self) -> Result<()> {
        self.encoder.send_eof().map_err(|e| internal("The video encoder could not be drained", e))
    }

    /// The next packet, `None` when it wants more frames or is drained.
    pub(crate) fn packet(&mut self) -> Result<Option<ff::Packet>> {
        let mut packet = ff::Packet::empty();
        match self.encoder.receive_packet(&mut packet) {
            Ok(()) => Ok(Some(packet)),
            Err(ff::Error::Eof) => Ok(None),
            Err(e) if is_again(&e) => Ok(None),
            Err(e) => Err(internal("The video encoder failed", e)),
        }
    }
}
