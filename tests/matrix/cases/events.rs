//! A required receiver of events that fails.

use serde_json::json;

use super::{Case, run};
use crate::ground::Backend;
use crate::sink::Manner;
use crate::site::Site;

/// Events that go wrong.
const BAD: usize = 16;

pub(super) fn all(backend: Backend) -> impl Iterator<Item = Case> {
    [("events/answer-lost", Manner::Mute), ("events/receiver-503", Manner::Refusing)].into_iter().map(
        move |(title, manner)| {
            let plan = run(move |ground| {
                let mut site = Site::new(ground, &[]);
                // More than fit into the time that one delivery gives its event.
                site.sink.be(&site.name, manner, BAD);
                site.submit(3, json!({"action": "ok"}));
                site.submit_bad();
                site.start(1);
                let (sink, name) = (site.sink.clone(), site.name.clone());
                let mut outcome = site.finish();
                if sink.harmed(&name) < BAD {
                    outcome.wrong.push(format!("{} events went wrong, {BAD} were to", sink.harmed(&name)));
                }
                outcome
            });
            Case::new(backend, title, plan)
        },
    )
}
