//! What a fit needs of a body: the bones that it moves, and where on them landmarks are.

use darkroom_api::{ErrorCode, JobError, Result};
use glam::{DMat3, DQuat, DVec3, Quat, Vec3};

use crate::body::Body;
use crate::view::BodyPose;

/// Bones that a fit knows.
pub const BONES: usize = 24;
/// Bones that it turns.
pub const ACTIVE: usize = 19;
/// Lengths that it finds, each for both sides of the body.
pub const SCALES: usize = 8;
/// Landmarks that have a place on the body.
pub const POINTS: usize = 23;

/// Name; index of the parent; radians that are an ordinary correction, 0 where the bone is not turned on its own; and the length
/// that its distance from its parent belongs to.
type Row = (&'static str, usize, f64, Option<usize>);
#[rustfmt::skip]
const TABLE: [Row; BONES] = [
    ("pelvis", 0, 1.0, None),
    ("spine_01", 0, 0.0, Some(0)), ("spine_02", 1, 0.5, Some(0)), ("spine_03", 2, 0.5, Some(0)),
    ("neck_01", 3, 0.5, Some(7)), ("head", 4, 1.0, Some(7)),
    ("clavicle_l", 3, 0.5, Some(5)), ("clavicle_r", 3, 0.5, Some(5)),
    ("upperarm_l", 6, 1.0, Some(5)), ("upperarm_r", 7, 1.0, Some(5)),
    ("lowerarm_l", 8, 0.35, Some(1)), ("lowerarm_r", 9, 0.35, Some(1)),
    ("hand_l", 10, 1.0, Some(2)), ("hand_r", 11, 1.0, Some(2)),
    ("index_01_l", 12, 0.0, None), ("index_01_r", 13, 0.0, None),
    ("pinky_01_l", 12, 0.0, None), ("pinky_01_r", 13, 0.0, None),
    ("thigh_l", 0, 1.0, Some(6)), ("thigh_r", 0, 1.0, Some(6)),
    ("calf_l", 18, 0.35, Some(3)), ("calf_r", 19, 0.35, Some(3)),
    ("foot_l", 20, 1.0, Some(4)), ("foot_r", 21, 1.0, Some(4)),
];
/// Indices in [`TABLE`]; of a pair the left one, the right one follows.
pub mod bone {
    pub const PELVIS: usize = 0;
    pub const SPINE: [usize; 3] = [1, 2, 3];
    pub const NECK: usize = 4;
    pub const HEAD: usize = 5;
    pub const CLAVICLE: usize = 6;
    pub const UPPERARM: usize = 8;
    pub const LOWERARM: usize = 10;
    pub const HAND: usize = 12;
    pub const INDEX: usize = 14;
    pub const PINKY: usize = 16;
    pub const THIGH: usize = 18;
    pub const CALF: usize = 20;
    pub const FOOT: usize = 22;
}
/// BlazePose's landmarks that are joints.
const JOINTS: [(usize, usize); 16] = [
    (11, bone::UPPERARM),
    (12, bone::UPPERARM + 1),
    (13, bone::LOWERARM),
    (14, bone::LOWERARM + 1),
    (15, bone::HAND),
    (16, bone::HAND + 1),
    (17, bone::PINKY),
    (18, bone::PINKY + 1),
    (19, bone::INDEX),
    (20, bone::INDEX + 1),
    (23, bone::THIGH),
    (24, bone::THIGH + 1),
    (25, bone::CALF),
    (26, bone::CALF + 1),
    (27, bone::FOOT),
    (28, bone::FOOT + 1),
];

/// A landmark's place: it moves with a bone.
#[derive(Debug, Clone, Copy)]
pub struct Point {
    /// Number in BlazePose.
    pub landmark: usize,
    /// Index in the rig.
    pub bone: usize,
    /// From the bone's head, at rest.
    pub offset: DVec3,
}

/// The bones of a body that a fit moves.
#[derive(Debug, Clone)]
pub struct Rig {
    /// Where each is in the body.
    pub index: [usize; BONES],
    /// Where each begins at rest.
    pub heads: [DVec3; BONES],
    /// Which of the turned bones each is.
    pub active: [Option<usize>; BONES],
    /// Places of the landmarks.
    pub points: [Point; POINTS],
    /// How many bones the body has.
    bones: usize,
    /// From the body's root to the pelvis.
    pub to_pelvis: DVec3,
}

impl Rig {
    /// Finds the bones and the places.
    ///
    /// # Errors
    /// [`ErrorCode::ModelInvalid`] for a body with other bones.
    pub fn new(body: &Body) -> Result<Rig> {
        let mut index = [0; BONES];
        for (i, (name, parent, ..)) in TABLE.iter().enumerate() {
            index[i] = body.bone(name).ok_or_else(|| unfit(&format!("has no bone `{name}`")))?;
            if i > 0 && body.bones()[index[i]].parent != Some(index[*parent]) {
                return Err(unfit(&format!("has `{name}` elsewhere than at `{}`", TABLE[*parent].0)));
            }
        }
        let heads = index.map(|i| body.bones()[i].head.as_dvec3());
        let mut turned = 0..ACTIVE;
        let active = TABLE.map(|(_, _, prior, _)| if prior > 0.0 { turned.next() } else { None });
        let to_pelvis = heads[bone::PELVIS] - body.bones()[0].head.as_dvec3();
        Ok(Rig { points: points(body, &index)?, index, heads, active, bones: body.bones().len(), to_pelvis })
    }

    /// The parent of a bone; the pelvis is its own.
    pub fn parent(bone: usize) -> usize {
        TABLE[bone].1
    }

    /// Radians that are an ordinary correction of a turned bone.
    pub fn prior(bone: usize) -> f64 {
        TABLE[bone].2
    }

    /// The length that a bone's distance from its parent belongs to.
    pub fn scale(bone: usize) -> Option<usize> {
        TABLE[bone].3
    }

    /// A place's index by its landmark.
    pub fn point(&self, landmark: usize) -> Option<usize> {
        self.points.iter().position(|point| point.landmark == landmark)
    }

    /// The body's pose; `locals` turn each bone against its parent, `pelvis` is where the pelvis begins, `scales` are factors.
    pub fn pose(&self, locals: &[DMat3; BONES], pelvis: DVec3, scales: &[f64; SCALES]) -> BodyPose {
        let mut pose = BodyPose {
            rotations: vec![Quat::IDENTITY; self.bones],
            translation: (pelvis - self.to_pelvis).as_vec3(),
            scales: vec![1.0; self.bones],
        };
        for (i, local) in locals.iter().enumerate() {
            pose.rotations[self.index[i]] = DQuat::from_mat3(local).normalize().as_quat();
        }
        self.stretch(&mut pose, scales);
        pose
    }

    /// Gives the bones of a pose their lengths.
    #[allow(clippy::cast_possible_truncation, reason = "a pose has single precision")]
    pub fn stretch(&self, pose: &mut BodyPose, scales: &[f64; SCALES]) {
        for (i, bone) in self.index.iter().enumerate() {
            if let Some(scale) = Rig::scale(i) {
                pose.scales[*bone] = scales[scale] as f32;
            }
        }
    }
}

/// Joints, and on the surface nose, ears, heels and tips of the feet, found by where they stick out at rest.
fn points(body: &Body, index: &[usize; BONES]) -> Result<[Point; POINTS]> {
    let joints = JOINTS.iter().map(|(landmark, bone)| Point { landmark: *landmark, bone: *bone, offset: DVec3::ZERO });
    let mut points: Vec<Point> = joints.collect();
    let on = |names: &[&str]| -> Vec<Vec3> {
        let bones: Vec<u16> =
            names.iter().filter_map(|name| body.bone(name)).filter_map(|bone| u16::try_from(bone).ok()).collect();
        let strongest = body.influences().iter().map(|by| (by.bones[0], by.weights[0]));
        let surface = body.vertices().iter().zip(strongest);
        surface.filter(|(_, (bone, weight))| bones.contains(bone) && *weight > 0.4).map(|(vertex, _)| *vertex).collect()
    };
    let mut add = |landmark: usize, bone: usize, surface: &[Vec3], out: &dyn Fn(Vec3) -> f32| -> Result<()> {
        let tip = surface.iter().max_by(|a, b| out(**a).total_cmp(&out(**b)));
        let tip = tip.ok_or_else(|| unfit(&format!("has no skin on `{}`", TABLE[bone].0)))?;
        let head = body.bones()[index[bone]].head;
        points.push(Point { landmark, bone, offset: (*tip - head).as_dvec3() });
        Ok(())
    };
    let head = on(&["head"]);
    add(0, bone::HEAD, &head, &|v| -v.z - 10.0 * v.x.abs())?;
    add(7, bone::HEAD, &head, &|v| v.x)?;
    add(8, bone::HEAD, &head, &|v| -v.x)?;
    for (side, names) in [["foot_l", "ball_l"], ["foot_r", "ball_r"]].iter().enumerate() {
        let foot = on(names);
        add(29 + side, bone::FOOT + side, &foot, &|v| v.z + 0.3 * v.y)?;
        add(31 + side, bone::FOOT + side, &foot, &|v| -v.z)?;
    }
    points.try_into().map_err(|_| unfit("has too few places for landmarks"))
}

fn unfit(why: &str) -> JobError {
    let remedy = "use the one of `darkroom models fetch pose/body`, or one with its bones";
    JobError::new(ErrorCode::ModelInvalid, format!("The body cannot be fitted, for it {why}: {remedy}."))
}
