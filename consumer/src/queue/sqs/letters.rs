//! Dead letters: messages of a queue of their own.

use std::time::Duration;

use futures::future::join_all;
use jiff::Timestamp;
use tracing::warn;

use super::notes::Received;
use super::{DeadLetter, MAX_BATCH, MessageId, Redrive, Result, SqsQueue};

/// Most dead letters that one listing looks at.
const MOST_LISTED: usize = 1000;
/// Most messages that one redrive moves: the next one goes on.
const MOST_REDRIVEN: usize = 100_000;
/// How long a letter is hidden from others while we look, should we never give it back.
const HIDDEN: Duration = Duration::from_secs(30);
/// How long a look waits. A request that does not wait asks some of the service's machines only, and may say that there
/// is nothing where there is.
const LOOK: Duration = Duration::from_secs(1);

impl SqsQueue {
    /// What [`super::Queue::dead_letters`] promises, within the first [`MOST_LISTED`].
    pub(super) async fn list_letters(&self, limit: usize, after: Option<&DeadLetter>) -> Result<Vec<DeadLetter>> {
        if limit == 0 {
            return Ok(Vec::new());
        }
        let seen = self.look_through(MOST_LISTED, |_| false).await?;
        self.give_back(&seen).await;
        let mut letters: Vec<DeadLetter> = seen.iter().map(letter).collect();
        let position = |letter: &DeadLetter| (letter.dead_at, letter.message_id.0.clone());
        letters.sort_by_cached_key(|letter| std::cmp::Reverse(position(letter)));
        // Delivered twice in one listing.
        letters.dedup_by(|a, b| a.message_id == b.message_id);
        if let Some(after) = after {
            letters.retain(|letter| position(letter) < position(after));
        }
        letters.truncate(limit);
        Ok(letters)
    }

    /// What [`super::Queue::redrive`] promises, for [`MOST_REDRIVEN`] at once.
    pub(super) async fn redrive_letters(&self, which: &Redrive) -> Result<u64> {
        match which {
            Redrive::One(id) => {
                let mut seen = self.look_through(MOST_LISTED, |letter| letter.id() == id.0).await?;
                let found = seen.iter().position(|letter| letter.id() == id.0).map(|index| seen.swap_remove(index));
                self.give_back(&seen).await;
                let Some(found) = found else { return Ok(0) };
                self.resend(&found).await?;
                Ok(1)
            }
            Redrive::All => {
                let mut late = Vec::new();
                let moved = self.resend_all(Timestamp::now(), &mut late).await;
                self.give_back(&late).await;
                moved
            }
        }
    }

    /// Sends what was given up before `begun`. What is given up again meanwhile waits for another redrive: it is kept in
    /// `late`, hidden, until the caller gives it back.
    async fn resend_all(&self, begun: Timestamp, late: &mut Vec<Received>) -> Result<u64> {
        let mut moved = 0;
        while moved < MOST_REDRIVEN && late.len() < MOST_LISTED {
            let letters = self.poll(&self.dead, MAX_BATCH, LOOK, HIDDEN).await?;
            if letters.is_empty() {
                break;
            }
            let (again, letters): (Vec<_>, Vec<_>) = letters.into_iter().partition(|letter| letter.died_since(begun));
            late.extend(again);
            let sent = join_all(letters.iter().map(|letter| self.resend(letter))).await;
            moved += sent.len();
            sent.into_iter().collect::<Result<Vec<()>>>()?;
        }
        Ok(moved as u64)
    }

    /// Receives letters until there are no more, there are `most`, or one is the last that is wanted.
    async fn look_through(&self, most: usize, last: impl Fn(&Received) -> bool) -> Result<Vec<Received>> {
        let mut seen: Vec<Received> = Vec::new();
        while seen.len() < most {
            match self.poll(&self.dead, MAX_BATCH, LOOK, HIDDEN).await {
                Ok(letters) if letters.is_empty() => break,
                Ok(letters) => seen.extend(letters),
                Err(error) => {
                    self.give_back(&seen).await;
                    return Err(error);
                }
            }
            if seen.iter().any(&last) {
                break;
            }
        }
        Ok(seen)
    }

    /// Makes letters visible again.
    async fn give_back(&self, letters: &[Received]) {
        for batch in letters.chunks(MAX_BATCH) {
            let hide = |letter| self.hide(&self.dead, letter, Duration::ZERO);
            for shown in join_all(batch.iter().map(|letter| hide(&letter.handle))).await {
                if let Err(error) = shown {
                    warn!(%error, hidden_secs = HIDDEN.as_secs(), "a dead letter stays hidden for a while");
                }
            }
        }
    }

    /// Sends a letter to where it came from, then deletes it.
    async fn resend(&self, letter: &Received) -> Result<()> {
        self.post(&self.jobs, letter.redriven()).await?;
        self.delete(&self.dead, &letter.handle).await?;
        Ok(())
    }
}

fn letter(message: &Received) -> DeadLetter {
    let (reason, dead_at) = message.death();
    DeadLetter {
        message_id: MessageId(message.id().to_owned()),
        body: message.body.clone().into(),
        receives: message.receives_alive(),
        reason,
        sent_at: message.sent_at(),
        dead_at,
    }
}
