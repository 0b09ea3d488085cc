//! One worker, several queues: on two brokers at once, with priorities, and a handler with a limit.

use darkroom_tests::rabbitmq::{PASSWORD, USER, broker};
use rustix::process::Signal;
use serde_json::Value;

use crate::harness::media::{Workshop, sound};
use crate::harness::{Up, Worker, binary, json_lines, poll, stdout, wait_for};

/// A worker with the handler that does as it is told, buckets under this name, an embedded queue, and what `more` says.
fn worker(up: &Up, shop: &Workshop, name: &str, more: &str) -> Worker {
    for bucket in [name.to_owned(), format!("{name}-results"), format!("{name}-state")] {
        up.bucket(&bucket).create();
    }
    let executor = binary("darkroom-executor-fault");
    let env = [("DARKROOM_EXECUTOR", executor.to_str().unwrap()), ("DARKROOM__AMQP__PASSWORD", PASSWORD)];
    let worker = Worker::new(&env);
    worker.configure(&format!(
        "worker.state = \"s3://{name}-state/\"\nexecutor.stall_secs = 30\nqueue.path = \"{}\"\namqp.username = \"{USER}\"\n\
         {more}[[stores]]\nname = \"main\"\nendpoint = \"{}\"\naccess_key = \"{}\"\nsecret_key = \"{}\"\n\
         [[sources]]\nbucket = \"{name}\"\n[[destinations]]\nbucket = \"{name}-results\"\n",
        shop.name("jobs.sqlite"),
        up.fact("s3"),
        up.fact("access_key"),
        up.fact("secret_key"),
    ));
    worker
}

/// Submits a job of the handler that does as it is told.
fn ask(worker: &Worker, input: &str, more: &[&str]) {
    let output = format!("{}-results/", input.rsplit_once('/').unwrap().0);
    stdout(&worker.cli(&[&["submit", "fault", input, "--output", &output][..], more].concat()));
}

/// The job about an input, as it is listed.
fn listed(worker: &Worker, input: &str) -> Option<Value> {
    let jobs = json_lines(&stdout(&worker.cli(&["--json", "jobs", "list"])));
    jobs.into_iter().find(|job| job["input"] == input)
}

/// The job about an input, once it runs.
#[track_caller]
fn running(worker: &Worker, input: &str) -> String {
    let job = poll("a job to run", || listed(worker, input).filter(|job| job["state"] == "running"));
    job["job_id"].as_str().unwrap().to_owned()
}

#[test]
fn a_message_with_a_higher_priority_overtakes_across_brokers() {
    let (up, shop, broker) = (Up::shared(), Workshop::new(), wait_for(broker()));
    let queues = format!(
        "worker.fetch_ahead = 0\namqp.url = \"amqp://127.0.0.1:{}\"\n\
         [[queues]]\nname = \"urgent\"\nkind = \"amqp\"\namqp.queue = \"overtakes\"\npriority = 10\n",
        broker.port
    );
    let mut worker = worker(&up, &shop, "overtakes", &queues);
    assert!(stdout(&worker.cli(&["work", "--check"])).contains("good"));
    let input = |name: &str| format!("s3://overtakes/{name}.wav");
    for name in ["first", "second", "third", "urgent"] {
        up.bucket("overtakes").put(&format!("{name}.wav"), sound());
    }
    ask(&worker, &input("first"), &["--set", "action=slow", "--set", "secs=600"]);
    ask(&worker, &input("second"), &["--set", "action=ok"]);
    ask(&worker, &input("third"), &["--set", "action=ok"]);
    worker.start();
    let first = running(&worker, &input("first"));
    ask(&worker, &input("urgent"), &["--set", "action=ok", "--queue", "urgent"]);
    stdout(&worker.cli(&["jobs", "cancel", &first]));
    worker.event(&input("third"));
    let order: Vec<Value> = worker.events().iter().map(|event| event["subject"].clone()).collect();
    assert_eq!(order, ["first", "urgent", "second", "third"].map(|name| Value::from(input(name))));

    // Idle, it waits on both: the message that RabbitMQ has comes as fast as ever, and its dead letter is found there.
    ask(&worker, &input("missing"), &["--set", "action=ok", "--queue", "urgent"]);
    let letters = || json_lines(&stdout(&worker.cli(&["--json", "jobs", "dead-letters"])));
    let letter = poll("the dead letter", || letters().pop());
    assert_eq!(
        (&letter["queue"], &letter["reason"]["code"]),
        (&"urgent".into(), &"input-not-found".into()),
        "{letter}"
    );
    up.bucket("overtakes").put("missing.wav", sound());
    stdout(&worker.cli(&["jobs", "redrive", letter["message_id"].as_str().unwrap()]));
    let done = || worker.events().into_iter().rfind(|event| event["subject"] == input("missing").as_str());
    poll("the redriven job", || done().filter(|event| event["type"] == "dev.darkroom.job.completed.v1"));
    let doctor = String::from_utf8(worker.cli(&["doctor"]).stdout).unwrap();
    assert!(doctor.contains("queue main") && doctor.contains("queue urgent"), "{doctor}");
    assert!(worker.end(Signal::TERM).success());
}

#[test]
fn a_handler_at_its_limit_leaves_its_slots_to_others() {
    let (up, shop) = (Up::shared(), Workshop::new());
    let typo = worker(&up, &shop, "limits-typo", "handlers.fautl.max_running = 1\n");
    let check = typo.cli(&["work", "--check"]);
    assert_eq!(check.status.code(), Some(2), "{check:?}");
    assert!(String::from_utf8_lossy(&check.stderr).contains("there is no such handler"), "{check:?}");

    let limit = "worker.slots = 2\nworker.fetch_ahead = 0\nhandlers.fault.max_running = 1\n";
    let mut worker = worker(&up, &shop, "limits", limit);
    let input = |name: &str| format!("s3://limits/{name}");
    up.bucket("limits").put("video.mp4", shop.man(4, "-an", "video.mp4"));
    for name in ["long.wav", "next.wav"] {
        up.bucket("limits").put(name, sound());
    }
    ask(&worker, &input("long.wav"), &["--set", "action=slow", "--set", "secs=600"]);
    worker.start();
    let long = running(&worker, &input("long.wav"));
    ask(&worker, &input("next.wav"), &["--set", "action=ok"]);
    stdout(&worker.cli(&["submit", "matting", &input("video.mp4"), "--output", "s3://limits-results/"]));
    assert_eq!(worker.event(&input("video.mp4"))["type"], "dev.darkroom.job.completed.v1");
    assert_eq!(listed(&worker, &input("next.wav")), None, "it is not even claimed");

    stdout(&worker.cli(&["jobs", "cancel", &long]));
    let next = worker.event(&input("next.wav"));
    assert_eq!((&next["type"], &next["attempt"]), (&"dev.darkroom.job.completed.v1".into(), &1.into()), "{next:#}");
    assert!(worker.end(Signal::TERM).success());
}
