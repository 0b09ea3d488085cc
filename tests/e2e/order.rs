//! Uploads that are told of twice, late or out of order, and workers that get the same message at once.

use std::fs;

use aws_sdk_s3::types::{BucketVersioningStatus, VersioningConfiguration};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

use crate::harness::media::sound;
use crate::harness::{Bucket, Emulator, Queues, Up, Worker, binary, json_lines, poll, stdout, wait_for};
use crate::once::work;

/// Takes long enough for another worker to come.
const SLOW: &str = r#"{"action":"slow","secs":1.5}"#;

/// A route on the bucket `quiet`, whose uploads nobody but the test tells of, to the handler that does as it is told.
fn route(params: &'static str) -> [(&'static str, &'static str); 5] {
    [
        ("DARKROOM__SOURCES__1__BUCKET", "quiet"),
        ("DARKROOM__ROUTES__3__BUCKET", "quiet"),
        ("DARKROOM__ROUTES__3__HANDLER", "fault"),
        ("DARKROOM__ROUTES__3__OUTPUT", "s3://results/quiet/"),
        ("DARKROOM__ROUTES__3__PARAMS", params),
    ]
}

/// A sound whose last sample is this one.
fn sound_of(sample: u8) -> Vec<u8> {
    let mut bytes = sound();
    *bytes.last_mut().unwrap() = sample;
    bytes
}

/// A notification as AWS writes it.
fn told(key: &str, etag: &str, version: Option<&str>, sequencer: &str) -> String {
    let object = json!({"key": key, "eTag": etag, "versionId": version, "sequencer": sequencer});
    json!({"Records": [{
        "eventSource": "aws:s3", "eventName": "ObjectCreated:Put",
        "responseElements": {"x-amz-request-id": format!("R{sequencer}")},
        "s3": {"bucket": {"name": "quiet"}, "object": object},
    }]})
    .to_string()
}

#[track_caller]
fn emptied(queues: &Queues) {
    poll("an empty queue", || (queues.depth() == Default::default()).then_some(()));
}

/// The only result of a job: its manifest names the output that is there, and there is no other.
#[track_caller]
fn one_result(results: &Bucket, prefix: &str, event: &Value) -> Vec<u8> {
    assert_eq!(event["type"], "dev.darkroom.job.completed.v1", "{event:#}");
    let job = event["jobid"].as_str().unwrap();
    let manifest = results.json(&format!("{prefix}{job}/manifest.json"));
    let output = manifest["outputs"][0]["key"].as_str().unwrap();
    assert_eq!(results.keys(&format!("{prefix}{job}/")), [output, &format!("{prefix}{job}/manifest.json")]);
    results.get(output)
}

/// All events are the completion of one run.
#[track_caller]
fn told_as_one(events: &[Value]) {
    let first = events.first().unwrap();
    assert_eq!(first["id"], format!("{}.completed", first["jobid"].as_str().unwrap()));
    for event in events {
        assert_eq!((&event["id"], &event["data"]["run_id"]), (&first["id"], &first["data"]["run_id"]));
    }
}

#[test]
fn told_twice_at_once_an_upload_runs_once() {
    let up = Up::with_faults(&[&route(SLOW)[..], &[("DARKROOM__QUEUE__LEASE_SECS", "2")]].concat());
    let quiet = up.bucket("quiet");
    quiet.create();
    let etag = quiet.put("a.wav", sound());
    // Both are in hand together; the second finds the job claimed.
    for _ in 0..2 {
        up.queues().send(&told("a.wav", &etag, None, "0A1"));
    }
    let event = up.event("s3://quiet/a.wav");
    emptied(up.queues());
    told_as_one(&up.events("s3://quiet/a.wav"));
    one_result(&up.results(), "quiet/", &event);
    let shown = stdout(&up.cli(&["--json", "jobs", "show", event["jobid"].as_str().unwrap()]));
    let shown: Value = serde_json::from_str(&shown).unwrap();
    assert_eq!(shown["attempts"].as_array().unwrap().len(), 1, "{shown:#}");
}

#[test]
fn two_workers_with_the_same_message_make_one_result() {
    let up = Up::with_faults(&route(SLOW));
    let quiet = up.bucket("quiet");
    quiet.create();
    let etag = quiet.put("raced.wav", sound());
    let dirs = [(); 2].map(|()| tempfile::tempdir().unwrap());
    let queues = dirs.each_ref().map(|dir| Queues::open(dir.path()));
    let mut workers = dirs.each_ref().map(|dir| work(&up, dir.path(), &route(SLOW)));
    queues.iter().for_each(|queue| drop(queue.send(&told("raced.wav", &etag, None, "0B1"))));
    let input = "s3://quiet/raced.wav";
    queues.iter().for_each(emptied);
    let events = up.events(input);
    told_as_one(&events);
    assert_eq!(one_result(&up.results(), "quiet/", &events[0]), sound());
    for worker in &mut workers {
        kill_process(Pid::from_child(worker), Signal::TERM).unwrap();
        assert!(worker.wait().unwrap().success());
    }
    let shown = stdout(&up.cli(&["--json", "jobs", "show", events[0]["jobid"].as_str().unwrap()]));
    let shown: Value = serde_json::from_str(&shown).unwrap();
    assert_eq!(shown["attempts"].as_array().unwrap().len(), 1, "{shown:#}");
}

