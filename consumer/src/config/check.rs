//! Ranges and what belongs together.

mod queues;

use std::fmt::Display;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};

use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::LevelFilter;

use super::decode::Decoded;
use super::error::ConfigError;
use super::{AwsConfig, Config, QueueKind, Secret, SinkConfig, SinkKind};
use crate::store::{Encryption, HttpsConfig, is_web_scheme};

const DAY_SECS: u64 = 24 * 3600;
/// Longest secret in a file.
const MAX_SECRET_BYTES: u64 = 64 << 10;

/// Notes everything out of range, and replaces `*_file` keys by what the files hold.
pub(super) fn check(decoded: &mut Decoded<Config>, errors: &mut Vec<ConfigError>) {
    let store_keys: Vec<String> = decoded.keys_of("stores").take(decoded.value.stores.len()).collect();
    let route_keys: Vec<String> = decoded.keys_of("routes").take(decoded.value.routes.len()).collect();
    let sink_keys: Vec<String> = decoded.keys_of("sinks").take(decoded.value.sinks.len()).collect();
    let queue_keys: Vec<String> = decoded.keys_of("queues").take(decoded.value.queues.len()).collect();
    let config = &mut decoded.value;
    let mut errors = Errors(errors);
    worker(config, &mut errors);
    amqp(config, &mut errors);
    aws(&mut config.aws, &mut errors);
    queues::check(config, &queue_keys, &mut errors);
    handlers(config, &mut errors);
    stores(config, &store_keys, &mut errors);
    for (key, route) in route_keys.iter().zip(&config.routes) {
        if let Some(secs) = route.deadline_secs {
            errors.range(&format!("{key}.deadline_secs"), secs, 1..=30 * DAY_SECS);
        }
    }
    for (index, rule) in config.https.hosts.iter().enumerate().filter(|(_, rule)| !HttpsConfig::is_host(rule)) {
        errors.add(&format!("https.hosts.{index}"), rule, "allowed are `host`, `host:port` and `*.host`");
    }
    processes(config, &mut errors);
    for (key, sink) in sink_keys.iter().zip(&mut config.sinks) {
        self::sink(key, sink, &mut errors);
    }
    let mut names: Vec<&str> = config.sinks.iter().map(SinkConfig::name).collect();
    names.sort_unstable();
    for pair in names.windows(2).filter(|pair| pair[0] == pair[1]) {
        errors.add("sinks", pair[0], "two sinks have this name; give one a `name` of its own");
    }
    errors.range("event_retry_secs", config.event_retry_secs, 1..=DAY_SECS);
}

fn worker(config: &Config, errors: &mut Errors) {
    let worker = &config.worker;
    if worker.id.is_empty() || worker.id.len() > 128 || !worker.id.chars().all(is_plain) {
        errors.add("worker.id", &worker.id, "allowed are 1 to 128 letters, digits, `.`, `_` and `-`");
    }
    errors.range("worker.scratch_max_bytes", worker.scratch_max_bytes, 1 << 20..=1 << 50);
    errors.range("worker.slots", worker.slots, 1..=64);
    errors.range("worker.fetch_ahead", worker.fetch_ahead, 0..=64);
    errors.range("worker.max_attempts", worker.max_attempts, 1..=100);
    errors.range("worker.backoff_min_secs", worker.backoff_min_secs, 0..=3600);
    errors.range("worker.backoff_max_secs", worker.backoff_max_secs, worker.backoff_min_secs.max(1)..=12 * 3600);
    errors.range("worker.deadline_secs", worker.deadline_secs, 1..=30 * DAY_SECS);
    errors.range("worker.run_limit_secs", worker.run_limit_secs, 1..=7 * DAY_SECS);
    errors.range("worker.drain_secs", worker.drain_secs, 0..=DAY_SECS);
    errors.range("worker.message_max_bytes", worker.message_max_bytes, 1 << 10..=1 << 20);
    errors.range("worker.heartbeat_secs", worker.heartbeat_secs, 1..=3600);
    if let Some(secs) = worker.reconcile_secs {
        errors.range("worker.reconcile_secs", secs, 60..=30 * DAY_SECS);
    }
    if let Err(why) = endpoint(&worker.metadata_endpoint) {
        errors.missing("worker.metadata_endpoint", why);
    }
}

