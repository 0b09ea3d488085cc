//! The square of the picture that a landmark model looks at.

use std::f32::consts::FRAC_PI_2;

use darkroom_media::colour::Affine;
use glam::{Mat2, Vec2};

use super::bounds::Bounds;

/// How much larger a square is than what it should show, as in MediaPipe's `pose_landmarks_to_roi`.
const MARGIN: f32 = 1.25;

/// A turned square.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Roi {
    /// Its middle, in pixels of the picture.
    pub centre: Vec2,
    /// Its side in pixels.
    pub side: f32,
    /// By how much it is turned clockwise: at 0, the person's head is up.
    pub angle: f32,
}

impl Roi {
    /// Around a person of whom two points are known: the middle of the hips, and one as far from it as the body reaches, in
    /// the direction of the head.
    pub fn from_points(hips: Vec2, reach: Vec2) -> Roi {
        let towards = reach - hips;
        Roi { centre: hips, side: 2.0 * MARGIN * towards.length(), angle: FRAC_PI_2 - (-towards.y).atan2(towards.x) }
    }

    /// Around a box, with the head in a direction.
    pub fn around(bounds: &Bounds, angle: f32) -> Roi {
        Roi { centre: bounds.centre(), side: MARGIN * bounds.size().max_element(), angle }
    }

    /// From a crop of `pixels` columns and rows to the picture.
    #[allow(clippy::cast_precision_loss, reason = "hundreds")]
    pub fn to_picture(&self, pixels: usize) -> Affine {
        let scale = self.side / pixels as f32;
        let (turn, half) = (self.turn() * scale, pixels as f32 / 2.0);
        let start = self.centre - turn * Vec2::splat(half);
        Affine { x: [turn.x_axis.x, turn.y_axis.x, start.x], y: [turn.x_axis.y, turn.y_axis.y, start.y] }
    }

    /// Turns directions of the crop into directions of the picture.
    pub fn turn(&self) -> Mat2 {
        Mat2::from_angle(self.angle)
    }

    /// The upright box of the square without its margin.
    pub fn bounds(&self) -> Bounds {
        let half = Vec2::splat(self.side / 2.0 / MARGIN);
        Bounds { min: self.centre - half, max: self.centre + half }
    }

    /// Whether a model can look at it: of some size, not far outside a picture of that size, of numbers that are numbers.
    pub fn is_usable(&self, size: Vec2) -> bool {
        let reach = self.side / 2.0;
        let near = self.centre.cmpgt(Vec2::splat(-reach)).all() && self.centre.cmplt(size + reach).all();
        self.angle.is_finite() && self.side >= 8.0 && self.side < 8.0 * size.max_element() && near
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_square_stands_on_the_hips_and_looks_to_the_head() {
        let upright = Roi::from_points(Vec2::new(100.0, 200.0), Vec2::new(100.0, 120.0));
        assert!(upright.angle.abs() < 1e-6 && (upright.side - 200.0).abs() < 1e-3);
        // Head to the right: the crop is turned clockwise by a quarter.
        let lying = Roi::from_points(Vec2::new(100.0, 200.0), Vec2::new(180.0, 200.0));
        assert!((lying.angle - FRAC_PI_2).abs() < 1e-6);
        let map = lying.to_picture(256);
        let at =
            |u: f32, v: f32| Vec2::new(map.x[0] * u + map.x[1] * v + map.x[2], map.y[0] * u + map.y[1] * v + map.y[2]);
        assert!((at(128.0, 128.0) - Vec2::new(100.0, 200.0)).length() < 1e-3);
        assert!((at(128.0, 0.0) - Vec2::new(200.0, 200.0)).length() < 1e-3, "the crop's top is the picture's right");
        assert!((at(256.0, 128.0) - Vec2::new(100.0, 300.0)).length() < 1e-3);
    }

    #[test]
    fn squares_that_show_nothing_are_not_used() {
        let size = Vec2::new(640.0, 360.0);
        let roi = |x: f32, side: f32| Roi { centre: Vec2::new(x, 100.0), side, angle: 0.0 };
        assert!(roi(300.0, 200.0).is_usable(size) && roi(-50.0, 200.0).is_usable(size));
        assert!(!roi(-150.0, 200.0).is_usable(size) && !roi(f32::NAN, 200.0).is_usable(size));
        assert!(!roi(300.0, 1.0).is_usable(size) && !roi(300.0, 1e9).is_usable(size));
    }
}
