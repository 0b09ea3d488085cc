//! Every message as it stands on the wire. A change here is a change of [`PROTOCOL_VERSION`].

use std::fmt::Debug;

use serde_json::{Value, json};

use super::*;
use crate::{ErrorCode, OutputFile};

/// Both ways: what we write, and that what was written is read as the same.
fn is_on_the_wire<T: Serialize + DeserializeOwned + PartialEq + Debug>(message: &T, wire: Value) {
    assert_eq!(serde_json::to_value(message).unwrap(), wire);
    let frame = encode(message).unwrap();
    assert_eq!(read::<T>(frame.as_slice()).unwrap().as_ref(), Some(message));
    assert_eq!(serde_json::from_value::<T>(wire).unwrap(), *message);
}

#[test]
fn warm() {
    let message = Down::Warm { handler: "matting".into(), params: json!({"format": "png"}), load: true };
    is_on_the_wire(&message, json!({"type": "warm", "handler": "matting", "params": {"format": "png"}, "load": true}));
}

#[test]
fn plan_and_planned() {
    let limits = Limits { max_bytes: 1, max_pixels: 2, max_duration_secs: 3.0, min_side_px: 4 };
    let inputs = Inputs([("video".to_owned(), vec!["/s/jobs/clip".into()])].into());
    is_on_the_wire(
        &Down::Plan { handler: "matting".into(), params: Value::Null, inputs, limits },
        json!({
            "type": "plan", "handler": "matting", "params": null, "inputs": {"video": ["/s/jobs/clip"]},
            "limits": {"max_bytes": 1, "max_pixels": 2, "max_duration_secs": 3.0, "min_side_px": 4}
        }),
    );
    let plan = Plan { device_mib: 1, host_mib: 2, scratch_bytes: 3, exclusive: true };
    is_on_the_wire(
        &Up::Planned { plan },
        json!({"type": "planned", "plan": {"device_mib": 1, "host_mib": 2, "scratch_bytes": 3, "exclusive": true}}),
    );
}

#[test]
fn run() {
    let mut request = RunRequest {
        handler: "matting".into(),
        params: json!({}),
        inputs: Inputs([("video".to_owned(), vec!["/s/job/in/0".into()])].into()),
        scratch_dir: "/s/job/tmp".into(),
        output_dir: "/s/job/out".into(),
        resume: None,
    };
    let mut wire = json!({
        "type": "run", "handler": "matting", "params": {}, "inputs": {"video": ["/s/job/in/0"]},
        "scratch_dir": "/s/job/tmp", "output_dir": "/s/job/out"
    });
    is_on_the_wire(&Down::Run(Box::new(request.clone())), wire.clone());
    request.resume = Some("/s/job/in/checkpoint".into());
    wire["resume"] = json!("/s/job/in/checkpoint");
    is_on_the_wire(&Down::Run(Box::new(request)), wire);
}

#[test]
fn cancel_shutdown_and_ready() {
    is_on_the_wire(&Down::Cancel, json!({"type": "cancel"}));
    is_on_the_wire(&Down::Shutdown, json!({"type": "shutdown"}));
    is_on_the_wire(&Up::Ready, json!({"type": "ready"}));
}

#[test]
fn hello() {
    let confinement = Confinement { landlock_abi: 7, seccomp: true, memory_limit_bytes: 9 };
    is_on_the_wire(
        &Up::Hello { protocol: PROTOCOL_VERSION, version: "0.1.0".into(), confinement },
        json!({
            "type": "hello", "protocol": 2, "version": "0.1.0",
            "confinement": {"landlock_abi": 7, "seccomp": true, "memory_limit_bytes": 9}
        }),
    );
}

#[test]
fn progress() {
    let mut progress =
        Progress { stage: "matte".into(), percent: Some(12.5), done: 3, total: Some(24), fps: Some(8.0) };
    is_on_the_wire(
        &Up::Progress(progress.clone()),
        json!({"type": "progress", "stage": "matte", "percent": 12.5, "done": 3, "total": 24, "fps": 8.0}),
    );
    (progress.percent, progress.total, progress.fps) = (None, None, None);
    is_on_the_wire(&Up::Progress(progress), json!({"type": "progress", "stage": "matte", "done": 3}));
}

