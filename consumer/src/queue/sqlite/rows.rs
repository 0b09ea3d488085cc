//! The statements behind the verbs.

use darkroom_api::{ErrorCode, JobError};
use rusqlite::{Connection, OptionalExtension, Row, Transaction, params};
use uuid::Uuid;

use super::{Options, Retention, after, reason, timestamp};
use crate::{
    db::{Error, now_ms},
    queue::{DeadLetter, Depth, MessageId, Redrive, SendOptions},
};

/// A leased row.
pub struct Claimed {
    id: i64,
    pub message_id: String,
    pub body: String,
    pub receipt: String,
    pub receives: u32,
    /// Of these, without those that were released without counting.
    pub counted: u32,
    pub sent_at: i64,
}

/// Adds a message within the caller's transaction; with a `dedup_id` that is waiting or in flight, returns that one's id.
pub fn enqueue(tx: &Transaction<'_>, queue: &str, body: &str, options: &SendOptions) -> Result<String, Error> {
    if let Some(dedup_id) = &options.dedup_id {
        let sql = "SELECT message_id FROM messages WHERE queue = ?1 AND dedup_id = ?2 AND dead_at IS NULL";
        let known = tx.prepare_cached(sql)?.query_row([queue, dedup_id], |row| row.get(0)).optional()?;
        if let Some(message_id) = known {
            return Ok(message_id);
        }
    }
    let message_id = Uuid::now_v7().to_string();
    let sql =
        "INSERT INTO messages (message_id, queue, body, dedup_id, sent_at, visible_at) VALUES (?1, ?2, ?3, ?4, ?5, ?6)";
    let mut insert = tx.prepare_cached(sql)?;
    insert.execute(params![message_id, queue, body, options.dedup_id, now_ms(), after(options.delay)])?;
    Ok(message_id)
}

/// A message that was sent again is as new as its last sending.
const RENEW: &str = "UPDATE messages SET sent_at = ?2 WHERE message_id = ?1 AND sent_at < ?2";
// These three must find their rows by an index that holds what they ask for, in its order: bodies are long, and this runs
// at each send.
const DROP_OLD: &str = "DELETE FROM messages
    WHERE queue = ?1 AND dead_at IS NULL AND sent_at < ?4 AND (receipt IS NULL OR visible_at <= ?2) AND message_id <> ?3";
const COUNT: &str = "SELECT count(*) FROM messages WHERE queue = ?1 AND dead_at IS NULL";
const DROP_EXCESS: &str = "DELETE FROM messages WHERE id IN
    (SELECT id FROM messages
     WHERE queue = ?1 AND dead_at IS NULL AND (receipt IS NULL OR visible_at <= ?2) AND message_id <> ?3
     ORDER BY sent_at, id LIMIT ?4)";

/// Makes room for the message that was just sent, perhaps not for the first time: drops the oldest beyond what the queue
/// keeps, but not that one, and none in flight, whose receiver is about to take it.
pub fn expire(tx: &Transaction<'_>, queue: &str, sent: &str, retention: &Retention) -> Result<(), Error> {
    let now = now_ms();
    let oldest = now.saturating_sub(i64::try_from(retention.max_age.as_millis()).unwrap_or(i64::MAX));
    tx.prepare_cached(RENEW)?.execute(params![sent, now])?;
    tx.prepare_cached(DROP_OLD)?.execute(params![queue, now, sent, oldest])?;
    let count: u64 = tx.prepare_cached(COUNT)?.query_row([queue], |row| row.get(0))?;
    let excess = count.saturating_sub(retention.max_messages);
    if excess > 0 {
        tx.prepare_cached(DROP_EXCESS)?.execute(params![queue, now, sent, excess])?;
    }
    Ok(())
}

/// When the next live message is, or was, visible.
pub fn next_visible(connection: &Connection, queue: &str) -> Result<Option<i64>, Error> {
    let sql = "SELECT min(visible_at) FROM messages WHERE queue = ?1 AND dead_at IS NULL";
    Ok(connection.prepare_cached(sql)?.query_row([queue], |row| row.get(0))?)
}

