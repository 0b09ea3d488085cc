//! Video super-resolution.

mod enlarge;
mod goal;
mod luma;
mod memory;
mod net;
mod params;
mod resize;
mod task;
mod tiles;

pub use goal::Goal;
pub use net::Net;
pub use params::{Aim, Codec, Holder, Params, Size};
pub use task::TaskType;
