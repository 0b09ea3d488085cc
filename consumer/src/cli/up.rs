//! `darkroom up`: everything embedded in one process, on loopback, with generated keys.
//!
//! It writes an ordinary configuration into its data directory and runs an ordinary worker on it, so that every other
//! command works with `--data-dir`, and so that moving to real brokers means editing that file.

use std::fmt::Write as _;
use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::json;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::config::Config;
use crate::db::Db;
use crate::job::executor;
use crate::store::embedded::{Embedded, Notification, Options};
use crate::telemetry;

use super::{Failure, Global, note, print_line, work};

const INBOX: &str = "inbox";
const RESULTS: &str = "results";
const STATE: &str = "darkroom-state";
const ACCESS_KEY: &str = "darkroom";

/// Arguments.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Address of the S3 server; port 0 takes a free one.
    #[arg(long, default_value_t = SocketAddr::from((Ipv4Addr::LOCALHOST, 0)), value_name = "ADDRESS")]
    s3_listen: SocketAddr,
    /// Address of health and metrics; port 0 takes a free one.
    #[arg(long, default_value_t = SocketAddr::from((Ipv4Addr::LOCALHOST, 0)), value_name = "ADDRESS")]
    gateway_listen: SocketAddr,
}

pub(crate) async fn up(global: &Global, args: Args) -> Result<(), Failure> {
    if global.config.is_some() {
        return Err(Failure::Usage(
            "`up` writes its own configuration: use `darkroom work --config` with yours.".into(),
        ));
    }
    for address in [args.s3_listen, args.gateway_listen] {
        if !address.ip().is_loopback() {
            let why = format!(
                "{address} is not loopback: `up` is for this machine only; use `darkroom work` to serve others."
            );
            return Err(Failure::Usage(why));
        }
    }
    let dir = global.data_dir.clone().unwrap_or_else(|| PathBuf::from(".darkroom/up"));
    let failed = |what: &'static str| move |e: std::io::Error| Failure::Failed(format!("{what}: {e}."));
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(&dir)
        .map_err(failed("The data directory cannot be made"))?;
    let dir = dir.canonicalize().map_err(failed("The data directory cannot be found"))?;
    let secret = secret(&dir).map_err(failed("The secret key cannot be kept"))?;

    let db_path = dir.join("darkroom.sqlite");
    let db = Db::open(&db_path)
        .await
        .map_err(|e| Failure::Failed(format!("{} cannot be opened: {e}.", db_path.display())))?;
    let mut options = Options::new(ACCESS_KEY, secret.clone());
    options.buckets = [INBOX, RESULTS, STATE].map(String::from).to_vec();
    options.notifications = vec![Notification { bucket: INBOX.into(), prefix: String::new(), queue: "jobs".into() }];
    let store = Embedded::open(dir.join("s3"), db, options).await.map_err(|e| Failure::Failed(format!("{e:#}.")))?;
    let listener = TcpListener::bind(args.s3_listen)
        .await
        .map_err(|e| Failure::Failed(format!("The S3 server cannot listen on {}: {e}.", args.s3_listen)))?;
    let s3 = format!("http://{}", listener.local_addr().map_err(failed("The S3 server has no address"))?);

    let handlers = executor::describe(&executor::find_binary()?).await?;
    let text = configuration(&dir, &s3, args.gateway_listen, &handlers);
    write_private(&dir.join("darkroom.toml"), &text).map_err(failed("The configuration cannot be written"))?;
    let config = Config::from_process(Some(&dir.join("darkroom.toml")))?;
    let _log = telemetry::init(&config.log).map_err(Failure::Usage)?;

    let closing = CancellationToken::new();
    let server = tokio::spawn(store.serve(listener, closing.clone().cancelled_owned()));
    let drain = work::drain_on_signals(Duration::from_secs(config.worker.drain_secs))?;
    let outcome = work::serve(&config, drain, |gateway| announce(global, &dir, &s3, &secret, gateway)).await;
    closing.cancel();
    if server.await.is_err() {
        tracing::warn!("the S3 server panicked");
    }
    outcome
}

/// Tells where everything is: on standard output, and in `up.json` for scripts.
fn announce(global: &Global, dir: &Path, s3: &str, secret: &str, gateway: Option<SocketAddr>) -> Result<(), Failure> {
    let gateway = gateway.map(|address| format!("http://{address}")).unwrap_or_default();
    let facts = json!({
        "s3": s3, "access_key": ACCESS_KEY, "secret_key": secret, "region": "us-east-1", "inbox": INBOX,
        "results": RESULTS, "gateway": gateway, "data_dir": dir,
    });
    // Written whole, then renamed: whoever waits for the file never reads half of it.
    let (temporary, path) = (dir.join("up.json.new"), dir.join("up.json"));
    write_private(&temporary, &format!("{facts:#}\n"))
        .and_then(|()| fs::rename(&temporary, &path))
        .map_err(|e| Failure::Failed(format!("{} cannot be written: {e}.", path.display())))?;
    if global.json {
        let shown = json!({ "s3": s3, "gateway": gateway, "up_json": path });
        return print_line(&shown.to_string());
    }
    let shown = dir.display();
    note(&format!(
        "Up. Drop a video into s3://{INBOX}/<handler>/ and its result appears in s3://{RESULTS}/<handler>/.\n\
         \x20 S3        {s3}   keys in {}\n\
         \x20 metrics   {gateway}/metrics\n\
         \x20 jobs      darkroom jobs --data-dir {shown} list\n\
         \x20 stop      Ctrl-C (twice: at once; nothing is lost)",
        path.display()
    ));
    Ok(())
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

fn write_private(path: &Path, text: &str) -> std::io::Result<()> {
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
