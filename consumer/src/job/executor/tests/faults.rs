//! One test a fault.

use super::*;

#[tokio::test]
async fn a_job_runs_in_a_confined_process_and_leaves_nothing() {
    let lab = Lab::new().await;
    let result = lab.run(json!({"action": "ok"})).await.unwrap();
    assert_eq!((result.files[0].file.name.as_str(), result.files[0].bytes), ("0.copy", 12));
    let mut environment: Vec<String> = serde_json::from_value(metric(&result, "environment")).unwrap();
    environment
        .retain(|name| !["LANG", "LD_LIBRARY_PATH", "OMP_NUM_THREADS", "RUST_BACKTRACE"].contains(&name.as_str()));
    environment.sort();
    assert_eq!(
        environment,
        ["HOME", "ORT_DISABLE_TELEMETRY", "SVT_LOG", "TMPDIR"],
        "the consumer's secrets stay with it"
    );

    let slot = lab.pool.acquire().await;
    let executor = slot.executor.as_ref().unwrap();
    let confinement = executor.confinement();
    assert!(confinement.seccomp && confinement.memory_limit_bytes == 400 << 20, "{confinement:?}");
    let read = |name: &str| std::fs::read_to_string(format!("/proc/{}/{name}", executor.pid())).unwrap();
    assert_eq!(read("oom_score_adj").trim(), "1000");
    let limits = read("limits");
    let limit = |name: &str| limits.lines().find(|line| line.starts_with(name)).unwrap().to_owned();
    assert!(limit("Max core file size").contains(" 0 "), "{}", limit("Max core file size"));
    assert!(limit("Max address space").contains("unlimited"));
    drop(slot);
    let left = tree(&lab.pool.scratch().jobs());
    assert!(left.iter().all(|path| path.is_dir()), "what is kept for the next run is empty: {left:?}");
    assert_eq!(tree(&lab.pool.scratch().root().join("slot-0")), Vec::<PathBuf>::new());
}

#[tokio::test]
async fn deaths_are_crashes_that_name_signal_or_exit_code() {
    let lab = Lab::new().await;
    for (action, words) in [("segfault", "SIGSEGV"), ("abort", "SIGABRT"), ("exit", "exit code 3")] {
        let error = lab.fails(json!({"action": action})).await;
        assert_eq!(error.code, ErrorCode::ExecutorCrashed, "{action}: {error}");
        assert!(error.message.contains(words), "{action}: {error}");
    }
    lab.run(json!({"action": "ok"})).await.unwrap();
}

#[tokio::test]
async fn a_panic_fails_the_job_and_not_the_process() {
    let lab = Lab::new().await;
    let before = metric(&lab.run(json!({"action": "ok"})).await.unwrap(), "pid");
    let error = lab.fails(json!({"action": "panic"})).await;
    assert_eq!(error.code, ErrorCode::Internal);
    assert!(error.message.contains("fault: as asked"), "{error}");
    assert_eq!(metric(&lab.run(json!({"action": "ok"})).await.unwrap(), "pid"), before);
}

#[tokio::test]
async fn no_progress_is_a_hang() {
    let lab = Lab::new().await;
    let mut watch = Watch::default();
    watch.limits.stall_secs.insert("work".into(), 0.5);
    let mut slot = lab.pool.acquire().await;
    let error = lab.run_in(&mut slot, "run", json!({"action": "hang"}), watch).await.unwrap_err();
    assert_eq!(error.code, ErrorCode::ExecutorHung);
    assert!(error.message.contains("stage `work`") && error.message.contains("0.5 s"), "{error}");
}

#[tokio::test]
async fn a_run_that_goes_on_and_on_has_a_limit() {
    let lab = Lab::new().await;
    let mut watch = Watch::default();
    watch.limits.run_limit_secs = 0.4;
    let mut slot = lab.pool.acquire().await;
    let error = lab.run_in(&mut slot, "run", json!({"action": "slow", "secs": 60.0}), watch).await.unwrap_err();
    assert_eq!(error.code, ErrorCode::RunLimitExceeded);
}

#[tokio::test]
async fn memory_is_limited_by_the_kernel_and_by_the_watchdog() {
    let lab = Lab::new().await;
    for action in ["exhaust", "exhaust-shared"] {
        let error = lab.fails(json!({"action": action})).await;
        assert_eq!(error.code, ErrorCode::ExecutorOutOfMemory, "{action}: {error}");
        assert!(error.message.contains("400 MiB"), "{error}");
    }
}

#[tokio::test]
async fn a_flood_of_log_lines_blocks_nobody() {
    let lab = Lab::new().await;
    lab.run(json!({"action": "flood-log"})).await.unwrap();
}

#[tokio::test]
async fn there_is_no_network() {
    Lab::new().await.run(json!({"action": "network"})).await.unwrap();
}

#[tokio::test]
async fn files_of_others_are_out_of_reach() {
    let lab = Lab::new().await;
    let abi = lab.pool.acquire().await.executor.as_ref().unwrap().confinement().landlock_abi;
    if abi == 0 {
        eprintln!("this kernel has no Landlock: nothing to test");
        return;
    }
    lab.run(json!({"action": "outside-file"})).await.unwrap();
}

#[tokio::test]
async fn outputs_that_lead_outside_are_refused() {
    let error = Lab::new().await.fails(json!({"action": "evil-outputs"})).await;
    assert_eq!(error.code, ErrorCode::ExecutorProtocol);
}

#[tokio::test]
async fn a_list_of_outputs_may_be_longer_than_a_frame() {
    let result = Lab::new().await.run(json!({"action": "big-output-list"})).await.unwrap();
    assert_eq!(result.files.len(), 20_000);
    assert!(serde_json::to_vec(&result.outputs).unwrap().len() > darkroom_api::protocol::MAX_FRAME_BYTES);
}

#[tokio::test]
async fn garbage_on_the_socket_ends_the_executor() {
    let error = Lab::new().await.fails(json!({"action": "garbage"})).await;
    assert_eq!(error.code, ErrorCode::ExecutorProtocol, "{error}");
}

#[tokio::test]
async fn a_code_that_is_not_the_executors_to_give_is_not_believed() {
    assert_eq!(Lab::new().await.fails(json!({"action": "false-code"})).await.code, ErrorCode::Internal);
}

#[tokio::test]
async fn checkpoints_are_offered_from_the_scratch_directory() {
    let lab = Lab::new().await;
    let (sender, kept) = std::sync::mpsc::channel();
    let on_note = Box::new(move |note| {
        if let RunNote::Checkpoint(path) = note {
            sender.send(std::fs::read_to_string(path).unwrap()).unwrap();
        }
    });
    let mut slot = lab.pool.acquire().await;
    let watch = Watch { on_note, ..Watch::default() };
    lab.run_in(&mut slot, "run", json!({"action": "checkpoint"}), watch).await.unwrap();
    assert_eq!(kept.iter().collect::<Vec<_>>(), ["x"]);
}
