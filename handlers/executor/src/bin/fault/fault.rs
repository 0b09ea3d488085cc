//! The handler that misbehaves on demand.

use std::fs;
use std::io::{ErrorKind, Write};
use std::net::{TcpStream, UdpSocket};
use std::path::Path;
use std::sync::Mutex;
use std::time::Duration;

use darkroom_api::{
    Descriptor, ErrorCode, Handler, InputRole, Inputs, JobContext, JobError, Limits, LogLevel, MediaKind, OutputFile,
    Outputs, Plan, Probes, Progress, Result, Stage,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;

/// What to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Action {
    /// Copy each input to an output; report the process.
    Ok,
    /// Read through a null pointer.
    Segfault,
    /// `abort(3)`.
    Abort,
    /// Stop making progress, deaf to cancellation.
    Hang,
    /// Keep `mib` of memory after a run that succeeds.
    Leak,
    /// Allocate until it fails.
    Exhaust,
    /// The same with shared memory, which `RLIMIT_DATA` does not count.
    ExhaustShared,
    /// Write 200 000 lines to the log, standard output and standard error.
    FloodLog,
    /// Try to reach the network; fail with `internal` if any way is open.
    Network,
    /// Panic.
    Panic,
    /// `exit(3)`.
    Exit,
    /// Try to read and write the input of role `outside` and files of the system; fail with `internal` if one opens.
    OutsideFile,
    /// Claim outputs that are links, pipes or outside.
    EvilOutputs,
    /// Many small outputs: a list longer than a frame.
    BigOutputList,
    /// Progress every 10 ms for `secs`, until cancelled.
    Slow,
    /// Write garbage to the socket.
    Garbage,
    /// Fail with a code that only the consumer may give.
    FalseCode,
    /// Offer a checkpoint, then do as `ok`.
    Checkpoint,
    /// Offer a checkpoint and abort; where there is one already, report what is in it.
    CheckpointCrash,
    /// Offer a checkpoint and do as `slow`; where there is one already, report what is in it.
    CheckpointSlow,
    /// Start a child that outlives the run.
    Orphan,
}

/// Parameters.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Params {
    /// What to do.
    pub action: Action,
    /// How much.
    #[serde(default)]
    pub mib: usize,
    /// How long.
    #[serde(default)]
    pub secs: f64,
}

/// The handler that misbehaves on demand.
#[derive(Debug, Default)]
pub struct Fault {
    kept: Mutex<Vec<Vec<u8>>>,
}

impl Handler for Fault {
    type Params = Params;

    fn describe(&self) -> Descriptor {
        let role = |name: &str| InputRole {
            name: name.into(),
            min: 0,
            max: 9,
            kinds: vec![MediaKind::Video, MediaKind::Image, MediaKind::Audio],
        };
        Descriptor {
            name: "fault".into(),
            version: env!("CARGO_PKG_VERSION").into(),
            summary: "Misbehaves on demand, for tests.".into(),
            params_schema: schemars::schema_for!(Params).into(),
            inputs: vec![role("video"), role("outside")],
            limits: Limits::default(),
            models: vec![],
            stages: vec![Stage { name: "work".into(), stall_secs: 0.5 }],
            resumable: true,
        }
    }

    fn check(&self, params: &Params) -> Result<()> {
        match params.secs.is_finite() {
            true => Ok(()),
            false => Err(JobError::new(ErrorCode::ParamsInvalid, "`secs` must be a number.")),
        }
    }

    fn warm(&self, _: &Params) -> Result<()> {
        Ok(())
    }

    fn plan(&self, params: &Params, _: &Probes) -> Result<Plan> {
        Ok(Plan { host_mib: params.mib as u64, ..Plan::default() })
    }

    fn run(&self, ctx: &JobContext, inputs: &Inputs, params: &Params) -> Result<Outputs> {
        progress(ctx, 0);
        match params.action {
            Action::Ok => {}
            Action::Segfault => segfault(),
            Action::Abort => std::process::abort(),
            Action::Hang => hang(),
            Action::Leak => self.lock().push(vec![1; params.mib << 20]),
            Action::Exhaust => self.exhaust(),
            Action::ExhaustShared => exhaust_shared()?,
            Action::FloodLog => flood(ctx),
            Action::Network => network()?,
            Action::Panic => panic!("fault: as asked"),
            Action::Exit => std::process::exit(3),
            Action::OutsideFile => outside(ctx, inputs)?,
            Action::EvilOutputs => return evil_outputs(ctx),
            Action::BigOutputList => return many_outputs(ctx),
            Action::Slow => slow(ctx, params.secs)?,
            Action::Garbage => garbage(),
            Action::FalseCode => return Err(JobError::new(ErrorCode::LeaseLost, "not mine to say")),
            Action::Checkpoint => checkpoint(ctx)?,
            Action::CheckpointCrash => return checkpoint_crash(ctx),
            Action::CheckpointSlow => return checkpoint_slow(ctx, params.secs),
            Action::Orphan => return orphan(ctx),
        }
        copy(ctx, inputs)
    }
}

