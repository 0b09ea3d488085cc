//! Poses of a person through a clip: gaps, and how much they shake.

use glam::Vec3;

use crate::body::Body;
use crate::view::BodyPose;

/// Fills gaps of at most `most` pictures between two poses, at constant speed; returns how many pictures were filled.
pub fn fill_gaps(poses: &mut [Option<BodyPose>], most: usize) -> usize {
    let known: Vec<usize> = (0..poses.len()).filter(|i| poses[*i].is_some()).collect();
    let mut filled = 0;
    for pair in known.windows(2) {
        let (from, to) = (pair[0], pair[1]);
        let gap = to - from - 1;
        let (Some(a), Some(b)) = (poses[from].clone(), poses[to].clone()) else { continue };
        if gap == 0 || gap > most {
            continue;
        }
        for step in 1..=gap {
            #[allow(clippy::cast_precision_loss, reason = "a gap is short")]
            let share = step as f32 / (gap + 1) as f32;
            poses[from + step] = Some(between(&a, &b, share));
        }
        filled += gap;
    }
    filled
}

fn between(a: &BodyPose, b: &BodyPose, share: f32) -> BodyPose {
    BodyPose {
        rotations: a.rotations.iter().zip(&b.rotations).map(|(a, b)| a.slerp(*b, share)).collect(),
        translation: a.translation.lerp(b.translation, share),
        scales: a.scales.iter().zip(&b.scales).map(|(a, b)| a + (b - a) * share).collect(),
    }
}

/// Ranges of pictures that follow each other with a pose each.
pub fn runs(poses: &[Option<BodyPose>]) -> Vec<std::ops::Range<usize>> {
    let mut runs: Vec<std::ops::Range<usize>> = Vec::new();
    for index in (0..poses.len()).filter(|i| poses[*i].is_some()) {
        match runs.last_mut() {
            Some(run) if run.end == index => run.end += 1,
            _ => runs.push(index..index + 1),
        }
    }
    runs
}

/// How much a person shakes: the mean acceleration of the joints, in millimetres a picture and picture. None where there are no
/// three pictures on end. True motion is in it too.
pub fn jitter_mm(body: &Body, poses: &[Option<BodyPose>]) -> Option<f64> {
    let (mut sum, mut count) = (0.0, 0u32);
    let mut last: [Option<Vec<Vec3>>; 2] = [None, None];
    for pose in poses {
        let now = pose.as_ref().map(|pose| body.joints(pose).heads);
        if let [Some(before), Some(middle)] = &last
            && let Some(now) = &now
        {
            for ((a, b), c) in before.iter().zip(middle).zip(now) {
                sum += f64::from((*a - 2.0 * *b + *c).length()) * 1000.0;
                count += 1;
            }
        }
        let [_, middle] = last;
        last = [middle, now];
    }
    (count > 0).then(|| sum / f64::from(count))
}

#[cfg(test)]
mod tests {
    use glam::Quat;

    use super::*;
    use crate::body::sample::sample;

    fn at(body: &Body, x: f32) -> Option<BodyPose> {
        Some(BodyPose { translation: Vec3::new(x, 0.0, 3.0), ..body.rest() })
    }

    #[test]
    fn short_gaps_are_filled_and_long_ones_and_ends_are_not() {
        let body = sample();
        let mut poses = vec![None, at(&body, 0.0), None, None, at(&body, 3.0), None, None, None, at(&body, 0.0), None];
        if let Some(pose) = &mut poses[4] {
            pose.rotations[1] = -Quat::from_rotation_y(0.9);
        }
        assert_eq!(fill_gaps(&mut poses, 2), 2);
        let between = poses[2].as_ref().unwrap();
        assert!((between.translation.x - 1.0).abs() < 1e-6);
        assert!(between.rotations[1].angle_between(Quat::from_rotation_y(0.3)) < 1e-3);
        assert_eq!(runs(&poses), [1..5, 8..9]);
    }

    #[test]
    fn acceleration_alone_is_jitter() {
        let body = sample();
        let steady: Vec<_> = (0..9).map(|i| at(&body, i as f32 * 0.5)).collect();
        assert!(jitter_mm(&body, &steady).unwrap() < 1e-2);
        let shaken: Vec<_> = (0..9).map(|i| at(&body, (i % 2) as f32 * 0.005)).collect();
        assert!((jitter_mm(&body, &shaken).unwrap() - 10.0).abs() < 0.01, "5 mm to and fro is 10 mm");
        assert_eq!(jitter_mm(&body, &[at(&body, 0.0), None, at(&body, 0.0), at(&body, 0.0)]), None);
    }
}
