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
                site.until("the receiver's bad time", || (site.sink.harmed(&site.name) == BAD).then_some(()));
                site.finish()
            });
            Case::new(backend, title, plan)
        },
    )
}
