//! What is done to workers, brokers, stores, and the machine.

mod broker;
mod events;
mod host;
mod kills;
mod load;
mod store;

use std::time::Duration;

use crate::args::Args;
use crate::check::Outcome;
use crate::ground::{Backend, Ground};

/// Does harm, then checks. `Err`: this machine does not let it be tried, and why.
pub(crate) type Run = Box<dyn Fn(&Ground<'_>) -> Result<Outcome, String> + Send + Sync>;

/// What there is to do.
pub(crate) enum Plan {
    Run(Run),
    /// It makes no sense on this queue, and why.
    NotHere(&'static str),
}

/// One row of the table.
pub(crate) struct Case {
    pub(crate) backend: Backend,
    title: String,
    pub(crate) plan: Plan,
    /// Time for all of it.
    pub(crate) limit: Duration,
    pub(crate) seed: u64,
}

impl Case {
    fn new(backend: Backend, title: impl Into<String>, plan: Plan) -> Case {
        Case { backend, title: title.into(), plan, limit: Duration::from_secs(90), seed: 0 }
    }

    /// `queue/what/how`.
    pub(crate) fn name(&self) -> String {
        format!("{}/{}", self.backend.name(), self.title)
    }
}

/// A plan that can be tried on every machine.
fn run(run: impl Fn(&Ground<'_>) -> Outcome + Send + Sync + 'static) -> Plan {
    Plan::Run(Box::new(move |ground| Ok(run(ground))))
}

/// All of them. The longest begin first, so that the others fill the lanes beside them.
pub(crate) fn all(args: &Args) -> Vec<Case> {
    let mut cases: Vec<Case> = Backend::ALL.into_iter().map(|backend| load::soak(backend, args)).collect();
    for backend in Backend::ALL {
        cases.extend(broker::all(backend));
        cases.extend(kills::all(backend));
        cases.extend(store::all(backend));
        cases.extend(events::all(backend));
        cases.extend(host::all(backend));
        cases.push(load::shuffled(backend, args));
    }
    cases
}
