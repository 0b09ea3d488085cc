//! `darkroom presign`: a URL that lets somebody without keys read or write one object for a while.

use std::time::Duration;

use jiff::SignedDuration;
use serde_json::{Map, json};

use crate::config::Config;
use crate::store::{MAX_PRESIGN, Presigned, parse_input};

use super::{Failure, Global, open, print_line};

/// Arguments.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The object: `s3://bucket/key`.
    object: String,
    /// Let it be written (an upload of an input), not read.
    #[arg(long)]
    put: bool,
    /// How long the URL is good for, at most 7 days. Temporary credentials may end it earlier.
    #[arg(long, value_name = "TIME", default_value = "1h", value_parser = life)]
    expires: Duration,
    /// Store of the bucket; the one that the rules name for it, if absent.
    #[arg(long, value_name = "NAME")]
    store: Option<String>,
}

/// A time such as `90s`, `15m` or `2d`.
fn life(text: &str) -> Result<Duration, String> {
    let time = text.parse::<SignedDuration>().ok().and_then(|time| Duration::try_from(time).ok());
    match time {
        Some(time) if (Duration::from_secs(1)..=MAX_PRESIGN).contains(&time) => Ok(time),
        _ => Err("write it 90s, 15m or 2h, at most 168h".into()),
    }
}

pub(crate) async fn presign(global: &Global, args: Args) -> Result<(), Failure> {
    let config = global.backends()?;
    let (bucket, key) = parse_input(&args.object).map_err(|error| Failure::Usage(error.message))?;
    let stores = open::stores(&config).await?;
    let store = match args.store.or_else(|| store_of(&config, bucket, key)) {
        Some(name) => stores.get(&name).map_err(|error| Failure::Usage(error.message))?,
        None => stores.default_store(),
    };
    let Presigned { url, headers } = match args.put {
        true => store.presign_put(bucket, key, args.expires).await?,
        false => Presigned { url: store.presign_get(bucket, key, args.expires).await?, headers: Vec::new() },
    };
    let method = if args.put { "PUT" } else { "GET" };
    if global.json {
        let headers: Map<_, _> = headers.into_iter().map(|(name, value)| (name, value.into())).collect();
        let expires_secs = args.expires.as_secs();
        let line = json!({"method": method, "url": url, "headers": headers, "expires_secs": expires_secs});
        return print_line(&line.to_string());
    }
    for (name, value) in headers {
        global.note(&format!("the {method} must have the header  {name}: {value}"));
    }
    print_line(&url)
}

/// The store that the rules name for an object; `None` where no rule has it, or the rule means the first store.
fn store_of(config: &Config, bucket: &str, key: &str) -> Option<String> {
    let place = |at: &str, prefix: &str| bucket == at && key.starts_with(prefix);
    let route = config.routes.iter().find(|rule| rule.takes(bucket, key)).map(|rule| &rule.store);
    let source = || config.sources.iter().find(|rule| place(&rule.bucket, &rule.prefix)).map(|rule| &rule.store);
    let result = || config.destinations.iter().find(|rule| place(&rule.bucket, &rule.prefix)).map(|rule| &rule.store);
    route.or_else(source).or_else(result)?.clone()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_life_is_bounded() {
        assert_eq!(life("15m"), Ok(Duration::from_secs(900)));
        assert_eq!(life("168h"), Ok(MAX_PRESIGN));
        for bad in ["", "0s", "-1h", "169h", "900"] {
            assert!(life(bad).is_err(), "{bad}");
        }
    }
}
