//! One connection, and all that depends on it.
//!
//! A delivery belongs to the channel it came over. So nothing is recovered in place: whatever goes wrong with the
//! connection, the channel or the consumer ends the link, and with it all its deliveries are lost, which the broker
//! hands over again. The next verb makes a new link.

use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::anyhow;
use lapin::options::ConfirmSelectOptions;
use lapin::{Channel, Confirmation, Connection};
use tokio::sync::{Notify, Semaphore};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::inbox::Inbox;
use super::message::{Copy, Message};
use super::server::{CONNECT, confirmed};
use super::{Options, topology};
use crate::queue::{Error, Result};

/// Longest wait for an answer of the broker.
pub(super) const REPLY: Duration = Duration::from_secs(20);
/// Publications at once.
const PUBLISHERS: usize = 16;
/// Reply code of an orderly end.
const GOODBYE: u16 = 200;

/// A connection with its deliveries.
pub(super) struct Link {
    pub(super) options: Arc<Options>,
    /// Name of the queue of parked copies.
    pub(super) hold: String,
    connection: Arc<Connection>,
    /// Deliveries come over this one, and are settled on it.
    pub(super) incoming: Channel,
    /// Channels with confirms that nobody publishes on now. Each has one message in flight at most: which message was
    /// returned cannot be told otherwise, when the broker confirms several at once.
    publishers: Mutex<Vec<Channel>>,
    publishing: Semaphore,
    /// Where dead letters are looked through, when nobody does.
    pub(super) browser: tokio::sync::Mutex<Option<Channel>>,
    /// Where messages are counted, when nobody does.
    pub(super) counter: tokio::sync::Mutex<Option<Channel>>,
    inbox: Mutex<Inbox>,
    /// Something came into the inbox, or its consumer was taken away.
    pub(super) arrived: Notify,
    /// Held while the consumer is changed.
    pub(super) consuming: tokio::sync::Mutex<()>,
    /// Held while a delivery is parked.
    pub(super) parking: tokio::sync::Mutex<()>,
    dead: CancellationToken,
}

impl std::fmt::Debug for Link {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Link").field("queue", &self.options.name).field("dead", &self.dead.is_cancelled()).finish()
    }
}

impl Link {
    /// Connects and prepares the queues.
    pub(super) async fn open(options: Arc<Options>, hold: String) -> Result<Arc<Self>> {
        let opening = async {
            let connection = options.server.connect(options.lease / 2).await?;
            topology::prepare(&connection.create_channel().await?, &options).await?;
            let incoming = connection.create_channel().await?;
            anyhow::Ok((connection, incoming))
        };
        let opened = timeout(CONNECT + REPLY, opening).await.map_err(|_| unavailable("no connection in time"))?;
        let (connection, incoming) = opened.map_err(Error::Unavailable)?;
        let link = Arc::new(Link {
            options,
            hold,
            connection: Arc::new(connection),
            incoming,
            publishers: Mutex::default(),
            publishing: Semaphore::new(PUBLISHERS),
            browser: tokio::sync::Mutex::default(),
            counter: tokio::sync::Mutex::default(),
            inbox: Mutex::default(),
            arrived: Notify::new(),
            consuming: tokio::sync::Mutex::default(),
            parking: tokio::sync::Mutex::default(),
            dead: CancellationToken::new(),
        });
        tokio::spawn(super::sweep::run(Arc::downgrade(&link), link.dead.clone()));
        Ok(link)
    }

    pub(super) fn inbox(&self) -> MutexGuard<'_, Inbox> {
        self.inbox.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Cancelled when the link has ended.
    pub(super) fn dead(&self) -> &CancellationToken {
        &self.dead
    }

    /// Whether deliveries of this link can still be ours. Ends it if the broker has.
    pub(super) fn is_alive(&self) -> bool {
        let connected = self.incoming.status().connected() && self.connection.status().connected();
        if !connected {
            self.end("the broker closed the channel or the connection");
        }
        !self.dead.is_cancelled()
    }

    /// Ends the link: all its deliveries are lost to us, and the broker gives them to others at once.
    pub(super) fn end(&self, why: &str) {
        if self.dead.is_cancelled() {
            return;
        }
        tracing::warn!(queue = %self.options.name, why, "connection to the broker given up; its deliveries are lost to us");
        self.close();
    }

    /// The orderly end.
    pub(super) fn close(&self) {
        self.dead.cancel();
        self.arrived.notify_waiters();
        let connection = Arc::clone(&self.connection);
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(async move {
                if !matches!(timeout(REPLY, connection.close(GOODBYE, "closed".into())).await, Ok(Ok(()))) {
                    tracing::debug!("the broker did not answer to the end of the connection");
                }
            });
        }
    }

    /// An answer of the broker on the incoming channel; the link ends when it fails or does not come.
    pub(super) async fn reply<T>(&self, answer: impl Future<Output = lapin::Result<T>>) -> Result<T> {
        let failure = match timeout(REPLY, answer).await {
            Ok(Ok(value)) => return Ok(value),
            Ok(Err(error)) => anyhow!(error),
            Err(_) => anyhow!("no answer within {} s", REPLY.as_secs()),
        };
        self.end(&failure.to_string());
        Err(Error::Unavailable(failure))
    }

    /// A channel for one purpose; what goes wrong on it does not end the link.
    pub(super) async fn channel(&self) -> Result<Channel> {
        self.reply(self.connection.create_channel()).await
    }

    /// Sends a copy of a message; it is in a queue, durably, when this returns.
    pub(super) async fn publish(&self, exchange: &str, key: &str, message: &Message, copy: Copy) -> Result<()> {
        let _permit = self.publishing.acquire().await.map_err(Error::unavailable)?;
        let idle = self.publishers.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let channel = match idle {
            Some(channel) => channel,
            None => {
                let channel = self.channel().await?;
                self.reply(channel.confirm_select(ConfirmSelectOptions::default())).await?;
                channel
            }
        };
        let confirmed = self.reply(confirmed(&channel, exchange, key, true, &message.body, copy.finish())).await?;
        self.publishers.lock().unwrap_or_else(PoisonError::into_inner).push(channel);
        match confirmed {
            Confirmation::Ack(None) => Ok(()),
            Confirmation::Nack(_) => Err(Error::Full(format!("the broker refused a message for `{exchange}{key}`"))),
            Confirmation::Ack(Some(returned)) => {
                let why = format!("no queue took a message for `{exchange}{key}`: {}", returned.reply_text);
                // The queues are prepared again with the next link.
                self.end(&why);
                Err(unavailable(&why))
            }
            Confirmation::NotRequested => Err(unavailable("the channel has no confirms")),
        }
    }

    /// Sends a copy that is visible after this time.
    pub(super) async fn publish_after(&self, after: Duration, message: &Message, copy: Copy) -> Result<()> {
        let name = &self.options.name;
        if after.is_zero() {
            return self.publish("", name, message, copy).await;
        }
        let (secs, after) = topology::delay_for(after);
        self.publish("", &topology::delay(name, secs), message, copy.expiring(after)).await
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        if !self.dead.is_cancelled() {
            self.close();
        }
    }
}

pub(super) fn unavailable(why: &str) -> Error {
    Error::Unavailable(anyhow!("{why}"))
}
