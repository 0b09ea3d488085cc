//! What a good fit is: residuals of a pose against landmarks, and their derivatives.
//!
//! The parameters of a step are rotations of the turned bones about their own axes (57), the place of the pelvis (3) and
//! logarithms of lengths (8). The residuals are landmarks in the picture (a pseudo-Huber function of their distance), directions
//! between landmarks in space, and how far the pose has moved from where the fit began.

use glam::{DMat3, DQuat, DVec2, DVec3};

use super::rig::{ACTIVE, BONES, POINTS, Rig, SCALES};
use super::slopes::Motion;

/// Where the place of the pelvis begins among the parameters.
pub const PLACE: usize = 3 * ACTIVE;
/// Where the lengths begin.
pub const LENGTHS: usize = PLACE + 3;
/// How many parameters there are.
pub const PARAMETERS: usize = LENGTHS + SCALES;
/// Residual of a landmark that is off by the size of the person.
const PICTURE: f64 = 40.0;
/// Residual of a direction that is off by a radian.
const DIRECTION: f64 = 2.5;
/// Residual of a bone that is turned by its ordinary correction.
const TURNED: f64 = 0.7;
/// Residual of a length that is e times too long.
const STRETCHED: f64 = 6.0;
/// Nearer to the camera than this, in metres, nothing is fitted.
pub const NEAREST: f64 = 0.05;

/// A pose in the making.
#[derive(Debug, Clone)]
pub struct State {
    /// Turns of the bones against their parents.
    pub locals: [DMat3; BONES],
    /// Sums of the steps' rotations.
    pub moved: [DVec3; ACTIVE],
    /// Where the pelvis begins.
    pub place: DVec3,
    /// Logarithms.
    pub lengths: [f64; SCALES],
}

impl State {
    /// The state after a step.
    pub fn stepped(&self, rig: &Rig, step: &[f64; PARAMETERS]) -> State {
        let mut next = self.clone();
        for (bone, active) in rig.active.iter().enumerate() {
            let Some(active) = *active else { continue };
            let turn = DVec3::from_slice(&step[3 * active..]);
            next.locals[bone] *= DMat3::from_quat(DQuat::from_scaled_axis(turn));
            next.moved[active] += turn;
        }
        next.place += DVec3::from_slice(&step[PLACE..]);
        for (length, step) in next.lengths.iter_mut().zip(&step[LENGTHS..]) {
            *length += step;
        }
        next
    }
}

/// What is given, and the scales of its residuals.
#[derive(Debug)]
pub struct Problem<'a> {
    /// The bones.
    pub rig: &'a Rig,
    /// Focal length in pixels.
    pub focal: f64,
    /// Where the optical axis meets the picture.
    pub centre: DVec2,
    /// Size of the person in pixels.
    pub size: f64,
    /// Indices of points, where they are seen, and how much that counts.
    pub seen: Vec<(usize, DVec2, f64)>,
    /// Pairs of points, and the direction from the first to the second.
    pub ways: Vec<(usize, usize, DVec3)>,
    /// Parameters that are free: the lengths are last, and may be held.
    pub free: usize,
}

/// Takes residuals, and their derivatives if it wants them.
pub trait Rows {
    /// Whether derivatives are wanted; where not, `columns` is empty.
    const DERIVATIVES: bool;
    /// A residual, the weight of its square, and its derivatives at some of the columns, which ascend.
    fn row(&mut self, residual: f64, weight: f64, columns: &[usize], derivatives: &[f64; PARAMETERS]);
}

/// Where bones and points are, and how they move.
pub struct Posed {
    /// From the rest pose.
    pub turns: [DMat3; BONES],
    /// Against the pelvis.
    pub heads: [DVec3; BONES],
    /// From the parent's head.
    pub ways: [DVec3; BONES],
    /// Against the pelvis.
    pub points: [DVec3; POINTS],
}

