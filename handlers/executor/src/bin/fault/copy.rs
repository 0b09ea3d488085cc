//! The handler that only copies: what a job costs beside its handler.

use std::fs::File;

use darkroom_api::{
    Descriptor, ErrorCode, Handler, InputRole, Inputs, JobContext, JobError, Limits, OutputFile, Outputs, Plan, Probes,
    Result, Stage,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// None.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Params {}

/// The handler that only copies.
#[derive(Debug)]
pub struct Copy;

const ROLE: &str = "file";

impl Handler for Copy {
    type Params = Params;

    fn describe(&self) -> Descriptor {
        Descriptor {
            name: "copy".into(),
            version: env!("CARGO_PKG_VERSION").into(),
            summary: "Copies any file, for tests.".into(),
            params_schema: schemars::schema_for!(Params).into(),
            // None may do: `up` makes no inbox for it then, which would be one of the tests' routes.
            inputs: vec![InputRole { name: ROLE.into(), min: 0, max: 1, kinds: vec![] }],
            limits: Limits::default(),
            models: vec![],
            stages: vec![Stage { name: "copy".into(), stall_secs: 60.0 }],
            resumable: false,
        }
    }

    fn check(&self, _: &Params) -> Result<()> {
        Ok(())
    }

    fn warm(&self, _: &Params) -> Result<()> {
        Ok(())
    }

    fn plan(&self, _: &Params, _: &Probes) -> Result<Plan> {
        Ok(Plan::default())
    }

    fn run(&self, ctx: &JobContext, inputs: &Inputs, _: &Params) -> Result<Outputs> {
        let output = OutputFile { name: "copy".into(), media_type: "application/octet-stream".into() };
        // Not `fs::copy`: that sets permissions, which is denied here.
        let copied = File::open(inputs.one(ROLE)?)
            .and_then(|mut from| std::io::copy(&mut from, &mut File::create(ctx.output_dir.join(&output.name))?));
        copied.map_err(|error| JobError::new(ErrorCode::Internal, error.to_string()))?;
        Ok(Outputs { files: vec![output], ..Outputs::default() })
    }
}
