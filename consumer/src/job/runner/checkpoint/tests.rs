use std::sync::Arc;
use std::time::Instant;

use jiff::Timestamp;

use super::super::FORCED_GRACE;
use super::*;
use crate::event::{JobFacts, Publisher};
use crate::job::record::{Record, Won};
use crate::job::{JobId, RunId};
use crate::store::testing::TestStore;
use crate::store::{Place, Store, scripted};
use crate::telemetry::{Metrics, Telemetry};
use crate::trigger::{Origin, Submission};

fn place(bucket: &str) -> Place {
    Place { store: "main".into(), bucket: bucket.into(), prefix: String::new() }
}

fn submission() -> Submission {
    Submission {
        submission_id: "s-1".into(),
        origin: Origin::Message,
        handler: "matting".into(),
        params: serde_json::Map::new(),
        inputs: Vec::new(),
        destination: place("results"),
        reference: None,
        deadline_secs: None,
        rerun: None,
        submitted_at: Timestamp::UNIX_EPOCH,
    }
}

/// A claimed attempt whose record is in this store.
fn case<'a>(submission: &'a Submission, store: &Store) -> Case<'a> {
    let metrics = Arc::new(Metrics::new());
    let publisher = Publisher::new(Vec::new(), Duration::from_secs(1), Arc::clone(&metrics));
    let job = JobId::of(submission).unwrap();
    Case {
        submission,
        job: job.clone(),
        record: Record::new(store.clone(), &place("state"), job.clone()),
        run_id: RunId::new(),
        won: Won { attempt: 2, counted: 2, budget_from: Timestamp::UNIX_EPOCH, checkpoint_bytes: Some(3) },
        telemetry: Telemetry::new(metrics, Arc::new(publisher)).job(JobFacts::of(submission, &job, Some(2))),
        results: store.clone(),
        has_checkpoint: true.into(),
        may_be_committed: false.into(),
    }
}

fn error(code: ErrorCode) -> JobError {
    JobError::new(code, "x")
}

#[tokio::test]
async fn a_checkpoint_that_a_resumed_run_died_of_goes() {
    let running = TestStore::start(&["state"]).await;
    let (submission, folder, stop) = (submission(), tempfile::tempdir().unwrap(), Stop::default());
    let case = case(&submission, &running.store);
    let (old, new) = (folder.path().join("old"), folder.path().join("new"));
    std::fs::write(&old, "old").unwrap();
    std::fs::write(&new, "newer").unwrap();
    // How the attempt ended, whether it was resumed, what it offered, and what is kept then.
    let ends = [
        (ErrorCode::ExecutorCrashed, true, None, None),
        (ErrorCode::ExecutorCrashed, false, None, Some(3)),
        (ErrorCode::StoreUnavailable, true, None, Some(3)),
        (ErrorCode::ExecutorCrashed, true, Some(&new), Some(5)),
    ];
    for (code, is_resumed, offer, kept) in ends {
        case.record.save_checkpoint(&old).await.unwrap();
        let (_offers, offered) = watch::channel(offer.cloned());
        Keeper::new(&case, &stop, offered, is_resumed).finish(&error(code)).await;
        assert_eq!(case.record.history().await.unwrap().checkpoint_bytes, kept, "{code:?}, {is_resumed}, {offer:?}");
    }
}

#[tokio::test]
async fn an_interrupted_run_does_not_wait_for_a_slow_store_and_writes_nothing_once_its_lease_is_lost() {
    let (store, mut requests) = scripted::store(|_| scripted::Answer::Hang).await;
    let (submission, folder, stop) = (submission(), tempfile::tempdir().unwrap(), Stop::default());
    let case = case(&submission, &store);
    let file = folder.path().join("checkpoint");
    std::fs::write(&file, "frame 7").unwrap();
    stop.because(ErrorCode::Interrupted);
    let (_offers, offered) = watch::channel(Some(file));
    let begun = Instant::now();
    Keeper::new(&case, &stop, offered.clone(), false).finish(&error(ErrorCode::Interrupted)).await;
    assert!(begun.elapsed() < FORCED_GRACE / 2, "{:?}", begun.elapsed());
    assert!(requests.recv().await.unwrap().line.starts_with("PUT "));

    while requests.try_recv().is_ok() {}
    stop.because(ErrorCode::LeaseLost);
    Keeper::new(&case, &stop, offered, false).finish(&error(ErrorCode::Interrupted)).await;
    assert!(requests.try_recv().is_err());
}
