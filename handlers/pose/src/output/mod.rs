//! The files of a job: poses as JSON and as arrays, animations for other programs, a summary.
//!
//! Spatial values of JSON and NPZ are in the camera's frame as everywhere here (metres; x right, y down, z away). GLB and
//! BVH have y up and z towards the viewer, as their readers expect: turned by half a turn about x.
//!
//! All writers stream: what they hold does not grow with the clip. They fail with what the destination says, and with
//! `InvalidData` for poses that are not finite or do not fit their body.

mod bvh;
mod glb;
mod gltf;
mod motion;
mod npz;
mod poses;
mod record;
mod summary;
mod writer;

pub use bvh::write_bvh;
pub use glb::write_glb;
pub use motion::{Motion, PosedFrame, Shaped};
pub use npz::{Amass, write_npz};
pub use poses::{
    BoneFacts, FrameCamera, FramePoses, Person, Poses, RigPose, Schema, TrackFacts, VideoFacts, poses_schema,
};
pub use record::coco_of;
pub use summary::{Summary, TrackSummary};
pub use writer::PosesWriter;
