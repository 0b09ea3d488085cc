//! A posable body: rest shape, bones, skinning.
//!
//! [`Body`] is the CC0 body (made by `darkroom models fetch pose/body`), or any file of the same form. [`Smpl`] is SMPL, where
//! the user has it. [`retarget`] lets rotations of SMPL's skeleton drive a [`Body`], for which no file of SMPL is needed.
//!
//! Files come from outside: every count, index and number is checked once, when a file is read, so that posing cannot fail.

mod asset;
mod file;
mod kinematics;
mod retarget;
#[cfg(test)]
pub(crate) mod sample;
mod skin;
mod smpl;
mod smpl_file;
mod surface;

pub use asset::{Body, Bone, Influences, Region};
pub use kinematics::Joints;
pub use retarget::{SMPL_JOINTS, SMPL_NAMES, retarget};
pub use smpl::{Smpl, SmplPosed};
pub use surface::normals;
