//! Skeletons as strokes.

use glam::{Vec2, Vec3};

use super::stroke::Stroke;

/// Which half of the body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// The person's left.
    Left,
    /// The person's right.
    Right,
    /// Both.
    Middle,
}

/// A line between two points.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limb(pub usize, pub usize, pub Side);

/// Points and the lines between them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Skeleton {
    /// How many points there are.
    pub points: usize,
    /// The lines, those further back first.
    pub limbs: &'static [Limb],
}

use Side::{Left, Middle, Right};

/// The 33 points of BlazePose.
pub const BLAZEPOSE: Skeleton = Skeleton {
    points: 33,
    limbs: &[
        Limb(11, 12, Middle),
        Limb(23, 24, Middle),
        Limb(11, 23, Left),
        Limb(12, 24, Right),
        Limb(23, 25, Left),
        Limb(25, 27, Left),
        Limb(27, 29, Left),
        Limb(29, 31, Left),
        Limb(27, 31, Left),
        Limb(24, 26, Right),
        Limb(26, 28, Right),
        Limb(28, 30, Right),
        Limb(30, 32, Right),
        Limb(28, 32, Right),
        Limb(11, 13, Left),
        Limb(13, 15, Left),
        Limb(15, 17, Left),
        Limb(17, 19, Left),
        Limb(15, 19, Left),
        Limb(15, 21, Left),
        Limb(12, 14, Right),
        Limb(14, 16, Right),
        Limb(16, 18, Right),
        Limb(18, 20, Right),
        Limb(16, 20, Right),
        Limb(16, 22, Right),
        Limb(9, 10, Middle),
        Limb(0, 2, Left),
        Limb(2, 7, Left),
        Limb(0, 5, Right),
        Limb(5, 8, Right),
    ],
};

/// Points less sure than this are not drawn.
const LEAST_VISIBLE: f32 = 0.3;
/// Half of a line's width as a share of the skeleton's extent, and its bounds in pixels.
const RADIUS_SHARE: f32 = 0.006;
const RADIUS_PX: [f32; 2] = [1.25, 6.0];
/// How much wider the dark line under a line is, on either side.
const OUTLINE_PX: f32 = 1.0;
const OUTLINE: Vec3 = Vec3::new(0.05, 0.05, 0.06);

impl Side {
    /// Warm at the right, cold at the left.
    fn colour(self) -> Vec3 {
        match self {
            Left => Vec3::new(0.16, 0.68, 0.98),
            Right => Vec3::new(1.0, 0.55, 0.16),
            Middle => Vec3::new(0.93, 0.93, 0.93),
        }
    }
}

impl Skeleton {
    /// Adds one person's strokes. Points there are none of, or that are hardly visible (0 to 1), are left out with their
    /// lines.
    pub fn draw(&self, points: &[Vec2], visibility: &[f32], opacity: f32, strokes: &mut Vec<Stroke>) {
        let seen = |i: usize| {
            let point = points.get(i).copied().filter(|p| p.is_finite());
            point.filter(|_| visibility.get(i).is_some_and(|v| *v >= LEAST_VISIBLE))
        };
        let (mut low, mut high) = (Vec2::INFINITY, Vec2::NEG_INFINITY);
        for point in (0..self.points).filter_map(seen) {
            (low, high) = (low.min(point), high.max(point));
        }
        let extent = if low.x <= high.x { (high - low).length() } else { return };
        let radius_px = (extent * RADIUS_SHARE).clamp(RADIUS_PX[0], RADIUS_PX[1]);
        let limbs = || self.limbs.iter().filter_map(|l| Some((seen(l.0)?, seen(l.1)?, l.2)));
        for (from, to, _) in limbs() {
            strokes.push(Stroke { from, to, radius_px: radius_px + OUTLINE_PX, colour: OUTLINE, opacity });
        }
        for (from, to, side) in limbs() {
            strokes.push(Stroke { from, to, radius_px, colour: side.colour(), opacity });
        }
        for point in 0..self.points {
            // The later a limb stands in the list, the farther out it is.
            let limb = self.limbs.iter().rfind(|limb| limb.0 == point || limb.1 == point);
            if let (Some(at), Some(limb)) = (seen(point), limb) {
                let colour = limb.2.colour() * 0.5 + Vec3::splat(0.5);
                strokes.push(Stroke { from: at, to: at, radius_px: radius_px * 1.4, colour, opacity });
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_point_that_is_seen_has_its_disc_and_hidden_ones_have_nothing() {
        let skeleton = BLAZEPOSE;
        let points: Vec<Vec2> =
            (0..skeleton.points).map(|i| Vec2::new(i as f32 * 9.0, (i % 5) as f32 * 20.0)).collect();
        let mut visibility = vec![1.0; skeleton.points];
        let mut strokes = vec![];
        skeleton.draw(&points, &visibility, 0.5, &mut strokes);
        let named: Vec<usize> = skeleton.limbs.iter().flat_map(|l| [l.0, l.1]).collect();
        let joined = (0..skeleton.points).filter(|p| named.contains(p)).count();
        assert!(named.iter().all(|p| *p < skeleton.points));
        assert_eq!(strokes.len(), 2 * skeleton.limbs.len() + joined);

        // Without its left elbow an arm loses two lines.
        let elbow = 13;
        visibility[elbow] = 0.1;
        let mut fewer = vec![];
        skeleton.draw(&points, &visibility, 0.5, &mut fewer);
        assert_eq!(fewer.len(), strokes.len() - 5);
        assert!(fewer.iter().all(|s| s.from != points[elbow] && s.to != points[elbow]));
        let mut none = vec![];
        BLAZEPOSE.draw(&[Vec2::NAN; 33], &[1.0; 33], 1.0, &mut none);
        assert!(none.is_empty());
    }
}
