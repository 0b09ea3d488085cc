//! The broker, and a publication that it confirms.

use std::time::Duration;

use anyhow::anyhow;
use lapin::options::BasicPublishOptions;
use lapin::uri::AMQPUri;
use lapin::{BasicProperties, Channel, Confirmation, Connection, ConnectionProperties};

use crate::config::{AmqpConfig, Secret};

/// Longest wait for a connection.
pub(crate) const CONNECT: Duration = Duration::from_secs(10);

/// A broker, and who we are there.
#[derive(Debug, Clone)]
pub struct Server {
    /// `amqp://` or `amqps://`, host, port and virtual host; no credentials.
    pub url: String,
    /// Who we are; `guest` if absent.
    pub username: Option<String>,
    /// The password; `guest` if absent.
    pub password: Option<Secret>,
}

impl Default for Server {
    /// One on this host.
    fn default() -> Self {
        Server { url: "amqp://127.0.0.1:5672".into(), username: None, password: None }
    }
}

impl From<&AmqpConfig> for Server {
    fn from(config: &AmqpConfig) -> Self {
        let AmqpConfig { url, username, password, .. } = config.clone();
        Server { url: url.unwrap_or_else(|| Server::default().url), username, password }
    }
}

impl Server {
    /// Connects. A host that is gone is noticed within two heartbeats, of 5 to 60 s.
    pub(crate) async fn connect(&self, heartbeat: Duration) -> anyhow::Result<Connection> {
        let mut uri = self.uri()?;
        uri.query.heartbeat = Some(u16::try_from(heartbeat.as_secs()).unwrap_or(u16::MAX).clamp(5, 60));
        uri.query.connection_timeout = u64::try_from(CONNECT.as_millis()).ok();
        let properties = ConnectionProperties::default().with_connection_name("darkroom".into());
        Ok(Connection::connect_uri(uri, properties).await?)
    }

    fn uri(&self) -> anyhow::Result<AMQPUri> {
        // The parser's error may quote the URL.
        let mut uri: AMQPUri = self.url.parse().map_err(|_| anyhow!("`amqp.url` is no AMQP URL"))?;
        if uri.vhost.is_empty() {
            uri.vhost = "/".to_owned();
        }
        if let Some(username) = &self.username {
            uri.authority.userinfo.username.clone_from(username);
        }
        if let Some(password) = &self.password {
            uri.authority.userinfo.password = password.expose().to_owned();
        }
        Ok(uri)
    }
}

/// Publishes on a channel with confirms, and waits for the answer: `Ack(None)` alone means that queues have it. With
/// `mandatory`, a message that none took is returned: `Ack(Some(_))`.
pub(crate) async fn confirmed(
    channel: &Channel,
    exchange: &str,
    key: &str,
    mandatory: bool,
    body: &[u8],
    properties: BasicProperties,
) -> lapin::Result<Confirmation> {
    let options = BasicPublishOptions { mandatory, ..BasicPublishOptions::default() };
    channel.basic_publish(exchange.into(), key.into(), options, body, properties).await?.await
}
