//! One executor: its process, its socket, and the short requests.

use std::ffi::OsString;
use std::os::fd::OwnedFd;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use darkroom_api::protocol::{Confinement, Down, PROTOCOL_VERSION, Up};
use darkroom_api::{ErrorCode, Inputs, JobError, Limits, Plan, Result};
use darkroom_models::RegistryConfig;
use rustix::process::{Pid, Signal, kill_process_group};
use tokio::net::UnixStream;
use tokio::process::{Child, Command};
use tokio::task::JoinHandle;
use tokio::time::{Instant, interval};

use super::drain::{Tail, drain};
use super::end::{Evidence, Lost};
use super::link::{Link, SEND_LIMIT};
use super::options::ExecutorOptions;
use super::run::LOOK_EVERY;
use super::slot::RestartReason;
use super::tree::Trees;
use super::{memory, spawner};

/// All that an executor inherits of our environment.
const ENVIRONMENT: [&str; 6] =
    ["LANG", "CUDA_VISIBLE_DEVICES", "NVIDIA_VISIBLE_DEVICES", "OMP_NUM_THREADS", "LD_LIBRARY_PATH", "RUST_BACKTRACE"];
/// From spawn to the first word.
const START_LIMIT: Duration = Duration::from_secs(30);
/// To look at a file and to plan.
const ANSWER_LIMIT: Duration = Duration::from_secs(60);
/// To load models; engines built for a device take minutes.
const WARM_LIMIT: Duration = Duration::from_secs(1800);
/// From the closed socket to the exit, for a core dump or a slow unmap, before we kill.
const EXIT_GRACE: Duration = Duration::from_secs(2);

/// A running executor. Dropped, it is killed with all that it started.
#[derive(Debug)]
pub struct Executor {
    pub(super) link: Link,
    child: Child,
    group: Option<Pid>,
    pid: u32,
    drains: Vec<JoinHandle<()>>,
    stderr: Tail,
    limit_bytes: u64,
    last_bytes: u64,
    kernel_kills: Option<u64>,
    confinement: Confinement,
    trees: Arc<Trees>,
    lost: Option<RestartReason>,
}

impl Executor {
    /// Starts an executor and waits for its first word.
    ///
    /// # Errors
    /// [`ErrorCode::RuntimeMissing`] where the binary cannot be started, codes of class `ExecutorLost` where it ends or
    /// speaks another version.
    pub async fn spawn(options: &ExecutorOptions) -> Result<Executor> {
        let cannot = |what: &str, error: std::io::Error| {
            let why =
                format!("The executor could not be started ({what}: {error}); `darkroom doctor` says what is missing.");
            JobError::new(ErrorCode::RuntimeMissing, why)
        };
        let (ours, theirs) = std::os::unix::net::UnixStream::pair().map_err(|e| cannot("socket", e))?;
        ours.set_nonblocking(true).map_err(|e| cannot("socket", e))?;
        let ours = UnixStream::from_std(ours).map_err(|e| cannot("socket", e))?;
        let mut child =
            spawner::spawn(command(options, theirs.into())?).await.map_err(|e| cannot("darkroom-executor", e))?;
        let pid = child.id().unwrap_or_default();
        let (stderr, said) = (Tail::default(), Tail::default());
        let mut drains = Vec::new();
        if let Some(pipe) = child.stdout.take() {
            let line = move |line: &str| tracing::info!(target: "darkroom::executor", pid, "{line}");
            drains.push(tokio::spawn(drain(pipe, said, line)));
        }
        if let Some(pipe) = child.stderr.take() {
            let line = move |line: &str| tracing::warn!(target: "darkroom::executor", pid, "{line}");
            drains.push(tokio::spawn(drain(pipe, stderr.clone(), line)));
        }
        let mut executor = Executor {
            link: Link::new(ours, pid),
            child,
            group: i32::try_from(pid).ok().and_then(Pid::from_raw),
            pid,
            drains,
            stderr,
            limit_bytes: options.memory_mib << 20,
            last_bytes: 0,
            kernel_kills: memory::kernel_kills(),
            confinement: Confinement::default(),
            trees: Arc::default(),
            lost: None,
        };
        executor.greet().await?;
        Ok(executor)
    }

