//! What finds people in a whole picture.

use darkroom_api::Result;
use darkroom_media::Frame;
use darkroom_media::colour::Sampler;
use glam::Vec2;

use super::bounds::Bounds;
use super::roi::Roi;

/// A person, perhaps.
#[derive(Debug, Clone, PartialEq)]
pub struct Candidate {
    /// How sure the detector is, 0 to 1.
    pub score: f32,
    /// Where.
    pub bounds: Bounds,
    /// Squares to look at, likeliest first.
    pub regions: Vec<Roi>,
}

/// Finds people in a picture.
pub trait Detector: Send {
    /// Candidates, surest first, at most a hundred.
    ///
    /// # Errors
    /// Those of the model and of frames that cannot be read.
    fn detect(&mut self, frame: &Frame) -> Result<Vec<Candidate>>;
}

/// More than this no detector tells: what comes after is less sure than all of them.
pub const MAX_CANDIDATES: usize = 100;

/// A whole picture inside another of fixed size, its shape kept.
pub struct Letterbox {
    sampler: Sampler,
    small: Vec<f32>,
    /// `[3, height, width]`, of whatever range the model wants.
    pub picture: Vec<f32>,
}

/// How pixels of a letterbox belong to those of the frame: `frame = (boxed - offset) * scale`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Placed {
    /// Where the frame's upper left corner is.
    pub offset: Vec2,
    /// Pixels of the frame for each of the letterbox.
    pub scale: f32,
}

impl Placed {
    /// A point of the letterbox in the frame.
    pub fn in_frame(&self, point: Vec2) -> Vec2 {
        (point - self.offset) * self.scale
    }
}

impl Letterbox {
    /// One of no size yet.
    pub fn new() -> Letterbox {
        Letterbox { sampler: Sampler::new(), small: Vec::new(), picture: Vec::new() }
    }

    /// Puts a frame into a picture of `width` and `height`, in the middle or in the upper left corner, and turns each value, of
    /// a channel and 0 to 1, into what the model wants. Around it is black.
    ///
    /// # Errors
    /// As [`Sampler::shrink`].
    #[allow(clippy::cast_precision_loss, reason = "sides of pictures")]
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "at most the letterbox's side")]
    pub fn fill(
        &mut self,
        frame: &Frame,
        (width, height): (usize, usize),
        centred: bool,
        value: impl Fn(usize, f32) -> f32,
    ) -> Result<Placed> {
        let (w, h) = (frame.width() as f32, frame.height() as f32);
        let scale = (w / width as f32).max(h / height as f32);
        let side = |side: f32, most: usize| ((side / scale).round() as usize).clamp(1, most);
        let (columns, rows) = (side(w, width), side(h, height));
        self.small.resize(3 * columns * rows, 0.0);
        self.sampler.shrink(frame, columns, &mut self.small)?;
        let (left, top) = if centred { ((width - columns) / 2, (height - rows) / 2) } else { (0, 0) };
        self.picture.clear();
        for channel in 0..3 {
            self.picture.resize((channel + 1) * width * height, value(channel, 0.0));
        }
        for (index, line) in self.small.chunks_exact(columns).enumerate() {
            let (channel, row) = (index / rows, index % rows);
            let start = (channel * height + top + row) * width + left;
            for (to, from) in self.picture[start..start + columns].iter_mut().zip(line) {
                *to = value(channel, *from);
            }
        }
        Ok(Placed { offset: Vec2::new(left as f32, top as f32), scale })
    }
}
