//! Poses that people take, by chance: for tests and measurements, so that each has a truth to be compared with.

use glam::{Quat, Vec3};

/// Numbers that look like chance, the same each time.
pub struct Chance(pub u64);

impl Chance {
    /// A number from `low` to `high`.
    pub fn between(&mut self, low: f32, high: f32) -> f32 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        low + (high - low) * ((self.0 >> 40) as f32 / (1 << 24) as f32)
    }

    /// A number of the normal distribution with mean 0 and deviation 1, nearly: the sum of twelve.
    pub fn normal(&mut self) -> f32 {
        (0..12).map(|_| self.between(-0.5, 0.5)).sum()
    }

    /// Three of them.
    pub fn normal3(&mut self) -> Vec3 {
        Vec3::new(self.normal(), self.normal(), self.normal())
    }

    fn vector(&mut self, x: f32, y: f32, z: f32) -> Vec3 {
        Vec3::new(self.between(-x, x), self.between(-y, y), self.between(-z, z))
    }
}

/// Rotations of bones against their parents; `elbow` is the axis of a bone's elbow at rest, positive to bend it more.
pub fn pose(chance: &mut Chance, elbow: impl Fn(&str) -> Vec3) -> Vec<(String, Quat)> {
    let mut turns = vec![("pelvis".to_owned(), chance.vector(0.3, 3.1, 0.3))];
    for name in ["spine_02", "spine_03"] {
        turns.push((name.to_owned(), chance.vector(0.25, 0.2, 0.2)));
    }
    turns.push(("neck_01".to_owned(), chance.vector(0.15, 0.2, 0.15)));
    turns.push(("head".to_owned(), chance.vector(0.15, 0.3, 0.15)));
    for side in ["l", "r"] {
        let mut turn = |name: &str, vector: Vec3| turns.push((format!("{name}_{side}"), vector));
        turn("clavicle", chance.vector(0.05, 0.1, 0.1));
        turn("upperarm", chance.vector(0.9, 0.9, 0.7));
        turn("lowerarm", elbow(&format!("lowerarm_{side}")) * chance.between(-0.4, 1.2));
        turn("hand", chance.vector(0.3, 0.3, 0.3));
        turn("thigh", Vec3::new(chance.between(-1.3, 0.3), chance.between(-0.3, 0.3), chance.between(-0.3, 0.3)));
        turn("calf", Vec3::X * chance.between(0.0, 1.6));
        turn("foot", chance.vector(0.3, 0.1, 0.1));
    }
    turns.into_iter().map(|(name, vector)| (name, Quat::from_scaled_axis(vector))).collect()
}
