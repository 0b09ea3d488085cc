//! Buckets through an ordinary S3 client.

use aws_credential_types::Credentials;
use aws_sdk_s3::config::{BehaviorVersion, Region};
use aws_sdk_s3::{Client, Config};
use serde_json::Value;

use super::wait_for;

/// One bucket of a server.
#[derive(Debug, Clone)]
pub(crate) struct Bucket {
    client: Client,
    name: String,
}

impl Bucket {
    /// A bucket by the addresses and keys of `up.json`.
    pub(crate) fn of(up_json: &Value, name: &str) -> Bucket {
        let text = |field: &str| up_json[field].as_str().unwrap().to_owned();
        let config = Config::builder()
            .behavior_version(BehaviorVersion::latest())
            .endpoint_url(text("s3"))
            .region(Region::new(text("region")))
            .credentials_provider(Credentials::new(text("access_key"), text("secret_key"), None, None, "tests"))
            .force_path_style(true)
            .build();
        Bucket { client: Client::from_conf(config), name: name.to_owned() }
    }

    /// For requests that have no method here.
    pub(crate) fn client(&self) -> &Client {
        &self.client
    }

    /// Its name.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Makes the bucket.
    pub(crate) fn create(&self) {
        wait_for(self.client.create_bucket().bucket(&self.name).send()).unwrap();
    }

    /// An ordinary PUT; its ETag.
    pub(crate) fn put(&self, key: &str, body: impl Into<Vec<u8>>) -> String {
        let put = self.client.put_object().bucket(&self.name).key(key).body(body.into().into());
        let answer = wait_for(put.send()).unwrap_or_else(|e| panic!("PUT {key}: {e:?}"));
        answer.e_tag.unwrap().trim_matches('"').to_owned()
    }

    /// A PUT in a bucket with versions; the ETag and the version id.
    pub(crate) fn put_version(&self, key: &str, body: Vec<u8>) -> (String, String) {
        let put = self.client.put_object().bucket(&self.name).key(key).body(body.into());
        let answer = wait_for(put.send()).unwrap();
        (answer.e_tag.unwrap().trim_matches('"').to_owned(), answer.version_id.unwrap())
    }

    /// An object's entity tag, without quotes.
    pub(crate) fn etag(&self, key: &str) -> String {
        let head = wait_for(self.client.head_object().bucket(&self.name).key(key).send()).unwrap();
        head.e_tag().unwrap().trim_matches('"').to_owned()
    }

    /// An object's content.
    pub(crate) fn get(&self, key: &str) -> Vec<u8> {
        wait_for(async {
            let object = self.client.get_object().bucket(&self.name).key(key).send().await.unwrap();
            object.body.collect().await.unwrap().to_vec()
        })
    }

    /// An object's content as JSON.
    pub(crate) fn json(&self, key: &str) -> Value {
        serde_json::from_slice(&self.get(key)).unwrap()
    }

    /// Deletes an object.
    pub(crate) fn delete(&self, key: &str) {
        wait_for(self.client.delete_object().bucket(&self.name).key(key).send()).unwrap();
    }

    /// All keys that begin so.
    pub(crate) fn keys(&self, prefix: &str) -> Vec<String> {
        wait_for(async {
            let list = self.client.list_objects_v2().bucket(&self.name).prefix(prefix);
            let (mut keys, mut pages) = (Vec::new(), list.into_paginator().send());
            while let Some(page) = pages.next().await {
                let page = page.unwrap();
                keys.extend(page.contents().iter().map(|object| object.key().unwrap().to_owned()));
            }
            keys
        })
    }

    /// Keys of multipart uploads that were begun and neither completed nor aborted.
    pub(crate) fn unfinished(&self) -> Vec<String> {
        let list = wait_for(self.client.list_multipart_uploads().bucket(&self.name).send()).unwrap();
        list.uploads().iter().map(|upload| upload.key().unwrap().to_owned()).collect()
    }
}
