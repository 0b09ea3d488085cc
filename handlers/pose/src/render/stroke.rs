//! Lines and discs with soft edges.

use std::ops::Range;

use glam::{Vec2, Vec3};

use super::simd::unit;

/// A thick line with round ends; a disc where both ends are the same.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Stroke {
    /// One end, in pixels.
    pub from: Vec2,
    /// The other.
    pub to: Vec2,
    /// Half of its width, in pixels.
    pub radius_px: f32,
    /// Red, green, blue of 0 to 1.
    pub colour: Vec3,
    /// How much of the picture it covers, 0 to 1.
    pub opacity: f32,
}

/// Strokes with an end farther out than this are not drawn: they are of a failed fit.
const FAR_PX: f32 = 1e6;

impl Stroke {
    /// Whether there is something to be drawn, and arithmetic on it is safe.
    pub(super) fn is_sane(&self) -> bool {
        let finite = self.from.is_finite() && self.to.is_finite() && self.colour.is_finite();
        let near = || self.from.abs().max(self.to.abs()).max_element() < FAR_PX;
        finite && near() && self.radius_px > 0.0 && self.radius_px < FAR_PX && self.opacity > 0.0
    }

    /// Share of the pixel around a point that it covers, times its opacity: one pixel from full to none.
    #[inline(always)]
    pub(super) fn coverage(&self, x: f32, y: f32) -> f32 {
        let (along_x, along_y) = (self.to.x - self.from.x, self.to.y - self.from.y);
        let (x, y) = (x - self.from.x, y - self.from.y);
        let length = (along_x * along_x + along_y * along_y).max(1e-12);
        let share = unit((x * along_x + y * along_y) / length);
        let (x, y) = (x - share * along_x, y - share * along_y);
        let distance = (x * x + y * y).sqrt();
        unit(self.radius_px + 0.5 - distance) * self.opacity.min(1.0)
    }

    /// Columns and rows of a tile at `corner` that it may touch.
    pub(super) fn pixels_in(&self, corner: [f32; 2], tile: usize) -> (Range<usize>, Range<usize>) {
        let reach = self.radius_px + 0.5;
        let range = |a: f32, b: f32, corner: f32| {
            // Casts saturate: what lies before the tile begins at its first pixel.
            let from = ((a.min(b) - reach - corner).floor() as usize).min(tile);
            let to = ((a.max(b) + reach - corner).ceil() as usize).min(tile);
            from..to.max(from)
        };
        (range(self.from.x, self.to.x, corner[0]), range(self.from.y, self.to.y, corner[1]))
    }

    /// Columns and rows of tiles that the rectangle around it lies in, of so many.
    pub(super) fn tiles(&self, tile: usize, count: [usize; 2]) -> (Range<usize>, Range<usize>) {
        let (columns, rows) = self.pixels_in([0.0, 0.0], tile * count[0].max(count[1]));
        let tiles = |pixels: Range<usize>, count: usize| pixels.start / tile..pixels.end.div_ceil(tile).min(count);
        (tiles(columns, count[0]), tiles(rows, count[1]))
    }

    /// Whether it may touch a tile at `corner`.
    pub(super) fn touches(&self, corner: [usize; 2], tile: usize) -> bool {
        let corner = [corner[0] as f32, corner[1] as f32];
        let (columns, rows) = self.pixels_in(corner, tile);
        if columns.is_empty() || rows.is_empty() {
            return false;
        }
        // Of a long slanted line most of the tiles in its rectangle are far away.
        let half = tile as f32 / 2.0;
        let wide = Stroke { radius_px: self.radius_px + half * std::f32::consts::SQRT_2, opacity: 1.0, ..*self };
        wide.coverage(corner[0] + half, corner[1] + half) > 0.0
    }
}
