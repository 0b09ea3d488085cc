//! Cancelling, replacing, sharing.

use super::*;

/// A watch that cancels at the first progress.
fn cancel_at_first_progress() -> Watch {
    let mut watch = Watch::default();
    let cancel = watch.cancel.clone();
    watch.on_note = Box::new(move |_| cancel.cancel());
    watch
}

#[tokio::test]
async fn a_cancelled_run_stops_by_itself_and_the_process_stays() {
    let lab = Lab::new().await;
    let mut slot = lab.pool.acquire().await;
    let (before, start) = (slot.pid(), Instant::now());
    let params = json!({"action": "slow", "secs": 60.0});
    let error = lab.run_in(&mut slot, "run", params, cancel_at_first_progress()).await.unwrap_err();
    assert_eq!(error.code, ErrorCode::Cancelled);
    assert!(start.elapsed() < Duration::from_secs(5));
    assert_eq!(slot.pid(), before);
}

#[tokio::test]
async fn a_cancelled_run_that_does_not_stop_is_forced() {
    let lab = Lab::new().await;
    let mut restarts = lab.pool.restarts();
    let mut slot = lab.pool.acquire().await;
    let mut watch = cancel_at_first_progress();
    watch.limits.cancel_grace = Duration::from_millis(200);
    let error = lab.run_in(&mut slot, "run", json!({"action": "hang"}), watch).await.unwrap_err();
    assert_eq!(error.code, ErrorCode::Cancelled);
    assert_eq!(restarts.recv().await.unwrap(), Restart { slot: Some(0), reason: RestartReason::Cancelled });
}

#[tokio::test]
async fn an_executor_that_keeps_memory_is_replaced_and_the_job_succeeds() {
    let lab = Lab::with(|options| options.leak_mib = 100).await;
    let mut restarts = lab.pool.restarts();
    let first = metric(&lab.run(json!({"action": "ok"})).await.unwrap(), "pid");
    let leaky = metric(&lab.run(json!({"action": "leak", "mib": 200})).await.unwrap(), "pid");
    let next = metric(&lab.run(json!({"action": "ok"})).await.unwrap(), "pid");
    assert_eq!(first, leaky);
    assert_ne!(leaky, next);
    assert_eq!(restarts.recv().await.unwrap().reason, RestartReason::Leaked);
}

#[tokio::test]
async fn warm_executors_serve_again_and_fresh_ones_once() {
    let pids = async |fresh| {
        let lab = Lab::with(|options| options.fresh = fresh).await;
        let mut pids = Vec::new();
        for _ in 0..2 {
            pids.push(metric(&lab.run(json!({"action": "ok"})).await.unwrap(), "pid"));
        }
        pids
    };
    let (warm, fresh) = (pids(false).await, pids(true).await);
    assert_eq!(warm[0], warm[1]);
    assert_ne!(fresh[0], fresh[1]);
}

#[tokio::test]
async fn a_run_that_nobody_waits_for_is_ended_and_its_slot_is_free() {
    let lab = Lab::new().await;
    let mut restarts = lab.pool.restarts();
    let mut slot = lab.pool.acquire().await;
    let number = slot.pid().unwrap();
    let (sender, started) = tokio::sync::oneshot::channel();
    let mut sender = Some(sender);
    let on_note = Box::new(move |_| {
        if let Some(sender) = sender.take() {
            sender.send(()).unwrap();
        }
    });
    let watch = Watch { on_note, ..Watch::default() };
    tokio::select! {
        _ = lab.run_in(&mut slot, "run", json!({"action": "hang"}), watch) => panic!("it hangs"),
        _ = started => {}
    }
    drop(slot);
    wait_gone(number);
    assert_eq!(restarts.recv().await.unwrap().reason, RestartReason::Abandoned);
    lab.run(json!({"action": "ok"})).await.unwrap();
}

#[tokio::test]
async fn children_of_a_lost_executor_go_with_it() {
    let lab = Lab::new().await;
    let child = metric(&lab.run(json!({"action": "orphan"})).await.unwrap(), "child");
    let child = u32::try_from(child.as_u64().unwrap()).unwrap();
    assert!(test_kill_process(pid(child)).is_ok());
    assert_eq!(lab.fails(json!({"action": "segfault"})).await.code, ErrorCode::ExecutorCrashed);
    wait_gone(child);
}

