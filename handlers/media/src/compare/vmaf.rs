//! VMAF, by an `ffmpeg` with libvmaf as a process of its own.
//!
//! It never sees a file: what we decoded and paired goes to it through a pipe, luma alone (VMAF looks at nothing else), the
//! video's frame above the reference's in one picture, so that no two of them can be mixed up. It writes one file, its log.

use std::fs::File;
use std::io::{self, BufReader, Read, Write};
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError, SendTimeoutError, Sender, bounded};
use darkroom_api::{CancelToken, ErrorCode, JobError, Result};
use serde::Deserialize;
use serde_json::json;

use super::levels::{Common, Samples};
use super::scores::VmafScores;
use crate::error::internal;

/// Name of the tool in the model registry.
pub const VMAF_TOOL: &str = "ffmpeg-vmaf";

/// The tool, and how to use it.
#[derive(Debug, Clone)]
pub struct VmafOptions {
    /// The program.
    pub tool: PathBuf,
    /// Where it may write its log; removed afterwards.
    pub scratch_dir: PathBuf,
    /// Its threads.
    pub threads: usize,
    /// A model that the tool has built in.
    pub model: &'static str,
}

impl VmafOptions {
    /// The model that VMAF numbers are of where nothing is said: a viewer of a full HD television.
    pub const MODEL: &'static str = "vmaf_v0.6.1";
    /// The same for a 4K television at half the distance.
    pub const MODEL_4K: &'static str = "vmaf_4k_v0.6.1";
    /// The first without the gain that sharpening brings.
    pub const MODEL_NEG: &'static str = "vmaf_v0.6.1neg";
}

/// What to say to a user where the registry does not have the tool: then there is no VMAF, which is no reason to fail.
///
/// # Errors
/// Whatever else the registry says, e.g. that the file is damaged.
pub fn without_vmaf(error: JobError) -> Result<String> {
    match error.code {
        ErrorCode::ModelMissing | ErrorCode::RuntimeMissing => Ok(format!(
            "VMAF was not measured: the tool `{VMAF_TOOL}` is not here. Run `darkroom models fetch {VMAF_TOOL}`."
        )),
        _ => Err(error),
    }
}

const LOG: &str = "vmaf.json";
/// Longest wait for it to take a frame, or to end after the last: less than what counts as a hang of ours.
const PATIENCE: Duration = Duration::from_secs(45);
/// For it to end after it was given up.
const GRACE: Duration = Duration::from_secs(1);
/// How often cancellation is looked at meanwhile.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// What is kept of its last words.
const MAX_WORDS_BYTES: usize = 2048;
/// A frame takes about 850 bytes of the log.
const MAX_LOG_BYTES_A_FRAME: u64 = 4096;

/// The tool at work.
pub(super) struct Vmaf<'a> {
    options: &'a VmafOptions,
    cancel: &'a CancelToken,
    child: Child,
    deep: bool,
    /// To the thread that writes to its standard input; closed to say that there are no more.
    frames: Option<Sender<Vec<u8>>>,
    /// Buffers that come back.
    spare: Receiver<Vec<u8>>,
    /// Its last words, once it has ended.
    words: Receiver<String>,
    sent: u64,
}

impl<'a> Vmaf<'a> {
    pub(super) fn start(
        options: &'a VmafOptions,
        cancel: &'a CancelToken,
        common: Common,
        size: (u32, u32),
    ) -> Result<Vmaf<'a>> {
        let missing = |error: io::Error| {
            let why = format!(
                "The tool `{VMAF_TOOL}` cannot be started ({error}): run `darkroom models fetch {VMAF_TOOL}`, or leave VMAF out."
            );
            JobError::new(ErrorCode::RuntimeMissing, why)
        };
        let mut command = Command::new(std::path::absolute(&options.tool).map_err(missing)?);
        command.args(arguments(options, common.depth, size)).current_dir(&options.scratch_dir).env_clear();
        command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = command.spawn().map_err(missing)?;
        let (frames, inbox) = bounded::<Vec<u8>>(1);
        let (back, spare) = bounded(2);
        let (tell, words) = bounded(1);
        let (stdin, stderr) = (child.stdin.take(), child.stderr.take());
        std::thread::spawn(move || {
            let Some(mut stdin) = stdin else { return };
            // A write fails once the tool is gone: whoever sends next finds the channel closed.
            for buffer in inbox.into_iter().take_while(|buffer| stdin.write_all(buffer).is_ok()) {
                back.try_send(buffer).ok();
            }
        });
        std::thread::spawn(move || tell.send(stderr.map_or_else(String::new, last_words)).ok());
        let deep = common.depth > 8;
        Ok(Vmaf { options, cancel, child, deep, frames: Some(frames), spare, words, sent: 0 })
    }

    /// Gives it a pair of frames.
    pub(super) fn push(&mut self, video: &Samples, reference: &Samples) -> Result<()> {
        let mut buffer = self.spare.try_recv().unwrap_or_default();
        buffer.clear();
        for samples in [video, reference] {
            #[allow(clippy::cast_possible_truncation, reason = "codes of 8 bits")]
            match self.deep {
                false => buffer.extend(samples.values.iter().map(|code| *code as u8)),
                true => buffer.extend(samples.values.iter().flat_map(|code| code.to_le_bytes())),
            }
        }
        let start = Instant::now();
        loop {
            self.check(start)?;
            let Some(frames) = &self.frames else { return Err(internal("VMAF was not measured", "no pipe")) };
            match frames.send_timeout(buffer, LOOK_EVERY) {
                Ok(()) => break,
                Err(SendTimeoutError::Timeout(unsent)) => buffer = unsent,
                Err(SendTimeoutError::Disconnected(_)) => {
                    let words = self.words.recv_timeout(GRACE).unwrap_or_default();
                    return Err(failed(self.child.try_wait().ok().flatten(), &words));
                }
            }
        }
        self.sent += 1;
        Ok(())
    }

    /// Ends it; the scores over all frames, and each frame's.
    pub(super) fn finish(mut self) -> Result<(VmafScores, Vec<f32>)> {
        self.frames = None;
        let start = Instant::now();
        let words = loop {
            self.check(start)?;
            match self.words.recv_timeout(LOOK_EVERY) {
                Ok(words) => break words,
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => break String::new(),
            }
        };
        let status = self.child.wait().map_err(|error| internal("VMAF was not measured", error))?;
        if !status.success() {
            return Err(failed(Some(status), &words));
        }
        let path = self.options.scratch_dir.join(LOG);
        let read = File::open(&path).and_then(|file| {
            let text = BufReader::new(file.take(self.sent * MAX_LOG_BYTES_A_FRAME + (64 << 10)));
            Ok(serde_json::from_reader::<_, Log>(text)?)
        });
        std::fs::remove_file(&path).ok();
        let log = read.map_err(|error| failed(Some(status), &format!("its log cannot be read: {error}; {words}")))?;
        if log.frames.len() as u64 != self.sent {
            let why = format!("{} frames of {} are in its log; {words}", log.frames.len(), self.sent);
            return Err(failed(Some(status), &why));
        }
        let Pool { min, mean, harmonic_mean } = log.pooled_metrics.vmaf;
        let scores = VmafScores { model: self.options.model.into(), mean, min, harmonic_mean };
        Ok((scores, log.frames.into_iter().map(|frame| frame.metrics.vmaf).collect()))
    }

    fn check(&self, since: Instant) -> Result<()> {
        if self.cancel.is_cancelled() {
            return Err(JobError::new(ErrorCode::Cancelled, "The job was cancelled."));
        }
        if since.elapsed() > PATIENCE {
            return Err(failed(None, &format!("it did nothing for {} s", PATIENCE.as_secs())));
        }
        Ok(())
    }
}

