//! Reads what a run left behind. An executor may have been taken over by the file it decoded: its list and its files are
//! as hostile as the input.

use std::collections::HashSet;
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::OwnedFd;
use std::path::{Component, Path, PathBuf};

use darkroom_api::protocol::OutputList;
use darkroom_api::{ErrorCode, JobError, OutputFile, Outputs, Result, StageReport};
use rustix::fs::{Mode, OFlags, ResolveFlags, openat2};

/// Longest list of outputs: room for a PNG sequence of some hours.
const MAX_LIST_BYTES: u64 = 64 << 20;
/// Most output files.
const MAX_FILES: usize = 400_000;
/// Outputs that are looked at without leaving the thread for it.
const FEW_FILES: usize = 32;
/// Longest name.
const MAX_NAME_BYTES: usize = 512;
/// Most stages and models, and longest text about one.
const MAX_PARTS: usize = 32;
const MAX_WORD_BYTES: usize = 256;
/// Longest parameters and metrics, as JSON: they go into the manifest and the event.
const MAX_JSON_BYTES: usize = 64 << 10;
/// Most warnings; further ones are dropped.
const MAX_WARNINGS: usize = 100;
/// Longest time that is believed: no run lasts thirty years.
const MAX_SECS: f64 = 1e9;

/// An output on the scratch disk, checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LocalOutput {
    /// Name and media type.
    pub file: OutputFile,
    /// Where it lies: a regular file below the job's output directory, reached through no link.
    pub path: PathBuf,
    /// Its size.
    pub bytes: u64,
}

/// What a run left behind, checked.
#[derive(Debug, Clone, PartialEq)]
pub struct RunResult {
    /// As the handler told it.
    pub outputs: Outputs,
    /// The same files on the scratch disk, in the same order.
    pub files: Vec<LocalOutput>,
}

/// Checks the list, and that every file on it is there. `dir` has the run's `tmp` and `out`.
///
/// # Errors
/// [`ErrorCode::ExecutorProtocol`].
pub(super) async fn read(list: OutputList, dir: &Path) -> Result<RunResult> {
    let (scratch, output) = (dir.join("tmp"), dir.join("out"));
    match &list {
        OutputList::Told(outputs) if outputs.files.len() <= FEW_FILES => check(list, &scratch, &output),
        _ => {
            let checked = tokio::task::spawn_blocking(move || check(list, &scratch, &output)).await;
            let failed = |e| JobError::new(ErrorCode::Internal, format!("Reading the outputs failed: {e}."));
            checked.map_err(failed)?
        }
    }
}

fn check(list: OutputList, scratch_dir: &Path, output_dir: &Path) -> Result<RunResult> {
    let broken = |what: String| {
        let why = format!("The handler's outputs cannot be used ({what}): this is a bug in it, please report it.");
        JobError::new(ErrorCode::ExecutorProtocol, why)
    };
    let mut outputs = match list {
        OutputList::Told(outputs) => *outputs,
        OutputList::File(list) => {
            read_list(&list, scratch_dir).map_err(|error| broken(format!("their list: {error}")))?
        }
    };
    check_report(&mut outputs).map_err(broken)?;
    if outputs.files.len() > MAX_FILES {
        return Err(broken(format!("{} files are more than {MAX_FILES}", outputs.files.len())));
    }
    let (mut files, mut names) = (Vec::with_capacity(outputs.files.len()), HashSet::new());
    for file in &outputs.files {
        if !is_name(&file.name) || !names.insert(file.name.as_str()) {
            let shown = super::drain::printable(&file.name.chars().take(80).collect::<String>());
            return Err(broken(format!("`{shown}` is no name for an output, or there twice")));
        }
        if !is_media_type(&file.media_type) {
            return Err(broken(format!("`{}` has no proper media type", file.name)));
        }
        let bytes =
            open(output_dir, Path::new(&file.name)).map_err(|error| broken(format!("`{}`: {error}", file.name)))?.1;
        files.push(LocalOutput { file: file.clone(), path: output_dir.join(&file.name), bytes });
    }
    Ok(RunResult { outputs, files })
}

