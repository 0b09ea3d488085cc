//! A message that comes again is what it was, whatever has become of its inputs meanwhile.

use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

use crate::harness::media::sound;
use crate::harness::{Host, Queues, Up, json_lines, poll, stdout};
use crate::once::{job_in, slow, work};

/// The input of a message, which names no content: that is looked up when it comes.
enum Input<'a> {
    Object(&'static str),
    Web(&'a Host),
}

/// A worker dies with a message at this point; then `meanwhile` happens, and another worker has it to its end.
/// All that was told of it.
#[track_caller]
fn killed_at(up: &Up, step: &str, input: &Input<'_>, meanwhile: impl FnOnce()) -> Vec<Value> {
    let (url, subject) = match input {
        Input::Object(key) => (format!("s3://inbox/{key}"), format!("s3://inbox/{key}")),
        Input::Web(host) => (host.url("a.wav"), format!("http://{}/a.wav", host.address())),
    };
    let hosts = match input {
        Input::Object(_) => json!([]).to_string(),
        Input::Web(host) => json!([host.address()]).to_string(),
    };
    let web = [("DARKROOM__HTTPS__HOSTS", hosts.as_str()), ("DARKROOM__HTTPS__ALLOW_PRIVATE", "true")];
    let dir = tempfile::tempdir().unwrap();
    let queues = Queues::open(dir.path());
    let message = json!({"schema": "darkroom.job.v1", "handler": "fault", "input": url,
        "output": "s3://results/fault/", "params": {"action": "ok"}});
    queues.send(&message.to_string());
    let point = format!("{step}=kill@1");
    let mut dying = work(up, dir.path(), &[&web[..], &[("DARKROOM_FAILPOINT", &point)]].concat());
    assert!(!dying.wait().unwrap().success());
    // What nobody has read yet is not told again.
    up.events(&subject);
    meanwhile();
    let mut next = work(up, dir.path(), &web);
    let settled = || {
        let depth = queues.depth();
        (depth.visible + depth.delayed + depth.in_flight == 0).then_some(())
    };
    poll("a settled message", settled);
    kill_process(Pid::from_child(&next), Signal::TERM).unwrap();
    assert!(next.wait().unwrap().success());
    up.events(&subject)
}

/// All events say this of one and the same job; its record is the only one about that input.
#[track_caller]
fn told_as(up: &Up, events: &[Value], kind: &str, code: Option<&str>) {
    let first = events.first().expect("an event");
    assert_eq!(first["type"], format!("dev.darkroom.job.{kind}.v1"), "{first:#}");
    assert_eq!(first["data"]["error"]["code"].as_str(), code, "{first:#}");
    for event in events {
        assert_eq!((&event["id"], &event["jobid"]), (&first["id"], &first["jobid"]), "{event:#}");
    }
    let jobs = json_lines(&stdout(&up.cli(&["--json", "jobs", "list"])));
    let about: Vec<_> = jobs.iter().filter(|job| job["input"] == first["subject"]).map(|job| &job["job_id"]).collect();
    assert_eq!(about, [&first["jobid"]]);
}

#[test]
fn an_input_that_went_or_changed_once_its_job_was_told_of_changes_nothing() {
    let up = Up::with_faults(&[]);
    let [gone, other] = ["told-gone.wav", "told-other.wav"];
    let web = Host::start("");
    for key in [gone, other] {
        up.inbox().put(key, sound());
    }
    // Killed after the event, before the acknowledgement.
    let told = |input, meanwhile: &(dyn Fn() + Sync)| {
        let events = killed_at(&up, "published", &input, meanwhile);
        assert!(events.len() >= 2, "told again: {events:?}");
        told_as(&up, &events, "completed", None);
    };
    std::thread::scope(|scope| {
        scope.spawn(|| told(Input::Object(gone), &|| up.inbox().delete(gone)));
        scope.spawn(|| told(Input::Object(other), &|| drop(up.inbox().put(other, "another sound"))));
        scope.spawn(|| told(Input::Web(&web), &|| web.expire()));
    });
    // A new message is about what is there now.
    let message = json!({"schema": "darkroom.job.v1", "handler": "fault", "input": format!("s3://inbox/{other}"),
        "output": "s3://results/fault/", "params": {"action": "ok"}});
    let new = up.event_of(&up.queues().send(&message.to_string()));
    assert_ne!(new["jobid"], up.event(&format!("s3://inbox/{other}"))["jobid"], "{new:#}");
}

#[test]
fn an_input_that_went_or_changed_once_its_job_was_claimed_fails_that_job() {
    let up = Up::with_faults(&[]);
    let [gone, other] = ["claimed-gone.wav", "claimed-other.wav"];
    let (tagged, plain) = (Host::start("etag: \"e1\"\r\n"), Host::start(""));
    for key in [gone, other] {
        up.inbox().put(key, sound());
    }
    let failed = |input, code, meanwhile: &(dyn Fn() + Sync)| {
        let events = killed_at(&up, "claimed", &input, meanwhile);
        told_as(&up, &events, "failed", Some(code));
    };
    let put = || drop(up.inbox().put(other, "another sound"));
    std::thread::scope(|scope| {
        scope.spawn(|| failed(Input::Object(gone), "input-not-found", &|| up.inbox().delete(gone)));
        scope.spawn(|| failed(Input::Object(other), "input-changed", &put));
        scope.spawn(|| failed(Input::Web(&tagged), "access-denied", &|| tagged.expire()));
        scope.spawn(|| failed(Input::Web(&plain), "access-denied", &|| plain.expire()));
    });
}

#[test]
fn a_message_that_was_told_to_be_refused_stays_so() {
    let up = Up::with_faults(&[]);
    let put = || drop(up.inbox().put("late.wav", sound()));
    let events = killed_at(&up, "settling", &Input::Object("late.wav"), put);
    assert!(events.len() == 2 && events[0]["id"] == events[1]["id"], "{events:?}");
    assert_eq!((&events[0]["jobid"], &events[0]["data"]["error"]["code"]), (&Value::Null, &json!("input-not-found")));
}

#[test]
fn a_redriven_message_is_looked_at_anew_though_its_first_delivery_goes_back() {
    let up = Up::with_faults(&[("DARKROOM__HANDLERS__FAULT__MAX_RUNNING", "1"), ("DARKROOM__LOG__LEVEL", "debug")]);
    let message = json!({"schema": "darkroom.job.v1", "handler": "fault", "input": "s3://inbox/redriven.wav",
        "output": "s3://results/fault/", "params": {"action": "ok"}});
    let id = up.queues().send(&message.to_string());
    let letter = || up.queues().dead_letters().into_iter().find(|letter| letter.message_id.0 == id);
    assert_eq!(poll("the refusal", letter).reason.unwrap().code.as_str(), "input-not-found");
    up.inbox().put("redriven.wav", sound());
    // As many jobs as may be are in hand when it comes.
    let other = slow(&up, "other.wav", 2.0);
    job_in(&up, &other, "running");
    stdout(&up.cli(&["jobs", "redrive", &id]));
    let told = || up.queues().seen().into_iter().filter(|event| event["data"]["submission_id"] == id.as_str()).nth(1);
    let event = poll("the event after the redrive", told);
    assert_eq!(event["type"], "dev.darkroom.job.completed.v1", "{event:#}");
    let log = std::fs::read_to_string(up.dir().join("up.log")).unwrap();
    assert!(log.contains("delivery released: as many jobs as may be of its handler are in hand"), "it went back first");
}