impl Fault {
    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Vec<u8>>> {
        self.kept.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    fn exhaust(&self) {
        loop {
            self.lock().push(vec![1; 16 << 20]);
        }
    }
}

fn internal(what: impl std::fmt::Display) -> JobError {
    JobError::new(ErrorCode::Internal, what.to_string())
}

fn full_or_internal(error: std::io::Error) -> JobError {
    match error.kind() {
        ErrorKind::StorageFull => JobError::new(ErrorCode::ScratchFull, "The scratch disk is full: free some space."),
        _ => internal(error),
    }
}

fn progress(ctx: &JobContext, done: u64) {
    ctx.reporter.progress(Progress { stage: "work".into(), percent: None, done, total: None, fps: None });
}

fn segfault() {
    // SAFETY: none; the crash is the purpose.
    unsafe { std::ptr::null::<u8>().read_volatile() };
}

fn hang() -> ! {
    loop {
        std::thread::park();
    }
}

fn exhaust_shared() -> Result<()> {
    loop {
        const BYTES: usize = 16 << 20;
        let (flags, access) = (libc::MAP_SHARED | libc::MAP_ANONYMOUS, libc::PROT_READ | libc::PROT_WRITE);
        // SAFETY: a fresh mapping of our own, written within its bounds and never unmapped.
        unsafe {
            let start = libc::mmap(std::ptr::null_mut(), BYTES, access, flags, -1, 0);
            if start == libc::MAP_FAILED {
                return Err(internal("mmap failed before anybody stopped it"));
            }
            std::ptr::write_bytes(start.cast::<u8>(), 1, BYTES);
        }
    }
}

fn flood(ctx: &JobContext) {
    let (mut out, mut err) = (std::io::stdout(), std::io::stderr());
    for n in 0..200_000 {
        ctx.reporter.log(LogLevel::Info, &format!("line {n}"));
        // A closed pipe is as good as a read one here.
        writeln!(out, "out {n}").ok();
        writeln!(err, "err {n}").ok();
        if n % 1000 == 0 {
            progress(ctx, n);
        }
    }
}

fn network() -> Result<()> {
    let ways = [
        ("tcp connect", TcpStream::connect("127.0.0.1:9").map(drop)),
        ("tcp bind", std::net::TcpListener::bind("127.0.0.1:0").map(drop)),
        ("udp", UdpSocket::bind("127.0.0.1:0").map(drop)),
        ("local socket", std::os::unix::net::UnixDatagram::unbound().map(drop)),
    ];
    match ways.into_iter().find(|(_, result)| !is_denied(result)) {
        Some((way, result)) => Err(internal(format!("{way}: {result:?}"))),
        None => Ok(()),
    }
}

fn is_denied(result: &std::io::Result<()>) -> bool {
    result.as_ref().is_err_and(|error| error.kind() == ErrorKind::PermissionDenied)
}

fn outside(ctx: &JobContext, inputs: &Inputs) -> Result<()> {
    let read = |path: &Path| fs::File::open(path).map(drop);
    let write = |path: &Path| fs::OpenOptions::new().append(true).create(true).open(path).map(drop);
    let file = inputs.one("outside")?;
    let slot = ctx.scratch_dir.ancestors().nth(2).map(|slot| slot.with_file_name("jobs")).unwrap_or_default();
    let tries = [
        ("reading a neighbour's file", read(file)),
        ("writing a neighbour's file", write(file)),
        ("listing other jobs", fs::read_dir(slot).map(drop)),
        ("reading /etc/passwd", read(Path::new("/etc/passwd"))),
        ("writing to /tmp", write(Path::new("/tmp/darkroom-fault"))),
        ("a link", std::os::unix::fs::symlink("/etc/passwd", ctx.output_dir.join("link"))),
    ];
    match tries.into_iter().find(|(_, result)| !is_denied(result)) {
        Some((what, result)) => Err(internal(format!("{what}: {result:?}"))),
        None => Ok(()),
    }
}

fn evil_outputs(ctx: &JobContext) -> Result<Outputs> {
    fs::hard_link(ctx.scratch_dir.join("../in/clip"), ctx.output_dir.join("fine")).ok();
    let file = OutputFile { name: "../in/clip".into(), media_type: "video/webm".into() };
    Ok(Outputs { files: vec![file], ..Outputs::default() })
}

fn many_outputs(ctx: &JobContext) -> Result<Outputs> {
    let mut files = Vec::new();
    for n in 0..20_000 {
        let name = format!("frames/of-a-sequence-with-a-long-name/{n:06}.png");
        let path = ctx.output_dir.join(&name);
        if n == 0 {
            fs::create_dir_all(path.parent().unwrap_or(&path)).map_err(internal)?;
        }
        fs::write(path, b"").map_err(internal)?;
        files.push(OutputFile { name, media_type: "image/png".into() });
        progress(ctx, n);
    }
    Ok(Outputs { files, ..Outputs::default() })
}

fn slow(ctx: &JobContext, secs: f64) -> Result<()> {
    let until = std::time::Instant::now() + Duration::try_from_secs_f64(secs).map_err(internal)?;
    let mut done = 0;
    while std::time::Instant::now() < until {
        ctx.check_cancelled()?;
        std::thread::sleep(Duration::from_millis(10));
        done += 1;
        progress(ctx, done);
    }
    Ok(())
}

/// Finds the socket among the descriptors and talks over it.
fn garbage() {
    for descriptor in 3..64 {
        let text = b"\xff\xff\xff\xffgarbage";
        // SAFETY: plain writes of a static buffer; to descriptors that are not open they fail.
        unsafe { libc::send(descriptor, text.as_ptr().cast(), text.len(), libc::MSG_NOSIGNAL) };
    }
}

fn checkpoint(ctx: &JobContext) -> Result<()> {
    let path = ctx.scratch_dir.join("checkpoint");
    let before = ctx.resume.as_deref().map(fs::read_to_string).transpose().map_err(internal)?.unwrap_or_default();
    fs::write(&path, format!("{before}x")).map_err(internal)?;
    ctx.reporter.checkpoint(&path)
}

fn checkpoint_crash(ctx: &JobContext) -> Result<Outputs> {
    if ctx.resume.is_none() {
        checkpoint(ctx)?;
        std::process::abort();
    }
    resumed(ctx)
}

fn checkpoint_slow(ctx: &JobContext, secs: f64) -> Result<Outputs> {
    if ctx.resume.is_none() {
        checkpoint(ctx)?;
        slow(ctx, secs)?;
    }
    resumed(ctx)
}

/// What the checkpoint says that the run began from; nothing where it began anew.
fn resumed(ctx: &JobContext) -> Result<Outputs> {
    let text = ctx.resume.as_deref().map(fs::read_to_string).transpose().map_err(internal)?;
    let metrics = [("resumed".to_owned(), json!(text))].into_iter().collect();
    Ok(Outputs { metrics, ..Outputs::default() })
}

fn orphan(ctx: &JobContext) -> Result<Outputs> {
    let child = std::process::Command::new("sleep").arg("600").spawn().map_err(internal)?;
    let metrics = [("child".to_owned(), json!(child.id()))].into_iter().collect();
    progress(ctx, 1);
    Ok(Outputs { metrics, ..Outputs::default() })
}

fn copy(ctx: &JobContext, inputs: &Inputs) -> Result<Outputs> {
    let mut files = Vec::new();
    for input in inputs.0.get("video").into_iter().flatten() {
        let name = format!("{}.copy", files.len());
        // Not `fs::copy`: that sets permissions, which is denied here.
        let copied = fs::File::open(input)
            .and_then(|mut from| std::io::copy(&mut from, &mut fs::File::create(ctx.output_dir.join(&name))?));
        copied.map_err(full_or_internal)?;
        files.push(OutputFile { name, media_type: "application/octet-stream".into() });
    }
    let environment: Vec<String> = std::env::vars().map(|(name, _)| name).collect();
    let metrics = json!({ "pid": std::process::id(), "environment": environment });
    let metrics = metrics.as_object().cloned().unwrap_or_default();
    Ok(Outputs { files, metrics, ..Outputs::default() })
}
