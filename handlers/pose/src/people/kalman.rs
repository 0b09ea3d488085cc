//! Where a box will be: a filter of constant speed, after ByteTrack, each of centre and size for itself.

use glam::Vec2;

use super::bounds::Bounds;

/// Spread of a place and of a speed, as parts of the box's height (those of ByteTrack and SORT before it).
const PLACE: f32 = 1.0 / 20.0;
const SPEED: f32 = 1.0 / 160.0;
/// What is left of a speed after each frame in which nothing was seen.
const FADE: f32 = 0.9;

/// A number that changes, with how sure it is.
#[derive(Debug, Clone, Copy)]
struct Axis {
    value: f32,
    rate: f32,
    /// Variances of value and rate, and between them their covariance.
    spread: [f32; 3],
}

impl Axis {
    fn new(value: f32, unit: f32) -> Axis {
        let (place, speed) = (2.0 * PLACE * unit, 10.0 * SPEED * unit);
        Axis { value, rate: 0.0, spread: [place * place, 0.0, speed * speed] }
    }

    fn predict(&mut self, unit: f32) {
        let (place, speed) = (PLACE * unit, SPEED * unit);
        self.value += self.rate;
        let [a, b, c] = self.spread;
        self.spread = [a + 2.0 * b + c + place * place, b + c, c + speed * speed];
    }

    fn correct(&mut self, seen: f32, unit: f32) {
        let [a, b, c] = self.spread;
        let noise = (PLACE * unit).powi(2);
        let (gain, rate_gain) = (a / (a + noise), b / (a + noise));
        let error = seen - self.value;
        self.value += gain * error;
        self.rate += rate_gain * error;
        self.spread = [(1.0 - gain) * a, (1.0 - gain) * b, c - rate_gain * b];
    }
}

/// A box that moves.
#[derive(Debug, Clone, Copy)]
pub struct Motion {
    centre: [Axis; 2],
    size: [Axis; 2],
}

impl Motion {
    /// One that was seen for the first time.
    pub fn new(bounds: &Bounds) -> Motion {
        let (centre, size) = (bounds.centre(), bounds.size());
        let axis = |value: f32| Axis::new(value, size.y);
        Motion { centre: [axis(centre.x), axis(centre.y)], size: [axis(size.x), axis(size.y)] }
    }

    /// A frame later; `seen` tells whether it was seen in the one before.
    pub fn predict(&mut self, seen: bool) {
        let unit = self.size[1].value.max(1.0);
        for axis in self.centre.iter_mut().chain(&mut self.size) {
            if !seen {
                axis.rate *= FADE;
            }
            axis.predict(unit);
        }
        for axis in &mut self.size {
            axis.value = axis.value.max(1.0);
        }
    }

    /// It was seen here.
    pub fn correct(&mut self, bounds: &Bounds) {
        let unit = self.size[1].value.max(1.0);
        let (centre, size) = (bounds.centre(), bounds.size());
        for (axis, seen) in self.centre.iter_mut().zip(centre.to_array()) {
            axis.correct(seen, unit);
        }
        for (axis, seen) in self.size.iter_mut().zip(size.to_array()) {
            axis.correct(seen, unit);
        }
    }

    /// Where it is thought to be.
    pub fn bounds(&self) -> Bounds {
        let vector = |axes: &[Axis; 2]| Vec2::new(axes[0].value, axes[1].value);
        let (centre, half) = (vector(&self.centre), vector(&self.size) / 2.0);
        Bounds { min: centre - half, max: centre + half }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_steady_walk_is_foreseen_and_dies_away_unseen() {
        let at = |x: f32| Bounds { min: Vec2::new(x, 0.0), max: Vec2::new(x + 40.0, 100.0) };
        let mut motion = Motion::new(&at(0.0));
        for frame in 1..40u8 {
            motion.predict(true);
            motion.correct(&at(3.0 * f32::from(frame)));
        }
        motion.predict(true);
        assert!((motion.bounds().min.x - 120.0).abs() < 2.0, "{:?}", motion.bounds());
        for _ in 0..100 {
            motion.predict(false);
        }
        // 3 pixels a frame, each time 0.9 of that: 27 more.
        assert!((motion.bounds().min.x - 147.0).abs() < 4.0, "{:?}", motion.bounds());
    }
}
