//! What a record tells when it is read as a whole.

use darkroom_api::{ErrorCode, JobError};
use jiff::{SignedDuration, Timestamp};
use serde_json::json;

use super::claim::{Claim, ClaimRequest};
use super::entries::{Attempt, End, Outcome, Status};
use crate::trigger::{Origin, Submission};

/// All that is recorded of a job. Lists are in order of attempts and begin after the last redrive.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct History {
    /// Numbers of all attempts, also those before a redrive.
    pub attempt_numbers: Vec<u32>,
    /// Numbers of all attempts that ended.
    pub end_numbers: Vec<u32>,
    /// Attempts up to this one do not count.
    pub redriven_to: u32,
    /// Whether a user asked for cancellation.
    pub is_cancelled: bool,
    /// Whether there is a status.
    pub has_status: bool,
    /// Size of the checkpoint, where there is one.
    pub checkpoint_bytes: Option<u64>,
    /// Attempts.
    pub attempts: Vec<Attempt>,
    /// Ends.
    pub ends: Vec<End>,
    /// The last attempt before the last redrive, while none followed it.
    pub before: Option<Attempt>,
    /// Submissions that attempts before the last redrive served.
    pub answered: Vec<String>,
    /// The last status.
    pub status: Option<Status>,
}

impl History {
    /// What names alone tell. Names of other things are passed over.
    pub(super) fn from_names<'a>(names: impl Iterator<Item = &'a str>) -> Self {
        let mut history = History::default();
        let number = |name: &str, before: &str, after: &str| -> Option<u32> {
            name.strip_prefix(before)?.strip_suffix(after)?.parse().ok()
        };
        for name in names {
            if let Some(n) = number(name, "attempt-", ".json") {
                history.attempt_numbers.push(n);
            } else if let Some(n) = number(name, "end-", ".json") {
                history.end_numbers.push(n);
            } else if let Some(n) = number(name, "redrive-", "") {
                history.redriven_to = history.redriven_to.max(n);
            }
            history.is_cancelled |= name == "cancel";
            history.has_status |= name == "status.json";
        }
        // Listings sort `attempt-10` before `attempt-2`.
        history.attempt_numbers.sort_unstable();
        history.end_numbers.sort_unstable();
        history
    }

    /// Number of the last attempt, 0 before the first.
    pub fn last_attempt(&self) -> u32 {
        self.attempt_numbers.last().copied().unwrap_or(0)
    }

    /// The last attempt, whether it still counts or not.
    pub fn latest(&self) -> Option<&Attempt> {
        self.attempts.last().or(self.before.as_ref())
    }

    /// How the job ended, until it is redriven. Only the last attempt's word is final: an earlier one that speaks later
    /// had lost its lease.
    pub fn ended(&self) -> Option<&End> {
        self.last_end().filter(|end| end.is_final)
    }

    /// How the last attempt ended, finally or not, if it counts and has ended.
    pub(super) fn last_end(&self) -> Option<&End> {
        let last = self.last_attempt();
        self.ends.iter().find(|end| end.attempt == last)
    }

    /// Whether the upload was replaced before it was worked on. No other attempt is to come, though the record has no
    /// final end: the same content may return.
    pub fn is_superseded(&self) -> bool {
        self.last_end().is_some_and(|end| {
            let changed = end.error.as_ref().is_some_and(|error| error.code == ErrorCode::InputChanged);
            end.outcome == Outcome::Interrupted && changed
        })
    }

    /// How the last attempt ended, where its message comes again for the next one. If it was cancelled since, that
    /// one only says so.
    pub fn between_attempts(&self) -> Option<&End> {
        self.last_end().filter(|end| !end.is_final && !self.is_cancelled && !self.is_superseded())
    }

    /// Submissions that led to an attempt, each once, the latest last.
    pub(super) fn served(&self) -> Vec<String> {
        let mut served = self.answered.clone();
        for attempt in &self.attempts {
            let id = &attempt.submission.submission_id;
            served.retain(|other| other != id);
            served.push(id.clone());
        }
        served
    }

    /// Whether this refusal is a failure that the submission has no part in: somebody asks again, knowing of it or not.
    pub(super) fn is_asked_again(&self, refusal: &Claim, submission: &Submission) -> bool {
        let failed = match refusal {
            Claim::Ended(end) => end.outcome == Outcome::Failed,
            Claim::Exhausted { .. } => true,
            _ => false,
        };
        // The reconciler does not ask: what failed is for people to redrive.
        let is_asked = submission.origin != Origin::Reconciler;
        failed && is_asked && !self.served().contains(&submission.submission_id)
    }

    /// Attempts that count: since the last redrive, without those that were interrupted.
    pub fn counted(&self) -> u32 {
        let since = self.attempt_numbers.iter().filter(|n| **n > self.redriven_to && !self.was_interrupted(**n));
        u32::try_from(since.count()).unwrap_or(u32::MAX)
    }

    /// Whether an attempt has said how it ended.
    pub(super) fn was_ended(&self, attempt: u32) -> bool {
        self.end_numbers.contains(&attempt)
    }

    fn was_interrupted(&self, attempt: u32) -> bool {
        self.ends.iter().any(|end| end.attempt == attempt && end.outcome == Outcome::Interrupted)
    }

    /// From when `deadline_secs` runs: the first claim since the last redrive, later by the time from each interrupted
    /// attempt's claim to the next one's.
    pub fn budget_from(&self, now: Timestamp) -> Timestamp {
        let Some(first) = self.attempts.first() else { return now };
        let next = self.attempts.iter().skip(1).map(|attempt| attempt.claimed_at).chain([now]);
        let lost = self.attempts.iter().zip(next).filter(|(attempt, _)| self.was_interrupted(attempt.number));
        let lost = lost.map(|(attempt, next)| next.duration_since(attempt.claimed_at).as_secs().max(0)).sum::<i64>();
        first.claimed_at.checked_add(SignedDuration::from_secs(lost)).unwrap_or(now).min(now)
    }

    /// Until when the last attempt's worker is taken to live; `None` where it ended or there is none.
    pub fn live_until(&self) -> Option<Timestamp> {
        let last = self.attempts.last()?;
        if self.end_numbers.contains(&last.number) {
            return None;
        }
        let said = self.status.as_ref().filter(|status| status.run_id == last.run_id).map(|status| status.live_until);
        Some(said.unwrap_or(last.live_until))
    }

    /// Why no new attempt may be claimed, if so.
    pub(super) fn refusal(&self, request: &ClaimRequest<'_>) -> Option<Claim> {
        if let Some(end) = self.ended().filter(|end| end.outcome != Outcome::Completed) {
            return Some(Claim::Ended(Box::new(end.clone())));
        }
        if let Some(until) = self.live_until().filter(|until| *until > request.now) {
            return Some(Claim::Live { until });
        }
        let (attempts, last) = (self.counted(), self.last_attempt());
        if self.is_cancelled {
            return Some(Claim::Cancelled { last });
        }
        (attempts >= request.max_attempts).then(|| Claim::Exhausted { last, error: self.last_error(attempts) })
    }

    /// Why the last attempt that counts failed. One without a word died: what an earlier one said is not the reason.
    fn last_error(&self, attempts: u32) -> JobError {
        let last = self.attempts.iter().rev().find(|attempt| !self.was_interrupted(attempt.number));
        let of_last = last.and_then(|last| self.ends.iter().find(|end| end.attempt == last.number));
        if let Some(error) = of_last.and_then(|end| end.error.as_ref()) {
            return error.clone();
        }
        let mut failed = self.ends.iter().rev().filter(|end| end.outcome == Outcome::Failed);
        match failed.find_map(|end| end.error.as_ref()) {
            Some(earlier) => worker_died(attempts, "the last").with_detail(json!({ "earlier_error": earlier })),
            None => worker_died(attempts, "each"),
        }
    }

    /// The last attempt, if it counts and ended without a word.
    pub(super) fn silent(&self) -> Option<&Attempt> {
        self.attempts.last().filter(|last| !self.end_numbers.contains(&last.number))
    }
}