/// Gives up what was received too often, then leases up to `max` visible messages, oldest first.
pub fn claim(tx: &Transaction<'_>, options: &Options, max: usize) -> Result<Vec<Claimed>, Error> {
    let now = now_ms();
    let sql = "UPDATE messages SET dead_at = ?2, receipt = NULL, reason = ?4
               WHERE queue = ?1 AND dead_at IS NULL AND visible_at <= ?2 AND receives - uncounted >= ?3";
    tx.prepare_cached(sql)?.execute(params![options.name, now, options.max_receives, json(&worn_out(options))])?;
    let sql = "UPDATE messages SET visible_at = ?3, receives = receives + 1, receipt = lower(hex(randomblob(16)))
               WHERE id IN (SELECT id FROM messages WHERE queue = ?1 AND dead_at IS NULL AND visible_at <= ?2
                            ORDER BY visible_at, id LIMIT ?4)
               RETURNING id, message_id, body, receipt, receives, receives - uncounted, sent_at";
    let mut statement = tx.prepare_cached(sql)?;
    let claimed = |row: &Row<'_>| {
        Ok(Claimed {
            id: row.get(0)?,
            message_id: row.get(1)?,
            body: row.get(2)?,
            receipt: row.get(3)?,
            receives: row.get(4)?,
            counted: row.get(5)?,
            sent_at: row.get(6)?,
        })
    };
    let rows = statement.query_map(params![options.name, now, after(options.lease), max], claimed)?;
    let mut rows = rows.collect::<Result<Vec<_>, _>>()?;
    // RETURNING promises no order.
    rows.sort_by_key(|row| row.id);
    Ok(rows)
}

fn worn_out(options: &Options) -> JobError {
    let message = format!(
        "received {} times and never settled: its worker died each time; look at the worker's log, then redrive it",
        options.max_receives
    );
    JobError::new(ErrorCode::ExecutorCrashed, message)
}

/// False when the receipt is stale, here and below.
pub fn extend(tx: &Transaction<'_>, receipt: &str, visible_at: i64) -> Result<bool, Error> {
    let sql = "UPDATE messages SET visible_at = ?2 WHERE receipt = ?1";
    Ok(tx.prepare_cached(sql)?.execute(params![receipt, visible_at])? == 1)
}

/// The message goes.
pub fn ack(tx: &Transaction<'_>, receipt: &str) -> Result<bool, Error> {
    Ok(tx.prepare_cached("DELETE FROM messages WHERE receipt = ?1")?.execute([receipt])? == 1)
}

/// The message is visible again at that time.
pub fn release(tx: &Transaction<'_>, receipt: &str, visible_at: i64, counted: bool) -> Result<bool, Error> {
    let sql = "UPDATE messages SET visible_at = ?2, uncounted = uncounted + ?3, receipt = NULL WHERE receipt = ?1";
    Ok(tx.prepare_cached(sql)?.execute(params![receipt, visible_at, !counted])? == 1)
}

/// The message is kept apart.
pub fn dead_letter(tx: &Transaction<'_>, receipt: &str, reason: &JobError) -> Result<bool, Error> {
    let sql = "UPDATE messages SET dead_at = ?2, reason = ?3, receipt = NULL WHERE receipt = ?1";
    Ok(tx.prepare_cached(sql)?.execute(params![receipt, now_ms(), json(reason)])? == 1)
}

fn json(reason: &JobError) -> String {
    serde_json::json!(reason).to_string()
}