impl Problem<'_> {
    /// Forward kinematics of a state.
    pub fn posed(&self, state: &State) -> Posed {
        let zero = [DVec3::ZERO; BONES];
        let mut posed = Posed { turns: state.locals, heads: zero, ways: zero, points: [DVec3::ZERO; POINTS] };
        for bone in 1..BONES {
            let parent = Rig::parent(bone);
            let factor = Rig::scale(bone).map_or(1.0, |scale| state.lengths[scale].exp());
            posed.ways[bone] = posed.turns[parent] * ((self.rig.heads[bone] - self.rig.heads[parent]) * factor);
            posed.heads[bone] = posed.heads[parent] + posed.ways[bone];
            posed.turns[bone] = posed.turns[parent] * state.locals[bone];
        }
        posed.points = self.rig.points.map(|point| posed.heads[point.bone] + posed.turns[point.bone] * point.offset);
        posed
    }

    /// Mean distance in the picture by visibility, as a share of the person's size; `points` are against the pelvis.
    pub fn error(&self, points: &[DVec3; POINTS], place: DVec3) -> f64 {
        let (mut sum, mut weights) = (0.0, 0.0);
        for (point, seen, visible) in &self.seen {
            let at = points[*point] + place;
            sum += visible * (at.truncate() / at.z * self.focal + self.centre).distance(*seen);
            weights += visible;
        }
        sum / weights / self.size
    }

    /// Hands all residuals over and returns the cost: the sum of their squares, robust in the picture; infinite where
    /// something is not before the camera.
    pub fn rows<R: Rows>(&self, state: &State, rows: &mut R) -> f64 {
        let posed = self.posed(state);
        let motion = if R::DERIVATIVES { self.motion(&posed) } else { vec![] };
        let cost = self.picture(state, &posed, &motion, rows);
        cost + self.directions(&posed, &motion, rows) + self.priors(state, rows)
    }

    fn picture<R: Rows>(&self, state: &State, posed: &Posed, motion: &[Motion], rows: &mut R) -> f64 {
        let mut cost = 0.0;
        let mut derivatives = [0.0; PARAMETERS];
        for (point, seen, visible) in &self.seen {
            let at = posed.points[*point] + state.place;
            if at.z.is_nan() || at.z <= NEAREST {
                return f64::INFINITY;
            }
            let scale = PICTURE / self.size * visible;
            let off = (at.truncate() / at.z * self.focal + self.centre - seen) * scale;
            let root = (1.0 + off.length_squared()).sqrt();
            cost += 2.0 * (root - 1.0);
            for axis in 0..2 {
                let mut columns = &[][..];
                if let Some(motion) = motion.get(*point) {
                    // The place moves every point, and stands between turns and lengths.
                    columns = &motion.seen;
                    let slope = |way: DVec3| (way[axis] - at[axis] / at.z * way.z) / at.z * self.focal * scale;
                    motion.seen.iter().for_each(|c| derivatives[*c] = slope(motion.ways[*c]));
                }
                rows.row(off[axis], 1.0 / root, columns, &derivatives);
            }
        }
        cost
    }

    fn directions<R: Rows>(&self, posed: &Posed, motion: &[Motion], rows: &mut R) -> f64 {
        let mut cost = 0.0;
        let mut derivatives = [0.0; PARAMETERS];
        let mut columns = Vec::new();
        for (from, to, should) in &self.ways {
            let way = posed.points[*to] - posed.points[*from];
            let length = way.length().max(1e-6);
            let is = way / length;
            let off = (is - should) * DIRECTION;
            cost += off.length_squared();
            let mut slopes = [DVec3::ZERO; PARAMETERS];
            if let (Some(from), Some(to)) = (motion.get(*from), motion.get(*to)) {
                columns = (0..self.free).filter(|c| from.moves[*c] || to.moves[*c]).collect();
                for column in &columns {
                    let moved = to.ways[*column] - from.ways[*column];
                    slopes[*column] = (moved - is * is.dot(moved)) / length * DIRECTION;
                }
            }
            for axis in 0..3 {
                columns.iter().for_each(|c| derivatives[*c] = slopes[*c][axis]);
                rows.row(off[axis], 1.0, &columns, &derivatives);
            }
        }
        cost
    }

    fn priors<R: Rows>(&self, state: &State, rows: &mut R) -> f64 {
        let mut cost = 0.0;
        let mut derivatives = [0.0; PARAMETERS];
        let mut prior = |column: usize, value: f64, slope: f64| {
            derivatives[column] = slope;
            cost += (value * slope).powi(2);
            rows.row(
                value * slope,
                1.0,
                if R::DERIVATIVES { std::slice::from_ref(&column) } else { &[] },
                &derivatives,
            );
        };
        for (bone, active) in self.rig.active.iter().enumerate() {
            let Some(active) = *active else { continue };
            for axis in 0..3 {
                prior(3 * active + axis, state.moved[active][axis], TURNED / Rig::prior(bone));
            }
        }
        for (scale, length) in state.lengths.iter().enumerate().take(self.free.saturating_sub(LENGTHS)) {
            prior(LENGTHS + scale, *length, STRETCHED);
        }
        cost
    }
}
