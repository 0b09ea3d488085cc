//! Frames that were there before, and frames that begin something new.

use darkroom_api::Result;
use darkroom_media::Frame;

use crate::tiles::Picture;

/// Points of a frame that are compared with those of the frame before.
const GRID: usize = 48;
/// Mean difference of the points from which on a frame begins a scene.
const CUT: f32 = 0.12;

/// Looks at frames as they come.
#[derive(Default)]
pub struct Repeats {
    last: Option<Frame>,
    points: Vec<f32>,
    /// Frames that equal the one before, pixel for pixel.
    pub repeated: u64,
    /// Frames that begin a scene.
    pub cuts: u64,
}

impl Repeats {
    /// Whether a frame equals the one before.
    ///
    /// # Errors
    /// `internal` where there is no memory for it.
    pub fn repeats(&mut self, frame: &Frame) -> Result<bool> {
        if self.last.as_ref().is_some_and(|last| last.same_pixels(frame)) {
            self.repeated += 1;
            return Ok(true);
        }
        self.last = Some(frame.share()?);
        Ok(false)
    }

    /// Compares a new frame's picture with the one before.
    pub fn see(&mut self, picture: &Picture) {
        let points: Vec<f32> = (0..GRID * GRID)
            .flat_map(|index| {
                let (x, y) = (index % GRID * picture.width / GRID, index / GRID * picture.height / GRID);
                picture.planes().map(move |plane| plane[y * picture.width + x]).collect::<Vec<_>>()
            })
            .collect();
        if self.points.len() == points.len() {
            let sum: f32 = points.iter().zip(&self.points).map(|(a, b)| (a - b).abs()).sum();
            #[allow(clippy::cast_precision_loss, reason = "a small number")]
            let mean = sum / points.len() as f32;
            self.cuts += u64::from(mean > CUT);
        }
        self.points = points;
    }
}
