//! Counting messages.

use tokio::time::timeout;

use super::link::{Link, REPLY};
use super::topology;
use crate::queue::{Depth, Error, Result};

impl Link {
    /// See [`crate::queue::Queue::depth`].
    pub(super) async fn depth(&self) -> Result<Depth> {
        let name = &self.options.name;
        let visible = self.count(name).await?;
        let dead = self.count(&topology::dead(name)).await?;
        let mut delayed = 0;
        for secs in topology::DELAYS_SECS {
            delayed += self.count(&topology::delay(name, secs)).await?;
        }
        Ok(Depth { visible, delayed, in_flight: self.inbox().in_flight() as u64, dead, oldest_age_secs: None })
    }

    /// Messages that wait in a queue.
    async fn count(&self, queue: &str) -> Result<u64> {
        let mut counter = self.counter.lock().await;
        // Out of its place while in use: a failing look closes its channel.
        let channel = match counter.take() {
            Some(channel) => channel,
            None => self.channel().await?,
        };
        let counted = timeout(REPLY, topology::count(&channel, queue)).await.map_err(Error::unavailable)?;
        let count = counted.map_err(Error::unavailable)?;
        *counter = Some(channel);
        Ok(count)
    }
}
