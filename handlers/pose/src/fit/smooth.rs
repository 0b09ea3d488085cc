//! Smoothing of a whole clip, forwards and backwards in time alike, so that nothing lags.
//!
//! A weighted straight line is laid through each picture's neighbours, weights falling as a Gaussian: inside a clip that is the
//! Gaussian mean, and at its ends too a motion of constant speed stays what it is. Rotations are smoothed in the tangent space of
//! the rotation in the middle.

use glam::{DQuat, DVec3, Quat};
use rayon::iter::{IntoParallelIterator, ParallelIterator};

use super::geometry::log;
use super::problem::NEAREST;
use crate::view::BodyPose;

/// How far a person is away is told by nothing but the size in the picture, and shakes several times as much as what is seen
/// across: it is smoothed over a window that is wider by this.
const DEPTH: f64 = 3.0;
/// Farther than this many sigmas, neighbours do not count.
const REACH: f64 = 3.0;
/// The widest sigma in pictures, two seconds of 120 a second: what a window costs stays bounded whatever rate a file claims.
const WIDEST: f64 = 240.0;

/// Smooths translation and rotations of poses that follow each other without gaps, bones on as many threads as rayon has;
/// `sigma` is in pictures, at most 240; 0 changes nothing.
/// The distance from the camera is smoothed more, along the ray of `middle`, the body's middle as seen from the translation: in
/// the picture it stays where it is.
pub fn smooth(poses: &mut [BodyPose], sigma: f64, middle: DVec3) {
    if sigma.is_nan() || sigma <= 0.0 || poses.len() < 3 {
        return;
    }
    let sigma = sigma.min(WIDEST);
    let windows = Windows::new(poses.len(), sigma);
    let places: Vec<DVec3> = poses.iter().map(|pose| pose.translation.as_dvec3()).collect();
    for (index, pose) in poses.iter_mut().enumerate() {
        let place = windows.at(index).sum(index, |i| places[i]);
        let depth = Window::new(index, places.len(), sigma * DEPTH).sum(index, |i| places[i]).z;
        let seen = place + middle;
        let before_camera = seen.z > NEAREST && seen.z + depth - place.z > NEAREST;
        let along = if before_camera { seen / seen.z * (depth - place.z) } else { DVec3::ZERO };
        pose.translation = (place + along).as_vec3();
    }
    let bones = poses.iter().map(|pose| pose.rotations.len()).min().unwrap_or(0);
    let before = &*poses;
    let smoothed = |bone| Some((bone, turns(before, bone, &windows)?));
    let turned: Vec<(usize, Vec<Quat>)> = (0..bones).into_par_iter().filter_map(smoothed).collect();
    for (bone, turns) in turned {
        poses.iter_mut().zip(turns).for_each(|(pose, turn)| pose.rotations[bone] = turn);
    }
}

/// The smoothed rotations of a bone; none where it never turns.
fn turns(poses: &[BodyPose], bone: usize, windows: &Windows) -> Option<Vec<Quat>> {
    let turns = continuous(poses.iter().map(|pose| pose.rotations[bone].as_dquat().normalize()));
    if turns.windows(2).all(|pair| pair[0] == pair[1]) {
        return None;
    }
    let smoothed = (0..turns.len()).map(|middle| {
        let back = turns[middle].inverse();
        let turn = windows.at(middle).sum(middle, |i| log(back * turns[i]));
        (turns[middle] * DQuat::from_scaled_axis(turn)).normalize().as_quat()
    });
    Some(smoothed.collect())
}

/// Of the two signs of each quaternion the one nearer to its predecessor.
fn continuous(turns: impl Iterator<Item = DQuat>) -> Vec<DQuat> {
    let mut out: Vec<DQuat> = Vec::new();
    for turn in turns {
        let flipped = out.last().is_some_and(|last| last.dot(turn) < 0.0);
        out.push(if flipped { -turn } else { turn });
    }
    out
}

