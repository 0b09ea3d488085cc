//! Events through Amazon's services: a message in SQS, a message to a topic of SNS, an event on a bus of EventBridge.
//!
//! All three carry the CloudEvent as it is. In SQS and SNS its `type` is an attribute too, by which subscriptions filter;
//! in EventBridge it is the `detail-type`, and the source is `dev.darkroom`. A FIFO queue or topic takes an event once
//! within five minutes, and keeps the events of one job in order.

use std::error::Error;
use std::time::Duration;

use async_trait::async_trait;
use aws_config::{Region, SdkConfig};
use aws_sdk_eventbridge::types::PutEventsRequestEntry;
use aws_sdk_sqs::config::http::HttpResponse;
use aws_sdk_sqs::error::{DisplayErrorContext, ProvideErrorMetadata, SdkError};
use data_encoding::HEXLOWER;
use sha2::{Digest, Sha256};

use super::sink::{EventSink, Message, SinkError};
use crate::aws::account;
use crate::config::{AwsConfig, SinkConfig};
use crate::queue::sqs;

const ANSWER: Duration = Duration::from_secs(10);
const CONTENT_TYPE: (&str, &str) = ("content-type", "application/cloudevents+json");
const TYPE: &str = "type";
/// Whom EventBridge names as the sender.
const SOURCE: &str = "dev.darkroom";

/// A queue of SQS.
#[derive(Debug)]
pub struct SqsSink {
    client: aws_sdk_sqs::Client,
    url: String,
}

impl SqsSink {
    /// Finds the queue.
    ///
    /// # Errors
    /// A sentence: there is none, or SQS does not answer.
    pub async fn open(config: &SinkConfig, aws: &AwsConfig) -> Result<Self, String> {
        let client = aws_sdk_sqs::Client::new(&account(aws, ANSWER).await);
        let name = config.queue.as_deref().ok_or("a sink of kind \"sqs\" needs `queue`")?;
        let url = sqs::find(&client, name, None).await.map_err(|e| e.to_string())?;
        Ok(SqsSink { client, url })
    }
}

#[async_trait]
impl EventSink for SqsSink {
    async fn deliver(&self, message: &Message) -> Result<(), SinkError> {
        use aws_sdk_sqs::types::MessageAttributeValue as Value;
        let mut send = self.client.send_message().queue_url(&self.url).message_body(&message.body);
        for (name, value) in attributes(message) {
            let value = Value::builder().data_type("String").string_value(value).build();
            send = send.message_attributes(name, value.map_err(|e| SinkError::Final(e.to_string()))?);
        }
        if is_fifo(&self.url) {
            let (group, id) = group_and_id(message);
            send = send.message_group_id(group).message_deduplication_id(id);
        }
        Box::pin(send.send()).await.map(drop).map_err(|e| refused(&e))
    }
}

/// A topic of SNS.
#[derive(Debug)]
pub struct SnsSink {
    client: aws_sdk_sns::Client,
    topic: String,
}

impl SnsSink {
    /// Makes the client; connects with the first event only.
    ///
    /// # Errors
    /// A sentence: no topic is named.
    pub async fn open(config: &SinkConfig, aws: &AwsConfig) -> Result<Self, String> {
        let topic = config.topic.clone().ok_or("a sink of kind \"sns\" needs `topic`")?;
        let account = in_region_of(&topic, account(aws, ANSWER).await);
        Ok(SnsSink { client: aws_sdk_sns::Client::new(&account), topic })
    }
}

#[async_trait]
impl EventSink for SnsSink {
    async fn deliver(&self, message: &Message) -> Result<(), SinkError> {
        use aws_sdk_sns::types::MessageAttributeValue as Value;
        let mut publish = self.client.publish().topic_arn(&self.topic).message(&message.body);
        for (name, value) in attributes(message) {
            let value = Value::builder().data_type("String").string_value(value).build();
            publish = publish.message_attributes(name, value.map_err(|e| SinkError::Final(e.to_string()))?);
        }
        if is_fifo(&self.topic) {
            let (group, id) = group_and_id(message);
            publish = publish.message_group_id(group).message_deduplication_id(id);
        }
        Box::pin(publish.send()).await.map(drop).map_err(|e| refused(&e))
    }
}

/// A bus of EventBridge.
#[derive(Debug)]
pub struct EventBridgeSink {
    client: aws_sdk_eventbridge::Client,
    bus: String,
}

impl EventBridgeSink {
    /// Makes the client; connects with the first event only.
    pub async fn open(config: &SinkConfig, aws: &AwsConfig) -> Self {
        let bus = config.bus.clone().unwrap_or_else(|| "default".into());
        let account = in_region_of(&bus, account(aws, ANSWER).await);
        EventBridgeSink { client: aws_sdk_eventbridge::Client::new(&account), bus }
    }
}

#[async_trait]
impl EventSink for EventBridgeSink {
    async fn deliver(&self, message: &Message) -> Result<(), SinkError> {
        let entry = PutEventsRequestEntry::builder().event_bus_name(&self.bus).source(SOURCE);
        let entry = entry.detail_type(message.kind.type_name()).detail(&message.body).build();
        let put = self.client.put_events().entries(entry);
        let put = Box::pin(put.send()).await.map_err(|e| refused(&e))?;
        // A request of one event succeeds, and says of the event that it failed.
        match put.entries().iter().find_map(|entry| entry.error_code().map(|code| (code, entry.error_message()))) {
            Some((code, why)) => Err(by_code(code, format!("{code}: {}", why.unwrap_or_default()))),
            None if put.failed_entry_count() > 0 => Err(SinkError::Passing("the event was not taken".into())),
            None => Ok(()),
        }
    }
}

fn attributes(message: &Message) -> [(&'static str, &'static str); 2] {
    [CONTENT_TYPE, (TYPE, message.kind.type_name())]
}

fn is_fifo(name: &str) -> bool {
    name.ends_with(".fifo")
}

/// Ids begin with the job's and a dot. Hashed, since both names have to be short and of few characters.
fn group_and_id(message: &Message) -> (String, String) {
    let hash = |text: &str| HEXLOWER.encode(&Sha256::digest(text));
    (hash(message.id.split('.').next().unwrap_or_default()), hash(&message.id))
}

/// What an ARN names is found in its own region only.
fn in_region_of(arn: &str, account: SdkConfig) -> SdkConfig {
    let mut parts = arn.split(':');
    match (parts.next(), parts.nth(2)) {
        (Some("arn"), Some(region)) if !region.is_empty() => {
            account.into_builder().region(Region::new(region.to_owned())).build()
        }
        _ => account,
    }
}

fn refused<E>(error: &SdkError<E, HttpResponse>) -> SinkError
where
    E: ProvideErrorMetadata + Error + Send + Sync + 'static,
{
    match (error.code(), error.raw_response().map(|answer| answer.status())) {
        (Some(code), Some(status)) if status.is_client_error() => {
            by_code(code, format!("{code}: {}", error.message().unwrap_or_default()))
        }
        _ => SinkError::Passing(DisplayErrorContext(error).to_string()),
    }
}

/// What passes by itself is worth another try; that somebody has to correct something first is not.
fn by_code(code: &str, sentence: String) -> SinkError {
    let passes = ["Throttl", "TooMany", "Exceeded", "Internal", "Unavailable", "Timeout", "Expired"];
    match passes.iter().any(|word| code.contains(word)) {
        true => SinkError::Passing(sentence),
        false => SinkError::Final(sentence),
    }
}

#[cfg(test)]
mod tests;
