//! What a record tells when it is read as a whole.

use jiff::Timestamp;

use super::record::{Attempt, Claim, ClaimRequest, End, Outcome, Status};

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
    /// Whether there is a checkpoint.
    pub has_checkpoint: bool,
    /// Attempts.
    pub attempts: Vec<Attempt>,
    /// Ends.
    pub ends: Vec<End>,
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
            history.has_checkpoint |= name.starts_with("checkpoint/");
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

    /// Attempts that count: since the last redrive, without those that were interrupted.
    pub fn counted(&self) -> u32 {
        let interrupted = |n| self.ends.iter().any(|end| end.attempt == n && end.outcome == Outcome::Interrupted);
        let since = self.attempt_numbers.iter().filter(|n| **n > self.redriven_to && !interrupted(**n));
        u32::try_from(since.count()).unwrap_or(u32::MAX)
    }

    /// When the first attempt since the last redrive was claimed.
    pub fn first_claimed_at(&self) -> Option<Timestamp> {
        self.attempts.first().map(|attempt| attempt.claimed_at)
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
        if let Some(end) = self.ends.iter().rev().find(|end| end.is_final && end.outcome != Outcome::Completed) {
            return Some(Claim::Ended(Box::new(end.clone())));
        }
        if let Some(until) = self.live_until().filter(|until| *until > request.now) {
            return Some(Claim::Live { until });
        }
        let attempts = self.counted();
        if self.is_cancelled {
            return Some(Claim::Cancelled { attempts });
        }
        (attempts >= request.max_attempts).then(|| Claim::Exhausted {
            attempts,
            last: self.last_attempt(),
            error: self.ends.iter().rev().find_map(|end| end.error.clone()),
        })
    }
}
