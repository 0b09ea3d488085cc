//! On a real store.

use darkroom_api::JobError;
use serde_json::{Map, json};

use super::*;
use crate::job::JobId;
use crate::job::manifest::{Manifest, Schema, commit, run_place};
use crate::job::record::{Attempt, End, Outcome};
use crate::store::ObjectRef;
use crate::store::testing::TestStore;
use crate::trigger::{InputRef, Origin, Submission};

struct Lab {
    running: TestStore,
    collector: Collector,
}

fn place(bucket: &str, prefix: &str) -> Place {
    Place { store: "main".into(), bucket: bucket.into(), prefix: prefix.into() }
}

fn submission(name: &str) -> Submission {
    let object = ObjectRef { etag: Some(name.into()), ..ObjectRef::new("main", "uploads", "a.mp4") };
    Submission {
        submission_id: name.into(),
        origin: Origin::Upload,
        handler: "matting".into(),
        params: Map::new(),
        inputs: vec![InputRef { role: "video".into(), object }],
        destination: place("results", "m/"),
        reference: None,
        deadline_secs: None,
        rerun: None,
        submitted_at: Timestamp::UNIX_EPOCH,
    }
}

impl Lab {
    async fn new() -> Lab {
        let running = TestStore::start(&["results", "state"]).await;
        let stores = Stores::of(running.store.clone());
        let collector = Collector { stores, state: place("state", ""), min_age: Duration::ZERO, is_dry: false };
        Lab { running, collector }
    }

    /// A run of this job that has written two outputs; where they are.
    async fn run(&self, job: &JobId) -> (RunId, Place) {
        let run = RunId::new();
        let outputs = run_place(&place("results", "m/"), job, &run);
        for name in ["0.webm", "frames/1.png"] {
            self.put("results", &outputs.key(name), "four").await;
        }
        (run, outputs)
    }

    async fn put(&self, bucket: &str, key: &str, content: &'static str) {
        self.running.store.put_bytes(bucket, key, content.into(), "x/y").await.unwrap();
    }

    async fn attempt(&self, job: &JobId, submission: &Submission, run_id: &RunId, live_until: Timestamp) {
        let attempt = Attempt {
            number: 1,
            run_id: run_id.clone(),
            worker: "w".into(),
            claimed_at: live_until,
            live_until,
            submission: submission.clone(),
        };
        let key = format!("{job}/attempt-1.json");
        let json = serde_json::to_vec(&attempt).unwrap();
        self.running.store.put_bytes("state", &key, json.into(), "application/json").await.unwrap();
    }

    async fn wins(&self, job: &JobId, run_id: &RunId) {
        let manifest = Manifest {
            schema: Schema::V1,
            job_id: job.clone(),
            run_id: run_id.clone(),
            handler: "matting".into(),
            handler_version: "1".into(),
            inputs: vec![],
            params: json!({}),
            outputs: vec![],
            models: vec![],
            stages: vec![],
            metrics: Map::new(),
            timings: BTreeMap::new(),
            warnings: vec![],
            reference: None,
            created_at: Timestamp::now(),
        };
        let _ours = commit(&self.running.store, &place("results", "m/"), &manifest).await.unwrap();
    }

    /// Begins an upload and sends a part.
    async fn upload(&self, bucket: &str, key: &str) {
        let client = self.running.store.client();
        let id = client.create_multipart_upload().bucket(bucket).key(key).send().await.unwrap().upload_id.unwrap();
        let part = client.upload_part().bucket(bucket).key(key).upload_id(id).part_number(1);
        part.body("part".as_bytes().to_vec().into()).send().await.unwrap();
    }

    async fn sweep(&self) -> (Vec<String>, Swept) {
        let mut found = Vec::new();
        let mut tell = |_: &Swept, leftover: Option<&Leftover>| {
            found.extend(leftover.map(|leftover| match leftover {
                Leftover::Run { place, .. } | Leftover::Upload { place } => place.to_string(),
                Leftover::Unclear { place, .. } => format!("? {place}"),
            }));
            Ok::<_, JobError>(())
        };
        let swept = self.collector.places(&[place("results", "")], &mut tell).await.unwrap();
        found.sort();
        (found, swept)
    }

    async fn keys(&self) -> Vec<String> {
        let all = self.running.store.list(&place("results", ""), 100).await.unwrap();
        all.into_iter().map(|object| object.key).collect()
    }
}

