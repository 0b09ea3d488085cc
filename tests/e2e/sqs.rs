//! Jobs and events through SQS: a worker with a configuration of its own, the emulator's S3 and queues, and nothing
//! embedded.

use std::process::ExitStatus;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use darkroom::queue::sqs::SqsQueue;
use darkroom::queue::{Depth, Queue, Settlement};
use rustix::process::Signal;
use serde_json::Value;

use crate::harness::media::{Workshop, sound};
use crate::harness::{Aws, Bucket, Emulator, Running, Workplace, binary, json_lines, poll, stdout, wait_for};

/// Buckets, queues and a configuration under one name; the worker that was started last.
struct Site {
    worker: Option<Running>,
    place: Workplace,
    aws: Arc<Aws>,
    name: &'static str,
    events: SqsQueue,
    seen: Mutex<Vec<Value>>,
}

impl Site {
    fn new(name: &'static str, executor: &'static str) -> Site {
        let (aws, place) = (Emulator::Ministack.shared(), executor_of(executor));
        let (queue, events) = (aws.create_queue(name), format!("{name}-events"));
        aws.create_queue(&events);
        let events = aws.queue(&events);
        let site = Site { worker: None, place, aws, name, events, seen: Mutex::default() };
        for bucket in [site.uploads(), site.results(), site.bucket("state")] {
            bucket.create();
        }
        Aws::notify(&site.uploads(), &queue);
        site.place.configure(&site.config());
        site
    }

    fn config(&self) -> String {
        let (name, endpoint) = (self.name, self.aws.endpoint());
        format!(
            "worker.state = \"s3://{name}-state/\"\n\
             [queue]\nkind = \"sqs\"\nlease_secs = 2\n[queue.sqs]\nqueue = \"{name}\"\n\
             [aws]\nendpoint = \"{endpoint}\"\naccess_key = \"test\"\nsecret_key = \"test\"\n\
             [[stores]]\nname = \"main\"\nendpoint = \"{endpoint}\"\naccess_key = \"test\"\nsecret_key = \"test\"\n\
             [[sources]]\nbucket = \"{name}-uploads\"\n[[destinations]]\nbucket = \"{name}-results\"\n\
             [[routes]]\nbucket = \"{name}-uploads\"\nsuffixes = [\".mp4\"]\nhandler = \"matting\"\n\
             output = \"s3://{name}-results/\"\n\
             [[sinks]]\nkind = \"sqs\"\nrequired = true\nqueue = \"{name}-events\"\n\
             types = [\"completed\", \"failed\", \"cancelled\"]\n\
             [executor]\nstall_secs = 30\n"
        )
    }

    fn bucket(&self, name: &str) -> Bucket {
        self.aws.bucket(&format!("{}-{name}", self.name))
    }

    fn uploads(&self) -> Bucket {
        self.bucket("uploads")
    }

    fn results(&self) -> Bucket {
        self.bucket("results")
    }

    fn start(&mut self) {
        self.worker = Some(self.place.start::<&str>(&[]));
    }

    fn end(&mut self, signal: Signal) -> ExitStatus {
        self.worker.take().unwrap().end(signal)
    }

    /// All events until now.
    fn seen(&self) -> Vec<Value> {
        wait_for(async {
            for delivery in self.events.receive(10, Duration::ZERO).await.unwrap() {
                self.seen.lock().unwrap().push(serde_json::from_slice(&delivery.body).unwrap());
                let _settled = self.events.settle(delivery.receipt, Settlement::Ack).await.unwrap();
            }
        });
        self.seen.lock().unwrap().clone()
    }

    /// The first event about an upload.
    #[track_caller]
    fn event(&self, key: &str) -> Value {
        let subject = format!("s3://{}-uploads/{key}", self.name);
        let seen = || self.seen().into_iter().find(|event| event["subject"] == subject);
        poll(&format!("an event about {subject}"), seen)
    }

