//! A first pose straight from landmarks in space: frames of pelvis and chest, limbs swung to their landmarks and twisted so
//! that they bend in their landmarks' plane.

use glam::{DMat3, DVec3};

use super::geometry::{at_most, between, frame_x, frame_y, square_to, swing, unit};
use super::rig::{BONES, Rig, bone};

/// Sine of the bend below which a limb counts as straight, and its plane as unknown; and what is added until it is known.
const STRAIGHT: (f64, f64) = (0.15, 0.25);
/// The furthest that a hand is bent, in radians.
const WRIST: f64 = 1.5;

/// Landmarks in space, where they are known.
pub type World = [Option<DVec3>; 33];

/// How each bone is turned from its rest pose; none where hips or shoulders are unknown or have no extent. A limb that is not
/// known keeps its rest pose against its parent.
pub fn analytic(rig: &Rig, world: &World) -> Option<[DMat3; BONES]> {
    let rest = &rig.heads;
    let (hips, shoulders) = (world[23]? - world[24]?, world[11]? - world[12]?);
    let up = (world[11]? + world[12]? - world[23]? - world[24]?) / 2.0;
    let (rest_hips, rest_shoulders) =
        (rest[bone::THIGH] - rest[bone::THIGH + 1], rest[bone::UPPERARM] - rest[bone::UPPERARM + 1]);
    let rest_up = (rest[bone::UPPERARM] + rest[bone::UPPERARM + 1] - rest[bone::THIGH] - rest[bone::THIGH + 1]) / 2.0;
    let pelvis = frame_x(hips, up)? * frame_x(rest_hips, rest_up)?.transpose();
    let chest = frame_x(shoulders, up)? * frame_x(rest_shoulders, rest_up)?.transpose();
    let mut turns = [pelvis; BONES];
    for (bone, share) in bone::SPINE.into_iter().zip([0.33, 0.67, 1.0]) {
        turns[bone] = between(pelvis, chest, share);
    }
    turns[bone::HEAD] = head(rig, world).unwrap_or(chest);
    turns[bone::NECK] = between(chest, turns[bone::HEAD], 0.5);
    for side in 0..2 {
        turns[bone::CLAVICLE + side] = chest;
        let (upper, lower) = arm(rig, world, side, chest).unwrap_or((chest, chest));
        turns[bone::UPPERARM + side] = upper;
        turns[bone::LOWERARM + side] = lower;
        let hand = hand(rig, world, side, lower).unwrap_or(lower);
        for bone in [bone::HAND, bone::INDEX, bone::PINKY] {
            turns[bone + side] = hand;
        }
        let (upper, lower) = leg(rig, world, side, pelvis).unwrap_or((pelvis, pelvis));
        turns[bone::THIGH + side] = upper;
        turns[bone::CALF + side] = lower;
        turns[bone::FOOT + side] = foot(rig, world, side, lower).unwrap_or(lower);
    }
    Some(turns)
}

fn head(rig: &Rig, world: &World) -> Option<DMat3> {
    let tip = |landmark| Some(rig.points[rig.point(landmark)?].offset);
    let (rest_ears, rest_nose) = (tip(7)? - tip(8)?, tip(0)? - (tip(7)? + tip(8)?) / 2.0);
    // BlazePose has the nose higher against the ears than the body has its tip.
    let rest_nose = rest_nose * DVec3::new(1.0, 0.6, 1.0);
    let (ears, nose) = (world[7]? - world[8]?, world[0]? - (world[7]? + world[8]?) / 2.0);
    Some(frame_x(ears, nose.cross(ears))? * frame_x(rest_ears, rest_nose.cross(rest_ears))?.transpose())
}

fn arm(rig: &Rig, world: &World, side: usize, chest: DMat3) -> Option<(DMat3, DMat3)> {
    let rest = &rig.heads;
    let upper = rest[bone::LOWERARM + side] - rest[bone::UPPERARM + side];
    let lower = rest[bone::HAND + side] - rest[bone::LOWERARM + side];
    // The rig rests with bent elbows, so their plane is known.
    let rest = Limb { upper, lower, axis: unit(upper.cross(lower))? };
    limb(&rest, world[13 + side]? - world[11 + side]?, world[15 + side]? - world[13 + side]?, chest)
}

fn leg(rig: &Rig, world: &World, side: usize, pelvis: DMat3) -> Option<(DMat3, DMat3)> {
    let rest = &rig.heads;
    let upper = rest[bone::CALF + side] - rest[bone::THIGH + side];
    let lower = rest[bone::FOOT + side] - rest[bone::CALF + side];
    // The rig's knees are straight: they bend to the back.
    let rest = Limb { upper, lower, axis: DVec3::X };
    limb(&rest, world[25 + side]? - world[23 + side]?, world[27 + side]? - world[25 + side]?, pelvis)
}

/// Two bones at rest, and the axis that the second turns about to bend.
struct Limb {
    upper: DVec3,
    lower: DVec3,
    axis: DVec3,
}

/// Turns of both bones. The straighter the limb, the less its plane counts, and the more it is only swung from its parent.
fn limb(rest: &Limb, upper: DVec3, lower: DVec3, parent: DMat3) -> Option<(DMat3, DMat3)> {
    let (upper, lower) = (unit(upper)?, unit(lower)?);
    let bend = upper.cross(lower);
    let known = ((bend.length() - STRAIGHT.0) / STRAIGHT.1).clamp(0.0, 1.0);
    let swung = swing(parent * unit(rest.upper)?, upper) * parent * rest.axis;
    let axis = known * unit(bend).unwrap_or_default() + (1.0 - known) * swung;
    // Plane and swing may cancel each other: then the swing is as good.
    let axis = square_to(axis, upper).or_else(|| square_to(swung, upper))?;
    let turn = |now: DVec3, then: DVec3| {
        let then = unit(then)?;
        Some(frame_y(now, square_to(axis, now)?)? * frame_y(then, square_to(rest.axis, then)?)?.transpose())
    };
    Some((turn(upper, rest.upper)?, turn(lower, rest.lower)?))
}

fn hand(rig: &Rig, world: &World, side: usize, arm: DMat3) -> Option<DMat3> {
    let rest = &rig.heads;
    let (index, pinky) = (rest[bone::INDEX + side], rest[bone::PINKY + side]);
    let rest_frame = frame_y((index + pinky) / 2.0 - rest[bone::HAND + side], index - pinky)?;
    let (index, pinky) = (world[19 + side]?, world[17 + side]?);
    let frame = frame_y((index + pinky) / 2.0 - world[15 + side]?, index - pinky)?;
    Some(arm * at_most(arm.transpose() * frame * rest_frame.transpose(), WRIST))
}

fn foot(rig: &Rig, world: &World, side: usize, shin: DMat3) -> Option<DMat3> {
    let tip = |landmark| Some(rig.points[rig.point(landmark + side)?].offset);
    let rest = tip(31)? - tip(29)?;
    Some(frame_y(world[31 + side]? - world[29 + side]?, shin * DVec3::X)? * frame_y(rest, DVec3::X)?.transpose())
}
