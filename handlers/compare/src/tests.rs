//! The handler on real footage, with the real tool.

use std::num::NonZero;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, OnceLock};

use darkroom_api::{ErrorCode, Inputs, Outputs, Result, erase};
use darkroom_inference::{Device, DeviceChoice, Runtime, RuntimeOptions};
use darkroom_media::testing;
use darkroom_models::{Registry, RegistryConfig};
use serde_json::{Value, json};

use super::*;

/// With the cache of this machine; the tool is fetched where it is missing.
fn with_tool() -> Arc<Runtime> {
    static REGISTRY: OnceLock<Arc<Registry>> = OnceLock::new();
    let registry = REGISTRY.get_or_init(|| {
        let registry = RegistryConfig::default().open().unwrap();
        registry.fetch(VMAF_TOOL, &mut |_| ()).unwrap();
        Arc::new(registry)
    });
    runtime(Arc::clone(registry))
}

fn runtime(registry: Arc<Registry>) -> Arc<Runtime> {
    let (device, intra_threads) = (DeviceChoice::Fixed(Device::Cpu), NonZero::new(2));
    Arc::new(Runtime::new(RuntimeOptions { device, intra_threads, ..RuntimeOptions::new(registry) }))
}

/// A place to run the handler in.
struct Bench(testing::Bench);

impl Bench {
    fn new() -> Bench {
        Bench(testing::Bench::new())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.scratch.path(name)
    }

    fn make(&self, from: &Path, arguments: &str, name: &str) -> PathBuf {
        self.0.scratch.make(from, arguments, name)
    }

    /// A real clip with motion, and the same badly encoded.
    fn clips(&self) -> (PathBuf, PathBuf) {
        let encode = "-c:v libx264 -preset ultrafast -frames:v 12";
        let reference =
            self.make(&testing::man(), &format!("-vf crop=720:1200:180:240,scale=288:480 {encode} -crf 4"), "good.mp4");
        (self.make(&reference, &format!("{encode} -crf 38"), "bad <video>.mp4"), reference)
    }

    fn run(&self, runtime: Arc<Runtime>, video: &Path, reference: &Path, params: Value) -> Result<Outputs> {
        let files = [(VIDEO, video), (REFERENCE, reference)];
        let inputs = files.map(|(role, file)| (role.to_owned(), vec![file.to_owned()]));
        erase(Compare::new(runtime)).run(&self.0.context(), &Inputs(inputs.into()), &params)
    }

    fn text(&self, name: &str) -> String {
        std::fs::read_to_string(self.path("out").join(name)).unwrap()
    }
}

#[test]
fn a_bad_copy_is_measured_and_shown() {
    let bench = Bench::new();
    let (bad, good) = bench.clips();
    let done = bench.run(with_tool(), &bad, &good, json!({})).unwrap();
    assert_eq!((&done.metrics["frames"], done.warnings.len()), (&12.into(), 0), "{:?}", done.warnings);
    assert_eq!((done.models[0].name.as_str(), done.models[0].sha256.len()), (VMAF_TOOL, 64));

    let report: Value = serde_json::from_str(&bench.text("compare.json")).unwrap();
    let number = |value: &Value| value.as_f64().unwrap_or_else(|| panic!("{value}"));
    let frames = report["frames"].as_array().unwrap();
    let mean = frames.iter().map(|frame| number(&frame["vmaf"])).sum::<f64>() / 12.0;
    let vmaf = &report["vmaf"];
    assert!((mean - number(&vmaf["mean"])).abs() < 1e-3 && (20.0..90.0).contains(&mean), "{mean}, {vmaf}");
    assert!(number(&vmaf["min"]) <= mean && vmaf["model"] == "vmaf_v0.6.1", "{vmaf}");
    assert_eq!(done.metrics["vmaf"], *vmaf);
    assert!((20.0..40.0).contains(&number(&report["psnr"]["mean"]["y"])), "{}", report["psnr"]);
    println!("VMAF {mean:.3}, reference says {}", straight(&with_tool(), &bad, &good));
    assert!((mean - straight(&with_tool(), &bad, &good)).abs() < 0.01, "frames went through our pipe unchanged");

    let page = bench.text("compare.html");
    assert!(page.contains("bad &#60;video&#62;.mp4") && !page.contains("bad <video>") && !page.contains("{{"));
    assert_eq!(page.matches("src=\"data:image/png;base64,").count(), 4, "two frames of each");
    let outside = ["http:", "https:", "<link", "@import", "url("];
    assert!(!outside.iter().any(|word| page.contains(word)), "nothing comes from outside");
    assert_eq!(page.matches("<svg").count(), 2);
    assert!(bench.path("out/side-by-side.png").metadata().unwrap().len() > 10_000);
    assert!(!bench.path("vmaf.json").exists(), "no log is left");
    let progress = bench.0.progress();
    assert!(progress.len() == 12 && progress[11].total == Some(12), "{:?}", progress.last());
}

