//! Pictures: references to FFmpeg's buffers, and the pool that output frames come from.

use std::sync::{Arc, Mutex, PoisonError};

use darkroom_api::Result;
use ffmpeg_next as ff;
use ffmpeg_next::format::Pixel;

use crate::error::internal;
use crate::{ColourTags, ffi};

/// One picture. Moving it moves a reference; the pixels stay where the decoder put them.
pub struct Frame(ff::frame::Video);

/// One plane of a frame for reading.
#[derive(Clone, Copy)]
pub struct Plane<'a> {
    /// Rows, `stride` bytes apart; the last one may end early.
    pub data: &'a [u8],
    /// Bytes from one row to the next.
    pub stride: usize,
}

/// One plane of a frame for writing.
#[derive(Debug)]
pub struct PlaneMut<'a> {
    /// Rows, `stride` bytes apart; the last one may end early.
    pub data: &'a mut [u8],
    /// Bytes from one row to the next.
    pub stride: usize,
}

impl Frame {
    /// A frame with unset pixels.
    ///
    /// # Errors
    /// `internal` when there is no memory for it.
    pub fn new(format: Pixel, width_px: u32, height_px: u32) -> Result<Frame> {
        ffi::allocate(format, width_px, height_px).map(Frame).map_err(|e| internal("A frame could not be allocated", e))
    }

    pub(crate) fn wrap(inner: ff::frame::Video) -> Frame {
        Frame(inner)
    }

    pub(crate) fn inner(&self) -> &ff::frame::Video {
        &self.0
    }

    pub(crate) fn inner_mut(&mut self) -> &mut ff::frame::Video {
        &mut self.0
    }

    /// Width in pixels.
    pub fn width(&self) -> u32 {
        self.0.width()
    }

    /// Height in pixels.
    pub fn height(&self) -> u32 {
        self.0.height()
    }

    /// Layout of the pixels.
    pub fn format(&self) -> Pixel {
        self.0.format()
    }

    /// When it is shown, in the video's time base.
    pub fn pts(&self) -> i64 {
        self.0.pts().unwrap_or(0)
    }

    /// Sets when it is shown.
    pub fn set_pts(&mut self, pts: i64) {
        self.0.set_pts(Some(pts));
    }

    /// How long it is shown in the video's time base, 0 where unknown.
    pub fn duration(&self) -> i64 {
        ffi::frame_duration(&self.0)
    }

    /// Colour tags.
    pub fn colour(&self) -> ColourTags {
        ffi::frame_colour(&self.0).into()
    }

    /// Sets the colour tags.
    pub fn set_colour(&mut self, colour: ColourTags) {
        ffi::set_frame_colour(&mut self.0, colour.into());
    }

    /// Whether format, size and all pixels are equal, of all planes. Ends at the first row that differs.
    pub fn same_pixels(&self, other: &Frame) -> bool {
        let shape = |f: &Frame| (f.format(), f.width(), f.height());
        if shape(self) != shape(other) {
            return false;
        }
        (0..4).all(|index| match (self.rows(index), other.rows(index)) {
            (Some(a), Some(b)) => a.eq(b),
            (None, None) => true,
            _ => false,
        })
    }

    /// The visible bytes of a plane, row by row.
    fn rows(&self, index: usize) -> Option<impl Iterator<Item = &[u8]>> {
        let (plane, row_bytes) = (self.plane(index)?, ffi::row_bytes(&self.0, index)?);
        Some(plane.data.chunks(plane.stride).map(move |row| &row[..row_bytes.min(row.len())]))
    }

    /// Whether nothing shows through a frame of 8-bit BGRA; `false` for other layouts.
    pub(crate) fn is_opaque(&self) -> bool {
        let opaque = |row: &[u8]| row.chunks_exact(4).all(|pixel| pixel[3] == u8::MAX);
        self.format() == Pixel::BGRA && self.rows(0).is_some_and(|mut rows| rows.all(opaque))
    }

    /// Bytes of pixels, for budgets.
    pub fn bytes(&self) -> u64 {
        frame_bytes(self.format(), self.width(), self.height())
    }

    /// A second reference to the same pixels; writing to either copies first.
    ///
    /// # Errors
    /// `internal` when there is no memory for it.
    pub fn share(&self) -> Result<Frame> {
        ffi::share(&self.0).map(Frame).map_err(|e| internal("A frame could not be shared", e))
    }

    /// A plane, `None` where the format has fewer.
    pub fn plane(&self, index: usize) -> Option<Plane<'_>> {
        ffi::plane(&self.0, index).map(|(data, stride)| Plane { data, stride })
    }

    /// A plane for writing, `None` where the format has fewer.
    pub fn plane_mut(&mut self, index: usize) -> Option<PlaneMut<'_>> {
        ffi::plane_mut(&mut self.0, index).map(|(data, stride)| PlaneMut { data, stride })
    }

    /// All planes for writing at once, in their order; fewer than four where the format has fewer.
    pub fn planes_mut(&mut self) -> Vec<PlaneMut<'_>> {
        let planes = ffi::planes_mut(&mut self.0);
        planes.into_iter().map(|(data, stride)| PlaneMut { data, stride }).collect()
    }
}

impl std::fmt::Debug for Frame {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Frame({:?} {}x{} pts {})", self.format(), self.width(), self.height(), self.pts())
    }
}

