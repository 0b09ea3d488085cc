//! The way to Amazon's services that are no stores: SQS, SNS, EventBridge.

use std::time::Duration;

use aws_config::retry::RetryConfig;
use aws_config::timeout::TimeoutConfig;
use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_credential_types::Credentials;

use crate::config::AwsConfig;

const CONNECT: Duration = Duration::from_secs(5);

/// Credentials, region and address; a request gets `answer` for its answer. Connects with the first request only.
pub(crate) async fn account(config: &AwsConfig, answer: Duration) -> SdkConfig {
    let mut base = aws_config::defaults(BehaviorVersion::latest())
        // Whoever asks knows how long it may wait, and asks again.
        .retry_config(RetryConfig::disabled())
        .timeout_config(TimeoutConfig::builder().connect_timeout(CONNECT).read_timeout(answer).build());
    if let (Some(access), Some(secret)) = (&config.access_key, &config.secret_key) {
        base = base.credentials_provider(Credentials::new(access.expose(), secret.expose(), None, None, "darkroom"));
    }
    let default = || config.endpoint.as_ref().map(|_| "us-east-1".to_owned());
    if let Some(region) = config.region.clone().or_else(default) {
        base = base.region(Region::new(region));
    }
    if let Some(endpoint) = &config.endpoint {
        base = base.endpoint_url(endpoint);
    }
    base.load().await
}
