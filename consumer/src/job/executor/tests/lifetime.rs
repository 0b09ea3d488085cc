//! `kill -9`, on either side.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

use super::*;

#[tokio::test]
async fn kill_9_in_the_middle_is_a_crash_and_the_next_job_runs() {
    let lab = Lab::new().await;
    let mut slot = lab.pool.acquire().await;
    let number = slot.pid().unwrap();
    let on_note = Box::new(move |_| kill_process(pid(number), Signal::KILL).unwrap_or_default());
    let watch = Watch { on_note, ..Watch::default() };
    let error = lab.run_in(&mut slot, "run", json!({"action": "hang"}), watch).await.unwrap_err();
    assert_eq!(error.code, ErrorCode::ExecutorCrashed);
    assert!(error.message.contains("SIGKILL"), "{error}");
    assert_eq!(slot.pid(), None);
    lab.run_in(&mut slot, "next", json!({"action": "ok"}), Watch::default()).await.unwrap();
}

#[tokio::test]
async fn an_executor_killed_between_jobs_costs_one_attempt() {
    let lab = Lab::new().await;
    let number = lab.pool.acquire().await.pid().unwrap();
    kill_process(pid(number), Signal::KILL).unwrap();
    wait_gone(number);
    assert_eq!(lab.fails(json!({"action": "ok"})).await.code, ErrorCode::ExecutorCrashed);
    lab.run(json!({"action": "ok"})).await.unwrap();
}

#[tokio::test]
async fn an_orderly_shutdown_leaves_no_process_and_no_scratch() {
    let Lab { dir, pool } = Lab::new().await;
    let number = pool.acquire().await.pid().unwrap();
    pool.shutdown().await;
    wait_gone(number);
    let left: Vec<PathBuf> = tree(&dir.path().join("scratch"));
    assert_eq!(left, [dir.path().join("scratch/.lock")]);
}

const HELPER: &str = "DARKROOM_TEST_CONSUMER";

/// Not a test of its own: the other half of the next one, in a process of its own.
#[tokio::test]
async fn consumer_to_be_killed() {
    if std::env::var_os(HELPER).is_none() {
        return;
    }
    let lab = Lab::new().await;
    let mut slot = lab.pool.acquire().await;
    let number = slot.pid().unwrap();
    let on_note = Box::new(move |_| eprintln!("executor {number} runs"));
    lab.run_in(&mut slot, "run", json!({"action": "hang"}), Watch { on_note, ..Watch::default() }).await.unwrap();
}

#[test]
fn executors_die_with_a_consumer_that_is_killed() {
    let name = "job::executor::tests::lifetime::consumer_to_be_killed";
    let mut consumer = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", name, "--nocapture"])
        .env(HELPER, "1")
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(consumer.stderr.take().unwrap()).lines().map(std::io::Result::unwrap);
    let line = lines.find(|line| line.starts_with("executor ")).expect("the helper starts an executor");
    let number: u32 = line.split(' ').nth(1).unwrap().parse().unwrap();
    assert!(test_kill_process(pid(number)).is_ok());
    consumer.kill().unwrap();
    consumer.wait().unwrap();
    wait_gone(number);
}
