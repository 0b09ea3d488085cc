//! `darkroom jobs list`: one row a job.

use std::io::IsTerminal as _;

use clap::ValueEnum;
use darkroom_api::{ErrorCode, JobError};
use futures::{StreamExt, stream};
use jiff::Timestamp;
use serde::Serialize;
use serde_json::{Value, json};

use crate::job::JobId;
use crate::job::history::History;
use crate::job::record::{Listing, Outcome, State, list_jobs};
use crate::store::Place;

use super::open::Records;
use super::{Failure, Global, print_line};

/// Most objects of records that a listing looks at: some 100 000 jobs.
const MAX_OBJECTS: usize = 500_000;
/// Records that are read at once.
const READS_AT_ONCE: usize = 16;

/// Longest line on a terminal: the job's id, times and input, and the beginning of its error.
const MAX_LINE_CHARS: usize = 200;

/// Arguments of `jobs list`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// At most this many.
    #[arg(long, default_value_t = 50)]
    limit: usize,
    /// Only jobs in this state.
    #[arg(long)]
    state: Option<JobState>,
}

/// Where a job is, for whoever looks at its record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum JobState {
    /// Redriven, and no worker has taken it yet.
    Queued,
    /// Inputs are on their way to the worker.
    Fetching,
    /// Inputs are there, a device slot is not free.
    Waiting,
    /// In the executor.
    Running,
    /// Outputs are on their way to the bucket.
    Committing,
    /// An attempt failed or was interrupted, and another follows.
    Retrying,
    /// Its worker has not been heard of for too long; another one takes the job over.
    Lost,
    /// There is a manifest.
    Completed,
    /// There will be none.
    Failed,
    /// A user did not want it.
    Cancelled,
    /// The upload was replaced before it was worked on: the new content is a job of its own.
    Superseded,
    /// Its record cannot be read.
    Damaged,
}

impl JobState {
    /// By what is recorded.
    pub(super) fn of(history: &History) -> Self {
        if let Some(end) = history.ended() {
            return match end.outcome {
                Outcome::Completed => JobState::Completed,
                Outcome::Failed => JobState::Failed,
                Outcome::Cancelled => JobState::Cancelled,
                Outcome::Interrupted => JobState::Retrying,
            };
        }
        match history.live_until() {
            None if history.is_cancelled => JobState::Cancelled,
            None if history.attempts.is_empty() => JobState::Queued,
            None if history.is_superseded() => JobState::Superseded,
            None => JobState::Retrying,
            Some(until) if until <= Timestamp::now() => JobState::Lost,
            Some(_) => history.status.as_ref().map_or(JobState::Fetching, |status| status.state.into()),
        }
    }

    pub(super) fn word(self) -> String {
        self.to_possible_value().map_or_else(String::new, |value| value.get_name().to_owned())
    }
}

impl From<State> for JobState {
    fn from(state: State) -> Self {
        match state {
            State::Fetching => JobState::Fetching,
            State::Waiting => JobState::Waiting,
            State::Running => JobState::Running,
            State::Committing => JobState::Committing,
            State::Retrying => JobState::Retrying,
            State::Completed => JobState::Completed,
            State::Failed => JobState::Failed,
            State::Cancelled => JobState::Cancelled,
        }
    }
}

/// One job in a listing.
pub(super) struct Row<'a> {
    pub(super) id: &'a JobId,
    /// What its record says, or why it cannot be read.
    pub(super) history: Result<&'a History, &'a JobError>,
}

