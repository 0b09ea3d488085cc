//! What the binary that users get says of itself.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::process::Command;

use darkroom_api::Descriptor;
use serde_json::Value;

fn ask(what: &str) -> Vec<u8> {
    let answer = Command::new(env!("CARGO_BIN_EXE_darkroom-executor")).arg(what).output().unwrap();
    assert!(answer.status.success(), "{}", String::from_utf8_lossy(&answer.stderr));
    answer.stdout
}

#[test]
fn it_has_no_handler_that_misbehaves() {
    let handlers: Vec<Descriptor> = serde_json::from_slice(&ask("describe")).unwrap();
    assert!(handlers.iter().all(|handler| handler.name != "fault"));
    let stages = |handler: &Descriptor| !handler.stages.is_empty() && handler.stages.iter().all(|s| s.stall_secs > 0.0);
    assert!(handlers.iter().all(|handler| stages(handler) && !handler.inputs.is_empty()));
    let manifest = include_str!("../Cargo.toml");
    assert!(!manifest.contains("default ="), "fault injection is off unless asked for");
}

#[test]
fn doctor_tells_what_is_there() {
    let found: Value = serde_json::from_slice(&ask("doctor")).unwrap();
    assert_eq!(found["ffmpeg"]["decoders"]["h264"], true, "{found:#}");
    assert_eq!(found["confinement"]["seccomp"], true, "{found:#}");
    assert!(found["onnxruntime"]["loads"].is_boolean(), "{found:#}");
}
