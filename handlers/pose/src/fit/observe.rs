//! What a picture's landmarks say, without the numbers that say nothing.

use glam::{DMat3, DVec2, DVec3};

use super::analytic::World;
use super::problem::{NEAREST, Problem};
use super::rig::{POINTS, Rig};
use crate::view::{Camera, Landmarks};

/// Beyond this nothing is a pixel, or a metre of a person.
const MOST_PIXELS: f32 = 1e6;
const MOST_METRES: f32 = 100.0;
/// Fewer landmarks in the picture do not tell where a person is.
const LEAST_SEEN: usize = 6;
/// An unseen landmark is a guess of the network's, and counts a little.
const GUESSED: f32 = 0.02;
/// Pairs of landmarks whose direction in space is fitted.
const WAYS: [(usize, usize); 12] = [
    (11, 13),
    (13, 15),
    (12, 14),
    (14, 16),
    (23, 25),
    (25, 27),
    (24, 26),
    (26, 28),
    (11, 12),
    (23, 24),
    (29, 31),
    (30, 32),
];

/// Landmarks in space that are numbers of a person's size.
pub fn world(landmarks: &Landmarks) -> World {
    landmarks.world.map(|p| (p.abs().max_element() < MOST_METRES && p.is_finite()).then(|| p.as_dvec3()))
}

/// What is to be fitted; none where too little is seen, or it has no extent.
pub fn problem<'a>(rig: &'a Rig, landmarks: &Landmarks, camera: &Camera, free: usize) -> Option<Problem<'a>> {
    let fine = |p: &glam::Vec2| p.is_finite() && p.abs().max_element() < MOST_PIXELS;
    let (mut low, mut high) = (DVec2::INFINITY, DVec2::NEG_INFINITY);
    for point in landmarks.image.iter().filter(|p| fine(p)) {
        (low, high) = (low.min(point.as_dvec2()), high.max(point.as_dvec2()));
    }
    let size = (high - low).max_element();
    let focal = f64::from(camera.focal_px);
    let whole = |length: f64| length.is_finite() && length > 1.0;
    if !whole(size) || !whole(focal) || !camera.centre_px.is_finite() {
        return None;
    }
    let mut seen = Vec::with_capacity(POINTS);
    for (index, point) in rig.points.iter().enumerate() {
        let (at, visible) = (landmarks.image[point.landmark], landmarks.visibility[point.landmark]);
        if fine(&at) && !visible.is_nan() {
            seen.push((index, at.as_dvec2(), f64::from(visible.clamp(GUESSED, 1.0))));
        }
    }
    if seen.len() < LEAST_SEEN {
        return None;
    }
    let world = world(landmarks);
    let way = |(from, to): &(usize, usize)| {
        let way = super::geometry::unit(world[*to]? - world[*from]?)?;
        Some((rig.point(*from)?, rig.point(*to)?, way))
    };
    let ways = WAYS.iter().filter_map(way).collect();
    Some(Problem { rig, focal, centre: camera.centre_px.as_dvec2(), size, seen, ways, free })
}

/// Where the pelvis must be for the points to be seen where they are: a linear problem, for a point's ray tells two of its
/// coordinates by the third. In front of the camera in any case.
pub fn place(problem: &Problem<'_>, points: &[DVec3; POINTS]) -> Option<DVec3> {
    let (mut matrix, mut right) = (DMat3::ZERO, DVec3::ZERO);
    for (point, seen, visible) in &problem.seen {
        let (at, ray) = (points[*point], (seen - problem.centre) / problem.focal);
        for axis in 0..2 {
            let row = (if axis == 0 { DVec3::X } else { DVec3::Y } - DVec3::Z * ray[axis]) * *visible;
            let wanted = (ray[axis] * at.z - at[axis]) * visible;
            matrix += DMat3::from_cols(row * row.x, row * row.y, row * row.z);
            right += row * wanted;
        }
    }
    let solved = (matrix.determinant().abs() > 1e-12).then(|| matrix.inverse() * right);
    let nearest = points.iter().map(|p| p.z).fold(f64::INFINITY, f64::min);
    let least = 4.0 * NEAREST - nearest;
    let place = match solved {
        Some(place) if place.is_finite() && place.z > least => place,
        // The rays contradict each other: as far away as the size tells, in the middle of what is seen.
        _ => {
            let tall = points.iter().map(|p| p.y).fold(f64::NEG_INFINITY, f64::max)
                - points.iter().map(|p| p.y).fold(f64::INFINITY, f64::min);
            let far = (tall.max(0.5) * problem.focal / problem.size).max(least);
            let count = u32::try_from(problem.seen.len()).ok()?;
            let middle = problem.seen.iter().map(|(_, at, _)| *at).sum::<DVec2>() / f64::from(count);
            ((middle - problem.centre) / problem.focal * far).extend(far)
        }
    };
    place.is_finite().then_some(place)
}
