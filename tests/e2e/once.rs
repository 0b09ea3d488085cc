//! One job has one visible result, whatever happens to its worker; and a worker that is told to stop stops in order.

use std::fs::File;
use std::process::{Child, Command};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

use crate::harness::media::{Workshop, sound};
use crate::harness::{Gate, Queues, Up, binary, json_lines, poll, stdout};

/// Puts a job into the queue that copies its input after some seconds of work.
pub(crate) fn slow(up: &Up, key: &str, secs: f64) -> String {
    up.inbox().put(key, sound());
    let input = format!("s3://inbox/{key}");
    let secs = format!("secs={secs}");
    let args = ["submit", "fault", &input, "--output", "s3://results/fault/", "--set", "action=slow", "--set", &secs];
    stdout(&up.cli(&args));
    input
}

/// The job about an input, once it is in this state.
#[track_caller]
pub(crate) fn job_in(up: &Up, input: &str, state: &str) -> String {
    let find = || {
        let jobs = json_lines(&stdout(&up.cli(&["--json", "jobs", "list"])));
        let job = jobs.into_iter().find(|job| job["input"] == input && job["state"] == state)?;
        Some(job["job_id"].as_str()?.to_owned())
    };
    poll(&format!("a job about {input} that is {state}"), find)
}

/// The job's result: one manifest, and the outputs it names and no others.
#[track_caller]
fn assert_one_result(up: &Up, handler: &str, job: &str) -> Value {
    let prefix = format!("{handler}/{job}/");
    let manifest = up.results().json(&format!("{prefix}manifest.json"));
    let outputs = manifest["outputs"].as_array().unwrap().iter().map(|o| o["key"].as_str().unwrap().to_owned());
    let mut expected: Vec<String> = outputs.chain([format!("{prefix}manifest.json")]).collect();
    expected.sort();
    assert_eq!(up.results().keys(&prefix), expected);
    manifest
}

#[test]
fn the_same_upload_twice_is_one_job() {
    let (up, shop) = (Up::shared(), Workshop::new());
    let video = shop.man(4, "-an", "twice.mp4");
    let input = "s3://inbox/matting/twice.mp4";
    up.inbox().put("matting/twice.mp4", video.clone());
    let first = up.event(input);
    assert_eq!(first["type"], "dev.darkroom.job.completed.v1", "{first:#}");
    up.inbox().put("matting/twice.mp4", video);
    let second = poll("the event again", || up.events(input).into_iter().nth(1));
    for same in ["id", "time", "jobid", "type"] {
        assert_eq!(first[same], second[same]);
    }
    assert_eq!(first["data"]["run_id"], second["data"]["run_id"]);
    let job = first["jobid"].as_str().unwrap();
    assert_one_result(&up, "matting", job);

    // Asked for by name, it is another one.
    let message = json!({"schema": "darkroom.job.v1", "handler": "matting", "input": input,
        "output": "s3://results/matting/", "rerun": "because I say so"});
    let third = up.event_of(&up.queues().send(&message.to_string()));
    assert_eq!(third["type"], "dev.darkroom.job.completed.v1", "{third:#}");
    assert_ne!(third["jobid"], first["jobid"]);
    assert_one_result(&up, "matting", third["jobid"].as_str().unwrap());
}

#[test]
fn a_worker_killed_in_the_middle_leaves_one_result() {
    let mut up = Up::with_faults(&[("DARKROOM__QUEUE__LEASE_SECS", "2")]);
    let input = slow(&up, "killed.wav", 1.5);
    let job = job_in(&up, &input, "running");
    assert!(!up.end(Signal::KILL).success());
    assert!(!up.scratch().is_empty(), "killed while its files were there");
    up.restart();

    let event = up.event(&input);
    assert_eq!(event["type"], "dev.darkroom.job.completed.v1", "{event:#}");
    assert_eq!(event["jobid"], job.as_str());
    let manifest = assert_one_result(&up, "fault", &job);
    assert_eq!(up.results().get(manifest["outputs"][0]["key"].as_str().unwrap()), sound());
    let shown: Value = serde_json::from_str(&stdout(&up.cli(&["--json", "jobs", "show", &job]))).unwrap();
    assert_eq!(shown["attempts"].as_array().unwrap().len(), 2, "{shown:#}");
    assert_eq!(shown["attempts"][1]["run_id"], manifest["run_id"]);
    poll("an empty scratch disk", || up.scratch().is_empty().then_some(()));
    assert!(up.end(Signal::TERM).success());
    assert_eq!(up.events(&input).len(), 1);
    assert_eq!(up.queues().depth(), Default::default());
}