fn handlers(config: &Config, errors: &mut Errors) {
    for (name, handler) in &config.handlers {
        if let Some(most) = handler.max_running {
            errors.range(&format!("handlers.{name}.max_running"), most, 1..=4096);
        }
    }
}

fn amqp(config: &mut Config, errors: &mut Errors) {
    let amqp = &mut config.amqp;
    from_file("amqp.password", &mut amqp.password, amqp.password_file.as_deref(), errors);
    if amqp.username.is_some() != (amqp.password.is_some() || amqp.password_file.is_some()) {
        errors.missing(
            "amqp.username",
            "belongs with password (also DARKROOM__AMQP__PASSWORD) or password_file: give both or none",
        );
    }
    if let Some(Err(why)) = amqp.url.as_deref().map(broker) {
        // Not quoted: it may hold a password.
        errors.missing("amqp.url", why);
    }
    let used = config.all_queues().any(|queue| queue.kind == QueueKind::Amqp)
        || config.sinks.iter().any(|sink| sink.kind == SinkKind::Amqp);
    if used && config.amqp.url.is_none() {
        errors.missing("amqp.url", "a queue or a sink of kind \"amqp\" needs it");
    }
}

fn broker(url: &str) -> Result<(), &'static str> {
    let url = url::Url::parse(url).map_err(|_| "is no URL; write it amqps://broker.example.com")?;
    if !matches!(url.scheme(), "amqp" | "amqps") || !url.has_host() {
        return Err("allowed are amqp and amqps URLs");
    }
    if !url.username().is_empty() || url.password().is_some() || url.query().is_some() || url.fragment().is_some() {
        return Err("allowed is host, port and virtual host; credentials belong in username and password_file");
    }
    Ok(())
}

fn aws(aws: &mut AwsConfig, errors: &mut Errors) {
    from_file("aws.access_key", &mut aws.access_key, aws.access_key_file.as_deref(), errors);
    from_file("aws.secret_key", &mut aws.secret_key, aws.secret_key_file.as_deref(), errors);
    let given = |key: &Option<Secret>, file: &Option<PathBuf>| key.is_some() || file.is_some();
    if given(&aws.access_key, &aws.access_key_file) != given(&aws.secret_key, &aws.secret_key_file) {
        errors.missing("aws", "has only one of access_key and secret_key: give both or none");
    }
    if [&aws.access_key, &aws.secret_key].into_iter().flatten().any(|key| key.expose().is_empty()) {
        errors.missing("aws", "has an empty access_key or secret_key: fill it in, or leave both out");
    }
    if let Some(Err(why)) = aws.endpoint.as_deref().map(endpoint) {
        // Not quoted: it may hold a password.
        errors.missing("aws.endpoint", why);
    }
}

/// A queue in SQS is given by its name or its URL; errors quote both.
fn queue_at_sqs(key: &str, queue: Option<&str>, errors: &mut Errors) {
    if let Some(Err(why)) = queue.filter(|queue| queue.contains("://")).map(endpoint) {
        // Not quoted: it may hold a password.
        errors.missing(key, why);
    }
}

fn stores(config: &Config, keys: &[String], errors: &mut Errors) {
    for (index, (key, store)) in keys.iter().zip(&config.stores).enumerate() {
        if config.stores[..index].iter().any(|other| other.name == store.name) {
            errors.add(&format!("{key}.name"), &store.name, "another store has this name; rename one");
        }
        if store.name.is_empty() || store.name.len() > 64 || !store.name.chars().all(is_plain) {
            errors.add(&format!("{key}.name"), &store.name, "allowed are 1 to 64 letters, digits, `.`, `_` and `-`");
        }
        if is_web_scheme(&store.name) {
            errors.add(
                &format!("{key}.name"),
                &store.name,
                "this name is kept for inputs from the web; choose another",
            );
        }
        if let Some(Err(why)) = store.endpoint.as_deref().map(endpoint) {
            // Not quoted: it may hold a password.
            errors.missing(&format!("{key}.endpoint"), why);
        }
        if let Err(why) = store.keys() {
            errors.missing(key, &why);
        }
        if store.kms_key_id.is_some() && !matches!(store.sse, Some(Encryption::Kms | Encryption::KmsTwice)) {
            errors.missing(
                &format!("{key}.sse"),
                "is needed with `kms_key_id`; allowed is \"aws:kms\" or \"aws:kms:dsse\"",
            );
        }
    }
    if let Err(error) = config.state_place() {
        errors.add("worker.state", &config.worker.state, format!("allowed is s3://bucket/prefix/. {}", error.message));
    }
    let known = |name: &String| config.stores.iter().any(|store| store.name == *name);
    if let Some(name) = config.worker.state_store.as_ref().filter(|name| !known(name)) {
        errors.add("worker.state_store", name, "allowed is the name of a [[stores]] entry");
    }
}

