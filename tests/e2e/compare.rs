//! Two videos compared from the command line, VMAF's tool shut in with the executor that starts it.

use std::fs;

use serde_json::Value;

use crate::harness::media::Workshop;
use crate::harness::{darkroom, json_lines, stdout};

#[test]
fn a_copy_is_compared_with_its_original() {
    stdout(&darkroom(&["models", "fetch", "ffmpeg-vmaf"]));
    let shop = Workshop::new();
    shop.man(6, "-an -crf 4", "original.mp4");
    let encode = "-c:v libx264 -preset ultrafast -crf 38";
    shop.ffmpeg(&format!("-i {} {encode}", shop.name("original.mp4")), "copy.mp4");
    let (copy, original, out) = (shop.name("copy.mp4"), shop.name("original.mp4"), shop.path("out"));
    let done = darkroom(&["compare", &copy, &original, "--output", out.to_str().unwrap()]);
    let events = json_lines(&stdout(&done));
    assert_eq!((events.len(), &events[0]["type"]), (1, &"dev.darkroom.job.completed.v1".into()));
    let files: Vec<_> = events[0]["data"]["outputs"].as_array().unwrap().iter().map(|o| o["key"].clone()).collect();
    assert_eq!(files, ["compare.json", "side-by-side.png", "compare.html"]);

    let report: Value = serde_json::from_slice(&fs::read(out.join("compare.json")).unwrap()).unwrap();
    let (vmaf, psnr) = (report["vmaf"]["mean"].as_f64().unwrap(), report["psnr"]["mean"]["y"].as_f64().unwrap());
    assert!((10.0..95.0).contains(&vmaf) && (20.0..40.0).contains(&psnr), "{vmaf} {psnr}");
    let said = String::from_utf8(done.stderr).unwrap();
    for (name, number) in [("PSNR dB", format!("{psnr:.2}")), ("VMAF", format!("{vmaf:.2}"))] {
        assert!(said.lines().any(|line| line.starts_with(name) && line.contains(&number)), "{name} {number}: {said}");
    }
    let manifest: Value = serde_json::from_slice(&fs::read(out.join("manifest.json")).unwrap()).unwrap();
    assert_eq!(manifest["models"][0]["name"], "ffmpeg-vmaf");
    assert!(!out.join(".darkroom-scratch").exists());

    // Nothing is scaled: both sizes are told.
    shop.ffmpeg(&format!("-i {original} -vf scale=96:160 {encode}"), "small.mp4");
    let refused = darkroom(&["compare", &shop.name("small.mp4"), &original, "-o", out.to_str().unwrap(), "--no-vmaf"]);
    let said = String::from_utf8(refused.stderr).unwrap();
    assert_eq!(refused.status.code(), Some(1), "{said}");
    assert!(said.contains("96x160") && said.contains("192x320"), "{said}");

    // Of two files it is told which is none.
    shop.write("text.mp4", b"no film");
    let refused = darkroom(&["compare", &copy, &shop.name("text.mp4"), "-o", out.to_str().unwrap(), "--no-vmaf"]);
    let said = String::from_utf8(refused.stderr).unwrap();
    assert!(said.contains("input-not-media: The input `reference`: "), "{said}");
}
