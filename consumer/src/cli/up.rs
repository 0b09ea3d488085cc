//! `darkroom up`: everything embedded in one process, on loopback, with generated keys.
//!
//! It writes an ordinary configuration into its data directory and runs an ordinary worker on it, so that every other
//! command works with `--data-dir`, and so that moving to real brokers means editing that file.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use serde_json::json;

use crate::config::LogFormat;
use crate::telemetry;

use super::embedded::{ACCESS_KEY, Embedded, INBOX, RESULTS, write_private};
use super::{Failure, Global, UP_DIR, note, print_line, work};

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
    let dir = global.data_dir.clone().unwrap_or_else(|| PathBuf::from(UP_DIR));
    let embedded = Embedded::start(&dir, args.s3_listen, args.gateway_listen).await?;
    let mut config = embedded.config.clone();
    if global.json {
        config.log.format = LogFormat::Json;
    }
    let _log = telemetry::init(&config.log).map_err(Failure::Usage)?;
    let drain = work::drain_on_signals(Duration::from_secs(config.worker.drain_secs))?;
    let outcome = work::serve(&config, drain, |gateway| announce(global, &embedded, gateway)).await;
    embedded.close().await;
    outcome
}

/// Tells where everything is: on standard output, and in `up.json` for scripts.
fn announce(global: &Global, embedded: &Embedded, gateway: Option<SocketAddr>) -> Result<(), Failure> {
    let Embedded { dir, s3, secret, .. } = embedded;
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
