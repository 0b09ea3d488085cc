//! One picture's fit.

use std::sync::Arc;

use darkroom_api::Result;
use glam::{DMat3, DVec3, Vec2, Vec3};

use super::analytic::analytic;
use super::observe;
use super::problem::{LENGTHS, PARAMETERS, State};
use super::rig::{ACTIVE, BONES, POINTS, Rig, SCALES};
use super::solve::solve;
use crate::body::Body;
use crate::view::{BodyPose, Camera, Landmarks};

/// Landmarks of the face and hand that have no place of their own on the body, and the one that stands in.
const STAND_INS: [(usize, usize); 10] =
    [(1, 0), (2, 0), (3, 7), (4, 0), (5, 0), (6, 8), (9, 0), (10, 0), (21, 19), (22, 20)];

/// Lengths of a person's limbs as factors of the body's: spine, upper arm, forearm, thigh, shin, shoulder, hip, neck.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Lengths(pub [f64; SCALES]);

impl Lengths {
    /// The body's own.
    pub const REST: Lengths = Lengths([1.0; SCALES]);

    /// The median of each, of the better half of some fits; none without fits.
    pub fn median<'a>(fits: impl IntoIterator<Item = &'a Fit>) -> Option<Lengths> {
        let mut fits: Vec<&Fit> = fits.into_iter().collect();
        fits.sort_by(|a, b| a.error.total_cmp(&b.error));
        fits.truncate(fits.len().div_ceil(2));
        let middle = |scale: usize| {
            let mut values: Vec<f64> = fits.iter().map(|fit| fit.lengths.0[scale]).collect();
            values.sort_by(f64::total_cmp);
            values[values.len() / 2]
        };
        (!fits.is_empty()).then(|| Lengths(std::array::from_fn(middle)))
    }
}

/// The pose found in a picture.
#[derive(Debug, Clone, PartialEq)]
pub struct Fit {
    /// The pose.
    pub pose: BodyPose,
    /// Lengths of the limbs.
    pub lengths: Lengths,
    /// How far landmarks of the pose are from those seen, on average by visibility, as a share of the person's size.
    pub error: f64,
    /// The same of the first pose, before it was improved.
    pub first_error: f64,
    /// Steps that were tried.
    pub steps: u32,
}

/// Fits one body; shared by threads.
#[derive(Debug, Clone)]
pub struct Fitter {
    pub(super) body: Arc<Body>,
    pub(super) rig: Rig,
}

impl Fitter {
    /// A fitter of a body.
    ///
    /// # Errors
    /// [`darkroom_api::ErrorCode::ModelInvalid`] for a body that lacks bones of the CC0 body.
    pub fn new(body: Arc<Body>) -> Result<Fitter> {
        Ok(Fitter { rig: Rig::new(&body)?, body })
    }

    /// The body.
    pub fn body(&self) -> &Body {
        &self.body
    }

    /// The pose that landmarks tell, with the lengths given or, without, with those that suit best. None where hips and
    /// shoulders are unknown, too few landmarks are seen, or they have no extent.
    pub fn fit(&self, landmarks: &Landmarks, camera: &Camera, lengths: Option<&Lengths>) -> Option<Fit> {
        let free = if lengths.is_some() { LENGTHS } else { PARAMETERS };
        let problem = observe::problem(&self.rig, landmarks, camera, free)?;
        let turns = analytic(&self.rig, &observe::world(landmarks))?;
        let mut locals = turns;
        for bone in 1..BONES {
            locals[bone] = turns[Rig::parent(bone)].transpose() * turns[bone];
        }
        let given = lengths.map_or([1.0; SCALES], |lengths| lengths.0);
        let mut start = State { locals, moved: [DVec3::ZERO; ACTIVE], place: DVec3::ZERO, lengths: given.map(f64::ln) };
        let posed = problem.posed(&start);
        start.place = observe::place(&problem, &posed.points)?;
        let first_error = problem.error(&posed.points, start.place);
        let solved = solve(&problem, start)?;
        let error = problem.error(&problem.posed(&solved.state).points, solved.state.place);
        let lengths = Lengths(solved.state.lengths.map(f64::exp));
        let pose = self.rig.pose(&solved.state.locals, solved.state.place, &lengths.0);
        let finite = pose.rotations.iter().all(|q| q.is_finite()) && pose.translation.is_finite();
        (finite && error.is_finite()).then_some(Fit { pose, lengths, error, first_error, steps: solved.steps })
    }

    /// The landmarks of a pose, as they would be seen in full. Eyes, mouth and thumbs have the place of the nearest
    /// landmark that the body has.
    pub fn landmarks(&self, pose: &BodyPose, camera: &Camera) -> Landmarks {
        let points = self.points(pose);
        let mut at = [Vec3::ZERO; 33];
        for (point, place) in self.rig.points.iter().zip(points) {
            at[point.landmark] = place;
        }
        for (landmark, other) in STAND_INS {
            at[landmark] = at[other];
        }
        let middle = (at[23] + at[24]) / 2.0;
        Landmarks {
            image: at.map(|p| if p.z > 0.0 { camera.project(p) } else { Vec2::NAN }),
            visibility: [1.0; 33],
            world: at.map(|p| p - middle),
            score: 1.0,
        }
    }

    /// Where the landmarks' places are in a pose, in metres in the camera's frame.
    pub(super) fn points(&self, pose: &BodyPose) -> [Vec3; POINTS] {
        let joints = self.body.joints(pose);
        self.rig.points.map(|point| {
            let bone = self.rig.index[point.bone];
            joints.heads[bone] + joints.rotations[bone] * point.offset.as_vec3()
        })
    }
}

/// A rotation matrix of single precision's in double.
pub(super) fn matrix(rotation: glam::Quat) -> DMat3 {
    DMat3::from_quat(rotation.as_dquat().normalize())
}
