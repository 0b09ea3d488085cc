//! Taking deliveries: a consumer while somebody waits, and gets for those who do not.

use std::sync::Arc;

use futures::StreamExt;
use lapin::message::Delivery;
use lapin::options::{BasicCancelOptions, BasicConsumeOptions, BasicGetOptions, BasicQosOptions};
use lapin::types::FieldTable;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use super::inbox::{Consumer, Held};
use super::link::{Link, unavailable};
use super::message::Message;
use crate::queue::Result;

impl Link {
    /// Up to `max` deliveries, waiting for the first until `deadline`.
    pub(super) async fn next(self: &Arc<Self>, max: usize, deadline: Instant) -> Result<Vec<(String, Held)>> {
        let _waiting = Waiting::begin(self);
        loop {
            let mut arrived = std::pin::pin!(self.arrived.notified());
            arrived.as_mut().enable();
            let handed = self.inbox().hand_out(max, self.options.lease);
            if !handed.is_empty() {
                return Ok(handed);
            }
            if self.inbox().supply() < max {
                let link = Arc::clone(self);
                // A task of its own: given up half-way it would leave a consumer behind that nobody reads.
                tokio::spawn(async move { link.subscribe(max).await })
                    .await
                    .map_err(crate::queue::Error::unavailable)??;
            }
            tokio::select! {
                biased;
                () = self.dead().cancelled() => return Err(unavailable("the connection was lost")),
                () = arrived => {}
                () = sleep_until(deadline) => return Ok(Vec::new()),
            }
        }
    }

    /// Up to `max` deliveries that are there now.
    pub(super) async fn get(self: &Arc<Self>, max: usize) -> Result<Vec<(String, Held)>> {
        while self.inbox().arrived.len() < max {
            let get = self.incoming.basic_get(self.options.name.as_str().into(), BasicGetOptions::default());
            let Some(got) = self.reply(get).await? else { break };
            self.inbox().arrived.push_back(held(got.delivery, 0));
        }
        Ok(self.inbox().hand_out(max, self.options.lease))
    }

    /// Makes sure that `max` deliveries may come, and no more than that.
    async fn subscribe(self: &Arc<Self>, max: usize) -> Result<()> {
        let _one = self.consuming.lock().await;
        if self.inbox().supply() >= max {
            return Ok(());
        }
        self.unsubscribe().await?;
        let (number, prefetch) = {
            let mut inbox = self.inbox();
            (inbox.next_number(), max.saturating_sub(inbox.arrived.len()))
        };
        if prefetch == 0 {
            return Ok(());
        }
        let count = u16::try_from(prefetch).unwrap_or(u16::MAX);
        self.reply(self.incoming.basic_qos(count, BasicQosOptions::default())).await?;
        let consume = self.incoming.basic_consume(
            self.options.name.as_str().into(),
            tag(number).into(),
            BasicConsumeOptions::default(),
            FieldTable::default(),
        );
        let stream = self.reply(consume).await?;
        let ours = CancellationToken::new();
        // The inbox is locked until the consumer is in it: the pump finds it there.
        let mut inbox = self.inbox();
        let pump = tokio::spawn(pump(Arc::clone(self), stream, number, ours.clone()));
        inbox.consumer = Some(Consumer { number, prefetch, ours, pump });
        Ok(())
    }

    /// Ends the consumer, where there is one; what it had got so far has arrived then. Call with `consuming` locked.
    pub(super) async fn unsubscribe(&self) -> Result<()> {
        let Some(consumer) = self.inbox().consumer.take() else { return Ok(()) };
        consumer.ours.cancel();
        let cancel = self.incoming.basic_cancel(tag(consumer.number).into(), BasicCancelOptions::default());
        self.reply(cancel).await?;
        let pumped = tokio::time::timeout(std::time::Duration::from_secs(5), consumer.pump).await;
        // Those who wait see that there is no consumer any more.
        self.arrived.notify_waiters();
        match pumped {
            Ok(Ok(())) => Ok(()),
            _ => {
                self.end("a consumer did not end");
                Err(unavailable("a consumer did not end"))
            }
        }
    }
}

/// Carries deliveries into the inbox until the consumer ends.
async fn pump(link: Arc<Link>, mut stream: lapin::Consumer, number: u64, ours: CancellationToken) {
    let why = loop {
        let item = tokio::select! {
            () = link.dead().cancelled() => return,
            item = stream.next() => item,
        };
        match item {
            Some(Ok(delivery)) => {
                link.inbox().arrived.push_back(held(delivery, number));
                link.arrived.notify_waiters();
            }
            Some(Err(error)) => break error.to_string(),
            None => {
                break "the broker cancelled the consumer: its queue was deleted or moved, or a timeout passed"
                    .to_owned();
            }
        }
    };
    if !ours.is_cancelled() {
        link.end(&why);
    }
}

/// A delivery of this moment.
pub(super) fn held(mut delivery: Delivery, consumer: u64) -> Held {
    let now = Instant::now();
    let message = Arc::new(Message::read(&mut delivery));
    Held { message, acker: delivery.acker, since: now, consumer, parked: false, expires: now }
}

fn tag(number: u64) -> String {
    format!("darkroom-{number}")
}

/// Counts those who wait.
struct Waiting<'a>(&'a Link);

impl<'a> Waiting<'a> {
    fn begin(link: &'a Link) -> Self {
        link.inbox().waiting += 1;
        Waiting(link)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        let mut inbox = self.0.inbox();
        inbox.waiting -= 1;
        inbox.idle_since = Some(Instant::now());
    }
}
