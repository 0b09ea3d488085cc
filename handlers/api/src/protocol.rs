//! What consumer and executor say to each other: framed JSON over a socket pair (the executor's standard input).
//!
//! A frame is a little-endian `u32` length and that many bytes of JSON, at most [`MAX_FRAME_BYTES`]. Lists that could
//! grow beyond a frame travel as files in the job's scratch directory. One request is answered before the next is sent,
//! except [`Down::Cancel`] and [`Down::Shutdown`], which may come at any time.

use std::io::{Read, Write};
use std::path::PathBuf;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::{Inputs, JobError, Limits, LogLevel, Outputs, Plan, Progress};

/// Version of this protocol; consumer and executor must agree.
pub const PROTOCOL_VERSION: u32 = 2;
/// Longest frame.
pub const MAX_FRAME_BYTES: usize = 1 << 20;

/// From consumer to executor.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Down {
    /// Check the parameters and, where `load` is set, load what a run with them will use. Answer: `Ready` or `Failed`.
    Warm {
        /// Handler's name.
        handler: String,
        /// Parameters as written.
        params: serde_json::Value,
        /// Whether to load models; a probing executor only checks.
        load: bool,
    },
    /// Look at the inputs, and say what a run would need. Answer: `Planned` or `Failed`.
    Plan {
        /// Handler's name.
        handler: String,
        /// Parameters as written.
        params: serde_json::Value,
        /// Local files of the handler's roles, none for those that are not there.
        inputs: Inputs,
        /// How large each of them may be.
        limits: Limits,
    },
    /// Do the work. Answer: `Progress`, `Log` and `Checkpoint` as they come, then `Done` or `Failed`.
    Run(Box<RunRequest>),
    /// Stop the run in progress; it answers `Failed{cancelled}`. Without a run: nothing.
    Cancel,
    /// Exit 0.
    Shutdown,
}

/// One run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RunRequest {
    /// Handler's name.
    pub handler: String,
    /// Parameters as written.
    pub params: serde_json::Value,
    /// Local files.
    pub inputs: Inputs,
    /// For temporary files.
    pub scratch_dir: PathBuf,
    /// For outputs.
    pub output_dir: PathBuf,
    /// Checkpoint of an earlier attempt.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resume: Option<PathBuf>,
}

/// What confines the executor, as far as this kernel could.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Confinement {
    /// Landlock ABI in force, 0 where there is none.
    pub landlock_abi: u32,
    /// Whether system calls are filtered (no network).
    pub seccomp: bool,
    /// Memory limit in bytes, 0 for none.
    pub memory_limit_bytes: u64,
}

/// From executor to consumer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Up {
    /// First word.
    Hello {
        /// [`PROTOCOL_VERSION`].
        protocol: u32,
        /// Version of the executor's binary.
        version: String,
        /// What confines it.
        confinement: Confinement,
    },
    /// Answer to `Warm`.
    Ready,
    /// Answer to `Plan`.
    Planned {
        /// What a run will need.
        plan: Plan,
    },
    /// How far the run is, at most 10 times a second.
    Progress(Progress),
    /// A line for the log; may be dropped under load.
    Log {
        /// Weight.
        level: LogLevel,
        /// Text.
        message: String,
    },
    /// Keep this file for a later attempt.
    Checkpoint {
        /// File in the scratch directory.
        path: PathBuf,
    },
    /// The run is complete.
    Done {
        /// What it left.
        outputs: OutputList,
    },
    /// The request failed.
    Failed {
        /// Why.
        error: JobError,
    },
}

/// What a run left behind.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OutputList {
    /// Here.
    Told(Box<Outputs>),
    /// As JSON in this file of the scratch directory, since a frame could not hold it.
    File(PathBuf),
}

/// A frame's bytes.
///
/// # Errors
/// `InvalidData` when the message is longer than a frame may be.
pub fn encode<T: Serialize>(message: &T) -> std::io::Result<Vec<u8>> {
    let mut frame = vec![0; 4];
    serde_json::to_writer(&mut frame, message)?;
    let length = frame.len() - 4;
    if length > MAX_FRAME_BYTES {
        return Err(invalid(format!("a message of {length} bytes is longer than a frame")));
    }
    frame[..4].copy_from_slice(&u32::try_from(length).map_err(|_| invalid("length".into()))?.to_le_bytes());
    Ok(frame)
}

/// Length of the frame that starts with these four bytes.
///
/// # Errors
/// `InvalidData` when it is longer than a frame may be.
pub fn frame_length(head: [u8; 4]) -> std::io::Result<usize> {
    let length = u32::from_le_bytes(head) as usize;
    if length > MAX_FRAME_BYTES {
        return Err(invalid(format!("a frame of {length} bytes is longer than {MAX_FRAME_BYTES}")));
    }
    Ok(length)
}

/// Writes one frame.
///
/// # Errors
/// Those of the writer, and of [`encode`].
pub fn write<T: Serialize>(mut to: impl Write, message: &T) -> std::io::Result<()> {
    to.write_all(&encode(message)?)?;
    to.flush()
}

/// Reads one frame; `None` at the end of the stream.
///
/// # Errors
/// Those of the reader; `InvalidData` for frames too long or not of type `T`.
pub fn read<T: DeserializeOwned>(mut from: impl Read) -> std::io::Result<Option<T>> {
    let mut head = [0; 4];
    match from.read_exact(&mut head) {
        Err(e) if e.kind() == std::io::ErrorKind::UnexpectedEof => return Ok(None),
        other => other?,
    }
    let mut body = vec![0; frame_length(head)?];
    from.read_exact(&mut body)?;
    serde_json::from_slice(&body).map(Some).map_err(|e| invalid(e.to_string()))
}

fn invalid(message: String) -> std::io::Error {
    std::io::Error::new(std::io::ErrorKind::InvalidData, message)
}

#[cfg(test)]
mod tests;