/// The windows of all pictures of a clip: inside they are all the same one, only near the ends they differ.
struct Windows {
    /// Of a clip that has each of them once.
    distinct: Vec<Window>,
    /// Pictures to one side.
    reach: usize,
    /// How many more the clip has.
    more: usize,
}

impl Windows {
    fn new(count: usize, sigma: f64) -> Windows {
        let reach = reach(sigma);
        let kinds = count.min(2 * reach + 1);
        let distinct = (0..kinds).map(|middle| Window::new(middle, kinds, sigma)).collect();
        Windows { distinct, reach, more: count - kinds }
    }

    /// That of a picture.
    fn at(&self, middle: usize) -> &Window {
        &self.distinct[middle.saturating_sub(self.more).max(middle.min(self.reach))]
    }
}

/// Pictures to one side that count.
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a reach is small and positive")]
fn reach(sigma: f64) -> usize {
    ((REACH * sigma).ceil() as usize).max(1)
}

/// How much each neighbour counts.
struct Window {
    /// Neighbours before the picture in the middle.
    before: usize,
    shares: Vec<f64>,
}

impl Window {
    #[allow(clippy::cast_precision_loss, reason = "pictures of a clip are counted exactly")]
    fn new(middle: usize, count: usize, sigma: f64) -> Window {
        let reach = reach(sigma);
        let (first, last) = (middle.saturating_sub(reach), (middle + reach).min(count - 1));
        let away: Vec<f64> = (first..=last).map(|i| i as f64 - middle as f64).collect();
        let weights: Vec<f64> = away.iter().map(|d| (-0.5 * (d / sigma).powi(2)).exp()).collect();
        let moment = |power| weights.iter().zip(&away).map(|(w, d)| w * d.powi(power)).sum::<f64>();
        let (m0, m1, m2) = (moment(0), moment(1), moment(2));
        // The value at the middle of the line of least squares is this combination of the neighbours.
        let level = m0 * m2 - m1 * m1;
        let share = |(w, d): (&f64, &f64)| w * (m2 - m1 * d) / level;
        let mut shares: Vec<f64> = weights.iter().zip(&away).map(share).collect();
        if level < 1e-12 {
            // So small a sigma sees the middle alone.
            shares = away.iter().map(|d| if *d == 0.0 { 1.0 } else { 0.0 }).collect();
        }
        Window { before: middle - first, shares }
    }

    /// What the neighbours of a picture come to.
    fn sum(&self, middle: usize, value: impl Fn(usize) -> DVec3) -> DVec3 {
        self.shares.iter().enumerate().map(|(i, share)| value(middle - self.before + i) * *share).sum()
    }
}

#[cfg(test)]
mod tests {
    use glam::{Quat, Vec3};

    use super::*;

    fn pose(rotation: Quat, translation: Vec3) -> BodyPose {
        BodyPose { rotations: vec![rotation], translation, scales: vec![1.0] }
    }

    #[test]
    fn a_motion_of_constant_speed_stays_what_it_is_even_at_its_ends() {
        let axis = Vec3::new(0.6, -0.48, 0.64);
        // More than a full turn, with signs as they come, as a network gives them.
        let at = |i: i32| {
            let turn = Quat::from_axis_angle(axis, 0.25 * i as f32);
            pose(if i % 3 == 0 { -turn } else { turn }, Vec3::new(0.1, -0.02, 0.05) * i as f32)
        };
        let before: Vec<BodyPose> = (0..40).map(at).collect();
        let mut after = before.clone();
        smooth(&mut after, 2.0, DVec3::NEG_Y);
        for (a, b) in after.iter().zip(&before) {
            assert!(a.translation.distance(b.translation) < 1e-5);
            assert!(a.rotations[0].angle_between(b.rotations[0]) < 2e-3, "{a:?} {b:?}");
        }
    }

