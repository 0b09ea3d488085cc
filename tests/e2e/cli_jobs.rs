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
