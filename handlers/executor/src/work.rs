//! Answers one request after the other. A panic in a handler is a failed request.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::Arc;

use darkroom_api::protocol::{Down, RunRequest, Up};
use darkroom_api::{CancelToken, DynHandler, ErrorCode, JobContext, JobError, LogLevel, Outputs, Result};

use crate::handlers::Table;
use crate::uplink::Uplink;

/// The thread that works.
pub struct Worker {
    table: Table,
    uplink: Arc<Uplink>,
}

impl Worker {
    pub fn new(table: Table, uplink: Arc<Uplink>) -> Worker {
        Worker { table, uplink }
    }

    /// Works on a request and answers it.
    pub fn answer(&self, request: Down, cancel: CancelToken) {
        let done = catch_unwind(AssertUnwindSafe(|| self.work(request, cancel)));
        let up =
            done.unwrap_or_else(|panic| Err(panicked(panic.as_ref()))).unwrap_or_else(|error| Up::Failed { error });
        if let Err(error) = self.uplink.answer(&up) {
            if error.kind() != std::io::ErrorKind::InvalidData {
                // The consumer is gone, which the main thread sees too.
                return;
            }
            let error = JobError::new(ErrorCode::Internal, format!("The handler's answer is too long ({error})."));
            self.uplink.answer(&Up::Failed { error }).ok();
        }
    }

    fn work(&self, request: Down, cancel: CancelToken) -> Result<Up> {
        match request {
            Down::Warm { handler, params, load } => {
                let handler = self.handler(&handler)?;
                handler.check(&params)?;
                if load {
                    handler.warm(&params)?;
                }
                Ok(Up::Ready)
            }
            Down::Probe { path, kinds, limits } => {
                let probe = darkroom_media::probe::probe(&path, &kinds, &limits)?;
                Ok(Up::Probed { probe: Box::new(probe) })
            }
            Down::Plan { handler, params, probes } => {
                Ok(Up::Planned { plan: self.handler(&handler)?.plan(&params, &probes)? })
            }
            Down::Run(request) => Ok(Up::Done { outputs: self.run(*request, cancel)? }),
            // The main thread keeps these.
            Down::Cancel | Down::Shutdown => Err(JobError::new(ErrorCode::Internal, "This is no request.")),
        }
    }

    fn run(&self, request: RunRequest, cancel: CancelToken) -> Result<PathBuf> {
        let handler = self.handler(&request.handler)?;
        self.uplink.line(LogLevel::Debug, &format!("run {} for job {}", request.handler, request.job_id));
        let ctx = JobContext {
            scratch_dir: request.scratch_dir.clone(),
            output_dir: request.output_dir,
            resume: request.resume,
            cancel,
            reporter: Arc::clone(&self.uplink) as _,
        };
        let outputs = handler.run(&ctx, &request.inputs, &request.params)?;
        store(&outputs, request.scratch_dir.join("outputs.json"))
    }

    fn handler(&self, name: &str) -> Result<&dyn DynHandler> {
        let found = self.table.iter().find(|handler| handler.describe().name == name);
        found.map(Box::as_ref).ok_or_else(|| {
            let names: Vec<String> = self.table.iter().map(|handler| handler.describe().name).collect();
            let why = format!("There is no handler `{name}`; this worker has: {}.", names.join(", "));
            JobError::new(ErrorCode::HandlerUnknown, why)
        })
    }
}

/// The list of outputs may be longer than a frame, so it travels as a file.
fn store(outputs: &Outputs, path: PathBuf) -> Result<PathBuf> {
    let write = || std::fs::write(&path, serde_json::to_vec(outputs)?);
    write().map_err(|error| match error.kind() {
        std::io::ErrorKind::StorageFull => {
            JobError::new(ErrorCode::ScratchFull, "The scratch disk is full: free space, or send smaller inputs.")
        }
        _ => JobError::new(ErrorCode::Internal, format!("The list of outputs could not be written: {error}.")),
    })?;
    Ok(path)
}

fn panicked(panic: &(dyn Any + Send)) -> JobError {
    let text = panic.downcast_ref::<&str>().copied().or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    let why =
        format!("The handler panicked ({}): this is a bug in it, please report it.", text.unwrap_or("no message"));
    JobError::new(ErrorCode::Internal, why)
}
