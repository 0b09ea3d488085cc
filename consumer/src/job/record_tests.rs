//! Claims, ends and manifests on a real store.

use std::collections::BTreeMap;
use std::sync::Arc;

use darkroom_api::{ErrorCode, JobError};
use jiff::{Timestamp, ToSpan};
use serde_json::{Map, json};
use tokio::sync::Barrier;

use super::manifest::{Committed, Manifest, ManifestOutput, Schema, commit, delete_run, run_place};
use super::record::{Claim, ClaimRequest, End, Listing, Outcome, Record, State, Status, Won, list_jobs};
use super::{History, JobId, RunId};
use crate::store::scripted::forgetful;
use crate::store::testing::TestStore;
use crate::store::{ObjectRef, Place, Store};
use crate::trigger::{InputRef, Origin, Submission};

const BUCKETS: [&str; 2] = ["records", "results"];

fn place(bucket: &str, prefix: &str) -> Place {
    Place { store: "main".into(), bucket: bucket.into(), prefix: prefix.into() }
}

/// A submission that is a job of its own.
fn submission(name: &str) -> Submission {
    let object = ObjectRef { etag: Some(name.into()), ..ObjectRef::new("main", "uploads", "in/a.mp4") };
    Submission {
        submission_id: "s-1".into(),
        origin: Origin::Message,
        handler: "matting".into(),
        params: Map::new(),
        inputs: vec![InputRef { role: "video".into(), object }],
        destination: place("results", "matting/"),
        reference: None,
        deadline_secs: None,
        rerun: None,
        submitted_at: Timestamp::UNIX_EPOCH,
    }
}

struct Worker {
    store: Store,
    record: Record,
    submission: Submission,
    run_id: RunId,
}

impl Worker {
    fn new(store: &Store, name: &str) -> Self {
        let submission = submission(name);
        let job = JobId::of(&submission).unwrap();
        let record = Record::new(store.clone(), &place("records", "state/"), job);
        Worker { store: store.clone(), record, submission, run_id: RunId::new() }
    }

    async fn claim(&self, now: Timestamp) -> Claim {
        let request = ClaimRequest {
            run_id: &self.run_id,
            worker: "w",
            submission: &self.submission,
            max_attempts: 2,
            now,
            live_until: now + 30.seconds(),
        };
        self.record.claim(&self.store, &request).await.unwrap()
    }

    async fn end(&self, attempt: u32, outcome: Outcome, code: Option<ErrorCode>, is_final: bool) {
        let error = code.map(|code| JobError::new(code, "said"));
        let end = End { attempt, run_id: self.run_id.clone(), outcome, error, is_final, ended_at: Timestamp::now() };
        self.record.write_end(&end).await.unwrap();
    }

    fn manifest(&self) -> Manifest {
        let place = run_place(&self.submission.destination, self.record.job(), &self.run_id);
        Manifest {
            schema: Schema::V1,
            job_id: self.record.job().clone(),
            run_id: self.run_id.clone(),
            handler: "matting".into(),
            handler_version: "1".into(),
            inputs: self.submission.inputs.clone(),
            params: json!({"format": "webm-alpha"}),
            outputs: vec![ManifestOutput {
                bucket: place.bucket.clone(),
                key: place.key("a.webm"),
                bytes: 3,
                sha256: "00".into(),
                media_type: "video/webm".into(),
            }],
            models: vec![],
            stages: vec![],
            metrics: Map::new(),
            timings: BTreeMap::from([("run".into(), 1.5)]),
            warnings: vec![],
            reference: None,
            created_at: Timestamp::UNIX_EPOCH,
        }
    }

    async fn write_output(&self) {
        for output in self.manifest().outputs {
            self.store.put_bytes(&output.bucket, &output.key, "abc".into(), &output.media_type).await.unwrap();
        }
    }

    async fn commit(&self) -> Committed {
        commit(&self.store, &self.submission.destination, &self.manifest()).await.unwrap()
    }
}

async fn redrive(record: &Record) {
    record.redrive(&record.history().await.unwrap()).await.unwrap();
}

fn attempt(claim: Claim) -> (u32, u32) {
    match claim {
        Claim::Won(Won { attempt, counted, .. }) => (attempt, counted),
        other => panic!("not won: {other:?}"),
    }
}

