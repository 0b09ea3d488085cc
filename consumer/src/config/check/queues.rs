//! `[queue]` and `[[queues]]`.

use std::path::{Path, PathBuf};

use super::{DAY_SECS, Errors, is_plain, queue_at_sqs};
use crate::config::{Config, QueueConfig, QueueKind};

/// Notes what is out of range, and what two of them share. `keys` are those of `[[queues]]`.
pub(super) fn check(config: &Config, keys: &[String], errors: &mut Errors) {
    let keys = std::iter::once("queue").chain(keys.iter().map(String::as_str));
    let all: Vec<(&str, &QueueConfig)> = keys.zip(config.all_queues()).collect();
    for (index, (key, queue)) in all.iter().enumerate() {
        one(key, queue, errors);
        for (other_key, other) in &all[..index] {
            if queue.name == other.name {
                let why = format!("`{other_key}` has this name; give each queue a `name` of its own");
                errors.add(&format!("{key}.name"), &queue.name, why);
            }
            if is_same(queue, other) {
                let why = format!("is the same queue as `{other_key}`, or one that belongs to it; name another one");
                errors.missing(key, &why);
            }
        }
    }
}

fn one(key: &str, queue: &QueueConfig, errors: &mut Errors) {
    let of = |field: &str| format!("{key}.{field}");
    if queue.name.is_empty() || queue.name.len() > 64 || !queue.name.chars().all(is_plain) {
        errors.add(&of("name"), &queue.name, "allowed are 1 to 64 letters, digits, `.`, `_` and `-`");
    }
    // A quarter of the hour in which a copy takes the place of a message that SQS gave us 12 hours ago.
    let longest = if queue.kind == QueueKind::Sqs { 15 * 60 } else { 12 * 3600 };
    errors.range(&of("lease_secs"), queue.lease_secs, 1..=longest);
    errors.range(&of("weight"), queue.weight, 1..=100);
    errors.range(&of("priority"), queue.priority, -1000..=1000);
    if queue.hours.is_some() && !queue.deferred {
        errors.missing(&of("hours"), "only a queue with `deferred = true` has them");
    }
    let amqp = &queue.amqp;
    if amqp.queue.is_empty() || amqp.queue.len() > 128 || !amqp.queue.chars().all(is_plain) {
        errors.add(&of("amqp.queue"), &amqp.queue, "allowed are 1 to 128 letters, digits, `.`, `_` and `-`");
    }
    if queue.kind == QueueKind::Amqp {
        // Renewals come each third of a lease, and a delivery is moved on with the first one after half of this.
        let least = queue.lease_secs.saturating_mul(2).max(30);
        errors.range(&of("amqp.ack_timeout_secs"), amqp.ack_timeout_secs, least..=DAY_SECS.max(least));
    }
    if queue.kind == QueueKind::Sqs && queue.sqs.queue.as_ref().is_none_or(String::is_empty) {
        errors.missing(&of("sqs.queue"), "a queue of kind \"sqs\" needs it: its name or URL");
    }
    queue_at_sqs(&of("sqs.queue"), queue.sqs.queue.as_deref(), errors);
    queue_at_sqs(&of("sqs.dead_letter_queue"), queue.sqs.dead_letter_queue.as_deref(), errors);
}

/// Whether two would take each other's messages. Queues in SQS can be one under two names: that is seen when they are
/// opened.
fn is_same(one: &QueueConfig, other: &QueueConfig) -> bool {
    if one.kind != other.kind {
        return false;
    }
    match one.kind {
        QueueKind::Sqlite => file(&one.path) == file(&other.path),
        QueueKind::Amqp => {
            let (one, other) = (&one.amqp.queue, &other.amqp.queue);
            one == other || belongs(one, other) || belongs(other, one)
        }
        QueueKind::Sqs => one.sqs.queue.is_some() && one.sqs.queue == other.sqs.queue,
    }
}

/// Whether the worker makes a queue of this name beside that one.
fn belongs(name: &str, to: &str) -> bool {
    let rest = name.strip_prefix(to).unwrap_or_default();
    rest == ".dead" || rest.starts_with(".delay.") || rest.starts_with(".hold.")
}

fn file(path: &Path) -> PathBuf {
    path.canonicalize().or_else(|_| std::path::absolute(path)).unwrap_or_else(|_| path.to_owned())
}