impl Drop for Vmaf<'_> {
    fn drop(&mut self) {
        // Without input it ends by itself. A confined executor cannot kill it; the consumer, which ends whole groups, can.
        self.frames = None;
        if let Ok(None) = self.child.try_wait() {
            self.child.kill().ok();
            self.words.recv_timeout(GRACE).ok();
            self.child.try_wait().ok();
        }
    }
}

/// One picture holds both frames. `mergeplanes` makes of luma what libvmaf takes without touching a sample, where a
/// conversion from grey would change the range.
fn arguments(options: &VmafOptions, depth: u32, (width, height): (u32, u32)) -> Vec<String> {
    let deep = if depth > 8 { format!("{depth}le") } else { String::new() };
    let suffix = if depth > 8 { format!("p{deep}") } else { "p".to_owned() };
    let (model, threads) = (options.model, options.threads.max(1));
    let half = |top: &str| format!("crop=iw:ih/2:0:{top},mergeplanes=0x000000:yuv444{suffix}");
    let graph = format!(
        "[0:v]split[a][b];[a]{}[video];[b]{}[reference];\
         [video][reference]libvmaf=model=version={model}:log_fmt=json:log_path={LOG}:n_threads={threads}",
        half("0"),
        half("ih/2")
    );
    let words = "-hide_banner -nostats -loglevel error -threads 1 -f rawvideo -framerate 25 -pixel_format";
    let mut arguments: Vec<String> = words.split(' ').map(str::to_owned).collect();
    arguments.extend([format!("gray{deep}"), "-video_size".into(), format!("{width}x{}", 2 * height)]);
    arguments.extend("-i pipe:0 -filter_complex_threads 1 -filter_complex".split(' ').map(str::to_owned));
    arguments.push(graph);
    arguments.extend("-f null -".split(' ').map(str::to_owned));
    arguments
}

fn failed(status: Option<ExitStatus>, words: &str) -> JobError {
    let status = status.map(|status| status.to_string());
    let ended = status.clone().unwrap_or_else(|| "no exit status".into());
    let why = format!("VMAF could not be measured: {VMAF_TOOL} failed ({ended}). Try again, or leave VMAF out.");
    JobError::new(ErrorCode::Internal, why).with_detail(json!({ "status": status, "stderr": words.trim() }))
}

/// Reads to the end and keeps the last of it.
fn last_words(mut pipe: impl Read) -> String {
    let (mut kept, mut chunk) = (Vec::new(), [0; 1024]);
    while let Ok(got @ 1..) = pipe.read(&mut chunk) {
        kept.extend_from_slice(&chunk[..got]);
        kept.drain(..kept.len().saturating_sub(MAX_WORDS_BYTES));
    }
    String::from_utf8_lossy(&kept).into_owned()
}

#[derive(Deserialize)]
struct Log {
    frames: Vec<LogFrame>,
    pooled_metrics: Pooled,
}

#[derive(Deserialize)]
struct LogFrame {
    metrics: Metrics,
}

#[derive(Deserialize)]
struct Metrics {
    vmaf: f32,
}

#[derive(Deserialize)]
struct Pooled {
    vmaf: Pool,
}

#[derive(Deserialize)]
struct Pool {
    min: f32,
    mean: f32,
    harmonic_mean: f32,
}