#[tokio::test]
async fn of_many_workers_one_claims() {
    let running = TestStore::start(&BUCKETS).await;
    let barrier = Arc::new(Barrier::new(6));
    let claims = (0..6).map(|_| {
        let (worker, barrier) = (Worker::new(&running.store, "race"), barrier.clone());
        tokio::spawn(async move {
            barrier.wait().await;
            worker.claim(Timestamp::now()).await
        })
    });
    let claims = futures::future::try_join_all(claims).await.unwrap();
    assert_eq!(claims.iter().filter(|claim| matches!(claim, Claim::Won(_))).count(), 1, "{claims:?}");
    assert_eq!(claims.iter().filter(|claim| matches!(claim, Claim::Live { .. })).count(), 5, "{claims:?}");
}

#[tokio::test]
async fn attempts_follow_each_other_until_there_is_a_manifest() {
    let running = TestStore::start(&BUCKETS).await;
    let (first, second) = (Worker::new(&running.store, "story"), Worker::new(&running.store, "story"));
    let start = Timestamp::now();
    assert_eq!(attempt(first.claim(start).await), (1, 1));
    let status = Status {
        attempt: 1,
        run_id: first.run_id.clone(),
        state: State::Running,
        stage: Some("decode".into()),
        percent: Some(12.5),
        live_until: start + 60.seconds(),
        updated_at: start,
    };
    first.record.write_status(&status).await.unwrap();
    assert_eq!(second.claim(start + 59.seconds()).await, Claim::Live { until: status.live_until });

    // Interrupted, then crashed without a word: the first does not count, the second does.
    first.end(1, Outcome::Interrupted, None, false).await;
    let later = start + 100.seconds();
    let Claim::Won(won) = second.claim(later).await else { panic!("not won") };
    assert_eq!((won.attempt, won.counted, won.checkpoint_bytes), (2, 1, None));
    assert!((won.budget_from - later).get_seconds().abs() <= 1, "the interrupted attempt costs no budget");
    let third = Worker::new(&running.store, "story");
    let folder = tempfile::TempDir::new().unwrap();
    let (kept, back) = (folder.path().join("kept"), folder.path().join("back"));
    for content in ["frame 7", "frame 14"] {
        std::fs::write(&kept, content).unwrap();
        third.record.save_checkpoint(&kept).await.unwrap();
    }
    third.record.load_checkpoint(&back, 100).await.unwrap();
    assert_eq!(std::fs::read_to_string(&back).unwrap(), "frame 14");
    let Claim::Won(won) = third.claim(later + 30.seconds()).await else { panic!("not won") };
    assert_eq!((won.attempt, won.counted, won.checkpoint_bytes), (3, 2, Some(8)));
    third.record.drop_checkpoint().await.unwrap();
    assert_eq!(third.record.history().await.unwrap().checkpoint_bytes, None);

    third.write_output().await;
    assert_eq!(third.commit().await, Committed::Ours);
    assert_eq!(third.commit().await, Committed::Ours, "a repeated commit knows itself");
    // The zombie of attempt 2 comes late: it changes nothing and takes only its own outputs away.
    second.write_output().await;
    let Committed::Theirs(theirs) = second.commit().await else { panic!("two winners") };
    assert_eq!(*theirs, third.manifest());
    let results = place_of_job(&second);
    assert_eq!(running.store.list(&results, 10).await.unwrap().len(), 3);
    delete_run(&second.store, &second.submission.destination, second.record.job(), &second.run_id).await.unwrap();
    let left: Vec<_> = running.store.list(&results, 10).await.unwrap().into_iter().map(|o| o.key).collect();
    assert_eq!(left, [third.manifest().outputs[0].key.clone(), results.key("manifest.json")]);
    assert_eq!(second.claim(later).await, Claim::Completed(Box::new(third.manifest())));
}

fn place_of_job(worker: &Worker) -> Place {
    let destination = &worker.submission.destination;
    Place { prefix: destination.key(&format!("{}/", worker.record.job())), ..destination.clone() }
}