    async fn greet(&mut self) -> Result<()> {
        match self.answer("hello", START_LIMIT).await? {
            Up::Hello { protocol: PROTOCOL_VERSION, version, confinement } => {
                tracing::debug!(target: "darkroom::executor", pid = self.pid, version, ?confinement, "executor ready");
                if confinement.landlock_abi == 0 || !confinement.seccomp {
                    let landlock = confinement.landlock_abi;
                    tracing::warn!(
                        target: "darkroom::executor", landlock, seccomp = confinement.seccomp,
                        "this kernel does not confine executors: hostile media could reach your files; `darkroom doctor` tells more"
                    );
                }
                self.confinement = confinement;
                Ok(())
            }
            Up::Hello { protocol, version, .. } => {
                let what = format!("it is version {version} and speaks protocol {protocol}, not {PROTOCOL_VERSION}");
                Err(self.lose(Lost::Garbage(what)).await)
            }
            other => Err(self.unexpected("hello", &other).await),
        }
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// Where its runs work, one after the other.
    pub(super) fn trees(&self) -> &Arc<Trees> {
        &self.trees
    }

    /// What confines it, by its own account.
    pub fn confinement(&self) -> &Confinement {
        &self.confinement
    }

    /// Why it can no longer be used, if so.
    pub fn lost(&self) -> Option<RestartReason> {
        self.lost
    }

    /// Memory in bytes that it holds for itself now.
    pub fn own_bytes(&mut self) -> u64 {
        if let Some(bytes) = memory::own_bytes(self.pid) {
            self.last_bytes = bytes;
        }
        self.last_bytes
    }

    /// Its memory, where that is more than it may have.
    pub(super) fn over_memory(&mut self) -> Option<Lost> {
        let bytes = self.own_bytes();
        (self.limit_bytes > 0 && bytes > self.limit_bytes).then_some(Lost::OverMemory { bytes })
    }

    /// Checks parameters and, with `load`, loads what a run with them will use.
    ///
    /// # Errors
    /// Those of the handler's `check` and `warm`; [`ErrorCode::HandlerUnknown`]; class `ExecutorLost`.
    pub async fn warm(&mut self, handler: &str, params: &serde_json::Value, load: bool) -> Result<()> {
        let request = Down::Warm { handler: handler.into(), params: params.clone(), load };
        match self.request("warm", &request, WARM_LIMIT).await? {
            Up::Ready => Ok(()),
            other => Err(self.unexpected("warm", &other).await),
        }
    }

    /// Looks at the inputs, and says what a run would need.
    ///
    /// # Errors
    /// Permanent codes about an input; those of the handler's `plan`; [`ErrorCode::HandlerUnknown`]; class
    /// `ExecutorLost`.
    pub async fn plan(
        &mut self,
        handler: &str,
        params: &serde_json::Value,
        inputs: &Inputs,
        limits: &Limits,
    ) -> Result<Plan> {
        let (handler, params) = (handler.into(), params.clone());
        let request = Down::Plan { handler, params, inputs: inputs.clone(), limits: *limits };
        let files = inputs.0.values().map(Vec::len).sum::<usize>().max(1);
        let limit = ANSWER_LIMIT.saturating_mul(u32::try_from(files).unwrap_or(u32::MAX));
        match self.request("plan", &request, limit).await? {
            Up::Planned { plan } => Ok(plan),
            other => Err(self.unexpected("plan", &other).await),
        }
    }

    /// Asks it to exit and waits for a moment; killed where it does not.
    pub async fn shutdown(mut self) {
        if self.lost.is_none() && self.link.send(&Down::Shutdown).await.is_ok() {
            // What is left is killed below, so an overrun needs no handling.
            drop(tokio::time::timeout(EXIT_GRACE, self.child.wait()).await);
        }
        // It may have ended in peace and left children behind; they are in its group, whose number is theirs meanwhile.
        self.kill();
    }

    /// Sends what starts a talk; what was said before without being asked is a violation.
    pub(super) async fn begin(&mut self, message: &Down) -> Result<()> {
        if self.link.has_unread() {
            return Err(self.lose(Lost::Garbage("it spoke without being asked".into())).await);
        }
        match self.link.send(message).await {
            Ok(()) => Ok(()),
            Err(error) if error.kind() == std::io::ErrorKind::InvalidData => {
                let why = format!("The request does not fit into a frame ({error}): use fewer or shorter parameters.");
                Err(JobError::new(ErrorCode::ParamsInvalid, why))
            }
            Err(error) => Err(self.lose(unsent(&error)).await),
        }
    }

    async fn request(&mut self, name: &'static str, message: &Down, limit: Duration) -> Result<Up> {
        self.begin(message).await?;
        match self.answer(name, limit).await? {
            Up::Failed { error } => Err(super::run::believable(error, false)),
            up => Ok(up),
        }
    }

    async fn answer(&mut self, request: &'static str, limit: Duration) -> Result<Up> {
        let (start, mut look) = (Instant::now(), interval(LOOK_EVERY));
        let lost = loop {
            tokio::select! {
                frame = self.link.next() => match frame {
                    Some(Ok(up)) => return Ok(up),
                    Some(Err(error)) => break Lost::Garbage(error.to_string()),
                    None => break Lost::Closed,
                },
                _ = look.tick() => {
                    if start.elapsed() > limit {
                        break Lost::Silent { request, secs: limit.as_secs_f64() };
                    }
                    if let Some(lost) = self.over_memory() {
                        break lost;
                    }
                }
            }
        };
        Err(self.lose(lost).await)
    }

    pub(super) async fn unexpected(&mut self, request: &str, up: &Up) -> JobError {
        let name = match up {
            Up::Hello { .. } => "hello",
            Up::Ready => "ready",
            Up::Planned { .. } => "planned",
            Up::Progress(_) => "progress",
            Up::Log { .. } => "log",
            Up::Checkpoint { .. } => "checkpoint",
            Up::Done { .. } => "done",
            Up::Failed { .. } => "failed",
        };
        self.lose(Lost::Garbage(format!("`{name}` is no answer to `{request}`"))).await
    }

    /// Ends it, with all that it started, and says why.
    pub(super) async fn lose(&mut self, lost: Lost) -> JobError {
        if lost != Lost::Closed {
            self.kill();
        }
        let status = match tokio::time::timeout(EXIT_GRACE, self.child.wait()).await {
            Ok(status) => status.ok(),
            Err(_) => {
                self.kill();
                self.child.wait().await.ok()
            }
        };
        // What it started may still live. Its number could only have passed to a stranger in the moment since the wait.
        self.kill();
        for drain in self.drains.drain(..) {
            // The pipe of a process that is gone ends at once; one that a child of it still holds need not.
            drop(tokio::time::timeout(Duration::from_secs(1), drain).await);
        }
        let evidence = Evidence {
            status,
            stderr: self.stderr.text(),
            last_bytes: self.last_bytes,
            limit_bytes: self.limit_bytes,
            kernel_killed: self.kernel_kills != memory::kernel_kills(),
        };
        let (error, reason) = lost.verdict(&evidence);
        tracing::warn!(target: "darkroom::executor", pid = self.pid, code = %error.code, "executor lost: {}", error.message);
        self.lost = Some(reason);
        error
    }

    fn kill(&self) {
        if let Some(group) = self.group {
            // ESRCH: nobody is left, which is what we want.
            kill_process_group(group, Signal::KILL).ok();
        }
    }
}

impl Drop for Executor {
    fn drop(&mut self) {
        // The leader's number stays taken until it is reaped, so this cannot hit a stranger; `lose` has killed already.
        if self.child.id().is_some() {
            self.kill();
        }
    }
}

/// Why a message did not go out.
pub(super) fn unsent(error: &std::io::Error) -> Lost {
    match error.kind() {
        std::io::ErrorKind::TimedOut => Lost::Silent { request: "a message", secs: SEND_LIMIT.as_secs_f64() },
        _ => Lost::Closed,
    }
}

fn command(options: &ExecutorOptions, socket: OwnedFd) -> Result<Command> {
    let mut command = Command::new(&options.binary);
    command.args(arguments(options)?).env_clear();
    let kept = ENVIRONMENT.iter().filter_map(|name| Some((name, std::env::var_os(name)?)));
    command.envs(kept).env("TMPDIR", &options.dir).env("HOME", &options.dir);
    // Before anybody can switch it off, ONNX Runtime would write an identifier of the device for its telemetry.
    command.env("ORT_DISABLE_TELEMETRY", "1");
    // SVT-AV1 would tell its settings on standard error, and listens to nothing but this: 1 is errors only.
    command.env("SVT_LOG", "1");
    if let Some(cache) = &options.engine_cache {
        command.env("CUDA_CACHE_PATH", cache);
    }
    command.current_dir(&options.dir).stdin(Stdio::from(socket)).stdout(Stdio::piped()).stderr(Stdio::piped());
    command.kill_on_drop(true).process_group(0);
    Ok(command)
}

fn arguments(options: &ExecutorOptions) -> Result<Vec<OsString>> {
    let mut arguments: Vec<OsString> = vec!["serve".into()];
    let mut add = |name: &str, value: OsString| arguments.extend([name.into(), value]);
    add("--parent", std::process::id().to_string().into());
    add("--scratch", options.dir.clone().into());
    add("--device", options.device.clone().into());
    add("--threads", options.threads.to_string().into());
    add("--memory-mib", options.memory_mib.to_string().into());
    if let Some(cache) = &options.engine_cache {
        add("--cache", cache.clone().into());
    }
    for path in &options.read_only {
        add("--read-only", path.clone().into());
    }
    arguments.extend(registry_arguments(&options.registry)?);
    Ok(arguments)
}

/// A registry as the executor's command line takes it.
///
/// # Errors
/// As [`RegistryConfig::open`].
pub(super) fn registry_arguments(registry: &RegistryConfig) -> Result<Vec<OsString>> {
    let mut arguments: Vec<OsString> = Vec::new();
    let mut add = |name: &str, value: OsString| arguments.extend([name.into(), value]);
    // Resolved here: the executor has not our environment, which may name the directory.
    add("--models", registry.open()?.cache_dir().into());
    if let Some(manifest) = &registry.manifest {
        add("--manifest", manifest.clone().into());
    }
    for (name, path) in &registry.custom {
        let mut value = OsString::from(name);
        value.push("=");
        value.push(path);
        add("--model", value);
    }
    Ok(arguments)
}
