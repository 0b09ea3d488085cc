//! What the tests of this room share: one runtime over the cache of this machine, clips, models.

use std::num::NonZero;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use darkroom_inference::{Device, DeviceChoice, Precision, Runtime, RuntimeOptions};
use darkroom_media::{Frame, Pixel, ReadOptions, Reader};
use darkroom_models::RegistryConfig;
use darkroom_models::onnx::{Graph, Model, Node, Tensor, Value};
use prost::Message;

use super::{BlazePose, BlazePoseDetector, Finder, NanoDet, Schedule};

/// The runtime of all tests, on one thread of the CPU; what is missing in the cache is fetched.
pub fn runtime() -> &'static Arc<Runtime> {
    static RUNTIME: OnceLock<Arc<Runtime>> = OnceLock::new();
    RUNTIME.get_or_init(|| {
        let registry = RegistryConfig::default().open().unwrap();
        let entries = ["blazepose-detector", "blazepose-full", "person-detector", "movenet-lightning", "body"];
        let names: Vec<String> =
            entries.into_iter().map(|name| format!("pose/{name}")).chain(["onnxruntime".to_owned()]).collect();
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

/// A user's model that makes a node's result of each list of constants, in that order.
pub fn constants(inputs: Vec<Value>, outputs: &[Tensor]) -> Graph {
    let told = |tensor: &Tensor| format!("told {}", tensor.name);
    let nodes = outputs.iter().map(|t| node("Identity", &[&t.name], &told(t))).collect();
    let values = outputs.iter().map(|tensor| Value::tensor(&told(tensor), tensor.data_type, None)).collect();
    Graph::new("tiny", nodes, outputs, inputs, values)
}

pub fn node(kind: &str, inputs: &[&str], output: &str) -> Node {
    let inputs = inputs.iter().map(|input| (*input).to_owned()).collect();
    Node::new(kind, format!("make {output}"), inputs, vec![output.to_owned()], &[])
}

/// A runtime that knows a user's model as `pose/own`.
pub fn with_own(graph: Graph) -> (tempfile::TempDir, Runtime) {
    with("pose/own", graph)
}

/// A runtime that knows a user's model under a name.
pub fn with(name: &str, graph: Graph) -> (tempfile::TempDir, Runtime) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("own.onnx");
    std::fs::write(&path, Model::new(graph).encode_to_vec()).unwrap();
    runtime();
    let registry = RegistryConfig { custom: [(name.to_owned(), path)].into(), ..RegistryConfig::default() };
    let device = DeviceChoice::Fixed(Device::Cpu);
    let options = RuntimeOptions { device, ..RuntimeOptions::new(Arc::new(registry.open().unwrap())) };
    (dir, Runtime::new(options))
}

/// A picture of RGB.
pub fn rgb(width: u32, height: u32, value: impl Fn(usize, usize, usize) -> u8) -> Frame {
    let mut frame = Frame::new(Pixel::RGB24, width, height).unwrap();
    let plane = frame.plane_mut(0).unwrap();
    let stride = plane.stride;
    plane
        .data
        .iter_mut()
        .enumerate()
        .for_each(|(at, byte)| *byte = value(at % stride / 3, at / stride, at % stride % 3));
    frame
}