impl Row<'_> {
    fn state(&self) -> JobState {
        self.history.map_or(JobState::Damaged, JobState::of)
    }

    fn error(&self) -> Option<&JobError> {
        match self.history {
            Ok(history) => history.ends.last().and_then(|end| end.error.as_ref()),
            Err(error) => Some(error),
        }
    }

    /// For programs.
    pub(super) fn json(&self) -> Value {
        let history = self.history.ok();
        let status = history.and_then(|history| history.status.as_ref());
        let last = history.and_then(History::latest);
        json!({
            "job_id": self.id,
            "state": self.state(),
            "stage": status.and_then(|s| s.stage.clone()),
            "percent": status.and_then(|s| s.percent),
            "attempts": history.map(History::counted),
            "handler": last.map(|a| &a.submission.handler),
            "input": last.and_then(|a| a.submission.inputs.first()).map(|i| i.object.to_string()),
            "changed_at": self.changed_at(),
            "claimed_at": last.map(|a| a.claimed_at),
            "error": self.error(),
        })
    }

    /// When its record changed last, as far as the record tells.
    fn changed_at(&self) -> Option<Timestamp> {
        let history = self.history.ok()?;
        let status = history.status.as_ref().map(|status| status.updated_at);
        let ended = history.ends.last().map(|end| end.ended_at);
        let claimed = history.latest().map(|attempt| attempt.claimed_at);
        status.into_iter().chain(ended).chain(claimed).max()
    }

    /// For people.
    fn text(&self) -> String {
        let history = self.history.ok();
        let last = history.and_then(History::latest);
        let input = last.and_then(|a| a.submission.inputs.first()).map(|i| i.object.to_string()).unwrap_or_default();
        let percent = history.and_then(|h| h.status.as_ref()?.percent).map(|p| format!("{p:.0} %")).unwrap_or_default();
        let error = self.error().map(|error| format!("  ({error})")).unwrap_or_default();
        let handler = last.map_or("", |a| a.submission.handler.as_str());
        let changed = self.changed_at().map(|at| at.strftime("%m-%d %H:%M:%SZ").to_string()).unwrap_or_default();
        let state = self.state().word();
        format!("{}  {changed:15}  {state:10} {percent:>5}  {handler:10} {input}{error}", self.id)
    }
}

/// One line of bounded length: `jobs show` tells all.
fn short(text: &str) -> String {
    let line = text.lines().next().unwrap_or_default();
    match line.char_indices().nth(MAX_LINE_CHARS) {
        Some((end, _)) => format!("{}…", &line[..end]),
        None => line.to_owned(),
    }
}

/// What to do where there are more records than a listing looks at.
fn cut(state: &Place) -> String {
    format!(
        "{state} holds more than {MAX_OBJECTS} objects, and only those were looked at: jobs are missing here, new ones \
         too (`darkroom jobs show ID` finds each). Let a lifecycle rule of the bucket delete old objects under it."
    )
}

/// Jobs whose record changed last come first; only as many records are read as are shown.
pub(super) async fn list(global: &Global, args: &Args) -> Result<(), Failure> {
    let records = Records::open(&global.running()?).await?;
    let store = records.stores.get(&records.place.store)?;
    let Listing { jobs, is_cut } = list_jobs(store, &records.place, MAX_OBJECTS).await?;
    let (records, all) = (&records, jobs.len());
    let mut rows = stream::iter(jobs)
        .map(|id| async move {
            let history = match records.of(id.clone()) {
                Ok(record) => record.history().await,
                Err(failure) => return Err(failure),
            };
            match history {
                // One damaged record is a row; a store that does not answer is the end.
                Err(error) if error.code != ErrorCode::Internal => Err(Failure::from(error)),
                history => Ok((id, history)),
            }
        })
        .buffered(READS_AT_ONCE);
    let on_terminal = std::io::stdout().is_terminal();
    let (mut shown, mut read) = (0, 0);
    while shown < args.limit {
        let Some(found) = rows.next().await else { break };
        let (id, history) = found?;
        read += 1;
        let row = Row { id: &id, history: history.as_ref() };
        if args.state.is_none_or(|state| state == row.state()) {
            print_line(&match global.json {
                true => row.json().to_string(),
                false if on_terminal => short(&row.text()),
                false => row.text(),
            })?;
            shown += 1;
        }
    }
    if read < all {
        global.note(&format!("{shown} shown, {} older ones not looked at: see --limit and --state", all - read));
    }
    if is_cut {
        global.note(&cut(&records.place));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_on_a_terminal_is_short_and_one() {
        assert_eq!(short("done\nand more"), "done");
        assert_eq!(short(&"é".repeat(300)), format!("{}…", "é".repeat(MAX_LINE_CHARS)));
    }
}
