//! On a real queue and a real store.

use serde_json::Map;

use super::*;
use crate::job::record::Claim;
use crate::job::testing::{Ground, place};
use crate::queue::{Settled, Settlement};
use crate::store::scripted::{Request, answer, listen};
use crate::store::{HttpsConfig, Web};
use crate::trigger::{InputRef, Origin};

struct Lab {
    ground: Ground,
    stores: Stores,
    state: Place,
}

impl Lab {
    async fn new() -> Lab {
        let ground = Ground::new().await;
        Lab { stores: ground.stores(), ground, state: place("state") }
    }

    fn redriver(&self) -> Redriver<'_> {
        Redriver { queue: &*self.ground.queue, stores: &self.stores, state: &self.state }
    }

    async fn put(&self, content: &str) {
        self.ground.put("in/a b+%.mp4", content).await;
    }

    async fn submission(&self) -> Submission {
        let object = self.stores.pin(&ObjectRef::new("main", "uploads", "in/a b+%.mp4")).await.unwrap();
        Submission {
            submission_id: "first".into(),
            origin: Origin::Upload,
            handler: "matting".into(),
            params: Map::from_iter([("format".into(), "png".into())]),
            inputs: vec![InputRef { role: "video".into(), object }],
            destination: Place { prefix: "m/".into(), ..place("results") },
            reference: Some("order 17".into()),
            deadline_secs: Some(60),
            rerun: None,
            submitted_at: Timestamp::now(),
        }
    }

    async fn end(&self, submission: &Submission, outcome: Outcome) -> (JobId, Record) {
        self.end_with(submission, outcome, None, true).await
    }

    async fn end_with(
        &self,
        submission: &Submission,
        outcome: Outcome,
        error: Option<ErrorCode>,
        is_final: bool,
    ) -> (JobId, Record) {
        self.ground.attempt(submission, Timestamp::now(), outcome, error, is_final).await;
        let record = self.ground.record(submission);
        (record.job().clone(), record)
    }
}

#[tokio::test]
async fn a_job_without_a_letter_is_asked_for_again_as_its_record_knows_it() {
    let lab = Lab::new().await;
    lab.put("one").await;
    let submission = lab.submission().await;
    let (job, record) = lab.end(&submission, Outcome::Cancelled).await;
    record.cancel(Timestamp::now()).await.unwrap();
    let id = lab.redriver().job(&job).await.unwrap();
    assert_eq!(lab.redriver().job(&job).await.unwrap(), id, "asked for twice, sent once");
    assert_eq!(lab.ground.queue.depth().await.unwrap().visible, 1);
    let delivery = lab.ground.take().await;
    assert_eq!(delivery.message_id, id);
    let message: JobMessage = serde_json::from_slice(&delivery.body).unwrap();
    message.check().unwrap();
    assert_eq!(message.inputs.unwrap()["video"].as_slice(), ["s3://uploads/in/a b+%.mp4"]);
    assert_eq!((message.output.as_str(), message.params), ("s3://results/m/", submission.params.clone()));
    assert_eq!((message.reference.as_deref(), message.deadline_secs), (Some("order 17"), Some(60)));

    // It is known all the while, and the next attempt counts from zero.
    let history = record.history().await.unwrap();
    assert_eq!((history.counted(), history.latest().unwrap().number, history.is_cancelled), (0, 1, false));
    let (_, claim) = lab.ground.claim(&submission, Timestamp::now()).await;
    assert!(matches!(claim, Claim::Won(won) if (won.attempt, won.counted) == (2, 1)));
    assert!(matches!(lab.redriver().job(&job).await, Err(Error::Live { .. })), "a worker is at it");
}

#[tokio::test]
async fn what_cannot_run_again_is_told_and_left_alone() {
    let lab = Lab::new().await;
    lab.put("one").await;
    let submission = lab.submission().await;
    let unknown = JobId::of(&submission).unwrap();
    assert!(matches!(lab.redriver().job(&unknown).await, Err(Error::Unrecorded(_))));
    let (job, record) = lab.end(&submission, Outcome::Failed).await;
    lab.put("two").await;
    let Err(Error::Job(error)) = lab.redriver().job(&job).await else { panic!("it is another job now") };
    assert_eq!(error.code, ErrorCode::InputChanged);
    assert_eq!(record.history().await.unwrap().redriven_to, 0);
    assert_eq!(lab.ground.queue.depth().await.unwrap().visible, 0);
}

#[tokio::test]
async fn a_job_between_attempts_gets_no_second_message() {
    let lab = Lab::new().await;
    lab.put("one").await;
    let cases = [
        (Outcome::Failed, ErrorCode::ExecutorCrashed, false),
        (Outcome::Interrupted, ErrorCode::Interrupted, false),
        // Nothing comes again of an upload that was replaced, even if the same content is back.
        (Outcome::Interrupted, ErrorCode::InputChanged, true),
    ];
    for (n, (outcome, code, is_sent)) in cases.into_iter().enumerate() {
        let submission = Submission { rerun: Some(n.to_string()), ..lab.submission().await };
        let (job, record) = lab.end_with(&submission, outcome, Some(code), false).await;
        let before = lab.ground.queue.depth().await.unwrap().visible;
        match lab.redriver().job(&job).await {
            Err(error @ Error::BetweenAttempts { attempt: 1, .. }) => {
                assert!(!is_sent && !error.is_outage(), "{error}")
            }
            sent => assert!(is_sent && sent.is_ok(), "{code}: {sent:?}"),
        }
        let redriven_to = record.history().await.unwrap().redriven_to;
        assert_eq!(
            (lab.ground.queue.depth().await.unwrap().visible - before, redriven_to),
            (u64::from(is_sent), u32::from(is_sent))
        );
        if !is_sent {
            // What a person cancels may be redriven: its message may have been taken away.
            record.cancel(Timestamp::now()).await.unwrap();
            lab.redriver().job(&job).await.unwrap();
        }
    }
}

