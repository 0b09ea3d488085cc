//! The handler contract.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use schemars::JsonSchema;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::{Alone, Descriptor, ErrorCode, JobContext, JobError, Outputs, Part, Probe, Result, parse_params};

/// What a run will need, so that it is only started where it fits.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Plan {
    /// Device memory in MiB.
    pub device_mib: u64,
    /// Host memory in MiB.
    pub host_mib: u64,
    /// Scratch space for outputs and temporary files, beside the inputs.
    pub scratch_bytes: u64,
    /// Whether the device must not be shared.
    pub exclusive: bool,
}

/// Probes of the inputs, by role.
pub type Probes = BTreeMap<String, Vec<Probe>>;

/// Local files, by role.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct Inputs(pub BTreeMap<String, Vec<PathBuf>>);

impl Inputs {
    /// The only file of a role.
    ///
    /// # Errors
    /// [`ErrorCode::InputsInvalid`] where there is none.
    pub fn one(&self, role: &str) -> Result<&Path> {
        self.optional(role).ok_or_else(|| {
            JobError::new(ErrorCode::InputsInvalid, format!("The input `{role}` is missing: name a file for it."))
        })
    }

    /// The first file of a role, if any.
    pub fn optional(&self, role: &str) -> Option<&Path> {
        self.0.get(role).and_then(|files| files.first()).map(PathBuf::as_path)
    }
}

/// A handler develops inputs into outputs. It sees local files only: no queue, no bucket, no event sink.
pub trait Handler: Send + Sync {
    /// Its parameters. `deny_unknown_fields`, defaults documented, ranges as types.
    type Params: DeserializeOwned + Serialize + JsonSchema;

    /// Who it is and what it takes.
    fn describe(&self) -> Descriptor;

    /// Checks what types alone cannot (one parameter against another, a model against the registry).
    ///
    /// # Errors
    /// [`ErrorCode::ParamsInvalid`], [`ErrorCode::ModelMissing`].
    fn check(&self, params: &Self::Params) -> Result<()>;

    /// Loads what a run with these parameters will use (models), so that the run starts at once.
    ///
    /// # Errors
    /// [`ErrorCode::ModelMissing`], [`ErrorCode::RuntimeMissing`].
    fn warm(&self, params: &Self::Params) -> Result<()>;

    /// What a run will need; refuses inputs it cannot work on.
    ///
    /// # Errors
    /// Permanent codes about the input.
    fn plan(&self, params: &Self::Params, probes: &Probes) -> Result<Plan>;

    /// Does the work. Returns when all outputs are complete under `ctx.output_dir`.
    ///
    /// # Errors
    /// Any code; outputs of a failed run are thrown away.
    fn run(&self, ctx: &JobContext, inputs: &Inputs, params: &Self::Params) -> Result<Outputs>;

    /// Prepares a part of a run, to be measured alone by `darkroom bench`. A handler without parts has none to offer.
    ///
    /// # Errors
    /// As [`Handler::run`]; [`ErrorCode::HandlerUnknown`] where there are no parts.
    fn alone<'a>(
        &'a self,
        _part: Part,
        _ctx: &'a JobContext,
        _inputs: &Inputs,
        _params: Self::Params,
    ) -> Result<Alone<'a>> {
        let name = self.describe().name;
        Err(JobError::new(ErrorCode::HandlerUnknown, format!("The parts of `{name}` cannot be measured alone.")))
    }
}

/// [`Handler`] with its parameters as JSON: what the executor keeps in its table.
pub trait DynHandler: Send + Sync {
    /// See [`Handler::describe`].
    fn describe(&self) -> Descriptor;
    /// Parses, then [`Handler::check`].
    ///
    /// # Errors
    /// As there, and [`ErrorCode::ParamsInvalid`].
    fn check(&self, params: &serde_json::Value) -> Result<()>;
    /// Parses, then [`Handler::warm`].
    ///
    /// # Errors
    /// As there, and [`ErrorCode::ParamsInvalid`].
    fn warm(&self, params: &serde_json::Value) -> Result<()>;
    /// Parses, then [`Handler::plan`].
    ///
    /// # Errors
    /// As there, and [`ErrorCode::ParamsInvalid`].
    fn plan(&self, params: &serde_json::Value, probes: &Probes) -> Result<Plan>;
    /// Parses, then [`Handler::run`].
    ///
    /// # Errors
    /// As there, and [`ErrorCode::ParamsInvalid`].
    fn run(&self, ctx: &JobContext, inputs: &Inputs, params: &serde_json::Value) -> Result<Outputs>;
    /// Parses, then [`Handler::alone`].
    ///
    /// # Errors
    /// As there, and [`ErrorCode::ParamsInvalid`].
    fn alone<'a>(
        &'a self,
        part: Part,
        ctx: &'a JobContext,
        inputs: &Inputs,
        params: &serde_json::Value,
    ) -> Result<Alone<'a>>;
}

struct Erased<H>(H);

/// Hides a handler's parameter type.
pub fn erase<H: Handler + 'static>(handler: H) -> Box<dyn DynHandler> {
    Box::new(Erased(handler))
}

impl<H: Handler> DynHandler for Erased<H> {
    fn describe(&self) -> Descriptor {
        self.0.describe()
    }
    fn check(&self, params: &serde_json::Value) -> Result<()> {
        self.0.check(&parse_params(params)?)
    }
    fn warm(&self, params: &serde_json::Value) -> Result<()> {
        self.0.warm(&parse_params(params)?)
    }
    fn plan(&self, params: &serde_json::Value, probes: &Probes) -> Result<Plan> {
        self.0.plan(&parse_params(params)?, probes)
    }
    fn run(&self, ctx: &JobContext, inputs: &Inputs, params: &serde_json::Value) -> Result<Outputs> {
        self.0.run(ctx, inputs, &parse_params(params)?)
    }
    fn alone<'a>(
        &'a self,
        part: Part,
        ctx: &'a JobContext,
        inputs: &Inputs,
        params: &serde_json::Value,
    ) -> Result<Alone<'a>> {
        self.0.alone(part, ctx, inputs, parse_params(params)?)
    }
}
