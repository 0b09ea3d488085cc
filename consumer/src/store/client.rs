//! Connections to stores, by name, and how requests are bounded and repeated.

use std::collections::BTreeMap;
use std::error::Error;
use std::fmt::Display;
use std::future::Future;
use std::time::Duration;

use aws_config::BehaviorVersion;
use aws_credential_types::Credentials;
use aws_sdk_s3::Client;
use aws_sdk_s3::config::http::HttpResponse;
use aws_sdk_s3::config::retry::RetryConfig;
use aws_sdk_s3::config::timeout::TimeoutConfig;
use aws_sdk_s3::config::{
    Builder, Region, RequestChecksumCalculation, ResponseChecksumValidation, StalledStreamProtectionConfig,
};
use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_s3::types::{ChecksumAlgorithm, RequestPayer, ServerSideEncryption};
use backon::{ExponentialBuilder, Retryable};
use darkroom_api::{ErrorCode, JobError, Result};

use super::config::{Encryption, Payer};
use super::endpoints::Endpoints;
use super::error::{Access, Failure};
use super::{Checksums, ObjectRef, StoreConfig, Web};

const CONNECT_SECS: u64 = 5;
/// Time to the first byte of an answer; the longest are completions of multipart uploads.
const ANSWER_SECS: u64 = 60;
/// A transfer may stand still this long.
const STALL_SECS: u64 = 30;
/// Where a store has no conditional writes: what stands this long after it was written has won.
const SETTLE: Duration = Duration::from_secs(2);

/// One S3 endpoint. Clones share connections.
#[derive(Debug, Clone)]
pub struct Store {
    pub(super) name: String,
    pub(super) client: Client,
    pub(super) terms: Terms,
}

/// What requests carry, or do not, because of the store they go to.
#[derive(Debug, Clone)]
pub(super) struct Terms {
    pub(super) payer: Option<Payer>,
    pub(super) sse: Option<Encryption>,
    pub(super) kms_key_id: Option<String>,
    /// What parts of an upload are sent with; the upload must be created for it, or AWS refuses them.
    pub(super) checksum: Option<ChecksumAlgorithm>,
    /// Set where writes cannot be conditional.
    pub(super) settle: Option<Duration>,
}

impl Terms {
    pub(super) fn payer(&self) -> Option<RequestPayer> {
        self.payer.map(|Payer::Requester| RequestPayer::Requester)
    }

    pub(super) fn encryption(&self) -> Option<ServerSideEncryption> {
        self.sse.map(|sse| match sse {
            Encryption::Aes256 => ServerSideEncryption::Aes256,
            Encryption::Kms => ServerSideEncryption::AwsKms,
            Encryption::KmsTwice => ServerSideEncryption::AwsKmsDsse,
        })
    }
}

impl Store {
    /// Builds the client; connects with the first request only.
    ///
    /// # Errors
    /// A sentence about keys that cannot be read.
    pub async fn open(config: &StoreConfig) -> Result<Self, String> {
        let custom = config.endpoint.is_some();
        let mut base = aws_config::defaults(BehaviorVersion::latest());
        if let Some((access, secret)) = config.keys()? {
            base = base.credentials_provider(Credentials::new(access, secret, None, None, "darkroom"));
        }
        if let Some(region) = config.region.clone().or_else(|| custom.then(|| "us-east-1".into())) {
            base = base.region(Region::new(region));
        }
        if let Some(endpoint) = &config.endpoint {
            base = base.endpoint_url(endpoint);
        }
        let mut builder = Builder::from(&base.load().await)
            .endpoint_resolver(Endpoints::default())
            .force_path_style(config.path_style.unwrap_or(custom))
            // Repeated here instead (see `attempt`), where each try can be seen and bounded.
            .retry_config(RetryConfig::disabled())
            .timeout_config(
                TimeoutConfig::builder()
                    .connect_timeout(Duration::from_secs(CONNECT_SECS))
                    .read_timeout(Duration::from_secs(ANSWER_SECS))
                    .build(),
            )
            .stalled_stream_protection(
                StalledStreamProtectionConfig::enabled().grace_period(Duration::from_secs(STALL_SECS)).build(),
            );
        let required = match config.checksums {
            Checksums::Auto => custom,
            Checksums::Required => true,
            Checksums::Supported => false,
        };
        if required {
            builder = builder
                .request_checksum_calculation(RequestChecksumCalculation::WhenRequired)
                .response_checksum_validation(ResponseChecksumValidation::WhenRequired);
        }
        let terms = Terms {
            payer: config.request_payer,
            sse: config.sse,
            kms_key_id: config.kms_key_id.clone(),
            checksum: (!required).then_some(ChecksumAlgorithm::Crc32),
            settle: (!config.conditional_writes).then_some(SETTLE),
        };
        Ok(Store { name: config.name.clone(), client: Client::from_conf(builder.build()), terms })
    }

