//! The command line on its own, and what orchestrators ask.

use std::fs;

use serde_json::Value;

use crate::harness::media::{self, Workshop};
use crate::harness::{Up, darkroom, json_lines, stdout};

#[test]
fn run_develops_local_files_and_tells_how_each_went() {
    let shop = Workshop::new();
    shop.man(6, "-an", "good.mp4");
    shop.write("bad.mp4", b"no film");
    let (good, bad, out) = (shop.name("good.mp4"), shop.name("bad.mp4"), shop.path("out"));
    let sets = ["--set", "quality=40", "--set", "num_gpus=2"];
    let done = darkroom(&[&["run", "matting", &good, &bad, "--output", out.to_str().unwrap()][..], &sets].concat());
    assert_eq!(done.status.code(), Some(1), "one of two failed");
    let events = json_lines(std::str::from_utf8(&done.stdout).unwrap());
    let types: Vec<_> = events.iter().map(|event| event["type"].as_str().unwrap()).collect();
    assert_eq!(types, ["dev.darkroom.job.completed.v1", "dev.darkroom.job.failed.v1"]);
    assert_eq!(events[1]["data"]["error"]["code"], "input-not-media");
    let said = String::from_utf8(done.stderr).unwrap();
    assert!(said.contains("2 jobs: 1 succeeded, 1 failed (50 % success)"), "{said}");
    assert_eq!(said.matches("warning: good.mp4: `num_gpus` was ignored").count(), 1, "{said}");

    let manifest: Value = serde_json::from_slice(&fs::read(out.join("good/manifest.json")).unwrap()).unwrap();
    assert_eq!((&manifest["metrics"]["frames"], &manifest["params"]["quality"]), (&6.into(), &40.into()));
    for output in manifest["outputs"].as_array().unwrap() {
        let content = fs::read(out.join("good").join(output["key"].as_str().unwrap())).unwrap();
        assert_eq!(output["sha256"], media::sha256(&content));
    }
    assert!(!out.join("bad/manifest.json").exists(), "no result, no manifest");
    assert!(!out.join(".darkroom-scratch").exists());
}

#[test]
fn run_with_one_file_puts_the_result_where_it_was_asked_for() {
    let shop = Workshop::new();
    shop.man(4, "-an", "one.mp4");
    let out = shop.path("out");
    let done = darkroom(&["--json", "run", "matting", &shop.name("one.mp4"), "-o", out.to_str().unwrap()]);
    let events = json_lines(&stdout(&done));
    assert_eq!(events.len(), 1);
    assert!(out.join("manifest.json").is_file() && out.join("matte.webm").is_file());
    // With `--json` progress is for machines as well.
    json_lines(std::str::from_utf8(&done.stderr).unwrap());
}

#[test]
fn wrong_use_is_told_from_failure() {
    let shop = Workshop::new();
    let (file, out) = (shop.write("x.mp4", b"x"), shop.path("out"));
    let (file, out) = (file.to_str().unwrap(), out.to_str().unwrap());
    let config = shop.write("bad.toml", b"[worker]\nslots = 0\nslotz = 1\n");
    for (args, says) in [
        (vec!["run", "matting"], "required"),
        (vec!["run", "colourise", file, "-o", out], "matting"),
        (vec!["run", "matting", "/no/such/file.mp4", "-o", out], "/no/such/file.mp4"),
        (vec!["run", "matting", file, "-o", out, "--input", "sky=x"], "background"),
        (vec!["frobnicate"], "frobnicate"),
        (vec!["up", "--s3-listen", "0.0.0.0:0"], "loopback"),
        (vec!["--config", config.to_str().unwrap(), "work", "--check"], "slotz"),
    ] {
        let output = darkroom(&args);
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{args:?}: {said}");
        assert!(said.contains(says), "{args:?}: {said}");
        assert!(output.stdout.is_empty(), "{args:?}");
    }
    // Everything that is wrong is told at once.
    let output = darkroom(&["--config", config.to_str().unwrap(), "work", "--check"]);
    assert!(String::from_utf8_lossy(&output.stderr).contains("worker.slots"));
}

#[test]
fn a_parameter_out_of_range_is_wrong_use() {
    let shop = Workshop::new();
    shop.man(4, "-an", "one.mp4");
    let out = shop.path("out");
    let args = ["run", "matting", &shop.name("one.mp4"), "-o", out.to_str().unwrap(), "--set", "quality=101"];
    let done = darkroom(&args);
    assert_eq!(done.status.code(), Some(2));
    assert!(!out.exists(), "no empty directory is left");
    let said = String::from_utf8(done.stderr).unwrap();
    assert!(said.contains("quality") && said.contains("0 to 100"), "{said}");
}

#[test]
fn completions_and_models() {
    let script = stdout(&darkroom(&["completions", "bash"]));
    assert!(script.contains("_darkroom") && script.contains("redrive"));
    let models = json_lines(&stdout(&darkroom(&["--json", "models", "list"])));
    let status = |name: &str| models.iter().find(|m| m["name"] == name).map(|m| m["status"].as_str().unwrap());
    assert_eq!(status("matting/rvm-mobilenetv3"), Some("ready"));
    assert_eq!(status("matting/rvm-resnet50"), Some("unregistered"));
}

#[test]
fn the_gateway_answers() {
    let (up, shop) = (Up::shared(), Workshop::new());
    up.inbox().put("matting/measured.mp4", shop.man(4, "-an", "measured.mp4"));
    let event = up.event("s3://inbox/matting/measured.mp4");
    assert_eq!(event["type"], "dev.darkroom.job.completed.v1", "{event:#}");
    assert_eq!(up.http("/livez"), (200, "ok\n".into()));
    let (status, ready) = up.http("/readyz");
    assert_eq!(
        (status, serde_json::from_str::<Value>(&ready).unwrap()["ready"].clone()),
        (200, true.into()),
        "{ready}"
    );
    let (status, metrics) = up.http("/metrics");
    assert_eq!(status, 200);
    let has = |name: &str, labels: &[&str]| {
        metrics.lines().any(|line| line.starts_with(name) && labels.iter().all(|label| line.contains(label)))
    };
    assert!(has("darkroom_jobs_total", &["handler=\"matting\"", "outcome=\"completed\""]), "{metrics}");
    assert!(has("darkroom_stage_seconds_total", &["stage=\"decode\""]), "{metrics}");
    assert!(has("darkroom_queue_", &[]), "{metrics}");
    assert_eq!(up.http("/nothing").0, 404);
}

#[test]
fn what_up_writes_is_a_configuration_for_work() {
    let up = Up::start(&[]);
    let config = up.dir().join("darkroom.toml");
    let output = darkroom(&["--config", config.to_str().unwrap(), "work", "--check"]);
    assert_eq!(stdout(&output), "the configuration is good\n");
}