/// A worker of its own on the buckets of `up`, with a queue in its own file and these variables.
pub(crate) fn work(up: &Up, queue: &std::path::Path, env: &[(&str, &str)]) -> Child {
    let log = File::options().create(true).append(true).open(up.dir().join("up.log")).unwrap();
    let mut command = Command::new(binary("darkroom"));
    command.arg("--config").arg(up.dir().join("darkroom.toml")).arg("work").stderr(log);
    command.env("DARKROOM_EXECUTOR", binary("darkroom-executor-fault")).env("DARKROOM__QUEUE__LEASE_SECS", "2");
    command.env("DARKROOM__QUEUE__PATH", queue.join("darkroom.sqlite")).envs(env.iter().copied());
    command.spawn().unwrap()
}

#[test]
fn killed_between_its_uploads_and_its_manifest_a_run_is_invisible() {
    let up = Up::with_faults(&[]);
    up.inbox().put("late.wav", sound());
    let other = tempfile::tempdir().unwrap();
    let queues = Queues::open(other.path());
    let gate = Gate::before(up.fact("s3"), |head| head.starts_with("PUT /results/") && head.contains("/manifest.json"));
    let mut first = work(&up, other.path(), &[("DARKROOM__STORES__0__ENDPOINT", gate.endpoint())]);
    let input = "s3://inbox/late.wav";
    let message = json!({"schema": "darkroom.job.v1", "handler": "fault", "input": input,
        "output": "s3://results/fault/", "params": {"action": "ok"}});
    queues.send(&message.to_string());
    gate.wait();
    first.kill().unwrap();
    first.wait().unwrap();
    let lost = up.results().keys("fault/");
    assert!(lost.len() == 1 && lost[0].ends_with("/0.copy"), "uploaded, and no manifest: {lost:?}");
    assert_eq!(up.events(input), Vec::<Value>::new());

    let mut second = work(&up, other.path(), &[]);
    let event = up.event(input);
    assert_eq!(event["type"], "dev.darkroom.job.completed.v1", "{event:#}");
    let job = event["jobid"].as_str().unwrap();
    let manifest = up.results().json(&format!("fault/{job}/manifest.json"));
    let outputs: Vec<&str> =
        manifest["outputs"].as_array().unwrap().iter().map(|o| o["key"].as_str().unwrap()).collect();
    assert!(outputs.len() == 1 && !lost.iter().any(|key| outputs.contains(&key.as_str())), "{outputs:?} {lost:?}");
    assert_eq!(up.results().get(outputs[0]), sound());
    let shown: Value = serde_json::from_str(&stdout(&up.cli(&["--json", "jobs", "show", job]))).unwrap();
    assert_eq!(shown["attempts"].as_array().unwrap().len(), 2, "{shown:#}");
    assert!(lost[0].contains(shown["attempts"][0]["run_id"].as_str().unwrap()), "{shown:#}");

    // What the first one left is found, and goes when that is asked for.
    let gc = |more: &[&str]| {
        let args = ["--json", "reconcile", "--gc", "--bucket", "results", "--min-age-secs", "0"];
        json_lines(&stdout(&up.cli(&[&args, more].concat())))
    };
    let [run, report] = &gc(&[])[..] else { panic!("one run was lost") };
    assert!(lost[0].starts_with(run["run"].as_str().unwrap().strip_prefix("s3://results/").unwrap()), "{run} {lost:?}");
    assert_eq!((&report["deleted"], &report["report"]["objects"]), (&json!(false), &json!(1)));
    assert_eq!(gc(&["--delete"])[0]["deleted"], true);
    assert_eq!(gc(&[]).len(), 1, "nothing is left to delete");
    let all = up.results().keys("fault/");
    assert_eq!(all, [outputs[0].to_owned(), format!("fault/{job}/manifest.json")]);
    kill_process(Pid::from_child(&second), Signal::TERM).unwrap();
    assert!(second.wait().unwrap().success());
    assert_eq!((up.events(input).len(), queues.depth()), (1, Default::default()));
}