    /// Its name in the configuration.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Sends a request up to four times while it fails for reasons that pass, with jittered pauses from 0.2 to 3 s.
    pub(super) async fn attempt<T, E, F, Call>(
        &self,
        access: Access,
        what: &(dyn Display + Sync),
        call: Call,
    ) -> Result<T, Failure>
    where
        E: ProvideErrorMetadata + Error + 'static,
        F: Future<Output = Result<T, SdkError<E, HttpResponse>>>,
        Call: Fn() -> F,
    {
        // Boxed: the SDK's futures are several kilobytes, and callers hold many.
        let once = || async { Box::pin(call()).await.map_err(|e| Failure::new(&self.name, access, what, &e)) };
        once.retry(backoff())
            .when(Failure::is_transient)
            .notify(|failure: &Failure, pause| {
                tracing::debug!(store = self.name, error = %failure.error, ?pause, "request repeated");
            })
            .await
    }
}

/// Pauses between tries of one request.
pub(super) fn backoff() -> ExponentialBuilder {
    ExponentialBuilder::default()
        .with_min_delay(Duration::from_millis(200))
        .with_max_delay(Duration::from_secs(3))
        .with_max_times(3)
        .with_jitter()
}

/// All configured stores, by name.
#[derive(Debug, Clone)]
pub struct Stores {
    by_name: BTreeMap<String, Store>,
    default: String,
    web: Option<Web>,
}

impl Stores {
    /// Opens all; the first is the default one.
    ///
    /// # Errors
    /// A sentence for each store that cannot be opened, names given twice, or no store at all.
    pub async fn open(configs: &[StoreConfig]) -> Result<Self, Vec<String>> {
        let mut errors = Vec::new();
        let mut by_name = BTreeMap::new();
        for config in configs {
            match Store::open(config).await {
                Ok(store) => {
                    if by_name.insert(config.name.clone(), store).is_some() {
                        errors.push(format!("Two stores are called `{}`: rename one.", config.name));
                    }
                }
                Err(error) => errors.push(error),
            }
        }
        match configs.first() {
            Some(first) if errors.is_empty() => Ok(Stores { by_name, default: first.name.clone(), web: None }),
            Some(_) => Err(errors),
            None => Err(vec![
                "No store is configured: add [[stores]], [[sources]] and [[destinations]], and [[routes]] for uploads."
                    .into(),
            ]),
        }
    }

    /// One store, which is the default one.
    #[cfg(test)]
    pub(crate) fn of(store: Store) -> Self {
        let default = store.name().to_owned();
        Stores { by_name: BTreeMap::from([(default.clone(), store)]), default, web: None }
    }

    /// The same, and inputs from the web.
    #[must_use]
    pub fn with_web(self, web: Web) -> Self {
        Stores { web: Some(web), ..self }
    }

    /// Where inputs that are no objects come from.
    ///
    /// # Errors
    /// [`ErrorCode::SourceForbidden`] where none may.
    pub fn web(&self) -> Result<&Web> {
        self.web.as_ref().ok_or_else(|| {
            JobError::new(ErrorCode::SourceForbidden, "No https inputs are allowed here: name their hosts in [https].")
        })
    }

    /// A store by name.
    ///
    /// # Errors
    /// [`ErrorCode::Internal`] for a name that is not configured (any more).
    pub fn get(&self, name: &str) -> Result<&Store> {
        self.by_name.get(name).ok_or_else(|| {
            JobError::new(ErrorCode::Internal, format!("No store is called `{name}`: add it to [[stores]]."))
        })
    }

    /// The store that holds where no name is given.
    #[allow(clippy::expect_used, reason = "`open` is the only constructor and puts the default in")]
    pub fn default_store(&self) -> &Store {
        self.by_name.get(&self.default).expect("the default store is in the table")
    }

    /// Gives an object the version or ETag and the size it has now, where the trigger did not say. Of an input from the
    /// web whose host has no strong entity tags only the size is known then: see [`Web::get_and_pin`].
    ///
    /// # Errors
    /// [`ErrorCode::InputNotFound`] and those of [`Store::head`].
    pub async fn pin(&self, object: &ObjectRef) -> Result<ObjectRef> {
        if object.is_pinned() {
            return Ok(object.clone());
        }
        if object.is_web() {
            return self.web()?.pin(object).await;
        }
        let head = self.get(&object.store)?.head(object).await?.ok_or_else(|| {
            JobError::new(ErrorCode::InputNotFound, format!("{object} is not there: upload it and submit again."))
        })?;
        Ok(ObjectRef { version: head.version, etag: head.etag, size: Some(head.bytes), ..object.clone() })
    }
}