/// Counts by state.
pub fn depth(connection: &Connection, queue: &str) -> Result<Depth, Error> {
    let now = now_ms();
    let sql =
        "SELECT count(*) FILTER (WHERE visible_at <= ?2), count(*) FILTER (WHERE visible_at > ?2 AND receipt IS NULL),
                      count(*) FILTER (WHERE visible_at > ?2 AND receipt IS NOT NULL),
                      min(sent_at) FILTER (WHERE visible_at <= ?2)
               FROM messages WHERE queue = ?1 AND dead_at IS NULL";
    let mut depth = connection.prepare_cached(sql)?.query_row(params![queue, now], |row| {
        let oldest: Option<i64> = row.get(3)?;
        let age_secs = |sent_at: i64| now.saturating_sub(sent_at).max(0) as f64 / 1000.0;
        let (visible, delayed, in_flight) = (row.get(0)?, row.get(1)?, row.get(2)?);
        Ok(Depth { visible, delayed, in_flight, dead: 0, oldest_age_secs: oldest.map(age_secs) })
    })?;
    let sql = "SELECT count(*) FROM messages WHERE queue = ?1 AND dead_at IS NOT NULL";
    depth.dead = connection.prepare_cached(sql)?.query_row([queue], |row| row.get(0))?;
    Ok(depth)
}

/// The latest dead letters, or those that follow one with this time and id.
pub fn dead_letters(
    connection: &Connection,
    queue: &str,
    limit: usize,
    after: Option<(i64, String)>,
) -> Result<Vec<DeadLetter>, Error> {
    let sql = "SELECT message_id, body, reason, receives, sent_at, dead_at FROM messages
               WHERE queue = ?1 AND dead_at IS NOT NULL AND (?3 IS NULL OR (dead_at, message_id) < (?3, ?4))
               ORDER BY dead_at DESC, message_id DESC LIMIT ?2";
    let mut statement = connection.prepare_cached(sql)?;
    let (dead_at, message_id) = after.unzip();
    let rows = statement.query_map(params![queue, limit, dead_at, message_id], |row| {
        Ok(DeadLetter {
            message_id: MessageId(row.get(0)?),
            body: row.get::<_, String>(1)?.into(),
            reason: row.get::<_, Option<String>>(2)?.as_deref().map(reason),
            receives: row.get(3)?,
            sent_at: timestamp(row.get(4)?),
            dead_at: timestamp(row.get(5)?),
        })
    })?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// Makes dead letters live again. They lose their `dedup_id`: its successor may be waiting already.
pub fn redrive(tx: &Transaction<'_>, queue: &str, which: &Redrive) -> Result<u64, Error> {
    let message_id = match which {
        Redrive::One(MessageId(id)) => Some(id),
        Redrive::All => None,
    };
    let sql = "UPDATE messages SET dead_at = NULL, reason = NULL, dedup_id = NULL, receives = 0, uncounted = 0,
                      visible_at = ?3
               WHERE queue = ?1 AND dead_at IS NOT NULL AND (?2 IS NULL OR message_id = ?2)";
    Ok(tx.prepare_cached(sql)?.execute(params![queue, message_id, now_ms()])? as u64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::db::Db;

    #[tokio::test]
    async fn a_send_looks_at_an_index_and_not_at_every_message() {
        let dir = tempfile::tempdir().unwrap();
        let db = Db::open(dir.path().join("db")).await.unwrap();
        let plans = db.read(|connection| -> Result<Vec<String>, Error> {
            let plan = |sql: &&str| -> Result<String, Error> {
                let mut statement = connection.prepare(&format!("EXPLAIN QUERY PLAN {sql}"))?;
                let (mut rows, mut plan) = (statement.raw_query(), String::new());
                while let Some(row) = rows.next()? {
                    plan += &(row.get::<_, String>(3)? + "; ");
                }
                Ok(plan)
            };
            [RENEW, DROP_OLD, COUNT, DROP_EXCESS].iter().map(plan).collect()
        });
        let plans = plans.await.unwrap();
        assert!(
            plans.iter().all(|plan| !plan.contains("SCAN") && !plan.contains("TEMP B-TREE FOR ORDER BY")),
            "{plans:#?}"
        );
        assert!(plans[1].contains("messages_sent (queue=? AND sent_at<?)"), "{plans:#?}");
        assert!(plans[2].contains("COVERING INDEX"), "{plans:#?}");
        assert!(plans[3].contains("messages_sent"), "{plans:#?}");
    }
}
