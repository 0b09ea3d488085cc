//! The handlers of this build. Adding one is one line here.

use std::sync::Arc;

use darkroom_api::{DynHandler, erase};
use darkroom_compare::Compare;
use darkroom_inference::Runtime;
use darkroom_matting::Matting;
use darkroom_pose::Pose;
use darkroom_vsr::Vsr;

/// Handlers, in the order in which they are shown.
pub type Table = Vec<Box<dyn DynHandler>>;

/// The handlers of this build.
pub fn all(runtime: &Arc<Runtime>) -> Table {
    let runtime = || Arc::clone(runtime);
    vec![
        erase(Matting::new(runtime())),
        erase(Vsr::new(runtime())),
        erase(Pose::new(runtime())),
        erase(Compare::new(runtime())),
    ]
}
