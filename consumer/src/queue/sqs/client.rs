//! From the configuration to a queue that has been looked at.

use std::time::Duration;

use aws_sdk_sqs::Client;
use aws_sdk_sqs::types::QueueAttributeName as Attribute;
use serde::Deserialize;

use super::error::Fault;
use super::held::Held;
use super::{LONGEST_POLL, Options, SqsQueue, Target};
use crate::config::{AwsConfig, SqsConfig};
use crate::queue::{Error, Result};

/// Time for an answer that waits for nothing.
const ANSWER: Duration = Duration::from_secs(10);
/// Longest message where the queue does not say.
const MAX_BYTES: usize = 256 << 10;

/// The queue's own rule for messages that are received too often.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct RedrivePolicy {
    dead_letter_target_arn: String,
    #[serde(deserialize_with = "number")]
    max_receive_count: u32,
}

/// SQS gives back what was set, be it a number or a text.
fn number<'de, D: serde::Deserializer<'de>>(from: D) -> Result<u32, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Number {
        Number(u32),
        Text(String),
    }
    match Number::deserialize(from)? {
        Number::Number(number) => Ok(number),
        Number::Text(text) => text.parse().map_err(serde::de::Error::custom),
    }
}

impl SqsQueue {
    /// Connects, finds the queue and its dead-letter queue, and checks that they suit.
    ///
    /// # Errors
    /// [`Error::Unavailable`] with a sentence that names the remedy: SQS does not answer, a queue is missing, there is
    /// no dead-letter queue, or the redrive policy gives up before the worker does.
    pub async fn open(aws: &AwsConfig, config: &SqsConfig, options: Options) -> Result<Self> {
        let client = Client::new(&crate::aws::account(aws, LONGEST_POLL + ANSWER).await);
        let name = config.queue.as_deref().ok_or_else(|| wrong("set `queue.sqs.queue` to the queue's name or URL"))?;
        let (jobs, policy) = inspect(&client, find(&client, name, None).await?).await?;
        let dead = match (&config.dead_letter_queue, &policy) {
            (Some(name), _) => find(&client, name, None).await?,
            (None, Some(policy)) => {
                let arn = &policy.dead_letter_target_arn;
                let parts: Vec<&str> = arn.split(':').collect();
                let [.., account, name] = parts[..] else {
                    return Err(wrong(format!("the redrive policy names no queue: {arn}")));
                };
                find(&client, name, Some(account)).await?
            }
            (None, None) => {
                return Err(wrong(format!(
                    "the queue {name} has no redrive policy: give it one with a dead-letter queue, or name that in \
                     `queue.sqs.dead_letter_queue`"
                )));
            }
        };
        let (dead, _) = inspect(&client, dead).await?;
        if dead.url == jobs.url {
            return Err(wrong("`queue.sqs.dead_letter_queue` is the queue itself: name another one"));
        }
        if let Some(policy) = policy.filter(|policy| policy.max_receive_count < options.max_receives) {
            return Err(wrong(format!(
                "the redrive policy of {name} gives a message up after {} receives, and interruptions count too: set its \
                 maxReceiveCount to at least {} (4 x `worker.max_attempts`)",
                policy.max_receive_count, options.max_receives
            )));
        }
        Ok(SqsQueue { client, jobs, dead, options, held: Held::default() })
    }
}

fn wrong(sentence: impl Into<String>) -> Error {
    Error::unavailable(anyhow::Error::msg(sentence.into()))
}

/// The URL of a queue, which may be given itself.
pub(crate) async fn find(client: &Client, name: &str, account: Option<&str>) -> Result<String> {
    if name.contains("://") {
        return Ok(name.to_owned());
    }
    let get = client.get_queue_url().queue_name(name).set_queue_owner_aws_account_id(account.map(ToOwned::to_owned));
    let what = format!("looking for the queue {name}");
    let found = Box::pin(get.send()).await.map_err(|e| Fault::new(&what, &e))?;
    found.queue_url.ok_or_else(|| wrong(format!("{what}: SQS gave no URL")))
}

async fn inspect(client: &Client, url: String) -> Result<(Target, Option<RedrivePolicy>)> {
    let get = client.get_queue_attributes().queue_url(&url).attribute_names(Attribute::All);
    let got = Box::pin(get.send()).await.map_err(|e| Fault::new(&format!("looking at the queue {url}"), &e))?;
    let attribute = |name| got.attributes.as_ref().and_then(|all| all.get(&name)).map(String::as_str);
    let policy = match attribute(Attribute::RedrivePolicy).filter(|json| !json.is_empty()) {
        Some(json) => {
            let policy = serde_json::from_str(json);
            Some(policy.map_err(|e| wrong(format!("the redrive policy of {url} cannot be read: {e}")))?)
        }
        None => None,
    };
    let fifo = attribute(Attribute::FifoQueue) == Some("true");
    let max_bytes = attribute(Attribute::MaximumMessageSize).and_then(|text| text.parse().ok()).unwrap_or(MAX_BYTES);
    Ok((Target { url, fifo, max_bytes }, policy))
}
