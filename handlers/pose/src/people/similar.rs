//! How alike two poses are.

use glam::Vec2;

use crate::view::Landmarks;

/// How far annotators of COCO differ on a point, as a part of the person's size (`sigmas` of COCO's evaluation), and which of
/// our landmarks it is: nose, eyes, ears, shoulders, elbows, wrists, hips, knees, ankles.
const POINTS: [(usize, f32); 17] = [
    (0, 0.026),
    (2, 0.025),
    (5, 0.025),
    (7, 0.035),
    (8, 0.035),
    (11, 0.079),
    (12, 0.079),
    (13, 0.072),
    (14, 0.072),
    (15, 0.062),
    (16, 0.062),
    (23, 0.107),
    (24, 0.107),
    (25, 0.087),
    (26, 0.087),
    (27, 0.089),
    (28, 0.089),
];

/// COCO's object keypoint similarity of two poses of which the first is moved by `shift`: 0 to 1. `area` is the person's, in
/// pixels. Points count by how visible they are in both.
pub fn keypoint_similarity(a: &Landmarks, b: &Landmarks, shift: Vec2, area: f32) -> f32 {
    let (mut sum, mut total) = (0.0, 0.0);
    for (index, sigma) in POINTS {
        let weight = a.visibility[index].min(b.visibility[index]);
        let distance = (a.image[index] + shift).distance_squared(b.image[index]);
        let spread = 2.0 * sigma;
        sum += weight * (-distance / (2.0 * spread * spread * area.max(1.0))).exp();
        total += weight;
    }
    if total > 0.5 { sum / total } else { 0.0 }
}
