//! Small objects and their names: HEAD, GET, conditional PUT, LIST, DELETE, buckets.

use std::borrow::Cow;
use std::time::{Duration, Instant};

use aws_sdk_s3::operation::put_object::builders::PutObjectFluentBuilder;
use aws_sdk_s3::types::{BucketLocationConstraint, CreateBucketConfiguration, EncodingType, Object};
use aws_smithy_types::DateTime;
use bytes::Bytes;
use darkroom_api::{ErrorCode, JobError, Result};
use futures::{TryStreamExt, stream};
use jiff::Timestamp;
use percent_encoding::percent_decode_str;

use super::error::{Access, Failure, innermost};
use super::{ObjectRef, Place, Store};

/// Requests in flight when many objects are deleted.
const DELETES_AT_ONCE: usize = 8;

/// What HEAD tells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Head {
    /// Size.
    pub bytes: u64,
    /// Entity tag without quotes.
    pub etag: Option<String>,
    /// Version id, in versioned buckets.
    pub version: Option<String>,
    /// Media type it was stored with.
    pub media_type: Option<String>,
    /// When it was written, by the store's clock, often in whole seconds.
    pub modified: Option<Timestamp>,
}

/// What became of a conditional write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub enum Put {
    /// Written.
    Done,
    /// Something was there already. After a repeated request it may be what this very call wrote: compare content.
    Exists,
}

/// One entry of a listing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// Key.
    pub key: String,
    /// Size.
    pub bytes: u64,
    /// When it was written, by the store's clock.
    pub modified: Option<Timestamp>,
}

impl Store {
    /// What the store knows of an object; `None` where there is none. A pinned version is asked for.
    ///
    /// # Errors
    /// Codes of [`super::error::classify`].
    pub async fn head(&self, object: &ObjectRef) -> Result<Option<Head>> {
        let answer = self
            .attempt(Access::Read, object, || {
                let request = self.client.head_object().bucket(&object.bucket).key(&object.key);
                let request = request.set_request_payer(self.terms.payer());
                request.set_version_id(object.version.clone()).send()
            })
            .await;
        match answer {
            Ok(head) => Ok(Some(Head {
                bytes: size(head.content_length),
                etag: unquoted(head.e_tag.as_deref()),
                version: real_version(head.version_id),
                media_type: head.content_type,
                modified: head.last_modified.and_then(timestamp),
            })),
            Err(failure) if failure.is_status(404) => Ok(None),
            Err(failure) => Err(failure.into()),
        }
    }

    /// A small object's content; `None` where there is none.
    ///
    /// # Errors
    /// [`ErrorCode::Internal`] beyond `max_bytes`, and codes of [`super::error::classify`].
    pub async fn get_bytes(&self, bucket: &str, key: &str, max_bytes: u64) -> Result<Option<Bytes>> {
        let object = ObjectRef::new(self.name(), bucket, key);
        let get = || self.client.get_object().bucket(bucket).key(key).set_request_payer(self.terms.payer()).send();
        let answer = self.attempt(Access::Read, &object, get).await;
        let mut body = match answer {
            Ok(answer) => answer.body,
            Err(failure) if failure.is_status(404) => return Ok(None),
            Err(failure) => return Err(failure.into()),
        };
        let mut content = Vec::new();
        while let Some(chunk) = body.try_next().await.map_err(|e| broken_off(&object, &innermost(&e)))? {
            if (content.len() + chunk.len()) as u64 > max_bytes {
                let message = format!("{object} is longer than {max_bytes} bytes: it was not written by Darkroom.");
                return Err(JobError::new(ErrorCode::Internal, message));
            }
            content.extend_from_slice(&chunk);
        }
        Ok(Some(content.into()))
    }

    /// Writes a small object over what may be there.
    ///
    /// # Errors
    /// Codes of [`super::error::classify`].
    pub async fn put_bytes(&self, bucket: &str, key: &str, content: Bytes, media_type: &str) -> Result<()> {
        self.put(bucket, key, content, media_type, None).await.map(drop).map_err(JobError::from)
    }

    /// Writes a small object where nothing is (`If-None-Match: *`): of several writers one succeeds.
    ///
    /// A store without conditional writes is asked whether something is there, written to, and asked again a while later:
    /// what stands then has won (as in Fischer's mutual exclusion, see Lamport, "A fast mutual exclusion algorithm"). That
    /// holds as long as nobody takes longer than this while from his first look to his write. Who does, fails; but what
    /// he wrote stays.
    ///
    /// # Errors
    /// Codes of [`super::error::classify`].
    pub async fn put_if_absent(&self, bucket: &str, key: &str, content: Bytes, media_type: &str) -> Result<Put> {
        if let Some(settle) = self.terms.settle {
            return self.put_and_look(settle, bucket, key, content, media_type).await;
        }
        match self.put(bucket, key, content, media_type, Some("*")).await {
            Ok(_) => Ok(Put::Done),
            Err(failure) if failure.is_status(412) => Ok(Put::Exists),
            Err(failure) if failure.is_status(501) => Err(self.without_conditions()),
            Err(failure) => Err(failure.into()),
        }
    }

