//! Notices that this machine is about to be taken away, from the metadata service of EC2 (IMDSv2).
//!
//! | notice | what the worker does |
//! |---|---|
//! | rebalance recommendation | takes nothing new; running jobs finish, however long they take |
//! | spot interruption (terminate, stop, hibernate) | the same, until [`HAND_BACK`] before the announced time: then everything goes back |
//!
//! A service that does not answer is told of once and asked again: it never stops work. SIGTERM holds beside all this.

use std::time::Duration;

use anyhow::{Context, bail, ensure};
use jiff::Timestamp;
use reqwest::{Client, Response, StatusCode};
use serde::Deserialize;
use tokio::time::sleep;

use super::Drain;

/// Between two looks: what EC2 recommends.
const LOOK_EVERY: Duration = Duration::from_secs(5);
/// Longest time for one request; the service is on the machine itself.
const ANSWER: Duration = Duration::from_secs(2);
/// Life of a token in seconds, the longest there is.
const TOKEN_SECS: &str = "21600";
/// Longest answer.
const MAX_BYTES: usize = 64 << 10;
/// What is left of a notice when everything goes back: executors get 5 s to end, then records, checkpoints and messages
/// are written.
const HAND_BACK: Duration = Duration::from_secs(15);
/// EC2 gives notice two minutes before. A time further off is one by a clock that is wrong.
const LONGEST_NOTICE: Duration = Duration::from_secs(120);

const TOKEN: &str = "/latest/api/token";
const SPOT: &str = "/latest/meta-data/spot/instance-action";
const REBALANCE: &str = "/latest/meta-data/events/recommendations/rebalance";

/// What EC2 has announced.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Notice {
    /// The instance is more likely than before to be taken away.
    Rebalance,
    /// It will be taken away.
    End(End),
}

/// A spot interruption.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
struct End {
    /// `terminate`, `stop` or `hibernate`.
    action: String,
    /// When.
    time: Timestamp,
}

impl End {
    /// What running jobs have until they are handed back.
    fn grace(&self, now: Timestamp) -> Duration {
        let left = Duration::try_from(self.time.duration_since(now)).unwrap_or_default();
        left.min(LONGEST_NOTICE).saturating_sub(HAND_BACK)
    }
}

/// Asks for notices.
#[derive(Debug)]
pub struct Watcher {
    client: Client,
    endpoint: String,
    token: Option<String>,
    is_broken: bool,
    rebalance_told: bool,
}

impl Watcher {
    /// Asks at this endpoint, `http://host:port`.
    ///
    /// # Errors
    /// Where no HTTP client can be made.
    pub fn new(endpoint: &str) -> reqwest::Result<Self> {
        // A proxy knows nothing of this machine, and a redirect would lead away from it.
        let client = Client::builder().no_proxy().redirect(reqwest::redirect::Policy::none()).timeout(ANSWER);
        let endpoint = endpoint.trim_end_matches('/').to_owned();
        Ok(Watcher { client: client.build()?, endpoint, token: None, is_broken: false, rebalance_told: false })
    }

    /// Looks once, and begins the drain where there is a notice; true when the end is near and `drain` will be forced.
    /// Call it before anything is taken: a worker may start after the notice.
    pub async fn look(&mut self, drain: &Drain) -> bool {
        let notice = match self.notice().await {
            Ok(notice) => notice,
            Err(error) => {
                if !std::mem::replace(&mut self.is_broken, true) {
                    let error = format!("{error:#}");
                    tracing::warn!(
                        error,
                        "no interruption notices from EC2: the metadata service does not answer; asking on"
                    );
                }
                return false;
            }
        };
        if std::mem::take(&mut self.is_broken) {
            tracing::info!("the metadata service answers again");
        }
        match notice {
            Some(Notice::End(end)) => {
                let grace = end.grace(Timestamp::now());
                let (action, time) = (&end.action, &end.time);
                tracing::warn!(action, %time, grace_secs = grace.as_secs(), "draining: EC2 takes this spot instance away");
                drain.begin("EC2 takes this spot instance away");
                let drain = drain.clone();
                tokio::spawn(async move {
                    sleep(grace).await;
                    drain.forced.cancel();
                });
                true
            }
            Some(Notice::Rebalance) => {
                if !std::mem::replace(&mut self.rebalance_told, true) {
                    tracing::warn!("draining: EC2 recommends to rebalance; running jobs finish, nothing new is taken");
                }
                drain.begin("EC2 recommends to rebalance");
                false
            }
            None => false,
        }
    }

    /// Looks again and again, until the end is near.
    pub async fn watch(mut self, drain: Drain) {
        loop {
            sleep(LOOK_EVERY).await;
            if self.look(&drain).await {
                return;
            }
        }
    }

    async fn notice(&mut self) -> anyhow::Result<Option<Notice>> {
        if let Some(text) = self.get(SPOT).await? {
            let end = serde_json::from_str(&text).with_context(|| format!("{SPOT} says {text:.200}"))?;
            return Ok(Some(Notice::End(end)));
        }
        Ok(self.get(REBALANCE).await?.map(|_| Notice::Rebalance))
    }

    /// What stands there; none where nothing does.
    async fn get(&mut self, path: &str) -> anyhow::Result<Option<String>> {
        let mut is_new = self.token.is_none();
        loop {
            let token = match &self.token {
                Some(token) => token.clone(),
                None => self.token.insert(self.fetch_token().await?).clone(),
            };
            let get = self.client.get(format!("{}{path}", self.endpoint)).header("X-aws-ec2-metadata-token", token);
            let answer = get.send().await.with_context(|| format!("GET {path}"))?;
            match answer.status() {
                StatusCode::NOT_FOUND => return Ok(None),
                StatusCode::OK => return Ok(Some(text(answer).await?)),
                // The token's time is over: once more, with another one.
                StatusCode::UNAUTHORIZED if !is_new => (self.token, is_new) = (None, true),
                status => {
                    self.token = None;
                    bail!("GET {path} answers {status}");
                }
            }
        }
    }

    async fn fetch_token(&self) -> anyhow::Result<String> {
        let put = self.client.put(format!("{}{TOKEN}", self.endpoint));
        let put = put.header("X-aws-ec2-metadata-token-ttl-seconds", TOKEN_SECS).header("Content-Length", "0");
        let answer = put.send().await.with_context(|| format!("PUT {TOKEN}"))?;
        ensure!(answer.status() == StatusCode::OK, "PUT {TOKEN} answers {}", answer.status());
        text(answer).await
    }
}

/// A short answer.
async fn text(mut answer: Response) -> anyhow::Result<String> {
    let mut body = Vec::new();
    while let Some(chunk) = answer.chunk().await? {
        ensure!(body.len() + chunk.len() <= MAX_BYTES, "the answer is longer than {MAX_BYTES} bytes");
        body.extend_from_slice(&chunk);
    }
    Ok(String::from_utf8(body)?)
}

#[cfg(test)]
mod tests;
