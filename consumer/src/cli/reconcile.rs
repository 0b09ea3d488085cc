//! `darkroom reconcile`: submits uploads whose notification was lost.

use std::time::Duration;

use serde_json::json;

use crate::job::reconcile::{self, Finding, Report};
use crate::store::ObjectRef;
use crate::trigger::{RouteConfig, taken_by};

use super::display::{Count, Style};
use super::{Failure, Global, open, print_line, work};

/// Arguments.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Only this bucket; all that routes listen on, if absent.
    #[arg(long)]
    bucket: Option<String>,
    /// Only keys that begin so.
    #[arg(long, requires = "bucket")]
    prefix: Option<String>,
    /// Leave alone what was uploaded in the last seconds: its notification may be on its way.
    #[arg(long, default_value_t = reconcile::MIN_AGE.as_secs(), value_name = "SECS")]
    min_age_secs: u64,
}

pub(crate) async fn reconcile(global: &Global, args: Args) -> Result<(), Failure> {
    let config = global.running()?;
    let prepared = work::prepare(&config).await?;
    let queue = open::queue(&config).await?;
    let waiting = queue.depth().await?.visible;
    let reconciler = prepared.reconciler(queue, Duration::from_secs(args.min_age_secs));
    let prefix = args.prefix.unwrap_or_default();
    let places = reconciler.routes.listened(args.bucket.as_deref(), &prefix);
    if places.is_empty() {
        let all = taken_by(config.routes.iter().map(RouteConfig::taken));
        let bucket = args.bucket.map(|bucket| format!(" at s3://{bucket}/{prefix}")).unwrap_or_default();
        return Err(Failure::Usage(format!("No route listens{bucket}: routes take {all}.")));
    }
    if waiting > 0 {
        global.note(&format!(
            "{waiting} messages wait: an upload among them that no worker has seen may get a second one, which runs nothing twice"
        ));
    }
    let count = Count::new(Style::choose(global.json), "reconcile");
    let mut submitted = 0u64;
    let report = reconciler.places(&places, |object, finding| {
        submitted += u64::from(matches!(finding, Finding::Submitted { .. }));
        count.step(|looked_at| format!("{looked_at} uploads looked at, {submitted} submitted"));
        count.aside(|| tell(global, object, finding))
    });
    let report = report.await;
    count.finish();
    end(global, report?)
}

/// A line for each message that was sent; what is in doubt is a remark.
fn tell(global: &Global, object: &ObjectRef, finding: &Finding) -> Result<(), Failure> {
    match finding {
        Finding::Submitted { job, message_id } if global.json => {
            print_line(&json!({ "input": object.to_string(), "job_id": job, "message_id": message_id }).to_string())
        }
        Finding::Submitted { job, .. } => print_line(&format!("{object}  {job}")),
        Finding::Unclear(error) => {
            global.note(&format!("{object} is left alone: {error}"));
            Ok(())
        }
        _ => Ok(()),
    }
}

fn end(global: &Global, report: Report) -> Result<(), Failure> {
    let Report { submitted, completed, given_up, going_on, young, not_taken, unclear } = report;
    if global.json {
        print_line(&json!({ "report": report }).to_string())?;
    } else {
        global.note(&format!(
            "{submitted} submitted; left alone: {completed} completed, {given_up} failed or cancelled, {going_on} being \
             worked on, {young} too young, {not_taken} that no route takes, {unclear} unclear"
        ));
    }
    match unclear {
        0 => Ok(()),
        _ => Err(Failure::Failed("Some uploads could not be reconciled: see above.".into())),
    }
}

impl From<reconcile::Error> for Failure {
    fn from(error: reconcile::Error) -> Self {
        Failure::Failed(error.to_string())
    }
}