/// Where requests would go is known at the start, not after the first job.
fn endpoint(url: &str) -> Result<(), &'static str> {
    let url = url::Url::parse(url).map_err(|_| "is no URL; write it https://s3.example.com")?;
    if !matches!(url.scheme(), "http" | "https") || !url.has_host() {
        return Err("allowed are http and https URLs");
    }
    if !url.username().is_empty() || url.password().is_some() || url.query().is_some() || url.fragment().is_some() {
        return Err("allowed is host, port and path; keys belong in access_key and secret_key");
    }
    Ok(())
}

fn is_plain(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-')
}

fn processes(config: &Config, errors: &mut Errors) {
    let executor = &config.executor;
    errors.range("executor.memory_mib", executor.memory_mib, 256..=4 << 20);
    errors.range("executor.leak_mib", executor.leak_mib, 64..=4 << 20);
    if executor.devices.is_empty() {
        errors.add("executor.devices", "an empty list", "name at least one device, or \"auto\"");
    }
    for device in &executor.devices {
        let index = device.strip_prefix("cuda:").or_else(|| device.strip_prefix("tensorrt:"));
        let gpu = index.is_some_and(|index| index.parse::<u8>().is_ok());
        let alone = matches!(device.as_str(), "auto" | "cpu");
        if !gpu && !alone || alone && executor.devices.len() > 1 {
            errors.add(
                "executor.devices",
                device,
                "allowed are \"auto\" alone, \"cpu\" alone, or a list of \"cuda:<n>\" and \"tensorrt:<n>\"",
            );
        }
    }
    if let Some(stall) = executor.stall_secs {
        errors.range("executor.stall_secs", stall, 0.1..=86400.0);
    }
    if let Some(threads) = executor.threads {
        errors.range("executor.threads", threads, 1..=1024);
    }
    errors.range("limits.max_bytes", config.limits.max_bytes, 1..=1 << 50);
    errors.range("limits.max_pixels", config.limits.max_pixels, 1..=1 << 32);
    errors.range("limits.max_duration_secs", config.limits.max_duration_secs, 0.1..=1e7);
    errors.range("limits.min_side_px", config.limits.min_side_px, 1..=65536);
    if let Some(listen) = config.gateway.listen
        && !listen.ip().is_loopback()
        && !config.gateway.allow_public
    {
        let allowed = "allowed are loopback addresses (127.0.0.1, [::1]); others need gateway.allow_public = true";
        errors.add("gateway.listen", listen, allowed);
    }
    if !is_log_level(&config.log.level) {
        let allowed = "allowed are error, warn, info, debug, trace, and directives such as info,darkroom::queue=debug";
        errors.add("log.level", &config.log.level, allowed);
    }
    errors.range("log.keep", config.log.keep, 1..=1000);
}

/// The filter takes a lone word that is no level for the name of a module, and then shows nothing else.
fn is_log_level(level: &str) -> bool {
    let known = |word: &str| word.contains('=') || word.contains("::") || word.trim().parse::<LevelFilter>().is_ok();
    level.split(',').all(known) && EnvFilter::try_new(level).is_ok()
}

