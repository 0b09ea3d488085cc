//! What the tests of this crate share: the handler in a place to run.

use std::ops::Deref;
use std::path::PathBuf;
use std::sync::Arc;

use darkroom_api::{Inputs, Outputs, Result, erase};
use darkroom_media::testing;

use crate::people::testing::runtime;
use crate::{Pose, VIDEO};

/// A place to run the handler in.
pub struct Bench(testing::Bench);

impl Deref for Bench {
    type Target = testing::Bench;

    fn deref(&self) -> &testing::Bench {
        &self.0
    }
}

impl Bench {
    pub fn new() -> Bench {
        Bench(testing::Bench::new())
    }

    /// Runs the handler as the executor does; outputs are in `out/`.
    pub fn run(&self, file: &str, params: serde_json::Value) -> Result<Outputs> {
        handler().run(&self.context(), &inputs(file), &params)
    }
}

/// The handler, as the executor has it.
pub fn handler() -> Box<dyn darkroom_api::DynHandler> {
    erase(Pose::new(Arc::clone(runtime())))
}

/// The handler's one input.
pub fn inputs(file: &str) -> Inputs {
    Inputs([(VIDEO.to_owned(), vec![PathBuf::from(file)])].into())
}