    /// The manifest of a completed event, whose outputs are there, and no others.
    #[track_caller]
    fn result(&self, event: &Value) -> Value {
        assert_eq!(event["type"], "dev.darkroom.job.completed.v1", "{event:#}");
        let prefix = format!("{}/", event["jobid"].as_str().unwrap());
        let manifest = self.results().json(&format!("{prefix}manifest.json"));
        let outputs = manifest["outputs"].as_array().unwrap().iter().map(|o| o["key"].as_str().unwrap().to_owned());
        let mut expected: Vec<String> = outputs.chain([format!("{prefix}manifest.json")]).collect();
        expected.sort();
        assert_eq!(self.results().keys(&prefix), expected);
        manifest
    }

    /// Waits until the queue holds nothing, in flight or dead.
    #[track_caller]
    fn settled(&self) {
        let queue = self.aws.queue(self.name);
        poll("an empty queue", || (wait_for(queue.depth()).unwrap() == Depth::default()).then_some(()));
    }
}

/// A workplace whose workers have this executor.
fn executor_of(executor: &str) -> Workplace {
    Workplace::new(&[("DARKROOM_EXECUTOR", binary(executor).to_str().unwrap())])
}

#[test]
fn an_upload_told_through_sqs_becomes_one_result() {
    let (mut site, shop) = (Site::new("told", "darkroom-executor"), Workshop::new());
    assert!(stdout(&site.place.cli(&["work", "--check"])).contains("good"));
    for (variable, name) in [("DARKROOM__QUEUE__SQS__QUEUE", "no-jobs"), ("DARKROOM__SINKS__0__QUEUE", "no-events")] {
        let refused = site.place.command(&["work", "--check"]).env(variable, name).output().unwrap();
        let said = String::from_utf8_lossy(&refused.stderr);
        assert!(!refused.status.success() && said.contains(name) && said.contains("create the queue"), "{said}");
    }
    site.start();
    // As a user gives names, and as nobody's URLs look.
    let key = "in/a b+c%2B é.mp4";
    site.uploads().put(key, shop.man(4, "-an", "a.mp4"));
    let event = site.event(key);
    let manifest = site.result(&event);
    assert_eq!(event["id"], format!("{}.completed", event["jobid"].as_str().unwrap()));
    let made = site.results().get(manifest["outputs"][0]["key"].as_str().unwrap());
    assert_eq!(media_type(&made), "webm");
    site.settled();
    assert!(site.end(Signal::TERM).success());
    assert_eq!(site.seen().len(), 1, "the store's own test message is nobody's job");
}

fn media_type(bytes: &[u8]) -> &'static str {
    if bytes.starts_with(&[0x1A, 0x45, 0xDF, 0xA3]) { "webm" } else { "something else" }
}

#[test]
fn a_job_outlives_its_visibility_timeout_and_its_worker() {
    let mut site = Site::new("outlives", "darkroom-executor-fault");
    // Its name ends so that no route takes it: it is asked for by a message.
    site.uploads().put("long.wav", sound());
    let input = "s3://outlives-uploads/long.wav";
    let slow = ["--set", "action=slow", "--set", "secs=5"];
    site.start();
    stdout(&site.place.cli(&[&["submit", "fault", input, "--output", "s3://outlives-results/"][..], &slow].concat()));
    let running = || {
        let jobs = json_lines(&stdout(&site.place.cli(&["--json", "jobs", "list"])));
        jobs.into_iter().find(|job| job["state"] == "running")
    };
    let job = poll("a job that runs", running)["job_id"].as_str().unwrap().to_owned();
    assert!(!site.end(Signal::KILL).success());
    site.start();
    // The second one works for more than twice the two seconds that a delivery lasts without being extended.
    let event = site.event("long.wav");
    assert_eq!((&event["jobid"], &event["attempt"]), (&job.clone().into(), &2.into()), "{event:#}");
    site.result(&event);
    site.settled();
    assert!(site.end(Signal::TERM).success());
    let shown: Value = serde_json::from_str(&stdout(&site.place.cli(&["--json", "jobs", "show", &job]))).unwrap();
    assert_eq!(shown["attempts"].as_array().unwrap().len(), 2, "{shown:#}");
    assert_eq!(site.seen().len(), 1);
}
