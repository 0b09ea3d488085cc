//! What the tests of this crate share: one runtime over the cache of this machine, clips, the handler in a place to run.

use std::num::NonZero;
use std::ops::Deref;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use darkroom_api::{Inputs, Outputs, Result, erase};
use darkroom_inference::{Device, DeviceChoice, Runtime, RuntimeOptions};
use darkroom_media::testing::{self, clip};
use darkroom_models::RegistryConfig;

use crate::{VIDEO, Vsr};

/// Models of `tests/bench/tiny_models.py`, registered as `test/<name>`.
const FIXTURES: [&str; 11] = [
    "double",
    "triple_luma_half",
    "bytes",
    "grain8",
    "fixed",
    "fixed_large",
    "one_and_a_half",
    "same_size",
    "whole",
    "two_inputs",
    "stripes",
];

/// The runtime of all tests, on the CPU, where results are to be compared; what is missing in the cache is fetched.
pub fn runtime() -> &'static Arc<Runtime> {
    static RUNTIME: OnceLock<Arc<Runtime>> = OnceLock::new();
    RUNTIME.get_or_init(|| {
        let runtime = with_threads(2);
        for name in ["onnxruntime", "vsr/span-x2", "ffmpeg-vmaf"] {
            runtime.registry().fetch(name, &mut |_| ()).unwrap();
        }
        runtime
    })
}

/// The same for another number of processors, to plan with.
pub fn with_threads(threads: usize) -> Arc<Runtime> {
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures");
    let custom = FIXTURES.map(|name| (format!("test/{name}"), fixtures.join(name).with_extension("onnx")));
    let registry = RegistryConfig { custom: custom.into(), ..RegistryConfig::default() }.open().unwrap();
    let (device, intra_threads) = (DeviceChoice::Fixed(Device::Cpu), NonZero::new(threads));
    Arc::new(Runtime::new(RuntimeOptions { device, intra_threads, ..RuntimeOptions::new(Arc::new(registry)) }))
}

/// A clip of `tests/media`.
pub fn media(name: &str) -> String {
    clip(name).to_str().unwrap().to_owned()
}

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

    /// Real footage, cut and made smaller: 128x96.
    pub fn walk(&self, frames: u32) -> String {
        let (clip, count) = (media("sports2d_demo.mp4"), frames.to_string());
        let filter = "crop=1024:768:400:100,scale=128:96:flags=area";
        let args = ["-frames:v", &count, "-vf", filter, "-an", "-c:v", "libx264", "-crf", "8", "-preset", "ultrafast"];
        self.make("walk.mp4", &["-i", &clip], &args)
    }

    /// Runs the handler as the executor does; outputs are in `out/`.
    pub fn run(&self, file: &str, params: serde_json::Value) -> Result<Outputs> {
        erase(Vsr::new(runtime().clone())).run(&self.context(), &inputs(file), &params)
    }
}

/// The handler's one input.
pub fn inputs(file: &str) -> Inputs {
    Inputs([(VIDEO.to_owned(), vec![PathBuf::from(file)])].into())
}