#[tokio::test]
async fn a_failed_job_stays_failed_until_it_is_redriven() {
    let running = TestStore::start(&BUCKETS).await;
    let worker = Worker::new(&running.store, "failed");
    let now = Timestamp::now();
    assert_eq!(attempt(worker.claim(now).await), (1, 1));
    worker.end(1, Outcome::Failed, Some(ErrorCode::StoreUnavailable), false).await;
    assert_eq!(attempt(worker.claim(now).await), (2, 2));
    worker.end(2, Outcome::Failed, Some(ErrorCode::ExecutorCrashed), false).await;
    // As if more attempts had been allowed when the last one ended: that was no final end, so another one says it.
    let Claim::Exhausted { last: 3, error } = worker.claim(now).await else { panic!("not exhausted") };
    assert_eq!(error.code, ErrorCode::ExecutorCrashed);

    redrive(&worker.record).await;
    assert_eq!(attempt(worker.claim(now).await), (4, 1), "numbers go on, the count starts again");
    worker.end(4, Outcome::Failed, Some(ErrorCode::InputCorrupt), true).await;
    // What ended cannot end again.
    worker.end(4, Outcome::Completed, None, true).await;
    let Claim::Ended(end) = worker.claim(now).await else { panic!("not ended") };
    assert_eq!((end.attempt, end.outcome), (4, Outcome::Failed));
}

#[tokio::test]
async fn a_failed_job_starts_over_for_each_new_submission_once() {
    let running = TestStore::start(&BUCKETS).await;
    let asks = |id: &str| {
        let mut worker = Worker::new(&running.store, "asked again");
        worker.submission.submission_id = id.into();
        worker
    };
    let now = Timestamp::now();
    let first = asks("first");
    assert_eq!(attempt(first.claim(now).await), (1, 1));
    first.end(1, Outcome::Failed, Some(ErrorCode::InputCorrupt), true).await;
    assert!(matches!(asks("first").claim(now).await, Claim::Ended(_)), "a duplicate");

    // Several ask again at once: one of them is served, the others wait.
    let barrier = Arc::new(Barrier::new(5));
    let claims = (0..5).map(|n| {
        let (worker, barrier) = (asks(&format!("again {n}")), barrier.clone());
        tokio::spawn(async move {
            barrier.wait().await;
            (worker.claim(now).await, worker)
        })
    });
    let mut claims = futures::future::try_join_all(claims).await.unwrap();
    let won = claims.iter().position(|(claim, _)| matches!(claim, Claim::Won(_))).unwrap();
    let (claim, winner) = claims.swap_remove(won);
    assert_eq!(attempt(claim), (2, 1), "numbers go on, the count starts again");
    assert!(claims.iter().all(|(claim, _)| matches!(claim, Claim::Live { .. })));

    // Its failure is told to those it served, before and after; the others have their own turn, each once.
    winner.end(2, Outcome::Failed, Some(ErrorCode::InputCorrupt), true).await;
    for known in [&first, &winner] {
        let Claim::Ended(end) = known.claim(now).await else { panic!("a known submission started it over") };
        assert_eq!(end.attempt, 2);
    }
    for (n, (_, other)) in (3..).zip(&claims) {
        assert_eq!(attempt(other.claim(now).await), (n, 1));
        other.end(n, Outcome::Failed, Some(ErrorCode::InputCorrupt), true).await;
    }
    for (_, known) in &claims {
        assert!(matches!(known.claim(now).await, Claim::Ended(_)));
    }
    let history = first.record.history().await.unwrap();
    assert_eq!((history.redriven_to, history.last_attempt(), history.counted()), (5, 6, 1));
}

#[tokio::test]
async fn a_redrive_voids_no_attempt_that_it_has_not_seen() {
    let running = TestStore::start(&BUCKETS).await;
    let worker = Worker::new(&running.store, "late redrive");
    let now = Timestamp::now();
    assert_eq!(attempt(worker.claim(now).await), (1, 1));
    worker.end(1, Outcome::Failed, Some(ErrorCode::StoreUnavailable), false).await;
    let seen = worker.record.history().await.unwrap();
    assert_eq!(attempt(worker.claim(now).await), (2, 2));
    worker.record.redrive(&seen).await.unwrap();
    let history = worker.record.history().await.unwrap();
    assert_eq!((history.redriven_to, history.counted()), (1, 1));
    assert!(matches!(worker.claim(now).await, Claim::Live { .. }), "attempt 2 runs on");
}

