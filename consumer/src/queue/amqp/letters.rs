//! Looking through what was given up, and sending it again.
//!
//! A broker shows a message only by delivering it: a look takes all of them, and puts them back in their old order. Two
//! who look at the same time each see what the other has not taken.

use jiff::Timestamp;
use lapin::Channel;
use lapin::options::{BasicAckOptions, BasicGetOptions, BasicNackOptions};

use super::link::Link;
use super::message::Message;
use super::topology;
use crate::queue::{DeadLetter, Redrive, Result};

/// Most letters of one look; the oldest ones, when there are more.
const MAX_LETTERS: usize = 10_000;
/// Most bytes of their bodies.
const MAX_BYTES: usize = 256 << 20;

impl Link {
    /// See [`crate::queue::Queue::dead_letters`].
    pub(super) async fn dead_letters(&self, limit: usize, after: Option<&DeadLetter>) -> Result<Vec<DeadLetter>> {
        let mut browser = self.browser.lock().await;
        // Out of its place while in use: dropped half-way it is closed, and the broker puts the letters back.
        let channel = match browser.take() {
            Some(channel) => channel,
            None => self.channel().await?,
        };
        let (mut letters, mut bytes) = (Vec::new(), 0);
        while letters.len() < MAX_LETTERS && bytes < MAX_BYTES {
            let Some((message, _)) = self.next_letter(&channel).await? else { break };
            bytes += message.body.len();
            letters.push(message.into_letter());
        }
        if !letters.is_empty() {
            self.put_back(&channel).await?;
        }
        *browser = Some(channel);
        let place = |letter: &DeadLetter| (letter.dead_at, letter.message_id.0.clone());
        letters.sort_by_cached_key(|letter| std::cmp::Reverse(place(letter)));
        let after = after.map(place);
        Ok(letters
            .into_iter()
            .filter(|letter| after.as_ref().is_none_or(|after| place(letter) < *after))
            .take(limit)
            .collect())
    }

    /// See [`crate::queue::Queue::redrive`].
    pub(super) async fn redrive(&self, which: &Redrive) -> Result<u64> {
        let mut browser = self.browser.lock().await;
        let channel = match browser.take() {
            Some(channel) => channel,
            None => self.channel().await?,
        };
        // What is given up again meanwhile waits for another redrive.
        let begun = Timestamp::now();
        let (mut sent, mut left) = (0, 0);
        while left < MAX_LETTERS {
            let Some((message, tag)) = self.next_letter(&channel).await? else { break };
            let wanted = match which {
                Redrive::One(id) => message.id == *id,
                Redrive::All => message.clone().into_letter().dead_at < begun,
            };
            if !wanted {
                left += 1;
                continue;
            }
            self.publish("", &self.options.name, &message, message.copy().anew()).await?;
            self.reply(channel.basic_ack(tag, BasicAckOptions::default())).await?;
            sent += 1;
            if matches!(which, Redrive::One(_)) {
                break;
            }
        }
        if left > 0 {
            self.put_back(&channel).await?;
        }
        *browser = Some(channel);
        Ok(sent)
    }

    async fn next_letter(&self, channel: &Channel) -> Result<Option<(Message, u64)>> {
        let dead = topology::dead(&self.options.name);
        let got = self.reply(channel.basic_get(dead.into(), BasicGetOptions::default())).await?;
        Ok(got.map(|mut got| (Message::read(&mut got.delivery), got.delivery.delivery_tag)))
    }

    /// All that was taken on this channel and not acknowledged.
    async fn put_back(&self, channel: &Channel) -> Result<()> {
        let all = BasicNackOptions { multiple: true, requeue: true };
        self.reply(channel.basic_nack(0, all)).await
    }
}
