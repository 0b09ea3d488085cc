//! What the tests of this room share: one runtime over the cache of this machine, clips, models.

use std::num::NonZero;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use darkroom_inference::{Device, DeviceChoice, Precision, Runtime, RuntimeOptions};
use darkroom_media::{Frame, ReadOptions, Reader};
use darkroom_models::RegistryConfig;

use super::{BlazePose, BlazePoseDetector, Finder, NanoDet, Schedule};

/// The runtime of all tests, on one thread of the CPU; what is missing in the cache is fetched.
pub fn runtime() -> &'static Arc<Runtime> {
    static RUNTIME: OnceLock<Arc<Runtime>> = OnceLock::new();
    RUNTIME.get_or_init(|| {
        let registry = RegistryConfig::default().open().unwrap();
        let names = ["onnxruntime", "pose/blazepose-detector", "pose/blazepose-full", "pose/person-detector"];
        let names = names.map(String::from);
        for name in &names {
            registry.fetch_among(name, &names, &mut |_| ()).unwrap();
        }
        let device = DeviceChoice::Fixed(Device::Cpu);
        let intra_threads = NonZero::new(1);
        Arc::new(Runtime::new(RuntimeOptions { device, intra_threads, ..RuntimeOptions::new(Arc::new(registry)) }))
    })
}

pub fn landmarks() -> BlazePose<'static> {
    BlazePose::new(runtime().session("pose/blazepose-full", Precision::Full).unwrap()).unwrap()
}

pub fn detector() -> BlazePoseDetector<'static> {
    BlazePoseDetector::new(runtime().session("pose/blazepose-detector", Precision::Full).unwrap()).unwrap()
}

pub fn nanodet() -> NanoDet<'static> {
    NanoDet::new(runtime().session("pose/person-detector", Precision::Full).unwrap()).unwrap()
}

/// All of it.
pub fn finder(fps: f64) -> Finder<'static> {
    Finder::new(vec![Box::new(detector()), Box::new(nanodet())], Box::new(landmarks()), Schedule::for_fps(fps))
}

/// A clip of `tests/media`.
pub fn media(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/media").join(name)
}

/// The first frames of a clip.
pub fn frames(name: &str, count: usize) -> Vec<Frame> {
    let mut reader = Reader::open(&media(name), &ReadOptions::default()).unwrap();
    std::iter::from_fn(|| reader.next().unwrap()).take(count).collect()
}
