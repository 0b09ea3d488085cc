//! Bodies whose pose is known, found again: MakeHuman's body, posed by chance, as landmarks and as pictures.

use std::sync::Arc;

use darkroom_media::{Frame, Pixel};
use glam::{DMat3, DQuat, DVec3, DVec4, Quat, Vec2, Vec3};

use crate::body::{Body, normals};
use crate::fit::Fitter;
use crate::people::testing::{finder, runtime};
use crate::plausible::{self, Chance};
use crate::render::{Canvas, Mesh, Pixels, Renderer, Scene};
use crate::view::{BodyPose, Camera};

const WIDTH: usize = 960;
const HEIGHT: usize = 720;
const CAMERA: Camera = Camera { focal_px: 1152.0, centre_px: Vec2::new(480.0, 360.0) };
/// Joints that are compared.
const JOINTS: [&str; 13] = [
    "pelvis",
    "upperarm_l",
    "upperarm_r",
    "lowerarm_l",
    "lowerarm_r",
    "hand_l",
    "hand_r",
    "thigh_l",
    "thigh_r",
    "calf_l",
    "calf_r",
    "foot_l",
    "foot_r",
];

fn fitter() -> Fitter {
    let file = runtime().registry().resolve("pose/body").unwrap();
    Fitter::new(Arc::new(Body::load(&file.path).unwrap())).unwrap()
}

/// A plausible pose 3 to 4 metres away, nearer to the one at rest the smaller `share` is; it faces the camera, or any way.
fn truth(body: &Body, chance: &mut Chance, share: f32) -> BodyPose {
    let head = |name: &str| body.bones()[body.bone(name).unwrap()].head;
    let elbow = |lower: &str| {
        let side = &lower["lowerarm".len()..];
        let (upper, at, hand) = (head(&format!("upperarm{side}")), head(lower), head(&format!("hand{side}")));
        (at - upper).cross(hand - at).normalize()
    };
    let mut pose = body.rest();
    for (name, turn) in plausible::pose(chance, elbow) {
        pose.rotations[body.bone(&name).unwrap()] = Quat::IDENTITY.slerp(turn, share);
    }
    pose.translation += Vec3::new(chance.between(-0.4, 0.4), chance.between(-0.1, 0.1), chance.between(3.0, 4.0));
    pose
}

/// MPJPE, pelvis on pelvis, and PA-MPJPE, after the best similarity, both in millimetres.
fn errors(body: &Body, found: &BodyPose, wanted: &BodyPose) -> [f64; 2] {
    let joints = |pose: &BodyPose| {
        let heads = body.joints(pose).heads;
        JOINTS.map(|name| heads[body.bone(name).unwrap()].as_dvec3())
    };
    let (a, b) = (joints(found), joints(wanted));
    let count = JOINTS.len() as f64;
    let mean = |points: &[DVec3]| points.iter().sum::<DVec3>() / count;
    let off = |place: &dyn Fn(DVec3) -> DVec3| a.iter().zip(&b).map(|(a, b)| place(*a).distance(*b)).sum::<f64>();
    let (from, to) = (mean(&a), mean(&b));
    let pairs: Vec<(DVec3, DVec3)> = a.iter().zip(&b).map(|(a, b)| (a - from, b - to)).collect();
    let turn = best_turn(&pairs);
    let scale = pairs.iter().map(|(a, b)| (turn * a).dot(*b)).sum::<f64>()
        / pairs.iter().map(|(a, _)| a.length_squared()).sum::<f64>();
    [off(&|p| p - a[0] + b[0]), off(&|p| turn * (p - from) * scale + to)].map(|sum| sum / count * 1000.0)
}

/// The rotation that brings the first points nearest to the second (Horn 1987): the largest eigenvector of a matrix, by its powers.
fn best_turn(pairs: &[(DVec3, DVec3)]) -> DQuat {
    let m = pairs.iter().fold(DMat3::ZERO, |m, (a, b)| m + DMat3::from_cols(*a * b.x, *a * b.y, *a * b.z));
    let s = |row: usize, column: usize| m.col(column)[row];
    let n = glam::DMat4::from_cols(
        DVec4::new(s(0, 0) + s(1, 1) + s(2, 2), s(1, 2) - s(2, 1), s(2, 0) - s(0, 2), s(0, 1) - s(1, 0)),
        DVec4::new(s(1, 2) - s(2, 1), s(0, 0) - s(1, 1) - s(2, 2), s(0, 1) + s(1, 0), s(2, 0) + s(0, 2)),
        DVec4::new(s(2, 0) - s(0, 2), s(0, 1) + s(1, 0), s(1, 1) - s(0, 0) - s(2, 2), s(1, 2) + s(2, 1)),
        DVec4::new(s(0, 1) - s(1, 0), s(2, 0) + s(0, 2), s(1, 2) + s(2, 1), s(2, 2) - s(0, 0) - s(1, 1)),
    );
    // Shifted, so that the largest eigenvalue is the farthest from zero.
    let most = pairs.iter().map(|(a, b)| a.length() * b.length()).sum::<f64>();
    let shifted = n + glam::DMat4::from_diagonal(DVec4::splat(most));
    let v = (0..2000).fold(DVec4::new(1.0, 0.3, 0.2, 0.1), |v, _| (shifted * v).normalize());
    DQuat::from_xyzw(v.y, v.z, v.w, v.x).normalize()
}

