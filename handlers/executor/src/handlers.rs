//! The handlers of this build. Adding one is one line here.

use std::sync::Arc;

use darkroom_api::DynHandler;
use darkroom_inference::Runtime;

/// All handlers.
pub type Table = Vec<Box<dyn DynHandler>>;

/// The handlers of this build.
pub fn all(_runtime: &Arc<Runtime>) -> Table {
    vec![]
}