fn worker_died(attempts: u32, which: &str) -> JobError {
    let why = format!(
        "The worker died in {which} of {attempts} attempts: look at its log and its memory limit, then redrive the job."
    );
    JobError::new(ErrorCode::ExecutorCrashed, why)
}

#[cfg(test)]
mod tests {
    use serde_json::Map;

    use super::*;
    use crate::job::RunId;
    use crate::job::entries::State;
    use crate::store::Place;

    fn at(secs: i64) -> Timestamp {
        Timestamp::from_second(secs).unwrap()
    }

    fn submission() -> Submission {
        Submission {
            submission_id: "s-1".into(),
            origin: Origin::Message,
            handler: "matting".into(),
            params: Map::new(),
            inputs: Vec::new(),
            destination: Place { store: "main".into(), bucket: "results".into(), prefix: String::new() },
            reference: None,
            deadline_secs: None,
            rerun: None,
            submitted_at: at(0),
        }
    }

    /// A history with attempts claimed at these seconds, each alive for ten.
    fn attempts(claimed: &[i64]) -> History {
        let attempt = |(index, secs): (usize, &i64)| Attempt {
            number: u32::try_from(index).unwrap() + 1,
            run_id: RunId::new(),
            worker: "w".into(),
            claimed_at: at(*secs),
            live_until: at(*secs + 10),
            submission: submission(),
        };
        let attempts: Vec<_> = claimed.iter().enumerate().map(attempt).collect();
        History { attempt_numbers: attempts.iter().map(|a| a.number).collect(), attempts, ..History::default() }
    }

