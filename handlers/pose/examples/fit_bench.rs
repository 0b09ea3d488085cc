//! How long a fit and a skinning take, in processor time of one thread.
//!
//! usage: fit_bench BODY   (the file of `darkroom models fetch pose/body`; build with `--release`)
#![allow(clippy::print_stdout, clippy::unwrap_used, reason = "a program that measures, for whoever works on the fit")]

use std::path::Path;
use std::sync::Arc;

use darkroom_pose::body::{Body, normals};
use darkroom_pose::fit::{Fit, Fitter};
use darkroom_pose::view::{BodyPose, Camera, Landmarks};
use glam::{Vec2, Vec3};

mod plausible;
use plausible::Chance;

const FITS: usize = 300;

fn main() {
    let path = std::env::args().nth(1).unwrap();
    let fitter = Fitter::new(Arc::new(Body::load(Path::new(&path)).unwrap())).unwrap();
    let body = fitter.body();
    let camera = Camera { focal_px: 2304.0, centre_px: Vec2::new(960.0, 540.0) };
    let mut chance = Chance(7);
    let truths: Vec<BodyPose> = (0..FITS).map(|_| truth(body, &mut chance)).collect();
    for (pixels, metres) in [(0.0, 0.0), (3.0, 0.02), (6.0, 0.05)] {
        let noisy = |pose: &BodyPose| {
            let mut seen = fitter.landmarks(pose, &camera);
            seen.image.iter_mut().for_each(|p| *p += chance.normal3().truncate() * pixels);
            seen.world.iter_mut().for_each(|p| *p += chance.normal3() * metres);
            seen
        };
        let seen: Vec<Landmarks> = truths.iter().map(noisy).collect();
        let (fits, free) = time(|| seen.iter().map(|s| fitter.fit(s, &camera, None).unwrap()).collect::<Vec<Fit>>());
        let (_, held) =
            time(|| seen.iter().zip(&fits).filter_map(|(s, f)| fitter.fit(s, &camera, Some(&f.lengths))).count());
        let mean = |value: &dyn Fn(&Fit) -> f64| fits.iter().map(value).sum::<f64>() / FITS as f64;
        let off = fits.iter().zip(&truths).map(|(fit, pose)| mpjpe(body, &fit.pose, pose)).sum::<f64>() / FITS as f64;
        println!(
            "noise {pixels} px, {metres} m: {:.3} ms a fit, {:.3} with held lengths, {:.1} steps; error {:.4} then {:.4} of \
             the size; joints {off:.1} mm off",
            free / FITS as f64,
            held / FITS as f64,
            mean(&|f| f64::from(f.steps)),
            mean(&|f| f.first_error),
            mean(&|f| f.error),
        );
    }
    let (mut vertices, mut facing) = (Vec::new(), Vec::new());
    let (_, skinning) = time(|| truths.iter().for_each(|pose| body.skin(pose, &mut vertices)));
    let (_, normals) = time(|| truths.iter().for_each(|_| normals(&vertices, body.triangles(), &mut facing)));
    println!(
        "{} vertices: {:.3} ms skinning, {:.3} ms normals",
        vertices.len(),
        skinning / FITS as f64,
        normals / FITS as f64
    );
}

fn truth(body: &Body, chance: &mut Chance) -> BodyPose {
    let head = |name: &str| body.bones()[body.bone(name).unwrap()].head;
    let elbow = |lower: &str| {
        let side = &lower["lowerarm".len()..];
        let (upper, at, hand) = (head(&format!("upperarm{side}")), head(lower), head(&format!("hand{side}")));
        (at - upper).cross(hand - at).normalize()
    };
    let mut pose = body.rest();
    for (name, turn) in plausible::pose(chance, elbow) {
        pose.rotations[body.bone(&name).unwrap()] = turn;
    }
    pose.translation = Vec3::new(chance.between(-0.5, 0.5), chance.between(-0.3, 0.3), chance.between(3.0, 6.0));
    pose
}

/// Mean distance of the joints without the fingers', in millimetres, pelvis on pelvis.
fn mpjpe(body: &Body, a: &BodyPose, b: &BodyPose) -> f64 {
    let pelvis = body.bone("pelvis").unwrap();
    let (a, b) = (body.joints(a).heads, body.joints(b).heads);
    let finger = |name: &str| ["index", "middle", "ring", "pinky", "thumb", "Root"].iter().any(|f| name.starts_with(f));
    let joints: Vec<usize> = (0..a.len()).filter(|i| !finger(&body.bones()[*i].name)).collect();
    let off = |i: &usize| f64::from(((a[*i] - a[pelvis]) - (b[*i] - b[pelvis])).length());
    joints.iter().map(off).sum::<f64>() / joints.len() as f64 * 1000.0
}

/// What comes out, and the milliseconds of processor time it took: the first number of the kernel's account of this task.
fn time<T>(work: impl FnOnce() -> T) -> (T, f64) {
    let spent = || -> f64 {
        let account = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap();
        account.split(' ').next().unwrap().parse::<f64>().unwrap() / 1e6
    };
    let before = spent();
    let out = work();
    (out, spent() - before)
}
