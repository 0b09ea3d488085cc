//! `kill -9` of a worker at every step of the journey.

use serde_json::json;

use super::{Case, run};
use crate::ground::Backend;
use crate::site::Site;

/// Steps as `darkroom::telemetry::Step` names them: at least one after each of the journey's nine, and more where what is
/// left behind differs.
const STEPS: [&str; 15] = [
    "received",
    "parsed",
    "routed",
    "claimed",
    "checked",
    "fetched",
    "planned",
    "slot-taken",
    "ran",
    "uploaded",
    "committed",
    "recorded",
    "published",
    "settling",
    "settled",
];

pub(super) fn all(backend: Backend) -> impl Iterator<Item = Case> {
    STEPS.into_iter().map(move |step| {
        // The first worker dies with its first delivery, another in hand; the second one with its second, so that it meets
        // what the first one left; the third one does the rest.
        let plan = run(move |ground| {
            let mut site = Site::new(ground, &[]);
            site.submit(4, json!({"action": "ok"}));
            site.submit_bad();
            site.start_dying(step, 1);
            site.start_dying(step, 2);
            site.start(1);
            site.finish()
        });
        Case::new(backend, format!("kill/{step}"), plan)
    })
}
