//! `darkroom reconcile`: submits uploads whose notification was lost; with `--gc`, deletes what runs left behind.

mod gc;

use std::time::Duration;

use serde_json::json;

use crate::job::reconcile::{self, Finding, Report};
use crate::store::ObjectRef;

use super::display::{Count, Style};
use super::{Failure, Global, open, print_line, work};

/// Arguments.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Only this bucket; all that routes listen on, if absent, or with `--gc` all that results may be written to.
    #[arg(long)]
    bucket: Option<String>,
    /// Only keys that begin so.
    #[arg(long, requires = "bucket")]
    prefix: Option<String>,
    /// Leave alone what was written in the last seconds: an upload's notification may be on its way (900 if absent), a
    /// run may be going on (86400 if absent).
    #[arg(long, value_name = "SECS")]
    min_age_secs: Option<u64>,
    /// Look for what runs left behind instead: outputs that no manifest names, and uploads that were never completed.
    /// Only says what there is.
    #[arg(long)]
    gc: bool,
    /// Delete it.
    #[arg(long, requires = "gc")]
    delete: bool,
}

impl Args {
    fn prefix(&self) -> &str {
        self.prefix.as_deref().unwrap_or_default()
    }

    fn min_age(&self, usual: Duration) -> Duration {
        self.min_age_secs.map_or(usual, Duration::from_secs)
    }

    /// There is nothing to look at: what there is elsewhere.
    fn nowhere(&self, problem: &str, instead: &str) -> Failure {
        let at = self.bucket.as_ref().map(|bucket| format!(" at s3://{bucket}/{}", self.prefix())).unwrap_or_default();
        Failure::Usage(format!("{problem}{at}: {instead}."))
    }
}

pub(crate) async fn reconcile(global: &Global, args: Args) -> Result<(), Failure> {
    let config = global.running()?;
    let prepared = work::prepare(&config).await?;
    if args.gc {
        return gc::gc(global, &args, prepared.collector(args.min_age(gc::MIN_AGE), !args.delete), &prepared).await;
    }
    let queue = open::queue(&config, None).await?;
    let waiting = queue.depth().await?.visible;
    let reconciler = prepared.reconciler(queue, args.min_age(reconcile::MIN_AGE));
    let places = reconciler.routes.listened(args.bucket.as_deref(), args.prefix());
    if places.is_empty() {
        return Err(args.nowhere("No route listens", &format!("routes take {}", reconciler.routes.taken())));
    }
    if waiting > 0 {
        global.note(&format!(
            "{waiting} messages wait: an upload among them that no worker has seen may get a second one, which runs nothing twice"
        ));
    }
    let (count, mut submitted) = (Count::new(Style::choose(global.json), "reconcile"), 0u64);
    let report = reconciler.places(&places, |object, finding| {
        submitted += u64::from(matches!(finding, Finding::Submitted { .. }));
        count.step(|done| format!("{done} uploads looked at, {submitted} submitted"));
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
    match global.json {
        true => print_line(&json!({ "report": report }).to_string())?,
        false => global.note(&format!(
            "{submitted} submitted; left alone: {completed} completed, {given_up} failed or cancelled, {going_on} being \
             worked on, {young} too young, {not_taken} that no route takes, {unclear} unclear"
        )),
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