/// The body in a plain room.
fn picture(body: &Body, pose: &BodyPose) -> Frame {
    let mut frame = Frame::new(Pixel::RGB24, WIDTH as u32, HEIGHT as u32).unwrap();
    let plane = frame.plane_mut(0).unwrap();
    plane.data.fill(150);
    let (mut positions, mut facing) = (Vec::new(), Vec::new());
    body.skin(pose, &mut positions);
    normals(&positions, body.triangles(), &mut facing);
    let colours = [Vec3::new(0.83, 0.62, 0.52)];
    let mesh =
        Mesh { positions: &positions, normals: &facing, triangles: body.triangles(), colours: &colours, parts: &[] };
    let scene = Scene { camera: CAMERA, meshes: &[mesh], opacity: 1.0, strokes: &[] };
    let mut canvas = Canvas::new(WIDTH, HEIGHT, Pixels::Rgb { plane, channels: 3 }).unwrap();
    Renderer::default().draw(&mut canvas, &scene).unwrap();
    frame
}

#[test]
fn a_similarity_is_undone() {
    let turn = DQuat::from_scaled_axis(DVec3::new(0.4, -2.0, 1.1));
    let pairs: Vec<_> = (0..9)
        .map(|i| DVec3::new(f64::from(i * i % 5) - 2.0, f64::from(i * 7 % 4) - 1.5, f64::from(i % 3) - 1.0))
        .map(|p| (p, turn * p * 2.0))
        .collect();
    assert!(best_turn(&pairs).angle_between(turn) < 1e-6);
}

#[test]
fn poses_of_the_body_are_recovered_from_their_landmarks() {
    let (fitter, mut chance) = (fitter(), Chance(7));
    for (pixels, metres, most) in [(0.0, 0.0, [8.0, 5.0]), (3.0, 0.02, [30.0, 24.0])] {
        let mut sums = [0.0; 2];
        for _ in 0..100 {
            let truth = truth(fitter.body(), &mut chance, 1.0);
            let mut seen = fitter.landmarks(&truth, &CAMERA);
            seen.image.iter_mut().for_each(|p| *p += chance.normal3().truncate() * pixels);
            seen.world.iter_mut().for_each(|p| *p += chance.normal3() * metres);
            let fit = fitter.fit(&seen, &CAMERA, None).unwrap();
            let off = errors(fitter.body(), &fit.pose, &truth);
            sums = [0, 1].map(|i| sums[i] + off[i] / 100.0);
        }
        println!("{pixels} px, {metres} m: MPJPE {:.1} mm, PA-MPJPE {:.1} mm", sums[0], sums[1]);
        assert!(sums[0] < most[0] && sums[1] < most[1], "{pixels} px, {metres} m: {sums:.1?} mm");
    }
}

/// Drawn, found by the detectors, seen by the network, fitted: all of the handler's way.
#[test]
fn poses_of_the_body_are_recovered_from_their_pictures() {
    let (fitter, mut chance) = (fitter(), Chance(5));
    let mut found: Vec<[f64; 2]> = Vec::new();
    const PICTURES: usize = 24;
    for _ in 0..PICTURES {
        let truth = truth(fitter.body(), &mut chance, 0.6);
        let mut finder = finder(25.0);
        finder.push(&picture(fitter.body(), &truth)).unwrap();
        let (tracks, _) = finder.finish();
        if let [track] = &tracks[..] {
            let fit = fitter.fit(&track.sightings[0].landmarks, &CAMERA, None).unwrap();
            found.push(errors(fitter.body(), &fit.pose, &truth));
        }
    }
    let median = |index: usize| {
        let mut all: Vec<f64> = found.iter().map(|off| off[index]).collect();
        all.sort_by(f64::total_cmp);
        all.get(all.len() / 2).copied().unwrap_or(f64::INFINITY)
    };
    let (plain, best) = (median(0), median(1));
    println!("{} of {PICTURES}: MPJPE {plain:.0} mm, PA-MPJPE {best:.0} mm (medians)", found.len());
    assert!(
        found.len() >= PICTURES - 2 && best < 80.0 && plain < 95.0,
        "{} found, {plain:.0} {best:.0} mm",
        found.len()
    );
}