#[test]
fn an_event_of_content_that_was_replaced_is_dropped_whenever_it_comes() {
    let up = Up::with_faults(&route(r#"{"action":"ok"}"#));
    let (quiet, input) = (up.bucket("quiet"), "s3://quiet/b.wav");
    quiet.create();
    let old = told("b.wav", &quiet.put("b.wav", sound_of(1)), None, "0C1");
    let new = told("b.wav", &quiet.put("b.wav", sound_of(2)), None, "0C2");
    let superseded = || {
        let metrics = up.http("/metrics").1;
        let line = |line: &&str| line.starts_with("darkroom_attempts_total") && line.contains("outcome=\"superseded\"");
        metrics.lines().find(line).map_or(0, |line| line.rsplit(' ').next().unwrap().parse().unwrap())
    };
    // Late, but in order; then once more, after the event that came later.
    up.queues().send(&old);
    poll("the old one to be dropped", || (superseded() == 1).then_some(()));
    up.queues().send(&new);
    let event = up.event(input);
    up.queues().send(&old);
    poll("the old one to be dropped again", || (superseded() == 2).then_some(()));
    emptied(up.queues());
    assert_eq!(up.events(input).len(), 1, "nobody is told of what was replaced");
    assert_eq!(one_result(&up.results(), "quiet/", &event), sound_of(2));
    assert!(up.queues().dead_letters().is_empty());
    assert!(up.log_tail().contains("its object has changed since"), "{}", up.log_tail());
    let jobs = json_lines(&stdout(&up.cli(&["--json", "jobs", "list"])));
    let states: Vec<_> = jobs.iter().filter(|job| job["input"] == input).map(|job| &job["state"]).collect();
    assert_eq!(states.len(), 2);
    assert!(states.contains(&&json!("superseded")) && states.contains(&&json!("completed")), "{states:?}");
}

#[test]
fn each_version_is_a_job_of_its_own() {
    let aws = Emulator::Moto.shared();
    let (quiet, results) = (aws.bucket("quiet"), aws.bucket("results"));
    for bucket in [&quiet, &results, &aws.bucket("state")] {
        bucket.create();
    }
    let versioning = VersioningConfiguration::builder().status(BucketVersioningStatus::Enabled).build();
    let put = quiet.client().put_bucket_versioning().bucket("quiet").versioning_configuration(versioning);
    wait_for(put.send()).unwrap();
    let mut worker = Worker::new(&[("DARKROOM_EXECUTOR", binary("darkroom-executor-fault").to_str().unwrap())]);
    let endpoint = aws.endpoint();
    worker.configure(&format!(
        "worker.state = \"s3://state/\"\n\
         [queue]\npath = {:?}\n\
         [[stores]]\nname = \"main\"\nendpoint = \"{endpoint}\"\naccess_key = \"test\"\nsecret_key = \"test\"\n\
         [[sources]]\nbucket = \"quiet\"\n[[destinations]]\nbucket = \"results\"\n\
         [[routes]]\nbucket = \"quiet\"\nhandler = \"fault\"\nparams = {{ action = \"ok\" }}\noutput = \"s3://results/\"\n\
         [executor]\nstall_secs = 30\n",
        worker.path("darkroom.sqlite"),
    ));
    let versions = [1, 2].map(|sample| quiet.put_version("c.wav", sound_of(sample)));
    worker.start();
    // The later one first, and each of them twice.
    for (etag, version) in versions.iter().rev().chain(&versions) {
        worker.queues().send(&told("c.wav", etag, Some(version), "0D1"));
    }
    // A repeat of an event that nobody has read yet is not added: there are two to four.
    emptied(worker.queues());
    let events = worker.events();
    let of = |sample: u8| events.iter().find(|event| one_result(&results, "", event) == sound_of(sample)).unwrap();
    let jobs = [of(1), of(2)].map(|event| event["jobid"].as_str().unwrap());
    assert_ne!(jobs[0], jobs[1]);
    for (job, (_, version)) in jobs.iter().zip(&versions) {
        let told: Vec<_> = events.iter().filter(|event| event["jobid"] == *job).cloned().collect();
        told_as_one(&told);
        let manifest = results.json(&format!("{job}/manifest.json"));
        assert_eq!(manifest["inputs"][0]["object"]["version"], version.as_str());
    }
    assert!(worker.end(Signal::TERM).success());
}

#[test]
fn a_worker_whose_results_would_start_jobs_does_not_start() {
    let up = Up::start(&[]);
    let text = fs::read_to_string(up.dir().join("darkroom.toml")).unwrap();
    let looping = up.dir().join("looping.toml");
    fs::write(&looping, format!("{text}\n[[sources]]\nbucket = \"results\"\n")).unwrap();
    let env = [
        ("DARKROOM__ROUTES__3__BUCKET", "results"),
        ("DARKROOM__ROUTES__3__PREFIX", "matting/"),
        ("DARKROOM__ROUTES__3__HANDLER", "matting"),
        ("DARKROOM__ROUTES__3__OUTPUT", "s3://results/again/"),
    ];
    let mut command = std::process::Command::new(binary("darkroom"));
    let refused = command.arg("--config").arg(&looping).arg("work").envs(env).output().unwrap();
    let said = String::from_utf8_lossy(&refused.stderr);
    assert_eq!(refused.status.code(), Some(2), "{said}");
    assert!(said.contains("results would start jobs") && said.contains("s3://results/matting/"), "{said}");
}
