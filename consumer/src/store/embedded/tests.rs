//! With the real SDK over real HTTP.

use std::{path::Path, time::Duration};

use aws_sdk_s3::{
    Client,
    config::{BehaviorVersion, Credentials, Region},
    error::{ProvideErrorMetadata, SdkError},
    presigning::PresigningConfig,
    primitives::ByteStream,
};
use serde_json::Value;
use tokio::{net::TcpListener, task::JoinHandle};
use tokio_util::sync::{CancellationToken, DropGuard};

use super::*;
use crate::queue::{Queue as _, Settlement, sqlite};

mod listing;
mod multipart;
mod objects;
mod restart;

const KEYS: (&str, &str) = ("test-access", "test-secret");

/// A running server on a directory of its own.
struct Server {
    client: Client,
    endpoint: String,
    db: Db,
    queue: sqlite::SqliteQueue,
    stop: DropGuard,
    task: JoinHandle<()>,
}

/// All objects in blobs, so that the tests can count them.
fn options() -> Options {
    Options {
        buckets: vec!["in-bucket".into(), "out-bucket".into()],
        notifications: vec![Notification { bucket: "in-bucket".into(), prefix: "in/".into(), queue: "jobs".into() }],
        min_free_bytes: 0,
        inline_bytes: None,
        ..Options::new(KEYS.0, KEYS.1)
    }
}

fn client(endpoint: &str, keys: (&str, &str)) -> Client {
    let config = aws_sdk_s3::Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .endpoint_url(endpoint)
        .region(Region::new("us-east-1"))
        .credentials_provider(Credentials::new(keys.0, keys.1, None, None, "test"))
        .retry_config(aws_sdk_s3::config::retry::RetryConfig::disabled())
        .force_path_style(true);
    Client::from_conf(config.build())
}

impl Server {
    async fn start(dir: &Path, options: Options) -> Server {
        let db = Db::open(dir.join("db")).await.unwrap();
        let queue = sqlite::SqliteQueue::new(db.clone(), sqlite::Options::default());
        let embedded = Embedded::open(dir, db.clone(), options).await.unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        let stop = CancellationToken::new();
        let task = tokio::spawn(embedded.serve(listener, stop.clone().cancelled_owned()));
        Server { client: client(&endpoint, KEYS), endpoint, db, queue, stop: stop.drop_guard(), task }
    }

    async fn stop(self) {
        drop(self.stop);
        self.task.await.unwrap();
    }

    async fn put(&self, key: &str, body: &[u8]) -> String {
        let put = self.client.put_object().bucket("in-bucket").key(key).body(bytes(body));
        put.send().await.unwrap().e_tag.unwrap()
    }

    async fn get(&self, key: &str) -> Vec<u8> {
        let got = self.client.get_object().bucket("in-bucket").key(key).send().await.unwrap();
        got.body.collect().await.unwrap().to_vec()
    }

    /// The events that wait, acked.
    async fn events(&self) -> Vec<Value> {
        let mut events = Vec::new();
        for delivery in self.queue.receive(100, Duration::ZERO).await.unwrap() {
            let message: Value = serde_json::from_slice(&delivery.body).unwrap();
            events.extend(message["Records"].as_array().unwrap().iter().cloned());
            let settled = self.queue.settle(delivery.receipt, Settlement::Ack).await.unwrap();
            assert_eq!(settled, crate::queue::Settled::Done);
        }
        events
    }
}

fn bytes(body: &[u8]) -> ByteStream {
    ByteStream::from(body.to_vec())
}

/// Status and code of a refusal.
fn refusal<T: std::fmt::Debug, E: ProvideErrorMetadata + std::fmt::Debug>(
    result: Result<T, SdkError<E, aws_sdk_s3::config::http::HttpResponse>>,
) -> (u16, String) {
    let error = result.unwrap_err();
    let status = error.raw_response().map(|response| response.status().as_u16()).unwrap();
    (status, error.code().unwrap_or_default().to_owned())
}

/// Files under the blob directory.
fn blob_files(dir: &Path) -> usize {
    let count = |dir: std::fs::DirEntry| std::fs::read_dir(dir.path()).unwrap().count();
    std::fs::read_dir(dir.join("blobs")).unwrap().map(|dir| count(dir.unwrap())).sum()
}

/// Bytes that repeat nowhere near.
fn noise(length: usize) -> Vec<u8> {
    let mut state = 1_u32;
    let mut next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    };
    (0..length).map(|_| next()).collect()
}
