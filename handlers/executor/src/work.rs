//! Answers one request after the other. A panic in a handler is a failed request.

use std::any::Any;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Arc;

use darkroom_api::protocol::{Down, OutputList, RunRequest, Up};
use darkroom_api::{
    CancelToken, Descriptor, DynHandler, ErrorCode, Inputs, JobContext, JobError, Limits, Outputs, Plan, Probes, Result,
};
use serde_json::Value;

use crate::handlers::Table;
use crate::uplink::Uplink;

/// Longest list of outputs that is told; the protocol's frames have room for it and the rest of the answer.
const MAX_TOLD_BYTES: usize = 256 << 10;

/// The thread that works.
pub struct Worker {
    /// With what each handler says of itself, which takes time to say.
    table: Vec<(Descriptor, Box<dyn DynHandler>)>,
    uplink: Arc<Uplink>,
}

impl Worker {
    pub fn new(table: Table, uplink: Arc<Uplink>) -> Worker {
        let table = table.into_iter().map(|handler| (handler.describe(), handler)).collect();
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
            Down::Plan { handler, params, inputs, limits } => {
                Ok(Up::Planned { plan: self.plan(&handler, &params, &inputs, &limits)? })
            }
            Down::Run(request) => Ok(Up::Done { outputs: self.run(*request, cancel)? }),
            // The main thread keeps these.
            Down::Cancel | Down::Shutdown => Err(JobError::new(ErrorCode::Internal, "This is no request.")),
        }
    }

    fn plan(&self, handler: &str, params: &Value, inputs: &Inputs, limits: &Limits) -> Result<Plan> {
        let (described, handler) = self.find(handler)?;
        let mut probes = Probes::new();
        let several = inputs.0.len() > 1;
        for role in &described.inputs {
            for file in inputs.0.get(&role.name).into_iter().flatten() {
                let probe = darkroom_media::probe::probe(file, &role.kinds, limits)
                    .map_err(|error| if several { of_role(&role.name, error) } else { error })?;
                probes.entry(role.name.clone()).or_default().push(probe);
            }
        }
        handler.plan(params, &probes)
    }

    fn run(&self, request: RunRequest, cancel: CancelToken) -> Result<OutputList> {
        let handler = self.handler(&request.handler)?;
        let ctx = JobContext {
            scratch_dir: request.scratch_dir.clone(),
            output_dir: request.output_dir,
            resume: request.resume,
            cancel,
            reporter: Arc::clone(&self.uplink) as _,
        };
        let outputs = handler.run(&ctx, &request.inputs, &request.params)?;
        list(outputs, &request.scratch_dir)
    }

    fn handler(&self, name: &str) -> Result<&dyn DynHandler> {
        self.find(name).map(|(_, handler)| handler)
    }

    fn find(&self, name: &str) -> Result<(&Descriptor, &dyn DynHandler)> {
        let found = self.table.iter().find(|(described, _)| described.name == name);
        found.map(|(described, handler)| (described, handler.as_ref())).ok_or_else(|| {
            let names: Vec<_> = self.table.iter().map(|(described, _)| described.name.as_str()).collect();
            let why = format!("There is no handler `{name}`; this worker has: {}.", names.join(", "));
            JobError::new(ErrorCode::HandlerUnknown, why)
        })
    }
}

/// An error with the role of its input: of several, nobody else knows which one is meant.
fn of_role(role: &str, error: JobError) -> JobError {
    JobError { message: format!("The input `{role}`: {}", error.message), ..error }
}

/// A list that may be longer than a frame travels as a file.
fn list(outputs: Outputs, scratch_dir: &Path) -> Result<OutputList> {
    let failed = |error: io::Error| match error.kind() {
        io::ErrorKind::StorageFull => {
            JobError::new(ErrorCode::ScratchFull, "The scratch disk is full: free space, or send smaller inputs.")
        }
        _ => JobError::new(ErrorCode::Internal, format!("The list of outputs could not be written: {error}.")),
    };
    let text = serde_json::to_vec(&outputs).map_err(|error| failed(error.into()))?;
    if text.len() <= MAX_TOLD_BYTES {
        return Ok(OutputList::Told(Box::new(outputs)));
    }
    let path = scratch_dir.join("outputs.json");
    std::fs::write(&path, text).map_err(failed)?;
    Ok(OutputList::File(path))
}

fn panicked(panic: &(dyn Any + Send)) -> JobError {
    let text = panic.downcast_ref::<&str>().copied().or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    let why =
        format!("The handler panicked ({}): this is a bug in it, please report it.", text.unwrap_or("no message"));
    JobError::new(ErrorCode::Internal, why)
}