#[test]
fn cancelled_in_the_middle() {
    let up = Up::with_faults(&[]);
    let input = slow(&up, "unwanted.wav", 60.0);
    let job = job_in(&up, &input, "running");
    stdout(&up.cli(&["jobs", "cancel", &job]));
    let event = up.event(&input);
    assert_eq!(event["type"], "dev.darkroom.job.cancelled.v1", "{event:#}");
    poll("the delivery to be settled", || (up.queues().depth() == Default::default()).then_some(()));
    assert_eq!(up.events(&input).len(), 1);
    assert_eq!(up.results().keys(""), Vec::<String>::new());
    assert_eq!(up.scratch(), Vec::<std::path::PathBuf>::new());
    job_in(&up, &input, "cancelled");

    // It left no dead letter, and runs again all the same; its record speaks of it at any time.
    stdout(&up.cli(&["jobs", "redrive", &job]));
    let shown: Value = serde_json::from_str(&stdout(&up.cli(&["--json", "jobs", "show", &job]))).unwrap();
    assert_eq!((&shown["job"]["job_id"], &shown["job"]["input"]), (&json!(job), &json!(input)));
    job_in(&up, &input, "running");
    stdout(&up.cli(&["jobs", "cancel", &job]));
    let again = poll("the event after the redrive", || up.events(&input).into_iter().nth(1));
    assert_eq!((&again["type"], &again["jobid"], &again["attempt"]), (&event["type"], &json!(job), &json!(2)));
    assert_ne!(again["id"], event["id"]);
}

/// A notification as AWS writes it, of one upload of each key.
fn notification(up: &Up, keys: &[&str]) -> String {
    let records = keys.iter().map(|key| {
        let etag = up.inbox().etag(key);
        let object = json!({"key": key, "size": 11, "eTag": etag, "sequencer": "0055AED6DCD90281E5"});
        json!({"eventSource": "aws:s3", "eventName": "ObjectCreated:Put", "s3": {"bucket": {"name": "inbox"}, "object": object},
            "responseElements": {"x-amz-request-id": "C3D13FE58DE4C810"}})
    });
    json!({"Records": records.collect::<Vec<_>>()}).to_string()
}

#[test]
fn a_failed_upload_runs_again_when_it_comes_again() {
    let (up, key) = (Up::shared(), "matting/not-a-film.mp4");
    let input = format!("s3://inbox/{key}");
    let nth = |n: usize| poll("the next event", || up.events(&input).into_iter().nth(n));
    up.inbox().put(key, "not a film.");
    let first = nth(0);
    assert_eq!((&first["type"], &first["attempt"]), (&json!("dev.darkroom.job.failed.v1"), &json!(1)), "{first:#}");
    up.inbox().put(key, "not a film.");
    let second = nth(1);
    assert_eq!((&second["jobid"], &second["attempt"]), (&first["jobid"], &json!(2)), "{second:#}");
    assert_ne!(second["id"], first["id"], "this failure is news");

    // The same upload told twice is one submission: what is known already is told again.
    let notification = notification(&up, &[key]);
    up.queues().send(&notification);
    assert_eq!(nth(2)["attempt"], 3);
    up.queues().send(&notification);
    assert_eq!((&nth(3)["id"], &nth(3)["attempt"]), (&nth(2)["id"], &json!(3)));
    let shown = stdout(&up.cli(&["--json", "jobs", "show", first["jobid"].as_str().unwrap()]));
    let shown: Value = serde_json::from_str(&shown).unwrap();
    let served = &shown["attempts"][0]["submission"]["submission_id"];
    assert_eq!((&shown["job"]["attempts"], served), (&json!(1), &nth(2)["data"]["submission_id"]), "{shown:#}");
}

