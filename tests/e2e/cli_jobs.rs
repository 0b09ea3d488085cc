//! The command line beside a running worker: what there is, and what has become of it.

use std::fs::File;
use std::process::{Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::harness::media::Workshop;
use crate::harness::{Up, binary, json_lines, poll, stdout};

#[test]
fn a_listing_shows_a_damaged_record_and_goes_on() {
    let (up, shop) = (Up::start(&[]), Workshop::new());
    let clip = shop.man(4, "-an", "listed.mp4");
    up.inbox().put("matting/good.mp4", clip.clone());
    up.inbox().put("matting/broken.mp4", clip);
    up.event("s3://inbox/matting/good.mp4");
    let broken = up.event("s3://inbox/matting/broken.mp4")["jobid"].as_str().unwrap().to_owned();
    up.state().put(&format!("{broken}/attempt-1.json"), "{");

    let list = |args: &[&str]| json_lines(&stdout(&up.cli(&[&["--json", "jobs", "list"], args].concat())));
    let states = |rows: &[Value]| rows.iter().map(|row| row["state"].as_str().unwrap().to_owned()).collect::<Vec<_>>();
    let all = list(&[]);
    assert_eq!(states(&all), ["damaged", "completed"], "the one that changed last comes first");
    assert_eq!(all[0]["job_id"], broken.as_str());
    assert!(all[0]["error"]["message"].as_str().unwrap().contains("attempt-1.json"), "{}", all[0]);
    assert_eq!(list(&["--limit", "1"]), all[..1]);
    assert_eq!(states(&list(&["--state", "completed", "--limit", "1"])), ["completed"]);
}

#[test]
fn waiting_passes_over_what_came_before() {
    let (up, shop) = (Up::start(&[]), Workshop::new());
    let key = "matting/twice.mp4";
    let url = format!("s3://inbox/{key}");
    let wait = |about: &str, since: &[&str]| {
        let output = up.cli(&[&["jobs", "wait", about, "--timeout-secs", "60"], since].concat());
        serde_json::from_slice::<Value>(&output.stdout).unwrap_or_else(|e| panic!("{e}: {output:?}"))
    };
    up.inbox().put(key, "no film");
    // Not read by this test's own harness: it has to stay in the queue.
    let failed = || json_lines(&stdout(&up.cli(&["--json", "jobs", "list", "--state", "failed"])));
    let failed = poll("the failure", || failed().pop().filter(|row| !row["error"].is_null()));
    up.inbox().put(key, shop.man(4, "-an", "twice.mp4"));
    assert_eq!(wait(&url, &[])["type"], "dev.darkroom.job.completed.v1");
    assert_eq!(wait(&url, &["--since", "1h"])["type"], "dev.darkroom.job.failed.v1", "it is still there");

    // The same job again, done already: its event is told again, and it is the one of this submission.
    let submit = || stdout(&up.cli(&["submit", "matting", &url, "--output", "s3://results/again/"])).trim().to_owned();
    for _ in 0..2 {
        let id = submit();
        assert_eq!(wait(&id, &[])["data"]["submission_id"], id.as_str());
    }
    assert_eq!(failed["error"]["code"], "input-not-media");
}

#[test]
fn an_upload_that_nobody_knows_of_is_submitted_again() {
    let (up, shop) = (Up::start(&[]), Workshop::new());
    let input = "s3://inbox/matting/lost.mp4";
    up.inbox().put("matting/lost.mp4", shop.man(4, "-an", "lost.mp4"));
    let first = up.event(input);
    let args = ["--json", "reconcile", "--bucket", "inbox", "--prefix", "matting/", "--min-age-secs", "0"];
    let reconcile = || json_lines(&stdout(&up.cli(&args)));
    let [known] = &reconcile()[..] else { panic!("there is nothing to submit") };
    assert_eq!((&known["report"]["completed"], &known["report"]["submitted"]), (&1.into(), &0.into()), "{known}");

    // As if its notification had been lost.
    let job = first["jobid"].as_str().unwrap();
    up.results().delete(&format!("matting/{job}/manifest.json"));
    up.state().keys(&format!("{job}/")).iter().for_each(|key| up.state().delete(key));
    let [submitted, report] = &reconcile()[..] else { panic!("one upload is to be submitted") };
    assert_eq!((&submitted["input"], &submitted["job_id"]), (&input.into(), &job.into()));
    assert_eq!(report["report"]["submitted"], 1);
    let second = poll("its event", || up.events(input).into_iter().nth(1));
    assert_eq!((&second["type"], &second["jobid"]), (&first["type"], &first["jobid"]));
    assert_ne!(second["data"]["run_id"], first["data"]["run_id"]);
}

#[test]
fn a_signal_ends_a_local_run_soon_and_leaves_nothing() {
    let shop = Workshop::new();
    shop.man(60, "-an", "long.mp4");
    for (signal, status) in [(Signal::INT, 130), (Signal::TERM, 143)] {
        let out = shop.path("out");
        let mut command = Command::new(binary("darkroom"));
        command.args(["run", "matting", &shop.name("long.mp4"), "-o", out.to_str().unwrap()]);
        let said = File::create(shop.path("said")).unwrap();
        let mut run = command.stdout(said).stderr(Stdio::null()).spawn().unwrap();
        poll("the run's scratch", || out.join(".darkroom-scratch").is_dir().then_some(()));
        kill_process(Pid::from_child(&run), signal).unwrap();
        assert_eq!(run.wait().unwrap().code(), Some(status));
        assert!(!out.exists(), "what the run made goes with it");
        let events = json_lines(&std::fs::read_to_string(shop.path("said")).unwrap());
        assert!(events.iter().all(|event| event["type"] == "dev.darkroom.job.cancelled.v1"), "{events:?}");
    }
}

#[test]
fn what_a_worker_would_refuse_is_not_submitted() {
    let up = Up::shared();
    let submit = |input: &str, output: &str| up.cli(&["submit", "matting", input, "--output", output]);
    for (input, output) in [
        ("s3://darkroom-state/x.mp4", "s3://results/m/"),
        ("s3://inbox/x.mp4", "s3://elsewhere/"),
        ("s3://inbox/x.mp4", "s3://inbox/matting/"),
    ] {
        let message =
            serde_json::json!({"schema": "darkroom.job.v1", "handler": "matting", "input": input, "output": output});
        let refused = up.event_of(&up.queues().send(&message.to_string()));
        let why = refused["data"]["error"]["message"].as_str().unwrap();
        let said = submit(input, output);
        assert_eq!(said.status.code(), Some(2), "{said:?}");
        assert!(String::from_utf8_lossy(&said.stderr).contains(why), "{said:?}, and not {why}");
    }
}

#[test]
fn a_submission_is_answered_with_what_came_of_it_last() {
    let (up, shop) = (Up::start(&[]), Workshop::new());
    let url = "s3://inbox/given/late.mp4";
    let id = stdout(&up.cli(&["submit", "matting", url, "--output", "s3://results/m/"])).trim().to_owned();
    // Not read by this test's own harness: each event has to stay in its queue.
    let dead = || poll("the dead letter", || (up.queues().depth().dead == 1).then_some(()));
    let wait =
        || serde_json::from_slice::<Value>(&up.cli(&["jobs", "wait", &id, "--timeout-secs", "60"]).stdout).unwrap();
    dead();
    // Refused once more, then worked on: three events.
    stdout(&up.cli(&["jobs", "redrive", &id]));
    dead();
    up.inbox().put("given/late.mp4", shop.man(4, "-an", "late.mp4"));
    stdout(&up.cli(&["jobs", "redrive", &id]));
    poll("the result", || up.results().keys("m/").iter().any(|key| key.ends_with("manifest.json")).then_some(()));
    for _ in 0..2 {
        let event = wait();
        assert_eq!(
            (&event["type"], &event["subject"]),
            (&"dev.darkroom.job.completed.v1".into(), &url.into()),
            "{event:#}"
        );
    }
}