/// Bytes that a picture takes, by its format's bits a pixel.
pub(crate) fn frame_bytes(format: Pixel, width_px: u32, height_px: u32) -> u64 {
    let bits = format.descriptor().map_or(32, |d| d.bits_per_pixel());
    // Formats of more than 8 bits count their real bits, while samples take two bytes.
    let (depth, _) = ffi::component_depth(format);
    let stored =
        if depth > 8 { u64::from(bits.unsigned_abs()) * 16 / u64::from(depth) } else { bits.unsigned_abs().into() };
    (u64::from(width_px) * u64::from(height_px) * stored).div_ceil(8)
}

/// Frames of one kind that come back after use, so that a run allocates a handful in all. Clones share the pool.
#[derive(Clone)]
pub struct FramePool {
    format: Pixel,
    width_px: u32,
    height_px: u32,
    colour: ColourTags,
    free: Arc<Mutex<Vec<Frame>>>,
}

/// More than the frames that can be under way at once: what comes back beyond it is freed.
const POOL_FRAMES: usize = 16;

impl FramePool {
    /// A pool of frames of one kind.
    pub fn new(format: Pixel, width_px: u32, height_px: u32, colour: ColourTags) -> FramePool {
        FramePool { format, width_px, height_px, colour, free: Arc::default() }
    }

    /// A frame to be filled, with the colour tags of the pool.
    ///
    /// # Errors
    /// `internal` when there is no memory for it.
    pub fn take(&self) -> Result<Frame> {
        let mut free = self.free.lock().unwrap_or_else(PoisonError::into_inner);
        // An encoder with lookahead may still hold a frame that we gave back: such a one is left for later.
        if let Some(at) = free.iter_mut().position(|f| ffi::is_writable(&mut f.0)) {
            return Ok(free.swap_remove(at));
        }
        drop(free);
        let mut frame = Frame::new(self.format, self.width_px, self.height_px)?;
        frame.set_colour(self.colour);
        Ok(frame)
    }

    /// Gives a frame back.
    pub fn give(&self, frame: Frame) {
        let fits = frame.format() == self.format && (frame.width(), frame.height()) == (self.width_px, self.height_px);
        let mut free = self.free.lock().unwrap_or_else(PoisonError::into_inner);
        if fits && free.len() < POOL_FRAMES {
            free.push(frame);
        }
    }

    /// Bytes of one of its frames.
    pub fn frame_bytes(&self) -> u64 {
        frame_bytes(self.format, self.width_px, self.height_px)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pool_gives_the_same_pixels_again_but_never_shared_ones() {
        let pool = FramePool::new(Pixel::YUVA420P, 33, 17, ColourTags::default());
        let mut first = pool.take().unwrap();
        first.plane_mut(3).unwrap().data[0] = 7;
        let address = first.plane(0).unwrap().data.as_ptr();
        let held = first.share().unwrap();
        pool.give(first);
        let second = pool.take().unwrap();
        assert_ne!(second.plane(0).unwrap().data.as_ptr(), address, "somebody still reads these pixels");
        drop(held);
        assert_eq!(pool.take().unwrap().plane(0).unwrap().data.as_ptr(), address);
    }

    #[test]
    fn frames_are_equal_by_what_is_seen_of_all_planes() {
        let picture = || {
            let mut frame = Frame::new(Pixel::YUVA420P, 33, 17).unwrap();
            for index in 0..4 {
                frame.plane_mut(index).unwrap().data.fill(9);
            }
            frame
        };
        let (a, mut b) = (picture(), picture());
        // Behind each row's 33 samples lies padding that nobody sees.
        let stride = b.plane(0).unwrap().stride;
        assert!(stride > 33);
        b.plane_mut(0).unwrap().data[stride - 1] = 1;
        b.set_pts(77);
        assert!(a.same_pixels(&b) && b.same_pixels(&a));
        for (index, width) in [(0, 33), (1, 17), (2, 17), (3, 33)] {
            let mut c = picture();
            let last = c.plane(index).unwrap().stride + width - 1;
            c.plane_mut(index).unwrap().data[last] = 8;
            assert!(!a.same_pixels(&c), "plane {index}");
        }
        assert!(!a.same_pixels(&Frame::new(Pixel::YUV420P, 33, 17).unwrap()));
        assert!(!a.same_pixels(&Frame::new(Pixel::YUVA420P, 33, 18).unwrap()));
    }

    #[test]
    fn all_planes_are_written_at_once_and_other_references_do_not_see_it() {
        let mut frame = Frame::new(Pixel::YUVA420P, 33, 17).unwrap();
        (0..4).for_each(|index| frame.plane_mut(index).unwrap().data.fill(9));
        let before = frame.share().unwrap();
        let planes = frame.planes_mut();
        assert_eq!(planes.len(), 4);
        for (value, plane) in (1..).zip(planes) {
            plane.data.fill(value);
        }
        for index in 0..4 {
            assert!(frame.plane(index).unwrap().data.iter().all(|byte| usize::from(*byte) == index + 1));
            assert!(before.plane(index).unwrap().data.iter().all(|byte| *byte == 9));
        }
    }

    #[test]
    fn planes_have_the_size_of_their_subsampling() {
        let frame = Frame::new(Pixel::YUV420P, 33, 17).unwrap();
        let chroma = frame.plane(1).unwrap();
        assert_eq!(chroma.data.len(), chroma.stride * 8 + 17);
        assert!(frame.plane(3).is_none());
        assert_eq!(frame_bytes(Pixel::YUV420P, 4, 4), 24);
        assert_eq!(frame_bytes(Pixel::YUV420P10LE, 4, 4), 48);
    }
}