/// Holds what a run says of itself to the size of a report: every receiver of its event gets it.
fn check_report(outputs: &mut Outputs) -> Result<(), String> {
    let plain = |text: &str| !text.is_empty() && text.len() <= MAX_WORD_BYTES && !text.contains(char::is_control);
    if outputs.stages.len() > MAX_PARTS || outputs.models.len() > MAX_PARTS {
        return Err(format!("more than {MAX_PARTS} stages or models"));
    }
    if !outputs.stages.iter().all(|stage| plain(&stage.name))
        || !outputs.models.iter().all(|model| plain(&model.name) && plain(&model.sha256))
    {
        return Err("a stage or a model has no proper name".into());
    }
    let times = |s: &StageReport| [s.busy_secs, s.waiting_input_secs, s.waiting_output_secs, s.cpu_secs];
    if !outputs.stages.iter().flat_map(times).all(|secs| (0.0..=MAX_SECS).contains(&secs)) {
        return Err("a stage took no time that there is".into());
    }
    let bytes = serde_json::json!([outputs.params, outputs.metrics]).to_string().len();
    if bytes > MAX_JSON_BYTES {
        return Err(format!("{bytes} bytes of parameters and metrics are more than {MAX_JSON_BYTES}"));
    }
    outputs.warnings.truncate(MAX_WARNINGS);
    for warning in &mut outputs.warnings {
        *warning = super::drain::printable(warning);
    }
    Ok(())
}

fn read_list(list: &Path, scratch_dir: &Path) -> io::Result<Outputs> {
    let outside = || io::Error::other("it lies outside the scratch directory");
    let (file, bytes) = open(scratch_dir, list.strip_prefix(scratch_dir).map_err(|_| outside())?)?;
    if bytes > MAX_LIST_BYTES {
        return Err(io::Error::other(format!("{bytes} bytes are more than {MAX_LIST_BYTES}")));
    }
    let mut text = Vec::new();
    file.take(MAX_LIST_BYTES).read_to_end(&mut text)?;
    Ok(serde_json::from_slice(&text)?)
}

/// Opens a regular file below a directory, through no link of any kind; with it its size.
fn open(dir: &Path, name: &Path) -> io::Result<(File, u64)> {
    // NONBLOCK: a FIFO under that name must not hold us; whatever is no regular file is refused below.
    let file = File::from(open_below(dir, name, OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK)?);
    let meta = file.metadata()?;
    match meta.is_file() {
        true => Ok((file, meta.len())),
        false => Err(io::Error::other("it is no regular file")),
    }
}

/// Opens a directory below a directory (or that one, for an empty name), through no link of any kind.
pub(super) fn open_dir(dir: &Path, name: &Path) -> io::Result<OwnedFd> {
    let name = if name.as_os_str().is_empty() { Path::new(".") } else { name };
    open_below(dir, name, OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW)
}

fn open_below(dir: &Path, name: &Path, flags: OFlags) -> io::Result<OwnedFd> {
    let root = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let dir = rustix::fs::open(dir, root, Mode::empty())?;
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
    Ok(openat2(&dir, name, flags | OFlags::CLOEXEC, Mode::empty(), resolve)?)
}

/// Plain parts joined by `/`: these names become keys in a bucket.
fn is_name(name: &str) -> bool {
    let plain = |part: Component<'_>| matches!(part, Component::Normal(text) if !text.is_empty());
    !name.is_empty()
        && name.len() <= MAX_NAME_BYTES
        && !name.chars().any(|c| c.is_control() || c == '\\')
        && name.split('/').all(|part| !part.is_empty())
        && Path::new(name).components().all(plain)
        // `components` swallows `.`: what it kept must be all there was.
        && Path::new(name).components().count() == name.split('/').count()
}

