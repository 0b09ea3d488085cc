//! What the tests of this crate share: one runtime over the cache of this machine, clips, a place to run.

use std::num::NonZero;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex, OnceLock};

use darkroom_api::{CancelToken, Inputs, JobContext, LogLevel, Outputs, Progress, Reporter, Result, erase};
use darkroom_inference::{Device, DeviceChoice, Runtime, RuntimeOptions};
use darkroom_models::RegistryConfig;
use tempfile::TempDir;

use crate::{VIDEO, Vsr};

/// Models of `tests/bench/tiny_models.py`, registered as `test/<name>`.
const FIXTURES: [&str; 10] = [
    "double",
    "triple_luma_half",
    "bytes",
    "grain8",
    "fixed",
    "fixed_large",
    "one_and_a_half",
    "same_size",
    "two_inputs",
    "stripes",
];

/// The runtime of all tests, on the CPU, where results are to be compared; what is missing in the cache is fetched.
pub fn runtime() -> &'static Arc<Runtime> {
    static RUNTIME: OnceLock<Arc<Runtime>> = OnceLock::new();
    RUNTIME.get_or_init(|| {
        let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures");
        let custom = FIXTURES.map(|name| (format!("test/{name}"), fixtures.join(name).with_extension("onnx")));
        let registry = RegistryConfig { custom: custom.into(), ..RegistryConfig::default() }.open().unwrap();
        for name in ["onnxruntime", "vsr/span-x2", "ffmpeg-vmaf"] {
            registry.fetch(name, &mut |_| ()).unwrap();
        }
        let device = DeviceChoice::Fixed(Device::Cpu);
        let intra_threads = NonZero::new(2);
        Arc::new(Runtime::new(RuntimeOptions { device, intra_threads, ..RuntimeOptions::new(Arc::new(registry)) }))
    })
}

/// A clip of `tests/media`.
pub fn media(name: &str) -> String {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/media").join(name).to_str().unwrap().to_owned()
}

/// Runs a tool and returns what it wrote to its standard output.
pub fn tool(program: &str, args: &[&str]) -> Vec<u8> {
    let output = Command::new(program).args(args).output().unwrap();
    assert!(output.status.success(), "{program} {args:?}: {}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}

/// A directory for one test's clips and outputs.
pub struct Bench {
    pub dir: TempDir,
    pub cancel: CancelToken,
    progress: Arc<Recorder>,
}

#[derive(Default)]
struct Recorder(Mutex<Vec<Progress>>);

impl Reporter for Recorder {
    fn progress(&self, progress: Progress) {
        self.0.lock().unwrap().push(progress);
    }
    fn log(&self, _: LogLevel, _: &str) {}
    fn checkpoint(&self, _: &Path) -> Result<()> {
        Ok(())
    }
}

impl Bench {
    pub fn new() -> Bench {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("out")).unwrap();
        Bench { dir, cancel: CancelToken::default(), progress: Arc::default() }
    }

    pub fn path(&self, name: &str) -> String {
        self.dir.path().join(name).to_str().unwrap().to_owned()
    }

    /// Makes a file with ffmpeg: `args` between input and output.
    pub fn make(&self, name: &str, input: &[&str], args: &[&str]) -> String {
        let path = self.path(name);
        tool("ffmpeg", &[&["-v", "error", "-y"], input, args, &[path.as_str()]].concat());
        path
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

    /// Where a run works.
    pub fn context(&self) -> JobContext {
        JobContext {
            scratch_dir: self.dir.path().to_owned(),
            output_dir: self.dir.path().join("out"),
            resume: None,
            cancel: self.cancel.clone(),
            reporter: self.progress.clone(),
        }
    }

    pub fn progress(&self) -> Vec<Progress> {
        self.progress.0.lock().unwrap().clone()
    }

    /// Pixels of a file, `pixels` being ffmpeg's name of their layout.
    pub fn pixels(&self, path: &str, filter: &str, pixels: &str) -> Vec<u8> {
        tool("ffmpeg", &["-v", "error", "-i", path, "-vf", filter, "-f", "rawvideo", "-pix_fmt", pixels, "-"])
    }

    /// What ffprobe says of the video stream, `key=value` a line.
    pub fn shows(&self, path: &str, entries: &str) -> String {
        let args =
            ["-v", "error", "-select_streams", "v:0", "-show_entries", entries, "-of", "default=nk=0:nw=1", path];
        String::from_utf8(tool("ffprobe", &args)).unwrap()
    }
}

/// The handler's one input.
pub fn inputs(file: &str) -> Inputs {
    Inputs([(VIDEO.to_owned(), vec![PathBuf::from(file)])].into())
}
