//! ONNX Runtime sessions: where they run, how they are kept warm, and what their errors mean.
//!
//! A [`Runtime`] loads the ONNX Runtime library that the model registry names (never linked, so a machine without it can
//! still probe media and tell what is missing), chooses a [`Device`] once, and lends [`PooledSession`]s for model names.
//! A session goes back to the pool when its guard is dropped, so the next job starts with a warm one.
//!
//! Sessions are set up for video on a shared machine: threads do not spin between calls, memory comes from an arena
//! that grows to what one frame needs, and ONNX Runtime's memory patterns are off: measured on RVM at 1080x1920, they
//! took 15 % more CPU time and 140 MiB more memory.

mod arena;
mod device;
mod error;
mod graph;
mod io;
mod pool;
mod runtime;
#[cfg_attr(not(target_arch = "x86_64"), path = "winograd/absent.rs")]
mod winograd;

pub use arena::peak_bytes;
pub use darkroom_models::onnx::{Attribute, Node};
pub use device::{Device, DeviceChoice};
pub use error::{job_error, retry_halving};
pub use graph::{Edit, Graph};
pub use io::{TensorInfo, signature};
pub use ort;
pub use pool::PooledSession;
pub use runtime::{Precision, Runtime, RuntimeOptions, Setup};
