//! `darkroom submit`: a job message into the queue.

use std::collections::BTreeMap;

use crate::job::message::{JobMessage, OneOrMany, Schema};
use crate::queue::SendOptions;
use crate::store::{Place, parse_input};

use super::{Failure, Global, open, pair, params, print_line};

/// Arguments.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Handler, e.g. `matting`.
    handler: String,
    /// `s3://bucket/key` of the primary input.
    #[arg(required_unless_present = "inputs")]
    input: Option<String>,
    /// Where results go.
    #[arg(long, value_name = "s3://BUCKET/PREFIX/")]
    output: String,
    /// A parameter of the handler; may be repeated.
    #[arg(long = "set", value_name = "NAME=VALUE", value_parser = pair)]
    set: Vec<(String, String)>,
    /// An input with its role, in place of the primary one; repeat it for every role.
    #[arg(long = "input", id = "inputs", value_name = "ROLE=URL", value_parser = pair, conflicts_with = "input")]
    inputs: Vec<(String, String)>,
    /// Your own name for the job: comes back in every event.
    #[arg(long)]
    reference: Option<String>,
    /// Time for all attempts together, in seconds.
    #[arg(long, value_name = "SECS")]
    deadline_secs: Option<u64>,
    /// Any string: runs a job again that is done already.
    #[arg(long, value_name = "ANY")]
    rerun: Option<String>,
}

pub(crate) async fn submit(global: &Global, args: Args) -> Result<(), Failure> {
    let config = global.backends()?;
    let message = JobMessage {
        schema: Schema::V1,
        handler: args.handler,
        inputs: by_role(args.inputs),
        input: args.input,
        output: args.output,
        params: params(&args.set),
        reference: args.reference,
        deadline_secs: args.deadline_secs,
        rerun: args.rerun,
    };
    let mut urls = message.inputs.iter().flat_map(BTreeMap::values).flat_map(OneOrMany::as_slice).chain(&message.input);
    let checked = urls.try_for_each(|url| parse_input(url).map(drop));
    let checked = message.check().and(checked).and(Place::for_writing("", &message.output).map(drop));
    checked.map_err(|error| Failure::Usage(error.message))?;
    let body = serde_json::to_string(&message).map_err(|e| Failure::Usage(e.to_string()))?;
    let id = open::queue(&config).await?.send(&body, SendOptions::default()).await?;
    if global.json {
        return print_line(&serde_json::json!({ "submission_id": id }).to_string());
    }
    print_line(&id.to_string())
}

fn by_role(pairs: Vec<(String, String)>) -> Option<BTreeMap<String, OneOrMany>> {
    let mut roles: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (role, url) in pairs {
        roles.entry(role).or_default().push(url);
    }
    (!roles.is_empty()).then(|| roles.into_iter().map(|(role, urls)| (role, OneOrMany::Many(urls))).collect())
}
