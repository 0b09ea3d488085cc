//! Brokers that go away in the middle of a job, and networks that do not carry.

use std::time::Duration;

use darkroom_tests::rabbitmq::{Broker, CUT, broker};
use serde_json::{Value, json};

use super::{Case, Plan, run};
use crate::ground::{Amqp, Backend, Ground};
use crate::harness::wait_for;
use crate::site::Site;
use crate::wire::{Mode, Wire};

const FILE: &str = "the queue is a file";
const MEMORY: &str = "the emulator forgets its queues when it ends; net/outage takes it away instead";

pub(super) fn all(backend: Backend) -> Vec<Case> {
    let is_file = backend == Backend::Sqlite;
    let wire = |harm: fn(&mut Site, &Wire)| match is_file {
        true => Plan::NotHere(FILE),
        false => run(move |ground| over(ground, harm)),
    };
    let (restart, cut) = match backend {
        Backend::Amqp => (run(killed), run(connections_closed)),
        Backend::Sqlite => (Plan::NotHere(FILE), Plan::NotHere(FILE)),
        Backend::Moto | Backend::Ministack => (Plan::NotHere(MEMORY), Plan::NotHere("HTTP: net/reset cuts it")),
    };
    let locked = if is_file { run(locked) } else { Plan::NotHere("the queue is no file") };
    vec![
        Case::new(backend, "broker/kill-9-and-restart", restart),
        Case::new(backend, "broker/connections-closed", cut),
        Case::new(backend, "broker/file-locked", locked),
        Case::new(backend, "net/stall", wire(stalled)),
        Case::new(backend, "net/reset", wire(reset)),
        Case::new(backend, "net/delay", wire(delayed)),
        Case::new(backend, "net/outage", wire(outage)),
    ]
}

/// A job that takes so long that harm can be done meanwhile.
fn slow(secs: f64) -> Value {
    json!({"action": "slow", "secs": secs})
}

/// Starts a worker on a job that runs, with others behind it.
fn busy(site: &mut Site) {
    busy_for(site, 3.0);
}

fn busy_for(site: &mut Site, secs: f64) {
    site.submit(1, slow(secs));
    site.start(1);
    site.until_said("job running", 1);
    site.submit(3, slow(0.2));
}

fn killed(ground: &Ground<'_>) -> crate::check::Outcome {
    let own: Broker = wait_for(Broker::start());
    let mut site = Site::on(ground, &Amqp { broker: Some(&own), vhost: "%2f" }, &[]);
    busy(&mut site);
    own.kill();
    until_noticed(&site);
    own.start_again();
    wait_for(own.ready());
    site.finish()
}

fn connections_closed(ground: &Ground<'_>) -> crate::check::Outcome {
    let mut site = Site::on(ground, &Amqp { broker: None, vhost: CUT }, &[]);
    // The tool takes seconds to start.
    busy_for(&mut site, 10.0);
    let shared = wait_for(broker());
    wait_for(shared.control(&["close_all_connections", "-p", CUT, "a test"]));
    until_noticed(&site);
    site.finish()
}

/// Another process holds the queue's file for longer than a lease, and than a writer waits.
fn locked(ground: &Ground<'_>) -> crate::check::Outcome {
    let mut site = Site::new(ground, &[]);
    busy(&mut site);
    let file = rusqlite::Connection::open(site.place.path("queue.sqlite")).unwrap();
    file.busy_timeout(Duration::from_secs(10)).unwrap();
    file.execute_batch("BEGIN EXCLUSIVE").unwrap();
    site.until_said("lease lost", 1);
    file.execute_batch("ROLLBACK").unwrap();
    site.finish()
}

/// A worker behind a wire, busy when the harm comes.
fn over(ground: &Ground<'_>, harm: fn(&mut Site, &Wire)) -> crate::check::Outcome {
    let wire = Wire::before(ground.world.address(ground.backend).unwrap());
    let (amqp, aws) = (format!("amqp://{}/%2f", wire.address()), format!("http://{}", wire.address()));
    let env = [("DARKROOM__AMQP__URL", amqp.as_str()), ("DARKROOM__AWS__ENDPOINT", aws.as_str())];
    let mut site = Site::new(ground, &env[usize::from(ground.backend != Backend::Amqp)..][..1]);
    harm(&mut site, &wire);
    site.finish()
}

/// RabbitMQ leases nothing: there it is the link that is given up, perhaps after the job has ended.
fn until_noticed(site: &Site) {
    let noticed = ["lease lost", "connection to the broker given up"];
    site.until("the worker to notice", || noticed.iter().any(|said| site.place.log().contains(said)).then_some(()));
}

/// Nothing passes, and nobody is told, until the lease has run out; then all of it comes at once.
fn stalled(site: &mut Site, wire: &Wire) {
    busy(site);
    wire.set(Mode::Stall);
    until_noticed(site);
    wire.set(Mode::Pass);
}

fn reset(site: &mut Site, wire: &Wire) {
    busy(site);
    for running in 2..5 {
        wire.reset();
        site.until_said("job running", running);
    }
}

/// Slow, and not so slow that a lease would end.
fn delayed(site: &mut Site, wire: &Wire) {
    wire.set(Mode::Delay(Duration::from_millis(100)));
    busy(site);
}

fn outage(site: &mut Site, wire: &Wire) {
    busy(site);
    wire.set(Mode::Down);
    until_noticed(site);
    site.until_said("the queue does not answer", 1);
    wire.set(Mode::Pass);
}
