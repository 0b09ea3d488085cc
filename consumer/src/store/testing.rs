//! A real store for tests: the embedded server on a free port, reached like any other.

use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::sync::oneshot;

use super::embedded::{Embedded, Options};
use super::{Store, StoreConfig};
use crate::db::Db;

/// A running store; it ends with the value.
pub(crate) struct TestStore {
    /// The store.
    pub store: Store,
    _stop: oneshot::Sender<()>,
    _folder: TempDir,
}

impl TestStore {
    /// Starts one that has these buckets.
    pub async fn start(buckets: &[&str]) -> Self {
        let folder = TempDir::new().unwrap();
        let db = Db::open(folder.path().join("store.db")).await.unwrap();
        let mut options = Options::new("test", "test-secret");
        options.buckets = buckets.iter().map(ToString::to_string).collect();
        let embedded = Embedded::open(folder.path().join("store"), db, options).await.unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let config = StoreConfig {
            name: "main".into(),
            endpoint: Some(format!("http://{}", listener.local_addr().unwrap())),
            access_key: Some("test".into()),
            secret_key: Some("test-secret".into()),
            ..StoreConfig::default()
        };
        let (stop, stopped) = oneshot::channel::<()>();
        tokio::spawn(embedded.serve(listener, async move { drop(stopped.await) }));
        let store = Store::open(&config).await.unwrap();
        TestStore { store, _stop: stop, _folder: folder }
    }
}

impl Store {
    /// For requests that have no method.
    pub(crate) fn client(&self) -> &aws_sdk_s3::Client {
        &self.client
    }
}