#[test]
fn a_notification_with_several_failed_uploads_is_redriven_whole() {
    let up = Up::start(&[]);
    let keys = ["matting/one.mp4", "matting/two.mp4"];
    let inputs = keys.map(|key| format!("s3://inbox/{key}"));
    let mut jobs: Vec<Value> = Vec::new();
    for (key, input) in keys.iter().zip(&inputs) {
        up.inbox().put(key, "not a film.");
        jobs.push(up.event(input)["jobid"].clone());
    }
    let message = up.queues().send(&notification(&up, &keys));
    let letters = || json_lines(&stdout(&up.cli(&["--json", "jobs", "dead-letters"])));
    let letter = poll("the dead letter", || letters().into_iter().find(|letter| letter["message_id"] == *message));
    assert_eq!(letter["job_ids"], json!(jobs));
    let attempts = || inputs.each_ref().map(|input| up.events(input).last().unwrap()["attempt"].clone());
    assert_eq!(attempts(), [2, 2]);
    stdout(&up.cli(&["jobs", "redrive", &message]));
    poll("both to fail once more", || (attempts() == [3, 3]).then_some(()));
    poll("the dead letters", || (letters().len() == 3).then_some(()));
}

#[test]
fn told_to_stop_it_finishes_what_runs_and_hands_back_what_waits() {
    let mut up = Up::with_faults(&[]);
    let running = slow(&up, "running.wav", 2.0);
    job_in(&up, &running, "running");
    let waiting = slow(&up, "waiting.wav", 0.1);
    let job = job_in(&up, &waiting, "waiting");
    assert!(up.end(Signal::TERM).success());
    let said = up.cli(&["jobs", "list"]);
    assert!(String::from_utf8_lossy(&said.stderr).contains("`darkroom up` is not running for"), "{said:?}");
    assert_eq!(up.event(&running)["type"], "dev.darkroom.job.completed.v1");
    assert_eq!(up.events(&waiting), Vec::<Value>::new());
    assert_eq!(up.queues().depth().visible, 1);
    assert!(!up.dir().join("scratch").read_dir().unwrap().any(|e| e.unwrap().path().is_dir()), "scratch is empty");

    up.restart();
    // The command line waits for an event, prints it, and saves the result; as often as it is asked.
    let saved = up.dir().join("saved");
    let args = ["jobs", "wait", &job, "--timeout-secs", "60", "--save", saved.to_str().unwrap()];
    let wait = || serde_json::from_str::<Value>(&stdout(&up.cli(&args))).unwrap();
    let event = wait();
    assert_eq!((&event["subject"], &event["type"]), (&json!(waiting), &json!("dev.darkroom.job.completed.v1")));
    std::fs::remove_dir_all(&saved).unwrap();
    assert_eq!(wait()["id"], event["id"]);
    assert_eq!(std::fs::read(saved.join("0.copy")).unwrap(), sound());
    assert!(saved.join("manifest.json").is_file());
    let shown = stdout(&up.cli(&["--json", "jobs", "show", event["jobid"].as_str().unwrap()]));
    // The interrupted attempt does not count.
    let shown: Value = serde_json::from_str(&shown).unwrap();
    assert_eq!((&shown["job"]["attempts"], shown["attempts"].as_array().unwrap().len()), (&json!(1), 2), "{shown:#}");
}

#[test]
fn told_twice_it_hands_back_what_runs() {
    let mut up = Up::with_faults(&[]);
    let input = slow(&up, "long.wav", 60.0);
    let job = job_in(&up, &input, "running");
    up.signal(Signal::TERM);
    // Of two signals at once the kernel would deliver one: the second comes when the first is heard.
    poll("the drain to begin", || (up.http("/readyz").0 == 503).then_some(()));
    assert!(up.end(Signal::TERM).success());
    assert_eq!(up.events(&input), Vec::<Value>::new());
    let depth = up.queues().depth();
    assert_eq!((depth.visible, depth.in_flight, depth.dead), (1, 0, 0));

    // Nothing counts against the job, and it can still be stopped for good.
    up.restart();
    stdout(&up.cli(&["jobs", "cancel", &job]));
    let event = up.event(&input);
    assert_eq!(event["type"], "dev.darkroom.job.cancelled.v1");
    // Cancelled between two attempts it has an end all the same: who asks later is told of it.
    let told = up.cli(&["jobs", "wait", &job, "--timeout-secs", "60"]);
    assert_eq!(told.status.code(), Some(1), "{told:?}");
    assert_eq!(serde_json::from_slice::<Value>(&told.stdout).unwrap()["id"], event["id"]);
    let shown: Value = serde_json::from_str(&stdout(&up.cli(&["--json", "jobs", "show", &job]))).unwrap();
    assert_eq!(shown["ends"][0]["outcome"], "interrupted", "{shown:#}");
}
