//! Poses of a person through a clip: gaps, and how much they shake.

use glam::{Quat, Vec3};

use super::fitter::Fitter;
use super::rig::BONES;
use crate::view::BodyPose;

/// Fills gaps of at most `most` pictures between two poses, at constant speed; returns how many pictures were filled.
pub fn fill_gaps(poses: &mut [Option<BodyPose>], most: usize) -> usize {
    let known: Vec<usize> = (0..poses.len()).filter(|i| poses[*i].is_some()).collect();
    let mut filled = 0;
    for pair in known.windows(2) {
        let (from, to) = (pair[0], pair[1]);
        let gap = to - from - 1;
        if gap == 0 || gap > most {
            continue;
        }
        let (Some(a), Some(b)) = (poses[from].clone(), poses[to].clone()) else { continue };
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

/// A pelvis that is turned further than this, in radians, from both before and after is none of a person.
const GLITCH: f32 = 1.0;
/// Before and after agree up to this.
const AGREE: f32 = 0.7;

/// Takes out poses that for at most `most` pictures on end are turned away from those around, which agree: a network that takes
/// left for right, or front for back, does so for a moment. Returns how many were taken out; `pelvis` is the bone's index.
pub fn drop_glitches(poses: &mut [Option<BodyPose>], pelvis: usize, most: usize) -> usize {
    let turns: Vec<Option<Quat>> = poses.iter().map(|pose| pose.as_ref()?.rotations.get(pelvis).copied()).collect();
    let mut dropped = 0;
    let mut before = 0;
    while before < turns.len() {
        let ends = before + 2..(before + most + 2).min(turns.len());
        let glitch = |after: &usize| {
            let (Some(a), Some(b)) = (turns[before], turns[*after]) else { return false };
            let away = |turn: &Option<Quat>| {
                turn.is_some_and(|turn| turn.angle_between(a) > GLITCH && turn.angle_between(b) > GLITCH)
            };
            a.angle_between(b) < AGREE && turns[before + 1..*after].iter().all(away)
        };
        let after = ends.clone().find(glitch).unwrap_or(before + 1);
        dropped += after - before - 1;
        poses[before + 1..after].fill(None);
        before = after;
    }
    dropped
}

impl Fitter {
    /// How much a person shakes: the mean acceleration of the joints that a fit moves, in millimetres a picture and picture.
    /// None where there are no three pictures on end. True motion is in it too.
    pub fn jitter_mm(&self, poses: &[Option<BodyPose>]) -> Option<f64> {
        let heads = |pose: &BodyPose| {
            let heads = self.body.joints(pose).heads;
            self.rig.index.map(|bone| heads[bone])
        };
        let (mut sum, mut count) = (0.0, 0u32);
        let mut last: [Option<[Vec3; BONES]>; 2] = [None; 2];
        for pose in poses {
            let now = pose.as_ref().map(heads);
            if let ([Some(before), Some(middle)], Some(now)) = (last, now) {
                for ((a, b), c) in before.iter().zip(middle).zip(now) {
                    sum += f64::from((*a - 2.0 * b + c).length()) * 1000.0;
                    count += 1;
                }
            }
            last = [last[1], now];
        }
        (count > 0).then(|| sum / f64::from(count))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::body::Body;
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
    fn a_moment_turned_round_is_taken_out_and_a_real_turn_is_not() {
        let body = sample();
        let facing = |angles: &[f32]| -> Vec<Option<BodyPose>> {
            let turned = |angle: &f32| {
                let mut pose = body.rest();
                pose.rotations[1] = Quat::from_rotation_y(*angle);
                Some(pose)
            };
            angles.iter().map(turned).collect()
        };
        let mut flipped = facing(&[0.0, 0.1, 3.1, 2.9, 0.3, 0.4, 3.0]);
        assert_eq!(drop_glitches(&mut flipped, 1, 3), 2);
        let there: Vec<bool> = flipped.iter().map(Option::is_some).collect();
        assert_eq!(there, [true, true, false, false, true, true, true], "what comes after the last is not known");
        for steady in [&[0.0, 0.9, 1.8, 2.7, 3.6, 4.5, 5.4][..], &[0.0, 0.0, 3.0, 3.0, 3.0, 3.0, 0.0], &[0.0, 0.5, 0.0]]
        {
            assert_eq!(drop_glitches(&mut facing(steady), 1, 3), 0, "{steady:?}");
        }
    }

    #[test]
    fn acceleration_alone_is_jitter() {
        let fitter = Fitter::new(Arc::new(sample())).unwrap();
        let body = fitter.body();
        let steady: Vec<_> = (0..9).map(|i| at(body, i as f32 * 0.5)).collect();
        assert!(fitter.jitter_mm(&steady).unwrap() < 1e-2);
        let shaken: Vec<_> = (0..9).map(|i| at(body, (i % 2) as f32 * 0.005)).collect();
        assert!((fitter.jitter_mm(&shaken).unwrap() - 10.0).abs() < 0.01, "5 mm to and fro is 10 mm");
        assert_eq!(fitter.jitter_mm(&[at(body, 0.0), None, at(body, 0.0), at(body, 0.0)]), None);
    }
}
