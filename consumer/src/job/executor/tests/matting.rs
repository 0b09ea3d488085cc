//! The walls let a real handler work: FFmpeg and ONNX Runtime inside them, on a real clip.

use super::*;

#[tokio::test]
async fn a_clip_is_matted_within_the_walls() {
    let registry = RegistryConfig::default();
    let models = registry.open().unwrap();
    for name in ["onnxruntime", "matting/rvm-mobilenetv3"] {
        models.fetch(name, &mut |_| ()).unwrap();
    }
    let lab = Lab::with(|options| (options.registry, options.memory_mib) = (registry, 4096)).await;
    let job = lab.pool.job_scratch("matting").unwrap();
    let clip = job.input("clip");
    let source = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/media/sports2d_demo.mp4");
    std::fs::copy(source, &clip).unwrap();

    let params = json!({"format": "webm-alpha", "end_secs": 0.3});
    lab.pool.check("matting", &params).await.unwrap();
    let inputs = Inputs([("video".to_owned(), vec![clip])].into());
    lab.pool.plan("matting", &params, &inputs, &Limits::default()).await.unwrap();

    let mut slot = lab.pool.acquire().await;
    slot.warm("matting", &params).await.unwrap();
    let order = RunOrder { handler: "matting".into(), params, inputs, resume: None };
    let (mut watch, mut frames) = (Watch::default(), 0);
    watch.limits.first_stall_secs = 60.0;
    let mut on_note = |note| match note {
        RunNote::Progress(progress) => frames = progress.done,
        RunNote::Checkpoint(path) => panic!("{}", path.display()),
    };
    let watch = RunWatch { limits: watch.limits, cancel: watch.cancel, on_note: &mut on_note };
    let result = slot.run(&job, order, watch).await.unwrap();
    assert_eq!(result.files[0].file.media_type, "video/webm");
    assert!(result.files[0].bytes > 1000 && frames > 3, "{:?}, {frames} frames", result.files);
}
