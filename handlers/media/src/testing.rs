//! What tests share, of this crate and of handlers (by the feature `testing`, which only their tests ask for): real clips,
//! ffmpeg to make odd ones of them, a place to run a handler in, with a context that records.
#![allow(clippy::unwrap_used, reason = "for tests, which fail by it")]

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex};

use darkroom_api::{CancelToken, JobContext, LogLevel, Progress, Reporter, Result};

/// A clip of `tests/media`.
pub fn clip(name: &str) -> PathBuf {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/media").join(name);
    assert!(path.is_file(), "{} is missing", path.display());
    path
}

/// H.264, 1080x1920, 60 fps, 100 frames, no sound.
pub fn man() -> PathBuf {
    clip("pose2sim_SinglePerson_cam01.mp4")
}

/// VP9 in MP4, 1768x994, 30 fps, 230 frames, AAC.
pub fn jump() -> PathBuf {
    clip("sports2d_demo.mp4")
}

/// A folder for made files, gone at the end of the test.
pub struct Scratch(pub tempfile::TempDir);

impl Scratch {
    /// An empty one.
    #[allow(clippy::new_without_default, reason = "it makes a directory")]
    pub fn new() -> Scratch {
        Scratch(tempfile::tempdir().unwrap())
    }

    /// A file in it.
    pub fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// Makes a file from a clip: `arguments` stand between input and output.
    pub fn make(&self, from: &Path, arguments: &str, name: &str) -> PathBuf {
        let out = self.path(name);
        let mut args = vec!["-v", "error", "-nostdin", "-y", "-i", from.to_str().unwrap()];
        args.extend(arguments.split_whitespace());
        args.push(out.to_str().unwrap());
        tool("ffmpeg", &args);
        out
    }
}

/// Runs a tool; its standard output.
pub fn run(tool: &str, arguments: &str) -> String {
    let output = Command::new(tool).args(arguments.split_whitespace()).output().unwrap();
    assert!(output.status.success(), "{tool} {arguments}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// Presentation times of a stream's packets, sorted, in seconds.
pub fn times(path: &Path, stream: &str) -> Vec<f64> {
    let list = run(
        "ffprobe",
        &format!("-v error -select_streams {stream} -show_entries packet=pts_time -of csv=p=0 {}", path.display()),
    );
    let mut times: Vec<f64> = list.lines().filter_map(|l| l.trim_end_matches(',').parse().ok()).collect();
    times.sort_by(f64::total_cmp);
    times
}

/// One entry of ffprobe for a stream.
pub fn entry(path: &Path, stream: &str, what: &str) -> String {
    let args = format!("-v error -select_streams {stream} -show_entries {what} -of csv=p=0 {}", path.display());
    run("ffprobe", &args).trim().to_owned()
}

/// Records progress.
#[derive(Default)]
pub struct Recorder(pub Mutex<Vec<Progress>>);

impl Reporter for Recorder {
    fn progress(&self, progress: Progress) {
        self.0.lock().unwrap().push(progress);
    }
    fn log(&self, _: LogLevel, _: &str) {}
    fn checkpoint(&self, _: &Path) -> Result<()> {
        Ok(())
    }
}

/// A context in one directory, and what it records.
pub fn context(scratch: &Scratch) -> (JobContext, Arc<Recorder>) {
    let recorder = Arc::new(Recorder::default());
    let dir = scratch.0.path();
    (context_in(dir, dir.to_owned(), CancelToken::default(), recorder.clone()), recorder)
}

fn context_in(scratch: &Path, output_dir: PathBuf, cancel: CancelToken, reporter: Arc<Recorder>) -> JobContext {
    JobContext { scratch_dir: scratch.to_owned(), output_dir, resume: None, cancel, reporter }
}

/// Runs a tool with arguments that may hold spaces; what it wrote to its standard output.
pub fn tool(program: &str, args: &[&str]) -> Vec<u8> {
    let output = Command::new(program).args(args).output().unwrap();
    assert!(output.status.success(), "{program} {args:?}: {}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}

/// A place to run a handler in: outputs lie in `out/`, what is made for it beside that.
pub struct Bench {
    /// Its directory.
    pub scratch: Scratch,
    /// Ends what runs in it.
    pub cancel: CancelToken,
    recorder: Arc<Recorder>,
}

impl Bench {
    /// An empty one.
    #[allow(clippy::new_without_default, reason = "it makes a directory")]
    pub fn new() -> Bench {
        let scratch = Scratch::new();
        std::fs::create_dir(scratch.path("out")).unwrap();
        Bench { scratch, cancel: CancelToken::default(), recorder: Arc::default() }
    }

    /// A file in it, as tools want it named.
    pub fn path(&self, name: &str) -> String {
        self.scratch.path(name).to_str().unwrap().to_owned()
    }

    /// Makes a file with ffmpeg: `args` between input and output.
    pub fn make(&self, name: &str, input: &[&str], args: &[&str]) -> String {
        let path = self.path(name);
        let quiet: &[&str] = &["-v", "error", "-nostdin", "-y"];
        tool("ffmpeg", &[quiet, input, args, &[path.as_str()]].concat());
        path
    }

    /// Where a run works.
    pub fn context(&self) -> JobContext {
        context_in(self.scratch.0.path(), self.scratch.path("out"), self.cancel.clone(), self.recorder.clone())
    }

    /// What the runs have told so far.
    pub fn progress(&self) -> Vec<Progress> {
        self.recorder.0.lock().unwrap().clone()
    }

    /// Pixels of a file, `layout` being ffmpeg's name of theirs.
    pub fn pixels(&self, file: &str, filter: &str, layout: &str) -> Vec<u8> {
        self.decoded(file, &[], filter, layout)
    }

    /// The same by a decoder that is not the default one.
    pub fn decoded(&self, file: &str, decoder: &[&str], filter: &str, layout: &str) -> Vec<u8> {
        let (path, quiet) = (self.path(file), ["-v", "error", "-nostdin"]);
        let tail = ["-i", &path, "-vf", filter, "-f", "rawvideo", "-pix_fmt", layout, "-"];
        tool("ffmpeg", &[&quiet[..], decoder, &tail[..]].concat())
    }

    /// What ffprobe says of the video stream, `key=value` a line.
    pub fn shows(&self, file: &str, entries: &str) -> String {
        let path = self.path(file);
        let args =
            ["-v", "error", "-select_streams", "v:0", "-show_entries", entries, "-of", "default=nk=0:nw=1", &path];
        String::from_utf8(tool("ffprobe", &args)).unwrap()
    }

    /// Times of the video's packets, sorted, in seconds.
    pub fn times(&self, file: &str) -> Vec<f64> {
        times(&self.scratch.path(file), "v:0")
    }
}
