//! Clips, what ffmpeg makes of them, and what it says about results.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Command;

use data_encoding::HEXLOWER;
use sha2::{Digest, Sha256};
use tempfile::TempDir;

/// Size of the small clip.
pub(crate) const WIDTH: usize = 192;
/// Size of the small clip.
pub(crate) const HEIGHT: usize = 320;

/// A clip of `tests/media`.
fn clip(name: &str) -> PathBuf {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("media").join(name);
    assert!(path.is_file(), "{} is missing", path.display());
    path
}

/// Files made for one test, gone at its end.
pub(crate) struct Workshop(TempDir);

impl Workshop {
    pub(crate) fn new() -> Workshop {
        Workshop(tempfile::tempdir().unwrap())
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// The same as text.
    pub(crate) fn name(&self, name: &str) -> String {
        self.path(name).to_str().unwrap().to_owned()
    }

    /// Writes a file; its path.
    pub(crate) fn write(&self, name: &str, content: &[u8]) -> PathBuf {
        let path = self.path(name);
        std::fs::write(&path, content).unwrap();
        path
    }

    /// A file that ffmpeg makes with these arguments.
    pub(crate) fn ffmpeg(&self, args: &str, name: &str) -> Vec<u8> {
        let out = self.path(name);
        let args = args.split_whitespace().map(OsStr::new);
        tool(
            "ffmpeg",
            ["-v", "error", "-nostdin", "-y"].map(OsStr::new).into_iter().chain(args).chain([out.as_os_str()]),
        );
        std::fs::read(out).unwrap()
    }

    /// A small video of a man: so many frames of H.264.
    pub(crate) fn man(&self, frames: u32, args: &str, name: &str) -> Vec<u8> {
        self.man_and("", frames, args, name)
    }

    /// The same with further inputs.
    pub(crate) fn man_and(&self, inputs: &str, frames: u32, args: &str, name: &str) -> Vec<u8> {
        let source = clip("pose2sim_SinglePerson_cam01.mp4");
        let source = source.display();
        let encode = format!("-s {WIDTH}x{HEIGHT} -frames:v {frames} -c:v libx264 -preset ultrafast -g 6");
        self.ffmpeg(&format!("-i {source} {inputs} {encode} {args}"), name)
    }
}

fn tool<'a>(name: &str, args: impl IntoIterator<Item = &'a OsStr>) -> Vec<u8> {
    let output = Command::new(name).args(args).output().unwrap();
    assert!(output.status.success(), "{name}: {}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}

fn ask(name: &str, path: &Path, before: &str, after: &str) -> Vec<u8> {
    let words = |text: &'static str| text.split_whitespace().map(OsStr::new);
    let (before, after): (Vec<_>, Vec<_>) = (before.split_whitespace().collect(), after.split_whitespace().collect());
    let args = words("-v error").chain(before.into_iter().map(OsStr::new));
    tool(name, args.chain([OsStr::new("-i"), path.as_os_str()]).chain(after.into_iter().map(OsStr::new)))
}

/// Presentation times of the video's packets in order, in seconds.
pub(crate) fn times(path: &Path) -> Vec<f64> {
    let list = ask("ffprobe", path, "-select_streams v:0 -show_entries packet=pts_time -of csv=p=0", "");
    let list = String::from_utf8(list).unwrap();
    // Side data of a packet makes lines of its own.
    let mut times: Vec<f64> = list.lines().filter_map(|line| line.trim_end_matches(',').parse().ok()).collect();
    times.sort_by(f64::total_cmp);
    times
}

/// A tag of the video stream.
pub(crate) fn video_tag(path: &Path, tag: &str) -> String {
    let list = ask("ffprobe", path, &format!("-select_streams v:0 -show_entries stream_tags={tag} -of csv=p=0"), "");
    String::from_utf8(list).unwrap().trim().to_owned()
}

/// MD5 over the packets of the sound, as they are.
pub(crate) fn audio_packets(path: &Path) -> String {
    String::from_utf8(ask("ffmpeg", path, "", "-map 0:a -c copy -f md5 -")).unwrap().trim().to_owned()
}

/// The alpha plane of every frame, one byte a pixel.
pub(crate) fn alpha(path: &Path) -> Vec<Vec<u8>> {
    let plane = ask(
        "ffmpeg",
        path,
        "-c:v libvpx-vp9",
        "-map 0:v -fps_mode passthrough -vf alphaextract -f rawvideo -pix_fmt gray -",
    );
    assert_eq!(plane.len() % (WIDTH * HEIGHT), 0);
    plane.chunks(WIDTH * HEIGHT).map(<[u8]>::to_vec).collect()
}

/// A short sound, as small as a media file gets: eighty samples of silence in a WAV file.
pub(crate) fn sound() -> Vec<u8> {
    const SAMPLES: u32 = 80;
    let words = |numbers: &[u32]| numbers.iter().flat_map(|n| n.to_le_bytes()).collect::<Vec<u8>>();
    let format = words(&[16, 1 | 1 << 16, 8000, 16000, 2 | 16 << 16]);
    let data = [b"data".to_vec(), words(&[2 * SAMPLES]), vec![0; 2 * SAMPLES as usize]].concat();
    [b"RIFF".to_vec(), words(&[36 + 2 * SAMPLES]), b"WAVEfmt ".to_vec(), format, data].concat()
}

/// SHA-256 in hexadecimal.
pub(crate) fn sha256(bytes: &[u8]) -> String {
    HEXLOWER.encode(&Sha256::digest(bytes))
}