    async fn put_and_look(
        &self,
        settle: Duration,
        bucket: &str,
        key: &str,
        content: Bytes,
        media_type: &str,
    ) -> Result<Put> {
        let (object, begun) = (ObjectRef::new(self.name(), bucket, key), Instant::now());
        let unsure = |why: &str| {
            let message = format!("Whether {object} is ours cannot be told ({why}): check the store and the network.");
            JobError::new(ErrorCode::StoreUnavailable, message)
        };
        if self.head(&object).await?.is_some() {
            return Ok(Put::Exists);
        }
        let written = self.put(bucket, key, content, media_type, None).await?;
        if begun.elapsed() > settle {
            return Err(unsure("the store took too long for a look and a write"));
        }
        tokio::time::sleep(settle).await;
        match self.head(&object).await? {
            Some(head) if head.etag.is_some() && head.etag == written => Ok(Put::Done),
            Some(_) => Ok(Put::Exists),
            None => Err(unsure("it is gone")),
        }
    }

    /// Proves that a write to where something is is refused, by two writes of an object that is deleted again: a store
    /// that ignores the condition would give one job to several workers.
    ///
    /// # Errors
    /// [`ErrorCode::Internal`] for such a store, and codes of [`super::error::classify`].
    pub async fn check_conditional_writes(&self, place: &Place) -> Result<()> {
        if self.terms.settle.is_some() {
            return Ok(());
        }
        let key = place.key(&format!(".conditional-{}", uuid::Uuid::now_v7().simple()));
        let put = || self.put_if_absent(&place.bucket, &key, Bytes::new(), "application/octet-stream");
        let (_first, second) = (put().await?, put().await);
        self.delete(&place.bucket, &key).await?;
        match second? {
            Put::Exists => Ok(()),
            Put::Done => Err(self.without_conditions()),
        }
    }

    fn without_conditions(&self) -> JobError {
        let message = format!(
            "The store `{}` has no conditional writes (If-None-Match): set `conditional_writes = false` for it, and see the \
             README for what that means.",
            self.name()
        );
        JobError::new(ErrorCode::Internal, message)
    }

    /// A write with what the store's configuration asks for.
    pub(super) fn put_request(&self, bucket: &str, key: &str, media_type: &str) -> PutObjectFluentBuilder {
        let request = self.client.put_object().bucket(bucket).key(key).content_type(media_type);
        let request = request.set_server_side_encryption(self.terms.encryption());
        request.set_ssekms_key_id(self.terms.kms_key_id.clone()).set_request_payer(self.terms.payer())
    }

    /// The entity tag of what was written.
    async fn put(
        &self,
        bucket: &str,
        key: &str,
        content: Bytes,
        media_type: &str,
        if_none_match: Option<&str>,
    ) -> Result<Option<String>, Failure> {
        let object = ObjectRef::new(self.name(), bucket, key);
        self.attempt(Access::Write, &object, || {
            let request = self.put_request(bucket, key, media_type);
            let request = request.set_if_none_match(if_none_match.map(str::to_owned));
            request.body(content.clone().into()).send()
        })
        .await
        .map(|written| unquoted(written.e_tag.as_deref()))
    }

    /// All objects of a place, in key order, at most `max`.
    ///
    /// # Errors
    /// [`ErrorCode::Internal`] beyond `max`, and codes of [`super::error::classify`].
    pub async fn list(&self, place: &Place, max: usize) -> Result<Vec<Listed>> {
        match self.list_first(place, max).await? {
            (listed, false) => Ok(listed),
            (_, true) => Err(JobError::new(ErrorCode::Internal, format!("{place} holds more than {max} entries."))),
        }
    }

    /// The first `max` objects of a place, in key order, and whether there are more.
    ///
    /// # Errors
    /// Codes of [`super::error::classify`].
    pub async fn list_first(&self, place: &Place, max: usize) -> Result<(Vec<Listed>, bool)> {
        let (mut listed, mut next) = (Vec::new(), None);
        loop {
            let (page, after) = self.list_page(place, next).await?;
            listed.extend(page);
            if listed.len() > max {
                listed.truncate(max);
                return Ok((listed, true));
            }
            next = after;
            if next.is_none() {
                return Ok((listed, false));
            }
        }
    }

    /// One page of a place in key order, a thousand objects on most stores, and the token of the page after it; the
    /// first page without a token.
    ///
    /// # Errors
    /// Codes of [`super::error::classify`].
    pub async fn list_page(&self, place: &Place, token: Option<String>) -> Result<(Vec<Listed>, Option<String>)> {
        let page = self
            .attempt(Access::Read, place, || {
                let request = self.client.list_objects_v2().bucket(&place.bucket).prefix(&place.prefix);
                let request = request.set_request_payer(self.terms.payer());
                // Keys may hold characters that XML cannot: one of them would spoil the page.
                request.encoding_type(EncodingType::Url).set_continuation_token(token.clone()).send()
            })
            .await?;
        let is_encoded = page.encoding_type == Some(EncodingType::Url);
        let object = |o: Object| {
            let key = if is_encoded { decoded(&o.key?)? } else { o.key? };
            Some(Listed { key, bytes: size(o.size), modified: o.last_modified.and_then(timestamp) })
        };
        let listed = page.contents.unwrap_or_default().into_iter().filter_map(object).collect();
        Ok((listed, page.next_continuation_token))
    }

