//! What the tests of this crate share: one runtime over the cache of this machine, clips, a place to run.

use std::num::NonZero;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex, OnceLock};

use darkroom_api::{CancelToken, Inputs, JobContext, LogLevel, Outputs, Progress, Reporter, Result, erase};
use darkroom_inference::{Device, DeviceChoice, Runtime, RuntimeOptions};
use darkroom_models::RegistryConfig;
use tempfile::TempDir;

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

/// A clip of `tests/media`.
pub fn media(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/media").join(name)
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
        let quiet: &[&str] = &["-v", "error", "-y"];
        tool("ffmpeg", &[quiet, input, args, &[path.as_str()]].concat());
        path
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

    /// Pixels of a file, `pixels` being ffmpeg's name of their layout; `decoder` where it must not be the default one.
    pub fn pixels(&self, name: &str, decoder: &[&str], filter: &str, pixels: &str) -> Vec<u8> {
        let (path, quiet) = (self.path(name), ["-v", "error"]);
        let tail = ["-i", &path, "-vf", filter, "-f", "rawvideo", "-pix_fmt", pixels, "-"];
        tool("ffmpeg", &[&quiet[..], decoder, &tail[..]].concat())
    }

    /// Times of the video packets, sorted.
    pub fn times(&self, name: &str) -> Vec<f64> {
        let (path, entries) = (self.path(name), "packet=pts_time");
        let args = ["-v", "error", "-select_streams", "v:0", "-show_entries", entries, "-of", "csv=p=0", &path];
        let text = String::from_utf8(tool("ffprobe", &args)).unwrap();
        let mut times: Vec<f64> = text.split([',', '\n']).filter_map(|word| word.trim().parse().ok()).collect();
        times.sort_by(f64::total_cmp);
        times
    }
}