#[tokio::test]
async fn a_letter_brings_all_its_jobs_back_and_no_letter_is_left_out() {
    let lab = Lab::new().await;
    let mut jobs = Vec::new();
    for rerun in ["a", "b"] {
        lab.put("one").await;
        let submission = Submission { rerun: Some(rerun.into()), ..lab.submission().await };
        jobs.push(lab.end(&submission, Outcome::Failed).await);
    }
    let ids: Vec<JobId> = jobs.iter().map(|(job, _)| job.clone()).collect();
    let error = JobError::new(ErrorCode::InputCorrupt, "x").with_detail(json!({ "frame": 7 }));
    for (n, named) in (0..PAGE + 3).map(|n| (n, if n == 0 { &ids[..] } else { &[] })) {
        lab.ground.queue.send(&n.to_string(), SendOptions::default()).await.unwrap();
        let settlement = Settlement::DeadLetter { reason: reason(error.clone(), named) };
        assert_eq!(lab.ground.queue.settle(lab.ground.take().await.receipt, settlement).await.unwrap(), Settled::Done);
    }
    let letters = dead_letters(&*lab.ground.queue, usize::MAX, |letter| Letter::from(letter)).await.unwrap();
    assert_eq!(letters.len(), PAGE + 3, "page by page");
    assert_eq!(letters.iter().filter(|letter| letter.jobs == ids).count(), 1);
    assert_eq!(dead_letters(&*lab.ground.queue, 7, |_| ()).await.unwrap().len(), 7);
    let kept = lab.ground.queue.dead_letters(1, None).await.unwrap().remove(0).reason.unwrap().detail.unwrap();
    assert_eq!(kept["frame"], 7, "what the error told is kept");

    let mut done = BTreeSet::new();
    for letter in &letters {
        assert!(lab.redriver().letter(letter, &mut done).await.unwrap());
    }
    assert_eq!(done.len(), 2);
    assert!(!lab.redriver().letter(&letters[0], &mut done).await.unwrap(), "it is no letter any more");
    assert_eq!(lab.ground.queue.depth().await.unwrap().visible, (PAGE + 3) as u64);
    for (_, record) in jobs {
        assert_eq!(record.history().await.unwrap().redriven_to, 1);
    }
}

#[tokio::test]
async fn a_letter_with_a_damaged_record_stays_and_holds_up_no_other() {
    let lab = Lab::new().await;
    lab.put("one").await;
    let (good, _) = lab.end(&lab.submission().await, Outcome::Failed).await;
    let damaged: JobId = "b".repeat(52).parse().unwrap();
    lab.ground.running.store.put_bytes("state", &format!("{damaged}/attempt-1.json"), "{".into(), "x/y").await.unwrap();
    let mut sent = Vec::new();
    for job in [&damaged, &good] {
        lab.ground.queue.send(job.as_str(), SendOptions::default()).await.unwrap();
        let settlement = Settlement::DeadLetter {
            reason: reason(JobError::new(ErrorCode::Internal, "x"), std::slice::from_ref(job)),
        };
        let delivery = lab.ground.take().await;
        assert_eq!(lab.ground.queue.settle(delivery.receipt, settlement).await.unwrap(), Settled::Done);
        sent.push(Letter { message_id: delivery.message_id, jobs: vec![job.clone()] });
    }
    let mut done = BTreeSet::new();
    let error = lab.redriver().letter(&sent[0], &mut done).await.unwrap_err();
    assert!(!error.is_outage() && error.to_string().contains(damaged.as_str()), "{error}");
    assert!(lab.redriver().letter(&sent[1], &mut done).await.unwrap());
    let depth = lab.ground.queue.depth().await.unwrap();
    assert_eq!((depth.dead, depth.visible), (1, 1));
}

#[tokio::test]
async fn a_job_whose_input_had_a_signed_url_is_not_sent_again_from_its_record() {
    let (address, _requests) = listen(|_: &Request| answer("403 Forbidden", "content-length: 0", "")).await;
    let host = address.trim_start_matches("http://");
    let config = HttpsConfig { hosts: vec![host.to_owned()], allow_private: true };
    let mut lab = Lab::new().await;
    lab.put("film").await;
    lab.stores = lab.stores.with_web(Web::open(&config, 9).unwrap());
    let mut submission = lab.submission().await;
    let signed = ObjectRef::new("http", host, "/a.mp4?sig=s3cret");
    submission.inputs[0].object = ObjectRef { etag: Some("e1".into()), ..signed };
    let (job, _) = lab.end(&submission, Outcome::Cancelled).await;
    let Err(Error::Job(error)) = lab.redriver().job(&job).await else { panic!("it was sent") };
    assert_eq!(error.code, ErrorCode::InputChanged);
    assert!(error.message.contains("submit it again with its URL"), "{error}");
}
