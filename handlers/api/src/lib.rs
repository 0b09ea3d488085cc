//! What a handler is, and what consumer and executor say to each other.
//!
//! No I/O and no async runtime: this crate holds words, types and their rules. Handlers implement [`Handler`]; the
//! executor erases them to [`DynHandler`] and serves them over the [`protocol`]; the consumer reads [`Descriptor`]s and
//! derives what happens to a delivery from an [`ErrorCode`]'s [`ErrorClass`].

mod context;
mod describe;
mod encoding;
mod error;
mod handler;
mod measure;
mod outputs;
mod params;
mod probe;
pub mod protocol;
pub mod ranges;

pub use context::{CancelToken, JobContext, LogLevel, Progress, Reporter};
pub use describe::{Descriptor, InputRole, Limits, MediaKind, Stage};
pub use encoding::{Codec, Holder};
pub use error::{ErrorClass, ErrorCode, JobError, Result};
pub use handler::{DynHandler, Handler, Inputs, Plan, Probes, erase};
pub use measure::{Alone, Measured, Part};
pub use outputs::{ModelUse, OutputFile, Outputs, StageReport};
pub use params::parse_params;
pub use probe::{AudioProbe, Colour, Probe, VideoProbe};
pub use ranges::{Auto, Bounded, Quality, Seconds, Speed, check_part};