    /// One request that proves endpoint, keys and bucket, whatever the place holds.
    ///
    /// # Errors
    /// Codes of [`super::error::classify`].
    pub async fn reach(&self, place: &Place) -> Result<()> {
        let list = || {
            let request = self.client.list_objects_v2().bucket(&place.bucket).prefix(&place.prefix).max_keys(1);
            request.set_request_payer(self.terms.payer()).send()
        };
        self.attempt(Access::Read, place, list).await.map(drop).map_err(Into::into)
    }

    /// Deletes objects; what is not there counts as deleted. One request each, since several stores lack or
    /// misread the request that deletes many.
    ///
    /// # Errors
    /// Codes of [`super::error::classify`]; others may have been deleted by then.
    pub async fn delete_many(&self, bucket: &str, keys: impl IntoIterator<Item = String>) -> Result<()> {
        stream::iter(keys.into_iter().map(Ok))
            .try_for_each_concurrent(DELETES_AT_ONCE, |key: String| async move { self.delete(bucket, &key).await })
            .await
    }

    /// Deletes one object, if it is there.
    ///
    /// # Errors
    /// Codes of [`super::error::classify`].
    pub async fn delete(&self, bucket: &str, key: &str) -> Result<()> {
        let object = ObjectRef::new(self.name(), bucket, key);
        let call = || self.client.delete_object().bucket(bucket).key(key).set_request_payer(self.terms.payer()).send();
        match self.attempt(Access::Write, &object, call).await {
            Ok(_) => Ok(()),
            Err(failure) if failure.is_status(404) => Ok(()),
            Err(failure) => Err(failure.into()),
        }
    }

    /// Creates a bucket unless it is there.
    ///
    /// # Errors
    /// Codes of [`super::error::classify`].
    pub async fn create_bucket_if_absent(&self, bucket: &str) -> Result<()> {
        let place = Place { store: self.name().into(), bucket: bucket.into(), prefix: String::new() };
        match self.attempt(Access::Read, &place, || self.client.head_bucket().bucket(bucket).send()).await {
            Ok(_) => return Ok(()),
            Err(failure) if failure.is_status(404) => {}
            Err(failure) => return Err(failure.into()),
        }
        let answer = self
            .attempt(Access::Write, &place, || {
                let request = self.client.create_bucket().bucket(bucket);
                request.set_create_bucket_configuration(self.location()).send()
            })
            .await;
        match answer {
            Ok(_) => Ok(()),
            // Somebody was faster, and it is ours.
            Err(failure) if failure.store_code.as_deref() == Some("BucketAlreadyOwnedByYou") => Ok(()),
            Err(failure) => Err(failure.into()),
        }
    }

    /// AWS wants the region named in the request, except for its first.
    fn location(&self) -> Option<CreateBucketConfiguration> {
        let region = self.client.config().region()?.as_ref();
        let constraint = BucketLocationConstraint::from(region);
        (region != "us-east-1").then(|| CreateBucketConfiguration::builder().location_constraint(constraint).build())
    }
}

/// An entity tag without its quotes, as notifications write it.
pub(super) fn unquoted(etag: Option<&str>) -> Option<String> {
    etag.map(|tag| tag.trim_matches('"').to_owned()).filter(|tag| !tag.is_empty())
}

/// Buckets without versioning call every version `null`, which pins nothing.
pub(super) fn real_version(version: Option<String>) -> Option<String> {
    version.filter(|v| !v.is_empty() && v != "null")
}

/// A key as listings write it when asked for `encoding-type=url`, where `+` is a space; `None` for what is not UTF-8.
pub(super) fn decoded(key: &str) -> Option<String> {
    let spaced = key.replace('+', " ");
    percent_decode_str(&spaced).decode_utf8().ok().map(Cow::into_owned)
}

/// A time that a store tells; `None` for one that no calendar has.
pub(super) fn timestamp(time: DateTime) -> Option<Timestamp> {
    Timestamp::new(time.secs(), i32::try_from(time.subsec_nanos()).ok()?).ok()
}

pub(super) fn size(length: Option<i64>) -> u64 {
    length.and_then(|n| u64::try_from(n).ok()).unwrap_or(0)
}

pub(super) fn broken_off(object: &ObjectRef, error: &dyn std::fmt::Display) -> JobError {
    let message = format!("The transfer of {object} broke off ({error}): check the network and the store.");
    JobError::new(ErrorCode::StoreUnavailable, message)
}
