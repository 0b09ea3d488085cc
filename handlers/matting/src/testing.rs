//! What the tests of this crate share: one runtime over the cache of this machine, the handler in a place to run.

use std::num::NonZero;
use std::ops::Deref;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use darkroom_api::{Inputs, Outputs, Result, erase};
use darkroom_inference::{Device, DeviceChoice, Runtime, RuntimeOptions};
use darkroom_media::testing;
pub use darkroom_media::testing::clip as media;
use darkroom_models::RegistryConfig;

use crate::Matting;

pub const RVM: &str = "matting/rvm-mobilenetv3";

/// The runtime of all tests, on the CPU, where results are to be compared; what is missing in the cache is fetched.
pub fn runtime() -> &'static Arc<Runtime> {
    static RUNTIME: OnceLock<Arc<Runtime>> = OnceLock::new();
    RUNTIME.get_or_init(|| {
        let fixture = |name: &str| fixtures().join(name).with_extension("onnx");
        let custom = ["rvm_rank5", "rvm_half"].map(|name| (format!("test/{name}"), fixture(name)));
        let alien = ("test/alien".to_owned(), fixtures().join("../../inference/fixtures/double.onnx"));
        let custom = custom.into_iter().chain([alien]).collect();
        let registry = RegistryConfig { custom, ..RegistryConfig::default() }.open().unwrap();
        registry.fetch("onnxruntime", &mut |_| ()).unwrap();
        registry.fetch(RVM, &mut |_| ()).unwrap();
        let device = DeviceChoice::Fixed(Device::Cpu);
        // Two threads, whatever the machine: the network then runs in halves.
        let intra_threads = NonZero::new(2);
        Arc::new(Runtime::new(RuntimeOptions { device, intra_threads, ..RuntimeOptions::new(Arc::new(registry)) }))
    })
}

pub fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures")
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

    /// A small person from real footage: 144x240, 60 frames a second.
    pub fn person(&self, frames: u32) -> String {
        let clip = media("pose2sim_SinglePerson_cam01.mp4");
        let filter = "crop=720:1200:180:240,scale=144:240:flags=area";
        let count = frames.to_string();
        let args = ["-frames:v", &count, "-vf", filter, "-c:v", "libx264", "-crf", "12", "-preset", "ultrafast"];
        self.make("person.mp4", &["-i", clip.to_str().unwrap()], &args)
    }

    /// Runs the handler as the executor does; outputs are in `out/`.
    pub fn run(&self, inputs: &[(&str, &str)], params: serde_json::Value) -> Result<Outputs> {
        let files = inputs.iter().map(|(role, file)| ((*role).to_owned(), vec![PathBuf::from(file)])).collect();
        erase(Matting::new(runtime().clone())).run(&self.context(), &Inputs(files), &params)
    }
}
