//! What the executor knows of this machine and of its handlers, as JSON.

use std::sync::Arc;

use darkroom_api::{ErrorCode, JobError};
use darkroom_inference::{Runtime, RuntimeOptions};
use serde_json::{Value, json};

use crate::confine::{self, Allowed};
use crate::handlers::Table;
use crate::options::Models;

/// What handlers decode and encode, by FFmpeg's names.
const DECODERS: [&str; 8] = ["h264", "hevc", "av1", "vp9", "vp8", "mjpeg", "prores", "png"];
const ENCODERS: [&str; 8] = ["libvpx-vp9", "libx264", "libx265", "prores_ks", "png", "libopus", "aac", "h264_nvenc"];

/// Prints the descriptors of all handlers.
///
/// # Errors
/// Where the registry's configuration does not hold, or nobody reads.
pub fn describe(models: &Models, table: fn(&Arc<Runtime>) -> Table) -> Result<(), String> {
    let registry = models.registry().open().map_err(|e| e.to_string())?;
    let runtime = Arc::new(Runtime::new(RuntimeOptions::new(Arc::new(registry))));
    let all: Vec<_> = table(&runtime).iter().map(|handler| handler.describe()).collect();
    print(&json!(all))
}

/// Prints what is installed.
///
/// # Errors
/// As [`describe`].
pub fn doctor(models: &Models) -> Result<(), String> {
    let registry = models.registry().open().map_err(|e| e.to_string())?;
    let confinement = confinement();
    print(&json!({
        "version": env!("CARGO_PKG_VERSION"),
        "ffmpeg": ffmpeg()?,
        "onnxruntime": onnxruntime(registry),
        "confinement": confinement,
    }))
}

fn ffmpeg() -> Result<Value, String> {
    ffmpeg_next::init().map_err(|e| format!("FFmpeg: {e}"))?;
    let (major, minor, micro) = split(ffmpeg_next::format::version());
    let has = |names: &[&str], find: fn(&str) -> bool| -> Value {
        names.iter().map(|name| ((*name).to_owned(), Value::from(find(name)))).collect::<serde_json::Map<_, _>>().into()
    };
    Ok(json!({
        "libavformat": format!("{major}.{minor}.{micro}"),
        "licence": ffmpeg_next::format::license(),
        "decoders": has(&DECODERS, |name| ffmpeg_next::decoder::find_by_name(name).is_some()),
        "encoders": has(&ENCODERS, |name| ffmpeg_next::encoder::find_by_name(name).is_some()),
    }))
}

fn split(version: u32) -> (u32, u32, u32) {
    (version >> 16, version >> 8 & 0xff, version & 0xff)
}

fn onnxruntime(registry: darkroom_models::Registry) -> Value {
    let library = registry.resolve("onnxruntime");
    let file = library.as_ref().ok().and_then(|library| library.path.file_name());
    let file = file.map(|name| name.to_string_lossy().into_owned());
    let device = Runtime::new(RuntimeOptions::new(Arc::new(registry))).device();
    match (library, device) {
        (Ok(_), Ok(device)) => json!({ "library": file, "device": device.to_string(), "loads": true }),
        (Err(error), _) | (_, Err(error)) => json!({ "library": file, "loads": false, "error": error }),
    }
}

/// Tries it on a thread, which then ends: the walls stand for a thread and its children.
fn confinement() -> Value {
    let tried = std::thread::spawn(|| {
        let dir = std::env::temp_dir();
        confine::enter_files_and_calls(&Allowed { writable: vec![dir], ..Allowed::default() })
    });
    let lost = |_| Err("the thread that tried it was lost".to_owned());
    match tried.join().unwrap_or_else(lost) {
        Ok(found) => json!({ "landlock_abi": found.landlock_abi, "seccomp": found.seccomp }),
        Err(why) => json!({ "error": JobError::new(ErrorCode::Internal, why) }),
    }
}

fn print(value: &Value) -> Result<(), String> {
    use std::io::Write;
    let mut out = std::io::stdout().lock();
    serde_json::to_writer_pretty(&mut out, value).map_err(|e| e.to_string())?;
    writeln!(out).map_err(|e| e.to_string())
}