    fn ended(mut history: History, attempt: u32, outcome: Outcome, code: Option<ErrorCode>, is_final: bool) -> History {
        let run_id = history.attempts[attempt as usize - 1].run_id.clone();
        let error = code.map(|code| JobError::new(code, "x"));
        history.ends.push(End { attempt, run_id, outcome, error, is_final, ended_at: at(0) });
        history.end_numbers.push(attempt);
        history
    }

    fn refusal(history: &History, now: i64) -> Option<Claim> {
        let (run_id, submission) = (RunId::new(), submission());
        let request = ClaimRequest {
            run_id: &run_id,
            worker: "w2",
            submission: &submission,
            max_attempts: 3,
            now: at(now),
            live_until: at(now + 10),
        };
        history.refusal(&request)
    }

    #[test]
    fn names_tell_attempts_ends_redrives_and_the_rest_is_passed_over() {
        let names = ["attempt-10.json", "attempt-2.json", "end-2.json", "redrive-1", "redrive-9", "cancel"];
        let more = ["attempt-x.json", "attempt-3.json.tmp", "status.json", "end--1.json"];
        let history = History::from_names(names.into_iter().chain(more));
        assert_eq!(history.attempt_numbers, [2, 10]);
        assert_eq!((history.end_numbers.as_slice(), history.redriven_to), ([2].as_slice(), 9));
        assert!(history.is_cancelled && history.has_status);
        assert_eq!((history.last_attempt(), history.counted()), (10, 1));
    }

    #[test]
    fn a_worker_lives_until_its_claim_or_its_status_says() {
        let mut history = attempts(&[100]);
        assert_eq!(refusal(&history, 105), Some(Claim::Live { until: at(110) }));
        assert_eq!(refusal(&history, 110), None);
        let status = |run_id: &RunId, until| Status {
            attempt: 1,
            run_id: run_id.clone(),
            state: State::Running,
            stage: None,
            percent: None,
            live_until: at(until),
            updated_at: at(0),
        };
        history.status = Some(status(&history.attempts[0].run_id, 130));
        assert_eq!(refusal(&history, 120), Some(Claim::Live { until: at(130) }));
        // A status that an earlier attempt's zombie wrote says nothing of this one.
        history.status = Some(status(&RunId::new(), 900));
        assert_eq!(refusal(&history, 120), None);
        assert_eq!(refusal(&ended(history, 1, Outcome::Failed, None, false), 105), None);
    }