fn job(name: &str) -> (JobId, Submission) {
    let submission = submission(name);
    (JobId::of(&submission).unwrap(), submission)
}

#[tokio::test]
async fn only_what_no_manifest_names_and_no_worker_holds_is_deleted() {
    let mut lab = Lab::new().await;
    let ((won, of_won), (dead, of_dead), (live, of_live)) = (job("won"), job("dead"), job("live"));
    let (damaged, _) = job("damaged");
    let long_ago = Timestamp::now() - SignedDuration::from_hours(1);
    let (winner, kept) = lab.run(&won).await;
    let (loser, lost) = lab.run(&won).await;
    lab.attempt(&won, &of_won, &loser, long_ago).await;
    lab.wins(&won, &winner).await;
    let (killed, left) = lab.run(&dead).await;
    lab.attempt(&dead, &of_dead, &killed, long_ago).await;
    let (working, in_use) = lab.run(&live).await;
    lab.attempt(&live, &of_live, &working, Timestamp::now() + SignedDuration::from_mins(1)).await;
    lab.run(&damaged).await;
    lab.put("state", &format!("{damaged}/attempt-1.json"), "{").await;
    // Nobody's, or not as runs name their outputs.
    let others = ["m/readme.txt".into(), format!("m/{dead}/notes.txt"), format!("m/{}/x/0.webm", killed)];
    for key in &others {
        lab.put("results", key, "x").await;
    }

    lab.collector.is_dry = true;
    let before = lab.keys().await;
    let (found, told) = lab.sweep().await;
    assert_eq!(lab.keys().await, before, "nothing is deleted unless it is asked for");
    let mut expected = [lost.to_string(), left.to_string(), format!("? s3://results/m/{damaged}/")];
    expected.sort();
    assert_eq!(found, expected);
    let looked_at = before.len() as u64;
    let same = Swept { looked_at, runs: 2, objects: 4, bytes: 16, uploads: 0, going_on: 1, unclear: 1 };
    assert_eq!(told, same);

    lab.collector.is_dry = false;
    assert_eq!(lab.sweep().await, (found, same));
    let gone = |key: &String| key.starts_with(&lost.prefix) || key.starts_with(&left.prefix);
    assert_eq!(lab.keys().await, before.into_iter().filter(|key| !gone(key)).collect::<Vec<_>>());
    assert!(lab.keys().await.iter().any(|key| key.starts_with(&kept.prefix)));
    assert!(lab.keys().await.iter().any(|key| key.starts_with(&in_use.prefix)));

    // Its worker dies as well, but not long enough ago.
    lab.attempt(&live, &of_live, &working, long_ago).await;
    lab.collector.min_age = Duration::from_secs(7200);
    assert_eq!((lab.sweep().await.1.runs, lab.sweep().await.1.going_on), (0, 3), "all is young");
    lab.collector.min_age = Duration::ZERO;
    assert!(lab.sweep().await.0.contains(&in_use.to_string()));
}

#[tokio::test]
async fn a_worker_that_was_heard_of_lately_is_waited_for() {
    let mut lab = Lab::new().await;
    let (job, submission) = job("silent");
    let run = RunId::new();
    lab.upload("results", &run_place(&place("results", "m/"), &job, &run).key("0.webm")).await;
    lab.upload("state", &format!("{job}/checkpoint/latest")).await;
    lab.upload("results", "somebody/elses.mov").await;
    lab.attempt(&job, &submission, &run, Timestamp::now() + SignedDuration::from_mins(1)).await;
    assert_eq!((lab.sweep().await.1.uploads, lab.sweep().await.1.going_on), (0, 2));
    let ended_at = Timestamp::now();
    let end = End { attempt: 1, run_id: run, outcome: Outcome::Failed, error: None, is_final: true, ended_at };
    let record = Record::new(lab.running.store.clone(), &place("state", ""), job);
    record.write_end(&end).await.unwrap();
    lab.collector.min_age = Duration::from_secs(3600);
    assert_eq!(lab.sweep().await.1.uploads, 0, "young");
    lab.collector.min_age = Duration::ZERO;
    assert_eq!(lab.sweep().await.1.uploads, 2);
    assert_eq!(lab.sweep().await.1.uploads, 0, "given up");
    let (left, _) = lab.running.store.unfinished(&place("results", ""), None).await.unwrap();
    assert_eq!(left.iter().map(|upload| upload.key.as_str()).collect::<Vec<_>>(), ["somebody/elses.mov"]);
}
