//! HTTP/1.1 around the store.

use std::{future::Future, sync::Arc, time::Duration};

use s3s::{
    auth::SimpleAuth,
    config::{S3Config, StaticConfigProvider},
    service::S3ServiceBuilder,
};
use tokio::net::TcpListener;

use super::Embedded;
use crate::http::{self, Bounds};

const BOUNDS: Bounds = Bounds { connections: 512, headers: Duration::from_secs(60), drain: Duration::from_secs(10) };
/// Bound of an XML body: a list of 10,000 parts fits.
const MAX_XML_BYTES: usize = 4 << 20;

impl Embedded {
    /// Serves until `shutdown` completes, then finishes the requests in progress. Bind `listener` to the loopback address:
    /// there is one key pair and no TLS.
    pub async fn serve(self, listener: TcpListener, shutdown: impl Future<Output = ()>) {
        let mut service = S3ServiceBuilder::new(self.store.clone());
        service.set_auth(SimpleAuth::from_single(&self.options.access_key, self.options.secret_key.as_str()));
        let mut config = S3Config::default();
        config.xml_max_body_size = MAX_XML_BYTES;
        service.set_config(Arc::new(StaticConfigProvider::new(Arc::new(config))));
        let service = service.build();
        if !http::serve(listener, service, BOUNDS, shutdown).await {
            tracing::warn!("requests to the embedded store were still in progress at its end");
        }
    }
}