/// VMAF of two files as the tool has it that reads them itself.
fn straight(runtime: &Runtime, video: &Path, reference: &Path) -> f64 {
    let tool = runtime.registry().resolve(VMAF_TOOL).unwrap().path;
    let mut command = Command::new(tool);
    command.args(["-nostdin", "-nostats", "-i"]).arg(video).arg("-i").arg(reference);
    let output = command.args(["-lavfi", "[0:v][1:v]libvmaf", "-f", "null", "-"]).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    said.split("VMAF score: ").nth(1).unwrap().split_whitespace().next().unwrap().parse().unwrap()
}

#[test]
fn the_same_file_twice_is_as_close_as_can_be() {
    let bench = Bench::new();
    let (_, good) = bench.clips();
    let done = bench.run(with_tool(), &good, &good, json!({ "vmaf_model": "vmaf_4k_v0.6.1" })).unwrap();
    assert_eq!((&done.metrics["identical"], &done.metrics["psnr"]["min"]["y"]), (&true.into(), &Value::Null));
    assert_eq!(done.metrics["ssim"]["mean"]["all"], 1.0);
    assert!(done.metrics["vmaf"]["min"].as_f64().unwrap() > 95.0, "{}", done.metrics["vmaf"]);
    assert!(bench.text("compare.html").contains("no sample differs"));
}

#[test]
fn without_the_tool_the_rest_is_told_and_how_to_get_it() {
    let bench = Bench::new();
    let (bad, good) = bench.clips();
    // The first frame alone, as a picture.
    let pictures = [&bad, &good].map(|file| {
        let name = file.with_extension("png").file_name().unwrap().to_string_lossy().into_owned();
        bench.make(file, "-frames:v 1", &name)
    });
    let empty = RegistryConfig { dir: Some(bench.path("models")), ..RegistryConfig::default() };
    let without = || runtime(Arc::new(empty.open().unwrap()));
    let done = bench.run(without(), &pictures[0], &pictures[1], json!({})).unwrap();
    assert_eq!((&done.metrics["vmaf"], &done.metrics["frames"]), (&Value::Null, &1.into()));
    assert!(done.warnings.iter().any(|w| w.contains("darkroom models fetch ffmpeg-vmaf")), "{:?}", done.warnings);
    assert_eq!(bench.text("compare.html").matches("<figure>").count(), 1, "one frame is worst and middle");
    // Who does not want it is told nothing.
    let done = bench.run(without(), &bad, &good, json!({ "vmaf": false })).unwrap();
    assert_eq!((&done.metrics["vmaf"], done.warnings.len()), (&Value::Null, 0), "{:?}", done.warnings);
}

#[test]
fn sizes_that_differ_are_refused_before_anything_is_decoded() {
    let bench = Bench::new();
    let (bad, good) = bench.clips();
    let small = bench.make(&bad, "-vf scale=100:166", "small.mp4");
    let probe = |path: &Path| darkroom_media::probe::probe(path, &[MediaKind::Video], &Limits::default()).unwrap();
    let probes =
        |video: &Path| [(VIDEO, video), (REFERENCE, &good)].map(|(role, path)| (role.into(), vec![probe(path)]));
    let plan = |video: &Path| Compare::new(with_tool()).plan(&Params::default(), &probes(video).into());
    let error = plan(&small).unwrap_err();
    assert_eq!(error.code, ErrorCode::InputsInvalid);
    assert!(error.message.contains("100x166") && error.message.contains("288x480"), "{error}");
    assert!(plan(&bad).unwrap().host_mib > 100);
}
