//! Many deliveries: copies in any order, and a thousand jobs whose workers die at random.

use std::time::Duration;

use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use rand::{Rng, SeedableRng};
use serde_json::json;

use super::{Case, run};
use crate::args::Args;
use crate::check::Outcome;
use crate::ground::{Backend, Ground};
use crate::site::Site;

/// Workers of the long case.
const WORKERS: usize = 4;

/// The same messages many times over, shuffled, for two workers.
pub(super) fn shuffled(backend: Backend, args: &Args) -> Case {
    let plan = run(|ground| {
        const COPIES: usize = 4;
        let mut site = Site::new(ground, &[]);
        let messages = site.prepare(8, 2000, &json!({"action": "ok"}));
        let mut all: Vec<&String> =
            messages.iter().flat_map(|message| std::iter::repeat_n(message, 1 + COPIES)).collect();
        all.shuffle(&mut StdRng::seed_from_u64(ground.seed));
        site.copies = (COPIES * messages.len()) as u64;
        all[..20].iter().for_each(|message| site.send(message));
        site.start(2);
        all[20..].iter().for_each(|message| site.send(message));
        site.finish()
    });
    Case { seed: args.seed, ..Case::new(backend, "load/copies-shuffled", plan) }
}

/// Jobs on four workers, of which one dies every now and then.
pub(super) fn soak(backend: Backend, args: &Args) -> Case {
    let (jobs, kills) = match (args.long, backend) {
        (true, _) => (1000, 40),
        (false, Backend::Amqp) => (1000, 12),
        (false, Backend::Sqlite) => (200, 8),
        (false, _) => (80, 6),
    };
    let plan = run(move |ground| random_kills(ground, jobs, kills));
    let limit = Duration::from_secs(if args.long { 1800 } else { 180 });
    Case { seed: args.seed, limit, ..Case::new(backend, format!("load/{jobs}-jobs-{kills}-kills"), plan) }
}

fn random_kills(ground: &Ground<'_>, jobs: usize, kills: u64) -> Outcome {
    let mut site = Site::new(ground, &[]);
    let mut chance = StdRng::seed_from_u64(ground.seed);
    // A busy machine keeps a worker from its beats longer than an idle one: leases run out, and runs are interrupted.
    site.allow(10);
    let messages = site.prepare(jobs, 200, &json!({"action": "ok"}));
    messages.iter().for_each(|message| site.send(message));
    site.start(WORKERS);
    for kill in 1..=kills {
        // Spread over the work: each waits for its part of the jobs, and then for chance.
        let part = jobs * usize::try_from(kill).unwrap() / (usize::try_from(kills).unwrap() + 1);
        site.until("progress", || (site.sink.count(&site.name) >= part).then_some(()));
        std::thread::sleep(Duration::from_millis(chance.random_range(0..300)));
        let victim = chance.random_range(0..site.workers.len());
        site.kill(victim);
        site.start(1);
    }
    site.finish()
}
