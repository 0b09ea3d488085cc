//! A handler that crashes, hangs or eats all memory is a failed job, not a dead worker.

use serde_json::Value;

use crate::harness::media::sound;
use crate::harness::{Up, json_lines, poll, stdout};

/// Two attempts, little memory, little patience: what fails fails soon.
fn start() -> Up {
    Up::with_faults(&[
        ("DARKROOM__WORKER__MAX_ATTEMPTS", "2"),
        ("DARKROOM__EXECUTOR__MEMORY_MIB", "400"),
        ("DARKROOM__EXECUTOR__STALL_SECS", "3"),
    ])
}

/// Asks the fault handler for something; its input.
fn ask(up: &Up, action: &str) -> String {
    let key = format!("{action}.wav");
    up.inbox().put(&key, sound());
    let (input, action) = (format!("s3://inbox/{key}"), format!("action={action}"));
    stdout(&up.cli(&["submit", "fault", &input, "--output", "s3://results/fault/", "--set", &action]));
    input
}

fn restarts(up: &Up) -> f64 {
    let (status, metrics) = up.http("/metrics");
    assert_eq!(status, 200);
    let lines = metrics.lines().filter(|line| line.starts_with("darkroom_executor_restarts_total"));
    lines.map(|line| line.rsplit(' ').next().unwrap().parse::<f64>().unwrap()).sum()
}

#[test]
fn each_is_tried_again_and_given_up_and_the_worker_lives() {
    let up = start();
    let cases = [
        ("segfault", "executor-crashed"),
        ("abort", "executor-crashed"),
        ("hang", "executor-hung"),
        ("exhaust", "executor-out-of-memory"),
        ("garbage", "executor-protocol"),
    ];
    for (action, code) in cases {
        let input = ask(&up, action);
        let event = up.event(&input);
        assert_eq!(event["type"], "dev.darkroom.job.failed.v1", "{event:#}");
        assert_eq!(event["data"]["error"]["code"], code, "{event:#}");
        assert_eq!(event["attempt"], 2, "{event:#}");
        let said = event["data"]["error"]["message"].as_str().unwrap();
        assert!(said.contains("Given up after 2 attempts") && !said.contains("tried again"), "{said}");
        assert_eq!(up.events(&input).len(), 1);
    }
    poll("the dead letters", || (up.queues().depth().dead == cases.len() as u64).then_some(()));
    assert!(restarts(&up) >= 2.0 * cases.len() as f64);
    assert_eq!(up.scratch(), Vec::<std::path::PathBuf>::new());

    let good = ask(&up, "ok");
    assert_eq!(up.event(&good)["type"], "dev.darkroom.job.completed.v1");
    assert_eq!(up.http("/readyz").0, 200);

    // A role without kinds takes what no probe would let pass, with its own plan and with one that is remembered.
    for text in ["no video", "nor is this one"] {
        let key = format!("copy/{}.txt", text.len());
        up.inbox().put(&key, text);
        let input = format!("s3://inbox/{key}");
        stdout(&up.cli(&["submit", "copy", &input, "--output", "s3://results/copy/"]));
        let event = up.event(&input);
        assert_eq!(event["type"], "dev.darkroom.job.completed.v1", "{event:#}");
        assert_eq!(up.results().get(event["data"]["outputs"][0]["key"].as_str().unwrap()), text.as_bytes());
    }
}

#[test]
fn a_crashed_run_goes_on_from_its_checkpoint() {
    let up = start();
    let event = up.event(&ask(&up, "checkpoint-crash"));
    assert_eq!(event["type"], "dev.darkroom.job.completed.v1", "{event:#}");
    assert_eq!((&event["attempt"], &event["data"]["metrics"]["resumed"]), (&2.into(), &"x".into()), "{event:#}");
    let kept: Vec<_> = up.state().keys("").into_iter().filter(|key| key.contains("/checkpoint/")).collect();
    assert_eq!(kept, Vec::<String>::new(), "a completed job needs none");
}

#[test]
fn a_dead_letter_is_listed_and_sent_again() {
    let up = start();
    let input = ask(&up, "abort");
    let event = up.event(&input);
    let job = event["jobid"].as_str().unwrap();
    let letters = || json_lines(&stdout(&up.cli(&["--json", "jobs", "dead-letters"])));
    let letter = poll("the dead letter", || letters().into_iter().next());
    assert_eq!((&letter["job_ids"][0], &letter["reason"]["code"]), (&event["jobid"], &Value::from("executor-crashed")));
    let people = stdout(&up.cli(&["jobs", "dead-letters"]));
    assert!(people.contains(job) && people.contains("executor-crashed"), "{people}");

    stdout(&up.cli(&["jobs", "redrive", job]));
    let again = poll("the event after the redrive", || up.events(&input).into_iter().nth(1));
    assert_eq!((&again["type"], &again["jobid"]), (&event["type"], &event["jobid"]));
    assert_ne!(again["id"], event["id"], "a failure after a redrive is new");
    assert_eq!(again["attempt"], 4, "two more attempts");
    poll("the dead letter again", || (letters().len() == 1).then_some(()));
    let unknown = up.cli(&["jobs", "redrive", "no-such-id"]);
    assert_eq!(unknown.status.code(), Some(1));
}