fn is_media_type(text: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || "!#$&-^_.+/;= \"".contains(c);
    text.len() <= 127 && text.contains('/') && text.chars().all(plain)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::symlink;

    struct Dirs(tempfile::TempDir);

    impl Dirs {
        fn new() -> Dirs {
            let dirs = Dirs(tempfile::tempdir().unwrap());
            fs::create_dir(dirs.tmp()).unwrap();
            fs::create_dir(dirs.out()).unwrap();
            dirs
        }
        fn tmp(&self) -> PathBuf {
            self.0.path().join("tmp")
        }
        fn out(&self) -> PathBuf {
            self.0.path().join("out")
        }
        fn read(&self, names: &[&str]) -> Result<RunResult> {
            let file = |name: &&str| OutputFile { name: (*name).into(), media_type: "video/webm".into() };
            let outputs = Outputs { files: names.iter().map(file).collect(), ..Outputs::default() };
            let list = self.tmp().join("outputs.json");
            fs::write(&list, serde_json::to_vec(&outputs).unwrap()).unwrap();
            let told = check(OutputList::Told(Box::new(outputs)), &self.tmp(), &self.out());
            assert_eq!(
                told,
                check(OutputList::File(list), &self.tmp(), &self.out()),
                "in a file or told, it is the same"
            );
            told
        }
    }

    #[test]
    fn regular_files_are_found_with_their_sizes() {
        let dirs = Dirs::new();
        fs::create_dir(dirs.out().join("frames")).unwrap();
        fs::write(dirs.out().join("frames/1.png"), "12345").unwrap();
        let result = dirs.read(&["frames/1.png"]).unwrap();
        assert_eq!((result.files[0].bytes, result.files.len()), (5, 1));
        assert_eq!(result.files[0].path, dirs.out().join("frames/1.png"));
    }

    #[test]
    fn links_pipes_directories_and_paths_that_lead_out_are_refused() {
        let dirs = Dirs::new();
        fs::write(dirs.out().join("fine"), "x").unwrap();
        symlink("/etc/passwd", dirs.out().join("link")).unwrap();
        symlink("/etc", dirs.out().join("dir-link")).unwrap();
        fs::create_dir(dirs.out().join("dir")).unwrap();
        rustix::fs::mknodat(rustix::fs::CWD, dirs.out().join("pipe"), rustix::fs::FileType::Fifo, Mode::RWXU, 0)
            .unwrap();
        let names = ["link", "dir-link/passwd", "dir", "pipe", "missing", "../tmp/outputs.json", "/etc/passwd"];
        for name in names.into_iter().chain(["", ".", "a//b", "./fine", "fine/", "a\nb", "dir/../fine"]) {
            let error = dirs.read(&[name]).unwrap_err();
            assert_eq!(error.code, ErrorCode::ExecutorProtocol, "{name}: {error}");
        }
        assert!(dirs.read(&["fine", "fine"]).is_err(), "a name twice");
        assert!(dirs.read(&["fine"]).is_ok());
    }

    #[test]
    fn a_report_is_bounded() {
        let stage = |name: &str, busy_secs| StageReport {
            name: name.into(),
            frames: 1,
            busy_secs,
            waiting_input_secs: 0.0,
            waiting_output_secs: 0.0,
            cpu_secs: 0.0,
        };
        let report = |stages| Outputs { stages, ..Outputs::default() };
        let mut fine = report(vec![stage("encode", 1.5)]);
        fine.warnings = vec!["a\u{1b}[31m".repeat(5000); 1000];
        check_report(&mut fine).unwrap();
        let longest = fine.warnings.iter().map(String::len).max().unwrap();
        assert!(fine.warnings.len() == MAX_WARNINGS && longest < 10_000 && !fine.warnings[0].contains('\u{1b}'));

        let long = [("x".to_owned(), "y".repeat(MAX_JSON_BYTES).into())].into_iter().collect();
        for mut bad in [
            report(vec![stage("encode", 1.0); MAX_PARTS + 1]),
            report(vec![stage(&"x".repeat(300), 1.0)]),
            report(vec![stage("a\nb", 1.0)]),
            report(vec![stage("encode", -1.0)]),
            report(vec![stage("encode", 1e300)]),
            Outputs { metrics: long, ..Outputs::default() },
        ] {
            assert!(check_report(&mut bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn the_list_itself_must_lie_in_scratch_and_be_small() {
        let dirs = Dirs::new();
        let list = |path: &Path| OutputList::File(path.to_owned());
        let at = |path: &Path| check(list(path), &dirs.tmp(), &dirs.out()).unwrap_err().message;
        assert!(at(Path::new("/etc/passwd")).contains("outside"));
        symlink("/etc/passwd", dirs.tmp().join("link")).unwrap();
        assert!(at(&dirs.tmp().join("link")).contains("list"));
        let huge = File::create(dirs.tmp().join("huge")).unwrap();
        huge.set_len(MAX_LIST_BYTES + 1).unwrap();
        assert!(at(&dirs.tmp().join("huge")).contains("more than"));
        fs::write(dirs.tmp().join("garbage"), "{").unwrap();
        assert!(at(&dirs.tmp().join("garbage")).contains("list"));
    }
}
