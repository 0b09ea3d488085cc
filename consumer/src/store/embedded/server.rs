//! HTTP/1.1 around the store.

use std::{future::Future, sync::Arc, time::Duration};

use hyper::server::conn::http1;
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    server::graceful::GracefulShutdown,
};
use s3s::{
    auth::SimpleAuth,
    config::{S3Config, StaticConfigProvider},
    service::S3ServiceBuilder,
};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::Semaphore,
};

use super::Embedded;

/// Connections served at a time; further ones wait in the listener's backlog.
const MAX_CONNECTIONS: usize = 512;
/// Time for a request's headers, and between two requests of a connection.
const HEADERS: Duration = Duration::from_secs(60);
/// Time that requests in progress get once the server is to stop.
const DRAIN: Duration = Duration::from_secs(10);
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

        let mut http = http1::Builder::new();
        http.timer(TokioTimer::new()).header_read_timeout(HEADERS);
        let graceful = GracefulShutdown::new();
        let slots = Arc::new(Semaphore::new(MAX_CONNECTIONS));
        let mut shutdown = std::pin::pin!(shutdown);
        loop {
            let accepted = async {
                let slot = slots.clone().acquire_owned().await;
                (slot, accept(&listener).await)
            };
            let (slot, stream) = tokio::select! {
                () = &mut shutdown => break,
                accepted = accepted => accepted,
            };
            let connection = graceful.watch(http.serve_connection(TokioIo::new(stream), service.clone()));
            tokio::spawn(async move {
                if let Err(error) = connection.await {
                    tracing::debug!(%error, "a connection to the embedded store ended early");
                }
                drop(slot);
            });
        }
        if tokio::time::timeout(DRAIN, graceful.shutdown()).await.is_err() {
            tracing::warn!("requests to the embedded store were still in progress at its end");
        }
    }
}

/// The next connection. An error (no descriptors left) passes.
async fn accept(listener: &TcpListener) -> TcpStream {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                if let Err(error) = stream.set_nodelay(true) {
                    tracing::debug!(%error, "cannot set TCP_NODELAY");
                }
                return stream;
            }
            Err(error) => {
                tracing::warn!(%error, "the embedded store cannot accept a connection");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}