#[tokio::test]
async fn a_record_stays_small_however_often_its_job_starts_over() {
    let running = TestStore::start(&BUCKETS).await;
    let worker = Worker::new(&running.store, "often");
    let numbers: Vec<u32> = (1..=103).collect();
    for n in &numbers {
        let key = format!("state/{}/attempt-{n}.json", worker.record.job());
        running.store.put_bytes("records", &key, "{}".into(), "application/json").await.unwrap();
    }
    let seen = History { attempt_numbers: numbers, ..History::default() };
    worker.record.redrive(&seen).await.unwrap();
    let listed = running.store.list(&place("records", "state/"), 1000).await.unwrap();
    assert_eq!(listed.len(), 101, "a hundred attempts and the redrive");
    assert!(!listed.iter().any(|object| object.key.ends_with("/attempt-3.json")));
    assert!(listed.iter().any(|object| object.key.ends_with("/attempt-4.json")));
}

#[tokio::test]
async fn a_worker_that_died_in_its_last_attempt_leaves_a_failed_job() {
    let running = TestStore::start(&BUCKETS).await;
    let worker = Worker::new(&running.store, "silent");
    let now = Timestamp::now();
    for n in 1..=2 {
        assert_eq!(attempt(worker.claim(now + (i64::from(n) * 40).seconds()).await), (n, n));
    }
    let later = now + 200.seconds();
    let Claim::Exhausted { last: 2, error } = worker.claim(later).await else { panic!("not exhausted") };
    let Claim::Ended(end) = worker.claim(later).await else { panic!("not recorded") };
    assert_eq!((end.attempt, end.outcome, end.error), (2, Outcome::Failed, Some(error)));
}

#[tokio::test]
async fn a_checkpoint_outlives_neither_the_last_attempt_nor_a_redrive() {
    let running = TestStore::start(&BUCKETS).await;
    let worker = Worker::new(&running.store, "bad checkpoint");
    let folder = tempfile::TempDir::new().unwrap();
    let kept = folder.path().join("kept");
    std::fs::write(&kept, "kills who reads it").unwrap();
    let bytes = async || worker.record.history().await.unwrap().checkpoint_bytes;
    let now = Timestamp::now();
    for n in 1..=2 {
        assert_eq!(attempt(worker.claim(now + (i64::from(n) * 40).seconds()).await), (n, n));
        worker.record.save_checkpoint(&kept).await.unwrap();
    }
    assert!(matches!(worker.claim(now + 200.seconds()).await, Claim::Exhausted { .. }));
    assert_eq!(bytes().await, None, "of a job that its last worker died of");

    worker.record.save_checkpoint(&kept).await.unwrap();
    redrive(&worker.record).await;
    let Claim::Won(won) = worker.claim(now + 300.seconds()).await else { panic!("not won") };
    assert_eq!((won.attempt, won.counted, won.checkpoint_bytes), (3, 1, None));
}

#[tokio::test]
async fn a_cancelled_job_does_not_start_until_it_is_redriven() {
    let running = TestStore::start(&BUCKETS).await;
    let worker = Worker::new(&running.store, "cancelled");
    let now = Timestamp::now();
    assert!(!worker.record.is_cancelled().await.unwrap());
    worker.record.cancel(now).await.unwrap();
    assert!(worker.record.is_cancelled().await.unwrap());
    assert_eq!(worker.claim(now).await, Claim::Cancelled { last: 1 });
    let Claim::Ended(end) = worker.claim(now).await else { panic!("it has ended") };
    assert_eq!((end.attempt, end.outcome, end.is_final), (1, Outcome::Cancelled, true));
    redrive(&worker.record).await;
    assert_eq!(attempt(worker.claim(now).await), (2, 1));
}

#[tokio::test]
async fn a_job_cancelled_between_attempts_has_an_end() {
    let running = TestStore::start(&BUCKETS).await;
    let worker = Worker::new(&running.store, "between");
    let now = Timestamp::now();
    assert_eq!(attempt(worker.claim(now).await), (1, 1));
    worker.end(1, Outcome::Failed, Some(ErrorCode::ExecutorCrashed), false).await;
    worker.record.cancel(now).await.unwrap();
    // Two workers get its message at once.
    let others = [Worker::new(&running.store, "between"), Worker::new(&running.store, "between")];
    let (one, two) = tokio::join!(others[0].claim(now), others[1].claim(now));
    let first = Claim::Cancelled { last: 2 };
    assert!(one == first || two == first, "{one:?} {two:?}");
    let history = worker.record.history().await.unwrap();
    let end = history.ended().unwrap();
    assert_eq!((end.attempt, end.outcome, history.attempts.len()), (2, Outcome::Cancelled, 2), "who waits is told");
    assert!(others.iter().any(|other| other.run_id == end.run_id));
}

