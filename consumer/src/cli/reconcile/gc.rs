//! `darkroom reconcile --gc`: what runs left behind, told or deleted.

use serde_json::json;

use crate::job::collect::{Collector, Leftover, Swept};

use super::super::display::{Count, Style};
use super::super::{Failure, Global, print_line, work};
use super::Args;

pub(super) use crate::job::collect::MIN_AGE;

pub(super) async fn gc(
    global: &Global,
    args: &Args,
    collector: Collector,
    prepared: &work::Prepared,
) -> Result<(), Failure> {
    let routes = prepared.routes();
    let places = routes.written(args.bucket.as_deref(), args.prefix());
    if places.is_empty() {
        let all: Vec<_> = routes.written(None, "").iter().map(ToString::to_string).collect();
        return Err(args.nowhere("No results go", &format!("[[destinations]] allow {}", all.join(", "))));
    }
    let count = Count::new(Style::choose(global.json), "reconcile --gc");
    let mut tell = |swept: &Swept, leftover: Option<&Leftover>| {
        count.show(swept.looked_at, || format!("{} objects looked at, {} runs left over", swept.looked_at, swept.runs));
        leftover.map_or(Ok(()), |leftover| count.aside(|| tell_leftover(global, args.delete, leftover)))
    };
    let swept: Result<Swept, Failure> = collector.places(&places, &mut tell).await;
    count.finish();
    end(global, args.delete, swept?)
}

fn tell_leftover(global: &Global, is_deleted: bool, leftover: &Leftover) -> Result<(), Failure> {
    let (place, line) = match leftover {
        Leftover::Run { place, objects, bytes } if global.json => {
            let run = json!({ "run": place.to_string(), "objects": objects, "bytes": bytes, "deleted": is_deleted });
            return print_line(&run.to_string());
        }
        Leftover::Upload { place } if global.json => {
            return print_line(&json!({ "upload": place.to_string(), "deleted": is_deleted }).to_string());
        }
        Leftover::Run { place, objects, bytes } => (place, format!("{objects} objects, {bytes} bytes")),
        Leftover::Upload { place } => (place, "an unfinished upload".into()),
        Leftover::Unclear { place, error } => {
            global.note(&format!("{place} is left alone: {error}"));
            return Ok(());
        }
    };
    print_line(&format!("{place}  {line}"))
}

fn end(global: &Global, is_deleted: bool, swept: Swept) -> Result<(), Failure> {
    let Swept { looked_at, runs, objects, bytes, uploads, going_on, unclear } = swept;
    if global.json {
        print_line(&json!({ "report": swept, "deleted": is_deleted }).to_string())?;
    } else {
        let done = if is_deleted { "deleted" } else { "to delete (with --delete)" };
        global.note(&format!(
            "{done}: {objects} objects of {runs} runs, {bytes} bytes, and {uploads} unfinished uploads; left alone: \
             {going_on} that are young or going on, {unclear} unclear; {looked_at} objects looked at"
        ));
    }
    match unclear {
        0 => Ok(()),
        _ => Err(Failure::Failed("Some jobs could not be looked at: see above.".into())),
    }
}
