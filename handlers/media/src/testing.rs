//! What the tests of this crate share: real clips, ffmpeg to make odd ones of them, a context that records.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex};

use darkroom_api::{CancelToken, JobContext, LogLevel, Progress, Reporter, Result};

/// A clip of `tests/media`.
pub(crate) fn clip(name: &str) -> PathBuf {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/media").join(name);
    assert!(path.is_file(), "{} is missing", path.display());
    path
}

/// H.264, 1080x1920, 60 fps, 100 frames, no sound.
pub(crate) fn man() -> PathBuf {
    clip("pose2sim_SinglePerson_cam01.mp4")
}

/// VP9 in MP4, 1768x994, 30 fps, 230 frames, AAC.
pub(crate) fn jump() -> PathBuf {
    clip("sports2d_demo.mp4")
}

/// A folder for made files, gone at the end of the test.
pub(crate) struct Scratch(pub(crate) tempfile::TempDir);

impl Scratch {
    pub(crate) fn new() -> Scratch {
        Scratch(tempfile::tempdir().unwrap())
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// Makes a file from a clip: `arguments` stand between input and output.
    pub(crate) fn make(&self, from: &Path, arguments: &str, name: &str) -> PathBuf {
        let out = self.path(name);
        run("ffmpeg", &format!("-v error -nostdin -y -i {} {arguments} {}", from.display(), out.display()));
        out
    }
}

/// Runs a tool; its standard output.
pub(crate) fn run(tool: &str, arguments: &str) -> String {
    let output = Command::new(tool).args(arguments.split_whitespace()).output().unwrap();
    assert!(output.status.success(), "{tool} {arguments}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// Presentation times of a stream's packets, sorted, in seconds.
pub(crate) fn times(path: &Path, stream: &str) -> Vec<f64> {
    let list = run(
        "ffprobe",
        &format!("-v error -select_streams {stream} -show_entries packet=pts_time -of csv=p=0 {}", path.display()),
    );
    let mut times: Vec<f64> = list.lines().filter_map(|l| l.trim_end_matches(',').parse().ok()).collect();
    times.sort_by(f64::total_cmp);
    times
}

/// One entry of ffprobe for a stream.
pub(crate) fn entry(path: &Path, stream: &str, what: &str) -> String {
    let args = format!("-v error -select_streams {stream} -show_entries {what} -of csv=p=0 {}", path.display());
    run("ffprobe", &args).trim().to_owned()
}

/// Records progress.
#[derive(Default)]
pub(crate) struct Recorder(pub(crate) Mutex<Vec<Progress>>);

impl Reporter for Recorder {
    fn progress(&self, progress: Progress) {
        self.0.lock().unwrap().push(progress);
    }
    fn log(&self, _: LogLevel, _: &str) {}
    fn checkpoint(&self, _: &Path) -> Result<()> {
        Ok(())
    }
}

/// A context and what it records.
pub(crate) fn context(scratch: &Scratch) -> (JobContext, Arc<Recorder>) {
    let recorder = Arc::new(Recorder::default());
    let ctx = JobContext {
        scratch_dir: scratch.0.path().to_owned(),
        output_dir: scratch.0.path().to_owned(),
        resume: None,
        cancel: CancelToken::default(),
        reporter: recorder.clone(),
    };
    (ctx, recorder)
}
