//! Hello, then requests until the socket ends.

use std::io;
use std::num::NonZero;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::{Arc, mpsc};

use darkroom_api::CancelToken;
use darkroom_api::protocol::{self, Confinement, Down, PROTOCOL_VERSION, Up};
use darkroom_inference::{Device, DeviceChoice, Runtime, RuntimeOptions};

use crate::confine::{self, Allowed};
use crate::handlers::Table;
use crate::logs;
use crate::options::Serve;
use crate::uplink::Uplink;
use crate::work::Worker;

/// Serves until the consumer says so or is gone.
///
/// # Errors
/// Where it cannot start. Later ends are exit codes: 0 for a socket that ended, 76 for a broken protocol.
pub fn serve(options: &Serve, table: fn(&Arc<Runtime>) -> Table) -> Result<(), String> {
    let text = |what: &'static str| move |e: io::Error| format!("{what}: {e}");
    let socket = take_standard_input().map_err(text("the socket on standard input"))?;
    let (runtime, confinement) = enclose(options)?;

    let uplink = Uplink::start(socket.try_clone().map_err(text("socket"))?).map_err(text("thread"))?;
    logs::install(Arc::clone(&uplink));
    let worker = Worker::new(table(&runtime), Arc::clone(&uplink));
    let version = env!("CARGO_PKG_VERSION").to_owned();
    let hello = Up::Hello { protocol: PROTOCOL_VERSION, version, confinement };
    uplink.answer(&hello).map_err(text("hello"))?;

    let (requests, inbox) = mpsc::sync_channel::<(Down, CancelToken)>(1);
    let work = move || inbox.into_iter().for_each(|(request, cancel)| worker.answer(request, cancel));
    std::thread::Builder::new().name("work".into()).spawn(work).map_err(text("thread"))?;
    listen(&socket, &requests)
}

/// Shuts the process in with what it may use, and readies the runtime, which loads nothing yet.
///
/// # Errors
/// As [`confine::enter`], and where the registry's configuration does not hold.
pub fn enclose(options: &Serve) -> Result<(Arc<Runtime>, Confinement), String> {
    let registry = Arc::new(options.models.registry().open().map_err(|e| e.to_string())?);
    // Before it can no longer be made; models that are fetched later are then seen.
    std::fs::create_dir_all(registry.cache_dir()).ok();
    let confinement = confine::enter(&allowed(options, registry.as_ref()))?;
    let runtime = Runtime::new(RuntimeOptions {
        registry,
        device: options.device,
        intra_threads: NonZero::new(options.threads),
        engine_cache: options.cache.clone(),
    });
    Ok((Arc::new(runtime), confinement))
}

/// Reads requests. The worker may be deep in a codec: whatever ends the stream ends the process at once, without
/// running anybody's destructors.
fn listen(mut socket: &UnixStream, requests: &mpsc::SyncSender<(Down, CancelToken)>) -> Result<(), String> {
    let mut cancel = CancelToken::default();
    loop {
        match protocol::read(&mut socket) {
            Ok(None | Some(Down::Shutdown)) => exit(0),
            Ok(Some(Down::Cancel)) => cancel.cancel(),
            Ok(Some(request)) => {
                cancel = CancelToken::default();
                if requests.try_send((request, cancel.clone())).is_err() {
                    eprintln!("darkroom-executor: a request before the last one was answered");
                    exit(76);
                }
            }
            Err(error) if error.kind() == io::ErrorKind::InvalidData => {
                eprintln!("darkroom-executor: {error}");
                exit(76);
            }
            Err(_) => exit(0),
        }
    }
}

fn exit(code: libc::c_int) -> ! {
    // SAFETY: ends the process; nothing of ours needs to run after it.
    unsafe { libc::_exit(code) }
}

/// The socket, moved away from descriptor 0, where a library might read.
fn take_standard_input() -> io::Result<UnixStream> {
    let socket = std::io::stdin().as_fd().try_clone_to_owned()?;
    let socket = UnixStream::from(socket);
    socket.peer_addr()?;
    let null = std::fs::File::open("/dev/null")?;
    rustix::stdio::dup2_stdin(null)?;
    Ok(socket)
}

fn allowed(options: &Serve, registry: &darkroom_models::Registry) -> Allowed {
    let custom = registry.custom().iter().map(|(name, path)| match (name.as_str(), path.parent()) {
        // A library's providers lie beside it.
        ("onnxruntime", Some(dir)) => dir.to_owned(),
        _ => path.clone(),
    });
    let readable: Vec<PathBuf> =
        custom.chain([registry.cache_dir().to_owned()]).chain(options.read_only.iter().cloned()).collect();
    Allowed {
        parent: options.parent,
        writable: [&options.scratch].into_iter().chain(&options.cache).cloned().collect(),
        readable,
        device: options.device != DeviceChoice::Fixed(Device::Cpu) && confine::has_device(),
        memory_bytes: options.memory_mib << 20,
    }
}
