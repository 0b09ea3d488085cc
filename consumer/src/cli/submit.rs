//! `darkroom submit`: a job message into the queue.

use std::collections::BTreeMap;

use darkroom_api::{Descriptor, ErrorClass, JobError};
use jiff::Timestamp;
use serde_json::Value;

use crate::config::Config;
use crate::job::executor::{Pool, PoolOptions, SlotOptions};
use crate::job::message::{JobMessage, OneOrMany, Schema};
use crate::queue::SendOptions;
use crate::store::{HttpsConfig, Place, parse_input};
use crate::trigger::Routes;

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
    /// The queue it waits in, by its name in the configuration; that of [queue] if absent.
    #[arg(long, value_name = "NAME")]
    queue: Option<String>,
}

pub(crate) async fn submit(global: &Global, args: Args) -> Result<(), Failure> {
    let config = global.backends()?;
    let name = args.queue;
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
    let checked = urls.try_for_each(|url| match HttpsConfig::is_web(url) {
        true => config.https.input(url).map(drop),
        false => parse_input(url).map(drop),
    });
    let checked = message.check().and(checked).and(Place::for_writing("", &message.output).map(drop));
    checked.map_err(usage)?;
    known(global, &config, &message).await?;
    let body = serde_json::to_string(&message).map_err(|e| Failure::Usage(e.to_string()))?;
    let id = open::queue(&config, name.as_deref()).await?.send(&body, SendOptions::default()).await?;
    if global.json {
        return print_line(&serde_json::json!({ "submission_id": id }).to_string());
    }
    print_line(&id.to_string())?;
    let named = global.data_dir.as_ref().map(|dir| format!(" --data-dir {}", dir.display()));
    let named = named.or_else(|| global.config.as_ref().map(|file| format!(" --config {}", file.display())));
    global.note(&format!("follow with `darkroom jobs wait {id}{}`", named.unwrap_or_default()));
    Ok(())
}

/// Asks the rules and the handlers beside this program about the message; the worker's own may be others only where it is
/// elsewhere.
///
/// # Errors
/// [`Failure::Usage`] for what a worker would refuse, in its words; where nobody can be asked, that is noted.
async fn known(global: &Global, config: &Config, message: &JobMessage) -> Result<(), Failure> {
    let unasked = |what: &str, why: &str| global.note(&format!("{what} not checked before the job runs: {why}"));
    let (binary, handlers) = match open::handlers(config).await {
        Ok(found) => found,
        Err(Failure::Failed(why)) => {
            unasked("places, handler and parameters are", &why);
            return Ok(());
        }
        Err(wrong) => return Err(wrong),
    };
    match rules(config, &handlers) {
        Ok(rules) => drop(rules.accept(message.clone(), "", Timestamp::now()).map_err(usage)?),
        Err(why) => unasked("input, output and handler are", &why),
    }
    let scratch_dir = std::env::temp_dir().join(format!("darkroom-submit-{}", uuid::Uuid::now_v7().simple()));
    let options = PoolOptions {
        binary,
        scratch_dir: scratch_dir.clone(),
        slots: vec![SlotOptions { device: "cpu".into(), threads: 1 }],
        memory_mib: config.executor.memory_mib,
        leak_mib: 0,
        fresh: false,
        registry: config.models.clone(),
        engine_cache: None,
        read_only: Vec::new(),
    };
    let checked = async {
        let pool = Pool::open(options).await?;
        let checked = pool.check(&message.handler, &Value::Object(message.params.clone())).await;
        pool.shutdown().await;
        checked
    };
    let checked = checked.await;
    let _swept_by_the_system_else = std::fs::remove_dir_all(&scratch_dir);
    match checked {
        Err(error) if error.class() == ErrorClass::Permanent => Err(usage(error)),
        Err(error) => {
            unasked("parameters are", &error.message);
            Ok(())
        }
        Ok(()) => Ok(()),
    }
}

/// The rules of this configuration, which may be only a part of its worker's: then why they cannot be asked.
fn rules(config: &Config, handlers: &[Descriptor]) -> Result<Routes, String> {
    let state = config.state_place().map_err(|error| error.message)?;
    Routes::new(&config.rules(), &config.stores, handlers, &state).map_err(|problems| problems.join("; "))
}

fn usage(error: JobError) -> Failure {
    Failure::Usage(error.message)
}

fn by_role(pairs: Vec<(String, String)>) -> Option<BTreeMap<String, OneOrMany>> {
    let mut roles: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (role, url) in pairs {
        roles.entry(role).or_default().push(url);
    }
    (!roles.is_empty()).then(|| roles.into_iter().map(|(role, urls)| (role, OneOrMany::Many(urls))).collect())
}
