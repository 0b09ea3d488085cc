//! Counting messages.

use std::time::Duration;

use lapin::protocol::{AMQPErrorKind, AMQPSoftError};
use tokio::time::{Instant, timeout};

use super::link::{Link, REPLY};
use super::topology;
use crate::queue::{Depth, Error, Result};

/// Between looks for delay queues that another worker may have made: the broker logs each look in vain as an error.
const LOOK_EVERY: Duration = Duration::from_secs(600);

impl Link {
    /// See [`crate::queue::Queue::depth`].
    pub(super) async fn depth(&self) -> Result<Depth> {
        let name = &self.options.name;
        let mut depth = Depth {
            visible: self.count(name).await?.unwrap_or(0),
            dead: self.count(&topology::dead(name)).await?.unwrap_or(0),
            ..Depth::default()
        };
        let look = {
            let mut looked = self.looked.lock().await;
            let due = looked.is_none_or(|at| at.elapsed() >= LOOK_EVERY);
            if due {
                *looked = Some(Instant::now());
            }
            due
        };
        for secs in topology::DELAYS_SECS {
            if !look && !self.delays().contains(&secs) {
                continue;
            }
            match self.count(&topology::delay(name, secs)).await? {
                Some(count) => {
                    self.delays().insert(secs);
                    depth.delayed += count;
                }
                None => {
                    self.delays().remove(&secs);
                }
            }
        }
        depth.in_flight = self.inbox().in_flight() as u64;
        Ok(depth)
    }

    /// Messages that wait in a queue; none if there is no such queue.
    async fn count(&self, queue: &str) -> Result<Option<u64>> {
        let mut counter = self.counter.lock().await;
        // Out of its place while in use: a failing look closes its channel.
        let channel = match counter.take() {
            Some(channel) => channel,
            None => self.channel().await?,
        };
        match timeout(REPLY, topology::count(&channel, queue)).await.map_err(Error::unavailable)? {
            Ok(count) => {
                *counter = Some(channel);
                Ok(Some(count))
            }
            Err(error) => match error.kind() {
                lapin::ErrorKind::ProtocolError(error)
                    if *error.kind() == AMQPErrorKind::Soft(AMQPSoftError::NOTFOUND) =>
                {
                    Ok(None)
                }
                _ => Err(Error::unavailable(error)),
            },
        }
    }
}