#[tokio::test]
async fn of_many_runs_one_commits() {
    let running = TestStore::start(&BUCKETS).await;
    let barrier = Arc::new(Barrier::new(6));
    let commits = (0..6).map(|_| {
        let (worker, barrier) = (Worker::new(&running.store, "commit"), barrier.clone());
        tokio::spawn(async move {
            barrier.wait().await;
            (worker.run_id.clone(), worker.commit().await)
        })
    });
    let commits = futures::future::try_join_all(commits).await.unwrap();
    let winners: Vec<_> = commits.iter().filter(|(_, committed)| *committed == Committed::Ours).collect();
    let [(winner, _)] = winners[..] else { panic!("{commits:?}") };
    let agree = |committed: &Committed| matches!(committed, Committed::Theirs(theirs) if theirs.run_id == *winner);
    assert_eq!(commits.iter().filter(|(_, committed)| agree(committed)).count(), 5);
}

#[tokio::test]
async fn jobs_are_listed_by_their_records() {
    let running = TestStore::start(&BUCKETS).await;
    let mut jobs = Vec::new();
    for name in ["one", "two", "three"] {
        let worker = Worker::new(&running.store, name);
        assert_eq!(attempt(worker.claim(Timestamp::now()).await), (1, 1));
        worker.record.cancel(Timestamp::now()).await.unwrap();
        jobs.push(worker.record.job().clone());
    }
    let state = place("records", "state/");
    running.store.put_bytes("records", "state/notes/x.txt", "x".into(), "text/plain").await.unwrap();
    // The one that was written to last comes first.
    jobs.reverse();
    let listing = list_jobs(&running.store, &state, 10).await.unwrap();
    assert_eq!(listing, Listing { jobs: jobs.clone(), is_cut: false });
    // Two objects a record: three show a part, and say so.
    let listing = list_jobs(&running.store, &state, 3).await.unwrap();
    assert!(listing.is_cut && (1..=2).contains(&listing.jobs.len()), "{listing:?}");
    assert!(listing.jobs.iter().all(|job| jobs.contains(job)));
}

#[tokio::test]
async fn damaged_records_are_told_not_guessed() {
    let running = TestStore::start(&BUCKETS).await;
    let worker = Worker::new(&running.store, "damaged");
    let key = format!("state/{}/attempt-1.json", worker.record.job());
    running.store.put_bytes("records", &key, "{".into(), "application/json").await.unwrap();
    let error = worker.record.history().await.unwrap_err();
    assert_eq!(error.code, ErrorCode::Internal);
    assert!(error.message.contains(&key), "{}", error.message);
}

#[tokio::test]
async fn a_write_whose_answer_was_lost_is_recognised_as_our_own() {
    let worker = Worker::new(&forgetful().await, "lost");
    assert_eq!(attempt(worker.claim(Timestamp::now()).await), (1, 1));
    assert_eq!(worker.commit().await, Committed::Ours);
    let other = Worker { run_id: RunId::new(), ..worker };
    assert!(matches!(other.commit().await, Committed::Theirs(_)));
}

#[tokio::test]
async fn the_query_of_an_input_from_the_web_is_not_recorded() {
    let running = TestStore::start(&BUCKETS).await;
    let mut worker = Worker::new(&running.store, "signed");
    let object = ObjectRef::new("https", "media.example.com", "/a.mp4?X-Amz-Signature=s3cret");
    worker.submission.inputs[0].object = ObjectRef { etag: Some("e1".into()), ..object };
    assert_eq!(attempt(worker.claim(Timestamp::now()).await), (1, 1));
    let key = format!("state/{}/attempt-1.json", worker.record.job());
    let recorded = running.store.get_bytes("records", &key, 1 << 20).await.unwrap().unwrap();
    let recorded = String::from_utf8(recorded.to_vec()).unwrap();
    assert!(recorded.contains("\"/a.mp4\"") && !recorded.contains("s3cret"), "{recorded}");
}
