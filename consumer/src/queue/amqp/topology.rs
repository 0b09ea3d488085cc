//! The queues and the exchange behind one queue of jobs.
//!
//! * `<name>`: where messages wait. What is delivered [`DELIVERY_LIMIT`] times goes to
//! * `<name>.dlx` (fanout) and from there to `<name>.dead`, as does everything that we give up;
//! * `<name>.delay.<secs>`: messages leave it for `<name>` when their own time to live is over, or after that many
//!   seconds. A broker looks only at a queue's head, so a message may wait behind one that stays longer: there is a
//!   queue for every power of four, and it waits less than four times as long as it should;
//! * `<name>.hold.<id>`: copies that one worker keeps for itself, see `park`. Made when first needed, and gone a day
//!   after its worker.
//!
//! All are durable quorum queues that dead-letter at least once: nothing leaves one before it has arrived in the next.

use std::time::Duration;

use lapin::options::{ExchangeDeclareOptions, QueueBindOptions, QueueDeclareOptions};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{Channel, ExchangeKind};

use super::Options;

/// Deliveries of one copy after which the broker itself gives it up: 4 x the most attempts that can be configured. The
/// configured limit is checked by us when a message arrives; it may change from one start to the next, a queue's
/// arguments may not.
const DELIVERY_LIMIT: i64 = 400;
/// Looks at dead letters count as deliveries of them. Newer brokers have a limit of 20 where none is named.
const NO_LIMIT: i64 = i32::MAX as i64;
/// Lengths of the delay queues in seconds; the last is 18 hours.
pub(super) const DELAYS_SECS: [u64; 9] = [1, 4, 16, 64, 256, 1024, 4096, 16384, 65536];
const DAY: Duration = Duration::from_secs(24 * 3600);

/// Name of the exchange for what was given up.
pub(super) fn exchange(name: &str) -> String {
    format!("{name}.dlx")
}

/// Name of the queue for what was given up.
pub(super) fn dead(name: &str) -> String {
    format!("{name}.dead")
}

/// Name of a delay queue.
pub(super) fn delay(name: &str, secs: u64) -> String {
    format!("{name}.delay.{secs}")
}

/// The delay queue for this time, in seconds, and the time bounded by it.
pub(super) fn delay_for(after: Duration) -> (u64, Duration) {
    let longest = DELAYS_SECS[DELAYS_SECS.len() - 1];
    let secs = DELAYS_SECS.into_iter().find(|secs| after <= Duration::from_secs(*secs)).unwrap_or(longest);
    (secs, after.min(Duration::from_secs(secs)))
}

/// Makes what is missing, or checks that all is there.
///
/// # Errors
/// What differs, and what to do about it.
pub(super) async fn prepare(channel: &Channel, options: &Options) -> anyhow::Result<()> {
    let name = options.name.as_str();
    if options.declare {
        declare(channel, &dead(name), arguments(&[("x-delivery-limit", NO_LIMIT)], None)).await?;
        exchange_declare(channel, name, false).await?;
        let (queue, exchange) = (dead(name), exchange(name));
        let bind = QueueBindOptions::default();
        channel.queue_bind(queue.into(), exchange.into(), "".into(), bind, FieldTable::default()).await?;
        declare(channel, name, main_arguments(name)).await?;
        for secs in DELAYS_SECS {
            declare_delay(channel, name, secs).await?;
        }
        return Ok(());
    }
    exchange_declare(channel, name, true).await?;
    let delays = DELAYS_SECS.into_iter().map(|secs| delay(name, secs));
    for queue in [name.to_owned(), dead(name)].into_iter().chain(delays) {
        count(channel, &queue).await.map_err(|error| {
            anyhow::anyhow!(
                "the queue `{queue}` cannot be used: {error}. Create it, or set `queue.amqp.declare = true`"
            )
        })?;
    }
    Ok(())
}

fn main_arguments(name: &str) -> FieldTable {
    let mut table = arguments(&[("x-delivery-limit", DELIVERY_LIMIT)], None);
    at_least_once(&mut table, &exchange(name));
    table
}

/// Makes the delay queue of this length.
pub(super) async fn declare_delay(channel: &Channel, name: &str, secs: u64) -> anyhow::Result<()> {
    let ttl_ms = i64::try_from(secs * 1000).unwrap_or(i64::MAX);
    declare(channel, &delay(name, secs), arguments(&[("x-message-ttl", ttl_ms)], Some(name))).await
}

/// Makes the queue of copies that a worker keeps. What nobody holds there goes home after a lease.
pub(super) async fn declare_hold(channel: &Channel, options: &Options, hold: &str) -> anyhow::Result<()> {
    let ms = |time: Duration| i64::try_from(time.as_millis()).unwrap_or(i64::MAX);
    let numbers = [
        ("x-message-ttl", ms(options.lease)),
        ("x-expires", ms(DAY.max(options.ack_timeout * 4))),
        ("x-delivery-limit", NO_LIMIT),
    ];
    declare(channel, hold, arguments(&numbers, Some(&options.name))).await
}

/// Messages that wait in a queue.
///
/// # Errors
/// The channel is closed then; 404 where there is no such queue.
pub(super) async fn count(channel: &Channel, queue: &str) -> lapin::Result<u64> {
    let options = QueueDeclareOptions { passive: true, durable: true, ..QueueDeclareOptions::default() };
    Ok(channel.queue_declare(queue.into(), options, FieldTable::default()).await?.message_count().into())
}

fn arguments(numbers: &[(&str, i64)], home: Option<&str>) -> FieldTable {
    let mut table = FieldTable::default();
    table.insert("x-queue-type".into(), AMQPValue::LongString("quorum".into()));
    for (name, value) in numbers {
        table.insert((*name).into(), AMQPValue::LongLongInt(*value));
    }
    if let Some(home) = home {
        at_least_once(&mut table, "");
        table.insert("x-dead-letter-routing-key".into(), AMQPValue::LongString(home.into()));
    }
    table
}

fn at_least_once(table: &mut FieldTable, exchange: &str) {
    for (name, value) in [
        ("x-dead-letter-exchange", exchange),
        ("x-dead-letter-strategy", "at-least-once"),
        // That strategy is refused without it.
        ("x-overflow", "reject-publish"),
    ] {
        table.insert(name.into(), AMQPValue::LongString(value.into()));
    }
}

async fn declare(channel: &Channel, queue: &str, arguments: FieldTable) -> anyhow::Result<()> {
    channel.queue_declare(queue.into(), QueueDeclareOptions::durable(), arguments).await.map_err(|error| {
        anyhow::anyhow!(
            "the queue `{queue}` cannot be declared: {error}. If it exists with other settings, empty and delete it, choose \
             another `queue.amqp.queue`, or set `queue.amqp.declare = false` to use it as it is"
        )
    })?;
    Ok(())
}

async fn exchange_declare(channel: &Channel, name: &str, passive: bool) -> anyhow::Result<()> {
    let exchange = exchange(name);
    let options = ExchangeDeclareOptions { passive, durable: true, ..ExchangeDeclareOptions::default() };
    let declared =
        channel.exchange_declare(exchange.as_str().into(), ExchangeKind::Fanout, options, FieldTable::default()).await;
    declared.map_err(|error| {
        anyhow::anyhow!("the exchange `{exchange}` cannot be used: {error}. It should be a durable fanout exchange")
    })
}