#[test]
fn log() {
    let levels = [LogLevel::Debug, LogLevel::Info, LogLevel::Warn, LogLevel::Error];
    for (level, word) in levels.into_iter().zip(["debug", "info", "warn", "error"]) {
        let message = Up::Log { level, message: "a line".into() };
        is_on_the_wire(&message, json!({"type": "log", "level": word, "message": "a line"}));
    }
}

#[test]
fn checkpoint_and_done() {
    let checkpoint = Up::Checkpoint { path: "/s/job/tmp/c".into() };
    is_on_the_wire(&checkpoint, json!({"type": "checkpoint", "path": "/s/job/tmp/c"}));
    let done = Up::Done { outputs: OutputList::File("/s/job/tmp/outputs.json".into()) };
    is_on_the_wire(&done, json!({"type": "done", "outputs": {"file": "/s/job/tmp/outputs.json"}}));
    let file = OutputFile { name: "matte.webm".into(), media_type: "video/webm".into() };
    let outputs = Outputs { files: vec![file], ..Outputs::default() };
    let wire = serde_json::to_value(&outputs).unwrap();
    assert_eq!(wire["files"], json!([{"name": "matte.webm", "media_type": "video/webm"}]));
    let done = Up::Done { outputs: OutputList::Told(Box::new(outputs)) };
    is_on_the_wire(&done, json!({"type": "done", "outputs": {"told": wire}}));
}

#[test]
fn failed() {
    let error = JobError::new(ErrorCode::InputTruncated, "why");
    is_on_the_wire(
        &Up::Failed { error: error.clone() },
        json!({"type": "failed", "error": {"code": "input-truncated", "message": "why"}}),
    );
    is_on_the_wire(
        &Up::Failed { error: error.with_detail(json!({"frames": 3})) },
        json!({"type": "failed", "error": {"code": "input-truncated", "message": "why", "detail": {"frames": 3}}}),
    );
}

#[test]
fn what_is_not_of_the_protocol_is_refused() {
    let refused = |wire: Value| read::<Down>(encode(&wire).unwrap().as_slice()).unwrap_err().to_string();
    assert!(refused(json!({"type": "format-disk"})).contains("format-disk"));
    assert!(refused(json!({"type": "warm", "handler": "x", "params": {}, "load": true, "more": 1})).contains("more"));
    assert!(refused(json!({"type": "run", "params": {}})).contains("handler"));
    assert!(!refused(json!([])).is_empty());
}

#[test]
fn frames_have_a_length_and_a_limit() {
    assert_eq!(encode(&Down::Cancel).unwrap(), b"\x11\0\0\0{\"type\":\"cancel\"}");
    let long = Up::Log { level: LogLevel::Info, message: "x".repeat(MAX_FRAME_BYTES) };
    assert_eq!(encode(&long).unwrap_err().kind(), std::io::ErrorKind::InvalidData);
    assert!(frame_length((MAX_FRAME_BYTES as u32 + 1).to_le_bytes()).is_err());
    assert_eq!(frame_length((MAX_FRAME_BYTES as u32).to_le_bytes()).unwrap(), MAX_FRAME_BYTES);
}

#[test]
fn a_stream_ends_between_frames_and_breaks_within_one() {
    let frame = encode(&Down::Cancel).unwrap();
    let two = [frame.clone(), frame.clone()].concat();
    let mut stream = two.as_slice();
    assert_eq!(read::<Down>(&mut stream).unwrap(), Some(Down::Cancel));
    assert_eq!(read::<Down>(&mut stream).unwrap(), Some(Down::Cancel));
    assert_eq!(read::<Down>(&mut stream).unwrap(), None);
    let cut = read::<Down>(&frame[..frame.len() - 1]).unwrap_err();
    assert_eq!(cut.kind(), std::io::ErrorKind::UnexpectedEof);
}
