//! Events as signed HTTP POSTs.
//!
//! Signed as Standard Webhooks defines it, so that receivers can use its libraries: `webhook-id` is the event's id,
//! `webhook-timestamp` the time of this try, `webhook-signature` the HMAC over both and the body. Redirects are not
//! followed and proxies not used: either would reach an address that was not checked.

mod address;
mod sign;
#[cfg(test)]
mod tests;

use std::error::Error;
use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;
use reqwest::header::CONTENT_TYPE;
use reqwest::redirect::Policy;
use reqwest::{Client, StatusCode, Url};

use super::sink::{EventSink, Message, SinkError};
use crate::config::SinkConfig;

pub use address::check_webhook_url;
pub use sign::SigningKey;

const CONNECT_SECS: u64 = 5;
/// Time to the head of the answer. Its body is never read.
const ANSWER_SECS: u64 = 15;

/// A webhook. See the module.
#[derive(Debug)]
pub struct Webhook {
    client: Client,
    url: Url,
    key: SigningKey,
}

impl Webhook {
    /// Makes the client; connects with the first event only.
    ///
    /// # Errors
    /// A sentence about the URL, the key, or TLS certificates that cannot be loaded.
    pub fn open(config: &SinkConfig) -> Result<Self, String> {
        let url = check_webhook_url(config.url.as_deref().ok_or("a webhook needs `url`")?, config.allow_private)?;
        let key = SigningKey::parse(config.secret.as_ref().ok_or("a webhook needs `secret` or `secret_file`")?)?;
        let mut builder = Client::builder()
            .redirect(Policy::none())
            .no_proxy()
            .connect_timeout(Duration::from_secs(CONNECT_SECS))
            .timeout(Duration::from_secs(ANSWER_SECS))
            .user_agent(concat!("darkroom/", env!("CARGO_PKG_VERSION")));
        if !config.allow_private {
            builder = builder.dns_resolver(crate::address::PublicResolver);
        }
        let client = builder.build().map_err(|e| format!("TLS cannot be set up (install ca-certificates): {e}"))?;
        Ok(Webhook { client, url, key })
    }
}

#[async_trait]
impl EventSink for Webhook {
    async fn deliver(&self, message: &Message) -> Result<(), SinkError> {
        let now = Timestamp::now().as_second();
        let answer = self
            .client
            .post(self.url.clone())
            .header(CONTENT_TYPE, "application/cloudevents+json; charset=utf-8")
            .header("webhook-id", &message.id)
            .header("webhook-timestamp", now)
            .header("webhook-signature", self.key.sign(&message.id, now, message.body.as_bytes()))
            .body(message.body.clone())
            .send()
            .await
            .map_err(|e| SinkError::Passing(causes(&e.without_url())))?;
        let status = answer.status();
        match status {
            _ if status.is_success() => Ok(()),
            _ if status.is_redirection() => {
                Err(SinkError::Final(format!("answered {status}; redirects are not followed: configure the final URL")))
            }
            StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_MANY_REQUESTS => Err(passing(status)),
            _ if status.is_client_error() => Err(SinkError::Final(format!("answered {status}"))),
            _ => Err(passing(status)),
        }
    }
}

fn passing(status: StatusCode) -> SinkError {
    SinkError::Passing(format!("answered {status}"))
}

/// An error and what lies behind it; `reqwest` itself says little more than "error sending request".
fn causes(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        next = cause.source();
    }
    text
}