fn sink(key: &str, sink: &mut SinkConfig, errors: &mut Errors) {
    let webhook = sink.kind == SinkKind::Webhook;
    match &sink.url {
        Some(url) if webhook => {
            if let Err(why) = crate::event::check_webhook_url(url, sink.allow_private) {
                errors.add(&format!("{key}.url"), "not usable", why);
            }
        }
        None if webhook => errors.missing(&format!("{key}.url"), "a webhook needs it"),
        Some(_) => errors.missing(&format!("{key}.url"), "only a webhook has it"),
        None => {}
    }
    if !webhook && (sink.secret.is_some() || sink.secret_file.is_some()) {
        errors.missing(&format!("{key}.secret"), "only a webhook has it");
    }
    from_file(&format!("{key}.secret"), &mut sink.secret, sink.secret_file.as_deref(), errors);
    if webhook {
        match &sink.secret {
            Some(secret) => {
                if let Err(why) = crate::event::SigningKey::parse(secret) {
                    errors.missing(&format!("{key}.secret"), &why);
                }
            }
            None if sink.secret_file.is_none() => {
                errors.missing(&format!("{key}.secret"), "a webhook needs it, or secret_file");
            }
            None => {}
        }
    }
    let queue = sink.kind == SinkKind::Queue;
    if queue != sink.path.is_some() {
        errors.missing(&format!("{key}.path"), "a queue sink needs it, and no other has it");
    }
    sink_of_amqp(key, sink, errors);
    sink_of_aws(key, sink, errors);
    for (name, value, most) in
        [("max_age_secs", sink.max_age_secs, 365 * DAY_SECS), ("max_events", sink.max_events, 1_000_000)]
    {
        match value {
            Some(_) if !queue => errors.missing(&format!("{key}.{name}"), "only a queue sink has it"),
            Some(value) => errors.range(&format!("{key}.{name}"), value, 1..=most),
            None => {}
        }
    }
}

fn sink_of_amqp(key: &str, sink: &SinkConfig, errors: &mut Errors) {
    let amqp = sink.kind == SinkKind::Amqp;
    if amqp != sink.exchange.as_ref().is_some_and(|name| !name.is_empty()) {
        errors.missing(&format!("{key}.exchange"), "a sink of kind \"amqp\" needs it, its name, and no other has it");
    }
    for (name, value) in [("exchange", &sink.exchange), ("routing_key", &sink.routing_key)] {
        if let Some(value) = value.as_ref().filter(|value| value.len() > 255) {
            errors.add(&format!("{key}.{name}"), value, "allowed are 255 bytes");
        }
    }
    if !amqp && sink.routing_key.is_some() {
        errors.missing(&format!("{key}.routing_key"), "only a sink of kind \"amqp\" has it");
    }
}

fn sink_of_aws(key: &str, sink: &SinkConfig, errors: &mut Errors) {
    let given = |text: &Option<String>| text.as_ref().is_some_and(|text| !text.is_empty());
    if (sink.kind == SinkKind::Sqs) != given(&sink.queue) {
        errors
            .missing(&format!("{key}.queue"), "a sink of kind \"sqs\" needs it, its name or URL, and no other has it");
    }
    queue_at_sqs(&format!("{key}.queue"), sink.queue.as_deref(), errors);
    if (sink.kind == SinkKind::Sns) != given(&sink.topic) {
        errors.missing(&format!("{key}.topic"), "a sink of kind \"sns\" needs it, its ARN, and no other has it");
    }
    if let Some(topic) = sink.topic.as_ref().filter(|topic| !topic.starts_with("arn:")) {
        errors.add(&format!("{key}.topic"), topic, "allowed is the ARN of a topic");
    }
    if sink.bus.is_some() && sink.kind != SinkKind::EventBridge {
        errors.missing(&format!("{key}.bus"), "only a sink of kind \"eventbridge\" has it");
    }
}

/// Reads a secret from its file, where one is named.
fn from_file(key: &str, value: &mut Option<Secret>, file: Option<&Path>, errors: &mut Errors) {
    let Some(file) = file else { return };
    if value.is_some() {
        errors.missing(key, "stands beside its file; give one of the two");
        return;
    }
    let read = std::fs::metadata(file).and_then(|found| match found.len() {
        0..=MAX_SECRET_BYTES => std::fs::read_to_string(file),
        _ => Err(std::io::Error::other("it is too long for a secret")),
    });
    match read {
        Ok(text) => *value = Some(Secret::new(text.trim_end())),
        Err(error) => errors.add(&format!("{key}_file"), file.display(), format!("cannot be read: {error}")),
    }
}

/// Where errors are noted.
struct Errors<'a>(&'a mut Vec<ConfigError>);

impl Errors<'_> {
    fn add(&mut self, key: &str, found: impl Display, allowed: impl Into<String>) {
        self.0.push(ConfigError::new(key, Some(found.to_string()), allowed));
    }

    fn missing(&mut self, key: &str, why: &str) {
        self.0.push(ConfigError::new(key, None, why));
    }

    fn range<T: PartialOrd + Display>(&mut self, key: &str, found: T, allowed: RangeInclusive<T>) {
        if !allowed.contains(&found) {
            self.add(key, found, format!("allowed are {} to {}", allowed.start(), allowed.end()));
        }
    }
}
