//! How landmarks move with the parameters of a step: turns about a bone's own axes carry what hangs on it round its head,
//! a length moves what hangs on it along the bone.

use glam::DVec3;

use super::problem::{LENGTHS, PARAMETERS, PLACE, Posed, Problem};
use super::rig::{Point, Rig};

/// How a point moves with each parameter.
pub struct Motion {
    /// Metres for a unit of each.
    pub ways: [DVec3; PARAMETERS],
    /// Which parameters move it, the place aside: that moves all alike, and no direction.
    pub moves: [bool; PARAMETERS],
    /// Columns of its residuals in the picture.
    pub seen: Vec<usize>,
}

impl Motion {
    fn set(&mut self, column: usize, way: DVec3) {
        self.ways[column] += way;
        self.moves[column] = true;
    }
}

impl Problem<'_> {
    /// How each point moves with each parameter.
    pub(super) fn motion(&self, posed: &Posed) -> Vec<Motion> {
        let motion = |(place, at): (&Point, &DVec3)| {
            let mut motion = Motion { ways: [DVec3::ZERO; PARAMETERS], moves: [false; PARAMETERS], seen: vec![] };
            let mut bone = place.bone;
            loop {
                if let Some(active) = self.rig.active[bone] {
                    for axis in 0..3 {
                        motion.set(3 * active + axis, posed.turns[bone].col(axis).cross(*at - posed.heads[bone]));
                    }
                }
                if let Some(scale) = Rig::scale(bone).filter(|scale| LENGTHS + scale < self.free) {
                    motion.set(LENGTHS + scale, posed.ways[bone]);
                }
                if bone == 0 {
                    break;
                }
                bone = Rig::parent(bone);
            }
            motion.seen = (0..self.free).filter(|c| motion.moves[*c] || (PLACE..LENGTHS).contains(c)).collect();
            motion.ways[PLACE..LENGTHS].copy_from_slice(&DVec3::AXES);
            motion
        };
        self.rig.points.iter().zip(&posed.points).map(motion).collect()
    }
}
