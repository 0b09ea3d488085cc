//! The requests, each with its bounds.

use std::time::Duration;

use aws_sdk_sqs::types::{MessageSystemAttributeName, QueueAttributeName as Attribute};
use data_encoding::HEXLOWER;
use sha2::{Digest, Sha256};
use uuid::Uuid;

use super::error::{Fault, unless_stale};
use super::notes::{NAMES, Parcel, Received};
use super::{Depth, MAX_BATCH, Result, SqsQueue, Target, whole_secs};

impl SqsQueue {
    /// Sends a message and returns its id; it is durable then.
    pub(super) async fn post(&self, to: &Target, parcel: Parcel<'_>) -> Result<String> {
        let mut send = self.client.send_message().queue_url(&to.url).message_body(parcel.body);
        let room = to.max_bytes.saturating_sub(parcel.body.len());
        send = send.set_message_attributes(parcel.notes.attributes(room));
        if to.fifo {
            // What is sent anew within five minutes must not count as sent already.
            let unique = || Uuid::now_v7().to_string();
            let dedup_id = parcel.dedup_id.map_or_else(unique, |id| HEXLOWER.encode(&Sha256::digest(id)));
            // Jobs wait for no other job: each has its own group, where the sender gave none.
            let group = parcel.group.map_or_else(|| dedup_id.clone(), ToOwned::to_owned);
            send = send.message_deduplication_id(dedup_id).message_group_id(group);
        } else {
            // Said even when it is none: the queue may have a delay of its own. A group shares a standard queue fairly.
            send = send.delay_seconds(whole_secs(parcel.delay)).set_message_group_id(parcel.group.map(Into::into));
        }
        let sent = Box::pin(send.send()).await.map_err(|e| Fault::new("sending a message", &e))?;
        sent.message_id.ok_or_else(|| Fault::Other("sending a message: SQS gave it no id".into()).into())
    }

    /// Takes up to ten visible messages and hides them for `hidden`; waits for the first up to `wait`.
    pub(super) async fn poll(
        &self,
        from: &Target,
        max: usize,
        wait: Duration,
        hidden: Duration,
    ) -> Result<Vec<Received>> {
        let receive = self.client.receive_message().queue_url(&from.url);
        let receive = receive
            .max_number_of_messages(i32::try_from(max.clamp(1, MAX_BATCH)).unwrap_or(1))
            .wait_time_seconds(whole_secs(wait.min(super::LONGEST_POLL)))
            .visibility_timeout(whole_secs(hidden))
            .message_system_attribute_names(MessageSystemAttributeName::All)
            .set_message_attribute_names(Some(NAMES.map(Into::into).to_vec()));
        let received = Box::pin(receive.send()).await.map_err(|e| Fault::new("receiving messages", &e))?;
        Ok(received.messages.unwrap_or_default().into_iter().filter_map(Received::read).collect())
    }

    /// Makes a message visible after that time; false when the handle is stale.
    pub(super) async fn hide(&self, of: &Target, handle: &str, hidden: Duration) -> Result<bool> {
        let change = self.client.change_message_visibility().queue_url(&of.url).receipt_handle(handle);
        let changed = Box::pin(change.visibility_timeout(whole_secs(hidden)).send()).await;
        unless_stale(changed.map_err(|e| Fault::of_receipt("extending a lease", &e)))
    }

    /// Deletes a message; false when the handle is stale.
    pub(super) async fn delete(&self, of: &Target, handle: &str) -> Result<bool> {
        let delete = self.client.delete_message().queue_url(&of.url).receipt_handle(handle);
        let deleted = Box::pin(delete.send()).await;
        unless_stale(deleted.map_err(|e| Fault::of_receipt("deleting a message", &e)))
    }

    /// Counts messages, as far as SQS knows.
    pub(super) async fn count(&self, of: &Target) -> Result<Depth> {
        let names = [
            Attribute::ApproximateNumberOfMessages,
            Attribute::ApproximateNumberOfMessagesDelayed,
            Attribute::ApproximateNumberOfMessagesNotVisible,
        ];
        let get = self.client.get_queue_attributes().queue_url(&of.url).set_attribute_names(Some(names.to_vec()));
        let got = Box::pin(get.send()).await.map_err(|e| Fault::new("counting messages", &e))?;
        let [visible, delayed, in_flight] = names.map(|name| {
            let text = got.attributes.as_ref().and_then(|all| all.get(&name));
            text.and_then(|text| text.parse().ok()).unwrap_or(0)
        });
        Ok(Depth { visible, delayed, in_flight, dead: 0, oldest_age_secs: None })
    }
}
