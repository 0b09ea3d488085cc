//! Frames and turns in double precision. What has no direction gives no frame, rather than numbers that are none.

use glam::{DMat3, DQuat, DVec3};

/// Shorter than this, in metres, a way has no direction.
const NO_LENGTH: f64 = 1e-6;

/// The direction of a way.
pub fn unit(way: DVec3) -> Option<DVec3> {
    let length = way.length();
    (length > NO_LENGTH && length.is_finite()).then(|| way / length)
}

/// Axes with `x` as it is and `y` near to the one given.
pub fn frame_x(x: DVec3, y: DVec3) -> Option<DMat3> {
    let x = unit(x)?;
    let z = unit(x.cross(unit(y)?))?;
    Some(DMat3::from_cols(x, z.cross(x), z))
}

/// Axes with `y` as it is and `x` near to the one given.
pub fn frame_y(y: DVec3, x: DVec3) -> Option<DMat3> {
    let y = unit(y)?;
    let z = unit(unit(x)?.cross(y))?;
    Some(DMat3::from_cols(y.cross(z), y, z))
}

/// The part of a way that is square to a direction, as a direction.
pub fn square_to(way: DVec3, direction: DVec3) -> Option<DVec3> {
    unit(way - direction * way.dot(direction))
}

/// The least turn from one direction to another.
pub fn swing(from: DVec3, to: DVec3) -> DMat3 {
    DMat3::from_quat(DQuat::from_rotation_arc(from, to))
}

/// A share of the way from one rotation to another.
pub fn between(from: DMat3, to: DMat3, share: f64) -> DMat3 {
    DMat3::from_quat(DQuat::from_mat3(&from).slerp(DQuat::from_mat3(&to), share))
}

/// A rotation with its angle cut at a limit.
pub fn at_most(turn: DMat3, limit: f64) -> DMat3 {
    let (axis, angle) = DQuat::from_mat3(&turn).to_axis_angle();
    let signed = if angle > std::f64::consts::PI { angle - std::f64::consts::TAU } else { angle };
    DMat3::from_quat(DQuat::from_axis_angle(axis, signed.clamp(-limit, limit)))
}

/// The rotation vector of a unit quaternion, of a length up to a full turn: `q` and `-q` give different ways to one place, so
/// that a sequence without jumps of sign gives vectors without jumps.
pub fn log(q: DQuat) -> DVec3 {
    let v = q.xyz();
    let length = v.length();
    if length < 1e-12 { DVec3::ZERO } else { v * (2.0 * length.atan2(q.w) / length) }
}
