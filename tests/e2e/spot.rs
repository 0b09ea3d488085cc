//! A spot instance that is taken away: what runs on it goes on elsewhere, from where it was.

use std::time::Duration;

use jiff::Timestamp;
use serde_json::Value;

use crate::harness::media::{Workshop, sound};
use crate::harness::{Metadata, Up, Worker, binary, json_lines, poll, stdout};

/// As EC2 writes it.
fn notice(after: Duration) -> Option<String> {
    let time = (Timestamp::now() + after).strftime("%Y-%m-%dT%H:%M:%SZ");
    Some(format!(r#"{{"action": "terminate", "time": "{time}"}}"#))
}

#[test]
fn a_job_of_an_instance_that_is_taken_away_goes_on_from_its_checkpoint() {
    let (up, shop, metadata) = (Up::shared(), Workshop::new(), Metadata::start());
    for bucket in ["spot", "spot-results", "spot-state"] {
        up.bucket(bucket).create();
    }
    up.bucket("spot").put("long.wav", sound());
    let executor = binary("darkroom-executor-fault");
    let mut worker = Worker::new(&[("DARKROOM_EXECUTOR", executor.to_str().unwrap())]);
    worker.configure(&format!(
        "worker.state = \"s3://spot-state/\"\nworker.interruption_notices = \"ec2\"\n\
         worker.metadata_endpoint = \"{}\"\nexecutor.stall_secs = 30\nqueue.path = \"{}\"\n\
         [[stores]]\nname = \"main\"\nendpoint = \"{}\"\naccess_key = \"{}\"\nsecret_key = \"{}\"\n\
         [[sources]]\nbucket = \"spot\"\n[[destinations]]\nbucket = \"spot-results\"\n\
         [[sinks]]\nkind = \"log\"\ntypes = [\"heartbeat\"]\n",
        metadata.endpoint(),
        shop.name("jobs.sqlite"),
        up.fact("s3"),
        up.fact("access_key"),
        up.fact("secret_key"),
    ));
    worker.start();
    let input = "s3://spot/long.wav";
    let how = ["--set", "action=checkpoint-slow", "--set", "secs=600"];
    stdout(&worker.cli(&[&["submit", "fault", input, "--output", "s3://spot-results/"][..], &how].concat()));
    let is_kept = || up.bucket("spot-state").keys("").iter().any(|key| key.contains("/checkpoint/")).then_some(());
    poll("the checkpoint", is_kept);

    // Everything goes back 15 s before the announced end, far earlier than the job would have ended.
    metadata.announce(notice(Duration::from_secs(22)));
    assert!(worker.ended().success());
    let log = worker.log();
    assert!(log.contains("EC2 takes this spot instance away") && log.contains("draining_because"), "{log}");
    assert_eq!(worker.events(), Vec::<Value>::new());

    metadata.announce(None);
    worker.start();
    let event = worker.event(input);
    assert_eq!(event["type"], "dev.darkroom.job.completed.v1", "{event:#}");
    assert_eq!(event["data"]["metrics"]["resumed"], "x", "{event:#}");
    let jobs = json_lines(&stdout(&worker.cli(&["--json", "jobs", "list"])));
    let shown = stdout(&worker.cli(&["--json", "jobs", "show", jobs[0]["job_id"].as_str().unwrap()]));
    let shown: Value = serde_json::from_str(&shown).unwrap();
    assert_eq!((&shown["job"]["attempts"], shown["ends"].as_array().unwrap().len()), (&1.into(), 2), "{shown:#}");
    assert_eq!(shown["ends"][0]["outcome"], "interrupted", "{shown:#}");
    assert_ne!(shown["attempts"][0]["worker"], shown["attempts"][1]["worker"]);
}