    #[test]
    fn attempts_run_out_but_interruptions_do_not_count() {
        let crashed = attempts(&[0, 20, 40]);
        let lost = Claim::Exhausted { last: 3, error: worker_died(3, "each") };
        assert_eq!(refusal(&crashed, 100), Some(lost));
        assert_eq!(crashed.silent().map(|attempt| attempt.number), Some(3));
        let told = ended(crashed.clone(), 3, Outcome::Failed, Some(ErrorCode::StoreUnavailable), false);
        assert_eq!(told.silent(), None, "the last attempt has spoken");
        let busy = ended(attempts(&[0, 20, 40]), 2, Outcome::Failed, Some(ErrorCode::StoreUnavailable), false);
        let Some(Claim::Exhausted { error, .. }) = refusal(&busy, 100) else { panic!("not exhausted") };
        assert_eq!(error.code, ErrorCode::ExecutorCrashed, "the last attempt died without a word");
        assert_eq!(error.detail.unwrap()["earlier_error"]["code"], "store-unavailable");
        let Some(Claim::Exhausted { error, .. }) = refusal(&told, 100) else { panic!("not exhausted") };
        assert_eq!(error.code, ErrorCode::StoreUnavailable, "it said why");
        assert_eq!(refusal(&ended(crashed, 2, Outcome::Interrupted, None, false), 100), None);
    }

    #[test]
    fn a_final_end_is_told_again_and_a_cancelled_job_does_not_start() {
        let failed = ended(attempts(&[0]), 1, Outcome::Failed, Some(ErrorCode::InputCorrupt), true);
        assert!(matches!(refusal(&failed, 100), Some(Claim::Ended(end)) if end.attempt == 1));
        let cancelled = History { is_cancelled: true, ..attempts(&[0]) };
        assert_eq!(refusal(&cancelled, 5), Some(Claim::Live { until: at(10) }), "the live worker sees it itself");
        assert_eq!(refusal(&cancelled, 10), Some(Claim::Cancelled { last: 1 }));
    }

    #[test]
    fn a_late_word_of_an_earlier_attempt_is_not_final() {
        let zombie = ended(attempts(&[0, 100]), 1, Outcome::Failed, Some(ErrorCode::InputCorrupt), true);
        assert_eq!(refusal(&zombie, 105), Some(Claim::Live { until: at(110) }));
        assert_eq!(refusal(&zombie, 110), None);
    }

    #[test]
    fn a_failure_answers_the_submissions_that_led_to_it_and_no_other() {
        let asks = |id: &str| Submission { submission_id: id.into(), ..submission() };
        let mut failed = ended(attempts(&[0]), 1, Outcome::Failed, Some(ErrorCode::InputCorrupt), true);
        failed.answered = vec!["s-0".into()];
        let end = refusal(&failed, 100).unwrap();
        assert!(!failed.is_asked_again(&end, &asks("s-1")), "a redelivery");
        assert!(!failed.is_asked_again(&end, &asks("s-0")), "one from before the last redrive");
        assert!(failed.is_asked_again(&end, &asks("s-2")));
        assert_eq!(failed.served(), ["s-0", "s-1"]);
        let worn_out = attempts(&[0, 20, 40]);
        assert!(worn_out.is_asked_again(&refusal(&worn_out, 100).unwrap(), &asks("s-2")));
        let cancelled = ended(attempts(&[0]), 1, Outcome::Cancelled, None, true);
        assert!(!cancelled.is_asked_again(&refusal(&cancelled, 100).unwrap(), &asks("s-2")));
        assert!(!failed.is_asked_again(&Claim::Live { until: at(0) }, &asks("s-2")));
    }

    #[test]
    fn the_budget_runs_from_the_first_claim_without_interruptions() {
        let history = attempts(&[100, 150, 400]);
        assert_eq!(history.budget_from(at(500)), at(100));
        let interrupted = ended(history, 2, Outcome::Interrupted, None, false);
        assert_eq!(interrupted.budget_from(at(500)), at(350));
        let last = ended(interrupted, 3, Outcome::Interrupted, None, false);
        assert_eq!(last.budget_from(at(500)), at(450));
        assert_eq!(History::default().budget_from(at(7)), at(7));
    }
}