#[tokio::test]
async fn slots_work_side_by_side_and_a_third_job_waits() {
    let slot = SlotOptions { device: "cpu".into(), threads: 1 };
    let lab = Lab::with(|options| options.slots = vec![slot.clone(), slot]).await;
    let (mut a, mut b) = (lab.pool.acquire().await, lab.pool.acquire().await);
    assert_ne!(a.pid(), b.pid());
    assert_eq!((a.index(), b.index(), lab.pool.free_slots()), (0, 1, 0));
    let third = lab.pool.acquire();
    tokio::pin!(third);
    assert!(futures::poll!(&mut third).is_pending());
    // Both must be under way at once for either to end.
    let barrier = std::sync::Arc::new(tokio::sync::Barrier::new(3));
    let watch = || {
        let (mut watch, barrier) = (Watch::default(), barrier.clone());
        let (cancel, mut met) = (watch.cancel.clone(), false);
        watch.on_note = Box::new(move |_| {
            if !std::mem::replace(&mut met, true) {
                let (barrier, cancel) = (barrier.clone(), cancel.clone());
                tokio::spawn(async move {
                    barrier.wait().await;
                    cancel.cancel();
                });
            }
        });
        watch
    };
    let params = || json!({"action": "slow", "secs": 60.0});
    let runs = futures::future::join3(
        lab.run_in(&mut a, "a", params(), watch()),
        lab.run_in(&mut b, "b", params(), watch()),
        barrier.wait(),
    );
    let (first, second, _) = runs.await;
    assert_eq!((first.unwrap_err().code, second.unwrap_err().code), (ErrorCode::Cancelled, ErrorCode::Cancelled));
    drop(b);
    assert_eq!(third.await.index(), 1);
}

#[tokio::test]
async fn the_prober_checks_plans_and_probes_without_a_slot() {
    let lab = Lab::new().await;
    let _busy = lab.pool.acquire().await;
    lab.pool.check("fault", &json!({"action": "ok"})).await.unwrap();
    let (ok, limits) = (json!({"action": "ok", "mib": 7}), Limits::default());
    let plan = lab.pool.plan("fault", &ok, &Inputs::default(), &limits).await.unwrap();
    assert_eq!(plan.host_mib, 7);
    // What is remembered of one is no answer to another.
    let larger = json!({"action": "ok", "mib": 8});
    let plan = lab.pool.plan("fault", &larger, &Inputs::default(), &limits).await.unwrap();
    assert_eq!(plan.host_mib, 8);
    assert_eq!(lab.pool.plan("copy", &json!({}), &Inputs::default(), &limits).await.unwrap().host_mib, 0);
    let unknown = lab.pool.check("fault", &json!({"action": "ok", "colour": 1})).await.unwrap_err();
    assert_eq!(unknown.code, ErrorCode::ParamsInvalid);
    assert!(unknown.message.contains("colour"), "{unknown}");
    let nobody = lab.pool.check("nobody", &json!({})).await.unwrap_err();
    assert_eq!(nobody.code, ErrorCode::HandlerUnknown);
    assert!(nobody.message.contains("fault"), "{nobody}");

    let job = lab.pool.job_scratch("probe").unwrap();
    let text = job.input("text.mp4");
    std::fs::write(&text, "this is no video\n".repeat(100)).unwrap();
    let inputs = Inputs([("video".to_owned(), vec![text])].into());
    let error = lab.pool.plan("fault", &ok, &inputs, &limits).await.unwrap_err();
    assert_eq!(error.code, ErrorCode::InputNotMedia, "{error}");
}

#[tokio::test]
async fn a_killed_prober_is_replaced() {
    let lab = Lab::new().await;
    let mut restarts = lab.pool.restarts();
    let number = lab.pool.shared.prober.lock().await.as_ref().unwrap().pid();
    let copy = async || lab.pool.plan("copy", &json!({}), &Inputs::default(), &Limits::default()).await;
    let plan = copy().await.unwrap();
    kill_process(pid(number), Signal::KILL).unwrap();
    assert_eq!(copy().await, Ok(plan), "no prober is needed for what is remembered");
    let error = lab.pool.check("fault", &json!({"action": "ok"})).await.unwrap_err();
    assert_eq!(error.code, ErrorCode::ExecutorCrashed);
    assert_eq!(restarts.recv().await.unwrap(), Restart { slot: None, reason: RestartReason::Crashed });
    lab.pool.check("fault", &json!({"action": "ok"})).await.unwrap();
}