    #[test]
    fn pictures_inside_share_a_window_and_all_have_the_one_of_their_place() {
        for (count, sigma) in [(3, 2.0), (12, 2.0), (13, 2.0), (14, 2.0), (50, 2.0), (50, 1e-4)] {
            let windows = Windows::new(count, sigma);
            assert!(windows.distinct.len() <= 2 * reach(sigma) + 1);
            for middle in 0..count {
                let (shared, own) = (windows.at(middle), Window::new(middle, count, sigma));
                assert_eq!((shared.before, &shared.shares), (own.before, &own.shares), "{middle} of {count}");
            }
        }
    }

    #[test]
    fn noise_shrinks_and_the_mean_motion_does_not_lag() {
        let mut seed = 1u64;
        let mut noise = || {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (seed >> 40) as f32 / (1 << 24) as f32 - 0.5
        };
        let true_x = |i: usize| (i as f32 * 0.05).sin();
        let mut poses: Vec<BodyPose> = (0..200)
            .map(|i| {
                let turn = Quat::from_rotation_y(true_x(i) + 0.1 * noise());
                pose(turn, Vec3::new(true_x(i) + 0.1 * noise(), 0.0, 3.0))
            })
            .collect();
        let spread = |poses: &[BodyPose]| {
            let off = |(i, pose): (usize, &BodyPose)| {
                let turn = pose.rotations[0].to_scaled_axis().y - true_x(i);
                ((pose.translation.x - true_x(i)).powi(2), turn.powi(2))
            };
            let sums = poses.iter().enumerate().map(off).fold((0.0, 0.0), |s, o| (s.0 + o.0, s.1 + o.1));
            ((sums.0 / 200.0).sqrt(), (sums.1 / 200.0).sqrt())
        };
        let before = spread(&poses);
        smooth(&mut poses, 2.0, DVec3::ZERO);
        let after = spread(&poses);
        // A Gaussian of sigma 2 leaves 1 / sqrt(2 sigma sqrt(pi)) = 0.38 of white noise.
        assert!(after.0 < 0.5 * before.0 && after.1 < 0.5 * before.1, "{before:?} to {after:?}");
    }

    #[test]
    fn distance_is_quieted_most_and_the_middle_stays_where_it_is_seen() {
        let middle = Vec3::new(0.0, -0.8, 0.0);
        let ray = Vec3::new(0.2, 0.1, 1.0);
        let far = |i: usize| 4.0 + 0.1 * (i as f32 * 12.9898).sin();
        let mut poses: Vec<BodyPose> = (0..80).map(|i| pose(Quat::IDENTITY, ray * far(i) - middle)).collect();
        smooth(&mut poses, 2.0, middle.as_dvec3());
        let spread: f32 = poses.iter().map(|p| (p.translation.z - 4.0).abs()).sum::<f32>() / 80.0;
        assert!(spread < 0.02, "{spread}");
        for pose in &poses {
            let seen = pose.translation + middle;
            assert!((seen / seen.z).distance(ray) < 1e-4, "{seen}");
        }
    }

    #[test]
    fn nothing_is_done_without_a_width_or_without_neighbours() {
        let mut one = vec![pose(Quat::IDENTITY, Vec3::ONE)];
        smooth(&mut one, 5.0, DVec3::ZERO);
        assert_eq!(one[0].translation, Vec3::ONE);
        let mut three: Vec<BodyPose> =
            (0..3).map(|i| pose(Quat::from_rotation_x(i as f32), Vec3::X * (i * i) as f32)).collect();
        let before = three.clone();
        for sigma in [0.0, -1.0, f64::NAN] {
            smooth(&mut three, sigma, DVec3::ZERO);
            assert_eq!(three, before);
        }
        smooth(&mut three, 1e-4, DVec3::ZERO);
        assert!(three.iter().zip(&before).all(|(a, b)| a.translation.distance(b.translation) < 1e-6));
    }
}
