//! What `up` runs, and `bench journey` measures: an S3 server of our own in a data directory, and the ordinary
//! configuration for a worker on it.

use std::fmt::Write as _;
use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::net::SocketAddr;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::config::Config;
use crate::job::executor;
use crate::store::embedded::{self, Notification, Options};

use super::{Failure, open};

pub(super) const INBOX: &str = "inbox";
pub(super) const RESULTS: &str = "results";
const STATE: &str = "darkroom-state";
pub(super) const ACCESS_KEY: &str = "darkroom";

/// A running S3 server, and how to work on it.
pub(super) struct Embedded {
    /// Data directory, absolute.
    pub(super) dir: PathBuf,
    /// URL of the server.
    pub(super) s3: String,
    /// Its secret key.
    pub(super) secret: String,
    /// For a worker.
    pub(super) config: Config,
    server: JoinHandle<()>,
    closing: CancellationToken,
}

impl Embedded {
    /// Makes the directory where it is missing, starts the server, and writes the configuration.
    pub(super) async fn start(dir: &Path, s3_listen: SocketAddr, gateway: SocketAddr) -> Result<Embedded, Failure> {
        let failed = |what: &'static str| move |e: std::io::Error| Failure::Failed(format!("{what}: {e}."));
        let mut make = fs::DirBuilder::new();
        make.recursive(true).mode(0o700).create(dir).map_err(failed("The data directory cannot be made"))?;
        let dir = dir.canonicalize().map_err(failed("The data directory cannot be found"))?;
        let secret = secret(&dir).map_err(failed("The secret key cannot be kept"))?;

        let db_path = dir.join("darkroom.sqlite");
        let db = open::file(&db_path).await?;
        let mut options = Options::new(ACCESS_KEY, secret.clone());
        options.buckets = [INBOX, RESULTS, STATE].map(String::from).to_vec();
        options.notifications =
            vec![Notification { bucket: INBOX.into(), prefix: String::new(), queue: "jobs".into() }];
        let store = embedded::Embedded::open(dir.join("s3"), db, options).await;
        let store = store.map_err(|e| Failure::Failed(format!("{e:#}.")))?;
        let listener = TcpListener::bind(s3_listen)
            .await
            .map_err(|e| Failure::Failed(format!("The S3 server cannot listen on {s3_listen}: {e}.")))?;
        let s3 = format!("http://{}", listener.local_addr().map_err(failed("The S3 server has no address"))?);

        let handlers = executor::describe(&executor::find_binary()?).await?;
        let text = configuration(&dir, &s3, gateway, &handlers);
        write_private(&dir.join("darkroom.toml"), &text).map_err(failed("The configuration cannot be written"))?;
        let config = Config::from_process(Some(&dir.join("darkroom.toml")))?;
        let closing = CancellationToken::new();
        let server = tokio::spawn(store.serve(listener, closing.clone().cancelled_owned()));
        Ok(Embedded { dir, s3, secret, config, server, closing })
    }

    /// Ends the server, once its requests have ended.
    pub(super) async fn close(self) {
        self.closing.cancel();
        if self.server.await.is_err() {
            tracing::warn!("the S3 server panicked");
        }
    }
}

/// The secret key of this data directory, made once.
fn secret(dir: &Path) -> std::io::Result<String> {
    let path = dir.join("secret_key");
    match fs::read_to_string(&path) {
        Ok(secret) if !secret.trim().is_empty() => return Ok(secret.trim().to_owned()),
        Ok(_) => {}
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    let secret = data_encoding::HEXLOWER.encode(&rand::random::<[u8; 20]>());
    write_private(&path, &secret)?;
    Ok(secret)
}

pub(super) fn write_private(path: &Path, text: &str) -> std::io::Result<()> {
    OpenOptions::new().create(true).write(true).truncate(true).mode(0o600).open(path)?.write_all(text.as_bytes())
}

/// An ordinary configuration: one route for every handler that can work on one upload.
fn configuration(dir: &Path, s3: &str, gateway: SocketAddr, handlers: &[darkroom_api::Descriptor]) -> String {
    let path = |name: &str| toml::Value::from(dir.join(name).display().to_string()).to_string();
    let mut text = format!(
        "# Written by `darkroom up` at every start; copy it to change it, and use `darkroom work --config`.\n\
         [worker]\nstate = \"s3://{STATE}/\"\nscratch_dir = {}\n\n\
         [queue]\npath = {}\n\n\
         [gateway]\nlisten = \"{gateway}\"\n\n\
         [[stores]]\nname = \"embedded\"\nendpoint = \"{s3}\"\naccess_key = \"{ACCESS_KEY}\"\nsecret_key_file = {}\n\n\
         [[sources]]\nbucket = \"{INBOX}\"\n\n\
         [[destinations]]\nbucket = \"{RESULTS}\"\n\n\
         [[sinks]]\nkind = \"log\"\ntypes = [\"completed\", \"failed\", \"cancelled\"]\n\n\
         [[sinks]]\nkind = \"queue\"\nrequired = true\npath = {}\ntypes = [\"completed\", \"failed\", \"cancelled\"]\n",
        path("scratch"),
        path("darkroom.sqlite"),
        path("secret_key"),
        path("darkroom.sqlite"),
    );
    for handler in handlers {
        let needed: u32 = handler.inputs.iter().map(|role| role.min).sum();
        if needed == 1 && handler.inputs.first().is_some_and(|role| role.min == 1) {
            let name = &handler.name;
            let route = "\n[[routes]]\nbucket = \"{INBOX}\"\nprefix = \"{name}/\"\nhandler = \"{name}\"\noutput = \"s3://{RESULTS}/{name}/\"\n";
            let route = route.replace("{INBOX}", INBOX).replace("{RESULTS}", RESULTS).replace("{name}", name);
            let _infallible = text.write_str(&route);
        }
    }
    text
}
